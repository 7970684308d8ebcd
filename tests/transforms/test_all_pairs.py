from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import all_pairs as module
from transforms.all_pairs import accepted_pairs, all_pairs
from transforms.verification import pair_distances, val_at_far

FARS = (0.0, 0.001, 0.01, 0.1, 0.29, 0.5, 1.0)


def faces(seed: int, *, count: int, people: int, spread: float, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around a middle for each person; with ties, out of a few vectors only."""
    random = np.random.default_rng(seed)
    middles = random.normal(size=(people, 4))
    person = random.integers(0, people, count)
    person[:3] = [0, 0, 1]
    vectors = middles[person] + spread * random.normal(size=(count, 4))
    if ties:
        vectors = np.round(vectors)
        vectors[np.abs(vectors).sum(axis=1) == 0] = 1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), person


CASES = st.builds(
    faces,
    st.integers(0, 1000),
    count=st.integers(3, 40),
    people=st.integers(2, 6),
    spread=st.floats(0.05, 3),
    ties=st.booleans(),
)


@settings(deadline=None)
@given(CASES)
def test_val_at_a_far_is_that_of_all_pairs_sorted(case: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, person = case
    same, different = (np.clip(d, 0, 4) for d in pair_distances(vectors, person))
    found = all_pairs(vectors, person, fars=FARS)
    assert found.different == len(different)
    np.testing.assert_array_equal(found.same, np.sort(same))
    for far in FARS:
        val, distance = val_at_far(same, different, far)
        assert found.at[far].val == val
        assert found.at[far].distance == distance


@settings(deadline=None)
@given(CASES)
def test_the_curve_counts_pairs_below_each_edge(case: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, person = case
    same, different = (np.clip(d, 0, 4) for d in pair_distances(vectors, person))
    edges, val, far = all_pairs(vectors, person, fars=[]).curve()
    bins = np.float32(module.BINS_PER_UNIT)
    for k in range(0, len(edges), 997):
        assert val[k] == pytest.approx(np.mean((same * bins).astype(int) <= k))
        assert far[k] == pytest.approx(np.mean((different * bins).astype(int) <= k))


@pytest.mark.parametrize(("rows", "columns"), [(1, 16), (7, 5), (64, 9)])
def test_blocks_change_nothing(rows: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, person = faces(5, count=60, people=9, spread=0.6, ties=True)
    expected = all_pairs(vectors, person, fars=FARS)
    monkeypatch.setattr(module, "_ROWS", rows)
    monkeypatch.setattr(module, "_COLUMNS", columns)
    found = all_pairs(vectors, person, fars=FARS)
    np.testing.assert_allclose(found.same, expected.same, atol=1e-6)
    assert [p.val for p in found.at.values()] == [p.val for p in expected.at.values()]


def test_pairs_near_the_border_are_kept_with_their_people() -> None:
    vectors, person = faces(1, count=50, people=10, spread=0.8, ties=False)
    near = all_pairs(vectors, person, fars=[0.05]).at[0.05].near
    names = np.unique(person)
    expected = sorted(
        (float(np.float32(2 - 2 * (vectors[i] @ vectors[j]))), {person[i], person[j]})
        for i, j in combinations(range(50), 2)
        if person[i] != person[j]
    )
    assert near.probability == 1
    assert len(near.distances) == len(expected), "of so few pairs all are kept"
    np.testing.assert_allclose(near.distances, [d for d, _ in expected], atol=1e-5)
    assert [set(names[list(p)]) for p in near.people.tolist()] == [p for _, p in expected]


def test_of_too_many_near_pairs_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DRAWN", 200)
    vectors, person = faces(2, count=120, people=12, spread=0.8, ties=False)
    near = all_pairs(vectors, person, fars=[0.5]).at[0.5].near
    assert near.probability < 1
    assert len(near.distances) == pytest.approx(200, abs=60)


def test_accepted_pairs_are_those_up_to_the_distance() -> None:
    vectors, person = faces(3, count=30, people=4, spread=0.7, ties=False)
    same, different = accepted_pairs(vectors, person, 0.5)
    expected = {
        (i, j) for i, j in combinations(range(30), 2) if float(((vectors[i] - vectors[j]) ** 2).sum()) <= 0.5
    }
    assert {tuple(p) for p in same.tolist()} == {p for p in expected if person[p[0]] == person[p[1]]}
    assert {tuple(p) for p in different.tolist()} == {p for p in expected if person[p[0]] != person[p[1]]}


@pytest.mark.parametrize("person", [[0, 0, 0], [0, 1, 2], []])
def test_pairs_of_both_kinds_are_needed(person: list[int]) -> None:
    vectors = np.eye(3, dtype=np.float32)[: len(person)]
    with pytest.raises(ValueError, match="needs pairs"):
        all_pairs(vectors, np.array(person, int), fars=[0.1])
