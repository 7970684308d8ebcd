"""Corrections and what regroupings make of them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline import group
from pipeline.cli import main
from pipeline.correct import correct, review
from pipeline.evaluate_corrections import corrections
from pipeline.group import group_library, is_current
from pipeline.labelled import Workplace
from pipeline.stats import ask
from tests.grown_library import (
    GrownLibrary,
    assigned,
    people,
    person_of,
    photo_id,
    regroup,
    six_people,
)
from transforms.album import read_album
from transforms.corrections import CorrectionError
from transforms.lease import Lease, LibraryInUse
from transforms.library import Library, LibraryInfo
from transforms.records import OK, FaceRow, FileEntry, PhotoRow
from transforms.references import References
from transforms.tables import EMBEDDING, FACE_ID, FACES, matrix
from transforms.tables import NAME as NAMES


@pytest.fixture
def grown(tmp_path: Path) -> GrownLibrary:
    return six_people(tmp_path / "library")


def test_the_first_faces_come_to_a_library_that_was_grouped_without_any(tmp_path: Path) -> None:
    made = GrownLibrary(tmp_path / "library")
    made.add([])
    assert regroup(made).people == 0
    made.add(*[[i % 6] for i in range(60)])
    assert regroup(made).people == 6


def test_a_library_too_large_to_be_grouped_in_memory_keeps_corrections_too(
    grown: GrownLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "EXACT_FACES", 10)
    anna, stranger = person_of(grown, 0), grown.face("album/0001.jpg")
    correct(grown.library, "name", [anna], name="Anna")
    correct(grown.library, "merge", [anna, person_of(grown, 2)])
    correct(grown.library, "not-a-face", [stranger])
    made = regroup(grown)
    assert made.kind == "increment" and made.problems == ()
    found = assigned(grown.library)
    assert people(grown.library)[anna][NAMES] == "Anna" and people(grown.library)[anna][FACES] == 20
    assert person_of(grown, 2) == anna and found[stranger] is None
    grown.add([0])
    monkeypatch.undo()
    regroup(grown)
    assert person_of(grown, 60) == anna and assigned(grown.library)[stranger] is None


def test_a_name_stays_through_regrouping_new_photos_and_another_method(grown: GrownLibrary) -> None:
    anna = person_of(grown, 0)
    correct(grown.library, "name", [anna], name="Anna")
    assert not is_current(grown.library, method="default", seed=0)
    regroup(grown)
    grown.add(*[[i % 6] for i in range(30)])
    for method in ("default", "agglomerative", "hdbscan", "default"):
        summary = regroup(grown, method)
        assert people(grown.library)[anna][NAMES] == "Anna" and not summary.problems
        assert person_of(grown, 0) == anna and person_of(grown, 60) == anna


def test_a_merge_means_the_same_people_after_their_ids_have_gone(grown: GrownLibrary) -> None:
    first, second = person_of(grown, 0), person_of(grown, 1)
    correct(grown.library, "merge", [first, second])
    summary = regroup(grown)
    assert person_of(grown, 0) == person_of(grown, 1) and summary.overlap.merged == 1
    assert {first, second} & people(grown.library).keys() == {person_of(grown, 0)}
    assert person_of(regrown(grown), 0) == person_of(grown, 61)


def test_merges_that_follow_one_another_all_hold(grown: GrownLibrary) -> None:
    """Half of what a merge speaks of is in the next one too: that takes nothing from it."""
    first, second, third, fourth, fifth = (person_of(grown, n) for n in range(5))
    correct(grown.library, "merge", [first, second])
    correct(grown.library, "merge", [second, third])
    regroup(grown)
    correct(grown.library, "merge", [person_of(grown, 1), fourth])
    correct(grown.library, "same", [fifth, person_of(grown, 0)])
    for full in (False, True):
        assert not group_library(grown.library, method="default", seed=0, full=full).problems
        assert len({person_of(grown, n) for n in range(5)}) == 1 != person_of(grown, 5)


def regrown(grown: GrownLibrary) -> GrownLibrary:
    grown.add(*[[i % 6] for i in range(12)])
    regroup(grown)
    return grown


def test_a_rename_and_a_merge_mean_the_person_who_was_named_when_they_were_few(tmp_path: Path) -> None:
    """The best faces of a person who has grown are others than those of then."""
    grown = GrownLibrary(tmp_path / "library", noise=0.3)
    grown.add(*[[i % 8] for i in range(24)])
    regroup(grown)
    anna, bo = person_of(grown, 0), person_of(grown, 1)
    correct(grown.library, "name", [anna], name="Anna")
    correct(grown.library, "name", [bo], name="Bo")
    grown.add(*[[i % 8] for i in range(160)])
    regroup(grown)
    before = set(assigned(grown.library).values())
    correct(grown.library, "rename", ["Anna"], name="Anne")
    assert not regroup(grown).problems
    assert set(assigned(grown.library).values()) == before
    assert people(grown.library)[anna][NAMES] == "Anne"
    who = assigned(grown.library)
    later = next(p for p in sorted(grown.photos)[24:] if who[grown.face(p)] == anna)
    correct(grown.library, "rename", [later], name="Annie")
    assert not regroup(grown).problems
    assert set(assigned(grown.library).values()) == before
    assert people(grown.library)[anna][NAMES] == "Annie"
    correct(grown.library, "merge", ["Bo", "Annie"])
    assert not regroup(grown).problems
    assert {r[NAMES] for r in people(grown.library).values()} == {"Bo", None}
    assert person_of(grown, 0) == person_of(grown, 1)


def test_undo_brings_the_person_back(grown: GrownLibrary) -> None:
    before = assigned(grown.library)
    made = correct(grown.library, "merge", [person_of(grown, 0), person_of(grown, 1)])
    regroup(grown)
    correct(grown.library, "undo", [made.correction.id])
    regroup(grown)
    after = assigned(grown.library)
    assert len(set(after.values())) == len(set(before.values()))
    assert [line for line in review(grown.library)[0] if "taken back" in line]


def test_a_line_made_by_hand_means_the_people_of_then(grown: GrownLibrary) -> None:
    first, second = person_of(grown, 0), person_of(grown, 1)
    path = Path(grown.library.file("corrections.csv"))
    path.write_bytes(
        f"\ufeffkind;who;with;name\r\nmerge;{first};{second};\r\nname;{first};;Anna\r\n".encode()
    )
    saved = path.read_bytes()
    regroup(grown)
    for _ in range(2):
        summary = regrown(grown) and regroup(grown)
        assert person_of(grown, 0) == person_of(grown, 1) and not summary.problems
        assert people(grown.library)[person_of(grown, 0)][NAMES] == "Anna"
    assert path.read_bytes() == saved, "a run wrote the user's file"


def test_a_name_outlives_all_the_faces_it_was_given_by(grown: GrownLibrary) -> None:
    """Photos go a few at a time, in the end every one that was there when the name was given."""
    anna = person_of(grown, 0)
    correct(grown.library, "name", [anna], name="Anna")
    regroup(grown)
    grown.add(*[[0] for _ in range(10)])
    for start in range(0, 60, 18):
        for number in range(start, min(start + 18, 60), 6):
            grown.remove(f"album/{number:04d}.jpg")
        summary = regroup(grown)
        assert people(grown.library)[anna][NAMES] == "Anna", summary.problems
    assert not summary.names_without_person


def test_a_person_whose_last_face_is_gone_is_gone_and_comes_back_with_it(grown: GrownLibrary) -> None:
    anna = person_of(grown, 0)
    correct(grown.library, "name", [anna], name="Anna")
    gone = [p for p, (_, who) in grown.photos.items() if who == [0]]
    saved = {p: grown.photos[p] for p in gone}
    for path in gone:
        grown.remove(path)
    summary = regroup(grown)
    assert anna not in people(grown.library) and summary.overlap.gone == 1
    assert any("Anna" in p for p in summary.problems)
    regroup(grown)
    grown.photos.update(saved)
    grown._commit(gone)
    assert not regroup(grown).problems
    assert people(grown.library)[anna][NAMES] == "Anna"


def test_an_edit_of_metadata_carries_everything_over(grown: GrownLibrary) -> None:
    anna = person_of(grown, 0)
    correct(grown.library, "name", [anna], name="Anna")
    correct(grown.library, "not-a-face", ["album/0001.jpg#1"])
    grown.edit(*grown.photos)
    summary = regroup(grown)
    assert summary.overlap.kept == 6 and not summary.overlap.moved and not summary.problems
    assert people(grown.library)[anna][NAMES] == "Anna"
    assert assigned(grown.library)[grown.face("album/0001.jpg")] is None


def test_references_by_path_count_faces_from_the_left(grown: GrownLibrary) -> None:
    (path,) = grown.add([6, 7])
    for text in (f"{path}#2", f"photos/{path}#2", f"/archive/{path}#2"):
        made = correct(grown.library, "not-a-face", [text]).correction
        assert made.anchors[text].faces == (grown.face(path, 1),)
    with pytest.raises(CorrectionError, match="shows 2 faces"):
        correct(grown.library, "not-a-face", [path])
    with pytest.raises(CorrectionError, match="shows 2 faces"):
        correct(grown.library, "not-a-face", [f"{path}#3"])


def test_people_to_ignore_and_what_is_no_face_are_not_shown(grown: GrownLibrary) -> None:
    ignored = person_of(grown, 0)
    correct(grown.library, "ignore-person", [ignored])
    correct(grown.library, "not-a-face", ["album/0001.jpg"])
    summary = regroup(grown)
    album, _ = read_album(grown.library, summary.revision)
    shown = set(album.face_ids.to_pylist())
    assert ignored not in album.people.ids.to_pylist() and people(grown.library)[ignored]["ignored"]
    assert grown.face("album/0001.jpg") not in shown and grown.face("album/0000.jpg") not in shown
    assert len(shown) == 60 - 10 - 1


def test_what_is_unknown_or_contradicts_changes_nothing(grown: GrownLibrary) -> None:
    first, second = person_of(grown, 0), person_of(grown, 1)
    correct(grown.library, "merge", [first, second])
    saved = grown.library.read_corrections()
    for kind, who, name, message in (
        ("different", [first, second], "", "line 2 .* and line 3 .* neither applies"),
        ("merge", [first, "p-1234567890"], "", "p-1234567890"),
        ("name", ["Nobody"], "X", "no person"),
        ("undo", ["c-12345678"], "", "no correction"),
        ("split", [first, second], "", "needs a face"),
        ("same", [first, first], "", "twice"),
        ("merge", [first], "", "needs the other"),
        ("name", [first], " ", "needs a name"),
        ("rename", [first], "A\nB", "not text"),
    ):
        with pytest.raises(CorrectionError, match=message):
            correct(grown.library, kind, who, name=name)
        assert grown.library.read_corrections() == saved


def test_a_held_library_says_what_to_do(grown: GrownLibrary) -> None:
    with Lease(grown.library.path), pytest.raises(LibraryInUse, match="by hand is safe"):
        correct(grown.library, "name", [person_of(grown, 0)], name="Anna")
    assert not grown.library.read_corrections()


def test_the_command_line(grown: GrownLibrary) -> None:
    library, anna, bo = grown.library.path, person_of(grown, 0), person_of(grown, 1)
    runner = CliRunner()

    def albumen(*arguments: str, options: tuple[str, ...] = ()) -> str:
        result = runner.invoke(main, ["correct", *options, library, *arguments])
        return f"{result.exit_code} {result.output}"

    assert albumen("name", anna, "Anna").startswith("0 c-")
    assert albumen("name", bo, "Bo", "--note", "=1").startswith("0")
    assert "'Bo' gives way" not in albumen("different", anna, bo)
    assert albumen("rename", anna, "Anne").startswith("0")
    listed = albumen()
    assert "line 2 (name" in listed and "line 5 (rename" in listed
    answer = albumen(options=("--json",))
    assert json.loads(answer.splitlines()[-1])["active"] == 4
    assert albumen("merge", anna, "p-0000000000").startswith("2 ")
    regroup(grown)
    assert {r[NAMES] for r in people(grown.library).values()} == {"Anne", "Bo", None}
    assert "neither applies" in albumen("same", "Anne", "Bo")


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_every_question_works_as_typed_and_is_not_asked_again(tmp_path: Path, answer: str) -> None:
    grown = six_people(tmp_path / "a library's folder")
    lines, facts = ask(grown.library, count=100)
    assert {"uncertain group", "likely merge", "likely wrong member"} >= {
        q["kind"] for q in facts["questions"]
    }
    typed = [line.split(": ", 1)[1].strip() for line in lines if line.startswith(f"     {answer}:")]
    assert len(typed) == len(facts["questions"]) > 6
    for command in typed:
        words = shlex.split(command)
        assert words[0] == "albumen"
        result = CliRunner().invoke(main, words[1:])
        # What would contradict answers before it is said, and changes nothing.
        assert result.exit_code == 0 or "contradict each other" in result.output, result.output
        lines, facts = ask(grown.library, count=100)
        assert result.exit_code or command not in "\n".join(lines)
    assert not regroup(grown).problems


def test_nothing_is_asked_that_is_known(grown: GrownLibrary) -> None:
    """Neither of what is no face, nor whether two named people are one, nor by places that are wrong."""
    grown.add([0, 1])
    regroup(grown)
    for number, name in ((0, "Anna"), (1, "Bo"), (2, "Cy"), (3, "Di")):
        correct(grown.library, "name", [person_of(grown, number)], name=name)
    correct(grown.library, "not-a-face", ["album/0004.jpg"])
    regroup(grown)
    lines, facts = ask(grown.library, count=1000)
    named = {p for p, row in people(grown.library).items() if row[NAMES]}
    for question in facts["questions"]:
        assert grown.face("album/0004.jpg") not in question["yes"]
        assert not set(question["yes"].split()[1:]) <= named
    shown = re.findall(r"([0-9a-f]{32}:\d+) \((\S+#\d+)\)", "\n".join(lines))
    assert shown
    references = References(grown.library, grown.library.current_revision())
    assert all(references.find(place).faces == (face,) for face, place in shown)


def test_a_line_edited_in_place_takes_back_what_it_said(grown: GrownLibrary) -> None:
    first, second, third = (person_of(grown, n) for n in range(3))
    correct(grown.library, "merge", [first, second])
    regroup(grown)
    assert person_of(grown, 0) == person_of(grown, 1)
    path = Path(grown.library.file("corrections.csv"))
    path.write_bytes(path.read_bytes().replace(second.encode(), third.encode(), 1))
    assert not regroup(grown).problems
    assert person_of(grown, 0) == person_of(grown, 2) != person_of(grown, 1)


def test_who_was_just_named_may_be_called_so(grown: GrownLibrary) -> None:
    correct(grown.library, "name", [person_of(grown, 0)], name="Anna")
    correct(grown.library, "merge", ["Anna", person_of(grown, 1)])
    regroup(grown)
    assert people(grown.library)[person_of(grown, 1)][NAMES] == "Anna"
    made = correct(grown.library, "name", [person_of(grown, 2)], name="Anna")
    assert person_of(grown, 0) in made.notes[0] and "merge" in made.notes[0]
    with pytest.raises(CorrectionError, match="taken back already"):
        for _ in range(2):
            correct(grown.library, "undo", [made.correction.id])
    correct(grown.library, "name", [person_of(grown, 2)], name="Bo")
    regroup(grown)
    assert "'Bo' gives way" in correct(grown.library, "merge", ["Anna", "Bo"]).notes[0]


def test_simulated_users_make_the_people_better(tmp_path: Path) -> None:
    hard = GrownLibrary(tmp_path / "hard", noise=0.42)
    hard.add(*[[i % 8] for i in range(80)])
    for path, (_, (person,)) in list(hard.photos.items()):
        hard.photos[f"{person}/{path[6:]}"] = hard.photos.pop(path)
    lines, facts = corrections(
        _by_folder(tmp_path / "labelled", hard),
        count=20,
        method="default",
        seed=0,
        work=Workplace(str(tmp_path / "out"), "albumen evaluate corrections LIBRARY", quiet=True),
    )
    curves = facts["bcubed_f"]
    assert curves["most useful"][-1] >= curves["most useful"][0]
    assert len(curves["random"]) == 3 and "20 random" in lines[2]
    page = (tmp_path / "out" / "corrections.md").read_text()
    assert f"| 20 | {curves['most useful'][2]:.4f} | {curves['random'][2]:.4f} |" in page
    assert (tmp_path / "out" / "corrections.svg").exists()


def _by_folder(path: Path, hard: GrownLibrary) -> Library:
    """The same faces in a folder per person, each at the centre of its photo."""
    made = Library.create(str(path))
    made.save_info(LibraryInfo(roots={"photos": "/archive"}))
    made.use_fingerprint("stand-in", {"embedder": {"name": "stand-in"}})
    source = hard.library.read_faces([FACE_ID, EMBEDDING])
    photos, faces = [], []
    owner = {photo_id(f"album/{p.split('/')[1]}", 0): p for p in hard.photos}
    for face in source[FACE_ID].to_pylist():
        content = face.partition(":")[0]
        photos.append(
            PhotoRow(FileEntry("photos", owner[content].encode(), 1, 1), OK, None, content, 100, 100)
        )
        box = np.array([20, 20, 80, 80], np.float32)
        faces.append(FaceRow(face, content, box, np.zeros((5, 2), np.float32), 0.99, 80.0, 0.5, 0.0, 0.0))
    made.commit_chunk(
        "chunk", fingerprint="stand-in", photos=photos, faces=faces,
        embeddings=matrix(source[EMBEDDING]), thumbs=[],
    )  # fmt: skip
    return made
