from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from pipeline.export import ExportOptions, export
from pipeline.import_names import import_cvat, import_labelstudio, import_xmp
from tests.export_library import BOX, HEIGHT, WIDTH, Exported, make_library
from transforms.correction_lines import Line, NamedFace, lines_for, with_lines
from transforms.export_xmp import FaceRegion, merge
from transforms.library import LibraryError
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
    assert import_cvat(made.library, str(tmp_path / "done.xml")).matched == 15
    assert [(c["kind"], c["name"]) for c in corrections(made)] == [("name", "Bello")]


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


def test_lines_are_added_and_nothing_else_changes() -> None:
    mine = b"id,date,kind,who,with,name,faces,note\nx,,name,f,,Me,,"
    data, count = with_lines(mine, [Line("name", "f:1", name="=cmd()\n")], note="n")
    assert data.startswith(mine) and count == 1
    row = data[len(mine) :].decode().strip().split(",")
    assert row[2:6] == ["name", "f:1", "", "'=cmd() "]
    assert with_lines(data, [Line("name", "f:1", name="=cmd()\n")], note="n") == (data, 0)
