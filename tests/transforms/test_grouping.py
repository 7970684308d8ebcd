from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from tests.drawn_people import identities
from transforms import grouping
from transforms.bursts import bursts_of
from transforms.grouping import (
    AGGLOMERATIVE,
    DEFAULT,
    HDBSCAN,
    KMEANS,
    REACH,
    THRESHOLD_METHODS,
    Grouped,
    StrongFaces,
    components,
    group_strong,
    renumbered,
)
from transforms.neighbours import neighbour_graph


def grouped(
    vectors: np.ndarray, *, method: str, threshold: float = 0.7, seed: int = 1, k: int = 80
) -> np.ndarray:
    people = len(vectors) if method == KMEANS else None
    return strong(vectors, threshold=threshold, k=k, method=method, seed=seed, people=people).labels


def strong(vectors: np.ndarray, *, threshold: float, k: int = 80, **options) -> Grouped:
    """Clear faces, each in a photo of its own and as alike to strangers as any."""
    graph = neighbour_graph(vectors, k=k, least=threshold - REACH)
    everyone, bias = np.arange(len(vectors)), np.zeros(len(vectors), np.float32)
    faces = StrongFaces(vectors, bias, everyone, graph, everyone, bursts_of(graph, bias))
    return group_strong(faces, threshold=threshold, **options)


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
@pytest.mark.parametrize(("people", "each"), [(20, 10), (60, 2), (1, 30), (5, 60)])
def test_well_separated_people_are_found(method: str, people: int, each: int) -> None:
    vectors, who = identities(people, each, noise=0.2)
    np.testing.assert_array_equal(grouped(vectors, method=method), renumbered(who))


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
@pytest.mark.parametrize("count", [0, 1, 2, 15])
def test_strangers_stay_alone(method: str, count: int) -> None:
    vectors = identities(15, 1, noise=0)[0][:count]
    np.testing.assert_array_equal(grouped(vectors, method=method, threshold=0.9), np.arange(count))


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
def test_a_pair_and_strangers_beside_people(method: str) -> None:
    vectors, who = identities(8, 6, noise=0.2, seed=3)
    keep = (who > 1) | (np.arange(len(who)) == np.flatnonzero(who == 0)[0])
    pair = np.flatnonzero(who == 1)[:2]
    keep[pair] = True
    np.testing.assert_array_equal(grouped(vectors[keep], method=method), renumbered(who[keep]))


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
def test_the_same_seed_gives_the_same_groups(method: str) -> None:
    vectors, _ = identities(30, 8, noise=0.7)
    first = grouped(vectors, method=method, threshold=0.55)
    assert 1 < len(set(first.tolist())) < len(first)
    for _ in range(3):
        np.testing.assert_array_equal(grouped(vectors, method=method, threshold=0.55), first)


def test_an_unknown_method_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="choose one of default, hdbscan, agglomerative, chinese-whispers"):
        grouped(identities(2, 2, noise=0)[0], method="dbscan")


@pytest.mark.parametrize("limit", [1000, 10])
def test_k_means_finds_as_many_people_as_it_is_told(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "KMEANS_LIMIT", limit)
    vectors, _ = identities(4, 25, noise=0.1)
    found = strong(vectors, threshold=0.7, method=KMEANS, seed=3, people=4)
    assert len(set(found.labels.tolist())) == 4
    assert "4 groups" in found.ran and ("in batches" in found.ran) == (limit == 10)
    again = strong(vectors, threshold=0.7, method=KMEANS, seed=3, people=4)
    np.testing.assert_array_equal(found.labels, again.labels)
    if limit == 1000:
        alone = strong(vectors, threshold=0.7, method=KMEANS, seed=0, people=100)
        np.testing.assert_array_equal(alone.labels, np.arange(100))


def test_k_means_without_a_number_is_refused() -> None:
    with pytest.raises(ValueError, match="--people"):
        strong(identities(2, 2, noise=0)[0], threshold=0.7, method=KMEANS, seed=0)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), noise=st.floats(0.3, 1.2), threshold=st.floats(0.2, 0.8))
def test_average_linkage_by_components_is_average_linkage_of_all(
    seed: int, noise: float, threshold: float
) -> None:
    vectors, _ = identities(8, 7, noise=noise, seed=seed)
    tree = linkage(vectors.astype(np.float64), method="average", metric="cosine")
    everything = fcluster(tree, t=1 - threshold, criterion="distance")
    found = grouped(vectors, method=AGGLOMERATIVE, threshold=threshold, k=len(vectors))
    np.testing.assert_array_equal(found, renumbered(everything))


@pytest.mark.parametrize("method", [AGGLOMERATIVE, HDBSCAN])
def test_a_component_too_large_for_all_its_distances_is_grouped_along_the_graph(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, _ = identities(12, 10, noise=0.8)
    exact = strong(vectors, threshold=0.4, method=method, seed=1)
    assert 1 < len(set(exact.labels.tolist())) < len(vectors) and "along" not in exact.ran
    monkeypatch.setattr(grouping, "EXACT_LIMIT", 3)
    found = strong(vectors, threshold=0.4, method=method, seed=1)
    np.testing.assert_array_equal(found.labels, exact.labels)
    assert "of more than 3 faces along the neighbour graph" in found.ran


def test_communities_need_more_than_one_edge_between_them() -> None:
    """Connected components would join two people over one chance likeness; the map equation does not."""
    vectors, who = identities(2, 12, noise=0.5)
    middle = vectors[who == 0].mean(axis=0) + vectors[who == 1].mean(axis=0)
    vectors = np.concatenate([vectors, (middle / np.linalg.norm(middle))[None]])
    graph = neighbour_graph(vectors, k=80, least=0.43)
    assert len(set(components(graph).tolist())) == 1
    labels = grouped(vectors, method=DEFAULT, threshold=0.4)
    np.testing.assert_array_equal(renumbered(labels[:-1]), renumbered(who))


@given(st.lists(st.integers(-3, 9), max_size=30))
def test_groups_are_numbered_by_their_first_member(labels: list[int]) -> None:
    numbers: dict[int, int] = {}
    expected = [numbers.setdefault(label, len(numbers)) for label in labels]
    assert renumbered(np.array(labels, np.int64)).tolist() == expected


def test_components_are_what_edges_join() -> None:
    vectors, who = identities(7, 4, noise=0.1)
    found = components(neighbour_graph(vectors, k=3, least=0.8))
    np.testing.assert_array_equal(renumbered(found), renumbered(who))
