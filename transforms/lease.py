"""One run at a time holds a library: a lease in its folder that also works on network drives.

``lease.json`` names its holder and is rewritten every few seconds. Its age is measured on the drive's
own clock, against a file written there just now, so machines need not agree on the time. A lease whose
process has ended on this machine, or that was not rewritten for long, is taken over. What keeps two
runs from getting it at once, and where that is weaker, stands in `transforms.lease_file`.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

import psutil

from transforms import storage
from transforms.lease_file import LeaseFile, LocalLeaseFile, Snapshot, UrlLeaseFile

LEASE_FILE = "lease.json"

HEARTBEAT_SECONDS = 15.0
# Eight beats: more than the minute for which an NFS client may show an old time.
STALE_SECONDS = 120.0
# Runs that want the same abandoned lease come one after the other.
_ATTEMPTS, _ATTEMPT_PAUSE = 5, 0.2
# A file that is being rewritten or put back is missing or incomplete for moments.
_READ_PAUSES = (0.0, 0.2, 1.0)
# In place of the start of a process that has ended while its parent has not noticed.
_ZOMBIE = -1.0


class LibraryInUse(Exception):
    """Another run holds the library; the message says which one, since when, and what to do."""


class LeaseLost(Exception):
    """The library is no longer this run's: it must stop without writing anything more."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.

    `boot` tells machines, their restarts and containers apart, `process_started` processes that had
    the same pid, `token` one lease from another. `started` and `beat` are UTC, ISO 8601.
    """

    host: str
    boot: str
    pid: int
    process_started: float
    token: str
    started: str
    beat: str

    @classmethod
    def new(cls) -> Holder:
        """This process as the holder of a new lease."""
        pid, now = os.getpid(), _now()
        started = _process_started(pid) or 0.0
        return cls(socket.gethostname(), _boot(), pid, started, uuid.uuid4().hex, now, now)

    @classmethod
    def from_json(cls, content: bytes) -> Holder | None:
        """The holder that a lease file names; None where it is damaged or not yet written."""
        try:
            data = json.loads(content)
            host, boot, token, started, beat = (
                str(data[k]) for k in ("host", "boot", "token", "started", "beat")
            )
            return cls(host, boot, int(data["pid"]), float(data["process_started"]), token, started, beat)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None

    def to_json(self) -> bytes:
        """The lease file's content; its length stays the same from beat to beat."""
        return json.dumps(asdict(self), indent=2).encode("ascii")

    def is_here(self) -> bool:
        """Whether the holder's process is, or was, one that this process can see."""
        return (self.host, self.boot) == (socket.gethostname(), _boot())

    def is_running(self) -> bool:
        """Whether the process is there still. Only means something where `is_here`."""
        try:
            os.kill(self.pid, 0)
        except PermissionError:
            pass  # There, and another user's.
        except (OSError, OverflowError):
            return False
        started = _process_started(self.pid)
        return started is None or started == self.process_started


class Lease:
    """Holds a library while the context lasts, with a heartbeat from a thread of its own.

    Entering raises LibraryInUse where another run holds the library (after trying for `wait` seconds),
    and storage.WriteFailed where its folder can't be written. `interval` and `stale_after` are seconds;
    all runs on a library should use the same.
    """

    def __init__(
        self,
        library_path: str,
        *,
        interval: float = HEARTBEAT_SECONDS,
        stale_after: float = STALE_SECONDS,
        wait: float = 0.0,
    ) -> None:
        if not 0 < 2 * interval <= stale_after:
            raise ValueError(f"stale_after ({stale_after} s) must be at least twice interval ({interval} s)")
        self._path = library_path
        self._interval, self._stale_after, self._wait = interval, stale_after, wait
        kind: Callable[[str, str], LeaseFile] = (
            UrlLeaseFile if storage.is_url(library_path) else LocalLeaseFile
        )
        self._file = kind(library_path, LEASE_FILE)
        self._holder: Holder | None = None
        self._last_beat = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Lease:
        with storage.writing(storage.join(self._path, LEASE_FILE)):
            self._holder = holder = self._wait_for_library()
        self._last_beat = time.monotonic()
        self._ended.clear()
        self._thread = threading.Thread(
            target=self._keep_beating, args=(holder,), name="lease heartbeat", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(self._interval)  # not for ever: a dead share blocks it
        holder, self._holder = self._holder, None
        if holder is None:
            return
        try:
            found = self._file.read()
            if found is not None and _is_of(found.content, holder):
                self._file.remove(owned=lambda content: _is_of(content, holder))
        except Exception:
            # The share has gone (object stores raise errors of their own kinds). The next run takes
            # the lease over, and what the context itself raised matters more.
            pass

    def check(self) -> None:
        """Raises LeaseLost where another run has taken the library over, where the lease is gone, or
        where no heartbeat could be written for `stale_after` seconds."""
        holder = self._holder
        if holder is None:
            raise LeaseLost(f"the library {self._path} is not held by this run: its lease was given back")
        try:
            if self._silence() > self._stale_after:
                self._beat(holder)  # a process that was stopped and goes on may be in time yet
            found = self._read_settled()
        except Exception as error:  # object stores raise errors of their own kinds
            if self._silence() > self._stale_after:
                raise LeaseLost(
                    f"the library {self._path} could not be reached for {self._silence():.0f} s ({error}): "
                    "is its drive mounted, and is there space? Another run may hold it by now"
                ) from error
            return
        if found is None or found.token != holder.token:
            why = f"{_named(found)} has taken it over" if found else f"its {LEASE_FILE} is gone or damaged"
            raise LeaseLost(
                f"the library {self._path} is no longer held by this run ({why}): start again once no "
                "other run works on it"
            )

    def _read_settled(self) -> Holder | None:
        for pause in _READ_PAUSES:
            time.sleep(pause)
            found = self._file.read()
            holder = Holder.from_json(found.content) if found is not None else None
            if holder is not None:
                return holder
        return None

    def held_here(self) -> bool:
        """Whether a running process of this machine holds the library now: then waiting may be long."""
        found = self._file.read()
        holder = Holder.from_json(found.content) if found is not None else None
        return holder is not None and holder.is_here() and holder.is_running()

    def _wait_for_library(self) -> Holder:
        deadline = time.monotonic() + self._wait
        while True:
            try:
                return self._acquire()
            except LibraryInUse:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise
                time.sleep(min(self._interval, left))

    def _acquire(self) -> Holder:
        for attempt in range(_ATTEMPTS):
            time.sleep(attempt * _ATTEMPT_PAUSE)
            mine = Holder.new()
            if self._file.create(mine.to_json()):
                return mine
            found = self._file.read()
            if found is None:
                continue
            if not self._is_stale(found):
                raise LibraryInUse(self._in_use(found))
            self._file.take_away(found)
        raise LibraryInUse(f"several runs are starting on the library {self._path} at once: try again later")

    def _is_stale(self, found: Snapshot) -> bool:
        holder = Holder.from_json(found.content)
        if holder is not None and holder.is_here():
            return not holder.is_running()
        # A time to come is as old as one gone by: a living holder would have corrected it.
        return abs(self._file.clock() - found.modified) > self._stale_after

    def _in_use(self, found: Snapshot) -> str:
        holder = Holder.from_json(found.content)
        return (
            f"the library {self._path} is in use by {_named(holder) if holder else 'a run that just began'}: "
            "wait until that run has ended. Should its machine be gone, the library is taken over "
            f"{self._stale_after:.0f} s after its last sign of life; if you are sure that it is, "
            f"you can also remove {storage.join(self._path, LEASE_FILE)}"
        )

    def _keep_beating(self, holder: Holder) -> None:
        while not self._ended.wait(self._interval):
            try:
                if not self._beat(holder):
                    return
            except Exception:
                continue  # Tried again at the next beat; `check` says when that has lasted too long.

    def _beat(self, holder: Holder) -> bool:
        content = replace(holder, beat=_now()).to_json()
        written = self._file.rewrite(content, owned=lambda found: _is_of(found, holder))
        if written:
            self._last_beat = time.monotonic()
        return written

    def _silence(self) -> float:
        return time.monotonic() - self._last_beat


def _is_of(content: bytes, holder: Holder) -> bool:
    found = Holder.from_json(content)
    return found is not None and found.token == holder.token


def _named(holder: Holder) -> str:
    return f"process {holder.pid} on {holder.host} since {holder.started[:19]} UTC"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


def _boot() -> str:
    """What two processes share that see each other: the kernel since its start, and the container."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot_id} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{uuid.getnode():x}"


def _process_started(pid: int) -> float | None:
    """When a process started, to be compared on one machine only; None where that can't be known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        # Clock ticks since boot: unlike a time of day, no correction of the clock moves it.
        return _ZOMBIE if fields[0] in (b"Z", b"X") else float(fields[19])
    except (OSError, IndexError):
        pass
    try:
        process = psutil.Process(pid)
        return _ZOMBIE if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None
