"""A small file that at most one of many processes, on any machines, may own: made, kept up, removed.

Locally and on network drives it is created exclusively (O_EXCL holds on NFS from version 3 and on SMB),
so two processes can't both get it. An object store can't do that through Beam: there a process writes,
waits and reads back what stands there. Two that start within that wait are told apart unless one needs
longer than the wait to write; then the later one has the file and the other finds out when it reads it.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import eq
from pathlib import Path
from typing import Protocol

from transforms import storage

# How long an object store may take to show a write to another process that starts at the same time.
SETTLE_SECONDS = 3.0
# Taking a file away takes milliseconds: a process that began this long ago has crashed while at it.
_TAKEOVER_SECONDS = 60.0


@dataclass(frozen=True)
class Snapshot:
    """The file as read at one moment; `modified` is seconds since 1970 on its drive's own clock."""

    content: bytes
    modified: float


class LeaseFile(Protocol):
    """The file on one kind of storage. Every method raises OSError where the storage fails."""

    def read(self) -> Snapshot | None:
        """The file as it is now; None without one."""

    def create(self, content: bytes) -> bool:
        """Writes the file where there is none; False where there is, or another process was faster."""

    def rewrite(self, content: bytes, *, owned: Callable[[bytes], bool]) -> bool:
        """Writes the file anew if its content still is `owned`; False where it is another's.
        Raises FileNotFoundError where it is gone."""

    def remove(self, *, owned: Callable[[bytes], bool]) -> bool:
        """Removes the file if its content still is `owned`; False where it is not, or is gone."""

    def take_away(self, judged: Snapshot) -> bool:
        """Removes a file that was judged abandoned, if it is as it was then; False where it is not,
        is gone, or another process is taking it away right now."""

    def clock(self) -> float:
        """Seconds since 1970 on the storage's own clock."""


class LocalLeaseFile:
    """The file `name` in a folder on a local disk or a network drive."""

    def __init__(self, folder: str, name: str) -> None:
        self._folder = Path(folder)
        self._path = self._folder / name

    def read(self) -> Snapshot | None:
        return _read(self._path)

    def create(self, content: bytes) -> bool:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            file = self._path.open("xb")
        except FileExistsError:
            return False
        try:
            with file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self._path.unlink(missing_ok=True)
            raise
        return True

    def rewrite(self, content: bytes, *, owned: Callable[[bytes], bool]) -> bool:
        # Read and written through one descriptor: should another process take the file over in
        # between, this writes into the one it has moved away, never into its new one.
        with self._path.open("r+b", buffering=0) as file:
            if not owned(file.read()):
                return False
            file.seek(0)
            file.write(content)
            file.truncate()
            os.fsync(file.fileno())
        return True

    def remove(self, *, owned: Callable[[bytes], bool]) -> bool:
        return self._remove_if(lambda found: owned(found.content))

    def take_away(self, judged: Snapshot) -> bool:
        # One at a time, and looked at again: else the second of two processes that judged the same
        # file would take away what the first has made in its place.
        lock = self._folder / f".lease-takeover{storage.TEMPORARY_SUFFIX}"
        try:
            lock.touch(exist_ok=False)
        except FileExistsError:
            found = _read(lock)
            if found is not None and abs(self.clock() - found.modified) > _TAKEOVER_SECONDS:
                lock.unlink(missing_ok=True)
            return False
        try:
            return self.read() == judged and self._remove_if(partial(eq, judged))
        finally:
            lock.unlink(missing_ok=True)

    def _remove_if(self, unchanged: Callable[[Snapshot], bool]) -> bool:
        # Moved away first: what this process has in hand then can't change under it.
        aside = self._unique()
        try:
            self._path.rename(aside)
        except FileNotFoundError:
            return False
        try:
            found = _read(aside)
            same = found is None or unchanged(found)
            if found is not None and not same:
                self.create(found.content)  # put back, but never over a file that came meanwhile
            return same
        finally:
            aside.unlink(missing_ok=True)

    def clock(self) -> float:
        path = self._unique()
        try:
            with path.open("xb") as file:
                file.write(b"clock")
                file.flush()
                os.fsync(file.fileno())
                return os.fstat(file.fileno()).st_mtime
        finally:
            path.unlink(missing_ok=True)

    def _unique(self) -> Path:
        # A name that storage.remove_partial_files cleans up after a crash.
        return self._folder / f".lease-{uuid.uuid4().hex}{storage.TEMPORARY_SUFFIX}"


class UrlLeaseFile:
    """The file `name` in a folder behind a Beam filesystem, with the weaker guarantee above."""

    def __init__(self, folder: str, name: str) -> None:
        self._folder = folder
        self._path = storage.join(folder, name)

    def read(self) -> Snapshot | None:
        if not storage.exists(self._path):
            return None
        return Snapshot(storage.read_bytes(self._path), _url_modified(self._path))

    def create(self, content: bytes) -> bool:
        if storage.exists(self._path):
            return False
        storage.write_bytes(self._path, content)
        time.sleep(SETTLE_SECONDS)
        found = self.read()
        return found is not None and found.content == content

    def rewrite(self, content: bytes, *, owned: Callable[[bytes], bool]) -> bool:
        found = self.read()
        if found is None:
            raise FileNotFoundError(self._path)
        if not owned(found.content):
            return False
        storage.write_bytes(self._path, content)
        return True

    def remove(self, *, owned: Callable[[bytes], bool]) -> bool:
        found = self.read()
        if found is None or not owned(found.content):
            return False
        storage.remove(self._path)
        return True

    def take_away(self, judged: Snapshot) -> bool:
        if self.read() != judged:
            return False
        storage.remove(self._path)
        return True

    def clock(self) -> float:
        path = storage.join(self._folder, f".lease-{uuid.uuid4().hex}{storage.TEMPORARY_SUFFIX}")
        storage.write_bytes(path, b"clock")
        try:
            return _url_modified(path)
        finally:
            storage.remove(path)


def _read(path: Path) -> Snapshot | None:
    # Opening makes a network drive look at the file anew; stat alone answers from a cache.
    try:
        with path.open("rb") as file:
            return Snapshot(file.read(), os.fstat(file.fileno()).st_mtime)
    except FileNotFoundError:
        return None


def _url_modified(path: str) -> float:
    from apache_beam.io.filesystems import FileSystems

    return float(FileSystems.last_updated(path))
