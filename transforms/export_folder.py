"""The folder of an export: what was made there is remembered, and nothing else is ever removed.

By its list (`export_list`) the next export knows which files are Albumen's: it replaces those, and
removes those that are no longer part of it, unless somebody has changed them since.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from types import TracebackType
from typing import IO, Any, BinaryIO, TypeVar

import numpy as np

from transforms import storage
from transforms.export_list import (
    DIGEST,
    EXPORT_MARKER,
    JOURNAL,
    SPILL,
    Made,
    among,
    described,
    digest_of,
    line_of,
    listed,
    made_files,
    remove_empty,
    remove_made,
)
from transforms.library import LibraryError

_BATCH, _THREADS = 256, 8
# What concerns the disk and not one file: then there is no sense in going on.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)

Item = TypeVar("Item", bound=tuple[Any, ...])

LINKS = ("symbolic", "hard", "copy")


class ExportFolder:
    """Takes the files of one export. Leaving the block without an exception removes what the last
    export made and this one did not.

    `about` is kept in the first line of the list. Raises LibraryError on entry where `folder` holds
    something else, and where a file in the way was not made by an export.

    With `retire` the files lie anywhere (names are whole paths without the first ``/``) among those of
    others, `folder` holds the list alone, and what is no longer part of the export is handed to
    `retire`, which takes back what the export has put there.
    """

    def __init__(
        self, folder: str, about: dict[str, object], *, retire: Callable[[str], None] | None = None
    ) -> None:
        self.folder = storage.absolute(folder)
        if storage.is_url(self.folder):
            raise LibraryError(f"{folder}: exports are written to local folders; copy it there afterwards")
        self._about, self._retire = about, retire
        self._base = self.folder if retire is None else "/"
        self._new: list[bytes] = []
        self.files = self.bytes = self.kept = 0
        self.changed: list[str] = []
        self.spill = os.path.join(self.folder, SPILL)

    def __enter__(self) -> ExportFolder:
        check_export_folder(self.folder)
        marker, journal = (os.path.join(self.folder, name) for name in (EXPORT_MARKER, JOURNAL))
        if not os.path.exists(marker):
            storage.write_bytes(marker, line_of(self._about))
        self._old = _Known.of(made_files(self.folder))
        shutil.rmtree(self.spill, ignore_errors=True)
        for folder in {os.path.dirname(self._path(made.name)) for made in listed(journal)}:
            storage.remove_partial_files(folder)
        with storage.writing(self.folder):
            os.makedirs(self.spill)
            self._journal: IO[bytes] = open(journal, "ab")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.spill, ignore_errors=True)
        self._journal.close()
        if kind is None:
            with storage.writing(self.folder):
                self._remove_stale()
                self._write_list()

    def write(self, name: str, parts: Iterable[bytes]) -> None:
        """Writes a file; `name` may have folders, parted by ``/``. It appears whole or not at all."""
        with self.writing(name) as file:
            for part in parts:
                file.write(part)

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file to be written bit by bit, as `write` does."""
        self._announce([name])
        with storage.open_output(self._path(name)) as file:
            yield file
            self.bytes += file.tell()
        self.files += 1

    def make(self, wanted: Iterable[tuple[str, Callable[[], bytes | None]]]) -> Iterator[tuple[str, str]]:
        """Writes many small files (name, what makes its content; None: no such file), some at a time.

        One that holds its content already stays as it is. Yields (name, reason) for each that failed.
        """
        from transforms.safe_xml import UnsafeXml

        def one(item: tuple[str, Callable[[], bytes | None]]) -> int | str:
            try:
                data, path = item[1](), self._path(item[0])
                if data is None or (os.path.exists(path) and storage.read_bytes(path) == data):
                    return -1
                storage.write_bytes(path, data)
                return len(data)
            except (UnsafeXml, OSError) as error:
                if isinstance(error, OSError) and error.errno in _DISK:
                    raise
                return str(error)

        with ThreadPoolExecutor(_THREADS) as pool:
            for batch in self._batches(wanted):
                for (name, _), done in zip(batch, pool.map(one, batch), strict=True):
                    if isinstance(done, str):
                        yield name, done
                    else:
                        self.kept += done < 0
                        self.files += done >= 0
                        self.bytes += max(done, 0)

    def place(self, wanted: Iterable[tuple[str, bytes]], *, link: str) -> Iterator[tuple[str, str]]:
        """Puts originals (name, exact path) into the folder, as `LINKS` says.

        What is there already as it should be stays. Yields (path, reason) for each that failed.
        Raises LibraryError where the disk can't take links of this kind at all.
        """
        for batch in self._batches(wanted):
            for name, source in batch:
                try:
                    self._place_one(self._path(name), source, link)
                except OSError as error:
                    if link != "copy" and error.errno in _NO_LINKS:
                        raise LibraryError(
                            f"{self.folder} can't hold {link} links to {os.fsdecode(source)} "
                            f"({os.strerror(error.errno or 0)}): give --link copy"
                        ) from error
                    if error.errno in _DISK:
                        raise
                    told = isinstance(error, storage.WriteFailed)  # which names what can't be written
                    yield os.fsdecode(source), str(error) if told else error.strerror or str(error)

    def _batches(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Items, which begin with a name, in batches that have been announced."""
        waiting = iter(items)
        while batch := list(islice(waiting, _BATCH)):
            self._announce([item[0] for item in batch])
            yield batch

    def _place_one(self, target: str, source: bytes, link: str) -> None:
        status = os.stat(source)
        if _is_placed(target, source, status, link):
            self.kept += 1
            return
        temporary = os.path.join(self.spill, "placing")
        if link == "copy":
            with open(source, "rb") as original, storage.open_output(temporary) as copy:
                shutil.copyfileobj(original, copy, 1 << 20)
            self.bytes += status.st_size
        with storage.writing(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if link == "copy":
                os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
            else:
                if os.path.lexists(temporary):
                    os.unlink(temporary)
                (os.symlink if link == "symbolic" else os.link)(source, temporary)
            os.replace(temporary, target)
            if os.path.lexists(temporary):  # two hard links to one file: a rename leaves both
                os.unlink(temporary)
        self.files += 1

    def _announce(self, names: list[str]) -> None:
        """Puts names on record before there are files. Raises LibraryError for a file of others."""
        digests = [digest_of(name) for name in names]
        for name in names if self._retire is None else ():
            reason = self._old.in_the_way(name, self._path(name))
            if reason:
                raise LibraryError(f"{self._path(name)} {reason} and is in the way: move it elsewhere")
        with storage.writing(self.folder):
            for name in names:
                self._journal.write(line_of(asdict(Made(name))))
            self._journal.flush()
            os.fsync(self._journal.fileno())
        self._new += digests

    def _remove_stale(self) -> None:
        new = np.sort(np.array(self._new, f"S{DIGEST}"))
        folders = set()
        for made in made_files(self.folder):
            if among(new, made.name):
                continue
            if self._retire is not None:
                self._retire(self._path(made.name))
            elif remove_made(self.folder, made):
                folders.add(os.path.dirname(self._path(made.name)))
            else:
                self.changed.append(made.name)
        remove_empty(folders, self.folder)

    def _write_list(self) -> None:
        """The list of what is there now: made by this export, which the journal names."""
        journal = os.path.join(self.folder, JOURNAL)
        new, seen = set(self._new), set()
        with storage.open_output(os.path.join(self.folder, EXPORT_MARKER)) as file:
            file.write(line_of(self._about))
            for made in listed(journal):
                digest = digest_of(made.name)
                if digest in new and digest not in seen and os.path.lexists(self._path(made.name)):
                    seen.add(digest)
                    file.write(line_of(asdict(described(self._base, made.name))))
        os.unlink(journal)

    def _path(self, name: str) -> str:
        return os.path.join(self._base, *name.split("/"))


class _Known:
    """The files of exports before, some 32 bytes each: what may be replaced."""

    def __init__(self, digests: np.ndarray, sizes: np.ndarray, mtimes: np.ndarray) -> None:
        order = np.argsort(digests, kind="stable")
        self._digests, self._sizes, self._mtimes = digests[order], sizes[order], mtimes[order]

    @classmethod
    def of(cls, made: Iterable[Made]) -> _Known:
        rows = [(digest_of(m.name), m.size, m.mtime_ns) for m in made]
        digests, sizes, mtimes = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(np.array(digests, f"S{DIGEST}"), np.array(sizes, np.int64), np.array(mtimes, np.int64))

    def in_the_way(self, name: str, path: str) -> str:
        """Why what lies at `path` must not be replaced; nothing where it may, or nothing is there."""
        try:
            status = os.lstat(path)
        except OSError:
            return ""
        digest = np.array(digest_of(name), f"S{DIGEST}")
        place = int(np.searchsorted(self._digests, digest))
        if place == len(self._digests) or self._digests[place] != digest:
            return "was not made by an export"
        known, mtime = int(self._sizes[place]), int(self._mtimes[place])
        # Links say nothing of themselves; and a hard link changes with its original.
        if known < 0 or stat.S_ISLNK(status.st_mode) or status.st_nlink > 1:
            return ""
        return "" if (status.st_size, status.st_mtime_ns) == (known, mtime) else "was changed since"


def check_export_folder(folder: str) -> None:
    """Raises LibraryError where `folder` is a file, or holds something else than an export."""
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise LibraryError(f"{folder} is a file: give a folder for the export")
    found = os.listdir(folder) if os.path.isdir(folder) else []
    if found and EXPORT_MARKER not in found:
        raise LibraryError(
            f"{folder} is not an export of Albumen (no {EXPORT_MARKER}) and is not empty (it holds "
            f"{sorted(found)[0]!r}): give a new or empty folder"
        )


def _is_placed(target: str, source: bytes, status: os.stat_result, link: str) -> bool:
    try:
        there = os.lstat(target)
    except OSError:
        return False
    if link == "symbolic":
        return stat.S_ISLNK(there.st_mode) and os.fsencode(os.readlink(target)) == source
    if link == "hard":
        return (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino)
    same = (there.st_size, there.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    return stat.S_ISREG(there.st_mode) and same and there.st_ino != status.st_ino
