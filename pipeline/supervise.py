"""Keeps worker processes at work until every chunk is done, whatever happens to them.

Each worker is a process of its own that runs the whole Beam graph over shifts of chunks (see
`pipeline.worker`). A worker that dies or hangs costs what it had not committed: its chunk is halved,
and the halves are halved again, until the photo that kills is alone; a photo that kills twice alone
is recorded as an error. Shifts shrink toward the end, so that workers finish together.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from transforms import progress_pipe, storage
from transforms.index_config import IndexConfig
from transforms.manifest import Chunk
from transforms.records import ERROR

STALL_SECONDS = 900.0
WORKER = ("-m", "pipeline.worker")
_TICK_SECONDS = 1.0
_SHIFT_LIMIT = 64
# Chunks of fewer photos are left whole: to start another worker for a part would take longer.
_DIVIDED_CHUNK = 128
_START_FAILURES = 3
_CRASHES_ALONE = 2
_LARGE_ARRAY = 1 << 20  # bytes
# "python -m" looks in the current folder first: a photo archive may well hold a folder "pipeline".
_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class RunFailed(Exception):
    """The run can't go on; the message says why and what to do. What is committed stays."""


@dataclass(frozen=True)
class Committed:
    """A chunk that was committed: its photos by status, and its faces."""

    photos: dict[str, int]
    faces: int = 0


@dataclass
class InFlight:
    """Photos that were looked at but are not committed yet, and the faces found in them."""

    photos: int = 0
    faces: int = 0


class _Worker:
    """One process, its shift, and what it has said so far."""

    def __init__(self, number: int, config: IndexConfig, log_path: str, command: Sequence[str]) -> None:
        self.number = number
        self.log_path = log_path
        self.pipe, write_end = os.pipe()
        try:
            with storage.writing(log_path):
                log = open(log_path, "ab")  # noqa: SIM115  # what fails later is no matter of the log
            with log:
                self.process = subprocess.Popen(
                    [sys.executable, *command],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=(write_end,),
                    start_new_session=True,
                    cwd=_PACKAGES,
                    env=_environment(config, number),
                )
        finally:
            os.close(write_end)
        self._buffer = b""
        self.shift: dict[str, Chunk] = {}
        self.working = False
        self.begun: str | None = None
        self.ever_begun = False
        self.open = InFlight()
        self.heard = time.monotonic()
        self._send(replace(config, progress_fd=write_end).to_json())

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it died: its pipe says so

    def give(self, chunks: Sequence[Chunk]) -> None:
        """Hands the worker a shift."""
        self.shift = {chunk.name: chunk for chunk in chunks}
        self.working = True
        self.heard = time.monotonic()
        self._send(json.dumps([chunk.to_json() for chunk in chunks]))

    def events(self) -> list[dict] | None:
        """What has arrived on the pipe; None once the process has ended."""
        data = os.read(self.pipe, 65536)
        if not data:
            return None
        self.heard = time.monotonic()
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def end(self) -> int:
        """Kills the process with all that it started; its exit code."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if self.process.stdin:
            try:
                self.process.stdin.close()
            except OSError:
                pass
        os.close(self.pipe)
        try:
            return self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL  # stuck in the kernel, on a dead drive: it goes when the drive answers


def _environment(config: IndexConfig, number: int) -> dict[str, str]:
    environment = dict(os.environ, PYTHONUNBUFFERED="1")
    # The package must be importable from wherever the run was started, as it is here.
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    # Large arrays go back to the system when they are freed. By default glibc comes to keep them on its
    # heap, where smaller things between them hold on to hundreds of megabytes.
    environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(_LARGE_ARRAY))
    environment.setdefault("MALLOC_ARENA_MAX", "2")
    if config.device == "cpu":
        environment.setdefault("OMP_NUM_THREADS", "1")
    else:
        environment["CUDA_VISIBLE_DEVICES"] = _cuda_device(number)
    return environment


def _cuda_device(number: int) -> str:
    """What CUDA_VISIBLE_DEVICES says to a worker: its graphics card. More workers than cards share them."""
    import torch

    card = number % max(1, torch.cuda.device_count())
    visible = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
    return visible[card] if visible else str(card)


class Supervisor:
    """Runs chunks on `workers` processes.

    `on_commit` hears of every chunk that is done; `on_tick` is called every second or so with
    what is looked at but not committed yet, and may raise to end the run; `give_up`
    is called with a chunk of one photo that killed its process again and again, how it died, and
    whether it ever hung there, and must leave that photo in a recorded state. Nobody watches over
    this process: what hung a worker, a read from a dead drive perhaps, must not be done here.
    """

    def __init__(
        self,
        config: IndexConfig,
        *,
        workers: int,
        log_folder: str,
        on_commit: Callable[[Committed], None],
        on_tick: Callable[[InFlight], None],
        give_up: Callable[[Chunk, str, bool], None],
        stall_seconds: float = STALL_SECONDS,
        command: Sequence[str] = WORKER,
    ) -> None:
        self._config, self._count, self._log_folder = config, workers, log_folder
        self._on_commit, self._on_tick, self._give_up = on_commit, on_tick, give_up
        self._stall_seconds, self._command = stall_seconds, command
        self._queue: deque[Chunk] = deque()
        self._workers: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._start_failures = 0
        self._hung: set[str] = set()
        self.restarts = 0
        self.late: list[Chunk] = []

    def run(self, chunks: Sequence[Chunk]) -> None:
        """Works through all chunks, or until the end time; `late` holds those not begun by then.

        Raises RunFailed; KeyboardInterrupt and whatever `on_tick` raises end the workers first.
        """
        self._queue.extend(chunks)
        ticked = -_TICK_SECONDS
        try:
            while self._queue or self._workers:
                self._staff()
                for key, _ in self._selector.select(timeout=_TICK_SECONDS):
                    self._hear(key.data)
                if time.monotonic() - ticked >= _TICK_SECONDS:
                    ticked = time.monotonic()
                    self._end_stalled()
                    self._on_tick(self._in_flight())
        finally:
            for worker in list(self._workers.values()):
                self._dismiss(worker)
            self._selector.close()

    def _staff(self) -> None:
        """Starts workers where there are chunks for them, gives idle ones their next shift."""
        until = self._config.until
        if until is not None and time.time() >= until:
            self.late.extend(self._queue)
            self._queue.clear()
        self._spread()
        idle = [w for w in self._workers.values() if not w.working]
        while self._queue and len(self._workers) < self._count and len(idle) < len(self._queue):
            number = next(n for n in range(self._count) if n not in self._workers)
            path = os.path.join(self._log_folder, f"{self._config.run}-worker-{number}.log")
            worker = self._workers[number] = _Worker(number, self._config, path, self._command)
            self._selector.register(worker.pipe, selectors.EVENT_READ, worker)
            idle.append(worker)
        for worker in idle:
            if self._queue:
                share = max(1, min(_SHIFT_LIMIT, len(self._queue) // (2 * self._count)))
                worker.give([self._queue.popleft() for _ in range(share)])
            else:
                self._dismiss(worker)

    def _spread(self) -> None:
        """Halves large chunks when few are left: no worker shall be idle long while another ends its last."""
        while self._count > 1 and 0 < len(self._queue) < 2 * self._count:
            largest = max(self._queue, key=lambda chunk: chunk.size)
            if largest.size < _DIVIDED_CHUNK:
                return
            self._queue.remove(largest)
            self._queue.extend(largest.halves())

    def _hear(self, worker: _Worker) -> None:
        events = worker.events()
        if events is None:
            self._bury(worker, _how_it_ended(self._dismiss(worker)))
            return
        for event in events:
            kind, name = event["event"], event.get("chunk", "")
            if kind == progress_pipe.BEGIN:
                worker.begun, worker.ever_begun, self._start_failures = name, True, 0
            elif kind == progress_pipe.PHOTOS:
                worker.open.photos += event["count"]
                worker.open.faces += event["faces"]
            elif kind == progress_pipe.DONE:
                worker.shift.pop(name, None)
                worker.begun, worker.open = None, InFlight()
                self._on_commit(Committed(event["photos"], event["faces"]))
            elif kind == progress_pipe.LATE:
                if name in worker.shift:
                    self.late.append(worker.shift.pop(name))
            elif kind == progress_pipe.FATAL:
                raise RunFailed(event["message"])
            elif kind == progress_pipe.SHIFT_DONE:
                # A shift that ended without a word about a chunk has not done it.
                self._queue.extend(worker.shift.values())
                worker.shift, worker.working = {}, False

    def _in_flight(self) -> InFlight:
        open_chunks = [worker.open for worker in self._workers.values()]
        return InFlight(sum(o.photos for o in open_chunks), sum(o.faces for o in open_chunks))

    def _end_stalled(self) -> None:
        for worker in list(self._workers.values()):
            if worker.working and time.monotonic() - worker.heard > self._stall_seconds:
                self._dismiss(worker)
                if worker.begun:
                    self._hung.add(worker.begun)
                self._bury(worker, f"no progress for {self._stall_seconds:.0f} s")

    def _dismiss(self, worker: _Worker) -> int:
        self._workers.pop(worker.number, None)
        self._selector.unregister(worker.pipe)
        return worker.end()

    def _bury(self, worker: _Worker, how: str) -> None:
        """Takes back the shift of a worker that died."""
        if not worker.shift:
            return
        self.restarts += 1
        guilty = worker.shift.pop(worker.begun, None) if worker.begun else None
        self._queue.extendleft(reversed(list(worker.shift.values())))
        if guilty is not None:
            self._halve(guilty, how)
        elif not worker.ever_begun:
            self._start_failures += 1
            if self._start_failures >= _START_FAILURES:
                raise RunFailed(
                    f"worker processes end before they begin ({how}); the last lines of {worker.log_path}:\n"
                    + _tail(worker.log_path)
                )

    def _halve(self, chunk: Chunk, how: str) -> None:
        if chunk.size > 1:
            self._queue.extendleft(reversed(chunk.halves()))
            return
        crashed = replace(chunk, crashes=chunk.crashes + 1)
        if crashed.crashes >= _CRASHES_ALONE:
            self._give_up(crashed, how, chunk.name in self._hung)
            self._on_commit(Committed({ERROR: 1}))
        else:
            self._queue.appendleft(crashed)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _tail(path: str, lines: int = 12) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, lines)).strip()
    except OSError:
        return "(no log)"
