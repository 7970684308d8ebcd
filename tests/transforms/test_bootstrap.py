from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tests.transforms.test_all_pairs import faces
from transforms import bootstrap
from transforms.all_pairs import all_pairs
from transforms.bootstrap import Interval, pair_share_interval, share_interval, val_intervals, wilson

FARS = (0.01, 0.1, 0.5)


def drawn_faces(vectors: np.ndarray, person: np.ndarray, weight: np.ndarray) -> list[tuple[int, int]]:
    """(row, copy) of each face once people are drawn `weight` times."""
    return [(row, copy) for row, p in enumerate(person) for copy in range(weight[p])]


def brute_val(vectors: np.ndarray, person: np.ndarray, weight: np.ndarray, far: float) -> float:
    same, different = [], []
    for (i, a), (j, b) in combinations(drawn_faces(vectors, person, weight), 2):
        distance = float(np.clip(np.float32(2 - 2 * (vectors[i] @ vectors[j])), 0, 4))
        if person[i] != person[j]:
            different.append(distance)
        elif a == b:
            same.append(distance)
    different.sort()
    allowed = int(far * len(different) * (1 + 1e-12))
    return float(np.mean(np.array(same) < different[allowed] - 1e-6))


def test_each_drawing_is_measured_as_if_its_people_were_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, person = faces(4, count=36, people=9, spread=0.5, ties=False)
    person = np.unique(person, return_inverse=True)[1]
    pairs = all_pairs(vectors, person, fars=FARS)
    weights = [np.bincount(np.random.default_rng(s).integers(0, 9, 9), minlength=9) for s in range(25)]
    seen: list[list[float]] = []
    monkeypatch.setattr(bootstrap, "_drawings", lambda *_: iter(weights))

    def noted(values: list[float], **_: float) -> Interval:
        seen.append(list(values))
        return Interval(0, 1)

    monkeypatch.setattr(bootstrap, "with_wilson", noted)
    val_intervals(pairs)
    for far, values in zip(FARS, seen, strict=True):
        expected = [brute_val(vectors, person, w, far) for w in weights]
        assert values == pytest.approx(expected, abs=1e-9)


def test_an_interval_holds_the_value_and_narrows_with_more_people() -> None:
    few, many = (
        all_pairs(*faces(7, count=8 * p, people=p, spread=0.6, ties=False), fars=[0.1]) for p in (10, 120)
    )
    narrow, wide = val_intervals(many)[0.1], val_intervals(few)[0.1]
    assert narrow.low <= many.at[0.1].val <= narrow.high
    assert narrow.high - narrow.low < wide.high - wide.low


def test_shares_are_of_sums_over_units() -> None:
    spread = share_interval(np.array([0.0, 10.0] * 15), np.array([10.0] * 30))
    assert spread.low < 0.4 < 0.6 < spread.high


def test_the_share_of_accepted_pairs_of_two_people() -> None:
    every = np.array(list(combinations(range(30), 2)))
    assert pair_share_interval(every, np.ones(30)) == wilson(1.0, 30 * 29 // 2)
    assert pair_share_interval(every[:0], np.ones(30)) == wilson(0.0, 30 * 29 // 2)
    some = pair_share_interval(every[::2], np.ones(30))
    assert some.low < 0.5 < some.high


def test_wilsons_interval_is_where_the_score_test_does_not_refuse() -> None:
    for share, trials in ((1.0, 10), (0.0, 3), (0.5, 1), (0.3, 40)):
        found = wilson(share, trials)
        for edge in (found.low, found.high):
            if 1e-9 < edge < 1 - 1e-9:
                assert abs(share - edge) / np.sqrt(edge * (1 - edge) / trials) == pytest.approx(1.959964)
        assert 0 <= found.low <= share + 1e-9 and share - 1e-9 <= found.high <= 1


def test_ten_people_who_are_all_recognised_do_not_prove_that_all_are() -> None:
    everybody = share_interval(np.full(10, 3.0), np.full(10, 3.0))
    assert everybody == wilson(1.0, 10) and everybody.low < 0.75
    assert everybody == share_interval(np.append(np.full(10, 3.0), 0), np.append(np.full(10, 3.0), 0)), (
        "who has no pairs is no trial"
    )
    many = share_interval(np.array([990.0] * 500 + [1000.0] * 500), np.array([1000.0] * 1000))
    assert not everybody.apart_from(many)
    nearly = share_interval(np.array([2.0] + [3.0] * 9), np.full(10, 3.0))
    assert nearly.low < everybody.low, "one mistake more makes nothing surer"
    one = share_interval(np.array([3.0]), np.array([6.0]))
    assert one.low < 0.1 and one.high > 0.9
    vectors = np.repeat(np.eye(12, dtype=np.float32), 2, axis=0)
    assert val_intervals(all_pairs(vectors, np.arange(24) // 2, fars=[0.1]))[0.1] == wilson(1.0, 12)


def test_without_people_there_is_no_interval() -> None:
    assert np.isnan(share_interval(np.zeros(0), np.zeros(0)).low)
    assert np.isnan(pair_share_interval(np.zeros((0, 2), int), np.array([5])).high)


def test_intervals_are_apart_when_they_do_not_overlap() -> None:
    assert Interval(0.1, 0.2).apart_from(Interval(0.3, 0.4))
    assert not Interval(0.1, 0.3).apart_from(Interval(0.3, 0.4))
    assert not Interval(float("nan"), float("nan")).apart_from(Interval(0, 1))
