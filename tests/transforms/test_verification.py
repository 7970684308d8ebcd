from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import verification
from transforms.verification import (
    allowed_pairs,
    best_threshold,
    centred,
    different_pairs,
    fold_accuracy,
    fold_val,
    has_pairs,
    limit_per_person,
    pair_distances,
    read_pairs,
    val_at_far,
)

# Few values, so that ties are the rule.
DISTANCES = st.lists(st.integers(0, 8).map(lambda i: i / 2), min_size=1, max_size=12)


def unit_vectors(count: int, *, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("block", [1, 3, 2048])
def test_every_pair_is_measured_once(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_BLOCK", block)
    vectors, labels = unit_vectors(11), np.array([0, 1, 0, 2, 1, 1, 0, 3, 2, 0, 4])
    same, different = pair_distances(vectors, labels)
    expected: dict[bool, list[float]] = {True: [], False: []}
    for i, j in combinations(range(11), 2):
        expected[bool(labels[i] == labels[j])].append(float(((vectors[i] - vectors[j]) ** 2).sum()))
    np.testing.assert_allclose(sorted(same), sorted(expected[True]), atol=1e-5)
    np.testing.assert_allclose(sorted(different), sorted(expected[False]), atol=1e-5)


@given(same=DISTANCES, different=DISTANCES, far=st.sampled_from([0, 0.01, 0.1, 0.29, 1 / 3, 0.5, 0.9, 1]))
def test_val_is_that_of_the_largest_distance_with_such_a_far(
    same: list[float], different: list[float], far: float
) -> None:
    a, b = np.array(same, np.float32), np.array(different, np.float32)
    val, distance = val_at_far(a, b, far)
    candidates = [-1.0, *sorted({*same, *different})]
    allowed = [d for d in candidates if np.mean(b <= d) <= far + 1e-9]
    assert val == pytest.approx(np.mean(a <= max(allowed)))
    assert np.mean(b <= distance) <= far + 1e-9
    assert np.mean(a <= distance) == pytest.approx(val)


def test_the_far_is_never_rounded_down_by_a_pair() -> None:
    different = np.arange(100, dtype=np.float32)
    val, _ = val_at_far(np.array([28.0], np.float32), different, 0.29)  # 29 pairs up to 28
    assert val == 1


@pytest.mark.parametrize(("same", "different"), [([], [1.0]), ([1.0], [])])
def test_val_needs_pairs_of_both_kinds(same: list[float], different: list[float]) -> None:
    with pytest.raises(ValueError, match="needs pairs"):
        val_at_far(np.array(same), np.array(different), 0.1)


PAIRS = st.lists(st.tuples(st.integers(0, 6).map(lambda i: i / 2), st.booleans()), min_size=1, max_size=15)


@given(PAIRS)
def test_no_threshold_is_right_more_often_than_the_best(pairs: list[tuple[float, bool]]) -> None:
    distances, same = (np.array(column) for column in zip(*pairs, strict=True))
    found = np.mean((distances <= best_threshold(distances, same)) == same)
    every = [-1.0, *np.unique(distances)]
    assert found == max(np.mean((distances <= d) == same) for d in every)


def test_the_best_threshold_lies_in_the_middle_of_the_gap() -> None:
    assert best_threshold(np.array([0.2, 1.0, 0.4]), np.array([True, False, True])) == pytest.approx(0.7)


@given(st.data())
def test_fold_accuracy_learns_on_the_other_folds_only(data: st.DataObject) -> None:
    count = data.draw(st.integers(4, 30))
    distances = np.array(data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)), float)
    same = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    folds = np.arange(count) % data.draw(st.integers(2, 4))
    accuracies, thresholds = [], []
    for fold in set(folds.tolist()):
        ordered = sorted(set(distances[folds != fold]))
        middles = [(a + b) / 2 for a, b in pairwise(ordered)]
        cuts = [ordered[0] - 1e-9, *middles, ordered[-1]]
        right = [np.sum((distances[folds != fold] <= c) == same[folds != fold]) for c in cuts]
        thresholds.append(cuts[int(np.argmax(right))])
        accuracies.append(np.mean((distances[folds == fold] <= thresholds[-1]) == same[folds == fold]))
    found = fold_accuracy(distances, same, folds)
    assert found.mean == pytest.approx(np.mean(accuracies))
    assert found.threshold == pytest.approx(np.mean(thresholds), abs=1e-8)
    assert found.standard_error == pytest.approx(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies)))


def test_one_fold_has_no_others_to_learn_on() -> None:
    with pytest.raises(ValueError, match="one fold only"):
        fold_accuracy(np.array([1.0, 2.0]), np.array([True, False]), np.zeros(2, int))


def test_pairs_of_two_people_and_how_many_a_far_allows() -> None:
    labels = np.array([3, 3, 3, 5, 5, 9])
    assert different_pairs(labels) == sum(a != b for a, b in combinations(labels.tolist(), 2))
    assert different_pairs(labels[:0]) == 0
    assert [allowed_pairs(0.29, 100), allowed_pairs(1e-3, 2700), allowed_pairs(1e-3, 160)] == [29, 2, 0]


def test_centring_takes_the_mean_away_and_keeps_unit_length() -> None:
    vectors = unit_vectors(20) + np.float32(0.5)
    moved = centred(vectors, vectors.mean(axis=0))
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), 1, atol=1e-6)
    assert np.abs(moved.mean(axis=0)).max() < np.abs(vectors.mean(axis=0)).min()
    assert np.isfinite(centred(vectors, vectors[0])).all()


def test_people_with_too_many_faces_are_left_out() -> None:
    labels = np.array([5, 5, 5, 2, 2, 9])
    np.testing.assert_array_equal(limit_per_person(labels, 2), [False, False, False, True, True, True])


@pytest.mark.parametrize(
    ("labels", "expected"), [([0, 0, 1], True), ([0, 0, 0], False), ([0, 1, 2], False), ([], False)]
)
def test_pairs_of_both_kinds(labels: list[int], expected: bool) -> None:
    assert has_pairs(np.array(labels, int)) == expected


def test_val_of_a_fold_is_at_the_distance_of_the_others() -> None:
    folds = np.repeat([0, 1], 4)
    same = np.array([True, True, False, False] * 2)
    distances = np.array([1, 5, 4, 6, 1, 3, 2, 6.0])
    found = fold_val(distances, same, folds, far=0.5)
    # Fold 1 allows one of 2 and 6: up to below 6, which takes both of fold 0, and its 4. Fold 0 allows one of
    # 4 and 6: below 6 as well, which takes both of fold 1, and its 2.
    assert (found.val, found.far) == (1.0, 0.5)
    assert fold_val(distances, same, folds, far=0).val == pytest.approx((0.5 + 1) / 2)


FILE = ["2\t1", "Ann_A\t1\t2", "Ann_A\t1\tBob\t3", "Bob\t1\t4", "Bob\t2\tCid\t1"]


def test_a_pairs_file_is_read_fold_by_fold() -> None:
    assert read_pairs(FILE) == [
        (0, "Ann_A", 1, "Ann_A", 2),
        (0, "Ann_A", 1, "Bob", 3),
        (1, "Bob", 1, "Bob", 4),
        (1, "Bob", 2, "Cid", 1),
    ]


def test_empty_lines_do_not_move_the_folds() -> None:
    assert read_pairs([*FILE[:2], "", *FILE[2:], " \n"]) == read_pairs(FILE)


@pytest.mark.parametrize("line", ["Ann 1", "Ann 1 2 3 4", "Ann one 2", "Ann 1 Bob x", "Ann -1 2"])
def test_a_wrong_line_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=rf"line 3 of the pairs file is '{line}'"):
        read_pairs([*FILE[:2], line, *FILE[3:]])


@pytest.mark.parametrize(
    "head", [[], [""], ["2"], ["two 1"], ["1 2 3"], ["1 4"], ["2 0"], ["0 0"], ["-2 -1"]]
)
def test_a_wrong_head_is_named(head: list[str]) -> None:
    with pytest.raises(ValueError, match="line 1 of the pairs file"):
        read_pairs([*head, *FILE[1:]] if head else [])


def test_pairs_of_one_kind_only_are_refused() -> None:
    with pytest.raises(ValueError, match=r"holds 4 pairs of one person: expected 2 × 1"):
        read_pairs([FILE[0], *["Ann\t1\t2"] * 4])


def test_missing_pairs_are_counted() -> None:
    with pytest.raises(ValueError, match=r"holds 3 pairs: expected 2 × 2"):
        read_pairs(FILE[:-1])
