"""Scoring a library against a file of labels or a folder tree: what counts, what is left out and said."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.evaluate import clusters
from pipeline.group import group_library
from pipeline.options import UsageError
from tests.labelled_library import EACH, PEOPLE, labelled_library
from transforms.known_content import content_id
from transforms.library import Library, LibraryError
from transforms.records import OK, FileEntry, PhotoRow


def content(person: int, number: int) -> bytes:
    return f"photo {number} of person {person}".encode()


@pytest.fixture
def library(tmp_path: Path) -> Library:
    found = labelled_library(tmp_path, lambda person, number: content_id(content(person, number)))
    group_library(found, method="default", seed=0)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Copies of all photos by person, under names of their own, half of them below a year."""
    root = tmp_path / "by-person"
    for person in range(PEOPLE):
        for number in range(1, EACH + 1):
            year = "2019/" if number % 2 else "2020/summer/"
            put(root / f"{year}Somebody {person}/{number}.jpg", content(person, number))
    return root


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def csv_file(tmp_path: Path, *lines: str) -> str:
    (tmp_path / "who.csv").write_text("\n".join(["photo,person,x,y", *lines]) + "\n")
    return str(tmp_path / "who.csv")


def figures(facts: dict[str, object], name: str) -> dict:
    found = facts[name]
    assert isinstance(found, dict)
    return found


def test_a_tree_of_copies_scores_as_the_archives_own_folders_do(library: Library, tree: Path) -> None:
    lines, facts = clusters(library, str(tree))
    own = figures(clusters(library)[1], "all")
    scores = figures(facts, "all")
    assert scores["people"] == PEOPLE and scores["faces"] == PEOPLE * EACH == own["faces"] - 1
    assert own["bcubed_f"] < scores["bcubed_f"], "but for the photo that could not be decoded"
    assert lines[0] == f"{tree}: {PEOPLE * EACH} photos in people's folders"
    assert not any("hash" in key for key in facts), "nothing was learnt from these names"


def test_what_of_a_tree_is_left_out_is_said(library: Library, tree: Path) -> None:
    put(tree / "2019/Somebody 0/again.jpg", content(0, 1))  # a second copy says nothing new
    put(tree / "elsewhere/Somebody 1/1.jpg", content(0, 2))  # two people's folders
    put(tree / "2019/Somebody 2/new.jpg", b"not in the library")
    put(tree / "loose.jpg", content(3, 1))
    put(tree / "2019/Somebody 2/clip.mov", b"a video")
    lines, facts = clusters(library, str(tree))
    counts = figures(facts, "labels")
    assert {k: counts[k] for k in ("photos", "lacking", "shared", "beside", "not_found")} == {
        "photos": PEOPLE * EACH + 1, "lacking": 1, "shared": 1, "beside": 1, "not_found": 0
    }  # fmt: skip
    assert figures(facts, "all")["faces"] == PEOPLE * EACH - 1
    said = "\n".join(lines)
    for what in ("1 the library lacks", "1 lie in folders of several people", "1 lie beside"):
        assert what in said


def test_names_of_folders_are_one_however_a_system_writes_their_accents(
    library: Library, tmp_path: Path
) -> None:
    for number, form in ((1, "NFC"), (2, "NFD")):
        name = unicodedata.normalize(form, "Zo\u00eb")
        put(tmp_path / f"tree/{form}/{name}/1.jpg", content(4, number))
    put(tmp_path / "tree/Bob/1.jpg", content(5, 1))
    assert figures(clusters(library, str(tmp_path / "tree"))[1], "all")["people"] == 2


def test_a_tree_of_other_photos_is_refused_with_what_is_expected(library: Library, tmp_path: Path) -> None:
    put(tmp_path / "tree/Ann/1.jpg", b"another photo")
    with pytest.raises(LibraryError, match=r"holds none of the photos in .*1 the library lacks.*folder for"):
        clusters(library, str(tmp_path / "tree"))


def test_a_file_of_labels_says_whose_face_is_where(library: Library, tmp_path: Path) -> None:
    photos = [f"Person_{p}/Person_{p}_{n:04d}.jpg" for p in (0, 1) for n in (1, 2, 3)]
    lines = [f"{photo},{photo[:8]},55,60" for photo in photos]
    lines += [f"{photos[0]},Stranger,10,10", "Person_0/bad.jpg,Person_0,,"]
    said, facts = clusters(library, csv_file(tmp_path, *lines))
    scores = figures(facts, "all")
    assert (scores["faces"], scores["people"]) == (8, 3)
    assert scores["bcubed_precision"] == 1.0 and scores["bcubed_recall"] < 1.0
    assert "1 of 8 labelled faces were not found: each counts as alone" in said
    # The other way round, the same groups are wrong.
    wrong = [f"{photo},{photo[16:24]},55,60" for photo in photos]
    assert figures(clusters(library, csv_file(tmp_path, *wrong))[1], "all")["bcubed_f"] < 0.7


def test_a_copy_of_a_photo_counts_once_and_may_not_say_otherwise(library: Library, tmp_path: Path) -> None:
    copy = PhotoRow(
        FileEntry("photos", b"copies/1.jpg", 1, 1), OK, photo_id=content_id(content(0, 1)), width=100,
        height=100,
    )  # fmt: skip
    library.commit_chunk(
        "copies", fingerprint="stand-in", photos=[copy], faces=[], embeddings=None, thumbs=[]
    )
    lines = ["Person_0/Person_0_0001.jpg,Ann,,", "Person_0/Person_0_0002.jpg,Ann,,"]
    same = csv_file(tmp_path, *lines, "copies/1.jpg,Ann,,")
    assert figures(clusters(library, same)[1], "all")["faces"] == 2
    other = csv_file(tmp_path, *lines, "copies/1.jpg,Bob,,")
    with pytest.raises(UsageError, match=r"who\.csv calls one face 'Ann' in .*'Bob' in 'copies/1\.jpg'"):
        clusters(library, other)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["gone.jpg,Ann,,"], r"names 1 photos that .* does not hold, 'gone\.jpg'.*take its lines out"),
        ([], "labels no photo"),
        (["Person_0/Person_0_0001.jpg,Ann,,", "Person_0/Person_0_0001.jpg,Bob,,"], "line 3: .* x and y"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(
    library: Library, tmp_path: Path, lines: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        clusters(library, csv_file(tmp_path, *lines))


def test_one_path_in_two_archives_is_refused_only_where_it_is_labelled(
    library: Library, tmp_path: Path
) -> None:
    other = PhotoRow(FileEntry("phone", b"Person_0/Person_0_0001.jpg", 1, 1), OK, photo_id="e" * 32)
    library.commit_chunk(
        "other", fingerprint="stand-in", photos=[other], faces=[], embeddings=None, thumbs=[]
    )
    clusters(library, csv_file(tmp_path, "Person_0/Person_0_0002.jpg,Ann,,"))
    with pytest.raises(UsageError, match="several archives under one path"):
        clusters(library, csv_file(tmp_path, "Person_0/Person_0_0001.jpg,Ann,,"))


def test_the_command_takes_labels_and_prints_what_it_found(library: Library, tree: Path) -> None:
    done = CliRunner().invoke(main, ["evaluate", "clusters", library.path, str(tree), "--json"])
    assert done.exit_code == 0, done.output
    printed = done.output.strip().splitlines()
    assert json.loads(printed[-1])["labels"]["photos"] == PEOPLE * EACH
    assert any(line.startswith("BCubed F") for line in printed)
    lfw = CliRunner().invoke(main, ["evaluate", "clusters", library.path])
    assert "held out (odd hash)" in lfw.output
