from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.drawn_people import identities
from transforms.blocked_search import Directed, search
from transforms.bursts import BURST, search_past_bursts
from transforms.cell_search import search_cell
from transforms.neighbours import neighbour_graph
from transforms.people import NEIGHBOURS, FaceSet, assign
from transforms.regrouping import neighbours_of


def moments(count: int, shots: int) -> np.ndarray:
    """One person in moments 0.73 alike, each a burst of shots 0.97 alike: float32[count * shots, 128]."""
    random = np.random.default_rng(0)

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    person = unit(random.normal(size=128))
    of_moment = unit(person + 0.58 * unit(random.normal(size=(count, 128))))
    of_shot = unit(random.normal(size=(count * shots, 128)))
    return unit(np.repeat(of_moment, shots, axis=0) + 0.17 * of_shot).astype(np.float32)


def joined(found: Directed, moment: np.ndarray) -> set[tuple[int, int]]:
    """The pairs of moments with an edge between them."""
    ends = moment[found.face], moment[found.other]
    return {(min(a, b), max(a, b)) for a, b in zip(*(e.tolist() for e in ends), strict=True) if a != b}


@pytest.mark.parametrize("find", [search_past_bursts, partial(search_cell, most=10_000)])
def test_a_burst_longer_than_the_list_still_sees_what_lies_past_it(find) -> None:
    vectors, moment = moments(6, 40), np.repeat(np.arange(6), 40)
    plain, found = search(vectors, 20, least=0.5), find(vectors, 20, least=0.5)
    assert not joined(plain, moment)
    assert len(joined(found, moment)) == 15
    # The burst has its share of most lists, and all of its shots hang together.
    near = found.similarity >= BURST
    assert np.median(np.bincount(found.face[near])) <= 17
    for number in range(6):
        inside = near & (moment[found.face] == number)
        assert len(set(found.face[inside].tolist()) | set(found.other[inside].tolist())) == 40


def test_a_film_of_thousands_of_near_identical_shots_is_seen_past_too() -> None:
    """More bursts alike than a list holds: one shot of some bursts looks further again."""
    film, other = moments(2, 1)
    random = np.random.default_rng(3)
    shots = np.concatenate([np.repeat(film[None], 900, axis=0), np.repeat(other[None], 30, axis=0)])
    shots = shots + 0.008 * random.normal(size=shots.shape)
    vectors = (shots / np.linalg.norm(shots, axis=1, keepdims=True)).astype(np.float32)
    found = search_past_bursts(vectors, 10, least=0.5)
    assert joined(found, np.repeat([0, 1], [900, 30])) == {(0, 1)}


@settings(max_examples=25, deadline=None)
@given(noise=st.floats(0.4, 1.2), seed=st.integers(0, 1000), threads=st.integers(1, 2))
def test_without_long_bursts_nothing_changes(noise: float, seed: int, threads: int) -> None:
    vectors, _ = identities(6, 8, noise=noise, seed=seed)
    bias = np.random.default_rng(seed).normal(0, 0.05, len(vectors)).astype(np.float32)
    plain = search(vectors, 9, least=0.2, bias=bias)
    if (plain.similarity < BURST - 0.2).any():
        found = search_past_bursts(vectors, 9, least=0.2, bias=bias, threads=threads)
        crowded = np.bincount(plain.face[plain.similarity >= BURST - 0.2], minlength=48) >= 9
        if not crowded.any():
            np.testing.assert_array_equal(found.face, plain.face)
            np.testing.assert_array_equal(found.other, plain.other)


@pytest.mark.parametrize("shots", [20, NEIGHBOURS + 40])
def test_a_person_in_long_bursts_is_one_person(shots: int) -> None:
    vectors = moments(12, shots)
    ones = np.ones(len(vectors), np.float32)
    faces = FaceSet(vectors, np.arange(len(vectors)), 90 * ones, ones, 0 * ones, ones)
    assert set(assign(faces, method="default", threshold=0.6, seed=0).group.tolist()) == {0}


def test_new_shots_are_joined_past_their_own_burst() -> None:
    """A new burst longer than the list, of someone whom the library knows."""
    vectors = moments(2, NEIGHBOURS + 10)
    count = len(vectors)
    ones = np.ones(count, np.float32)
    faces = FaceSet(vectors, np.arange(count), 90 * ones, ones, 0 * ones, ones)
    new = np.arange(count // 2, count)
    found = neighbours_of(faces, 0.5, new)
    assert ((found.left < count // 2) & (found.right >= count // 2)).any()
    # Among the new ones alone there is nobody else.
    alone = neighbours_of(faces, 0.5, new, new)
    assert (alone.left >= count // 2).all()


def test_the_graph_has_each_edge_once() -> None:
    graph = neighbour_graph(moments(4, 30), k=10, least=0.5)
    assert (graph.left < graph.right).all()
    pairs = set(zip(graph.left.tolist(), graph.right.tolist(), strict=True))
    assert len(pairs) == len(graph.left)
