"""Questions about single photographs, asked of real faces: two portraits that installed packages ship."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from models.detector import load_detector
from models.embedder import load_embedder
from pipeline.compare import compare
from pipeline.demo import write_archive
from pipeline.find import find
from pipeline.group import group_library
from pipeline.labelled import Workplace, opened_library
from pipeline.options import IndexOptions, UsageError
from pipeline.recognise import _csv, recognise, told
from transforms.lease import Lease
from transforms.library import Library
from transforms.recogniser import CrossValidation


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("skimage")
    folder = tmp_path_factory.mktemp("demo") / "archive"
    write_archive(str(folder))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _networks_are_loaded_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for load in (load_detector, load_embedder):
            patch.setattr(f"pipeline.photo_faces.{load.__name__}", cache(load))
        patch.setattr("pipeline.labelled.IndexOptions", partial(IndexOptions, runner="FnApiRunner"))
        yield


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    return Workplace(str(tmp_path_factory.mktemp("out")), "", quiet=True)


def test_the_same_person_is_told_from_another(archive: Path) -> None:
    lines, facts = compare(str(archive / "together.jpg"), str(archive / "hopper" / "hopper-1.jpg"))
    pairs = facts["pairs"]
    assert isinstance(pairs, list)
    assert [(p["same_at_1.1"], p["same"]) for p in pairs] == [(True, True), (False, False)]
    assert "the same person at the paper's 1.1; centred" in lines[0]
    assert "two people at the calibrated 1.08" in lines[1]
    assert facts["thresholds"] == {"paper": 1.1, "calibrated": pytest.approx(1.087, abs=0.001)}


def test_what_is_no_photograph_is_named(archive: Path) -> None:
    photo = str(archive / "together.jpg")
    with pytest.raises(UsageError, match=r"notes\.txt can't be used: document"):
        compare(photo, str(archive / "notes.txt"))
    with pytest.raises(UsageError, match=r"gone\.jpg can't be read"):
        compare(photo, str(archive / "gone.jpg"))


def test_a_photo_without_a_face_is_named(tmp_path: Path) -> None:
    from tests.photo_files import jpeg

    (tmp_path / "wall.jpg").write_bytes(jpeg(200, 200))
    with pytest.raises(UsageError, match=r"wall\.jpg has no face"):
        compare(str(tmp_path / "wall.jpg"), str(tmp_path / "wall.jpg"))


def test_a_gallery_names_known_people_and_a_library_finds_them(archive: Path, work: Workplace) -> None:
    library = opened_library(str(archive), work, name="gallery")
    lines, facts = recognise(str(archive), str(archive / "together.jpg"), work)
    assert (facts["faces"], facts["named"]) == (2, 2)
    assert any("named rightly" in line for line in lines)
    with open(str(facts["file"]), encoding="utf-8", newline="") as file:
        assert [(r["face"], r["person"]) for r in csv.DictReader(file)] == [("0", "hopper"), ("1", "collins")]

    stored = str(Path(work.out, "gallery.npz"))
    _, facts = recognise(stored, library.path, work, threshold=0.9)
    assert (facts["faces"], facts["named"]) == (19, 18), "what is no face stays unknown"

    group_library(library, method="default", seed=0)
    lines, facts = find(library.path, str(archive / "hopper" / "hopper-2.jpg"), count=3)
    (face,) = facts["faces"]  # type: ignore
    assert face["people"][0]["confidence"] > 0.5
    assert face["faces"][0]["path"] == "hopper/hopper-2.jpg"
    assert face["faces"][0]["similarity"] == pytest.approx(1, abs=0.1), "1 minus its bias towards strangers"
    assert all(f["path"].startswith(("hopper/", "together")) for f in face["faces"])


def test_what_could_not_be_asked_is_said_to_be_unknown() -> None:
    nan = float("nan")
    nothing = told(CrossValidation(nan, nan, nan, nan, 0, 0))
    assert "nan" not in nothing and "one face only" in nothing and "one person only" in nothing
    both = told(CrossValidation(0.9, 0.04, 0.06, 0.01, 50, 60))
    assert "of 50 faces of known people 90.0 % named rightly, 4.0 % wrongly, 6.0 %" in both
    assert "of 60 faces of people held out as strangers 1.0 % taken" in both


def test_a_photo_moved_to_another_persons_folder_is_not_kept_in_both(
    tmp_path: Path, work: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[IndexOptions] = []

    def index(library: Library, lease: Lease, archive: str, options: IndexOptions, **_: object) -> object:
        given.append(options)
        return SimpleNamespace(listed=1)

    monkeypatch.setattr("pipeline.index.index", index)
    opened_library(str(tmp_path), work, name="moved")
    assert [(options.prune, options.yes) for options in given] == [(True, True)]


def test_a_spreadsheet_takes_no_name_for_a_formula() -> None:
    text = _csv([("b.jpg", 10, "=1+1"), ("b.jpg", 2, "Bob"), ("@a.jpg", 1, "Ann")]).decode()
    assert text.splitlines()[1:] == ["'@a.jpg,1,Ann", "b.jpg,2,Bob", "b.jpg,10,'=1+1"]


def test_a_file_that_is_no_gallery_is_named(archive: Path, work: Workplace) -> None:
    with pytest.raises(UsageError, match=r"together\.jpg is not a stored gallery \(it is no NumPy archive\)"):
        recognise(str(archive / "together.jpg"), str(archive), work)
