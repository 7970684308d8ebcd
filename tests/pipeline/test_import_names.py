from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lxml import etree

from pipeline.export import ExportOptions, export
from pipeline.import_names import import_cvat, import_labelstudio, import_xmp
from tests.export_library import BOX, HEIGHT, WIDTH, Exported, make_library, write_photo
from transforms.correction_lines import Line, NamedFace, lines_for, with_lines
from transforms.corrections import parse
from transforms.export_xmp import FaceRegion, merge
from transforms.known_content import content_id
from transforms.library import LibraryError
from transforms.records import OK, FaceRow, FileEntry, PhotoRow
from transforms.region import Region
from transforms.region_match import match_regions
from transforms.selected import SelectedFace, Selection


@pytest.fixture
def made(tmp_path: Path) -> Exported:
    return make_library(tmp_path / "made")


def corrections(made: Exported) -> list[dict[str, str]]:
    with open(made.library.file("corrections.csv"), newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def theirs(name: str, orientation: int) -> bytes:
    """A sidecar of another program with a face at BOX."""
    relative = (BOX[0] / WIDTH, BOX[1] / HEIGHT, BOX[2] / WIDTH, BOX[3] / HEIGHT)
    data = merge(None, [FaceRegion("x", name, relative)], size=(WIDTH, HEIGHT), orientation=orientation)
    assert data is not None
    return data.replace(b"<albumen:Face>x</albumen:Face>", b"")


def test_names_in_sidecars_become_corrections_whatever_the_orientation(made: Exported) -> None:
    for orientation in range(1, 9):
        (made.archive / f"o{orientation}.jpg.xmp").write_bytes(theirs("Anna Real", orientation))
    summary = import_xmp(made.library)
    assert (summary.photos, summary.named, summary.matched) == (8, 8, 8)
    (line,) = corrections(made)
    assert (line["kind"], line["name"]) == ("name", "Anna Real")
    assert line["who"] in {made.face_ids[f"o{o}.jpg".encode()] for o in range(1, 9)}
    assert import_xmp(made.library).corrections == 0, "a second time says nothing new"
    assert len(corrections(made)) == 1


def test_faces_apart_with_one_name_are_said_to_be_the_same(made: Exported) -> None:
    for path in ("o1.jpg", "=1+1.jpg", "nobody.jpg"):
        (made.archive / f"{path}.xmp").write_bytes(theirs("Zoe", 1))
    import_xmp(made.library)
    by_kind = {line["kind"]: line for line in corrections(made)}
    assert set(by_kind) == {"name", "same"}
    assert by_kind["same"]["who"] == by_kind["name"]["who"]
    assert len(by_kind["same"]["with"].split(" | ")) == 2


def test_what_albumen_wrote_itself_is_not_imported(made: Exported) -> None:
    export(made.library, ExportOptions(to="xmp", beside=True))
    summary = import_xmp(made.library)
    assert summary.named == 0 and not os.path.exists(made.library.file("corrections.csv"))


def test_regions_inside_a_photo_are_found(made: Exported) -> None:
    from PIL import Image

    path = made.archive / "o1.jpg"
    with Image.open(path) as image:
        image.load()
    image.save(path, "JPEG", quality=95, xmp=theirs("Inside", 1))
    assert import_xmp(made.library).matched == 1
    assert corrections(made)[0]["name"] == "Inside"
    assert import_xmp(made.library, embedded=False).named == 0


def test_damaged_sidecars_are_told_and_the_others_read(made: Exported) -> None:
    (made.archive / "o1.jpg.xmp").write_bytes(b"<x egion")
    (made.archive / "o2.jpg.xmp").write_bytes(theirs("Anna Real", 2))
    summary = import_xmp(made.library)
    assert [name for name, _ in summary.problems] == ["o1.jpg"] and summary.matched == 1


def test_label_studio_brings_choices_and_other_names_back(made: Exported, tmp_path: Path) -> None:
    export(
        made.library,
        ExportOptions(to="labelstudio", out=str(tmp_path / "out"), selection=Selection(ungrouped=True)),
    )
    tasks = json.loads((tmp_path / "out/tasks.json").read_bytes())
    for task in tasks:
        task["annotations"] = [{"result": task.pop("predictions")[0]["result"]}]
        for result in list(task["annotations"][0]["result"]):
            if result["type"] == "choices" and result["value"]["choices"] == ["Bello / Böse"]:
                result["value"]["choices"] = ['=Formula "Anna"']
            if task["data"]["path"] == "nobody.jpg" and result["type"] == "rectanglelabels":
                text = {**result, "type": "textarea", "from_name": "other_name", "value": {"text": ["Kurt"]}}
                task["annotations"][0]["result"].append(text)
    (tmp_path / "done.json").write_text(json.dumps(tasks))
    summary = import_labelstudio(made.library, str(tmp_path / "done.json"))
    assert summary.matched == 18, "the label of a person without a name counts as matched, but is no name"
    lines = {(line["kind"], line["name"]) for line in corrections(made)}
    assert lines == {("same", ""), ("name", "Kurt")}
    same = next(line for line in corrections(made) if line["kind"] == "same")
    assert same["with"] in {made.face_ids[p] for p in made.paths["p-bello"]}


def test_cvat_brings_names_back(made: Exported, tmp_path: Path) -> None:
    export(made.library, ExportOptions(to="cvat", out=str(tmp_path / "out")))
    xml = (tmp_path / "out/annotations.xml").read_text()
    xml = xml.replace('name="a&amp;b &lt;c&gt;.jpg"', 'name="task 1/a&amp;b &lt;c&gt;.jpg"')
    (tmp_path / "done.xml").write_text(xml.replace("Bello / Böse", "Bello"))
    assert import_cvat(made.library, str(tmp_path / "done.xml")).matched == 17
    assert [(c["kind"], c["name"]) for c in corrections(made)] == [("name", "Bello")]


def test_who_takes_one_face_out_of_a_person_leaves_the_others_where_they_are(
    made: Exported, tmp_path: Path
) -> None:
    export(made.library, ExportOptions(to="labelstudio", out=str(tmp_path / "out")))
    tasks = json.loads((tmp_path / "out/tasks.json").read_bytes())
    for task in tasks:
        task["annotations"] = [{"result": task.pop("predictions")[0]["result"]}]
        for result in task["annotations"][0]["result"]:
            here = task["data"]["path"] in ("=1+1.jpg", "pair2.jpg") and result["type"] == "choices"
            if here and result["value"]["choices"] != ['=Formula "Anna"']:
                result["value"]["choices"] = ["Kurt"]
    (tmp_path / "done.json").write_text(json.dumps(tasks))
    import_labelstudio(made.library, str(tmp_path / "done.json"))
    one, other = made.face_ids[b"=1+1.jpg"], made.face_ids[b"pair2.jpg"]
    lines = [(line["kind"], line["who"], line["with"], line["name"]) for line in corrections(made)]
    assert lines[:2] == [("split", "p-bello", one, ""), ("split", "p-none", other, "")]
    stay = sorted(made.face_ids[p] for p in made.paths["p-bello"] if p != b"=1+1.jpg")
    assert lines[2] == ("same", stay[0], " | ".join(stay[1:]), "")
    assert len(lines) == 5 and {line[0] for line in lines[3:]} == {"name", "same"}


def test_photos_of_one_path_in_two_archives_keep_apart(made: Exported, tmp_path: Path) -> None:
    """Faces at one place in two photos of one path, with different names."""
    second = tmp_path / "second"
    data = write_photo(second / "nobody.jpg", seed=123)
    photo, info = content_id(data), made.library.info()
    made.library.save_info(replace(info, roots={**info.roots, "second": str(second)}))
    row = PhotoRow(FileEntry("second", b"nobody.jpg", 1, 1), OK, None, photo, WIDTH, HEIGHT, "JPEG")
    box = np.array(BOX, np.float32)
    made.library.commit_chunk(
        "second", fingerprint="test", photos=[row],
        faces=[FaceRow(f"{photo}:0", photo, box, np.zeros((5, 2), np.float32), 0.99, 24, 0.3, 0, 0)],
        embeddings=np.eye(1, 8, dtype=np.float32), thumbs=(),
    )  # fmt: skip
    everybody = Selection(ungrouped=True)
    export(made.library, ExportOptions(to="cvat", out=str(tmp_path / "out"), selection=everybody))
    root = etree.parse(tmp_path / "out/annotations.xml").getroot()
    lonely = content_id((made.archive / "nobody.jpg").read_bytes())
    wanted = {f"{lonely}:0": "Kurt", f"{photo}:0": "Lotte"}
    for box_of in root.iter("box"):
        texts = {a.get("name"): a for a in box_of.iter("attribute")}
        texts["person"].text = wanted.get(texts["face_id"].text)
        texts["face_id"].text = ""  # as for a box that was drawn anew
    (tmp_path / "done.xml").write_bytes(etree.tostring(root))
    import_cvat(made.library, str(tmp_path / "done.xml"))
    assert {line["who"]: line["name"] for line in corrections(made)} == wanted


@pytest.mark.parametrize("content", ["{}", "[1]", "[", '[{"data": 1}]'])
def test_what_is_no_export_of_label_studio_is_refused(made: Exported, tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)
    if content == "{}":
        assert import_labelstudio(made.library, str(tmp_path / "bad.json")).named == 0
    else:
        with pytest.raises(LibraryError, match=r"bad\.json"):
            import_labelstudio(made.library, str(tmp_path / "bad.json"))


def test_what_is_no_export_of_cvat_is_refused(made: Exported, tmp_path: Path) -> None:
    for content in (
        b"<",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a><image name="&b;"/></a>',
        b"<a><image><box/></image></a>",
    ):
        (tmp_path / "bad.xml").write_bytes(content)
        with pytest.raises(LibraryError, match=r"bad\.xml"):
            import_cvat(made.library, str(tmp_path / "bad.xml"))


def face(box: tuple[float, float, float, float], face_id: str = "a:0") -> SelectedFace:
    return SelectedFace(face_id, None, None, None, None, None, "a", "r", "p", b"p", None, 100, 100, box, 1.0)


def test_regions_go_to_the_faces_that_they_overlap_most() -> None:
    faces = [face((0, 0, 20, 20)), face((18, 0, 40, 20), "a:1"), face((60, 60, 80, 80), "a:2")]
    regions = [Region("second", (0.19, 0, 0.41, 0.2), relative=True), Region("first", (0, 0, 21, 20)),
               Region("nowhere", (0, 60, 20, 80))]  # fmt: skip
    assert match_regions(faces, regions) == [(0, 1), (1, 0)]
    assert match_regions(faces, [Region("kept", (60, 62, 80, 82), face_id="a:2")]) == [(2, 0)]
    assert match_regions(faces, [Region("moved", (0, 0, 20, 20), face_id="a:2")]) == [(0, 0)]
    assert match_regions([], regions) == match_regions(faces, []) == []


def test_lines_are_few() -> None:
    named = [NamedFace(f"f:{i}", "Anna", "p-1", None) for i in range(9)]
    assert lines_for(named) == [Line("name", "f:0", name="Anna")]
    right = [NamedFace("f:0", "Anna", "p-1", "Anna"), NamedFace("f:1", "Anna", "p-2", None)]
    assert lines_for(right) == [Line("same", "f:0", ("f:1",))]
    assert lines_for([NamedFace("f:0", "Anna", "p-1", "Anna")]) == []


def test_people_are_meant_by_what_an_export_called_them() -> None:
    """Moved to a person without a name, to one of two who share a name, and to one not in the file."""
    known = {"p-1": "p-1", "Anna (p-2)": "p-2", "Anna (p-3)": "p-3", "Bo": "p-4"}
    moved = [
        NamedFace("f:1", "p-1", "p-9", None), NamedFace("f:2", "Anna (p-3)", "p-2", "Anna"),
        NamedFace("f:3", "Bo", None, None), NamedFace("f:4", "", "p-1", None),
    ]  # fmt: skip
    assert lines_for(moved, known) == [
        Line("same", "p-3", ("f:2",)), Line("same", "p-4", ("f:3",)), Line("same", "p-1", ("f:1",)),
    ]  # fmt: skip
    back = [NamedFace("f:1", "p-1", "p-2", "Anna"), NamedFace("f:2", "", "p-2", "Anna")]
    assert lines_for(back, known) == [Line("split", "p-2", ("f:1",)), Line("same", "p-1", ("f:1",))]


def test_lines_are_added_in_the_form_that_the_file_has() -> None:
    """As a spreadsheet saves it where commas are in numbers."""
    mine = "kind;who;name;with;id;date;faces;note\r\nname;f;Zoë;;x;;;\r\n".encode("utf-8-sig")
    lines = [Line("name", "f:1", name="A;B"), Line("same", "f:1", ("f:2", "f:3"))]
    data, count = with_lines(mine, lines, note="n")
    file = parse(data)
    assert count == 2 and not file.problems and data.startswith(mine)
    assert [(c.kind, c.who, c.others, c.name) for c in file.corrections] == [
        ("name", "f", (), "Zoë"), ("name", "f:1", (), "A;B"), ("same", "f:1", ("f:2", "f:3"), ""),
    ]  # fmt: skip
    assert with_lines(data, lines, note="n") == (data, 0)


def test_lines_are_added_and_nothing_else_changes() -> None:
    mine = b"id,date,kind,who,with,name,faces,note\nx,,name,f,,Me,,"
    data, count = with_lines(mine, [Line("name", "f:1", name="=cmd()\n")], note="n")
    assert data.startswith(mine) and count == 1
    row = data[len(mine) :].decode().strip().split(",")
    assert row[2:6] == ["name", "f:1", "", "'=cmd() "]
    assert with_lines(data, [Line("name", "f:1", name="=cmd()\n")], note="n") == (data, 0)
