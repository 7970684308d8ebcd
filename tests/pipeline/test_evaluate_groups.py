from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline import evaluate_groups
from pipeline.evaluate_groups import GroupFigures, differences, groups, split_by
from pipeline.labelled import Workplace, labelled_faces
from pipeline.options import UsageError
from tests.labelled_library import EACH, PEOPLE, labelled_library
from tests.pipeline.test_evaluate_lfw import StoredVectors
from transforms.bootstrap import Interval
from transforms.library import Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return labelled_library(tmp_path)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.setattr(evaluate_groups, "spec_of", lambda *_: StoredVectors.spec)
    return Workplace(str(tmp_path / "out"), "albumen evaluate groups LIBRARY LABELS", quiet=True)


def test_pairs_belong_to_a_group_when_both_faces_do() -> None:
    person = np.array([0, 0, 0, 1, 1, 2, 2])
    values = ["a", "a", "b", "a", "a", "b", ""]
    same = np.array([[0, 1], [0, 2], [5, 6]])
    different = np.array([[0, 3], [1, 5], [2, 5], [4, 6]])
    a, b = split_by(values, person, (same, different))
    assert (a.name, a.faces, a.people) == ("a", 4, 2)
    assert a.val == 1 / 2, "of the pairs 0-1 and 3-4 the first"
    assert a.far == 1 / 4, "of four pairs 0-3"
    assert (b.faces, b.people) == (2, 0)
    assert np.isnan(b.val) and b.far == 1


def test_a_column_of_names_makes_no_groups() -> None:
    nothing = np.zeros((0, 2), int)
    with pytest.raises(UsageError, match="100 different values"):
        split_by([str(k) for k in range(100)], np.arange(100), (nothing, nothing))


def row(name: str, val: float, far: float, *, people: int = 50, width: float = 0.01) -> GroupFigures:
    around = [Interval(v - width * v, v + width * v) for v in (val, far)]
    return GroupFigures(name, 100, people, val, around[0], far, around[1])


def test_groups_that_differ_beyond_chance_are_said_to() -> None:
    assert differences("age", [row("child", 0.9, 1e-3), row("adult", 0.901, 1.001e-3)]) == []
    low, high = differences("age", [row("child", 0.7, 5e-3), row("adult", 0.9, 1e-3)])
    assert "recognised less often in the group 'child' (VAL 70.0 %)" in low
    assert "confused more often in the group 'child' (FAR 5.0e-03)" in high
    assert differences("age", [row("child", 0.7, 5e-3, people=3), row("adult", 0.9, 1e-3)]) == []
    assert differences("age", [row("child", 0.7, 5e-3, width=2), row("adult", 0.9, 1e-3)]) == []


def test_a_labels_file_is_split_by_its_columns(library: Library, work: Workplace, tmp_path: Path) -> None:
    lines = ["photo,person,age"]
    for p in range(PEOPLE):
        age = "$x_{<b>old</b>|}$" if p % 2 else "young"
        lines += [f"Person_{p}/Person_{p}_{n:04d}.jpg,Person_{p},{age}" for n in range(1, EACH + 1)]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    _, facts = groups(library.path, str(tmp_path / "labels.csv"), work, measured=True)
    split = facts["groups"]
    assert isinstance(split, dict)
    assert set(split) == {"age", "size of the face", "sharpness", "turn of the head"}
    assert [g["faces"] for g in split["age"]] == [60, 60]
    assert all(g["val"] == 1 for g in split["age"])
    page = Path(work.out, "groups.md").read_text()
    assert "<b>" not in page and r"\<b\>old" in page, "names from the file are escaped"


def test_without_columns_there_is_nothing_to_split_by(library: Library, work: Workplace) -> None:
    with pytest.raises(UsageError, match="nothing to split by"):
        groups(library.path, None, work)


def test_labels_point_at_faces(library: Library, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text(
        "photo,person,x,y\n"
        "Person_0/Person_0_0001.jpg,Ann,55,60\n"
        "Person_0/Person_0_0001.jpg,Bob,5,5\n"
        "Person_0/Person_0_0002.jpg,Ann,95,95\n"
        "Person_0/bad.jpg,Ann,,\n"
    )
    faces = labelled_faces(library, str(file))
    assert [(faces.names[p], f[-1]) for p, f in zip(faces.person, faces.face_ids, strict=True)] == [
        ("Ann", "0"),
        ("Bob", "1"),
    ]
    assert [label.photo[-8:] for label in faces.missing] == ["0002.jpg", "/bad.jpg"]
    file.write_text("photo,person\nNobody/1.jpg,Ann\n")
    with pytest.raises(UsageError, match=r"names 1 photos that .* does not hold, 'Nobody/1\.jpg'"):
        labelled_faces(library, str(file))
    file.write_text("a,b\n")
    with pytest.raises(UsageError, match=r"labels\.csv, line 1: expected the columns"):
        labelled_faces(library, str(file))
