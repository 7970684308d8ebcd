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
from transforms.storage import WriteFailed

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


IDS = st.one_of(
    st.binary(min_size=16, max_size=16),
    # Ids that differ in single bytes, with zeros where text would end.
    st.lists(st.sampled_from([0, 1, 255]), min_size=16, max_size=16).map(bytes),
).map(bytes.hex)


@given(st.dictionaries(IDS, st.booleans(), max_size=30), st.lists(IDS, max_size=10))
def test_saved_content_answers_as_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, known: dict[str, bool], others: list[str]
) -> None:
    content = KnownContent(np.array(list(known), "S32"), np.array(list(known.values()), bool))
    path = str(tmp_path_factory.getbasetemp() / "known.npy")
    content.save(path)
    loaded = KnownContent.load(path)
    for photo_id in [*known, *others]:
        expected = {True: OK, False: NO_FACE, None: None}[known.get(photo_id)]
        assert content.status(photo_id) == loaded.status(photo_id) == expected


def test_what_is_no_photo_id_is_never_known() -> None:
    odd = ["1", "", "g" * 32, "é", "content7"]
    content = KnownContent(np.char.encode([*odd, "a" * 32], "utf-8").astype("S32"), np.ones(6, bool))
    assert [content.status(photo_id) for photo_id in odd] == [None] * 5
    assert content.status("a" * 32) == OK


def test_a_local_file_is_small_and_mapped_so_that_workers_share_its_pages(tmp_path: Path) -> None:
    count = 50_000
    ids = np.array([content_id(b"%d" % k) for k in range(count)], "S32")
    path = str(tmp_path / "known.npy")
    KnownContent(ids, np.ones(count, bool)).save(path)
    assert (tmp_path / "known.npy").stat().st_size < 17 * count + 1_000
    content = KnownContent.load(path)
    assert content.status(content_id(b"7")) == OK
    # Linux lists what a process has mapped; what it holds itself has no name there.
    if Path("/proc/self/maps").exists():
        assert path in Path("/proc/self/maps").read_text()


def test_a_file_that_can_not_be_written_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("transforms.storage.os.fsync", full)
    content = KnownContent(np.zeros(0, "S32"), np.zeros(0, bool))
    with pytest.raises(WriteFailed, match=r"known.npy can't be written .No space left"):
        content.save(str(tmp_path / "known.npy"))
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_content_ids_are_32_digits_and_equal_for_equal_content(a: bytes, b: bytes) -> None:
    assert (content_id(a) == content_id(b)) == (a == b)
    assert len(content_id(a)) == 32 and set(content_id(a)) <= set("0123456789abcdef")
