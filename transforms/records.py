"""What travels between the steps: small frozen dataclasses, no column names, no pixels but crops."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

OK = "ok"
NO_FACE = "no_face"
SKIPPED = "skipped"
ERROR = "error"
STATUSES = (OK, NO_FACE, SKIPPED, ERROR)


@dataclass(frozen=True)
class FileEntry:
    """One file of an archive as the listing saw it.

    `path` is relative to the root, exact bytes, parts joined by ``/``; `mtime_us` is
    microseconds since 1970 (UTC), the resolution in which two sightings are compared.
    """

    root: str
    path: bytes
    size: int
    mtime_us: int


@dataclass(frozen=True)
class PhotoRow:
    """The state of one file: exactly one of `STATUSES`, with a reason unless it is ok.

    `photo_id` is the content hash, None where the content was never read (then a later run
    tries again, unless the file is skipped for its kind). `width` and `height` are upright.
    `taken_at` is the camera's local wall-clock time; `utc_offset` its minutes east of UTC
    where the camera recorded them.
    """

    file: FileEntry
    status: str
    reason: str | None = None
    photo_id: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    taken_at: datetime | None = None
    utc_offset: int | None = None


@dataclass(frozen=True)
class FaceRow:
    """One detection in one photo, in upright full-size pixels.

    `box` is float32[4] (x0, y0, x1, y1); `landmarks` float32[5, 2]: the left and the right eye
    as the viewer sees them, nose, left and right corner of the mouth. `size` is the shorter
    side of the box. `roll` and `yaw` are degrees, estimated from the landmarks.
    """

    face_id: str
    photo_id: str
    box: np.ndarray
    landmarks: np.ndarray
    score: float
    size: float
    sharpness: float
    roll: float
    yaw: float


@dataclass(frozen=True)
class FaceSlice:
    """A part of a chunk, bounded in pixels and crops, on its way from photos to vectors.

    `photos` hold every photo whose search ended in the slice, in its final state. `faces`, `crops`
    (uint8[n, size, size, 3]), `thumbs` (JPEG bytes) and, once embedded, `embeddings`
    (float32[n, d], unit length) run in parallel; the last faces of a photo may be in the slice after it.
    """

    chunk: str
    last: bool
    photos: list[PhotoRow]
    faces: list[FaceRow] = field(default_factory=list)
    thumbs: list[bytes] = field(default_factory=list)
    crops: np.ndarray | None = None
    embeddings: np.ndarray | None = None


def printable(path: bytes) -> str:
    """A file name as text that any program can show; bytes that are not UTF-8 and control
    characters appear as ``\\xNN``. Not invertible: `FileEntry.path` stays the exact name."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
