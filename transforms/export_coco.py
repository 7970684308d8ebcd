"""Export in the format of COCO: boxes of faces, the person as the category.

Source: COCO data format, cocodataset.org/#format-data; boxes are [x, y, width, height] in pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence

from transforms.records import printable
from transforms.selected import SelectedPerson, SelectedPhoto

NOBODY = "nobody"


def coco_parts(
    photos: Callable[[], Iterable[SelectedPhoto]],
    people: Sequence[SelectedPerson],
    *,
    about: dict[str, object],
    nobody: bool,
) -> Iterator[bytes]:
    """The JSON file in parts; `photos` is walked twice. With `nobody` there is a category for the
    faces of nobody, the last one."""
    number = {p.person_id: i for i, p in enumerate(people, start=1)}
    categories = [
        {"id": i, "name": p.label, "supercategory": "person", "person_id": p.person_id}
        for i, p in enumerate(people, start=1)
    ]
    if nobody:
        categories.append({"id": len(people) + 1, "name": NOBODY, "supercategory": "person"})
    yield b'{"info": ' + json.dumps({"description": "Faces by person", **about}).encode()
    yield b',\n"licenses": [],\n"categories": ' + json.dumps(categories).encode()
    yield b',\n"images": ['
    for i, photo in enumerate(photos(), start=1):
        yield _item(i == 1, _image(i, photo))
    yield b'],\n"annotations": ['
    count = 0
    for i, photo in enumerate(photos(), start=1):
        for face in photo.faces:
            count += 1
            x0, y0, x1, y1 = (round(v, 2) for v in face.inside())
            w, h = round(x1 - x0, 2), round(y1 - y0, 2)
            category = number[face.person_id] if face.person_id else len(people) + 1
            yield _item(
                count == 1,
                {
                    "id": count, "image_id": i, "category_id": category, "bbox": [x0, y0, w, h],
                    "area": round(w * h, 2), "iscrowd": 0, "score": face.score,
                    "face_id": face.face_id, "confidence": face.confidence,
                },
            )  # fmt: skip
    yield b"]}\n"


def _image(number: int, photo: SelectedPhoto) -> dict[str, object]:
    face = photo.first
    return {
        "id": number, "file_name": printable(face.path_bytes), "width": face.width, "height": face.height,
        "date_captured": face.taken_at.isoformat(sep=" ") if face.taken_at else None,
        "photo_id": face.photo_id, "root": face.root,
    }  # fmt: skip


def _item(first: bool, data: dict[str, object]) -> bytes:
    return (b"\n" if first else b",\n") + json.dumps(data).encode()
