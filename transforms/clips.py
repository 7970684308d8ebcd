"""Video clips: how far apart two of them are, and which pairs of them to judge."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClipPair:
    """Two clips (``person/clip``), the fold that the pair is in, and whether they show one person."""

    fold: int
    first: str
    second: str
    same: bool


def mean_pair_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The mean squared L2 distance over all pairs of a frame of one clip and one of the other.

    `first` and `second` are float[d], the mean of each clip's unit vectors, not normalised: the mean of
    2 - 2·a·b over all pairs is 2 - 2·mean(a)·mean(b).
    """
    return 2 - 2 * float(np.dot(first.astype(np.float64), second.astype(np.float64)))


def read_clip_pairs(text: str) -> list[ClipPair]:
    """Pairs from a file as YouTube Faces has it: split number, clip, clip, …, 1 for the same person or 0.

    Lines that do not begin with a number are headings. Raises ValueError with the line's number, and
    for a file without pairs of both kinds.
    """
    pairs = []
    rows = csv.reader(io.StringIO(text), skipinitialspace=True)
    for number, row in enumerate(rows, start=1):
        if not row or not row[0].strip().isdecimal():
            continue
        same = row[-1].strip()
        if len(row) < 4 or same not in ("0", "1"):
            raise ValueError(f"line {number}: expected split number, clip, clip, and 1 or 0 at the end")
        pairs.append(ClipPair(int(row[0]), row[1].strip(), row[2].strip(), same == "1"))
    if not pairs:
        raise ValueError("it names no pairs")
    if len({pair.same for pair in pairs}) < 2:
        raise ValueError("its pairs are all of one kind: pairs of one person and pairs of two are needed")
    return pairs


def drawn_clip_pairs(clips: Sequence[str], *, folds: int, most: int, seed: int) -> list[ClipPair]:
    """As many pairs of one person as there are, at most `most`, and as many of two people.

    `clips` are ``person/clip``. Each person is in one fold only, so that no threshold is judged on people
    that it was chosen on. Fewer folds where there are too few people. Raises ValueError without pairs of
    both kinds.
    """
    random = np.random.default_rng(seed)
    people: dict[str, list[str]] = {}
    for clip in sorted(clips):
        people.setdefault(clip.rpartition("/")[0], []).append(clip)
    names = [str(n) for n in random.permutation(sorted(people))]
    folds = max(1, min(folds, len(names) // 2))
    same, different = [], []
    for fold in range(folds):
        mine = names[fold::folds]
        pairs = [(a, b) for n in mine for i, a in enumerate(people[n]) for b in people[n][i + 1 :]]
        chosen = random.permutation(len(pairs))[: max(1, most // folds)]
        same += [ClipPair(fold, pairs[k][0], pairs[k][1], True) for k in chosen]
        strangers = {
            tuple(sorted((str(random.choice(people[a])), str(random.choice(people[b])))))
            for a, b in (random.choice(mine, 2, replace=False) for _ in chosen if len(mine) > 1)
        }
        different += [ClipPair(fold, a, b, False) for a, b in sorted(strangers)]
    if not same or not different:
        raise ValueError("there must be two clips of some person, and clips of two people")
    return same + different
