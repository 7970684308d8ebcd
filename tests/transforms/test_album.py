from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.face_library import ROOT, FaceLibrary, Person, Picture
from transforms.album import NOBODY, Album, PhotoColumns, PhotoStates, join_tables, read_album
from transforms.album_pages import person_titles, seen_once
from transforms.library import Library
from transforms.records import ERROR, NO_FACE, OK, SKIPPED
from transforms.tables import ASSIGNMENTS_SCHEMA, PATH_BYTES, PEOPLE_SCHEMA, PERSON_ID


@pytest.fixture
def shelf(tmp_path: Path) -> FaceLibrary:
    return FaceLibrary(tmp_path / "library", {ROOT: str(tmp_path / "photos")})


def read(library: Library) -> tuple[Album, PhotoStates]:
    revision = library.current_revision()
    assert revision is not None
    return read_album(library, revision)


def shown(album: Album, person: int) -> list[str]:
    faces = album.order[album.starts[person] : album.starts[person + 1]]
    return album.face_ids.take(pa.array(faces)).to_pylist()


def ungrouped(album: Album) -> list[str]:
    return album.face_ids.take(pa.array(album.order[album.starts[-1] :])).to_pylist()


def test_faces_are_shown_by_date_then_path_and_undated_last(shelf: FaceLibrary) -> None:
    shelf.add(
        Picture(b"d.jpg", ["p1"]),
        Picture(b"c.jpg", ["p1"], datetime(2010, 1, 1)),
        Picture(b"b.jpg", ["p1"], datetime(2012, 1, 1)),
        Picture(b"a.jpg", ["p1"], datetime(2012, 1, 1)),
    )
    album, _ = read(shelf.group())
    assert shown(album, 0) == ["content1:0", "content3:0", "content2:0", "content0:0"]


def test_people_come_by_photos_and_know_their_years(shelf: FaceLibrary) -> None:
    shelf.add(
        Picture(b"a.jpg", ["p1", "p2"], datetime(2010, 5, 1)),
        Picture(b"b.jpg", ["p2", None], datetime(2008, 5, 1)),
        Picture(b"c.jpg", ["p2"]),
        Picture(b"d.jpg", ["p1", "p1", "p1"]),
        Picture(b"e.jpg", ["p3"]),
    )
    album, _ = read(shelf.group())
    people = album.people
    assert people.ids.to_pylist() == ["p2", "p1", "p3"]
    assert people.photos.tolist() == [3, 2, 1]
    assert people.faces.tolist() == [3, 4, 1]
    assert [t.year if t else None for t in people.first.tolist()] == [2008, 2010, None]
    assert [t.year if t else None for t in people.last.tolist()] == [2010, 2010, None]
    assert ungrouped(album) == ["content1:1"]


def test_a_cover_that_is_not_of_the_person_is_replaced(shelf: FaceLibrary) -> None:
    shelf.add(
        Picture(b"a.jpg", ["p1", "p2"]), Picture(b"b.jpg", ["p1", "p2"]), Picture(b"c.jpg", ["p3", None])
    )
    library = shelf.group(
        Person("p1", cover="content1:0"), Person("p2", cover="content0:0"), Person("p3", cover="gone:0")
    )
    album, _ = read(library)
    covers = album.face_ids.take(pa.array(album.people.covers)).to_pylist()
    assert dict(zip(album.people.ids.to_pylist(), covers, strict=True)) == {
        "p1": "content1:0",
        "p2": "content0:1",
        "p3": "content2:0",
    }


def test_faces_gone_since_the_grouping_are_left_out_and_their_people_too(shelf: FaceLibrary) -> None:
    shelf.add(Picture(b"a.jpg", ["p1", "p2"]))
    shelf.add(Picture(b"b.jpg", ["p1"]))
    library = shelf.group()
    library.remove_chunk("chunk000001")
    album, _ = read(library)
    assert album.people.ids.to_pylist() == ["p1"]
    assert shown(album, 0) == ["content1:0"]


def test_faces_added_since_the_grouping_are_ungrouped_and_counted(shelf: FaceLibrary) -> None:
    shelf.add(Picture(b"a.jpg", ["p1"]))
    library = shelf.group()
    shelf.add(Picture(b"b.jpg", ["p1", "p1"]))
    album, _ = read(library)
    assert album.not_grouped_yet == 2
    assert ungrouped(album) == ["content1:0", "content1:1"]


def test_a_photo_with_copies_counts_once_and_is_shown_at_its_first_path(shelf: FaceLibrary) -> None:
    shelf.add(Picture(b"z.jpg", ["p1"]))
    shelf.add(Picture(b"a.jpg", content=0))
    album, states = read(shelf.group())
    assert album.people.photos.tolist() == [1]
    assert album.photos.paths.take(pa.array(album.photo)).to_pylist() == [b"a.jpg"]
    assert states.photos == 2


def test_a_library_without_faces_is_an_empty_album(shelf: FaceLibrary) -> None:
    album, states = read(shelf.group())
    assert (len(album.face_ids), len(album.people), album.starts.tolist()) == (0, 0, [0])
    assert states.photos == 0


def test_states_are_counted_and_errors_sorted_by_kind(shelf: FaceLibrary) -> None:
    shelf.add(
        Picture(b"a.jpg", ["p1"], status=OK),
        Picture(b"b.jpg", status=NO_FACE),
        Picture(b"c.jpg", status=ERROR, reason="truncated: 5 bytes"),
        Picture(b"d.jpg", status=ERROR, reason="truncated at the end"),
        Picture(b"e.jpg", status=ERROR, reason="truncated"),
        Picture(b"f.jpg", status=ERROR),
        Picture(b"g.mov", status=SKIPPED, reason="video"),
        Picture(b"h.mov", status=SKIPPED, reason="video"),
        Picture(b"i.xmp", status=SKIPPED, reason="sidecar"),
    )
    _, states = read(shelf.group())
    assert states.photos == 2
    assert states.kinds == ["truncated", "truncated", "truncated at the end", "unknown"]
    assert states.errors[PATH_BYTES].to_pylist() == [b"e.jpg", b"c.jpg", b"d.jpg", b"f.jpg"]
    assert states.skipped == [("video", 2), ("sidecar", 1)]


people_of_faces = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([None, "a", "b", "c", "lost"])), max_size=15
)


@given(people_of_faces, st.lists(st.none() | st.integers(0, 10**15), min_size=4, max_size=4))
def test_the_order_holds_every_face_once_and_starts_part_it(
    faces: list[tuple[int, str | None]], taken: list[int | None]
) -> None:
    ids = pa.array([f"{i:03d}" for i in range(len(faces))], pa.large_string())
    rows = [
        (i, p, None if p is None else 0.5, "core", "")
        for i, (_, p) in zip(ids.to_pylist(), faces, strict=True)
    ]
    album = join_tables(
        ids,
        np.array([photo for photo, _ in faces], np.int64),
        PhotoColumns(pa.array([ROOT] * 4), pa.array([b"x"] * 4), np.array(taken, "datetime64[us]")),
        assignments=pa.Table.from_pylist(
            [dict(zip(ASSIGNMENTS_SCHEMA.names, row, strict=True)) for row in rows], ASSIGNMENTS_SCHEMA
        ),
        people=pa.Table.from_pylist([{PERSON_ID: p} for p in "abc"], PEOPLE_SCHEMA),
    )
    assert sorted(album.order.tolist()) == list(range(len(faces)))
    assert album.starts[0] == 0 and (np.diff(album.starts) > 0).all()
    for i, person in enumerate(album.people.ids.to_pylist()):
        assert set(shown(album, i)) == {f"{k:03d}" for k, (_, p) in enumerate(faces) if p == person}
    nobody = {k for k, (_, p) in enumerate(faces) if p in (None, "lost")}
    assert set(np.flatnonzero(album.person == NOBODY).tolist()) == nobody
    assert set(ungrouped(album)) == {f"{k:03d}" for k in nobody}
    counts = album.people.photos.tolist()
    assert counts == sorted(counts, reverse=True)


def test_only_unnamed_people_of_one_photo_are_seen_once(shelf: FaceLibrary) -> None:
    shelf.add(Picture(b"a.jpg", ["p1", "p2", "p3"]), Picture(b"b.jpg", ["p1"]))
    album, _ = read(shelf.group(Person("p3", "Anna")))
    once = dict(zip(album.people.ids.to_pylist(), seen_once(album).tolist(), strict=True))
    assert once == {"p1": False, "p2": True, "p3": False}


def test_nobody_is_seen_once_where_everybody_is(shelf: FaceLibrary) -> None:
    shelf.add(Picture(b"a.jpg", ["p1", "p2"]))
    album, _ = read(shelf.group())
    assert seen_once(album).tolist() == [False, False]


@pytest.mark.parametrize(
    ("ids", "names", "titles"),
    [
        (["p-7", "p-0012"], [None, ""], ["Person 7", "Person 12"]),
        (["p-7", "p-12"], ["Anna", None], ["Anna", "Person 12"]),
        (["p-7", "q-7"], [None, None], ["Person 1", "Person 2"]),
        (["3fa9", "9bc"], [None, "Ben"], ["Person 1", "Ben"]),
        ([], [], []),
    ],
)
def test_people_without_a_name_have_a_number(
    ids: list[str], names: list[str | None], titles: list[str]
) -> None:
    assert person_titles(ids, names) == titles
