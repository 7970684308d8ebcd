from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.average_precision import average_precision, precision_recall

FINDS = st.lists(st.tuples(st.integers(0, 5).map(lambda i: i / 5), st.booleans()), max_size=12)


@given(FINDS, st.integers(0, 3))
def test_precision_and_recall_at_every_score(finds: list[tuple[float, bool]], missed: int) -> None:
    scores, true = np.array([s for s, _ in finds]), np.array([t for _, t in finds], bool)
    labelled = int(true.sum()) + missed
    precision, recall = precision_recall(scores, true, labelled)
    levels = sorted(set(scores.tolist()), reverse=True)
    assert len(precision) == len(levels)
    for level, p, r in zip(levels, precision, recall, strict=True):
        kept = true[scores >= level]
        assert p == pytest.approx(kept.mean())
        assert r == pytest.approx(kept.sum() / max(1, labelled))


@given(FINDS, st.integers(0, 3))
def test_the_area_is_that_of_the_best_precision_at_each_recall(
    finds: list[tuple[float, bool]], missed: int
) -> None:
    scores, true = np.array([s for s, _ in finds]), np.array([t for _, t in finds], bool)
    labelled = int(true.sum()) + missed
    if not labelled:
        assert np.isnan(average_precision(scores, true, labelled))
        return
    points = list(zip(*precision_recall(scores, true, labelled), strict=True))
    # Recall in steps of one face: each takes the best precision among the points that reach it.
    steps = [
        max((p for p, r in points if r * labelled >= k - 1e-9), default=0) for k in range(1, labelled + 1)
    ]
    assert average_precision(scores, true, labelled) == pytest.approx(sum(steps) / labelled)


def test_a_case_done_by_hand() -> None:
    assert average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 4) == pytest.approx(
        1 / 4 + (2 / 3) / 4
    )
