"""Faults planted into a labelled crawl, so that it is known what should be found, and the counting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from transforms.crawl import CrawlPhotos
from transforms.findings import EXACT_COPY, MISFILED, MIXED, NEAR_COPY, SAME_PERSON, FindingRow

SPLIT_SUFFIX = " – again"
SHUFFLED_SHARE = 0.05


@dataclass(frozen=True)
class Planted:
    """`labels` as the crawl now says; `people` who each photo truly shows; `shuffled` rows that were put
    under a wrong identity; `split` new identities of people who are there already; `merged` identity →
    person who was put under it; `copy_of` row → the row that it is a copy of."""

    labels: list[str]
    people: list[str]
    shuffled: frozenset[int]
    split: frozenset[str]
    merged: dict[str, str]
    copy_of: dict[int, int]


def plant(people: Sequence[str], copy_of: dict[int, int], *, seed: int, share: float = 0.03) -> Planted:
    """Plants faults into the labels `people` (one a photo): of the people with four and more photos a
    share is split in two identities, of those with two and more as many pairs are merged, and 5 % of the
    photos of all others get the label of somebody else. Copies stay with what they are copies of."""
    random = np.random.default_rng(seed)
    labels = list(people)
    members: dict[str, list[int]] = {}
    for row, person in enumerate(people):
        if row not in copy_of:
            members.setdefault(person, []).append(row)
    many = [p for p in sorted(members) if len(members[p]) >= 4]
    split = set(random.choice(many, int(share * 5 * len(many)), replace=False).tolist())
    for person in sorted(split):
        rows = random.permutation(members[person])
        for row in rows[: int(random.integers(1, len(rows) // 2 + 1))].tolist():
            labels[row] = person + SPLIT_SUFFIX
    some = [p for p in sorted(members) if 2 <= len(members[p]) <= 30 and p not in split]
    chosen = random.choice(some, 2 * int(share * len(some)), replace=False).tolist()
    merged = dict(zip(chosen[::2], chosen[1::2], strict=True))
    for kept, gone in merged.items():
        for row in members[gone]:
            labels[row] = kept
    busy = split | set(merged) | set(merged.values())
    free = [row for person in sorted(members) if person not in busy for row in members[person]]
    shuffled = random.choice(free, int(SHUFFLED_SHARE * len(free)), replace=False).tolist()
    targets = sorted(p for p in members if p not in busy)
    for row in shuffled:
        other = people[row]
        while other == people[row]:
            other = targets[int(random.integers(len(targets)))]
        labels[row] = other
    for copy, original in copy_of.items():
        labels[copy] = labels[original]
    names = frozenset(p + SPLIT_SUFFIX for p in split)
    return Planted(labels, list(people), frozenset(shuffled), names, merged, copy_of)


@dataclass(frozen=True)
class Count:
    """How much of a kind was found: right among all found, and planted ones found among all planted."""

    right: int
    found: int
    hit: int
    planted: int

    @property
    def precision(self) -> float:
        """Share of what was found that is right."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of what was planted that was found."""
        return self.hit / self.planted if self.planted else 1.0

    @property
    def f(self) -> float:
        """Harmonic mean of both."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def count_findings(
    photos: CrawlPhotos, rows: Sequence[FindingRow], truth: Planted, belongs: Callable[[str], bool]
) -> dict[str, Count]:
    """Counts by kind; `belongs` says of a person whether they count (to a half).

    same-person: pairs of identities, right where most photos of both show one person. misfiled: photos,
    right where the photo does not show whom most of its identity's photos show. mixed: identities. Copies:
    photos, right where both show the same original photo.
    """
    place = {(photos.root[i], photos.path[i]): i for i in range(len(photos))}
    by_path = {path: i for i, path in enumerate(photos.path)}
    majority = majorities(truth)
    person_of = {label: person for label, person in majority.items() if person is not None}

    def base(label: str) -> str:
        return label.removesuffix(SPLIT_SUFFIX)

    def origin(row: int) -> int:
        return truth.copy_of.get(row, row)

    result: dict[str, Count] = {}
    same = [r for r in rows if r.finding == SAME_PERSON and belongs(base(r.identity))]
    right = [r for r in same if person_of.get(r.identity) == person_of.get(r.other_identity)]
    hit = {base(r.identity) for r in right} & {base(s) for s in truth.split}
    planted = [s for s in truth.split if belongs(base(s))]
    result[SAME_PERSON] = Count(len(right), len(same), len(hit), len(planted))
    wrong = [place[r.root, r.path] for r in rows if r.finding == MISFILED and belongs(base(r.identity))]
    good = [i for i in wrong if truth.people[i] != majority[truth.labels[i]]]
    shuffled = {i for i in truth.shuffled if belongs(base(truth.labels[i]))}
    result[MISFILED] = Count(len(good), len(wrong), len(shuffled & set(wrong)), len(shuffled))
    counts = Counter(truth.labels[i] for i in range(len(photos)) if i not in truth.copy_of)
    decidable = {i for i in shuffled if counts[truth.labels[i]] >= 3}
    result["misfiled among three and more"] = Count(
        len(good), len(wrong), len(decidable & set(wrong)), len(decidable)
    )
    mixed = {r.identity for r in rows if r.finding == MIXED and belongs(base(r.identity))}
    merged = {m for m in truth.merged if belongs(m)}
    # Photos of the person that was put there count as the same finding, whatever it is called.
    told = mixed | {truth.labels[i] for i in wrong if truth.labels[i] in merged}
    several = {m for m in mixed if len({truth.people[i] for i, x in enumerate(truth.labels) if x == m}) > 1}
    result[MIXED] = Count(len(several), len(mixed), len(told & merged), len(merged))
    for kind in (EXACT_COPY, NEAR_COPY):
        found = [r for r in rows if r.finding == kind and belongs(base(r.identity))]
        pairs = [(place[r.root, r.path], by_path[r.other_path]) for r in found]
        real = [(a, b) for a, b in pairs if origin(a) == origin(b)]
        exact = kind == EXACT_COPY
        wanted = {
            c for c, o in truth.copy_of.items()
            if belongs(truth.people[c]) and (photos.photo_id[c] == photos.photo_id[o]) == exact
        }  # fmt: skip
        got = {c for pair in real for c in pair} & wanted
        got |= {c for c in wanted if any(truth.copy_of[c] in pair and c in pair for pair in real)}
        result[kind] = Count(len(real), len(found), len(got), len(wanted))
    return result


def majorities(truth: Planted) -> dict[str, str | None]:
    """Whom most photos of an identity show; of as many of two people, the one it is named after."""
    members: dict[str, Counter[str]] = {}
    for label, person in zip(truth.labels, truth.people, strict=True):
        members.setdefault(label, Counter())[person] += 1
    result: dict[str, str | None] = {}
    for label, people in members.items():
        most = max(people.values())
        best = sorted(p for p, n in people.items() if n == most)
        named = label.removesuffix(SPLIT_SUFFIX)
        result[label] = named if named in best else best[0]
    return result
