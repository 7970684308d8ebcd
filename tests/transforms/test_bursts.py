from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.drawn_people import identities
from transforms import bursts
from transforms.blocked_search import search
from transforms.bursts import BURST, bursts_of, search_past_bursts
from transforms.cell_search import search_home
from transforms.edge_lists import Directed
from transforms.neighbours import NEIGHBOURS, NeighbourGraph, neighbour_graph, undirected
from transforms.people import FaceSet, assign
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


def all_alike(vectors: np.ndarray, bias: np.ndarray | float = 0.0) -> np.ndarray:
    """float[n, n]: similarities, -2 of each face with itself."""
    alike = vectors @ vectors.T - np.add.outer(bias, bias) / 2
    np.fill_diagonal(alike, -2)
    return alike


def find_collapsed(*args, **named) -> tuple[Directed, np.ndarray]:
    """What a full cell does, for a few faces."""
    with mock.patch.object(bursts, "_FEW", 64):
        return search_home(*args, most=10_000, **named)


SEARCHES = [search_past_bursts, partial(search_home, most=10_000), find_collapsed]


@pytest.mark.parametrize("find", SEARCHES)
def test_a_burst_longer_than_the_list_is_one_face_that_sees_the_others(find: Callable) -> None:
    vectors, moment = moments(6, 40), np.repeat(np.arange(6), 40)
    plain, (found, stands) = search(vectors, 20, least=0.5), find(vectors, 20, least=0.5)
    assert not joined(plain, moment)
    assert len(joined(found, moment)) == 15
    assert moment[stands].tolist() == [0, 1, 2, 3, 4, 5]
    # The other shots have one edge, to the one that stands for them or for who does.
    others = ~stands[found.face]
    assert (np.bincount(found.face, minlength=240)[~stands] == 1).all()
    assert (moment[found.face[others]] == moment[found.other[others]]).all()
    assert (found.similarity[others] >= BURST).all()


@pytest.mark.parametrize("find", SEARCHES)
def test_a_film_of_thousands_of_near_identical_shots_is_seen_past_too(find: Callable) -> None:
    """More shots than one list holds: it takes several rounds."""
    film, other = moments(2, 1)
    random = np.random.default_rng(3)
    shots = np.concatenate([np.repeat(film[None], 900, axis=0), np.repeat(other[None], 30, axis=0)])
    shots = shots + 0.008 * random.normal(size=shots.shape)
    vectors = (shots / np.linalg.norm(shots, axis=1, keepdims=True)).astype(np.float32)
    found, stands = find(vectors, 10, least=0.5)
    assert joined(found, np.repeat([0, 1], [900, 30])) == {(0, 1)}
    assert np.flatnonzero(stands).tolist() == [0, 900]


@pytest.mark.parametrize("find", SEARCHES)
@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    k=st.integers(3, 12),
    noise=st.floats(0.005, 0.05),
    seed=st.integers(0, 1000),
    threads=st.integers(1, 2),
    more=st.sampled_from([0, 2, 8]),
)
def test_who_stands_has_the_nearest_of_those_who_stand(
    find: Callable, sizes: list[int], k: int, noise: float, seed: int, threads: int, more: int
) -> None:
    random = np.random.default_rng(seed)
    vectors = np.repeat(identities(1, len(sizes), noise=0.5, seed=seed)[0], sizes, axis=0)
    vectors = vectors + noise * random.normal(size=vectors.shape)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    vectors = vectors[random.permutation(len(vectors))]
    bias = random.normal(0, 0.05, len(vectors)).astype(np.float32)
    with mock.patch.object(bursts, "MORE", more):
        found, stands = find(vectors, k, least=0.3, bias=bias, threads=threads)
    alike = all_alike(vectors, bias)
    standing = np.where(stands, alike, -2)
    for face in range(len(vectors)):
        mine = found.face == face
        if stands[face]:
            best = np.sort(standing[face])[::-1][:k]
            np.testing.assert_allclose(found.similarity[mine], best[best >= 0.3], atol=1e-5)
        else:
            assert mine.sum() == 1
            assert vectors[face] @ vectors[found.other[mine][0]] >= BURST - 1e-5
    # All edges of who doesn't stand lead to one that does, in the end.
    graph = undirected(len(vectors), found)
    burst = bursts_of(graph, bias)
    assert set(np.flatnonzero(burst == np.arange(len(vectors)))) == set(np.flatnonzero(stands))


@settings(max_examples=25, deadline=None)
@given(noise=st.floats(0.4, 1.2), seed=st.integers(0, 1000), threads=st.integers(1, 2))
def test_without_bursts_nothing_changes(noise: float, seed: int, threads: int) -> None:
    vectors, _ = identities(6, 8, noise=noise, seed=seed)
    bias = np.random.default_rng(seed).normal(0, 0.05, len(vectors)).astype(np.float32)
    if all_alike(vectors).max() < BURST:
        plain = search(vectors, 9, least=0.2, bias=bias)
        found, stands = search_past_bursts(vectors, 9, least=0.2, bias=bias, threads=threads)
        assert stands.all()
        np.testing.assert_array_equal(found.face, plain.face)
        np.testing.assert_array_equal(found.other, plain.other)


def test_faces_are_of_one_burst_where_near_identical_ones_join_them() -> None:
    bias = np.array([0, 0, 0, 0.2, 0, 0, 0], np.float32)
    left, right = np.array([1, 2, 0, 3, 5]), np.array([2, 4, 3, 6, 6])
    similarity = np.array([BURST, BURST, BURST - 0.1, BURST - 0.11, BURST - 0.01])
    # Of 0 and 3 the cosine is 0.93: they are alike, only that one of them is like everybody.
    found = bursts_of(NeighbourGraph(7, left, right, similarity.astype(np.float32)), bias)
    assert found.tolist() == [0, 1, 1, 0, 1, 5, 6]


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
    assert set(new.tolist()) <= set(np.append(found.left, found.right).tolist())
    # Among the new ones alone there is nobody else.
    alone = neighbours_of(faces, 0.5, new, new)
    assert (alone.left >= count // 2).all()


def test_the_graph_has_each_edge_once() -> None:
    graph = neighbour_graph(moments(4, 30), k=10, least=0.5)
    assert (graph.left < graph.right).all()
    pairs = set(zip(graph.left.tolist(), graph.right.tolist(), strict=True))
    assert len(pairs) == len(graph.left)
