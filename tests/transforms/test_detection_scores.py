from __future__ import annotations

import numpy as np
import pytest

from transforms.detection_scores import PhotoFinds, Truth, detection_scores, match, precision_at


def photo(
    labels: list[list[int]], scored: list[bool], found: list[list[int]], scores: list[float], **properties
):
    truth = Truth(np.array(labels, np.float32).reshape(-1, 4), np.array(scored, bool),
                  {k: np.array(v) for k, v in properties.items()})  # fmt: skip
    return PhotoFinds.of(truth, np.array(found, np.float32).reshape(-1, 4), np.array(scores, float))


def test_a_found_box_takes_the_free_label_that_it_overlaps_most() -> None:
    truth = np.array([[0, 0, 10, 10], [100, 100, 120, 120]], float)
    found = np.array([[0, 0, 10, 9], [1, 0, 11, 10], [100, 100, 109, 120], [300, 0, 310, 10]], float)
    assert match(found, truth).tolist() == [0, -1, -1, -1]
    assert match(found[:0], truth).tolist() == []
    assert match(found, truth[:0]).tolist() == [-1, -1, -1, -1]


def test_labels_that_do_not_score_count_neither_way() -> None:
    labels = [[0, 0, 50, 50], [100, 0, 150, 50], [200, 0, 220, 20], [300, 0, 390, 90]]
    # The first label, the two that do not score, nothing at all of 50 px, and of 10 px.
    found = [[0, 0, 50, 50], [100, 0, 150, 50], [200, 0, 220, 20], [500, 0, 550, 50], [600, 0, 610, 10]]
    one = photo(labels, [True, False, False, True], found, [0.9, 0.9, 0.9, 0.8, 0.7])
    nothing = photo(labels, [True, False, False, True], [], [])
    scores = detection_scores([one, nothing], lowest=40)
    assert scores.labelled == 4
    assert scores.recall == pytest.approx(1 / 4)
    assert scores.precision == pytest.approx(1 / 2)
    assert scores.average_precision == pytest.approx(1 / 4), "the hit has the better score"
    assert one.missed().tolist() == [3]
    assert one.false_finds(least_height=40).tolist() == [3]


def test_subsets_leave_other_labels_out_and_keep_false_finds() -> None:
    labels = [[0, 0, 50, 50], [100, 0, 150, 50], [200, 0, 300, 100]]
    found = [[0, 0, 50, 50], [400, 0, 450, 50], [200, 0, 300, 100]]
    one = photo(labels, [True] * 3, found, [0.9, 0.8, 0.7], blur=[0, 1, 1])
    blurred = detection_scores([one], lowest=40, having={"blur": 1})
    assert (blurred.labelled, blurred.recall, blurred.precision) == (2, 0.5, 0.5)
    tall = detection_scores([one], lowest=80)
    assert (tall.labelled, tall.recall, tall.precision, tall.average_precision) == (1, 1, 1, 1)
    low = detection_scores([one], lowest=40, highest=80)
    assert (low.labelled, low.recall, low.precision) == (2, 0.5, 0.5)


def test_precision_at_a_recall_leaves_out_the_finds_of_lower_score() -> None:
    labels = [[0, 0, 50, 50], [100, 0, 150, 50]]
    found = [[0, 0, 50, 50], [400, 0, 450, 50], [100, 0, 150, 50], [600, 0, 650, 50]]
    one = photo(labels, [True] * 2, found, [0.9, 0.8, 0.7, 0.6])
    assert detection_scores([one], lowest=40).precision == pytest.approx(2 / 4)
    assert precision_at([one], 0.5, lowest=40) == 1
    assert precision_at([one], 1.0, lowest=40) == pytest.approx(2 / 3), (
        "not 2 of 4: the last score is left out"
    )
    assert np.isnan(precision_at([photo(labels, [True] * 2, found[:1], [0.9])], 1.0, lowest=40))


def test_without_labels_there_is_no_score() -> None:
    scores = detection_scores([], lowest=40)
    assert scores.labelled == 0
    assert np.isnan([scores.recall, scores.precision, scores.average_precision]).all()
