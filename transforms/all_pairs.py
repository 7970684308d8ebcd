"""VAL and FAR over all pairs of many faces, exactly, in memory that does not grow with the pairs.

FaceNet, section 4.1: over all pairs of one person VAL(d) is the share at squared L2 distance of at most
d, over all pairs of two people FAR(d). 13,233 faces have 87.5 million pairs, 100,000 have 5 billion. Their
distances are computed in blocks, twice: first counted in narrow bins, which says in which bin the
distance of each wanted FAR lies, then collected from those bins alone, where sorting finds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from transforms.verification import allowed_pairs

_ROWS, _COLUMNS = 512, 16_384
BINS_PER_UNIT = 10_000
_BINS = 4 * BINS_PER_UNIT + 1  # squared distances of unit vectors lie in 0 to 4
# For each FAR so many of the nearest pairs of two people are drawn, up to a multiple of that FAR (all of
# the nearest where they are few), so that a resampled set of people finds its own distance among them.
_DRAWN, _REACH = 100_000, 4.0


@dataclass(frozen=True)
class NearPairs:
    """Pairs of two people, drawn from all pairs up to `limit` with `probability`, by distance.

    `distances` float32[m] ascending, `people` int32[m, 2].
    """

    distances: np.ndarray
    people: np.ndarray
    limit: float
    probability: float


@dataclass(frozen=True)
class Operating:
    """VAL at the largest `distance` whose FAR is at most `far`; at float32 steps the next larger one,
    `border`, would exceed it."""

    far: float
    val: float
    distance: float
    border: float
    near: NearPairs


@dataclass(frozen=True)
class AllPairs:
    """What is known of all pairs of some faces.

    `same` float32[s], ascending, the distances of pairs of one person, and `same_person` int32[s] of whom;
    `counts` int64[bins]: pairs of two people by distance, in bins of 1 / `BINS_PER_UNIT`;
    `faces` int64[p]: faces of each person; `at`: the operating points asked for.
    """

    same: np.ndarray
    same_person: np.ndarray
    counts: np.ndarray
    faces: np.ndarray
    at: dict[float, Operating] = field(default_factory=dict)

    @property
    def different(self) -> int:
        """The number of pairs of two people."""
        return int(self.counts.sum())

    def curve(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(distance, VAL, FAR) float64[bins]: the shares of pairs below each bin's upper edge."""
        edges = np.arange(1, len(self.counts) + 1) / BINS_PER_UNIT
        val = np.searchsorted(_bins(self.same), np.arange(len(edges)), side="right") / max(1, len(self.same))
        return edges, val, np.cumsum(self.counts) / max(1, self.different)


def all_pairs(vectors: np.ndarray, people: np.ndarray, *, fars: Sequence[float], seed: int = 0) -> AllPairs:
    """Measures all pairs of float32[n, d] unit vectors, int[n] saying whose they are.

    With n pairs of two people, floor(far · n) of them may lie at or below a FAR's distance, and ties at the
    border count as below it: the FAR is never exceeded. `fars` for which no pair may be accepted are
    answered all the same, with the VAL below the nearest pair of two people; whoever prints them should
    say so. Raises ValueError without pairs of both kinds.
    """
    _, person, faces = np.unique(people, return_inverse=True, return_counts=True)
    counts = np.zeros(_BINS, np.int64)
    same, owner = [], []
    for left, _, distances, equal in _blocks(vectors, person):
        counts += np.bincount(_bins(distances[~equal]), minlength=_BINS)
        same.append(distances[equal])
        owner.append(left[equal])
    kept = np.concatenate(same) if same else np.zeros(0, np.float32)
    whose = np.concatenate(owner) if owner else np.zeros(0, np.int32)
    if not len(kept) or not counts.sum():
        raise ValueError("VAL at a FAR needs pairs of one person and pairs of two people")
    order = np.argsort(kept, kind="stable")
    found = AllPairs(kept[order], whose[order], counts, faces)
    return AllPairs(
        found.same, found.same_person, counts, faces, _operating(vectors, person, found, fars, seed)
    )


def accepted_pairs(vectors: np.ndarray, people: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """int[m, 2] pairs of rows up to `distance`: those of one person, and those of two people."""
    same, different = [], []
    for rows, columns, distances in _raw_blocks(vectors):
        i, j = np.nonzero((distances <= distance) & (columns[None, :] > rows[:, None]))
        pairs = np.stack([rows[i], columns[j]], axis=1)
        equal = people[pairs[:, 0]] == people[pairs[:, 1]]
        same.append(pairs[equal])
        different.append(pairs[~equal])
    empty = np.zeros((0, 2), np.int64)
    return np.concatenate([empty, *same]), np.concatenate([empty, *different])


def _operating(
    vectors: np.ndarray, person: np.ndarray, pairs: AllPairs, fars: Sequence[float], seed: int
) -> dict[float, Operating]:
    below = np.concatenate([[0], np.cumsum(pairs.counts)])  # below[b]: pairs in bins before b
    total = int(below[-1])
    allowed = {far: allowed_pairs(far, total) for far in fars}
    # The first distance that must stay outside is number `allowed` of all, counted from 0.
    border_bin = {
        f: int(np.searchsorted(below, a, side="right")) - 1 for f, a in allowed.items() if a < total
    }
    reach = {f: min(max(_REACH * a, _DRAWN), total) for f, a in allowed.items()}
    reach_bin = {
        f: max(border_bin.get(f, 0), int(np.searchsorted(below, r, side="left")) - 1)
        for f, r in reach.items()
    }
    probability = {f: min(1.0, _DRAWN / max(1, int(below[b + 1]))) for f, b in reach_bin.items()}
    random = np.random.default_rng(seed)
    wanted = np.zeros(_BINS, bool)
    wanted[list(border_bin.values())] = True
    at_border: list[np.ndarray] = []
    drawn: dict[float, list[tuple[np.ndarray, np.ndarray]]] = {f: [] for f in fars}
    for left, right, distances, equal in _blocks(vectors, person):
        bins = np.where(equal, _BINS, _bins(distances))
        border = np.flatnonzero(np.append(wanted, False)[bins])
        at_border.append(distances[border])
        for far in fars:
            near = np.flatnonzero(bins <= reach_bin[far])
            if probability[far] < 1:
                near = near[random.random(len(near)) < probability[far]]
            drawn[far].append((distances[near], np.stack([left[near], right[near]], axis=1)))
    outside = np.sort(np.concatenate(at_border)) if at_border else np.zeros(0, np.float32)
    result = {}
    for far in fars:
        limit = (reach_bin[far] + 1) / BINS_PER_UNIT
        near_pairs = _joined(drawn[far], limit, probability[far])
        if far not in border_bin:
            result[far] = Operating(far, 1.0, float("inf"), float("inf"), near_pairs)
            continue
        inside_bin = outside[_bins(outside) == border_bin[far]]
        border_distance = inside_bin[allowed[far] - int(below[border_bin[far]])]
        accepted = int(np.searchsorted(pairs.same, border_distance, side="left"))
        distance = float(np.nextafter(border_distance, np.float32(-np.inf)))
        result[far] = Operating(far, accepted / len(pairs.same), distance, float(border_distance), near_pairs)
    return result


def _joined(parts: list[tuple[np.ndarray, np.ndarray]], limit: float, probability: float) -> NearPairs:
    distances = np.concatenate([d for d, _ in parts])
    people = np.concatenate([p for _, p in parts])
    order = np.argsort(distances, kind="stable")
    return NearPairs(distances[order], people[order], limit, probability)


def _bins(distances: np.ndarray) -> np.ndarray:
    return (distances * np.float32(BINS_PER_UNIT)).astype(np.int32)


def _blocks(
    vectors: np.ndarray, person: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Every pair once: (person of the one, of the other, squared distance, whether they are one)."""
    person = person.astype(np.int32)
    for rows, columns, distances in _raw_blocks(vectors):
        upper = columns[None, :] > rows[:, None]
        left = np.broadcast_to(person[rows][:, None], upper.shape)[upper]
        right = np.broadcast_to(person[columns][None, :], upper.shape)[upper]
        yield left, right, distances[upper], left == right


def _raw_blocks(vectors: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Every pair at least once: (rows int[r], columns int[c], squared distances float32[r, c])."""
    for start in range(0, len(vectors), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(vectors)))
        for left in range(start, len(vectors), _COLUMNS):
            columns = np.arange(left, min(left + _COLUMNS, len(vectors)))
            products = vectors[start : start + _ROWS] @ vectors[left : left + _COLUMNS].T
            yield rows, columns, np.clip(2 - 2 * products.astype(np.float32, copy=False), 0, 4)
