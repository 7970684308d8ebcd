"""Lists an archive: every file that may be a photo, in a fixed order, and what was left out.

Real folders come first, depth first and sorted by name; folders behind symbolic links come after
all of them. So a photo is listed under its real path wherever it has one, and a new link does not
rename the photos it points to.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transforms import storage
from transforms.archive import (
    LIBRARY_INFO,
    OUTPUT_MARKERS,
    ArchiveError,
    ListingReport,
    RootGuard,
    archive_error,
    is_cache,
    is_library_error,
    is_library_info,
    mtime_in_range,
    same_folder_error,
)
from transforms.records import FileEntry
from transforms.url_listing import list_url

__all__ = ["ArchiveError", "ListingReport", "RootGuard", "list_archive"]

_Identity = tuple[int, int]


def list_archive(
    location: str, *, root: str, exclude: Sequence[str] = (), report: ListingReport
) -> Iterator[FileEntry]:
    """Lists the files of the archive at `location` (a local folder or a URL) as entries of `root`.

    Hidden files and folders, caches, and the `exclude` folders (Albumen's own output) are left out and
    counted in `report`, as are other Albumen libraries. A folder that can't be listed is recorded there
    and does not end the listing. A file whose state can't be read is listed with size 0 and mtime 0.

    Raises ArchiveError, at once or while listing, where the root is missing, not a folder, unreadable,
    itself Albumen's output, or gone in between. Locally only one folder's entries are in memory at a time;
    of a URL the whole listing, some 400 bytes a file.
    """
    if storage.is_url(location):
        return list_url(location, root=root, exclude=exclude, report=report)
    guard = RootGuard.of(location)
    return _LocalListing(guard, root=root, exclude=exclude, report=report).entries()


@dataclass(frozen=True)
class _Folder:
    """A local folder to be listed: path relative to the root, and how the listing came to it."""

    path: bytes
    identity: _Identity | None
    parent: _Folder | None = None
    linked: bool = False


class _LocalListing:
    def __init__(self, guard: RootGuard, *, root: str, exclude: Sequence[str], report: ListingReport) -> None:
        self._guard = guard
        self._base = os.fsencode(guard.location)
        self._root = root
        self._report = report
        self._links: deque[_Folder] = deque()
        self._excluded_paths = {os.path.realpath(os.fsencode(e)) for e in exclude if not storage.is_url(e)}
        self._excluded = {i for i in map(_identity_of, self._excluded_paths) if i}
        # A link to a folder around the archive is a loop: those count as seen from the beginning.
        self._seen = {i for i in map(_identity_of, _parents(os.path.realpath(self._base))) if i}
        self._start = _Folder(b"", _identity(guard.device, guard.inode))
        if self._is_excluded(self._start):
            raise same_folder_error(guard.location)

    def entries(self) -> Iterator[FileEntry]:
        pending = [self._start]
        while pending or self._links:
            folder = pending.pop() if pending else self._links.popleft()
            if not self._is_new(folder):
                self._report.links_skipped += 1
                continue
            subfolders: list[_Folder] = []
            for entry in self._scan(folder):
                found = self._classify(entry, folder)
                if isinstance(found, FileEntry):
                    self._report.files += 1
                    yield found
                elif found is not None:
                    (self._links if _is_link(entry) else subfolders).append(found)
            pending.extend(reversed(subfolders))
        self._guard.check()

    def _is_new(self, folder: _Folder) -> bool:
        """Whether a folder is to be listed. Inode numbers are not unique on every network drive, so a
        real folder is left out only as a loop (a server that follows links shows those as folders)."""
        if folder.identity is None:
            return not folder.linked
        if folder.linked:
            new = folder.identity not in self._seen
        else:
            new = all(above.identity != folder.identity for above in _ancestors(folder))
        self._seen.add(folder.identity)
        return new

    def _scan(self, folder: _Folder) -> list[os.DirEntry[bytes]]:
        found: list[os.DirEntry[bytes]] = []
        try:
            with os.scandir(self._absolute(folder.path)) as entries:
                for entry in entries:  # one by one: what was read before an error counts
                    found.append(entry)
        except OSError as error:
            if not folder.path:
                raise archive_error(self._guard.location, error) from error
            self._guard.check()
            self._report.unreadable_folders.append((folder.path, error.strerror or str(error)))
        if any(_marks_library(e) for e in found if e.name == LIBRARY_INFO):
            if not folder.path:
                raise is_library_error(self._guard.location)
            self._report.other_libraries += 1
            return []
        # A folder that is given as the archive is one, whatever has made it.
        if folder.path and any(e.name in OUTPUT_MARKERS for e in found):
            self._report.excluded_folders += 1
            return []
        self._report.folders += 1
        return sorted(found, key=lambda entry: entry.name)

    def _classify(self, entry: os.DirEntry[bytes], folder: _Folder) -> FileEntry | _Folder | None:
        """What an entry is for the listing; None for what is left out, which is then counted."""
        path = folder.path + b"/" + entry.name if folder.path else entry.name
        if entry.name.startswith(b"."):
            self._count_hidden(entry)
            return None
        try:
            status = entry.stat()
        except OSError as error:
            return self._unknown(entry, folder, path=path, error=error)
        if stat.S_ISDIR(status.st_mode):
            linked = folder.linked or _is_link(entry)
            found = _Folder(path, _identity(status.st_dev, status.st_ino), folder, linked)
            if is_cache(entry.name, parent=self._name(folder)):
                self._report.cache_folders += 1
            elif self._is_excluded(found):
                self._report.excluded_folders += 1
            else:
                return found
            return None
        if not stat.S_ISREG(status.st_mode):
            self._report.special_files += 1
            return None
        return FileEntry(self._root, path, status.st_size, mtime_in_range(status.st_mtime_ns // 1000))

    def _count_hidden(self, entry: os.DirEntry[bytes]) -> None:
        if not _is_folder(entry):
            self._report.hidden_files += 1
        elif is_cache(entry.name, parent=b""):
            self._report.cache_folders += 1
        else:
            self._report.hidden_folders += 1

    def _unknown(
        self, entry: os.DirEntry[bytes], folder: _Folder, *, path: bytes, error: OSError
    ) -> FileEntry | None:
        """What to make of an entry whose state can't be read."""
        if _is_link(entry):
            self._report.links_skipped += 1
            return None
        if _is_folder(entry):
            if is_cache(entry.name, parent=self._name(folder)):
                self._report.cache_folders += 1
                return None
            self._guard.check()
            self._report.unreadable_folders.append((path, error.strerror or str(error)))
            return None
        # Reading it will fail with the reason, which then stands in its row.
        return FileEntry(self._root, path, 0, 0)

    def _is_excluded(self, folder: _Folder) -> bool:
        if folder.identity is not None:
            return folder.identity in self._excluded
        return os.path.realpath(self._absolute(folder.path)) in self._excluded_paths

    def _name(self, folder: _Folder) -> bytes:
        return os.path.basename(folder.path or self._base.rstrip(b"/"))

    def _absolute(self, path: bytes) -> bytes:
        return os.path.join(self._base, path) if path else self._base


def _marks_library(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_file() and is_library_info(os.fsdecode(entry.path), size=entry.stat().st_size)
    except OSError:
        return False


def _is_link(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_symlink()
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(device: int, inode: int) -> _Identity | None:
    # Some network drives number no files: there, 0 says nothing.
    return (device, inode) if inode else None


def _identity_of(path: bytes) -> _Identity | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return _identity(status.st_dev, status.st_ino)


def _parents(path: bytes) -> Iterator[bytes]:
    while path != os.path.dirname(path):
        path = os.path.dirname(path)
        yield path


def _ancestors(folder: _Folder) -> Iterator[_Folder]:
    above = folder.parent
    while above is not None:
        yield above
        above = above.parent
