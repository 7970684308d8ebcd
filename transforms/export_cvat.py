"""Export to and import from CVAT for images, XML 1.1: a box labelled ``face`` with the person's name (or
id, while there is no name).

Source: docs.cvat.ai, "XML annotation format", version 1.1 for images.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from lxml import etree

from transforms.region import Region
from transforms.safe_xml import UnsafeXml, iterate_elements, xml_text
from transforms.selected import SelectedFace, SelectedPhoto

FACE_LABEL, PERSON, FACE = "face", "person", "face_id"


def cvat_parts(
    photos: Iterable[SelectedPhoto], *, count: int, name_of: Callable[[SelectedFace], str]
) -> Iterator[bytes]:
    """The file ``annotations.xml`` in parts; `count` photos follow, `name_of` is what CVAT calls each."""
    yield (
        b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta><task>'
        b"<name>faces</name><size>%d</size><mode>annotation</mode><labels><label><name>face</name>"
        b"<type>rectangle</type><attributes>" % count
    )
    for name in (PERSON, FACE):
        yield (
            f"<attribute><name>{name}</name><mutable>False</mutable><input_type>text</input_type>"
            "<default_value></default_value><values></values></attribute>"
        ).encode()
    yield b"</attributes></label></labels></task></meta>\n"
    for number, photo in enumerate(photos):
        yield etree.tostring(_image(number, photo, name_of(photo.first)), encoding="utf-8") + b"\n"
    yield b"</annotations>\n"


def labels_json() -> bytes:
    """The labels of a task that takes these annotations, for CVAT's "Raw" constructor of labels."""
    attributes = [
        {"name": name, "mutable": False, "input_type": "text", "default_value": "", "values": [""]}
        for name in (PERSON, FACE)
    ]
    return json.dumps(
        [{"name": FACE_LABEL, "type": "rectangle", "attributes": attributes}], indent=1
    ).encode()


def _image(number: int, photo: SelectedPhoto, called: str) -> etree._Element:
    face = photo.first
    image = etree.Element(
        "image", id=str(number), name=xml_text(called), width=str(face.width), height=str(face.height)
    )
    for one in photo.faces:
        corners = zip(("xtl", "ytl", "xbr", "ybr"), one.inside(), strict=True)
        box = etree.SubElement(image, "box", label=FACE_LABEL, source="auto", occluded="0", z_order="0")
        for name, value in corners:
            box.set(name, f"{value:.2f}")
        for name, text in ((PERSON, one.label or ""), (FACE, one.face_id)):
            etree.SubElement(box, "attribute", name=name).text = xml_text(text)
    return image


def read_cvat(file: BinaryIO) -> Iterator[tuple[str, list[Region]]]:
    """The regions of each image of an annotations file: (name of the image, regions).

    Raises UnsafeXml for what is not such a file, or tries to make the reader expand or fetch things.
    """
    for image in iterate_elements(file, "image"):
        regions = []
        for box in image.iterfind("box"):
            texts = {a.get("name"): (a.text or "").strip() for a in box.iterfind("attribute")}
            try:
                corners = tuple(float(box.get(k, "")) for k in ("xtl", "ytl", "xbr", "ybr"))
            except ValueError as error:
                raise UnsafeXml(f"a box of image {image.get('name')!r} has no corners") from error
            label = box.get("label") or ""
            name = texts.get(PERSON) or ("" if label.lower() == FACE_LABEL else label)
            x0, y0, x1, y1 = corners
            regions.append(Region(name, (x0, y0, x1, y1), face_id=texts.get(FACE) or None))
        yield image.get("name") or "", regions
