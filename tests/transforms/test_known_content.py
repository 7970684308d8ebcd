from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.memory_filesystem import MemoryFileSystem
from transforms.known_content import KnownContent, KnownFiles, content_id
from transforms.library import Library, LibraryInfo
from transforms.records import ERROR, NO_FACE, OK, SKIPPED, FileEntry, PhotoRow

NO_VECTORS = np.zeros((0, 4), np.float32)


@pytest.fixture(params=["local", "url"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Library]:
    MemoryFileSystem.clear()
    library = Library.create(str(tmp_path / "library") if request.param == "local" else "testmem://b/library")
    library.save_info(LibraryInfo({"main": "/photos", "other": "/others"}, "f", {}))
    yield library
    MemoryFileSystem.clear()


def entry(path: bytes, *, size: int = 10, mtime_us: int = 1_000, root: str = "main") -> FileEntry:
    return FileEntry(root, path, size, mtime_us)


def commit(library: Library, *photos: PhotoRow) -> None:
    name = f"chunk{len(library.chunk_names()):03d}"
    library.commit_chunk(name, fingerprint="f", photos=photos, faces=[], embeddings=NO_VECTORS, thumbs=[])


def test_files_are_settled_by_path_size_and_time(library: Library) -> None:
    commit(library, PhotoRow(entry(b"a"), OK, photo_id="1"), PhotoRow(entry(b"\xff\xfe"), SKIPPED, "a video"))
    known = KnownFiles(library, "main")
    assert len(known) == 2
    asked = [
        entry(b"a"),
        entry(b"a", size=11),
        entry(b"a", mtime_us=1_001),
        entry(b"b"),
        entry(b"\xff\xfe"),
        entry(b"A"),
    ]
    assert known.unchanged(asked).tolist() == [True, False, False, False, True, False]
    assert known.unchanged([]).tolist() == []


@pytest.mark.parametrize(
    ("row", "settled"),
    [
        (PhotoRow(entry(b"a"), OK, photo_id="1"), True),
        (PhotoRow(entry(b"a"), NO_FACE, "no face found", "1"), True),
        (PhotoRow(entry(b"a"), SKIPPED, "a video"), True),
        (PhotoRow(entry(b"a"), ERROR, "truncated", "1"), True),
        (PhotoRow(entry(b"a"), ERROR, "can't be read: stale file handle"), False),
    ],
)
def test_only_files_whose_content_could_not_be_read_are_tried_again(
    library: Library, row: PhotoRow, settled: bool
) -> None:
    commit(library, row)
    assert KnownFiles(library, "main").unchanged([entry(b"a")]).tolist() == [settled]


def test_the_newest_row_of_a_path_decides(library: Library) -> None:
    commit(library, PhotoRow(entry(b"a"), OK, photo_id="1"))
    commit(library, PhotoRow(entry(b"a", size=20), OK, photo_id="2"))
    assert KnownFiles(library, "main").unchanged([entry(b"a"), entry(b"a", size=20)]).tolist() == [
        False,
        True,
    ]


def test_roots_are_told_apart(library: Library) -> None:
    commit(library, PhotoRow(entry(b"a", root="other"), OK, photo_id="1"))
    known = KnownFiles(library, "main")
    assert len(known) == 0 and known.unchanged([entry(b"a")]).tolist() == [False]
    assert known.unseen().to_pylist() == []


def test_what_no_listing_has_seen_is_told(library: Library) -> None:
    names = [b"b", b"a", b"d/x", b"\xffodd", b"c"]
    commit(library, *(PhotoRow(entry(n), OK, photo_id="1") for n in names))
    known = KnownFiles(library, "main")
    known.unchanged([entry(b"a"), entry(b"new")])
    known.unchanged([entry(b"d/x", size=99)])  # changed, but there
    assert sorted(known.unseen().to_pylist()) == [b"b", b"c", b"\xffodd"]


def test_an_empty_library_knows_nothing(library: Library) -> None:
    assert KnownFiles(library, "main").unchanged([entry(b"a")]).tolist() == [False]
    content = KnownContent.of(library)
    content.save(library.file("known.npy"))
    assert content.status("1") is KnownContent.load(library.file("known.npy")).status("1") is None


def test_content_is_known_with_what_was_found_in_it(library: Library) -> None:
    a, b, c, d = (content_id(x) for x in (b"a", b"b", b"c", b"d"))
    commit(
        library,
        PhotoRow(entry(b"a"), OK, photo_id=a),
        PhotoRow(entry(b"copy of a"), OK, photo_id=a),
        PhotoRow(entry(b"b"), NO_FACE, "no face found", b),
        PhotoRow(entry(b"c"), ERROR, "truncated", c),
        PhotoRow(entry(b"d"), SKIPPED, "a video"),
    )
    KnownContent.of(library).save(library.file("known.npy"))
    for content in (KnownContent.of(library), KnownContent.load(library.file("known.npy"))):
        assert [content.status(i) for i in (a, b, c, d)] == [OK, NO_FACE, None, None]


def test_content_that_no_path_holds_any_more_is_not_known(library: Library) -> None:
    commit(library, PhotoRow(entry(b"a"), OK, photo_id=content_id(b"old")))
    commit(library, PhotoRow(entry(b"a", size=20), OK, photo_id=content_id(b"new")))
    content = KnownContent.of(library)
    assert content.status(content_id(b"old")) is None and content.status(content_id(b"new")) == OK


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_content_ids_are_32_digits_and_equal_for_equal_content(a: bytes, b: bytes) -> None:
    assert (content_id(a) == content_id(b)) == (a == b)
    assert len(content_id(a)) == 32 and set(content_id(a)) <= set("0123456789abcdef")
