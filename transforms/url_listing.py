"""Lists an archive behind a Beam filesystem (``gs://``, ``s3://``, ...), in order of the full paths.

Object stores have no folders: a folder here is what the names of files imply.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from transforms.archive import (
    LIBRARY_INFO,
    ArchiveError,
    ListingReport,
    is_cache,
    is_library_error,
    is_library_info,
    match_url,
    mtime_in_range,
    same_folder_error,
)
from transforms.records import FileEntry


def list_url(
    location: str, *, root: str, exclude: Sequence[str], report: ListingReport
) -> Iterator[FileEntry]:
    """Lists the files below a URL as `transforms.listing.list_archive` describes."""
    found = match_url(location)
    if not found:
        raise ArchiveError(f"{location} holds no files: is the address right, and may this user list it?")
    base = location.rstrip("/") + "/"
    suffix = "/" + os.fsdecode(LIBRARY_INFO)
    outside = {url.rstrip("/") + "/" for url in exclude}
    libraries = {
        path[: -len(suffix)] + "/"
        for path, size, _ in found
        if path.endswith(suffix) and is_library_info(path, size=size)
    }
    if base in outside:
        raise same_folder_error(location)
    if base in libraries:
        raise is_library_error(location)
    rules = _UrlRules(base, outside=outside, libraries=libraries, report=report)
    return _url_entries(found, root=root, rules=rules, report=report)


def _url_entries(
    found: list[tuple[str, int, float]], *, root: str, rules: _UrlRules, report: ListingReport
) -> Iterator[FileEntry]:
    found.sort(reverse=True)
    while found:  # from the end, so that memory shrinks as the listing is read
        path, size, seconds = found.pop()
        folder, _, name = path.rpartition("/")
        if not name or not rules.lists(folder + "/"):  # no name: the marker of an empty folder
            continue
        if name.startswith("."):
            report.hidden_files += 1
            continue
        report.files += 1
        relative = path[len(rules.base) :].encode("utf-8", "surrogateescape")
        yield FileEntry(root, relative, size, mtime_in_range(round(seconds * 1_000_000)))


class _UrlRules:
    """Which folders of a URL are listed; each is judged and counted once."""

    def __init__(self, base: str, *, outside: set[str], libraries: set[str], report: ListingReport) -> None:
        self.base = base
        self._outside, self._libraries, self._report = outside, libraries, report
        self._verdicts = {base: True}
        report.folders += 1

    def lists(self, folder: str) -> bool:
        """Whether the files of `folder` (a URL below the base that ends in ``/``) are listed."""
        if folder not in self._verdicts:
            verdict, end = True, len(self.base)
            while verdict and end < len(folder):
                parent, end = folder[:end], folder.index("/", end) + 1
                if folder[:end] not in self._verdicts:
                    self._verdicts[folder[:end]] = self._judge(folder[:end], parent)
                verdict = self._verdicts[folder[:end]]
            self._verdicts[folder] = verdict
        return self._verdicts[folder]

    def _judge(self, folder: str, parent: str) -> bool:
        name, above = (f[:-1].rpartition("/")[2].encode("utf-8", "surrogateescape") for f in (folder, parent))
        if is_cache(name, parent=above):
            self._report.cache_folders += 1
        elif name.startswith(b"."):
            self._report.hidden_folders += 1
        elif folder in self._outside:
            self._report.excluded_folders += 1
        elif folder in self._libraries:
            self._report.other_libraries += 1
        else:
            self._report.folders += 1
            return True
        return False
