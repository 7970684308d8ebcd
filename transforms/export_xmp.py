"""Sidecars with the people of a photo: face regions and people tags, merged into what is there.

Written are MWG's regions (Lightroom, digiKam, Immich, Picasa), Microsoft's (Windows), and the tags
``People/Name`` of digiKam and Lightroom. Everything that Albumen adds is marked in a namespace of its
own, so that the next export, or forgetting, takes away just that. What others wrote stays as it is:
where they have a named face already, theirs counts, as does a name that they gave to a face of Albumen's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lxml import etree

from transforms.safe_xml import parse, xml_text
from transforms.xmp_regions import (
    ALBUMEN,
    AREA,
    DIGIKAM,
    DIM,
    LIGHTROOM,
    MP,
    MPREG,
    MPRI,
    MWG,
    PREFIXES,
    RDF,
    Box,
    X,
    overlap,
    own_face,
    read_mp,
    read_mwg,
    to_stored,
    value,
)

SAME_FACE = 0.4
"""Overlap from which two regions are one face: programs draw faces more or less tightly."""

_TOOL = "Albumen"
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    f'<x:xmpmeta xmlns:x="{X}" x:xmptk="{_TOOL}"><rdf:RDF xmlns:rdf="{RDF}"/></x:xmpmeta><?xpacket end="w"?>'
).encode()


@dataclass(frozen=True)
class FaceRegion:
    """A face to write. `box` is in parts of the sides of the upright picture; `name` None: unnamed."""

    face_id: str
    name: str | None
    box: Box


def merge(
    sidecar: bytes | None, faces: Sequence[FaceRegion], *, size: tuple[int, int], orientation: int
) -> bytes | None:
    """The sidecar (None: there is none yet) with these faces in place of those it has from Albumen.

    `size` is the upright picture's. None where Albumen began the sidecar and nothing would be left in
    it. Raises UnsafeXml where the sidecar can't be read, which then must not be touched.
    """
    root = parse(sidecar if sidecar is not None else _EMPTY)
    begun_here = root.get(_q(X, "xmptk")) == _TOOL
    rdf = root if root.tag == _q(RDF, "RDF") else next(root.iter(_q(RDF, "RDF")), None)
    if rdf is None:
        rdf = etree.SubElement(root, _q(RDF, "RDF"), nsmap={"rdf": RDF})
    _strip(rdf)
    written = _add_regions(rdf, faces, size=size, orientation=orientation)
    _add_tags(rdf, sorted({f"People/{_tag(f.name)}" for f in written if f.name}))
    if not _holds_anything(rdf) and begun_here:
        return None
    if begun_here:
        etree.indent(root)
    return etree.tostring(root.getroottree(), encoding="utf-8")


def _add_regions(rdf, faces: Sequence[FaceRegion], *, size, orientation) -> list[FaceRegion]:
    """Adds regions in both schemas; the faces that it wrote or named."""
    if not faces:
        return []
    width, height = size if orientation < 5 else size[::-1]
    placed = [(face, to_stored(face.box, orientation)) for face in faces]
    mwg, mp = _bag(rdf, MWG, "Regions", MWG, "RegionList"), _bag(rdf, MP, "RegionInfo", MPRI, "Regions")
    schemas = ((mwg, read_mwg, _mwg_item), (mp, read_mp, _mp_item))
    theirs = [[(item, read(item)) for item in bag.iterfind(_q(RDF, "li"))] for bag, read, _ in schemas]
    written: list[FaceRegion] = []
    for face, box in placed:
        same = [
            [(item, r) for item, r in found if r and overlap(r.box, box) >= SAME_FACE] for found in theirs
        ]
        if any(r.name for found in same for _, r in found):
            continue
        for (bag, _, write), found in zip(schemas, same, strict=True):
            if not found:
                bag.append(write(face, box))
            elif face.name:
                _name_theirs(found[0][0], face)
        written.append(face)
    regions = mwg.getparent().getparent()
    if next(regions.iter(_q(MWG, "AppliedToDimensions")), None) is None:
        values = {_q(DIM, "w"): str(width), _q(DIM, "h"): str(height), _q(DIM, "unit"): "pixel"}
        regions.insert(0, regions.makeelement(_q(MWG, "AppliedToDimensions"), values, nsmap={"stDim": DIM}))
    for bag in (mwg, mp):
        if not len(bag):
            _prune(bag)
    return written


def _mwg_item(face: FaceRegion, box: Box) -> etree._Element:
    x0, y0, x1, y1 = box
    item = _item(face)
    if face.name:
        etree.SubElement(item, _q(MWG, "Name")).text = xml_text(face.name)
    etree.SubElement(item, _q(MWG, "Type")).text = "Face"
    numbers = {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2, "w": x1 - x0, "h": y1 - y0}
    values = {_q(AREA, name): f"{number:.6f}" for name, number in numbers.items()}
    etree.SubElement(
        item, _q(MWG, "Area"), {**values, _q(AREA, "unit"): "normalized"}, nsmap={"stArea": AREA}
    )
    return item


def _mp_item(face: FaceRegion, box: Box) -> etree._Element:
    x0, y0, x1, y1 = box
    item = _item(face)
    if face.name:
        etree.SubElement(item, _q(MPREG, "PersonDisplayName")).text = xml_text(face.name)
    numbers = (x0, y0, x1 - x0, y1 - y0)
    etree.SubElement(item, _q(MPREG, "Rectangle")).text = ", ".join(f"{n:.6f}" for n in numbers)
    return item


def _item(face: FaceRegion) -> etree._Element:
    item = etree.Element(
        _q(RDF, "li"), {_q(RDF, "parseType"): "Resource"},
        nsmap={k: PREFIXES[k] for k in ("rdf", "mwg-rs", "MPReg", "albumen")},
    )  # fmt: skip
    etree.SubElement(item, _q(ALBUMEN, "Face")).text = face.face_id
    etree.SubElement(item, _q(ALBUMEN, "FaceName")).text = xml_text(face.name or "")
    return item


def _name_theirs(item: etree._Element, face: FaceRegion) -> None:
    """Gives an unnamed region of others a name, and says so, that it can be taken away again."""
    structure = item if item.get(_q(RDF, "parseType")) == "Resource" or not len(item) else item[0]
    if structure is item:
        item.set(_q(RDF, "parseType"), "Resource")
    microsoft = any(True for _ in item.iter(_q(MPREG, "Rectangle"))) or any(
        _q(MPREG, "Rectangle") in e.attrib for e in item.iter()
    )
    for empty in list(structure.iter(_q(MWG, "Name"), _q(MPREG, "PersonDisplayName"))):
        empty.getparent().remove(empty)
    tag = _q(MPREG, "PersonDisplayName") if microsoft else _q(MWG, "Name")
    structure.attrib.pop(tag, None)
    etree.SubElement(structure, tag).text = xml_text(face.name or "")
    etree.SubElement(structure, _q(ALBUMEN, "Named"), nsmap={"albumen": ALBUMEN}).text = face.face_id
    etree.SubElement(structure, _q(ALBUMEN, "FaceName")).text = xml_text(face.name or "")


def _add_tags(rdf: etree._Element, tags: list[str]) -> None:
    """Adds people tags that are not there yet, and remembers which those are."""
    added = []
    for namespace, name, kind, separator in _TAGS:
        present = {(li.text or "").strip() for bag in rdf.iter(_q(namespace, name)) for li in bag.iter(_LI)}
        for tag in tags:
            text = tag.replace("/", separator, 1)
            if text not in present:
                _append(rdf, namespace, name, kind, text)
                added.append(f"{name}:{text}")
    for text in added:
        _append(rdf, ALBUMEN, "Tags", "Bag", text)


_LI = f"{{{RDF}}}li"
_TAGS = ((DIGIKAM, "TagsList", "Seq", "/"), (LIGHTROOM, "hierarchicalSubject", "Bag", "|"))


def _append(rdf, namespace: str, name: str, kind: str, text: str) -> None:
    holder = next(rdf.iter(_q(namespace, name)), None)
    if holder is None:
        holder = etree.SubElement(_description(rdf), _q(namespace, name), nsmap=_nsmap(namespace))
    bag = next((e for e in holder if e.tag in (_q(RDF, "Bag"), _q(RDF, "Seq"))), None)
    if bag is None:
        bag = etree.SubElement(holder, _q(RDF, kind))
    etree.SubElement(bag, _LI).text = xml_text(text)


def _strip(rdf: etree._Element) -> None:
    """Takes away all that Albumen wrote; of what others have named otherwise since, just the marks."""
    for structure in _marked(rdf, "Face"):
        if _is_ours(structure):
            item = structure if structure.tag == _LI else structure.getparent()
            bag = item.getparent()
            bag.remove(item)
            if not len(bag):
                _prune(bag)
    for structure in _marked(rdf, "Named"):
        if _is_ours(structure):
            _drop(structure, _q(MWG, "Name"), _q(MPREG, "PersonDisplayName"))
    for name in ("Face", "Named", "FaceName"):
        for structure in _marked(rdf, name):
            _drop(structure, _q(ALBUMEN, name))
    ours = {(li.text or "") for tags in rdf.iter(_q(ALBUMEN, "Tags")) for li in tags.iter(_LI)}
    for namespace, name, _, _ in _TAGS:
        for holder in list(rdf.iter(_q(namespace, name))):
            for li in list(holder.iter(_LI)):
                if f"{name}:{(li.text or '').strip()}" in ours:
                    bag = li.getparent()
                    bag.remove(li)
                    if not len(bag):
                        _prune(bag)
    for tags in list(rdf.iter(_q(ALBUMEN, "Tags"))):
        tags.getparent().remove(tags)


def _marked(rdf: etree._Element, name: str) -> list[etree._Element]:
    """The structures that have a mark: as an element, or as the attribute that another program made of it."""
    tag, found = _q(ALBUMEN, name), []
    for element in rdf.iter():
        if element.tag == tag:
            found.append(element.getparent())
        elif tag in element.attrib:
            found.append(element)
    return found


def _is_ours(structure: etree._Element) -> bool:
    name = value(structure, MWG, "Name") or value(structure, MPREG, "PersonDisplayName")
    return bool(own_face(structure, name))


def _drop(structure: etree._Element, *tags: str) -> None:
    for tag in tags:
        structure.attrib.pop(tag, None)
        for element in structure.findall(tag):
            structure.remove(element)


def _prune(element: etree._Element) -> None:
    """Removes an emptied list, and the structures around it that then hold nothing (but the size that
    regions apply to)."""
    parent = element.getparent()
    while parent is not None and parent.tag != _q(RDF, "RDF"):
        top = parent.tag == _q(RDF, "Description") and parent.getparent().tag == _q(RDF, "RDF")
        parent.remove(element)
        rest = [e for e in parent if e.tag != _q(MWG, "AppliedToDimensions")]
        attributes = [a for a in parent.attrib if not a.startswith(f"{{{RDF}}}")]
        if top or rest or attributes:
            return
        element, parent = parent, parent.getparent()


def _holds_anything(rdf: etree._Element) -> bool:
    return any(
        len(d) or any(not a.startswith(f"{{{RDF}}}") for a in d.attrib)
        for d in rdf.iterfind(_q(RDF, "Description"))
    )


def _bag(rdf, outer_ns: str, outer: str, inner_ns: str, inner: str) -> etree._Element:
    """The list of regions of a schema, made where it is missing."""
    found = next(rdf.iter(_q(inner_ns, inner)), None)
    if found is None:
        holder = next(rdf.iter(_q(outer_ns, outer)), None)
        if holder is None:
            holder = etree.SubElement(
                _description(rdf), _q(outer_ns, outer), {_q(RDF, "parseType"): "Resource"},
                nsmap=_nsmap(outer_ns),
            )  # fmt: skip
        structure = holder[0] if len(holder) and holder[0].tag == _q(RDF, "Description") else holder
        found = etree.SubElement(structure, _q(inner_ns, inner), nsmap=_nsmap(inner_ns))
    bag = next((e for e in found if e.tag in (_q(RDF, "Bag"), _q(RDF, "Seq"))), None)
    return bag if bag is not None else etree.SubElement(found, _q(RDF, "Bag"))


def _description(rdf: etree._Element) -> etree._Element:
    found = rdf.find(_q(RDF, "Description"))
    if found is None:
        found = etree.SubElement(rdf, _q(RDF, "Description"), {_q(RDF, "about"): ""})
    return found


def _tag(name: str | None) -> str:
    return (name or "").replace("/", "-").replace("|", "-").strip()


def _nsmap(namespace: str) -> dict[str, str]:
    return {prefix: uri for prefix, uri in PREFIXES.items() if uri == namespace}


def _q(namespace: str, name: str) -> str:
    return f"{{{namespace}}}{name}"
