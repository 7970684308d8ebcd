from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import evaluate_album, evaluate_lfw
from pipeline.evaluate_lfw import lfw, measure, numbered_pairs
from pipeline.group import group_library
from pipeline.labelled import (
    LabelledFaces,
    Workplace,
    _own_library,
    labelled_faces,
    require_pairs,
)
from pipeline.options import UsageError
from tests.labelled_library import EACH, PEOPLE, labelled_library, pairs_file
from transforms.face_view import FaceView
from transforms.library import Library, LibraryError, LibraryInfo


class StoredVectors:
    """In the place of an embedder: every view of a face is as the library has it."""

    class spec:
        name = "stand-in"

    def __init__(self, faces: LabelledFaces, work: Workplace) -> None:
        self.faces = faces

    def embed(self, view: FaceView) -> np.ndarray:
        return self.faces.vectors

    mirrored = as_indexed = embed

    def crops(self, rows, view: FaceView = FaceView()) -> np.ndarray:
        return np.zeros((len(list(rows)), 4, 4, 3), np.uint8)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return labelled_library(tmp_path)


@pytest.fixture
def work(tmp_path: Path) -> Workplace:
    return Workplace(str(tmp_path / "out"), "albumen evaluate LIBRARY", quiet=True)


def test_people_who_are_easy_to_tell_apart(
    library: Library, work: Workplace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_lfw, "FaceVectors", StoredVectors)
    lines, facts = lfw(library.path, pairs_file(tmp_path), work, crops=("detector",))
    rows = facts["rows"]
    assert isinstance(rows, list) and len(rows) == 4
    assert all(r["accuracy"] == 1 and r["eer"] == 0 and r["val_all"][0] == 1 for r in rows)
    assert "120 with the labelled face found, 30 people" in lines[0]
    page = Path(work.out, "lfw.md").read_text()
    assert "1.242" in page and "albumen evaluate LIBRARY" in page
    assert str(tmp_path) not in page, "pages name no folder of this machine"
    assert Path(work.out, "lfw-roc.svg").exists()
    assert Path(work.out, "pictures", "lfw-refused.png").exists()


def test_a_face_that_was_not_found_makes_its_pair_two_people(library: Library, tmp_path: Path) -> None:
    faces = labelled_faces(library)
    gone = next(i for i, label in enumerate(faces.labels) if label.photo.endswith("Person_0_0002.jpg"))
    rest = faces.select(np.arange(len(faces)) != gone)
    rest.missing.append(faces.labels[gone])
    pairs = numbered_pairs(rest, Path(pairs_file(tmp_path)))
    assert (pairs.rows < 0).sum() == 1
    figures, wrong, _ = measure(rest, rest.vectors, pairs, crop="detector", mirror=False, centring=False)
    assert figures.accuracy == pytest.approx(39 / 40)
    assert wrong.tolist().index(True) == 0
    assert wrong.sum() == 1


def test_pairs_of_other_photos_are_named(library: Library, tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("2\t1\n" + "Nobody\t1\t2\nNobody\t1\tPerson_1\t1\n" * 2)
    with pytest.raises(UsageError, match=r"Nobody_0001\.jpg"):
        numbered_pairs(labelled_faces(library), tmp_path / "pairs.txt")
    (tmp_path / "pairs.txt").write_text("2\t1\nNobody\n")
    with pytest.raises(UsageError, match=r"pairs\.txt: line 2"):
        numbered_pairs(labelled_faces(library), tmp_path / "pairs.txt")


def test_an_album_is_verified_clustered_and_shown(
    library: Library, work: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_album, "spec_of", lambda *_: StoredVectors.spec)
    with pytest.raises(LibraryError, match="albumen group"):
        evaluate_album.album(library.path, work)
    group_library(library, method="default", seed=0)
    _, facts = evaluate_album.album(library.path, work)
    verification, clustering = facts["verification"], facts["clustering"]
    assert isinstance(verification, dict) and isinstance(clustering, dict)
    first = verification["all people"]
    assert first["pairs_of_one_person"] == PEOPLE * EACH * (EACH - 1) / 2
    assert first["at"][0]["val"] == 1
    assert clustering["purity"] > 0.97
    assert clustering["faces"] == PEOPLE * EACH + 1, "the photo without its face counts as alone"
    assert {p.name for p in Path(work.out).iterdir()} >= {
        "album.md",
        "album.json",
        "album-roc.svg",
        "pictures",
    }
    assert "pairs decide" in Path(work.out, "album.md").read_text(), (
        "rare FARs are said to be hardly measured"
    )


def test_an_album_grouped_in_another_way_says_how(
    library: Library, work: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_album, "spec_of", lambda *_: StoredVectors.spec)
    group_library(library, method="hdbscan", seed=0)
    read = Library.read_grouping
    monkeypatch.setattr(Library, "read_grouping", lambda *a: {**read(*a), "corrections": 7})
    evaluate_album.album(library.path, work)
    page = Path(work.out, "album.md").read_text()
    assert "Grouped by the method hdbscan at" in page
    assert "7 corrections of the library's user were in force" in page


def test_folders_of_results_keep_the_people_of_two_folders_apart(work: Workplace, tmp_path: Path) -> None:
    def noted(source: str) -> str:
        path = _own_library(str(tmp_path / source), work, "library")
        Library.create(path).save_info(LibraryInfo({"photos": str(tmp_path / source)}))
        return Path(path).name

    assert [noted(s) for s in ("a", "b", "a", "b", "c")] == [
        "library", "library-2", "library", "library-2", "library-3",
    ]  # fmt: skip


@pytest.mark.parametrize("person", [[0, 0, 0], [0, 1, 2], []])
def test_photographs_without_pairs_are_named(person: list[int]) -> None:
    with pytest.raises(LibraryError, match=r"^holiday: the labelled faces are .*two people are needed"):
        require_pairs(np.array(person, int), "holiday")
    require_pairs(np.array([0, 0, 1]), "holiday")


def test_people_with_many_photos_only_are_an_album_too(
    library: Library, work: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_album, "spec_of", lambda *_: StoredVectors.spec)
    monkeypatch.setattr(evaluate_album, "_MOST_PHOTOS", EACH - 1)
    group_library(library, method="default", seed=0)
    _, facts = evaluate_album.album(library.path, work)
    verification = facts["verification"]
    assert isinstance(verification, dict)
    assert list(verification) == ["all people"]
