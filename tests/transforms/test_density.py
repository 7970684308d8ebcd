from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.drawn_people import complete_graph, identities
from transforms.density import dense_groups, dense_groups_along
from transforms.grouping import renumbered


def distances_of(vectors: np.ndarray) -> np.ndarray:
    table = np.maximum(1 - (vectors @ vectors.T).astype(np.float64), 1e-6)
    table = (table + table.T) / 2
    np.fill_diagonal(table, 0)
    return table


@settings(max_examples=30, deadline=None)
@given(
    people=st.integers(1, 7), faces=st.integers(1, 8), noise=st.floats(0.2, 1.2),
    threshold=st.floats(0.1, 0.9), seed=st.integers(0, 10_000),
)  # fmt: skip
def test_along_all_pairs_it_is_what_the_table_of_distances_gives(
    people: int, faces: int, noise: float, threshold: float, seed: int
) -> None:
    table = distances_of(identities(people, faces, noise=noise, seed=seed)[0])
    # Along a graph it is about what is connected at the threshold.
    table *= 0.999 * (1 - threshold) / max(float(table.max()), 1 - threshold)
    graph = complete_graph(1 - table)
    np.testing.assert_array_equal(
        renumbered(dense_groups_along(graph, threshold)), renumbered(dense_groups(table, threshold))
    )


def test_a_person_of_many_near_pairs_stays_one() -> None:
    """Forty moments of two shots each, moments far less alike than shots, and a stranger pair beside."""
    shots = np.repeat(np.arange(40), 2)
    table = np.full((82, 82), 0.9)
    table[:80, :80] = np.where(shots[:, None] == shots, 0.02, 0.3)
    table[80:, 80:] = 0.02
    np.fill_diagonal(table, 0)
    found = renumbered(dense_groups(table, 0.5))
    assert found.tolist() == [0] * 80 + [1] * 2


def test_a_threshold_may_be_a_number_of_numpy() -> None:
    distances = 1 - np.eye(4)
    for threshold in (np.float64(0.6), np.float32(0.6), np.float64(0.99)):
        assert len(dense_groups(distances, threshold)) == 4
