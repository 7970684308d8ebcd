"""Synthetic libraries of any size: faces of people who never lived, as hard to tell apart as LFW's.

People are of very unequal size, have siblings and look-alikes and change over the years; their photos
come in bursts of near-identical shots with several people in them, and some faces are blurred, tiny,
turned or doubtful. Vectors follow `models.face_statistics`. A library is made in slices, each from the
seed and its own number alone, so that one of five million faces needs no more memory than a slice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.face_statistics import FaceStatistics

# Of the deviation's variance: what changes over years, and what a single shot adds to its burst. The
# archive's years turn a person from one look to its opposite; two photos at random times then have
# (2/π)² of the drift in common, so the other parts make up for it.
_DRIFT_SHARE, _SHOT_SHARE = 0.2, 0.04
_BURST_SHARE = 1 - _SHOT_SHARE - _DRIFT_SHARE * (1 - (2 / np.pi) ** 2)
_SIBLINGS, _SIBLING_SHARE = 0.15, 0.5
_WEAK_SHARE = 0.09  # of LFW's 15,658 faces
_YEARS = 20.0
_BURST_LENGTHS, _BURST_ODDS = np.array([1, 2, 3, 5, 8, 12]), np.array([0.62, 0.16, 0.1, 0.07, 0.03, 0.02])
_PEOPLE_IN_PHOTO, _PEOPLE_ODDS = np.array([1, 2, 3, 4, 6]), np.array([0.58, 0.24, 0.1, 0.06, 0.02])


@dataclass(frozen=True)
class SyntheticFaces:
    """A slice of a library; rows of one slice only share people and photos among themselves.

    `vectors` float32[n, d] centred unit vectors, `person` and `photo` int64[n] over the whole library,
    `burst` int64[n] near-identical shots of one person, `years` float32[n] since the archive's first
    photo; `size` (pixels), `score`, `yaw` (degrees), `sharpness` float32[n] as the index measures them.
    """

    vectors: np.ndarray
    person: np.ndarray
    photo: np.ndarray
    burst: np.ndarray
    years: np.ndarray
    size: np.ndarray
    score: np.ndarray
    yaw: np.ndarray
    sharpness: np.ndarray


@dataclass(frozen=True)
class SyntheticPeople:
    """How many faces people have: `largest` at most, and the `tail` exponent of a Pareto distribution.

    `sizes` int64[p], where given, are the people themselves, in place of that.
    """

    largest: int = 20_000
    tail: float = 1.0
    sizes: np.ndarray | None = None

    def drawn(self, faces: int, generator: np.random.Generator) -> np.ndarray:
        """int64[p]: numbers of faces of people, `faces` in all."""
        sizes = np.zeros(0, np.int64) if self.sizes is None else self.sizes.astype(np.int64)
        while sizes.sum() < faces and self.sizes is None:
            drawn = np.minimum((1 - generator.random(faces // 4 + 16)) ** (-1 / self.tail), self.largest)
            sizes = np.concatenate([sizes, drawn.astype(np.int64)])
        last = int(np.searchsorted(np.cumsum(sizes), faces))
        sizes = sizes[: last + 1]
        if len(sizes) and sizes.sum() > faces:
            sizes[-1] -= sizes.sum() - faces
        return sizes[sizes > 0]


def synthetic_faces(
    statistics: FaceStatistics,
    *,
    faces: int,
    seed: int = 0,
    people: SyntheticPeople = SyntheticPeople(),
    slice_faces: int = 50_000,
) -> Iterator[SyntheticFaces]:
    """Yields a library of `faces` faces, slice by slice; the same arguments give the same library.

    A slice holds whole people, so it has at least one person and at most `slice_faces` faces beyond
    that. Memory: about 8 KB a face of a slice.
    """
    sizes = people.drawn(faces, np.random.default_rng([seed, 0]))
    centres = _LookAlikes(statistics, seed)
    ends = np.cumsum(sizes)
    photos, bursts, first = 0, 0, 0
    for number in range(1, len(sizes) + 1):
        if first >= len(sizes):
            break
        target = (ends[first - 1] if first else 0) + slice_faces
        last = max(first + 1, int(np.searchsorted(ends, target, side="right")))
        generator = np.random.default_rng([seed, number])
        part = _slice(statistics, centres, sizes[first:last], generator)
        yield SyntheticFaces(
            **{**vars(part), "person": part.person + first, "photo": part.photo + photos,
               "burst": part.burst + bursts}
        )  # fmt: skip
        photos, bursts = photos + int(part.photo.max()) + 1, bursts + int(part.burst.max()) + 1
        first = last


class _LookAlikes:
    """The parts of means that people share: a tree of groups, ever smaller and ever more alike."""

    def __init__(self, statistics: FaceStatistics, seed: int) -> None:
        self._rank = len(statistics.between)
        self._levels: list[tuple[int, float, np.ndarray]] = []
        common_before, groups_before = 0.0, 1
        for level, (common, probability) in enumerate(statistics.look_alikes):
            # Each group splits into a whole number of groups: so groups are nested.
            groups = groups_before * max(1, round(1 / probability / groups_before))
            generator = np.random.default_rng([seed, 0, level])
            centres = generator.standard_normal((groups, self._rank), np.float32)
            self._levels.append((groups, float(np.sqrt(common - common_before)), centres))
            common_before, groups_before = common, groups
        self._own = float(np.sqrt(1 - common_before))

    def drawn(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """float32[count, r]: the standard normal numbers behind people's means."""
        result = self._own * generator.standard_normal((count, self._rank), np.float32)
        finest = self._levels[-1][0] if self._levels else 1
        leaf = generator.integers(finest, size=count)
        for groups, weight, centres in self._levels:
            result += np.float32(weight) * centres[leaf // (finest // groups)]
        return result


def _slice(
    statistics: FaceStatistics, centres: _LookAlikes, sizes: np.ndarray, generator: np.random.Generator
) -> SyntheticFaces:
    """One slice, people, photos and bursts numbered from 0."""
    means = _with_siblings(centres.drawn(len(sizes), generator), generator) @ statistics.between
    bursts = _bursts(sizes, generator)
    person, photo, years = _photos(bursts, generator)
    burst = np.repeat(np.arange(len(bursts.person)), bursts.length)
    rank = len(statistics.within)
    old, new = generator.standard_normal((2, len(sizes), rank), np.float32)
    angle = (years[:, None] / _YEARS * np.pi).astype(np.float32)
    of_burst = generator.standard_normal((len(bursts.person), rank), np.float32)
    of_shot = generator.standard_normal((len(person), rank), np.float32)
    unevenness = np.exp(statistics.unevenness * generator.standard_normal((len(of_burst), 1), np.float32))
    unevenness *= np.float32(np.exp(-(statistics.unevenness**2) / 2))
    shots = np.sqrt(_BURST_SHARE) * of_burst[burst] + np.sqrt(_SHOT_SHARE) * of_shot
    drift = np.sqrt(_DRIFT_SHARE) * (np.cos(angle) * old[person] + np.sin(angle) * new[person])
    deviation = (drift + shots * unevenness[burst]).astype(np.float32) @ statistics.within
    vectors = _unit(statistics.mean + means[person] + deviation)
    weak = generator.random(len(vectors)) < _WEAK_SHARE
    pull = np.where(weak, 0.85 * generator.random(len(vectors)), 0).astype(np.float32)[:, None]
    vectors = _unit((1 - pull) * vectors + pull * statistics.weak)
    return SyntheticFaces(vectors, person, photo, burst, years, *_measures(weak, pull[:, 0], generator))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _with_siblings(latent: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Some people share half of what makes their mean with the person before them."""
    sibling = generator.random(len(latent)) < _SIBLINGS
    sibling[:1] = False
    before = np.roll(latent, 1, axis=0)
    mixed = np.sqrt(_SIBLING_SHARE) * before + np.sqrt(1 - _SIBLING_SHARE) * latent
    return np.where(sibling[:, None], mixed, latent).astype(np.float32)


@dataclass(frozen=True)
class _Bursts:
    """int64[b] each: whose shots, and how many."""

    person: np.ndarray
    length: np.ndarray


def _bursts(sizes: np.ndarray, generator: np.random.Generator) -> _Bursts:
    """Cuts every person's faces into bursts, sorted by length, in random order within a length."""
    person = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    # A burst of length L begins at every face that the one before it has not swallowed.
    wanted = generator.choice(_BURST_LENGTHS, size=len(person), p=_BURST_ODDS)
    begins = np.zeros(len(person), bool)
    next_free = 0
    for face, (length, start) in enumerate(zip(wanted.tolist(), starts.tolist(), strict=True)):
        if face >= next_free or face == start:
            begins[face] = True
            next_free = face + length
    first = np.flatnonzero(begins)
    length = np.diff(np.append(first, len(person)))
    order = np.lexsort((generator.random(len(first)), length))
    return _Bursts(person[first][order], length[order])


def _photos(bursts: _Bursts, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(person, photo, years) of every face: bursts of one length that follow each other share photos."""
    count = len(bursts.person)
    together = generator.choice(_PEOPLE_IN_PHOTO, size=count, p=_PEOPLE_ODDS)
    event = np.repeat(np.arange(count), together)[:count]
    # Nobody is twice in a photo, and everybody in it has as many shots.
    key = np.stack([event, bursts.length, bursts.person])
    _, first = np.unique(key, axis=1, return_index=True)
    again = np.ones(count, bool)
    again[first] = False
    event = np.where(again, count + np.arange(count), event)
    _, event = np.unique(np.stack([event, bursts.length]), axis=1, return_inverse=True)
    event = event.ravel()
    shots = np.zeros(event.max() + 1, np.int64)
    shots[event] = bursts.length
    base = np.cumsum(shots) - shots
    burst = np.repeat(np.arange(count), bursts.length)
    shot = np.arange(len(burst)) - np.repeat(np.cumsum(bursts.length) - bursts.length, bursts.length)
    when = (_YEARS * generator.random(len(shots))).astype(np.float32)
    return bursts.person[burst], base[event[burst]] + shot, when[event[burst]]


def _measures(
    weak: np.ndarray, pull: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(size, score, yaw, sharpness): clear faces keep all limits of `people.WeakLimits`, weak ones don't."""
    count = len(weak)
    size = np.clip(np.exp(generator.normal(4.8, 0.5, count)), 44, 800)
    score = 1 - 0.04 * generator.random(count) ** 8
    yaw = np.clip(generator.normal(0, 16, count), -48, 48)
    sharpness = np.clip(np.exp(generator.normal(-1.75, 0.35, count)), 0.09, 0.7)
    kind = generator.integers(3, size=count)
    strength = 1 - pull / 2
    size = np.where(weak & (kind != 1), 36 * strength, size)
    score = np.where(weak & (kind == 1), 0.93 * strength + 0.02, score)
    sharpness = np.where(weak & (kind == 2), 0.08 * strength, sharpness)
    return tuple(x.astype(np.float32) for x in (size, score, yaw, sharpness))  # type: ignore[return-value]
