from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transforms.decode import PhotoInfo
from transforms.detect import _GROUP_BYTES, _GROUP_PHOTOS, _GROUP_PIXELS, search_cost, searched_together


@given(st.lists(st.tuples(st.integers(0, 2 * _GROUP_BYTES), st.integers(0, 2 * _GROUP_PIXELS)), max_size=100))
def test_groups_hold_all_files_in_order_within_the_limits(costs: list[tuple[int, int]]) -> None:
    groups = list(searched_together(costs, lambda cost: cost))
    assert [cost for group in groups for cost in group] == costs
    for group in groups:
        held, pixels = (sum(cost[i] for cost in group) for i in range(2))
        within = held <= _GROUP_BYTES and pixels <= _GROUP_PIXELS and len(group) <= _GROUP_PHOTOS
        assert len(group) == 1 or within


def test_small_photos_are_searched_many_at_a_time() -> None:
    groups = list(searched_together([(1, 1)] * (_GROUP_PHOTOS + 1), lambda cost: cost))
    assert [len(group) for group in groups] == [_GROUP_PHOTOS, 1]


def test_a_jpeg_costs_what_is_decoded_of_it_and_others_all_they_hold() -> None:
    jpeg, png = (PhotoInfo(12_000, 9_000, kind, None, None) for kind in ("JPEG", "PNG"))
    small = PhotoInfo(640, 480, "JPEG", None, None)
    assert search_cost(png, 1280)[0] == 3 * 12_000 * 9_000
    assert search_cost(jpeg, 1280)[0] < search_cost(png, 1280)[0] / 4
    assert search_cost(jpeg, 1280)[1] == search_cost(png, 1280)[1] == 1280 * 960
    assert search_cost(small, 1280) == (3 * 640 * 480, 640 * 480)
