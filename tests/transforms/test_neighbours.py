from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import neighbours
from transforms.neighbours import nearest, neighbour_graph


def unit_vectors(count: int, *, dimensions: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(
    queries=st.integers(0, 30),
    base=st.integers(0, 40),
    k=st.integers(0, 50),
    block=st.sampled_from([1, 7, 1024]),
)
def test_the_nearest_are_those_of_a_full_comparison(queries: int, base: int, k: int, block: int) -> None:
    a, b = unit_vectors(queries, seed=1), unit_vectors(base, seed=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_BLOCK", block)
        index, similarity = nearest(a, b, k)
    everything = a @ b.T
    width = min(k, base)
    assert index.shape == similarity.shape == (queries, width)
    assert (index.dtype, similarity.dtype) == (np.int32, np.float32)
    best = -np.sort(-everything, axis=1)[:, :width]
    np.testing.assert_allclose(similarity, best, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(everything, index, 1), similarity, atol=1e-6)
    assert all(len(set(row)) == width for row in index.tolist())


@given(count=st.integers(0, 40), k=st.integers(1, 45), least=st.floats(-0.5, 0.9))
def test_the_graph_joins_each_face_with_its_best_others_above_the_least(
    count: int, k: int, least: float
) -> None:
    vectors = unit_vectors(count)
    everything = vectors @ vectors.T
    np.fill_diagonal(everything, -2)
    expected = set()
    for face in range(count):
        for other in np.argsort(-everything[face], kind="stable")[:k]:
            if other != face and abs(everything[face, other] - least) < 1e-5:
                return  # rounding decides
            if other != face and everything[face, other] >= least:
                expected.add((min(face, int(other)), max(face, int(other))))
    graph = neighbour_graph(vectors, k=k, least=least)
    edges = list(zip(graph.left.tolist(), graph.right.tolist(), strict=True))
    assert graph.faces == count
    assert len(edges) == len(set(edges)) and set(edges) == expected
    np.testing.assert_allclose(graph.similarity, everything[graph.left, graph.right], atol=1e-6)


def test_copies_of_a_face_are_its_neighbours_and_not_itself() -> None:
    vectors = np.repeat(unit_vectors(1), 6, axis=0)
    graph = neighbour_graph(vectors, k=3, least=0.99)
    assert (graph.left < graph.right).all()
    assert set(graph.left.tolist()) | set(graph.right.tolist()) == set(range(6))


def test_a_graph_can_be_filtered() -> None:
    graph = neighbour_graph(unit_vectors(20), k=5, least=0)
    kept = graph.filter(graph.similarity > 0.5)
    assert kept.faces == 20 and 0 < len(kept.left) < len(graph.left)
    assert (kept.similarity > 0.5).all() and len(kept.left) == len(kept.right) == len(kept.similarity)
