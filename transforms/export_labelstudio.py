"""Export to and import from Label Studio: a task per photo with its faces as predictions.

Source: labelstud.io/guide/tasks and /guide/predictions; boxes are in per cent of the photo's sides.
A face is one region with two results of one id: its box, and whose it is (a choice of known people).
A text field per region takes the names of others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from lxml import etree

from transforms.region import Region
from transforms.safe_xml import xml_text
from transforms.selected import SelectedFace, SelectedPerson, SelectedPhoto

BOX, PERSON, OTHER = "face", "person", "other_name"
MOST_CHOICES = 500
"""People that the interface offers as choices: those with most faces."""


def label_config(people: Sequence[SelectedPerson]) -> bytes:
    """The labelling interface (XML) that a project needs for these tasks."""
    view = etree.Element("View")
    etree.SubElement(view, "Image", name="image", value="$image", zoom="true")
    labels = etree.SubElement(view, "RectangleLabels", name=BOX, toName="image")
    etree.SubElement(labels, "Label", value="Face", background="#84502b")
    choices = etree.SubElement(
        view, "Choices", name=PERSON, toName="image", perRegion="true", choice="single", layout="select"
    )
    for person in people[:MOST_CHOICES]:
        etree.SubElement(choices, "Choice", value=xml_text(person.label))
    etree.SubElement(
        view, "TextArea", name=OTHER, toName="image", perRegion="true", maxSubmissions="1",
        placeholder="Another name",
    )  # fmt: skip
    return etree.tostring(view, pretty_print=True, encoding="utf-8")


def task_parts(
    photos: Iterable[SelectedPhoto],
    *,
    choices: frozenset[str],
    url: Callable[[SelectedFace], str],
    model: str,
) -> Iterator[bytes]:
    """The JSON file of tasks in parts. `choices` are the labels that the interface offers, `url` gives
    the address under which Label Studio finds a photo, `model` the version of the predictions."""
    separator = b"[\n"
    for photo in photos:
        yield separator + json.dumps(_task(photo, choices, url(photo.first), model)).encode()
        separator = b",\n"
    yield b"\n]\n" if separator != b"[\n" else b"[]\n"


def _task(photo: SelectedPhoto, choices: frozenset[str], url: str, model: str) -> dict[str, object]:
    face = photo.first
    results = [result for one in photo.faces for result in _results(one, choices)]
    scores = [f.confidence for f in photo.faces if f.confidence is not None]
    return {
        "data": {"image": url, "photo_id": face.photo_id, "root": face.root, "path": face.path},
        "predictions": [
            {"model_version": model, "score": min(scores, default=0.0), "result": results}
        ],
    }  # fmt: skip


def _results(face: SelectedFace, choices: frozenset[str]) -> Iterator[dict[str, object]]:
    x0, y0, x1, y1 = face.inside()
    place = {
        "x": 100 * x0 / face.width, "y": 100 * y0 / face.height, "rotation": 0,
        "width": 100 * (x1 - x0) / face.width, "height": 100 * (y1 - y0) / face.height,
    }  # fmt: skip
    common = {
        "id": face.face_id.replace(":", "-"), "to_name": "image", "image_rotation": 0,
        "original_width": face.width, "original_height": face.height,
    }  # fmt: skip
    yield {
        **common, "from_name": BOX, "type": "rectanglelabels", "score": face.score,
        "value": {**place, "rectanglelabels": ["Face"]},
    }  # fmt: skip
    if face.label in choices:
        yield {
            **common, "from_name": PERSON, "type": "choices", "score": face.confidence,
            "value": {**place, "choices": [xml_text(face.label)]},
        }  # fmt: skip
    elif face.name:
        yield {
            **common, "from_name": OTHER, "type": "textarea", "score": face.confidence,
            "value": {**place, "text": [xml_text(face.name)]},
        }  # fmt: skip


def read_task(task: dict[str, Any]) -> tuple[str, str, list[Region]]:
    """What people said in one task of Label Studio's JSON export: (photo_id, path, regions).

    The last annotation that was not cancelled counts; predictions don't. A text beats a choice.
    Raises ValueError for what is not such a task.
    """
    try:
        data = task["data"]
        annotations = [a for a in task.get("annotations") or [] if not a.get("was_cancelled")]
        regions: dict[str, dict[str, Any]] = {}
        for result in annotations[-1]["result"] if annotations else []:
            region = regions.setdefault(str(result["id"]), {"choice": "", "text": "", "box": None})
            value = result["value"]
            if result["type"] == "rectanglelabels":
                x, y, w, h = (float(value[k]) / 100 for k in ("x", "y", "width", "height"))
                region["box"] = (x, y, x + w, y + h)
            elif result["type"] == "choices":
                region["choice"] = str(value["choices"][0]) if value["choices"] else ""
            elif result["type"] == "textarea":
                texts = value["text"] if isinstance(value["text"], list) else [value["text"]]
                region["text"] = str(texts[0]).strip() if texts else ""
        found = [
            Region(
                region["text"] or region["choice"], region["box"], relative=True,
                face_id="{}:{}".format(*key.rpartition("-")[::2]) if "-" in key else None,
            )
            for key, region in regions.items() if region["box"] is not None
        ]  # fmt: skip
        return str(data.get("photo_id", "")), str(data.get("path", "")), found
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"not a task of Label Studio's JSON export: {error!r}") from error
