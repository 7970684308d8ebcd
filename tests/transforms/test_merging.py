from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.grouping import DEFAULT, REACH, StrongFaces, group_strong, renumbered
from transforms.merging import (
    SEEN_TOGETHER,
    SHARPENING,
    SURENESS,
    _Pieces,
    alike_groups,
    group_means,
    merged_by_means,
    sharpened,
)
from transforms.neighbours import NeighbourGraph, neighbour_graph


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def all_pairs(count: int) -> NeighbourGraph:
    left, right = (e.astype(np.int32) for e in np.triu_indices(count, 1))
    return NeighbourGraph(count, left, right, np.ones(len(left), np.float32))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_the_product_of_two_groups_means_is_their_faces_mean_similarity(labels: list[int]) -> None:
    groups = renumbered(np.array(labels))
    vectors = unit(np.random.default_rng(len(labels)).normal(size=(len(labels), 8)))
    means = group_means(vectors, groups)
    for a in range(groups.max() + 1):
        for b in range(groups.max() + 1):
            expected = (vectors[groups == a] @ vectors[groups == b].T).mean()
            assert means[a] @ means[b] == pytest.approx(expected, abs=1e-5)


def similarity_of(one: np.ndarray, other: np.ndarray, biases: tuple[np.ndarray, np.ndarray]) -> float:
    """How alike two groups of faces are, from all their pairs."""
    alike = (one @ other.T).mean() - (biases[0].mean() + biases[1].mean()) / 2
    length = np.linalg.norm(one.mean(axis=0)) * np.linalg.norm(other.mean(axis=0))
    return alike / length**SHARPENING - SURENESS * np.log10(min(len(one), len(other)))


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=15), st.integers(0, 99))
def test_groups_are_as_alike_as_their_faces_over_the_lengths_of_their_means(
    raw: list[int], seed: int
) -> None:
    labels, random = renumbered(np.array(raw)), np.random.default_rng(seed)
    vectors = unit(random.normal(size=(len(raw), 8)) + 1)
    bias = random.normal(size=len(raw)).astype(np.float32) / 10
    graph = all_pairs(len(raw))
    graph.similarity[:] = (vectors[graph.left] * vectors[graph.right]).sum(axis=1)
    graph.similarity[:] -= (bias[graph.left] + bias[graph.right]) / 2
    left, right, similarity, _ = alike_groups(vectors, labels, graph, bias=bias, least=-9)
    pairs = list(zip(left.tolist(), right.tolist(), strict=True))
    groups = labels.max() + 1
    assert pairs == [(a, b) for a in range(groups) for b in range(a + 1, groups)]
    for (a, b), value in zip(pairs, similarity.tolist(), strict=True):
        mine = (labels == a, labels == b)
        biases = (bias[mine[0]], bias[mine[1]])
        assert value == pytest.approx(similarity_of(vectors[mine[0]], vectors[mine[1]], biases), abs=1e-4)


@settings(deadline=None)
@given(st.lists(st.integers(0, 7), min_size=8, max_size=40), st.integers(0, 999))
def test_pieces_that_have_grown_are_what_they_would_be_if_they_had_begun_so(
    raw: list[int], seed: int
) -> None:
    """Also how often two of them are seen together, as long as a photo shows each once."""
    labels, random = renumbered(np.array(raw)), np.random.default_rng(seed)
    count, groups = len(raw), int(labels.max()) + 1
    vectors = unit(random.normal(size=(count, 8)) + 1)
    bias = random.normal(size=count).astype(np.float32) / 10
    photo = np.arange(count)
    for face in range(count):  # some photos show two groups
        other = random.integers(count)
        free = (photo == other).sum() == 1 and (photo == face).sum() == 1 and other != face
        photo[face] = other if free and random.random() < 0.5 else photo[face]
    _, _, _, means = alike_groups(vectors, labels, all_pairs(count), bias=bias, least=-9)
    pieces = _Pieces(means, labels, photo, np.arange(groups))
    for _ in range(random.integers(groups)):
        a, b = (pieces.root(int(g)) for g in random.integers(groups, size=2))
        if a != b:
            pieces.join(min(a, b), max(a, b))
    now = pieces.roots()[labels]
    for a, b in combinations(sorted(set(now.tolist())), 2):
        mine, theirs = now == a, now == b
        expected = similarity_of(vectors[mine], vectors[theirs], (bias[mine], bias[theirs]))
        assert pieces.similarity(a, b) == pytest.approx(expected, abs=1e-4)
        both = len(np.intersect1d(photo[mine], photo[theirs]))
        inside = len(np.unique(photo[mine])) < mine.sum() or len(np.unique(photo[theirs])) < theirs.sum()
        if not inside:
            assert pieces.seen_together(a, b) == (both > SEEN_TOGETHER * min(mine.sum(), theirs.sum()))


def test_groups_that_are_often_in_one_photo_are_two_people() -> None:
    vectors = unit(
        np.random.default_rng(0).normal(size=(1, 16)) + 0.1 * np.random.default_rng(1).normal(size=(200, 16))
    )
    labels = np.repeat([0, 1], 100)
    photo = np.arange(200)

    def joined(together: int) -> bool:
        shared = photo.copy()
        shared[100 : 100 + together] = photo[:together]
        found = merged_by_means(
            vectors, labels, all_pairs(200), bias=np.zeros(200, np.float32), photo=shared, least=0.5
        )
        return found.tolist() == [0, 0]

    assert joined(0) and joined(2) and not joined(3) and not joined(50)


def test_two_people_are_not_joined_through_one_face_that_is_like_both() -> None:
    random = np.random.default_rng(2)
    two = np.eye(2, 32)
    vectors = unit(
        np.vstack([np.repeat(two, 50, axis=0) + 0.05 * random.normal(size=(100, 32)), two.sum(axis=0)])
    )
    labels = np.repeat([0, 1, 2], [50, 50, 1])
    none = np.zeros(101, np.float32)
    found = merged_by_means(vectors, labels, all_pairs(101), bias=none, photo=np.arange(101), least=0.6)
    assert len(set(found.tolist())) == 2 and found[0] != found[1]
    # Who is most alike comes first, whatever the numbers are.
    again = merged_by_means(vectors, 2 - labels, all_pairs(101), bias=none, photo=np.arange(101), least=0.6)
    assert (found[0] == found[2]) == (again[2] == again[0])


def test_more_is_asked_of_larger_groups() -> None:
    """Two halves of thousands of photos each, as alike as siblings are, beside two faces as alike."""
    assert sharpened(0.5, 0.7, 1) - sharpened(0.5, 0.7, 1000) == pytest.approx(3 * SURENESS)
    assert sharpened(0.65, 1.0, 1) == pytest.approx(0.65)


def test_a_person_of_thousands_stays_whole() -> None:
    """With fewer neighbours than a year has photos, the neighbour graph falls apart into years."""
    random = np.random.default_rng(5)
    start, end = random.normal(size=(2, 32))
    years = np.repeat(np.linspace(0, 1, 12), 60)
    drifting = start[None] * (1 - 0.4 * years[:, None]) + end[None] * 0.4 * years[:, None]
    strangers = random.normal(size=(20, 32))
    vectors = unit(np.vstack([drifting + 0.25 * random.normal(size=(720, 32)), strangers]))
    graph = neighbour_graph(vectors, k=10, least=0.6 - REACH)
    every = np.arange(740)
    faces = StrongFaces(vectors, np.zeros(740, np.float32), every, graph, every, every)
    pieces = group_strong(faces, method=DEFAULT, threshold=0.6, seed=0, merge=False).labels
    whole = group_strong(faces, method=DEFAULT, threshold=0.6, seed=0).labels
    assert len(set(pieces[:720].tolist())) > 2
    assert len(set(whole[:720].tolist())) == 1
    assert len(set(whole.tolist())) == 21
