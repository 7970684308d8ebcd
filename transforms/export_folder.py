"""The folder of an export: what was made there is remembered, and nothing else is ever removed.

``.albumen-export.jsonl`` lists the files of the last export, one a line after a first line that says
what it was; ``.albumen-export.journal`` the names that a running export is about to make. So after a
crash as after a good end it is known which files are Albumen's: the next export replaces those, and
removes those that are no longer part of it, unless somebody has changed them since.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from types import TracebackType
from typing import IO, Any, BinaryIO, TypeVar

import numpy as np

from transforms import storage
from transforms.library import LibraryError

EXPORT_MARKER = ".albumen-export.jsonl"
_JOURNAL, _SPILL = ".albumen-export.journal", ".albumen-export.spill"
_BATCH, _THREADS = 256, 8
_DIGEST = 16
# What concerns the disk and not one file: then there is no sense in going on.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)

Item = TypeVar("Item", bound=tuple[Any, ...])

LINKS = ("symbolic", "hard", "copy")


@dataclass(frozen=True)
class Made:
    """A file of an export: its name below the folder (bytes that are not UTF-8 as surrogates), and
    what tells whether it is still the file that was made."""

    name: str
    size: int = -1
    mtime_ns: int = -1
    target: str | None = None


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
        self.spill = os.path.join(self.folder, _SPILL)

    def __enter__(self) -> ExportFolder:
        check_export_folder(self.folder)
        os.makedirs(self.folder, exist_ok=True)
        marker = os.path.join(self.folder, EXPORT_MARKER)
        if not os.path.exists(marker):
            storage.write_bytes(marker, _line(self._about))
        self._old = _Known.of(made_files(self.folder))
        shutil.rmtree(self.spill, ignore_errors=True)
        os.makedirs(self.spill)
        self._journal: IO[bytes] = open(os.path.join(self.folder, _JOURNAL), "ab")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.spill, ignore_errors=True)
        self._journal.close()
        if kind is None:
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
                            f"({error.strerror}): give --link copy"
                        ) from error
                    if error.errno in _DISK:
                        raise
                    yield os.fsdecode(source), error.strerror or str(error)

    def _batches(self, items: Iterable[Item]) -> Iterator[list[Item]]:
        """Items, which begin with a name, in batches that have been announced."""
        waiting = iter(items)
        while batch := list(islice(waiting, _BATCH)):
            self._announce([item[0] for item in batch])
            yield batch

    def _place_one(self, target: str, source: bytes, link: str) -> None:
        status = os.stat(source)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if _is_placed(target, source, status, link):
            self.kept += 1
            return
        temporary = os.path.join(self.spill, "placing")
        if os.path.lexists(temporary):
            os.unlink(temporary)
        if link == "symbolic":
            os.symlink(source, temporary)
        elif link == "hard":
            os.link(source, temporary)
        else:
            with open(source, "rb") as original, open(temporary, "wb") as copy:
                shutil.copyfileobj(original, copy, 1 << 20)
                copy.flush()
                os.fsync(copy.fileno())
            os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
            self.bytes += status.st_size
        os.replace(temporary, target)
        if os.path.lexists(temporary):  # two hard links to one file: a rename leaves both
            os.unlink(temporary)
        self.files += 1

    def _announce(self, names: list[str]) -> None:
        """Puts names on record before there are files. Raises LibraryError for a file of others."""
        digests = [_digest(name) for name in names]
        for name in names if self._retire is None else ():
            reason = self._old.in_the_way(name, self._path(name))
            if reason:
                raise LibraryError(f"{self._path(name)} {reason} and is in the way: move it elsewhere")
        for name in names:
            self._journal.write(_line(asdict(Made(name))))
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self._new += digests

    def _remove_stale(self) -> None:
        new = np.sort(np.array(self._new, f"S{_DIGEST}"))
        folders = set()
        for made in made_files(self.folder):
            if _among(new, made.name):
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
        journal = os.path.join(self.folder, _JOURNAL)
        new, seen = set(self._new), set()
        with storage.open_output(os.path.join(self.folder, EXPORT_MARKER)) as file:
            file.write(_line(self._about))
            for made in _lines(journal):
                digest = _digest(made.name)
                if digest in new and digest not in seen and os.path.lexists(self._path(made.name)):
                    seen.add(digest)
                    file.write(_line(asdict(_described(self._base, made.name))))
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
        rows = [(_digest(m.name), m.size, m.mtime_ns) for m in made]
        digests, sizes, mtimes = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(np.array(digests, f"S{_DIGEST}"), np.array(sizes, np.int64), np.array(mtimes, np.int64))

    def in_the_way(self, name: str, path: str) -> str:
        """Why what lies at `path` must not be replaced; nothing where it may, or nothing is there."""
        try:
            status = os.lstat(path)
        except OSError:
            return ""
        digest = np.array(_digest(name), f"S{_DIGEST}")
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


def made_files(folder: str) -> Iterator[Made]:
    """What exports have made in `folder`, by its list and, after a crash, by its journal. Of a file that
    the journal names it is not known how it should look; it may come twice."""
    journal = os.path.join(folder, _JOURNAL)
    begun = np.sort(np.array([_digest(m.name) for m in _lines(journal)], f"S{_DIGEST}"))
    for made in _lines(os.path.join(folder, EXPORT_MARKER)):
        yield Made(made.name) if _among(begun, made.name) else made
    yield from _lines(journal)


def _among(digests: np.ndarray, name: str) -> bool:
    digest = np.array(_digest(name), f"S{_DIGEST}")
    place = int(np.searchsorted(digests, digest))
    return place < len(digests) and bool(digests[place] == digest)


def remove_made(folder: str, made: Made) -> bool:
    """Removes a file of an export; False where it has been changed since, and stays."""
    path = os.path.join(folder, *made.name.split("/"))
    if not os.path.lexists(path):
        return True
    if made.size >= 0 or made.target is not None:
        now = _described(folder, made.name)
        if now != made:
            return False
    try:
        os.unlink(path)
    except (IsADirectoryError, PermissionError):
        return False
    return True


def remove_export(folder: str) -> list[str]:
    """Removes an export with its list; names of files that were changed since and stay."""
    changed, folders, seen = [], set(), set()
    for made in made_files(folder):
        if made.name in seen:
            continue
        seen.add(made.name)
        folders.add(os.path.dirname(os.path.join(folder, *made.name.split("/"))))
        if not remove_made(folder, made):
            changed.append(made.name)
    shutil.rmtree(os.path.join(folder, _SPILL), ignore_errors=True)
    if not changed:
        for name in (_JOURNAL, EXPORT_MARKER):
            storage.remove(os.path.join(folder, name))
    remove_empty(folders | {folder}, os.path.dirname(folder))
    return changed


def remove_empty(folders: set[str], top: str) -> None:
    """Removes folders that are empty, and those above them below `top` that then are."""
    for folder in sorted(folders, key=len, reverse=True):
        while folder != top and folder.startswith(os.path.join(top, "")):
            try:
                os.rmdir(folder)
            except OSError:
                break
            folder = os.path.dirname(folder)


def _described(folder: str, name: str) -> Made:
    path = os.path.join(folder, *name.split("/"))
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return Made(name, target=os.readlink(path))
    return Made(name, status.st_size, status.st_mtime_ns)


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


def _digest(name: str) -> bytes:
    # An S-type of NumPy drops zeros at the end: a digest that ends in them is hashed on.
    digest = hashlib.blake2b(os.fsencode(name), digest_size=_DIGEST).digest()
    return digest if digest[-1] else digest[:-1] + b"\1"


def _line(data: dict[str, object]) -> bytes:
    return json.dumps(data).encode("ascii") + b"\n"


def _lines(path: str) -> Iterator[Made]:
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    data = json.loads(line)
                    name = data["name"]
                except (ValueError, KeyError, TypeError):
                    continue  # the first line, or one that a crash cut short
                if isinstance(name, str) and ".." not in name.split("/") and not name.startswith("/"):
                    yield Made(name, int(data["size"]), int(data["mtime_ns"]), data["target"])
    except FileNotFoundError:
        return
