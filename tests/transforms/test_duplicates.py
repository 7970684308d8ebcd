from __future__ import annotations

from itertools import combinations

from tests.transforms.test_bursts import moments
from transforms.duplicates import candidates


def test_each_pair_of_near_identical_faces_is_a_candidate() -> None:
    """Also where the graph of people would have one of them stand for the others."""
    found = candidates(moments(2, 4), 0.85)
    assert [(left, right) for left, right, _ in found] == [
        *combinations(range(4), 2), *combinations(range(4, 8), 2)
    ]  # fmt: skip
