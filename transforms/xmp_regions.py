"""Face regions in XMP: where a face is, in the frame that XMP means, and reading them.

Regions count from the corner of the picture as it is stored, before its EXIF orientation is applied
(Metadata Working Group, Guidelines 2.0, 5.9; digiKam, Lightroom and Immich do so); Albumen's boxes
count in the upright picture. Sidecars come from strangers: they are read with `transforms.safe_xml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

Box = tuple[float, float, float, float]

X = "adobe:ns:meta/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
MWG = "http://www.metadataworkinggroup.com/schemas/regions/"
AREA = "http://ns.adobe.com/xmp/sType/Area#"
DIM = "http://ns.adobe.com/xap/1.0/sType/Dimensions#"
MP = "http://ns.microsoft.com/photo/1.2/"
MPRI = "http://ns.microsoft.com/photo/1.2/t/RegionInfo#"
MPREG = "http://ns.microsoft.com/photo/1.2/t/Region#"
DIGIKAM = "http://www.digikam.org/ns/1.0/"
LIGHTROOM = "http://ns.adobe.com/lightroom/1.0/"
ALBUMEN = "urn:albumen:xmp:1.0/"
PREFIXES = {
    "x": X, "rdf": RDF, "mwg-rs": MWG, "stArea": AREA, "stDim": DIM, "MP": MP, "MPRI": MPRI,
    "MPReg": MPREG, "digiKam": DIGIKAM, "lr": LIGHTROOM, "albumen": ALBUMEN,
}  # fmt: skip


@dataclass(frozen=True)
class XmpRegion:
    """A face in a sidecar: its name (may be empty), and its box (x0, y0, x1, y1) as parts of the sides
    of the upright picture. `face_id` where Albumen wrote it, and nobody has named it otherwise since."""

    name: str
    box: Box
    face_id: str | None = None


def to_stored(box: Box, orientation: int) -> Box:
    """An upright box, in parts of the sides, in the frame of the stored picture (EXIF orientation 1 to
    8)."""
    return _corners(box, _UPRIGHT_TO_STORED[orientation])


def to_upright(box: Box, orientation: int) -> Box:
    """The reverse of `to_stored`."""
    # Only the two quarter turns are not their own reverse.
    return _corners(box, _UPRIGHT_TO_STORED[{6: 8, 8: 6}.get(orientation, orientation)])


# Where x and y of a point come from: (take y for x, turn x, turn y), turning after taking.
_UPRIGHT_TO_STORED = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def _corners(box: Box, how: tuple[bool, bool, bool]) -> Box:
    swap, turn_x, turn_y = how
    points = []
    for x, y in (box[:2], box[2:]):
        x, y = (y, x) if swap else (x, y)
        points.append((1 - x if turn_x else x, 1 - y if turn_y else y))
    (ax, ay), (bx, by) = points
    return min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)


def read_regions(root: etree._Element, *, orientation: int) -> list[XmpRegion]:
    """The faces that a parsed XMP packet names, by MWG's schema or else by Microsoft's.

    What is no face (a pet, a focus point, a barcode), and what has no sensible place, is left out.
    """
    for items, read in ((region_items(root, MWG), read_mwg), (region_items(root, MPRI), read_mp)):
        found = [region for region in (read(item) for item in items) if region is not None]
        if found:
            return [XmpRegion(r.name, to_upright(r.box, orientation), r.face_id) for r in found]
    return []


def region_items(root: etree._Element, schema: str) -> Iterator[etree._Element]:
    """The entries of the region list of a schema (`MWG` or `MPRI`)."""
    name = f"{{{MWG}}}RegionList" if schema == MWG else f"{{{MPRI}}}Regions"
    for regions in root.iter(name):
        for bag in regions:
            if bag.tag in (f"{{{RDF}}}Bag", f"{{{RDF}}}Seq"):
                yield from bag.iterfind(f"{{{RDF}}}li")


def read_mwg(item: etree._Element) -> XmpRegion | None:
    """An entry of MWG's list, its box in the stored frame; None where it is no face."""
    kind, name = value(item, MWG, "Type"), value(item, MWG, "Name")
    if kind not in ("", "Face"):
        return None
    numbers = [_number(value(item, AREA, k)) for k in ("x", "y", "w", "h")]
    if any(n is None for n in numbers) or value(item, AREA, "unit") not in ("", "normalized"):
        return None
    x, y, w, h = (n or 0.0 for n in numbers)
    return _region(name, (x - w / 2, y - h / 2, x + w / 2, y + h / 2), own_face(item, name))


def read_mp(item: etree._Element) -> XmpRegion | None:
    """An entry of Microsoft's list, its box in the stored frame; None where it has no place."""
    parts = [_number(p) for p in value(item, MPREG, "Rectangle").split(",")]
    if len(parts) != 4 or any(p is None for p in parts):
        return None
    x, y, w, h = (p or 0.0 for p in parts)
    name = value(item, MPREG, "PersonDisplayName")
    return _region(name, (x, y, x + w, y + h), own_face(item, name))


def own_face(item: etree._Element, name: str) -> str:
    """The face that Albumen means by an entry (by one that it made, or to which it gave the name); empty
    where it has nothing to do with it, or where somebody has given it another `name` since."""
    if _found(item, ALBUMEN, "FaceName") not in (None, name):
        return ""
    return value(item, ALBUMEN, "Face") or value(item, ALBUMEN, "Named")


def value(item: etree._Element, namespace: str, name: str) -> str:
    """A simple property of a structure, however RDF writes it (attribute, element, nested
    description); empty where there is none."""
    return _found(item, namespace, name) or ""


def _found(item: etree._Element, namespace: str, name: str) -> str | None:
    tag = f"{{{namespace}}}{name}"
    for element in item.iter():
        if tag in element.attrib:
            return str(element.attrib[tag]).strip()
        if element.tag == tag and not len(element):
            return (element.text or "").strip()
    return None


def _region(name: str, box: Box, face_id: str) -> XmpRegion | None:
    x0, y0, x1, y1 = box
    if not (x1 > x0 and y1 > y0 and x0 < 1 and y0 < 1 and x1 > 0 and y1 > 0):
        return None
    return XmpRegion(name, box, face_id or None)


_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]{1,3})?")


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) and abs(float(text)) < 1e6 else None


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
    return w * h / union
