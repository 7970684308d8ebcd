from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.roc import area_under_curve, equal_error_rate, error_curves

# Few values, so that ties are the rule.
PAIRS = st.lists(
    st.tuples(st.integers(0, 6).map(lambda i: i / 2), st.booleans()), min_size=2, max_size=16
).filter(lambda pairs: len({same for _, same in pairs}) == 2)


def columns(pairs: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([d for d, _ in pairs]), np.array([s for _, s in pairs])


@given(PAIRS)
def test_the_area_counts_pairs_in_the_right_order(pairs: list[tuple[float, bool]]) -> None:
    near, far = ([d for d, s in pairs if s == kind] for kind in (True, False))
    wins = sum((n < f) + (n == f) / 2 for n in near for f in far)
    assert area_under_curve(*columns(pairs)) == pytest.approx(wins / (len(near) * len(far)))


@given(PAIRS)
def test_error_curves_count_at_every_level(pairs: list[tuple[float, bool]]) -> None:
    distances, same = columns(pairs)
    for level, false_accept, false_reject in zip(*error_curves(distances, same), strict=True):
        assert false_accept == pytest.approx(np.mean(distances[~same] <= level))
        assert false_reject == pytest.approx(np.mean(distances[same] > level))


@given(PAIRS)
def test_the_equal_error_rate_lies_where_the_curves_cross(pairs: list[tuple[float, bool]]) -> None:
    distances, same = columns(pairs)
    rate, _ = equal_error_rate(distances, same)
    _, false_accepts, false_rejects = error_curves(distances, same)
    # Both errors at the crossing lie between those at the levels before and after it.
    after = int(np.argmax(false_accepts >= false_rejects))
    low = max(false_accepts[after - 1], false_rejects[after])
    high = min(false_accepts[after], false_rejects[after - 1])
    assert low - 1e-9 <= rate <= high + 1e-9


def test_the_equal_error_rate_of_a_case_done_by_hand() -> None:
    # One of four refused beyond 3, one of four accepted up to 3.
    distances = np.array([1, 2, 3, 6, 2.5, 7, 8, 9])
    same = np.array([True, True, True, True, False, False, False, False])
    assert equal_error_rate(distances, same) == (0.25, 3.0)


@pytest.mark.parametrize("same", [[True, True], [False, False]])
def test_pairs_of_both_kinds_are_needed(same: list[bool]) -> None:
    for measure in (area_under_curve, equal_error_rate):
        with pytest.raises(ValueError, match="needs pairs of one person"):
            measure(np.array([1.0, 2.0]), np.array(same))
