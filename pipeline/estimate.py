"""How long a run of indexing will take and what it needs on disk, before it has taken long."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass

from transforms import storage
from transforms.library import LOGS, Library

# Measured on LFW (docs/measurements.md): vector and row 1.9 KB, thumbnail 2.7 KB, in the report 7 KB.
FACE_BYTES, REPORT_FACE_BYTES, PHOTO_BYTES = 4_700, 7_000, 100
_ENOUGH_PHOTOS, _ENOUGH_SECONDS = 256, 60.0
_WORTH_SAYING = 2_000
_LOGS_READ = 20


@dataclass(frozen=True)
class Pace:
    """Seconds a photo (all workers together) and faces a photo, and what they were measured on."""

    seconds: float
    faces: float
    source: str


def past_pace(library: Library) -> Pace | None:
    """The pace of the newest run of which the log says enough; None without one."""
    for name in reversed(storage.file_names(library.file(LOGS), suffix=".json")[-_LOGS_READ:]):
        try:
            run = json.loads(storage.read_bytes(library.file(LOGS, name)))["index"]
            photos = sum(n for state, n in run["photos"].items() if state != "skipped")
            if photos >= _ENOUGH_PHOTOS:
                return Pace(run["seconds"] / photos, run["faces"] / photos, f"by the run of {name[:8]}")
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # the log of another command, or of another version
    return None


class Estimate:
    """Says once what is to be expected: at the beginning where a past run tells, else from the first
    photos. Nothing for runs of a few photos."""

    def __init__(self, library: Library, todo: int) -> None:
        self._library, self._todo = library, todo
        self._begun = time.monotonic()
        self._said = todo < _WORTH_SAYING

    def before(self) -> str | None:
        """A line before the first photo, or None."""
        pace = None if self._said else past_pace(self._library)
        return self._line(pace) if pace else None

    def during(self, *, done: int, faces: int) -> str | None:
        """A line once enough photos are done, or None."""
        seconds = time.monotonic() - self._begun
        if self._said or done < _ENOUGH_PHOTOS or seconds < _ENOUGH_SECONDS:
            return None
        return self._line(Pace(seconds / done, faces / done, f"by the first {done:,} photos"))

    def _line(self, pace: Pace) -> str:
        self._said = True
        faces = int(self._todo * pace.faces)
        needed = faces * FACE_BYTES + self._todo * PHOTO_BYTES
        line = (
            f"{self._todo:,} files to index: about {duration(self._todo * pace.seconds)} and {size(needed)} "
            f"in the library, {size(faces * REPORT_FACE_BYTES)} for the report ({pace.source})."
        )
        free = _free(self._library.path)
        if free is not None and free < needed + faces * REPORT_FACE_BYTES:
            line += f" Only {size(free)} are free there: make room, or the run will stop before its end."
        return line


def duration(seconds: float) -> str:
    """As in "14 h 20 min"."""
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def size(count: float) -> str:
    """As in "1.2 GB"."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 1):.0f} MB"


def _free(path: str) -> int | None:
    if storage.is_url(path):
        return None
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None
