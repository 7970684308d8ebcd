from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.constraints import Claim, Constraints
from transforms.succession import Past, continued_ids, given_names, gone_people, ignored_ids, overlap
from transforms.tables import ASSIGNMENTS_SCHEMA, FACES, GONE_SCHEMA, NAME, PERSON_ID

FACES_IDS = [f"{i:032x}:0" for i in range(12)]


def past(people: dict[int, str | None], gone: list[dict] | None = None, names: dict | None = None) -> Past:
    rows = [(FACES_IDS[f], p, 0.9, "core", "grouping") for f, p in people.items()]
    table = pa.Table.from_pylist(
        [dict(zip(ASSIGNMENTS_SCHEMA.names, row, strict=True)) for row in rows], schema=ASSIGNMENTS_SCHEMA
    )
    return Past("r1", table, pa.Table.from_pylist(gone or [], schema=GONE_SCHEMA), names or {})


def compared(before: dict[int, str | None], group: list[int]):
    ids = continued_ids(FACES_IDS[: len(group)], np.array(group), past(before))
    return overlap(past(before), pa.array(FACES_IDS[: len(group)]), np.array(group), ids).as_dict()


NOTHING = {"kept": 0, "split": 0, "merged": 0, "new": 0, "gone": 0, "moved": 0, "joined": 0, "left": 0}
A, B = "p-aaaaaaaaaa", "p-bbbbbbbbbb"


def test_the_first_grouping_has_new_people_only() -> None:
    found = overlap(Past(), pa.array(FACES_IDS[:2]), np.array([0, 0]), ["p-1"])
    assert found.as_dict() == {**NOTHING, "new": 1}


def test_what_has_become_of_people_is_counted() -> None:
    before = {0: A, 1: A, 2: A, 3: A, 4: B, 5: B, 6: None}
    assert compared(before, [0, 0, 0, 0, 1, 1, -1]) == {**NOTHING, "kept": 2}
    assert compared(before, [0, 0, 1, 1, 2, 2, -1]) == {**NOTHING, "kept": 1, "split": 1, "moved": 2}
    assert compared(before, [0, 0, 0, 0, 0, 0, -1]) == {**NOTHING, "kept": 1, "merged": 1, "moved": 2}
    assert compared(before, [0, 0, 0, 0, -1, -1, -1]) == {**NOTHING, "kept": 1, "gone": 1, "left": 2}
    assert compared(before, [0, 0, 0, 0, 1, 1, 1]) == {**NOTHING, "kept": 2, "joined": 1}
    assert compared(before, [0, 0, 0, 0, 1, 1, -1, 2, 2]) == {**NOTHING, "kept": 2, "new": 1}


@given(
    st.lists(st.integers(-1, 3), min_size=12, max_size=12),
    st.lists(st.integers(-1, 3), min_size=12, max_size=12),
)
def test_everyone_of_the_past_is_kept_split_merged_or_gone(before: list[int], after: list[int]) -> None:
    people = {i: None if p < 0 else f"p-{p:010x}" for i, p in enumerate(before)}
    numbers = sorted(set(after) - {-1})
    group = [numbers.index(g) if g >= 0 else -1 for g in after]
    found = compared(people, group)
    assert found["kept"] + found["split"] + found["merged"] + found["gone"] == len(
        set(people.values()) - {None}
    )
    grouped_both = sum(b >= 0 and a >= 0 for b, a in zip(before, after, strict=True))
    assert found["moved"] <= grouped_both
    assert compared(people, before_numbers(before)) == {**NOTHING, "kept": len(set(before) - {-1})}


def before_numbers(before: list[int]) -> list[int]:
    numbers = sorted(set(before) - {-1})
    return [numbers.index(p) if p >= 0 else -1 for p in before]


def test_someone_who_is_gone_is_known_again_by_their_faces() -> None:
    first = past({0: A, 1: A, 2: B, 3: B}, names={A: "Anna"})
    ids = continued_ids(FACES_IDS[:4], np.array([-1, -1, 0, 0]), first)
    gone = gone_people(first, ids)
    assert ids == [B] and gone[PERSON_ID].to_pylist() == [A] and gone[NAME].to_pylist() == ["Anna"]
    assert gone[FACES].to_pylist() == [FACES_IDS[:2]]
    second = Past("r2", past({2: B, 3: B}).assignments, gone, {A: "Anna"})
    back = continued_ids(FACES_IDS[:4], np.array([0, 0, 1, 1]), second)
    assert back == [A, B]
    assert given_names(back, np.array([0, 0, 1, 1]), Constraints(), second)[0] == {A: "Anna"}
    assert len(gone_people(second, back)) == 0


def test_an_id_is_never_given_anew() -> None:
    ids = continued_ids(FACES_IDS[:2], np.array([0, 0]), Past())
    # Later the person is gone, with no face in common with who now has their first face.
    rows = [{PERSON_ID: ids[0], NAME: None, "last_revision": "r1", FACES: [FACES_IDS[5]]}]
    again = continued_ids(FACES_IDS[:2], np.array([0, 0]), past({}, rows))
    assert again != ids


def test_a_name_whose_person_has_no_face_is_said() -> None:
    claims = (
        Claim("Anna", np.array([0, 1]), False, "c-1"),
        Claim("Bo", np.array([2]), True, "c-2"),
    )
    group, ids = np.array([-1, -1, 0, 0]), [B]
    names, corrected, lost = given_names(ids, group, Constraints(claims=claims), past({}, names={A: "Cy"}))
    assert names == {B: "Bo"} and corrected == [B] and lost == ["Anna", "Cy"]


def test_a_name_goes_to_the_person_with_most_of_its_faces() -> None:
    claims = (Claim("Anna", np.array([0, 1, 2]), False, "c-1"),)
    names, _, _ = given_names([A, B], np.array([0, 1, 1]), Constraints(claims=claims), past({}))
    assert names == {B: "Anna"}


def test_people_to_ignore_are_known_by_most_of_their_faces() -> None:
    ignored = Constraints(ignored=(np.array([0, 1, 2]), np.array([3])))
    assert ignored_ids([A, B], np.array([0, 0, 1, -1]), ignored) == {A}
