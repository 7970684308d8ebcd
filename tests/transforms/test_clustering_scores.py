from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import v_measure_score

from transforms.clustering_scores import clustering_scores

LABELS = st.lists(st.tuples(st.integers(-2, 4), st.integers(-2, 4)), min_size=1, max_size=25)


def f_measure(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0


@given(LABELS)
def test_pairwise_scores_count_pairs(labels: list[tuple[int, int]]) -> None:
    pairs = [(a[0] == b[0], a[1] == b[1]) for a, b in combinations(labels, 2)]
    both = sum(person and group for person, group in pairs)
    grouped, of_one = sum(group for _, group in pairs), sum(person for person, _ in pairs)
    scores = clustering_scores(*np.array(labels).T)
    precision, recall = both / grouped if grouped else 1, both / of_one if of_one else 1
    assert scores.pairwise_precision == pytest.approx(precision)
    assert scores.pairwise_recall == pytest.approx(recall)
    assert scores.pairwise_f == pytest.approx(f_measure(precision, recall))


@given(LABELS)
def test_bcubed_scores_are_means_over_faces(labels: list[tuple[int, int]]) -> None:
    precisions, recalls = [], []
    for person, group in labels:
        same_group = [p for p, g in labels if g == group]
        same_person = [g for p, g in labels if p == person]
        precisions.append(same_group.count(person) / len(same_group))
        recalls.append(same_person.count(group) / len(same_person))
    scores = clustering_scores(*np.array(labels).T)
    assert scores.bcubed_precision == pytest.approx(np.mean(precisions))
    assert scores.bcubed_recall == pytest.approx(np.mean(recalls))
    assert scores.bcubed_f == pytest.approx(f_measure(np.mean(precisions), np.mean(recalls)))


@given(LABELS)
def test_v_measure_and_counts(labels: list[tuple[int, int]]) -> None:
    truth, groups = np.array(labels).T
    scores = clustering_scores(truth, groups)
    assert scores.v_measure == pytest.approx(v_measure_score(truth, groups))
    assert (scores.faces, scores.people, scores.groups) == (
        len(labels), len(set(truth.tolist())), len(set(groups.tolist())),
    )  # fmt: skip
    assert scores.largest_group == max(groups.tolist().count(g) for g in groups.tolist())
    members = [[p for p, h in labels if h == g] for g in set(groups.tolist())]
    assert scores.single_groups == sum(len(m) == 1 for m in members)
    assert scores.purity == pytest.approx(sum(max(map(m.count, m)) for m in members) / len(labels))


def test_a_perfect_grouping_scores_one_under_any_numbers() -> None:
    scores = clustering_scores(np.array([7, 7, 3, 3, 9]), np.array([0, 0, 5, 5, 1])).as_dict()
    counts = ("faces", "people", "groups", "largest_group", "single_groups")
    assert all(scores[name] == 1 for name in scores if name not in counts)


def test_no_faces_are_no_score() -> None:
    with pytest.raises(ValueError, match="no faces"):
        clustering_scores(np.array([], int), np.array([], int))
