"""The folder that a report is written to: the old report stays until the new one is complete.

On a local disk the pages are written to a folder beside the report, which then takes its place:
after a crash the old report is there or the new one. An object store can't rename: there, pages are
written in place, the front page last, and pages that are no longer part of the report are removed.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import uuid
from types import TracebackType

from transforms import storage
from transforms.library import LibraryError

MARKER = ".albumen-report"
"""A file in every report's folder: only a folder that has it, or an empty one, is replaced."""

_SPILL = ".spill"


class ReportFolder:
    """Collects the files of a report. Leaving the block without an exception publishes them.

    One process at a time may write to a folder: what it finds unfinished there, it removes.
    Raises LibraryError on entry where `folder` holds something else than a report.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.bytes_written = 0
        self._names: set[str] = set()
        self._is_url = storage.is_url(folder)
        # A folder that something is mounted on can't be renamed either.
        self._in_place = self._is_url or os.path.ismount(folder)
        self._target = folder if self._is_url else os.path.realpath(folder)
        self._staging = self._target if self._in_place else f"{self._target}.partial-{uuid.uuid4().hex}"
        self.spill = storage.join(self._staging, _SPILL)

    def __enter__(self) -> ReportFolder:
        if not self._in_place:
            self._clear_unfinished()
        self._check()
        if self._is_url:
            self.spill = tempfile.mkdtemp(prefix="albumen-report-")
        else:
            with storage.writing(self.spill):
                os.makedirs(self.spill, exist_ok=True)
        self.write(MARKER, b"The folder of an Albumen report: the next report replaces all that is in it.\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.spill, ignore_errors=True)
        try:
            if kind is None:
                with storage.writing(self.folder):
                    self._remove_stale() if self._in_place else self._swap()
        finally:
            if not self._in_place:
                shutil.rmtree(self._staging, ignore_errors=True)

    def write(self, name: str, data: bytes) -> None:
        """Adds a file; `name` has at most one folder, parts joined by ``/``."""
        path = storage.join(self._staging, *name.split("/"))
        if self._in_place:
            storage.write_bytes(path, data)
        else:
            # Not synced one by one, which takes minutes for ten thousand pages: nobody sees them
            # before all are.
            with storage.writing(path):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "xb") as file:
                    file.write(data)
        self._names.add(name)
        self.bytes_written += len(data)

    def _check(self) -> None:
        if storage.exists(storage.join(self._target, MARKER)):
            return
        if not self._is_url and os.path.exists(self._target) and not os.path.isdir(self._target):
            raise LibraryError(f"{self.folder} is a file: give a folder for the report")
        found = [*storage.file_names(self._target), *storage.folder_names(self._target)]
        if found:
            raise LibraryError(
                f"{self.folder} is not an Albumen report (no {MARKER}) and is not empty (it holds "
                f"{found[0]!r}): give a new or empty folder for the report"
            )

    def _clear_unfinished(self) -> None:
        parent, name = os.path.split(self._target)
        ours = re.compile(re.escape(name) + r"\.(partial|old)-[0-9a-f]{32}")
        for other in storage.folder_names(parent):
            if not ours.fullmatch(other):
                continue
            path = os.path.join(parent, other)
            if ".old-" in other[len(name) :] and not os.path.exists(self._target):
                os.rename(path, self._target)  # the crash came between the two renames
            else:
                shutil.rmtree(path, ignore_errors=True)

    def _swap(self) -> None:
        os.sync()
        old = f"{self._target}.old-{uuid.uuid4().hex}"
        try:
            os.rename(self._target, old)
        except FileNotFoundError:
            os.rename(self._staging, self._target)
            return
        try:
            os.rename(self._staging, self._target)
        except OSError:
            os.rename(old, self._target)
            raise
        shutil.rmtree(old, ignore_errors=True)

    def _remove_stale(self) -> None:
        for folder in [None, *storage.folder_names(self._target)]:
            path = storage.join(self._target, folder) if folder else self._target
            for name in storage.file_names(path):
                if (f"{folder}/{name}" if folder else name) not in self._names:
                    storage.remove(storage.join(path, name))
