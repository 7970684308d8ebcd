from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.test_blocked_search import people_vectors
from transforms import component_groups, edge_files
from transforms.component_groups import connected_components, group_by_component
from transforms.fresh_threads import in_fresh_threads
from transforms.grouping import components, fine_groups, map_equation_groups, renumbered
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


def test_groups_depend_on_no_thread_and_on_nothing_that_was_drawn_before(monkeypatch) -> None:
    """Equal weights make the order decide, which is drawn."""
    generator = np.random.default_rng(0)
    ends = np.sort(generator.integers(400, size=(2, 9000)).astype(np.int32), axis=0)
    left, right = (ends + np.arange(9000, dtype=np.int32) % 10 * 400)[:, ends[0] != ends[1]]
    graph = NeighbourGraph(4000, left, right, np.ones(len(left), np.float32))
    monkeypatch.setattr(component_groups, "_BATCH_EDGES", 1000)
    alone = np.arange(4000)
    first, *others = (
        fine_groups(graph, alone, threshold=0.5, seed=1, threads=threads) for threads in (1, 3, 2, 1)
    )
    for other in others:
        np.testing.assert_array_equal(other, first)
    assert (fine_groups(graph, alone, threshold=0.5, seed=2) != first).any()


def test_each_element_has_a_thread_of_its_own_and_results_keep_their_order() -> None:
    meeting, seen = threading.Barrier(2), threading.local()

    def work(number: int) -> tuple[int, bool]:
        used = hasattr(seen, "before")
        seen.before = True
        meeting.wait(10)  # two run at a time, or none gets on
        return number, used

    assert list(in_fresh_threads(work, range(6), threads=2)) == [(n, False) for n in range(6)]

    def fails(number: int) -> int:
        raise ValueError(f"{number} is broken")

    with pytest.raises(ValueError, match="0 is broken"):
        list(in_fresh_threads(fails, range(3)))


@settings(max_examples=30, deadline=None)
@given(st.data(), st.booleans(), st.integers(1, 9), st.integers(1, 40))
def test_edges_come_batch_by_batch_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, in_files: bool, at_a_time: int, count: int
) -> None:
    folder = str(tmp_path_factory.mktemp("edges")) if in_files else None
    left = np.sort(np.array(data.draw(st.lists(st.integers(0, 7), min_size=count, max_size=count)), np.int32))
    batch = np.array(data.draw(st.lists(st.integers(0, 3), min_size=8, max_size=8)))
    graph = NeighbourGraph(8, left, left + 1, np.arange(count, dtype=np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge_files, "_SLICE", at_a_time)
        chosen = edge_files.chosen_edges(
            graph, lambda a, b, s: (a[s != 3], b[s != 3], s[s != 3]), folder=folder
        )
        assert chosen.similarity.tolist() == [s for s in range(count) if s != 3]
        sizes = np.bincount(batch[chosen.left], minlength=5)
        found = list(edge_files.edges_by(chosen, lambda a: batch[a], sizes, folder=folder))
    place = batch[left]
    expected = [[s for s in range(count) if place[s] == number and s != 3] for number in range(5)]
    assert [similarity.tolist() for _, _, similarity in found] == [part for part in expected if part]
