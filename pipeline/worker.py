"""A worker process: runs the Beam graph over the shifts of chunks that the supervisor hands it.

Standard input carries the configuration on the first line, then one shift (a JSON list of chunks) a
line. When it closes the supervisor has gone, and the worker goes too, at once: the next run does
what is missing.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
import traceback

from transforms import progress_pipe
from transforms.index_config import IndexConfig
from transforms.manifest import Chunk


def main() -> None:
    """Works until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to handle
    # Beam warns about optional parts that are not installed; the log is for what went wrong.
    logging.basicConfig(level=logging.ERROR)
    config = IndexConfig.from_json(sys.stdin.readline())
    shifts: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(shifts,), daemon=True).start()
    try:
        from pipeline.graph import LOCAL_RUNNER, run_graph

        while True:
            chunks = [Chunk.from_json(text) for text in json.loads(shifts.get())]
            run_graph(config, chunks, LOCAL_RUNNER)
            progress_pipe.report(config.progress_fd, progress_pipe.SHIFT_DONE)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        # Not sys.exit: threads that hang in a read from a dead drive must not keep the process.
        os._exit(1)


def _listen(shifts: queue.Queue[str]) -> None:
    for line in sys.stdin:
        shifts.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
