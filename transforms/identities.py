"""A crawl: photos whose folder, or a list, says whose they are; and whether their faces agree.

An identity's *core* is the largest group of photos within it that show one person (average linkage).
Everything is judged by cosine similarity of centred unit vectors: of a face to the mean of a core, and
of cores' means to each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from transforms.neighbours import nearest

_MOST_LINKED = 1500
_CANDIDATES = 12


@dataclass(frozen=True)
class Limits:
    """Cosines, learnt on one half of LFW's people with planted faults (`albumen evaluate dedupe`).

    Two groups of an identity's faces are one person where their mean similarity reaches `link`. A face
    is another identity's where it is at least `belongs` like that core's mean. Two cores are one person
    at `same[i]`, by the smaller one's photos: one, two or three, more.
    """

    link: float = 0.30
    belongs: float = 0.60
    same: tuple[float, float, float] = (0.72, 0.74, 0.74)


@dataclass(frozen=True)
class Crawl:
    """n photos in order of identity, and the face of each that its identity means.

    `names` of identities; `identity` int64[n] points there. `face` int64[n] is a row of `vectors`
    float32[m, d] (centred, unit length), -1 where no face was found.
    """

    names: list[str]
    identity: np.ndarray
    face: np.ndarray
    vectors: np.ndarray


@dataclass(frozen=True)
class SamePerson:
    """Two identities that are one person: `identity` has fewer photos than `other`."""

    identity: int
    other: int
    score: float


@dataclass(frozen=True)
class Misfiled:
    """A photo that shows somebody else than its identity: `other` (-1: nobody known). `score` is how much
    more it is like that one than like its own, or how unlike its own it is."""

    photo: int
    other: int
    score: float


@dataclass(frozen=True)
class Mixed:
    """An identity of several people: the `photos` of another one than its core's. `score`: how unlike."""

    identity: int
    photos: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a crawl's identities, the clearest first; `fit` float32[n] is each photo's
    similarity to its identity's core (NaN: it is alone, or has no face)."""

    same: list[SamePerson]
    misfiled: list[Misfiled]
    mixed: list[Mixed]
    fit: np.ndarray


def choose_faces(
    identity: np.ndarray, faces: Sequence[Sequence[int]], prominence: np.ndarray, vectors: np.ndarray
) -> np.ndarray:
    """Which of its photo's faces an identity means: int64[n], -1 without a face.

    First the most prominent, float[m]; then, given what the others of the identity look like, the one
    that is most like them, so that bystanders in front don't count.
    """
    chosen = np.array([max(rows, key=lambda r: prominence[r]) if rows else -1 for rows in faces], np.int64)
    seen = np.flatnonzero(chosen >= 0)
    sums = np.zeros((int(identity.max(initial=-1)) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, identity[seen], vectors[chosen[seen]])
    result = chosen.copy()
    for photo in seen.tolist():
        if len(faces[photo]) > 1:
            others = sums[identity[photo]] - vectors[chosen[photo]]
            if np.linalg.norm(others) > 0.5:  # alone, there is nothing to be like
                result[photo] = max(faces[photo], key=lambda r: float(vectors[r] @ others))
    return result


def judge(crawl: Crawl, limits: Limits = Limits()) -> Verdict:
    """Compares every identity with itself and with the others."""
    groups = _groups(crawl, limits.link)
    cores = {i: parts[0] for i, parts in groups.items()}
    order = sorted(cores)
    means = np.stack([_mean(crawl, cores[i]) for i in order]) if order else np.zeros((0, 1), np.float32)
    sizes = np.array([len(cores[i]) for i in order])
    # Where no group is larger than the others, nobody can say whom the identity means.
    even = {i for i, parts in groups.items() if len(parts) > 1 and len(parts[0]) == len(parts[1])}
    same = [p for p in _same_people(order, means, sizes, limits) if not even & {p.identity, p.other}]
    fit = _fits(crawl, groups)
    misfiled, mixed = _strangers(crawl, groups, even, order, means, limits)
    return Verdict(same, misfiled, mixed, fit)


def _groups(crawl: Crawl, link: float) -> dict[int, list[np.ndarray]]:
    """The photos of each identity by the person that they show, the largest group first."""
    photos = np.flatnonzero(crawl.face >= 0)
    photos = photos[np.argsort(crawl.identity[photos], kind="stable")]
    bounds = np.flatnonzero(np.diff(crawl.identity[photos])) + 1
    result = {}
    for members in np.split(photos, bounds):
        if len(members):
            labels = linked(crawl.vectors[crawl.face[members]], link)
            parts = [members[labels == k] for k in range(labels.max() + 1)]
            result[int(crawl.identity[members[0]])] = sorted(parts, key=lambda p: (-len(p), p[0]))
    return result


def linked(vectors: np.ndarray, link: float) -> np.ndarray:
    """int64[n]: groups by average linkage at a mean similarity of `link`. Of many, a part is grouped and
    the rest joins the nearest group."""
    if len(vectors) == 1:
        return np.zeros(1, np.int64)
    from scipy.cluster.hierarchy import fcluster, linkage

    part = vectors[:_MOST_LINKED]
    if len(vectors) > _MOST_LINKED:
        part = vectors[:: -(-len(vectors) // _MOST_LINKED)]
    distances = 1 - (part @ part.T)[np.triu_indices(len(part), k=1)]
    labels = fcluster(linkage(np.maximum(distances, 0), "average"), 1 - link, "distance") - 1
    if len(part) == len(vectors):
        return labels.astype(np.int64)
    means = np.stack([part[labels == k].mean(axis=0) for k in range(labels.max() + 1)])
    return np.argmax(vectors @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T, axis=1)


def _mean(crawl: Crawl, photos: np.ndarray) -> np.ndarray:
    mean = crawl.vectors[crawl.face[photos]].mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def _fits(crawl: Crawl, groups: dict[int, list[np.ndarray]]) -> np.ndarray:
    fit = np.full(len(crawl.face), np.nan, np.float32)
    for parts in groups.values():
        core = parts[0]
        total = crawl.vectors[crawl.face[core]].sum(axis=0)
        for number, part in enumerate(parts):
            vectors = crawl.vectors[crawl.face[part]]
            others = total - vectors if number == 0 else np.broadcast_to(total, vectors.shape)
            length = np.linalg.norm(others, axis=1)
            alone = length < 1e-6
            fit[part] = np.where(alone, np.nan, (vectors * others).sum(axis=1) / np.maximum(length, 1e-12))
    return fit


def _same_people(order: list[int], means: np.ndarray, sizes: np.ndarray, limits: Limits) -> list[SamePerson]:
    index, similarity = nearest(means, means, _CANDIDATES)
    found: dict[tuple[int, int], float] = {}
    for a in range(len(order)):
        for b, score in zip(index[a].tolist(), similarity[a].tolist(), strict=True):
            if a == b or score < limits.same[_size_class(min(sizes[a], sizes[b]))]:
                continue
            small, large = sorted((a, b), key=lambda i: (sizes[i], -i))
            found[order[small], order[large]] = score
    pairs = [SamePerson(a, b, round(score, 4)) for (a, b), score in found.items()]
    return sorted(pairs, key=lambda p: (-p.score, p.identity))


def _size_class(size: int) -> int:
    return 0 if size < 2 else 1 if size < 4 else 2


def _strangers(
    crawl: Crawl,
    groups: dict[int, list[np.ndarray]],
    even: set[int],
    order: list[int],
    means: np.ndarray,
    limits: Limits,
) -> tuple[list[Misfiled], list[Mixed]]:
    """Photos outside of their identity's core: somebody else's, or another person under this name."""
    place = {identity: i for i, identity in enumerate(order)}
    parts = [(i, part) for i, split in groups.items() for part in split[1:]]
    parts += [(i, groups[i][0]) for i in sorted(even)]
    if not parts:
        return [], []
    queries = np.stack([_mean(crawl, part) for _, part in parts])
    index, similarity = nearest(queries, means, 3)
    misfiled: list[Misfiled] = []
    mixed: list[Mixed] = []
    for row, (identity, part) in enumerate(parts):
        own = float(queries[row] @ means[place[identity]])
        best = [
            (s, order[j]) for j, s in zip(index[row], similarity[row], strict=True) if order[j] != identity
        ]
        fit, other = best[0] if best else (-1.0, -1)
        is_core = part is groups[identity][0]
        if fit >= limits.belongs:
            misfiled += [
                Misfiled(int(p), other, round(float(fit - (0 if is_core else own)), 4)) for p in part
            ]
        elif is_core:
            continue
        elif len(part) == 1 and identity not in even:
            misfiled.append(Misfiled(int(part[0]), -1, round(1 - own, 4)))
        else:
            mixed.append(Mixed(identity, tuple(part.tolist()), round(1 - own, 4)))
    return (
        sorted(misfiled, key=lambda m: (m.other < 0, -m.score, m.photo)),
        sorted(mixed, key=lambda m: (-len(m.photos), -m.score)),
    )
