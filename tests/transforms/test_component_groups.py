from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.test_blocked_search import people_vectors
from transforms.component_groups import connected_components, group_by_component
from transforms.grouping import AGGLOMERATIVE, DEFAULT, components, group_strong, renumbered
from transforms.neighbours import NeighbourGraph, neighbour_graph


@given(faces=st.integers(0, 30), edges=st.integers(0, 40), seed=st.integers(0, 1000))
def test_components_are_those_of_the_graph_library(faces: int, edges: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    ends = generator.integers(max(faces, 1), size=(2, edges if faces else 0)).astype(np.int32)
    graph = NeighbourGraph(faces, ends.min(axis=0), ends.max(axis=0), np.ones(ends.shape[1], np.float32))
    found = connected_components(graph)
    if faces:
        np.testing.assert_array_equal(renumbered(found), renumbered(components(graph)))
        assert (found <= np.arange(faces)).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 30), batch_edges=st.sampled_from([1, 50, 10_000]))
def test_average_linkage_by_component_is_that_of_the_whole(seed: int, batch_edges: int) -> None:
    vectors = people_vectors(12, 6, seed=seed, spread=0.4)
    graph = neighbour_graph(vectors, k=30, least=0.75)
    arguments = {"method": AGGLOMERATIVE, "threshold": 0.75, "seed": 0}
    whole = group_strong(vectors, graph, **arguments)
    parts = group_by_component(lambda rows: vectors[rows], graph, batch_edges=batch_edges, **arguments)
    np.testing.assert_array_equal(whole, parts)


def test_communities_by_component_stay_within_components_and_find_the_same_people() -> None:
    vectors = people_vectors(40, 8, spread=0.2)
    graph = neighbour_graph(vectors, k=20, least=0.8)
    found = group_by_component(lambda rows: vectors[rows], graph, method=DEFAULT, threshold=0.8, seed=0)
    component = connected_components(graph)
    for label in np.unique(found):
        assert len(np.unique(component[found == label])) == 1
    np.testing.assert_array_equal(
        found, group_by_component(lambda rows: vectors[rows], graph, method=DEFAULT, threshold=0.8, seed=0)
    )
