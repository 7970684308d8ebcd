from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory_filesystem import MemoryFileSystem
from transforms import storage
from transforms.library import Library, LibraryError, LibraryInfo
from transforms.records import ERROR, NO_FACE, OK, SKIPPED, FaceRow, FileEntry, PhotoRow
from transforms.tables import ASSIGNMENTS_SCHEMA, PEOPLE_SCHEMA, PHOTOS_SCHEMA, faces_schema, matrix

TIME = datetime(2019, 7, 14, 18, 32, 5, 123456)


@pytest.fixture(params=["local", "url"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    MemoryFileSystem.clear()
    library = Library.create(str(tmp_path / "library") if request.param == "local" else "testmem://b/x [1]")
    library.use_fingerprint("f", {"detector": {"min_face": 24}})
    yield library
    MemoryFileSystem.clear()


def photo(path: bytes, content: str | None, *, root: str = "main", status: str = OK, **more) -> PhotoRow:
    return PhotoRow(FileEntry(root, path, 10, 1_000_001), status, photo_id=content, **more)


def face(photo_id: str, number: int, *, box: Sequence[float] = (1, 2, 3, 4)) -> FaceRow:
    points = np.arange(10, dtype=np.float32).reshape(5, 2)
    return FaceRow(f"{photo_id}:{number}", photo_id, np.array(box, np.float32), points, 0.75, 2, 0.5, -3, 4)


def commit(library: Library, name: str, photos: Sequence[PhotoRow], faces: Sequence[FaceRow] = ()) -> None:
    vectors = np.array([[float(len(f.photo_id)), float(f.face_id[-1])] for f in faces], np.float32).reshape(
        -1, 2
    )
    jpegs = [f.face_id.encode() for f in faces]
    library.commit_chunk(name, fingerprint="f", photos=photos, faces=faces, embeddings=vectors, thumbs=jpegs)


def faces_of(library: Library) -> list[str]:
    return library.read_faces(["face_id"])["face_id"].to_pylist()


def paths_of(library: Library) -> list[bytes]:
    return library.read_photos(["path_bytes"])["path_bytes"].to_pylist()


# -- on disk -------------------------------------------------------------------------------------


def test_the_tables_are_on_disk_as_documented(tmp_path: Path) -> None:
    library = Library.create(str(tmp_path / "library"))
    library.use_fingerprint("f", {})
    row = photo(b"d/\xe4.jpg", "a" * 32, width=640, height=480, format="JPEG", taken_at=TIME, utc_offset=-90)
    commit(
        library, "chunk", [row, photo(b"x.mov", None, status=SKIPPED, reason="a video")], [face("a" * 32, 0)]
    )
    photos = pq.read_table(tmp_path / "library" / "photos" / "chunk.parquet")
    faces = pq.read_table(tmp_path / "library" / "faces" / "f" / "chunk.parquet")
    thumbs = pq.read_table(tmp_path / "library" / "thumbs" / "chunk.parquet")
    assert {f.name: str(f.type) for f in photos.schema} == {
        "photo_id": "string", "root": "string", "path": "string", "path_bytes": "binary", "size": "int64",
        "mtime": "timestamp[us, tz=UTC]", "width": "int32", "height": "int32", "format": "string",
        "taken_at": "timestamp[us]", "utc_offset": "int16", "status": "string", "reason": "string",
        "indexed_at": "timestamp[us, tz=UTC]",
    }  # fmt: skip
    assert {f.name: str(f.type).replace("element", "item") for f in faces.schema} == {
        "face_id": "string", "photo_id": "string", "box": "fixed_size_list<item: float>[4]",
        "landmarks": "fixed_size_list<item: float>[10]", "score": "float", "size": "float",
        "sharpness": "float", "roll": "float", "yaw": "float", "embedding": "fixed_size_list<item: float>[2]",
    }  # fmt: skip
    assert {f.name: str(f.type) for f in thumbs.schema} == {"face_id": "string", "jpeg": "binary"}
    first, second = photos.to_pylist()
    indexed = first.pop("indexed_at")
    assert abs((datetime.now(timezone.utc) - indexed).total_seconds()) < 60
    assert first == {
        "photo_id": "a" * 32, "root": "main", "path": "d/\\xe4.jpg", "path_bytes": b"d/\xe4.jpg", "size": 10,
        "mtime": datetime(1970, 1, 1, 0, 0, 1, 1, timezone.utc), "width": 640, "height": 480,
        "format": "JPEG", "taken_at": TIME, "utc_offset": -90, "status": "ok", "reason": None,
    }  # fmt: skip
    assert (second["status"], second["reason"], second["photo_id"]) == ("skipped", "a video", None)
    assert faces.to_pylist() == [
        {
            "face_id": "a" * 32 + ":0", "photo_id": "a" * 32, "box": [1, 2, 3, 4],
            "landmarks": list(range(10)), "score": 0.75, "size": 2, "sharpness": 0.5, "roll": -3, "yaw": 4,
            "embedding": [32, 0],
        }
    ]  # fmt: skip


def test_the_commit_record_is_written_last(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    plain = storage.write_bytes
    monkeypatch.setattr(storage, "write_bytes", lambda p, d: (written.append(p), plain(p, d)))
    commit(library, "c", [photo(b"a", "p")], [face("p", 0)])
    assert [w[len(library.path) + 1 :] for w in written] == [
        "faces/f/c.parquet", "thumbs/c.parquet", "photos/c.parquet",
    ]  # fmt: skip


def test_a_message_with_a_name_that_is_no_text_can_be_kept(library: Library) -> None:
    commit(library, "c", [photo(b"a", None, status=ERROR, reason="can't read 'caf\udce9.jpg'\n")])
    assert library.read_photos(["reason"])["reason"].to_pylist() == ["can't read 'caf\\xe9.jpg'\\n"]


# -- what counts ---------------------------------------------------------------------------------


def test_the_newest_row_of_a_path_wins_whatever_its_chunk_is_called(library: Library) -> None:
    commit(library, "z", [photo(b"a", "old"), photo(b"b", "same")], [face("old", 0), face("same", 0)])
    commit(library, "a", [photo(b"a", "new")], [face("new", 0), face("new", 1)])
    rows = library.read_photos(["path_bytes", "photo_id"]).to_pylist()
    assert rows == [
        {"path_bytes": b"a", "photo_id": "new"}, {"path_bytes": b"b", "photo_id": "same"},
    ]  # fmt: skip
    assert faces_of(library) == ["new:0", "new:1", "same:0"]


def test_the_same_path_under_two_roots_is_two_photos(library: Library) -> None:
    commit(library, "c", [photo(b"a", "1", root="x"), photo(b"a", "2", root="w")])
    assert library.read_photos(["root", "photo_id"]).to_pylist() == [
        {"root": "w", "photo_id": "2"}, {"root": "x", "photo_id": "1"},
    ]  # fmt: skip


def test_faces_without_their_photos_file_do_not_exist(library: Library) -> None:
    commit(library, "c", [photo(b"a", "1")], [face("1", 0)])
    commit(library, "torn", [photo(b"b", "2")], [face("2", 0)])
    storage.remove(library.file("photos", "torn.parquet"))
    assert faces_of(library) == ["1:0"] and paths_of(library) == [b"a"]
    assert [t["face_id"].to_pylist() for t in library.iter_thumbs()] == [["1:0"]]
    assert sorted(library.uncommitted_files()) == [
        library.file("faces", "f", "torn.parquet"), library.file("thumbs", "torn.parquet"),
    ]  # fmt: skip


def test_a_chunk_that_is_there_twice_is_read_once(library: Library) -> None:
    for name in ("c-1", "c-2"):
        commit(library, name, [photo(b"a", "1"), photo(b"b", "2")], [face("1", 0), face("2", 0)])
    assert faces_of(library) == ["1:0", "2:0"] and paths_of(library) == [b"a", b"b"]


def test_content_under_several_paths_has_its_faces_once(library: Library) -> None:
    commit(library, "c", [photo(b"a", "1")], [face("1", 0)])
    commit(library, "d", [photo(b"copy", "1")])
    commit(library, "e", [photo(b"a", "2", status=ERROR, reason="truncated")])
    assert faces_of(library) == ["1:0"]
    commit(library, "g", [photo(b"copy", "3", status=NO_FACE)])
    assert faces_of(library) == []


def test_a_file_that_could_not_be_read_takes_nothing_from_what_is_known(library: Library) -> None:
    commit(library, "c", [photo(b"a", "1")], [face("1", 0)])
    unread = [photo(path, None, status=ERROR, reason="can't be read") for path in (b"a", b"b")]
    commit(library, "d", unread)
    assert library.read_photos(["status"])["status"].to_pylist() == [OK, ERROR]
    assert faces_of(library) == ["1:0"]
    commit(library, "e", [photo(b"a", "2", status=ERROR, reason="truncated")])
    assert faces_of(library) == []


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_order_of_faces_does_not_depend_on_chunks(data: st.DataObject) -> None:
    contents = [f"p{i}" for i in range(data.draw(st.integers(1, 8)))]
    order = data.draw(st.permutations(contents))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(contents)), max_size=3)) | {len(contents)})
    MemoryFileSystem.clear()
    library = Library.create("testmem://bucket/library")
    library.use_fingerprint("f", {})
    for start, end in zip([0, *cuts], cuts, strict=False):
        faces = [face(p, k) for p in order[start:end] for k in range(2)]
        commit(
            library,
            f"{data.draw(st.integers(0, 9))}-{start}",
            [photo(p.encode(), p) for p in order[start:end]],
            faces,
        )
    table = library.read_faces(["embedding", "face_id"])
    assert table.column_names == ["embedding", "face_id"]
    assert table["face_id"].to_pylist() == [f"{p}:{k}" for p in sorted(contents) for k in range(2)]
    np.testing.assert_array_equal(matrix(table["embedding"])[:, 1], [0, 1] * len(contents))
    assert paths_of(library) == [p.encode() for p in sorted(contents)]


def test_an_empty_library_can_be_read(library: Library) -> None:
    assert library.read_photos().num_rows == library.read_faces(["face_id", "embedding"]).num_rows == 0
    assert library.read_photos(["status"]).column_names == ["status"]
    assert list(library.iter_thumbs()) == library.chunk_names() == library.uncommitted_files() == []
    assert library.current_revision() is None


def test_photos_without_faces_are_a_library_too(library: Library) -> None:
    commit(library, "c", [photo(b"a", "1", status=NO_FACE, reason="no face found")])
    assert library.read_faces(["face_id"]).num_rows == 0 and paths_of(library) == [b"a"]
    assert library.read_chunk("c")[1:] == (None, None)


def test_a_removed_chunk_is_gone_from_all_tables(library: Library) -> None:
    for name in ("c", "d"):
        commit(library, name, [photo(name.encode(), name)], [face(name, 0)])
    library.remove_chunk("c")
    assert library.chunk_names() == ["d"] and faces_of(library) == ["d:0"]
    assert library.uncommitted_files() == []
    assert library.chunk_bytes("d") > library.chunk_bytes("c") == 0


# -- library.json --------------------------------------------------------------------------------


def test_a_library_is_begun_in_a_new_or_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new", "empty"):
        Library.create(str(tmp_path / name))
        assert Library.open(str(tmp_path / name)).info() == LibraryInfo({})
    assert json.loads((tmp_path / "new" / "library.json").read_text())["format"] == 1


def test_an_existing_library_is_opened_as_it_is(library: Library) -> None:
    assert Library.create(library.path).info() == library.info()
    assert library.info().settings == {"detector": {"min_face": 24}}


@pytest.mark.parametrize("name", ["holiday.jpg", "2019/x.jpg"])
def test_a_folder_with_other_things_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(
        LibraryError, match=r"is not empty \(it holds '(holiday\.jpg|2019)'\).*new or empty folder"
    ):
        Library.create(str(tmp_path))
    assert not (tmp_path / "library.json").exists()


def test_a_file_in_the_library_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LibraryError, match=r"file is not a folder"):
        Library.create(str(tmp_path / "file"))


def test_what_a_run_leaves_before_the_library_is_begun_is_not_foreign(tmp_path: Path) -> None:
    (tmp_path / "lease.json").write_bytes(b"{}")
    (tmp_path / ".DS_Store").write_bytes(b"")
    (tmp_path / "logs").mkdir()
    Library.create(str(tmp_path))


def test_opening_no_library_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="index photographs first, albumen index ARCHIVE"):
        Library.open(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 1, "roots": 5}', b"\xff\xfe"]
)
def test_a_damaged_library_json_is_named(library: Library, content: bytes) -> None:
    storage.write_bytes(library.file("library.json"), content)
    with pytest.raises(LibraryError, match=r"library\.json is damaged .*backup"):
        Library.open(library.path)


@pytest.mark.parametrize("content", [{"format": 2, "roots": {}}, {"format": 2, "archives": []}])
def test_a_format_from_a_newer_version_is_refused(library: Library, content: dict[str, object]) -> None:
    storage.write_bytes(library.file("library.json"), json.dumps(content).encode())
    with pytest.raises(LibraryError, match="has format 2; this version of Albumen reads format 1"):
        library.info()


def test_another_fingerprint_is_refused_with_both_named(library: Library) -> None:
    library.use_fingerprint("f", {"other": "settings do not matter"})
    with pytest.raises(LibraryError) as refused:
        library.use_fingerprint("g-123", {})
    assert all(
        part in str(refused.value) for part in ("indexed as f", "g-123", '"min_face": 24', "new library")
    )
    assert library.info().fingerprint == "f"


def test_roots_that_are_not_utf8_survive(library: Library) -> None:
    location = os.fsdecode(b"/mnt/caf\xe9/\xf0\x9f\x98\x80")
    library.save_info(LibraryInfo({"main": location}, "f", {}))
    assert os.fsencode(library.info().roots["main"]) == b"/mnt/caf\xe9/\xf0\x9f\x98\x80"


# -- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"PAR1 not really PAR1", b"PAR1" + b"\0" * 100])
@pytest.mark.parametrize(
    ("parts", "read"),
    [
        (("photos", "c.parquet"), lambda library: library.read_photos()),
        (("faces", "f", "c.parquet"), lambda library: library.read_faces(["face_id"])),
        (("thumbs", "c.parquet"), lambda library: list(library.iter_thumbs())),
    ],
    ids=["photos", "faces", "thumbs"],
)
def test_a_damaged_table_is_named_with_the_remedy(library: Library, parts, read, content: bytes) -> None:
    commit(library, "c", [photo(b"a", "1")], [face("1", 0)])
    storage.write_bytes(library.file(*parts), content)
    with pytest.raises(LibraryError, match=r"can't be read .*backup or remove it") as refused:
        read(library)
    assert library.file(*parts) in str(refused.value)


def test_partial_files_are_removed_and_never_read(tmp_path: Path) -> None:
    library = Library.create(str(tmp_path / "library"))
    library.use_fingerprint("f", {})
    commit(library, "c", [photo(b"a", "1")], [face("1", 0)])
    partial = [library.file(*f, ".0.partial") for f in ((), ("photos",), ("thumbs",), ("faces", "f"))]
    for path in partial:
        Path(path).write_bytes(b"half")
    assert paths_of(library) == [b"a"] and faces_of(library) == ["1:0"]
    library.remove_partial_files()
    assert not any(map(os.path.exists, partial)) and paths_of(library) == [b"a"]


# -- revisions -----------------------------------------------------------------------------------


def revision_tables(*assigned: tuple[str, str]) -> dict[str, pa.Table]:
    rows = [
        dict(zip(ASSIGNMENTS_SCHEMA.names, (f, p, 0.9, "core", "cluster"), strict=True)) for f, p in assigned
    ]
    people = [
        dict(zip(PEOPLE_SCHEMA.names, (p, None, 1, 1, TIME, TIME, f, False), strict=True))
        for f, p in assigned
    ]
    return {
        "assignments": pa.Table.from_pylist(rows, ASSIGNMENTS_SCHEMA),
        "people": pa.Table.from_pylist(people, PEOPLE_SCHEMA),
    }


def test_a_revision_is_read_as_it_was_written(library: Library) -> None:
    tables = revision_tables(("1:0", "p-1"), ("2:0", "p-2"))
    first = library.next_revision()
    library.write_revision(first, **tables, grouping={"method": "default", "threshold": 0.6})
    assert library.current_revision() == first
    assert library.read_assignments(first).equals(tables["assignments"])
    assert library.read_people(first).equals(tables["people"])
    assert library.read_grouping(first) == {"method": "default", "threshold": 0.6}
    second = library.next_revision()
    assert second > first
    library.write_revision(second, **revision_tables(), grouping={})
    assert library.current_revision() == second and library.read_assignments(first).num_rows == 2


def test_a_revision_that_was_not_finished_is_not_the_current_one(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.write_revision("r000001", **revision_tables(("1:0", "p-1")), grouping={})
    plain = storage.write_bytes

    def fail(path: str, data: bytes) -> None:
        if path.endswith("CURRENT"):
            raise OSError(28, "No space left on device")
        plain(path, data)

    monkeypatch.setattr(storage, "write_bytes", fail)
    with pytest.raises(OSError, match="No space"):
        library.write_revision("r000002", **revision_tables(), grouping={})
    assert library.current_revision() == "r000001" and library.next_revision() == "r000003"


def test_no_column_is_spelt_twice_for_one_table() -> None:
    for schema in (
        PHOTOS_SCHEMA,
        faces_schema(8),
        ASSIGNMENTS_SCHEMA,
        PEOPLE_SCHEMA,
    ):
        assert len(schema.names) == len(set(schema.names))
