"""Export as a FiftyOneImageDetectionDataset: ``labels.json``, and ``data.json`` that names the photos.

Source: docs.voxel51.com, "FiftyOneImageDetectionDataset": boxes are [x, y, width, height] as parts
of the photo's sides. The photos stay where they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence

from transforms.export_coco import NOBODY
from transforms.selected import SelectedFace, SelectedPerson, SelectedPhoto


def label_parts(
    photos: Iterable[SelectedPhoto], people: Sequence[SelectedPerson], *, nobody: bool
) -> Iterator[bytes]:
    """``labels.json`` in parts."""
    classes = [p.label for p in people] + ([NOBODY] if nobody else [])
    yield b'{"classes": ' + json.dumps(classes).encode() + b',\n"labels": {'
    separator = b"\n"
    for photo in photos:
        key, faces = json.dumps(photo.first.photo_id), json.dumps([_detection(f) for f in photo.faces])
        yield separator + f"{key}: {faces}".encode()
        separator = b",\n"
    yield b"\n}}\n"


def media_parts(photos: Iterable[SelectedPhoto], path: Callable[[SelectedFace], str]) -> Iterator[bytes]:
    """``data.json`` in parts: where each photo lies, by `path`."""
    separator = b"{\n"
    for photo in photos:
        yield separator + f"{json.dumps(photo.first.photo_id)}: {json.dumps(path(photo.first))}".encode()
        separator = b",\n"
    yield b"{}\n" if separator == b"{\n" else b"\n}\n"


def _detection(face: SelectedFace) -> dict[str, object]:
    x0, y0, x1, y1 = face.inside()
    w, h = face.width, face.height
    return {
        "label": face.label or NOBODY,
        "bounding_box": [x0 / w, y0 / h, (x1 - x0) / w, (y1 - y0) / h],
        "confidence": face.confidence if face.confidence is not None else face.score,
        "attributes": {"face_id": face.face_id, "person_id": face.person_id, "role": face.role},
    }
