from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.drawn_people import complete_graph, identities
from transforms.average_linkage import linked_groups, linked_groups_along
from transforms.grouping import renumbered
from transforms.neighbours import NeighbourGraph


def alike(vectors: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return vectors @ vectors.T - (bias[:, None] + bias) / 2


@settings(max_examples=50, deadline=None)
@given(
    people=st.integers(1, 8), faces=st.integers(1, 9), noise=st.floats(0.2, 1.5),
    threshold=st.floats(0.1, 0.9), seed=st.integers(0, 10_000),
)  # fmt: skip
def test_along_all_pairs_it_is_what_the_table_of_distances_gives(
    people: int, faces: int, noise: float, threshold: float, seed: int
) -> None:
    vectors, _ = identities(people, faces, noise=noise, seed=seed)
    bias = np.random.default_rng(seed).normal(0, 0.05, len(vectors)).astype(np.float32)
    distances = 1 - alike(vectors, bias).astype(np.float64)
    distances = np.maximum((distances + distances.T) / 2, 0)
    np.fill_diagonal(distances, 0)
    if len(vectors) > 1:
        expected = linked_groups(distances, threshold)
        found = linked_groups_along(
            complete_graph(alike(vectors, bias)), threshold, vectors=vectors, bias=bias
        )
        np.testing.assert_array_equal(renumbered(found), renumbered(expected))


def test_groups_without_an_edge_between_them_stay_apart() -> None:
    vectors = np.repeat(np.eye(2, dtype=np.float32)[:1], 4, axis=0)
    none = np.zeros(4, np.float32)
    edges = NeighbourGraph(4, np.array([0, 2], np.int32), np.array([1, 3], np.int32), np.ones(2, np.float32))
    assert linked_groups_along(edges, 0.5, vectors=vectors, bias=none).tolist() == [0, 0, 2, 2]


def test_a_chain_of_likenesses_is_cut_where_the_average_falls() -> None:
    """Single linkage would follow the chain; what is given is not changed."""
    angles = np.radians(np.arange(0, 91, 10))
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    none, before = np.zeros(len(vectors), np.float32), vectors.copy()
    found = linked_groups_along(complete_graph(alike(vectors, none)), 0.9, vectors=vectors, bias=none)
    assert 1 < len(set(found.tolist())) < len(vectors)
    for group in set(found.tolist()):
        mean = vectors[found == group].mean(axis=0)
        assert mean @ mean >= 0.9
    np.testing.assert_array_equal(vectors, before)


def test_a_threshold_beyond_likeness_joins_nobody() -> None:
    assert len(set(linked_groups(np.zeros((3, 3)), 1.2).tolist())) == 3
    assert len(set(linked_groups(np.zeros((3, 3)), 1.0).tolist())) == 1
