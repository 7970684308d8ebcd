"""Neighbours within one cell, however many faces it holds.

A cell with more faces than it may hold is one much-photographed person, mostly in bursts of
near-identical shots. Bursts are collapsed to their first face, the rest is searched, and the other
shots of a burst are compared with what their first face found. What is still too much is searched in
overlapping parts.
"""

from __future__ import annotations

import numpy as np

from transforms.blocked_search import Directed, search, similarities, strongest
from transforms.bursts import BURST, first_of_burst, search_past_bursts
from transforms.probe_search import neighbours_among

_BURST_NEIGHBOURS = 32
_INHERITED = 16
_ROUNDS = 4


def search_cell(
    vectors: np.ndarray, k: int, *, least: float, most: int, bias: np.ndarray | None = None,
    asking: np.ndarray | None = None,
) -> Directed:  # fmt: skip
    """For each of float32[n, d] unit `vectors` the up to `k` others with most similarity ≥ `least`, with
    `bias` float32[n] as in `blocked_search`; those that are only `asking` bool[n] are nobody's neighbours.

    Complete up to `most` faces that are at home; beyond that near-identical ones stand for each other.
    """
    if asking is not None and asking.any():
        return _with_visitors(vectors, k, asking, least=least, most=most, bias=bias)
    if len(vectors) <= most:
        return search_past_bursts(vectors, k, least=least, bias=bias)
    leader = collapse_bursts(vectors, most=most)
    leaders = np.flatnonzero(leader == np.arange(len(vectors)))
    found = _by_parts(vectors[leaders], _of(bias, leaders), k, least=least, most=most)
    face, other = leaders[found.face].astype(np.int32), leaders[found.other].astype(np.int32)
    more_faces, more_others = _inherited(leader, face, other)
    more = similarities(vectors, bias, more_faces, more_others)
    return strongest(
        np.concatenate([face, more_faces, more_others]),
        np.concatenate([other, more_others, more_faces]),
        np.concatenate([found.similarity, more, more]),
        k=k,
        least=least,
    )


def _with_visitors(
    vectors: np.ndarray, k: int, asking: np.ndarray, *, least: float, most: int, bias: np.ndarray | None
) -> Directed:
    home, visitors = np.flatnonzero(~asking), np.flatnonzero(asking)
    found = search_cell(vectors[home], k, least=least, most=most, bias=_of(bias, home))
    asked = neighbours_among(vectors, visitors, k, least=least, bias=bias, base=home)
    face = np.concatenate([home[found.face].astype(np.int32), asked.face])
    other = np.concatenate([home[found.other].astype(np.int32), asked.other])
    order = np.argsort(face, kind="stable")
    return Directed(face[order], other[order], np.concatenate([found.similarity, asked.similarity])[order])


def collapse_bursts(vectors: np.ndarray, *, most: int) -> np.ndarray:
    """int64[n]: for each face the first of its burst, which is itself for most.

    Faces are compared within parts of `most`, along a direction in which they differ; several
    directions are taken, until `most` faces or fewer stand for all. Every face is at least `BURST`
    alike to the one that stands for it.
    """
    leader = np.arange(len(vectors))
    generator = np.random.default_rng(0)
    for _ in range(_ROUNDS):
        alone = np.flatnonzero(leader == np.arange(len(vectors)))
        if len(alone) <= most:
            break
        direction = np.asarray(generator.standard_normal(vectors.shape[1], np.float32))
        along = alone[np.argsort(_along(vectors[alone], direction), kind="stable")]
        for start in range(0, len(along), most):
            part = np.sort(along[start : start + most])
            found = search(vectors[part], _BURST_NEIGHBOURS, least=BURST)
            leader[part] = part[first_of_burst(len(part), found.face, found.other)]
        leader = _with_followers_near(vectors, leader)
    return leader


def _with_followers_near(vectors: np.ndarray, leader: np.ndarray) -> np.ndarray:
    """Who followed a face that now follows another goes along if it is near that one, else stands alone."""
    final = leader[leader]
    moved = np.flatnonzero(final != leader)
    near = similarities(vectors, None, moved, final[moved]) >= BURST
    final[moved[~near]] = moved[~near]
    # One that stands alone again leads nobody: its own followers were moved with it.
    return final


def _inherited(leader: np.ndarray, face: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs to compare for faces that another stands for: with that one, with the first faces of its
    best neighbours, and with the next shots of the burst."""
    follower = np.flatnonzero(leader != np.arange(len(leader))).astype(np.int32)
    first = np.searchsorted(face, leader[follower])
    last = np.searchsorted(face, leader[follower], side="right")
    pairs = [(follower, leader[follower].astype(np.int32))]
    for rank in range(_INHERITED):
        has = first + rank < last
        pairs.append((follower[has], other[first[has] + rank]))
    by_burst = follower[np.argsort(leader[follower], kind="stable")]
    for step in range(1, _INHERITED + 1):
        a, b = by_burst[:-step], by_burst[step:]
        same = leader[a] == leader[b]
        pairs.append((a[same], b[same]))
    return np.concatenate([p[0] for p in pairs]), np.concatenate([p[1] for p in pairs])


def _along(vectors: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """float32[n]: products that don't depend on how many threads the linear algebra has."""
    return np.einsum("ij,j->i", vectors, direction.astype(vectors.dtype))


def _of(bias: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if bias is None else bias[rows]


def _by_parts(vectors: np.ndarray, bias: np.ndarray | None, k: int, *, least: float, most: int) -> Directed:
    """In one piece where that may be; else in parts along the direction in which faces differ most, each
    overlapping the next by half."""
    if len(vectors) <= most:
        return search(vectors, k, least=least, bias=bias)
    middle = vectors.mean(axis=0)
    sample = vectors[:: max(1, len(vectors) // 4096)] - middle
    direction = np.linalg.eigh(np.einsum("ij,ik->jk", sample, sample))[1][:, -1]
    along = np.argsort(_along(vectors, direction), kind="stable")
    faces, others, similarity = [], [], []
    for start in range(0, len(vectors) - most // 2, max(1, most // 2)):
        part = np.sort(along[start : start + most])
        found = search(vectors[part], k, least=least, bias=_of(bias, part))
        faces.append(part[found.face].astype(np.int32))
        others.append(part[found.other].astype(np.int32))
        similarity.append(found.similarity)
    return strongest(
        np.concatenate(faces), np.concatenate(others), np.concatenate(similarity), k=k, least=least
    )
