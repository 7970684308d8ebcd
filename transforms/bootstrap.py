"""Confidence intervals by resampling people (Efron 1979), percentile method.

Pairs of faces are not independent: a person with many photos is in many of them. People are, so whole
people are drawn anew, with replacement, and everything is measured again on those. Of few people that says
too little of those who are not in the data, and nothing where all are recognised, and so in every drawing:
there Wilson's interval (1927), with a trial for each person or pair of people, is the least that is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.all_pairs import AllPairs, Operating

REPEATS = 400
_FEW = 30
_NORMAL = 1.959964  # of a normal distribution 95 % lie within so many standard deviations


@dataclass(frozen=True)
class Interval:
    """Where the value lies with 95 % confidence. Both are nan where too few people say anything."""

    low: float
    high: float

    def apart_from(self, other: Interval) -> bool:
        """Whether the two do not overlap."""
        return self.low > other.high or self.high < other.low


def val_intervals(pairs: AllPairs, *, repeats: int = REPEATS, seed: int = 0) -> dict[float, Interval]:
    """The interval of VAL at each of the operating points of `pairs`.

    Each drawing of people has its own distance for the FAR, since the FAR's pairs are drawn as well.
    """
    values: dict[float, list[float]] = {far: [] for far in pairs.at}
    with_pairs = len(np.unique(pairs.same_person))
    for weight in _drawings(len(pairs.faces), repeats, seed):
        faces = pairs.faces * weight
        # Pairs between two drawings of one person are none of two people.
        different = (float(faces.sum()) ** 2 - float((faces**2).sum())) / 2
        of_one = np.concatenate([[0.0], np.cumsum(weight[pairs.same_person])])
        if of_one[-1] == 0 or different == 0:
            continue
        for far, point in pairs.at.items():
            border = _border(point, weight, far * different)
            values[far].append(of_one[np.searchsorted(pairs.same, border, side="left")] / of_one[-1])
    return {far: with_wilson(v, share=pairs.at[far].val, trials=with_pairs) for far, v in values.items()}


def _border(point: Operating, weight: np.ndarray, allowed: float) -> float:
    """The first distance that exceeds the FAR among people drawn `weight` times."""
    near = point.near
    counted = np.cumsum(weight[near.people[:, 0]] * weight[near.people[:, 1]], dtype=np.float64)
    k = int(np.searchsorted(counted / near.probability, allowed * (1 + 1e-12), side="right"))
    return float(near.distances[k]) if k < len(near.distances) else near.limit


def share_interval(
    hits: np.ndarray, totals: np.ndarray, *, repeats: int = REPEATS, seed: int = 0
) -> Interval:
    """The interval of sum(hits) / sum(totals), drawing units anew: `hits` and `totals` float[u]."""
    values = []
    for weight in _drawings(len(totals), repeats, seed):
        total = float(totals @ weight)
        if total > 0:
            values.append(float(hits @ weight) / total)
    share = float(hits.sum() / totals.sum()) if totals.sum() else float("nan")
    return with_wilson(values, share=share, trials=int((totals > 0).sum()))


def pair_share_interval(
    accepted: np.ndarray, faces: np.ndarray, *, repeats: int = REPEATS, seed: int = 0
) -> Interval:
    """The interval of the share of pairs of two people that are accepted (a FAR).

    `accepted` int[m, 2], the people of each accepted pair; `faces` int[p], faces of each person.
    """
    values = []
    for weight in _drawings(len(faces), repeats, seed):
        drawn = faces * weight
        different = (float(drawn.sum()) ** 2 - float((drawn**2).sum())) / 2
        if different > 0:
            values.append(float((weight[accepted[:, 0]] * weight[accepted[:, 1]]).sum()) / different)
    people = int((faces > 0).sum())
    every = (float(faces.sum()) ** 2 - float((faces**2).sum())) / 2
    share = len(accepted) / every if every else float("nan")
    return with_wilson(values, share=share, trials=people * (people - 1) // 2)


def _drawings(units: int, repeats: int, seed: int) -> Iterator[np.ndarray]:
    """int64[units] each: how often every unit was drawn."""
    random = np.random.default_rng(seed)
    for _ in range(repeats if units else 0):
        yield np.bincount(random.integers(0, units, units), minlength=units)


def with_wilson(values: Sequence[float], *, share: float, trials: int) -> Interval:
    """The middle 95 % of resampled values; of fewer than 30 trials, and where all values are one, it holds
    Wilson's interval of `share` as well. nan of no trial."""
    found = percentiles(values)
    if not trials or (trials >= _FEW and found.low != found.high):
        return found
    wide = wilson(share, trials)
    return Interval(float(np.fmin(found.low, wide.low)), float(np.fmax(found.high, wide.high)))


def wilson(share: float, trials: int) -> Interval:
    """Wilson's 95 % interval of a share, 0 to 1, of so many independent trials, one at least."""
    spread = _NORMAL**2 / trials
    middle = (share + spread / 2) / (1 + spread)
    half = np.sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
    # Rounded, the interval of a share of 0 or 1 would just miss it.
    return Interval(max(0.0, min(share, float(middle - half))), min(1.0, max(share, float(middle + half))))


def percentiles(values: Sequence[float]) -> Interval:
    """The middle 95 % of resampled values; nan of fewer than 20."""
    if len(values) < 20:
        return Interval(float("nan"), float("nan"))
    low, high = np.percentile(np.asarray(values, float), [2.5, 97.5])
    return Interval(float(low), float(high))
