from __future__ import annotations

from functools import partial

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.test_blocked_search import people_vectors
from transforms.component_groups import connected_components, group_by_component
from transforms.grouping import components, map_equation_groups, renumbered
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


def test_communities_by_component_stay_within_components_and_find_the_same_people() -> None:
    vectors = people_vectors(40, 8, spread=0.2)
    graph = neighbour_graph(vectors, k=20, least=0.8)
    cluster = partial(map_equation_groups, threshold=0.8, seed=0)
    component = connected_components(graph)
    for batch_edges in (1, 200):
        found = group_by_component(graph, cluster, batch_edges=batch_edges)
        for label in np.unique(found):
            assert len(np.unique(component[found == label])) == 1
        again = group_by_component(graph, cluster, batch_edges=batch_edges)
        np.testing.assert_array_equal(found, again)
    whole = group_by_component(graph, cluster)
    np.testing.assert_array_equal(renumbered(whole), renumbered(cluster(graph)))
