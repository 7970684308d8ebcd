"""Whose face is in which photo: from a folder for each person, or from a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

_PHOTO, _PERSON, _X, _Y = "photo", "person", "x", "y"


@dataclass(frozen=True)
class Label:
    """One labelled face: the photo's path below its root, the person, a point (x, y) inside of the face in
    upright pixels where one was given, and further columns of the file (age, year, …) by name."""

    photo: str
    person: str
    point: tuple[float, float] | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


def folder_labels(paths: Sequence[str]) -> list[Label]:
    """A label for each photo: the folder it lies in is the person. Photos beside the folders have none."""
    return [Label(path, path.rpartition("/")[0]) for path in paths if "/" in path]


def read_labels(text: str) -> list[Label]:
    """Labels from a CSV file with columns ``photo`` and ``person``, perhaps ``x`` and ``y``, and any others.

    Several faces of a photo have a line each, with their points. Raises ValueError with the line's number,
    and for a header without the two columns.
    """
    rows = csv.DictReader(io.StringIO(text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")), strict=True)
    columns = rows.fieldnames or []
    if _PHOTO not in columns or _PERSON not in columns:
        raise ValueError(f"line 1: expected the columns {_PHOTO} and {_PERSON}, found {', '.join(columns)}")
    further = [c for c in columns if c not in (_PHOTO, _PERSON, _X, _Y)]
    labels: list[Label] = []
    first: dict[str, tuple[int, Label]] = {}
    try:
        for row in rows:
            if None in row or None in row.values():
                raise ValueError(f"expected {len(columns)} values")
            if not row[_PHOTO] or not row[_PERSON]:
                raise ValueError(f"{_PHOTO} or {_PERSON} is empty")
            attributes = {c: row[c].strip() for c in further}
            label = Label(row[_PHOTO], row[_PERSON], _point(row), attributes)
            line, before = first.setdefault(label.photo, (rows.line_num, label))
            if before is not label and (before.point is None or label.point is None):
                raise ValueError(
                    f"{label.photo} stands on line {line} too: faces of one photo need their {_X} and {_Y}"
                )
            labels.append(label)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"line {rows.line_num}: {error}") from error
    return labels


def _point(row: Mapping[str, str]) -> tuple[float, float] | None:
    if not row.get(_X) or not row.get(_Y):
        return None
    x, y = float(row[_X]), float(row[_Y])
    if not (np.isfinite(x) and np.isfinite(y)):
        raise ValueError(f"{_X} and {_Y} must be numbers")
    return x, y


def face_at(boxes: np.ndarray, point: Sequence[float] | np.ndarray) -> int:
    """Which of float32[n, 4] boxes covers a point (x, y), -1 for none; of several the nearest middle's."""
    at = np.asarray(point, np.float32)
    inside = np.flatnonzero((boxes[:, :2] <= at).all(axis=1) & (boxes[:, 2:] >= at).all(axis=1))
    if not len(inside):
        return -1
    middles = boxes[inside].reshape(-1, 2, 2).mean(axis=1)
    return int(inside[np.argmin(np.abs(middles - at).sum(axis=1))])
