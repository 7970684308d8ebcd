from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from PIL import Image

from tests.photo_files import STORED
from transforms.export_xmp import FaceRegion, merge
from transforms.safe_xml import UnsafeXml, parse
from transforms.xmp_regions import RDF, read_regions, to_stored, to_upright

FACE = FaceRegion("id:0", "Anna", (0.1, 0.2, 0.3, 0.6))


DESCRIPTION, LI = "<rdf:li><rdf:Description ", '<rdf:li rdf:parseType="Resource">'
LIST = '<mwg-rs:Regions rdf:parseType="Resource"><mwg-rs:RegionList><rdf:Bag>'
END = "</rdf:Bag></mwg-rs:RegionList></mwg-rs:Regions>"


def sidecar(inner: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:mwg-rs="http://www.metadataworkinggroup.com/schemas/regions/"'
        ' xmlns:stArea="http://ns.adobe.com/xmp/sType/Area#" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#" xmlns:MP="http://ns.microsoft.com/photo/1.2/"'
        f' xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#">{inner}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def theirs(name: str, box=FACE.box, form: str = "nested") -> bytes:
    x, y, w, h = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]
    area = (
        f'<mwg-rs:Area stArea:x="{x}" stArea:y="{y}" stArea:w="{w}" stArea:h="{h}" stArea:unit="normalized"/>'
    )
    if form == "nested":
        item = f'{DESCRIPTION}mwg-rs:Name="{name}" mwg-rs:Type="Face">{area}</rdf:Description></rdf:li>'
    else:
        item = f"{LI}<mwg-rs:Name>{name}</mwg-rs:Name><mwg-rs:Type>Face</mwg-rs:Type>{area}</rdf:li>"
    return sidecar(f"{LIST}{item}{END}<dc:format>image/jpeg</dc:format>")


def regions(data: bytes | None, orientation: int = 1):
    assert data is not None
    return read_regions(parse(data), orientation=orientation)


def add(data: bytes | None, *faces: FaceRegion, orientation: int = 1) -> bytes | None:
    return merge(data, faces, size=(300, 200), orientation=orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_covers_the_same_pixels_in_the_file(orientation: int) -> None:
    upright = np.zeros((40, 60), np.uint8)
    x0, y0, x1, y1 = 6, 4, 24, 12
    upright[y0:y1, x0:x1] = 255
    image = Image.fromarray(upright)
    stored = np.asarray(image.transpose(STORED[orientation]) if orientation in STORED else image)
    box = to_stored((x0 / 60, y0 / 40, x1 / 60, y1 / 40), orientation)
    rows, columns = np.nonzero(stored)
    h, w = stored.shape
    assert (box[0] * w, box[1] * h, box[2] * w, box[3] * h) == pytest.approx(
        (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    )
    assert to_upright(box, orientation) == pytest.approx((x0 / 60, y0 / 40, x1 / 60, y1 / 40))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_written_is_read_back(orientation: int) -> None:
    (found,) = regions(add(None, FACE, orientation=orientation), orientation)
    assert (found.name, found.face_id) == ("Anna", "id:0")
    assert found.box == pytest.approx(FACE.box, abs=1e-5)


@given(name=st.text(min_size=1, max_size=40))
def test_any_name_is_held(name: str) -> None:
    data = add(None, FaceRegion("id:0", name, FACE.box))
    (found,) = regions(data)
    expected = "".join("\N{REPLACEMENT CHARACTER}" if c < " " and c not in "\t\n\r" else c for c in name)
    expected = (
        expected.replace("\ufffe", "\ufffd")
        .replace("\uffff", "\ufffd")
        .replace("\r\n", "\n")
        .replace("\r", "\n")
    )
    assert found.name.split() == expected.strip().split() or found.name == expected.strip()


@pytest.mark.parametrize("form", ["nested", "flat"])
def test_a_name_that_others_gave_counts(form: str) -> None:
    merged = add(theirs("Anne", form=form), FACE)
    assert [r.name for r in regions(merged)] == ["Anne"]
    assert b"People/Anna" not in merged
    assert b"image/jpeg" in merged


@pytest.mark.parametrize("form", ["nested", "flat"])
def test_an_unnamed_region_of_others_gets_a_name_and_loses_it_again(form: str) -> None:
    before = theirs("", form=form)
    named = add(before, FACE)
    assert [r.name for r in regions(named)] == ["Anna"]
    after = add(named)
    assert [r.name for r in regions(after)] == [""]
    assert b"Anna" not in after and b"albumen" not in after.replace(b"urn:albumen:xmp:1.0/", b"")


def test_other_faces_are_added_and_taken_away_whole() -> None:
    before = theirs("Else", (0.6, 0.6, 0.8, 0.9))
    both = add(before, FACE)
    assert sorted(r.name for r in regions(both)) == ["Anna", "Else"]
    again = add(both, FACE)
    assert again == both, "merging twice changes nothing"
    renamed = add(both, FaceRegion("id:0", "Berta", FACE.box))
    assert sorted(r.name for r in regions(renamed)) == ["Berta", "Else"] and b"Anna" not in renamed
    after = add(both)
    assert [r.name for r in regions(after)] == ["Else"] and b"Anna" not in after and b"TagsList" not in after


def as_attributes(data: bytes) -> bytes:
    """As Adobe's toolkit, which digiKam and others write with, puts simple fields of a structure."""
    root = etree.fromstring(data)
    for item in list(root.iter(f"{{{RDF}}}li")):
        if item.attrib.pop(f"{{{RDF}}}parseType", None) is not None:
            inner = etree.SubElement(item, f"{{{RDF}}}Description")
            for field in [e for e in item if e is not inner]:
                item.remove(field)
                if len(field) or field.attrib:
                    inner.append(field)
                else:
                    inner.set(field.tag, field.text or "")
    return etree.tostring(root)


@pytest.mark.parametrize("rewritten", [lambda data: data, as_attributes])
@pytest.mark.parametrize("before", [None, theirs("")], ids=["albumens region", "their region"])
def test_a_name_that_others_changed_counts_and_stays(before: bytes | None, rewritten) -> None:
    """Albumen's mark is on the region still, but its name is no longer the one that Albumen gave."""
    merged = rewritten(add(before, FACE))
    assert all(r.face_id for r in regions(merged)), "nothing new in it"
    assert add(merged, FaceRegion("id:0", "Berta", FACE.box)).count(b"Berta") >= 2, "a new name of Albumen's"
    changed = re.sub(rb'(?<!Face)Name(>|=")Anna', rb"Name\1Carla", merged)
    assert [(r.name, r.face_id) for r in regions(changed)] == [("Carla", None)]
    for after in (add(changed, FaceRegion("id:0", "Berta", FACE.box)), add(changed)):
        assert [r.name for r in regions(after)] == ["Carla"] and b"Berta" not in after
        assert b"<albumen" not in after and b"albumen:Face" not in after


@pytest.mark.parametrize("before", [None, theirs(""), theirs("Else", (0.6, 0.6, 0.8, 0.9))])
def test_what_another_program_has_rewritten_is_taken_away_as_well(before: bytes | None) -> None:
    after = add(as_attributes(add(before, FACE)))
    assert after is None or (b"Anna" not in after and b"albumen:" not in after)
    names = [r.name for r in regions(before)] if before else []
    assert [r.name for r in regions(after or b"<x/>")] == names


def test_a_tag_that_was_there_stays() -> None:
    before = sidecar(
        '<digiKam:TagsList xmlns:digiKam="http://www.digikam.org/ns/1.0/"><rdf:Seq><rdf:li>People/Anna</rdf:li>'
        "<rdf:li>Places/Rome</rdf:li></rdf:Seq></digiKam:TagsList>"
    )
    merged = add(before, FACE)
    assert merged.count(b"<rdf:li>People/Anna</rdf:li>") == 1
    after = add(merged)
    assert b"People/Anna" in after and b"Places/Rome" in after and b"RegionList" not in after


def test_nothing_left_means_no_sidecar_where_it_was_albumens() -> None:
    made = add(None, FACE)
    assert add(made) is None
    empty = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
    assert add(empty) is not None, "an empty one of others is theirs"


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><x>&b;</x>'


@pytest.mark.parametrize(
    "data",
    [
        BOMB,
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>',
        b"<x",
        b"",
        b"<x>" * 400,
        b"<x>\x00</x>",
    ],
)
def test_hostile_xml_is_refused(data: bytes) -> None:
    with pytest.raises(UnsafeXml):
        merge(data, [FACE], size=(1, 1), orientation=1)


@pytest.mark.parametrize(
    "area",
    [
        'stArea:x="nan" stArea:y="0.5" stArea:w="0.1" stArea:h="0.1"',
        'stArea:x="0.5" stArea:y="0.5" stArea:w="-1" stArea:h="0.1"',
        'stArea:x="9e99" stArea:y="0.5" stArea:w="1" stArea:h="0.1"',
        'stArea:x="0.5" stArea:y="0.5"',
        'stArea:x="120" stArea:y="50" stArea:w="40" stArea:h="40" stArea:unit="pixel"',
    ],
)
def test_regions_without_a_sensible_place_are_left_out(area: str) -> None:
    data = sidecar(f"{LIST}{LI}<mwg-rs:Name>A</mwg-rs:Name><mwg-rs:Area {area}/></rdf:li>{END}")
    assert regions(data) == []


def test_pets_are_no_people_and_microsofts_regions_are_read() -> None:
    pet = theirs("Rex").replace(b'mwg-rs:Type="Face"', b'mwg-rs:Type="Pet"')
    assert regions(pet) == []
    microsoft = sidecar(
        '<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag><rdf:li rdf:parseType="Resource">'
        "<MPReg:PersonDisplayName>Cleo</MPReg:PersonDisplayName>"
        "<MPReg:Rectangle>0.1, 0.2, 0.2, 0.4</MPReg:Rectangle>"
        "</rdf:li></rdf:Bag></MPRI:Regions></MP:RegionInfo>"
    )
    (found,) = regions(microsoft)
    assert found.name == "Cleo" and found.box == pytest.approx(FACE.box)


def test_packet_wrappers_and_comments_stay(tmp_path: Path) -> None:
    data = b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><!-- mine -->' + theirs(
        "Else", (0.6, 0.6, 0.8, 0.9)
    )
    merged = add(data + b'<?xpacket end="w"?>', FACE)
    assert (
        merged.startswith(b"<?xpacket")
        and b"<!-- mine -->" in merged
        and merged.rstrip().endswith(b'end="w"?>')
    )
    etree.fromstring(merged)
