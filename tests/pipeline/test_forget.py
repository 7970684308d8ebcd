from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.export import ExportOptions, export
from pipeline.forget import finish_forgetting, forget_command
from pipeline.labelled import Workplace, note_results
from pipeline.report import write_report
from tests.export_library import BOX, Exported, make_library
from transforms import storage
from transforms.export_list import write_listed
from transforms.export_records import export_records, record_export
from transforms.forgetting import PENDING, Removal
from transforms.forgetting_corrections import without_mentions
from transforms.library import Library, LibraryError
from transforms.mentions import Mentions
from transforms.records import NO_FACE, OK, SKIPPED, FileEntry
from transforms.tables import FACE_ID, PATH_BYTES, PERSON_ID, PHOTO_ID, REASON, STATUS
from transforms.tombstones import Tombstone, Tombstones

FORMULA = '=Formula "Anna"'


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_disk():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def made(tmp_path: Path) -> Exported:
    made = make_library(tmp_path)
    library = made.library
    # An older revision in which somebody else's faces were this person's, and decisions about them.
    old = library.current_revision()
    assert old is not None
    library.write_revision(
        library.next_revision(), assignments=library.read_assignments(old),
        people=library.read_people(old), grouping=library.read_grouping(old),
    )  # fmt: skip
    anna, bello = made.face_ids[b"o1.jpg"], made.face_ids[b"=1+1.jpg"]
    (Path(library.path) / "corrections.csv").write_text(
        f"id,date,kind,who,with,name,faces,note\nc-1,2026-01-01,name,{anna},,'{FORMULA},,\n".replace(
            '"', '""'
        )
        .replace("'=Formula", "\"'=Formula")
        .replace('Anna"",', 'Anna""",')
        + f"c-2,2026-01-01,same,{bello},{anna} | {made.face_ids[b'pair1.jpg']},,,\n"
        f"c-3,2026-01-01,name,{bello},,Bello / Böse,,\n"
        "c-4,2026-01-01,not-a-face,o1.jpg#1,,,,\n"
    )
    write_report(library)
    (Path(library.path) / "graph/r000002").mkdir(parents=True)
    (Path(library.path) / "graph/r000002/edges.bin").write_bytes(b"x")
    return made


def everything_says(library: Library) -> str:
    """All that the library's tables and texts hold, but vectors and the tombstones."""
    said = []
    for top, _, files in os.walk(library.path):
        for name in files:
            path = os.path.join(top, name)
            if name.endswith(".parquet") and name != "tombstones.parquet":
                table = pq.read_table(path)
                said += [
                    str(table[c].to_pylist()) for c in table.column_names if c not in ("embedding", "jpeg")
                ]
            elif not name.endswith(".parquet"):
                said.append(Path(path).read_bytes().decode("utf-8", "replace"))
    return "\n".join(said)


def test_a_person_is_gone_from_every_place(made: Exported, tmp_path: Path) -> None:
    library = made.library
    export(library, ExportOptions(to="csv", out=str(tmp_path / "csv")))
    export(library, ExportOptions(to="folders"))
    export(library, ExportOptions(to="xmp", beside=True))
    write_report(library, out=str(tmp_path / "pages"))
    record_export(library, kind="report", folder=str(tmp_path / "pages"))
    mine = set(library.read_assignments("r000001").to_pandas().query("person_id == 'p-anna'").face_id)
    removed = forget_command(library, people=[FORMULA])
    assert (removed.faces, removed.people, removed.left) == (10, 1, ())
    said = everything_says(library)
    assert FORMULA not in said and "p-anna" not in said and not any(f in said for f in mine)
    assert "Bello / Böse" in said and "c-2" in said, "what others decided stays"
    assert not (tmp_path / "csv").exists() and not (tmp_path / "pages").exists()
    assert not os.path.exists(library.file("export", "folders")) and not os.path.exists(
        library.file("report")
    )
    assert not list(made.archive.rglob("*.xmp")) and not os.path.exists(library.file("graph"))
    assert export_records(library) == []
    assert len(library.read_faces([FACE_ID])) == 8
    thumbs = [f for table in library.iter_thumbs() for f in table[FACE_ID].to_pylist()]
    assert sorted(thumbs) == library.read_faces([FACE_ID])[FACE_ID].to_pylist()
    states = dict(
        zip(
            *(library.read_photos([PATH_BYTES, STATUS])[c].to_pylist() for c in (PATH_BYTES, STATUS)),
            strict=True,
        )
    )
    assert states[b"o1.jpg"] == NO_FACE and states[b"pair1.jpg"] == OK == states[b"copy.jpg"]
    for revision in library.revisions():
        people = library.read_people(revision)
        assert people[PERSON_ID].to_pylist() == ["p-bello", "p-none"]
        assert people["faces"].to_pylist() == [5, 2] == people["photos"].to_pylist()
        assert set(people["cover_face_id"].to_pylist()) <= set(
            library.read_assignments(revision)[FACE_ID].to_pylist()
        )


def test_what_was_forgotten_does_not_come_back(made: Exported) -> None:
    forget_command(made.library, people=["p-anna"])
    stones = Tombstones.of(made.library)
    photo = made.face_ids[b"o1.jpg"].partition(":")[0]
    boxes = np.array([BOX, (50, 30, 90, 60)], np.float32)
    entry = FileEntry("main", b"o1.jpg", 1, 1)
    assert stones.faces(photo, entry, boxes + 1).tolist() == [True, False]
    assert stones.faces("0" * 32, entry, boxes).tolist() == [True, False], "an edit of the metadata"
    assert stones.faces(photo, FileEntry("main", b"moved.jpg", 1, 1), boxes).tolist() == [True, False]
    assert not stones.faces("0" * 32, FileEntry("main", b"other.jpg", 1, 1), boxes).any()
    assert not stones.photo(photo, entry)


@pytest.mark.parametrize("how", ["id", "path", "absolute"])
def test_a_photo_is_forgotten_with_all_its_copies(made: Exported, how: str) -> None:
    library, photo = made.library, made.face_ids[b"pair1.jpg"].partition(":")[0]
    name = {"id": photo, "path": "copy.jpg", "absolute": str(made.archive / "pair1.jpg")}[how]
    removed = forget_command(library, photos=[name])
    assert (removed.faces, removed.photos) == (2, 2)
    table = library.read_photos([PATH_BYTES, STATUS, REASON, PHOTO_ID, "taken_at"])
    rows = {r["path_bytes"]: r for r in table.to_pylist()}
    assert rows[b"pair1.jpg"]["status"] == rows[b"copy.jpg"]["status"] == SKIPPED
    assert rows[b"copy.jpg"]["taken_at"] is None and rows[b"o1.jpg"]["status"] == OK
    assert Tombstones.of(library).photo(photo, FileEntry("main", b"anywhere", 1, 1))
    assert photo + ":0" not in everything_says(library)


def test_all_leaves_nothing_and_takes_nothing_in(made: Exported, tmp_path: Path) -> None:
    export(made.library, ExportOptions(to="coco", out=str(tmp_path / "coco")))
    forget_command(made.library, all_of_it=True)
    assert sorted(os.listdir(made.library.path)) in (
        ["exports", "library.json", "tombstones.parquet"], ["library.json", "tombstones.parquet"],
    )  # fmt: skip
    assert not (tmp_path / "coco").exists()
    with pytest.raises(LibraryError, match="was forgotten"):
        finish_forgetting(made.library)


def test_wrong_names_remove_nothing(made: Exported) -> None:
    before = everything_says(made.library)
    for options in (
        {"people": ["Nobody"]},
        {"photos": ["none.jpg"]},
        {"people": ["p-anna"], "photos": ["x"]},
    ):
        with pytest.raises(LibraryError, match="Nobody|none.jpg|'x'"):  # noqa: RUF043
            forget_command(made.library, **options)
    assert everything_says(made.library) == before


def test_changed_exports_are_told_and_stay(made: Exported, tmp_path: Path) -> None:
    export(made.library, ExportOptions(to="csv", out=str(tmp_path / "csv")))
    (tmp_path / "csv/faces.csv").write_text("edited")
    removed = forget_command(made.library, people=["p-anna"])
    assert removed.left == (str(tmp_path / "csv/faces.csv"),)
    assert not (tmp_path / "csv/columns.csv").exists()
    assert forget_command(made.library, people=["p-bello"]).left == removed.left, (
        "and again, until it is gone"
    )


def test_results_of_experiments_lose_what_shows_faces_and_keep_the_rest(
    made: Exported, tmp_path: Path
) -> None:
    out = tmp_path / "evaluation"
    (out / "pictures").mkdir(parents=True)
    (out / "pictures/mine.jpg").write_bytes(b"was here before")
    note_results(made.library, Workplace(str(out), "albumen evaluate"))
    for name in ("pictures/wrong.jpg", "vectors/mirror/1.npy", "map.html", "gallery.npz", "map.html"):
        write_listed(str(out), name, b"shows somebody")
    (out / "album.md").write_text("numbers")
    assert forget_command(made.library, people=["p-anna"]).left == ()
    left = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert left == {"album.md", "pictures/mine.jpg"}
    assert export_records(made.library) == []


def test_stopped_anywhere_the_same_command_finishes(made: Exported, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(made.library.path, tmp_path / "whole")
    forget_command(Library(str(tmp_path / "whole")), people=["p-anna"])
    expected = contents(Library(str(tmp_path / "whole")))

    class Stopped(Exception):
        pass

    step = 0
    while True:
        step += 1
        path = tmp_path / f"stopped{step}"
        shutil.copytree(made.library.path, path)
        library, calls = Library(str(path)), 0
        with monkeypatch.context() as patch:
            for name in ("write_bytes", "remove", "remove_folder"):

                def counted(*arguments, real=getattr(storage, name), step=step):
                    nonlocal calls
                    calls += 1
                    if calls == step:
                        raise Stopped
                    return real(*arguments)

                patch.setattr(storage, name, counted)
            try:
                forget_command(library, people=["p-anna"])
                break
            except Stopped:
                pass
        if step % 2:
            if os.path.exists(library.file(PENDING)):
                finish_forgetting(library)  # what the next run does first
                assert contents(library) == expected, step
        else:
            forget_command(library, people=["p-anna"])
            assert contents(library) == expected, step
    assert step > 15


def contents(library: Library) -> tuple:
    photos = library.read_photos(["path_bytes", "status", "photo_id"]).to_pylist()
    faces = library.read_faces([FACE_ID, "embedding"]).to_pylist()
    # Rows may be doubled by a stop, which readers see once and the next tidying removes.
    raw = sorted({f for table in library.iter_stored_faces([FACE_ID]) for f in table[FACE_ID].to_pylist()})
    revisions = [
        (library.read_assignments(r).to_pylist(), library.read_people(r).to_pylist())
        for r in library.revisions()
    ]
    corrections = storage.read_bytes(library.file("corrections.csv"))
    return photos, faces, raw, revisions, corrections, os.path.exists(library.file(PENDING))


def test_lines_about_others_stay_byte_for_byte() -> None:
    f = "a" * 32
    gone = Mentions(
        faces=frozenset({f"{f}:0"}), ids=frozenset({"p-0123456789"}), names=frozenset({"Anna"}),
        places=frozenset({"x.jpg"}),
    )  # fmt: skip
    lines = [
        b"\xef\xbb\xbfid;date;kind;who;with;name\r\n",
        b'c-1;;name;p-ffffffffff;;"An;na"\r\n',
        b"c-2;;name;p-0123456789;;Bo\r\n",
        b"c-3;;rename;q;;Anna\r\n",
        b"c-4;;not-a-face;x.jpg#2;;\r\n",
        f"c-5;;same;{f}:1;{f}:0 | {f}:2;\r\n".encode(),
        f"c-6;;different;{f}:1;{f}:0;\r\n".encode(),
        b"my own notes \xff\r\n",
    ]
    left, lost = without_mentions(b"".join(lines), gone)
    assert lost == {"c-2", "c-3", "c-4", "c-6"}
    assert left == lines[0] + lines[1] + f"c-5;;same;{f}:1;{f}:2;\r\n".encode() + lines[7]


def test_a_removal_survives_as_text() -> None:
    stones = (Tombstone("a", "main", b"\xff.jpg", (1.0, 2.0, 3.0, 4.0)), Tombstone("b", "main", b"x", None))
    removal = Removal(faces=frozenset({"a:0"}), names=frozenset({"Ännchen"}), stones=stones, everything=True)
    assert Removal.from_json(removal.to_json()) == removal
