from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.people import Assignment
from transforms.people_tables import assignments_table, people_table, photo_numbers
from transforms.tables import (
    CONFIDENCE,
    COVER,
    FACE_ID,
    FACES,
    FIRST_TAKEN,
    IGNORED,
    LAST_TAKEN,
    NAME,
    PERSON_ID,
    PHOTO_ID,
    PHOTOS_COUNT,
    ROLE,
    SOURCE,
)

NEVER = np.iinfo(np.int64).min
EPOCH = datetime(1970, 1, 1)


@given(faces=st.integers(0, 40), people=st.integers(1, 6), seed=st.integers(0, 500))
def test_people_are_what_going_through_their_faces_one_by_one_says(
    faces: int, people: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    group = np.unique(generator.integers(-1, people, faces), return_inverse=True)[1] - 1
    count = int(group.max(initial=-1)) + 1
    photo = generator.integers(0, 10, faces)
    times = np.where(generator.random(10) < 0.3, NEVER, generator.integers(0, 10**12, 10))
    beauty = generator.integers(0, 4, faces).astype(np.float64)
    face_ids = pa.chunked_array([pa.array([f"f{i:03d}" for i in range(faces)], pa.string())])
    ids = [f"p-{generator.integers(1000):03d}-{g}" for g in range(count)]
    names = dict.fromkeys(ids[:1], "Ada")
    table = people_table(face_ids, group, ids, photo, times[photo], beauty, names, set(ids[1:2]))
    expected = []
    for number, person in enumerate(ids):
        members = np.flatnonzero(group == number)
        taken = [int(times[p]) for p in photo[members] if times[p] != NEVER]
        expected.append(
            {
                PERSON_ID: person,
                NAME: "Ada" if number == 0 else None,
                FACES: len(members),
                PHOTOS_COUNT: len(set(photo[members].tolist())),
                FIRST_TAKEN: EPOCH + timedelta(microseconds=min(taken)) if taken else None,
                LAST_TAKEN: EPOCH + timedelta(microseconds=max(taken)) if taken else None,
                COVER: f"f{members[int(np.argmax(beauty[members]))]:03d}",
                IGNORED: number == 1,
            }
        )
    expected.sort(key=lambda row: (-row[FACES], row[PERSON_ID]))
    assert table.to_pylist() == expected


def test_assignments_leave_out_the_person_of_ungrouped_faces() -> None:
    found = Assignment(
        np.array([1, -1, 0]), np.array(["core", "ungrouped", "attached"], object), np.array([0.9, 0, 0.5])
    )
    source = np.array(["grouping", "grouping", "correction"], object)
    table = assignments_table(pa.chunked_array([["a", "b", "c"]]), found, ["p-0", "p-1"], source)
    assert table[SOURCE].to_pylist() == source.tolist()
    assert table[FACE_ID].to_pylist() == ["a", "b", "c"]
    assert table[PERSON_ID].to_pylist() == ["p-1", None, "p-0"]
    assert table[ROLE].to_pylist() == ["core", "ungrouped", "attached"]
    np.testing.assert_allclose(table[CONFIDENCE].to_numpy(), [0.9, 0, 0.5], atol=1e-6)


def test_faces_of_a_photo_have_its_number() -> None:
    assert photo_numbers(pa.table({PHOTO_ID: ["b", "a", "b", "c"]})).tolist() == [0, 1, 0, 2]
    assert photo_numbers(pa.table({PHOTO_ID: pa.array([], pa.string())})).tolist() == []
