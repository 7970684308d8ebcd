from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.grouping import DEFAULT, REACH, StrongFaces, group_strong, renumbered
from transforms.merging import SHARPENING, group_graph, group_means
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
    found = group_graph(vectors, labels, graph, bias=bias, photo=np.arange(len(raw)), least=-9)
    pairs = list(zip(found.left.tolist(), found.right.tolist(), strict=True))
    groups = labels.max() + 1
    assert pairs == [(a, b) for a in range(groups) for b in range(a + 1, groups)]
    for (a, b), value in zip(pairs, found.similarity.tolist(), strict=True):
        one, other = vectors[labels == a], vectors[labels == b]
        alike = (one @ other.T).mean() - (bias[labels == a].mean() + bias[labels == b].mean()) / 2
        length = np.linalg.norm(one.mean(axis=0)) * np.linalg.norm(other.mean(axis=0))
        assert value == pytest.approx(alike / length**SHARPENING, abs=1e-4)


def test_groups_that_are_often_in_one_photo_are_two_people() -> None:
    vectors = unit(
        np.random.default_rng(0).normal(size=(1, 16)) + 0.1 * np.random.default_rng(1).normal(size=(200, 16))
    )
    labels = np.repeat([0, 1], 100)
    photo = np.arange(200)

    def joined(together: int) -> bool:
        shared = photo.copy()
        shared[100 : 100 + together] = photo[:together]
        found = group_graph(
            vectors, labels, all_pairs(200), bias=np.zeros(200, np.float32), photo=shared, least=0.5
        )
        return len(found.left) == 1

    assert joined(0) and joined(2) and not joined(3) and not joined(50)


def test_a_person_of_thousands_stays_whole() -> None:
    """With fewer neighbours than a year has photos, the neighbour graph falls apart into years."""
    random = np.random.default_rng(5)
    start, end = random.normal(size=(2, 32))
    years = np.repeat(np.linspace(0, 1, 12), 60)
    drifting = start[None] * (1 - 0.4 * years[:, None]) + end[None] * 0.4 * years[:, None]
    strangers = random.normal(size=(40, 32))
    vectors = unit(np.vstack([drifting + 0.25 * random.normal(size=(720, 32)), strangers]))
    graph = neighbour_graph(vectors, k=10, least=0.6 - REACH)
    every = np.arange(760)
    faces = StrongFaces(vectors, np.zeros(760, np.float32), every, graph, every, every)
    pieces = group_strong(faces, method=DEFAULT, threshold=0.6, seed=0, merge=False).labels
    whole = group_strong(faces, method=DEFAULT, threshold=0.6, seed=0).labels
    assert len(set(pieces[:720].tolist())) > 2
    assert len(set(whole[:720].tolist())) == 1
    assert len(set(whole.tolist())) == 41
