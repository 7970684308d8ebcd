"""Speaks a worker's language without doing its work. What becomes of a chunk stands in the file that
is the only argument: lines of ``file number, fate``, where the fate befalls every chunk that holds
the file: ``kill``, ``hang``, ``kill-once MARKER`` or ``fatal``."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from transforms import progress_pipe
from transforms.index_config import IndexConfig
from transforms.manifest import Chunk


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


def main() -> None:
    fates = dict(line.split(", ", 1) for line in Path(sys.argv[1]).read_text().splitlines())
    if "start" in fates:
        sys.exit("this worker can't start")
    config = IndexConfig.from_json(sys.stdin.readline())
    for line in sys.stdin:
        for chunk in map(Chunk.from_json, json.loads(line)):
            progress_pipe.report(config.progress_fd, progress_pipe.BEGIN, chunk=chunk.name)
            for number in range(chunk.start, chunk.stop):
                if str(number) in fates:
                    suffer(fates[str(number)], config.progress_fd)
            progress_pipe.report(
                config.progress_fd, progress_pipe.DONE, chunk=chunk.name, photos={"ok": chunk.size}, faces=1
            )
        progress_pipe.report(config.progress_fd, progress_pipe.SHIFT_DONE)


if __name__ == "__main__":
    main()
