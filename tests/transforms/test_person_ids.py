from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.grouping import renumbered
from transforms.person_ids import person_ids


def ids_of(groups: dict[str, int], previous: dict[str, str] | None = None) -> dict[str, str | None]:
    """The person id of each face, faces in order of id."""
    faces = sorted(groups)
    ids = person_ids(faces, np.array([groups[f] for f in faces], np.int64), previous or {})
    assert len(ids) == len(set(ids)) == max(groups.values(), default=-1) + 1
    return {f: ids[groups[f]] if groups[f] >= 0 else None for f in faces}


def known(people: dict[str, str | None]) -> dict[str, str]:
    return {face: person for face, person in people.items() if person}


def test_new_people_get_ids_that_depend_on_their_faces_alone() -> None:
    first = ids_of({"a": 0, "b": 0, "c": 1, "d": -1})
    assert first == ids_of({"a": 1, "b": 1, "c": 0, "d": -1})
    assert ids_of({"c": 0, "x": 0}) == {"c": first["c"], "x": first["c"]}
    assert all(person is None or person.startswith("p-") for person in first.values())


def test_people_keep_their_ids_when_they_grow_and_are_renumbered() -> None:
    before = ids_of({"b": 0, "c": 0, "d": 1, "e": 1})
    after = ids_of({"a": 1, "b": 1, "c": 1, "d": 0, "e": 0, "f": 2, "g": 2}, known(before))
    assert (after["b"], after["d"]) == (before["b"], before["d"])
    assert after["a"] == before["b"] and after["f"] not in before.values()


def test_of_a_split_the_larger_part_keeps_the_id_and_the_other_gets_a_new_one() -> None:
    before = ids_of(dict.fromkeys("abcde", 0))
    after = ids_of({"a": 0, "b": 0, "c": 1, "d": 1, "e": 1}, known(before))
    assert after["c"] == before["a"] and after["a"] != before["a"]


def test_a_merged_person_takes_the_id_of_the_larger() -> None:
    before = ids_of({"a": 0, "b": 0, "c": 1, "d": 1, "e": 1})
    assert set(ids_of(dict.fromkeys("abcde", 0), known(before)).values()) == {before["c"]}


def test_an_id_is_never_given_to_someone_else() -> None:
    before = ids_of({"a": 0, "b": 0, "c": 1, "d": 1})
    # The first person has vanished but for its first face, which is alone; the name of a new person
    # whose first face it would be is taken.
    merged = ids_of({"a": 0, "c": 0, "d": 0, "b": -1}, known(before))
    assert merged["a"] == before["c"]
    again = ids_of({"a": 0, "x": 0, "c": 1, "d": 1}, {"b": str(before["a"]), **known(merged), "a": "p-other"})
    assert again["a"] == "p-other"
    fresh = ids_of({"a": 0, "x": 0}, {"b": str(before["a"])})
    assert fresh["a"] != before["a"]


@given(st.data())
def test_ids_do_not_depend_on_the_numbers_of_groups(data: st.DataObject) -> None:
    faces = [f"f{i:02d}" for i in range(data.draw(st.integers(1, 12)))]
    raw = np.array([data.draw(st.integers(0, 4)) for _ in faces])
    previous = {f: f"p{data.draw(st.integers(0, 3))}" for f in faces if data.draw(st.booleans())}
    groups = renumbered(raw)
    order = np.array(data.draw(st.permutations(range(groups.max() + 1))))
    first = ids_of(dict(zip(faces, groups.tolist(), strict=True)), previous)
    shuffled = ids_of(dict(zip(faces, order[groups].tolist(), strict=True)), previous)
    # A tie between two groups for an id goes by number: leave those out.
    overlaps = {(g, previous[f]) for f, g in zip(faces, groups.tolist(), strict=True) if f in previous}
    if len({person for _, person in overlaps}) == len(overlaps):
        assert first == shuffled
