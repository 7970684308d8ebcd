from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import storage
from transforms.compaction import Tidied, tidy
from transforms.known_content import KnownContent
from transforms.library import Library
from transforms.records import NO_FACE, OK, FaceRow, FileEntry, PhotoRow
from transforms.tables import FACE_ID, JPEG, PATH_BYTES, PHOTO_ID, ROOT

PATHS = [b"a", b"b", b"d/c", b"\xff", b"e"]
CONTENTS = range(5)  # content i has i % 3 faces


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def face_row(photo_id: str, number: int) -> FaceRow:
    box, points = np.full(4, number, np.float32), np.zeros((5, 2), np.float32)
    return FaceRow(f"{photo_id}:{number}", photo_id, box, points, 0.9, 40, 0.5, 1, 2)


@dataclass
class Writer:
    """Commits chunks to a library and remembers what each path holds now."""

    path: str
    library: Library = field(init=False)
    now: dict[bytes, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.library = Library.create(self.path)
        self.library.use_fingerprint("f", {})

    def commit(self, name: str, files: dict[bytes, int], *, known: bool = True, thumbs: bool = True) -> None:
        """Writes a chunk of files given as path → content; `known` content costs no detection."""
        content = KnownContent.of(self.library)
        photos, faces = [], []
        for path, number in files.items():
            photo_id, found = f"{number:032x}", number % 3
            status = OK if found else NO_FACE
            photos.append(PhotoRow(FileEntry("main", path, number, 1), status, photo_id=photo_id))
            fresh = all(f.photo_id != photo_id for f in faces)
            if fresh and not (known and content.status(photo_id)):
                faces += [face_row(photo_id, k) for k in range(found)]
        self.library.commit_chunk(
            name,
            fingerprint="f",
            photos=photos,
            faces=faces,
            embeddings=np.array(
                [[int(f.photo_id, 16), int(f.face_id[-1])] for f in faces], np.float32
            ).reshape(-1, 2),
            thumbs=[f.face_id.encode() for f in faces] if thumbs else [],
        )
        self.now.update(files)

    def orphan(self, name: str, files: dict[bytes, int]) -> None:
        """A chunk whose writer died before its photos file was written."""
        before = dict(self.now)
        self.commit(name, files, known=False)
        storage.remove(self.library.file("photos", name + ".parquet"))
        self.now = before

    def faces(self) -> list[str]:
        """The faces that must be there now."""
        return sorted(f"{n:032x}:{k}" for n in set(self.now.values()) for k in range(n % 3))


View = tuple[list[dict], list[dict], dict[str, bytes]]


def view(library: Library) -> View:
    """What readers see: photos, faces, and the thumbnails of those faces."""
    faces = library.read_faces([FACE_ID, PHOTO_ID, "box", "embedding"]).to_pylist()
    wanted = {row[FACE_ID] for row in faces}
    rows = [row for table in library.iter_thumbs() for row in table.to_pylist()]
    thumbs = {row[FACE_ID]: row[JPEG] for row in rows if row[FACE_ID] in wanted}
    return library.read_photos().to_pylist(), faces, thumbs


def assert_tidy(library: Library) -> None:
    """Any tool that reads the folders as they are sees what the library's reader sees."""
    names = {name + ".parquet" for name in library.chunk_names()}
    raw = {}
    for kind in ("photos", "faces/f", "thumbs"):
        folder = Path(library.path, kind)
        files = sorted(folder.iterdir()) if folder.exists() else []
        assert {f.name for f in files} <= names
        raw[kind] = [row for f in files for row in pq.read_table(f).to_pylist()]
    photos, faces, thumbs = view(library)
    assert sorted(map(str, raw["photos"])) == sorted(map(str, photos))
    assert sorted(row[FACE_ID] for row in raw["faces/f"]) == [row[FACE_ID] for row in faces]
    assert sorted(row[FACE_ID] for row in raw["thumbs"]) == sorted(thumbs)


def paths_table(*paths: bytes, root: str = "main") -> pa.Table:
    return pa.table({ROOT: [root] * len(paths), PATH_BYTES: pa.array(list(paths), pa.binary())})


FILES = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(CONTENTS), min_size=1, max_size=4)
STEPS = st.lists(
    st.tuples(st.sampled_from(["known", "unknown", "twice", "orphan", "tidy"]), FILES), min_size=1, max_size=6
)


@settings(max_examples=15, deadline=None)
@given(steps=STEPS, target=st.sampled_from([1, 6_000, 256_000_000]), random=st.randoms(use_true_random=False))
def test_tidying_changes_nothing_for_readers_and_leaves_each_row_once(steps, target: int, random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(os.path.join(folder, "library"))
        for number, (kind, files) in enumerate(steps):
            name = f"{random.randrange(100):02d}-{number}"  # names do not tell what is newer
            if kind == "tidy":
                tidy(writer.library, run=f"{random.randrange(100):02d}", target_bytes=target)
            elif kind == "orphan":
                writer.orphan(name, files)
            else:
                writer.commit(name, files, known=kind == "known")
                if kind == "twice":
                    writer.commit(f"{random.randrange(100):02d}-{number}-again", files, known=False)
        before = view(writer.library)
        assert {row[PATH_BYTES]: row["size"] for row in before[0]} == writer.now
        assert [row[FACE_ID] for row in before[1]] == writer.faces() == sorted(before[2])
        tidy(writer.library, run="last", target_bytes=target)
        assert view(writer.library) == before
        assert_tidy(writer.library)
        again = tidy(writer.library, run="again", target_bytes=target)
        assert (again.superseded_rows, again.forgotten_rows, again.orphan_files) == (0, 0, 0)


@settings(max_examples=12, deadline=None)
@given(steps=st.lists(FILES, min_size=1, max_size=4), gone=st.sets(st.sampled_from(PATHS)))
def test_forgetting_takes_paths_and_the_faces_that_no_other_path_has(steps, gone: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(os.path.join(folder, "library"))
        for number, files in enumerate(steps):
            writer.commit(f"{len(steps) - number}", files)
        forgotten = len(gone & set(writer.now))
        tidied = tidy(writer.library, run="r", forget=paths_table(*sorted(gone)))
        assert tidied.forgotten_rows == forgotten
        writer.now = {path: n for path, n in writer.now.items() if path not in gone}
        photos, faces, _ = view(writer.library)
        assert {row[PATH_BYTES]: row["size"] for row in photos} == writer.now
        assert [row[FACE_ID] for row in faces] == writer.faces()
        assert_tidy(writer.library)


def test_faces_outlive_the_path_that_they_were_found_under(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "library"))
    writer.commit("1", {b"a": 2})
    writer.commit("2", {b"copy": 2})
    tidy(writer.library, run="r", forget=paths_table(b"a"))
    assert [row[FACE_ID] for row in view(writer.library)[1]] == [f"{2:032x}:0", f"{2:032x}:1"]
    assert len(view(writer.library)[2]) == 2
    tidy(writer.library, run="s", forget=paths_table(b"copy"))
    assert view(writer.library) == ([], [], {})
    assert_tidy(writer.library)


def test_forgetting_is_for_one_root(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "library"))
    writer.commit("1", {b"a": 1})
    assert tidy(writer.library, run="r", forget=paths_table(b"a", root="other")).forgotten_rows == 0
    assert len(view(writer.library)[0]) == 1


def test_what_was_done_is_counted(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "library"))
    writer.commit("1", {b"a": 1, b"b": 2})
    writer.commit("2", {b"a": 4})
    writer.orphan("3", {b"e": 2})
    (tmp_path / "library" / "photos" / ".x.partial").write_bytes(b"half")
    found = tidy(writer.library, run="r", forget=paths_table(b"b", b"never there"))
    assert (found.superseded_rows, found.forgotten_rows, found.orphan_files) == (1, 1, 2)
    assert not (tmp_path / "library" / "photos" / ".x.partial").exists()


def test_a_library_that_is_tidy_is_left_alone(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "library"))
    assert tidy(writer.library, run="r") == Tidied()
    writer.commit("1", {b"a": 1})
    assert tidy(writer.library, run="r") == Tidied()
    assert writer.library.chunk_names() == ["1"]


def test_small_chunks_become_large_ones_and_large_ones_stay(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "library"))
    for number in range(6):
        writer.commit(f"{number}", {b"%d" % number: number})
    size = max(writer.library.chunk_bytes(f"{n}") for n in range(6))
    assert tidy(writer.library, run="r", target_bytes=size) == Tidied()
    tidied = tidy(writer.library, run="r", target_bytes=3 * size)
    assert tidied.merged_chunks == 6 and len(writer.library.chunk_names()) == 2
    assert all(name.startswith("r-compact-") for name in writer.library.chunk_names())
    assert_tidy(writer.library)


def test_a_library_without_thumbnails_is_tidied_too(tmp_path: Path) -> None:
    writer = Writer(str(tmp_path / "library"))
    writer.commit("1", {b"a": 1}, thumbs=False)
    writer.commit("2", {b"a": 2}, thumbs=False)
    tidy(writer.library, run="r")
    assert [row[FACE_ID] for row in view(writer.library)[1]] == writer.faces()
    assert_tidy(writer.library)


class Crash(Exception):
    pass


def crash_at(number: int, patch: pytest.MonkeyPatch) -> None:
    """The n-th file that is written or removed from now on is not."""
    left = [number]

    def guarded(call: Callable) -> Callable:
        def counted(*args, **options):
            left[0] -= 1
            if left[0] == 0:
                raise Crash
            return call(*args, **options)

        return counted

    for name in ("write_bytes", "remove"):
        patch.setattr(storage, name, guarded(getattr(storage, name)))


@pytest.mark.parametrize(("forget", "target"), [((), 6_000), ((b"a", b"b"), 256_000_000)])
def test_a_crash_at_any_point_is_invisible_and_the_next_tidying_completes(
    forget: tuple[bytes, ...], target: int, tmp_path: Path
) -> None:
    writer = Writer(str(tmp_path / "library"))
    writer.commit("3", {b"a": 1, b"b": 2, b"d/c": 4})
    writer.commit("1", {b"a": 2, b"e": 2}, known=False)
    writer.commit("2", {b"a": 2, b"e": 2}, known=False)
    writer.orphan("9", {b"e": 1})
    before, gone = view(writer.library), paths_table(*forget)
    writer.now = {path: n for path, n in writer.now.items() if path not in forget}
    for number in range(1, 100):
        library = Library(str(shutil.copytree(writer.path, tmp_path / f"crash{number}")))
        with pytest.MonkeyPatch.context() as patch:
            crash_at(number, patch)
            try:
                tidy(library, run="r", forget=gone, target_bytes=target)
                crashed = False
            except Crash:
                crashed = True
        photos, faces, thumbs = view(library)
        if forget:  # what is to go goes row by row; nothing else goes, and nothing comes back
            assert all(row in before[0] for row in photos) and all(row in before[1] for row in faces)
            assert writer.now.items() <= {row[PATH_BYTES]: row["size"] for row in photos}.items()
            assert {*writer.faces()} <= {row[FACE_ID] for row in faces} == {*thumbs}
        else:
            assert (photos, faces, thumbs) == before
        if crashed:
            tidy(library, run="s", forget=gone, target_bytes=target)
        photos, faces, _ = view(library)
        assert {row[PATH_BYTES]: row["size"] for row in photos} == writer.now
        assert [row[FACE_ID] for row in faces] == writer.faces()
        assert_tidy(library)
        if not crashed:
            assert number > 8
            return
    raise AssertionError("tidying never came to its end")
