"""Speaks a worker's language without doing its work. What becomes of a chunk stands in the file that
is the only argument: lines of ``file number, fate``, where the fate befalls every chunk that holds
the file: ``kill``, ``hang``, ``kill-once MARKER`` or ``fatal``. It starts in no time, and so loads nothing
that takes some: of the configuration and of chunks it knows the JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from transforms import progress_pipe


def suffer(fate: str, descriptor: int | None) -> None:
    kind, _, marker = fate.partition(" ")
    if kind == "hang":
        time.sleep(600)
    if kind == "fatal":
        progress_pipe.report(descriptor, progress_pipe.FATAL, message="the drive is full")
        time.sleep(600)
    if kind == "kill-once":
        if Path(marker).exists():
            return
        Path(marker).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def name_of(chunk: dict) -> str:
    """See `transforms.manifest.Chunk.name`."""
    whole = f"{chunk['run']}-{chunk['part']}-{chunk['group']:05d}"
    return f"{whole}-{chunk['start']:04d}-{chunk['stop']:04d}" if chunk["piece"] else whole


def main() -> None:
    fates = dict(line.split(", ", 1) for line in Path(sys.argv[1]).read_text().splitlines())
    if "start" in fates:
        sys.exit("this worker can't start")
    pipe = json.loads(sys.stdin.readline())["progress_fd"]
    for line in sys.stdin:
        for chunk in map(json.loads, json.loads(line)):
            name, files = name_of(chunk), range(chunk["start"], chunk["stop"])
            progress_pipe.report(pipe, progress_pipe.BEGIN, chunk=name)
            for number in files:
                if str(number) in fates:
                    suffer(fates[str(number)], pipe)
            progress_pipe.report(pipe, progress_pipe.DONE, chunk=name, photos={"ok": len(files)}, faces=1)
        progress_pipe.report(pipe, progress_pipe.SHIFT_DONE)


if __name__ == "__main__":
    main()
