"""Every format, and what reads it where that is installed."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lxml import etree
from PIL import Image

from pipeline.export import ExportOptions, ExportSummary, export
from tests.export_library import BOX, HEIGHT, ODD_PATHS, WIDTH, Exported, make_library
from transforms.archive import ListingReport
from transforms.export_list import EXPORT_MARKER
from transforms.export_records import export_records
from transforms.export_table import csv_lines
from transforms.library import LibraryError
from transforms.listing import list_archive
from transforms.records import OK, FileEntry, PhotoRow
from transforms.selected import Selection
from transforms.tables import SELECTED_SCHEMA

FORMULA = '=Formula "Anna"'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return make_library(tmp_path_factory.mktemp("export"))


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def run(
    made: Exported, to: str, out: Path, *, selection: Selection = Selection(), **options
) -> ExportSummary:
    return export(made.library, ExportOptions(to=to, out=str(out), selection=selection, **options))


def names(folder: Path) -> set[str]:
    """Names of all files of an export, but its own list."""
    found = (
        os.path.relpath(os.path.join(top, f), folder) for top, _, files in os.walk(folder) for f in files
    )
    return {name for name in found if not name.startswith(".albumen")}


# -- tables --------------------------------------------------------------------------------------


def test_csv_is_what_a_spreadsheet_may_open(made: Exported, tmp_path: Path) -> None:
    summary = run(made, "csv", tmp_path / "out")
    with open(tmp_path / "out/faces.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == summary.faces == 17
    assert {r["name"] for r in rows} == {"'" + FORMULA, "Bello / Böse", ""}
    assert "'=1+1.jpg" in {r["path"] for r in rows}
    assert {r["roll"] for r in rows} == {"-1.5"}, "numbers stay numbers"
    with open(tmp_path / "out/columns.csv", newline="", encoding="utf-8") as file:
        assert [r["column"] for r in csv.DictReader(file)] == list(rows[0])


def test_times_have_one_form_whatever_parts_of_a_second_they_have() -> None:
    """Else pandas, which learns the form from the first, reads them as texts."""
    rows = {name: [None, None] for name in SELECTED_SCHEMA.names}
    rows["taken_at"] = [datetime(2001, 1, 1, 12, 0, 0, 250_000), datetime(2001, 1, 2)]
    [batch] = pa.table(rows, schema=SELECTED_SCHEMA).to_batches()
    text = b"".join(csv_lines([batch])).decode()
    assert [r["taken_at"] for r in csv.DictReader(io.StringIO(text))] == [
        "2001-01-01 12:00:00.250", "2001-01-02 00:00:00.000",
    ]  # fmt: skip


def test_pandas_and_duckdb_read_the_tables(made: Exported, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    duckdb = pytest.importorskip("duckdb")
    run(made, "csv", tmp_path / "csv")
    run(made, "parquet", tmp_path / "parquet")
    table = pandas.read_csv(tmp_path / "csv/faces.csv", parse_dates=["taken_at"])
    assert table.groupby("person_id").size().to_dict() == {"p-anna": 10, "p-bello": 5, "p-none": 2}
    assert table.taken_at.min() == pandas.Timestamp("2001-01-01 12:00")
    found = duckdb.sql(
        f"SELECT name, count(*) FROM '{tmp_path}/parquet/faces.parquet' GROUP BY ALL ORDER BY 2"
    )
    assert found.fetchall() == [(None, 2), ("Bello / Böse", 5), (FORMULA, 10)]


def test_json_holds_people_with_their_faces(made: Exported, tmp_path: Path) -> None:
    run(made, "json", tmp_path / "out", selection=Selection(ungrouped=True))
    data = json.loads((tmp_path / "out/people.json").read_bytes())
    assert [(p["person_id"], len(p["faces"])) for p in data["people"]] == [
        ("p-anna", 10), ("p-bello", 5), ("p-none", 2), (None, 1),
    ]  # fmt: skip
    face = data["people"][0]["faces"][0]
    assert (face["x0"], face["y0"], face["x1"], face["y1"]) == BOX
    assert set(face) | {"person_id", "name", "label"} == set(data["columns"])


def test_parquet_can_hold_the_vectors(made: Exported, tmp_path: Path) -> None:
    run(made, "parquet", tmp_path / "out", embeddings=True)
    table = pq.read_table(tmp_path / "out/faces.parquet")
    vectors = np.array(table["embedding"].to_pylist())
    assert vectors.shape == (17, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    stored = made.library.read_faces(["face_id", "embedding"])
    of_face = dict(zip(stored["face_id"].to_pylist(), stored["embedding"].to_pylist(), strict=True))
    assert all(
        of_face[f] == e
        for f, e in zip(table["face_id"].to_pylist(), table["embedding"].to_pylist(), strict=True)
    )


# -- folders -------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["symbolic", "hard", "copy"])
def test_folders_lead_to_the_originals(made: Exported, tmp_path: Path, link: str) -> None:
    run(made, "folders", tmp_path / "out", link=link)
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_dir()) == [
        "=Formula _Anna_", "Bello _ Böse", "p-none",
    ]  # fmt: skip
    files = [p for p in (tmp_path / "out").rglob("*") if p.is_file() and p.name != EXPORT_MARKER]
    assert len(files) == 17
    originals = {p.read_bytes() for p in made.archive.rglob("*") if p.is_file()}
    assert all(p.read_bytes() in originals for p in files)
    bello = os.listdir(os.fsencode(tmp_path / "out/Bello _ Böse"))
    assert len(bello) == len(ODD_PATHS)
    assert all(p.is_symlink() == (link == "symbolic") for p in files)
    if link == "hard":
        assert all(p.stat().st_nlink >= 2 for p in files)


def test_a_second_export_leaves_no_leftovers_and_touches_nothing_else(made: Exported, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(made, "folders", out, link="copy")
    before = names(out)
    mine = out / "p-none" / "mine.txt"
    mine.write_text("notes")
    changed = next((out / "p-none").glob("pair2*"))
    changed.write_bytes(b"edited")
    again = run(made, "folders", out, link="copy", selection=Selection(people=("p-anna",)))
    assert again.kept == 10 and again.files == 0, "what is there already stays"
    assert again.changed == [f"p-none/{changed.name}"]
    left = names(out)
    assert left == {n for n in before if n.startswith("=")} | {"p-none/mine.txt", f"p-none/{changed.name}"}
    assert not (out / "Bello _ Böse").exists()


def test_what_others_put_there_is_never_replaced(made: Exported, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(made, "csv", out)
    (out / "faces.csv").unlink()
    with pytest.raises(LibraryError, match="not an export"):
        run(made, "csv", made.archive / "deep")
    with pytest.raises(LibraryError, match="archive or the library itself"):
        run(made, "csv", made.archive)
    (out / "people.json").write_text("mine")
    with pytest.raises(LibraryError, match="in the way"):
        run(made, "json", out)
    assert (out / "people.json").read_text() == "mine"
    run(made, "csv", out)
    (out / "faces.csv").write_text("my notes on it")
    with pytest.raises(LibraryError, match="changed since"):
        run(made, "csv", out)
    assert (out / "faces.csv").read_text() == "my notes on it"


def test_an_interrupted_export_is_known_and_cleared_by_the_next(
    made: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, calls = tmp_path / "out", os.symlink, []

    def failing(source, target):
        calls.append(target)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "symlink", failing)
    with pytest.raises(LibraryError, match="No space left"):
        run(made, "folders", out)
    monkeypatch.setattr(os, "symlink", real)
    assert len(names(out)) == 4
    run(made, "folders", out)
    assert len(names(out)) == 17
    run(made, "folders", out, selection=Selection(people=("p-none",)))
    assert {os.path.dirname(n) for n in names(out)} == {"p-none"}


def test_exports_inside_the_archive_are_not_indexed(made: Exported, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    shutil.copytree(made.archive, archive)
    before = {e.path for e in list_archive(str(archive), root="r", report=ListingReport())}
    run(made, "folders", archive / "by person", link="copy")
    report = ListingReport()
    assert {e.path for e in list_archive(str(archive), root="r", report=report)} == before
    assert report.excluded_folders == 1
    inside = ListingReport()
    assert len(list(list_archive(str(archive / "by person"), root="r", report=inside))) == 17, (
        "as an archive it is one"
    )


def test_missing_originals_are_told(tmp_path: Path) -> None:
    made = make_library(tmp_path / "made")
    (made.archive / "o3.jpg").unlink()
    summary = run(made, "folders", tmp_path / "out", link="copy")
    assert [os.path.basename(name) for name, _ in summary.problems] == ["o3.jpg"]
    assert summary.files == 16


def test_every_export_is_on_record(made: Exported, tmp_path: Path) -> None:
    run(made, "csv", tmp_path / "somewhere")
    assert str(tmp_path / "somewhere") in [r.folder for r in export_records(made.library)]


# -- contact sheets ------------------------------------------------------------------------------


def test_contact_sheets_show_each_person(made: Exported, tmp_path: Path) -> None:
    run(made, "contact-sheets", tmp_path / "jpeg")
    assert names(tmp_path / "jpeg") == {"=Formula _Anna_-001.jpg", "Bello _ Böse-001.jpg", "p-none-001.jpg"}
    with Image.open(tmp_path / "jpeg/p-none-001.jpg") as page:
        assert page.size == (1240, 1754)
    run(made, "contact-sheets", tmp_path / "pdf", pages="pdf")
    assert all(p.read_bytes().startswith(b"%PDF") for p in (tmp_path / "pdf").glob("*.pdf"))


# -- annotations ---------------------------------------------------------------------------------


def test_coco_has_the_person_as_category(made: Exported, tmp_path: Path) -> None:
    run(made, "coco", tmp_path / "out", selection=Selection(ungrouped=True))
    data = json.loads((tmp_path / "out/annotations.json").read_bytes())
    assert [c["name"] for c in data["categories"]] == [FORMULA, "Bello / Böse", "p-none", "nobody"]
    assert len(data["images"]) == 16 and len(data["annotations"]) == 18
    inside = [a for a in data["annotations"] if a["bbox"][0] == 50]
    assert {tuple(a["bbox"]) for a in inside} == {(50, 8, WIDTH - 50, 32)}, "boxes end with the photo"


def test_pycocotools_reads_it(made: Exported, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    run(made, "coco", tmp_path / "out")
    read = coco.COCO(str(tmp_path / "out/annotations.json"))
    anna = read.getCatIds(catNms=[FORMULA])
    assert len(read.getAnnIds(catIds=anna)) == 10 and len(read.getImgIds(catIds=anna)) == 10


def test_labelstudio_tasks_have_boxes_and_choices(made: Exported, tmp_path: Path) -> None:
    run(made, "labelstudio", tmp_path / "out", image_prefix="/files/")
    tasks = json.loads((tmp_path / "out/tasks.json").read_bytes())
    assert len(tasks) == 15
    one = next(t for t in tasks if t["data"]["path"] == "=1+1.jpg")
    assert one["data"]["image"].startswith("/files/") and one["data"]["image"].endswith("%3D1%2B1.jpg")
    box, person = one["predictions"][0]["result"]
    assert box["id"] == person["id"]
    value = box["value"]
    assert [
        round(value[k] * s / 100, 3)
        for k, s in (("x", WIDTH), ("y", HEIGHT), ("width", WIDTH), ("height", HEIGHT))
    ] == [12, 8, 24, 32]
    assert person["value"]["choices"] == ["Bello / Böse"]
    view = etree.fromstring((tmp_path / "out/label_config.xml").read_bytes())
    assert [c.get("value") for c in view.iter("Choice")] == [FORMULA, "Bello / Böse", "p-none"]


def test_label_studios_own_code_takes_tasks_and_interface(made: Exported, tmp_path: Path) -> None:
    interface = pytest.importorskip(
        "label_studio_sdk.label_interface", reason="label-studio-sdk is not installed"
    )
    run(made, "labelstudio", tmp_path / "out")
    li = interface.LabelInterface((tmp_path / "out/label_config.xml").read_text())
    li.validate()
    for task in json.loads((tmp_path / "out/tasks.json").read_bytes()):
        predictions = task.pop("predictions")
        assert li.validate_task(task)
        assert [li.validate_prediction(p, return_errors=True) for p in predictions] == [[]]


def test_cvat_escapes_what_strangers_named(made: Exported, tmp_path: Path) -> None:
    run(made, "cvat", tmp_path / "out")
    root = etree.fromstring((tmp_path / "out/annotations.xml").read_bytes())
    images = {i.get("name"): i for i in root.iter("image")}
    assert len(images) == 15 and "a&b <c>.jpg" in images
    box = images["a&b <c>.jpg"].find("box")
    assert [float(box.get(k)) for k in ("xtl", "ytl", "xbr", "ybr")] == list(BOX)
    assert {a.get("name"): a.text for a in box}["person"] == "Bello / Böse"


def test_datumaro_reads_cvat(made: Exported, tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed")
    run(made, "cvat", tmp_path / "out", selection=Selection(people=("p-anna", "p-none")))
    (tmp_path / "out/images").symlink_to(made.archive)
    dataset = datumaro.Dataset.import_from(str(tmp_path / "out"), "cvat")
    boxes = [a for item in dataset for a in item.annotations]
    assert len(boxes) == 12
    assert sum(a.attributes.get("person") == FORMULA for a in boxes) == 10


def test_fiftyone_reads_the_dataset(made: Exported, tmp_path: Path) -> None:
    importers = pytest.importorskip("fiftyone.utils.data.importers", reason="fiftyone is not installed")
    run(made, "fiftyone", tmp_path / "out")
    reader = importers.FiftyOneImageDetectionDatasetImporter(
        dataset_dir=str(tmp_path / "out"), data_path="data.json"
    )
    with reader:
        samples = list(reader)
    assert len(samples) == 15
    assert all(os.path.exists(path) for path, _, _ in samples)
    assert sum(d.label == FORMULA for _, _, found in samples for d in found.detections) == 10


def test_fiftyones_files_say_what_they_should(made: Exported, tmp_path: Path) -> None:
    run(made, "fiftyone", tmp_path / "out")
    labels = json.loads((tmp_path / "out/labels.json").read_bytes())
    media = json.loads((tmp_path / "out/data.json").read_bytes())
    assert set(labels["labels"]) == set(media) and len(media) == 15
    assert all(os.path.exists(path) for path in media.values())
    boxes = [d["bounding_box"] for found in labels["labels"].values() for d in found]
    assert all(0 <= v <= 1 for box in boxes for v in box)


def exiftool(*arguments: str) -> list[dict]:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed (Debian: libimage-exiftool-perl)")
    found = subprocess.run(["exiftool", "-j", "-struct", *arguments], capture_output=True, check=False)
    return json.loads(found.stdout)


# -- sidecars ------------------------------------------------------------------------------------


def test_exiftool_reads_names_and_places(made: Exported, tmp_path: Path) -> None:
    run(made, "xmp", tmp_path / "out")
    read = exiftool("-r", "-ext", "xmp", str(tmp_path / "out"))
    assert len(read) == 8 + 5 + 3, "a sidecar for each file that shows somebody with a name"
    upright = next(r for r in read if r["SourceFile"].endswith("o1.jpg.xmp"))
    (region,) = upright["RegionInfo"]["RegionList"]
    assert region["Name"] == FORMULA and region["Type"] == "Face"
    area = region["Area"]
    assert [float(area[k]) for k in "XYWH"] == pytest.approx(
        [24 / WIDTH, 24 / HEIGHT, 24 / WIDTH, 32 / HEIGHT], abs=1e-5
    )
    assert upright["RegionInfo"]["AppliedToDimensions"] == {"W": WIDTH, "H": HEIGHT, "Unit": "pixel"}
    assert upright["RegionInfoMP"]["Regions"][0]["PersonDisplayName"] == FORMULA
    assert upright["TagsList"] == [f"People/{FORMULA}"]
    slash = next(r for r in read if "a&b <c>" in r["SourceFile"])
    assert slash["TagsList"] == ["People/Bello - Böse"], "a slash would be a level of tags"
    assert slash["RegionInfo"]["RegionList"][0]["Name"] == "Bello / Böse"


def test_of_two_files_that_would_share_a_sidecar_the_first_has_it(tmp_path: Path) -> None:
    """As a RAW file and its JPEG do where sidecars have Adobe's names."""
    made = make_library(tmp_path)
    photo = made.face_ids[b"o1.jpg"].partition(":")[0]
    shutil.copy(made.archive / "o1.jpg", made.archive / "o1.png")
    row = PhotoRow(FileEntry("main", b"o1.png", 1, 1), OK, None, photo, WIDTH, HEIGHT, "JPEG")
    none = np.zeros((0, 8), np.float32)
    made.library.commit_chunk("more", fingerprint="test", photos=[row], faces=[], embeddings=none, thumbs=())
    for expected in (16, 0):
        done = run(made, "xmp", tmp_path / "out", stem=True)
        assert (done.files, done.problems) == (
            expected,
            [("o1.png", "shares o1.xmp with the file before it")],
        )
    assert not run(made, "xmp", tmp_path / "other").problems


def test_sidecars_beside_originals_merge_and_are_taken_back(tmp_path: Path) -> None:
    made = make_library(tmp_path / "made")
    originals = {p: p.read_bytes() for p in made.archive.rglob("*") if p.is_file()}
    theirs = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="5"/>'
        b"</rdf:RDF></x:xmpmeta>"
    )
    (made.archive / "o1.jpg.xmp").write_bytes(theirs)
    (made.archive / "o2.jpg.xmp").write_bytes(b"<x:xmpmeta broken")
    first = export(made.library, ExportOptions(to="xmp", beside=True))
    assert [os.path.basename(name) for name, _ in first.problems] == ["o2.jpg.xmp"]
    assert (made.archive / "o2.jpg.xmp").read_bytes() == b"<x:xmpmeta broken"
    merged = (made.archive / "o1.jpg.xmp").read_bytes()
    assert b'xmp:Rating="5"' in merged and b"Formula" in merged
    again = export(made.library, ExportOptions(to="xmp", beside=True))
    assert again.files == 0 and again.kept == 15, "nothing changes the second time"
    export(made.library, ExportOptions(to="xmp", beside=True, selection=Selection(people=("p-bello",))))
    rest = (made.archive / "o1.jpg.xmp").read_bytes()
    assert b'xmp:Rating="5"' in rest and b"Formula" not in rest and b"egion" not in rest
    assert not (made.archive / "o3.jpg.xmp").exists(), "nothing else was in it"
    assert {p: p.read_bytes() for p in originals} == originals
