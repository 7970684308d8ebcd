"""Neighbours within one cell, however many faces it holds.

Those who are at home in it are compared with each other, and near-identical shots stand for each other from
then on (`bursts`); then its visitors ask those who are left. A cell with more faces than it may hold is one
much-photographed person, mostly in bursts: these are found in parts of it, before all that are left are
compared. What is still too much is searched in overlapping parts.
"""

from __future__ import annotations

import numpy as np

from transforms.blocked_search import Directed, search, similarities, strongest
from transforms.bursts import BURST, first_of_burst, search_past_bursts
from transforms.probe_search import neighbours_among

_BURST_NEIGHBOURS = 32
_ROUNDS = 4
# Visitors are compared so many at a time: memory doesn't go with their number.
_VISITORS = 16_384


def search_home(
    vectors: np.ndarray, k: int, *, least: float, most: int, bias: np.ndarray | None = None
) -> tuple[Directed, np.ndarray]:
    """As `bursts.search_past_bursts`, for those who are at home in a cell, float32[n, d] unit `vectors`:
    complete up to `most` faces."""
    if len(vectors) <= most:
        return search_past_bursts(vectors, k, least=least, bias=bias)
    first = collapse_bursts(vectors, most=most)
    follower = np.flatnonzero(first != np.arange(len(vectors))).astype(np.int32)
    stood_for = first[follower].astype(np.int32)
    stands = np.ones(len(vectors), bool)
    stands[follower] = False
    alike = similarities(vectors, bias, follower, stood_for)
    found = [(follower, stood_for, alike)]
    for part in _parts(vectors, np.flatnonzero(stands), most):
        part = part[stands[part]]
        near, left = search_past_bursts(vectors[part], k, least=least, bias=_of(bias, part))
        stands[part[~left]] = False
        found.append((part[near.face].astype(np.int32), part[near.other].astype(np.int32), near.similarity))
    columns = (np.concatenate(column) for column in zip(*found, strict=True))
    return strongest(*columns, k=k, least=least), stands


def search_visitors(
    home: np.ndarray, visitors: np.ndarray, k: int, *, least: float,
    biases: tuple[np.ndarray, np.ndarray] | None = None,
) -> Directed:  # fmt: skip
    """For each of float32[m, d] `visitors` the up to `k` most alike, with similarity ≥ `least`, of those at
    `home`, float32[n, d]: `face` counts among visitors, `other` among these. `biases`: float32[n], [m]."""
    faces, others, similarity = [], [], []
    for start in range(0, len(visitors), _VISITORS):
        asking = visitors[start : start + _VISITORS]
        bias = None if biases is None else np.append(biases[0], biases[1][start : start + _VISITORS])
        found = neighbours_among(
            np.concatenate([home, asking]), len(home) + np.arange(len(asking)), k, least=least, bias=bias,
            base=np.arange(len(home)),
        )  # fmt: skip
        faces.append(found.face + np.int32(start - len(home)))
        others.append(found.other)
        similarity.append(found.similarity)
    return Directed(np.concatenate(faces), np.concatenate(others), np.concatenate(similarity))


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


def _along(vectors: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """float32[n]: products that don't depend on how many threads the linear algebra has."""
    return np.einsum("ij,j->i", vectors, direction.astype(vectors.dtype))


def _of(bias: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if bias is None else bias[rows]


def _parts(vectors: np.ndarray, rows: np.ndarray, most: int) -> list[np.ndarray]:
    """int64[m] `rows` in one piece of at most `most`, or in pieces along the direction in which they differ
    most, each overlapping the next by half."""
    if len(rows) <= most:
        return [rows]
    chosen = vectors[rows]
    sample = chosen[:: max(1, len(rows) // 4096)] - chosen.mean(axis=0)
    direction = np.linalg.eigh(np.einsum("ij,ik->jk", sample, sample))[1][:, -1]
    along = rows[np.argsort(_along(chosen, direction), kind="stable")]
    starts = range(0, len(along) - most // 2, max(1, most // 2))
    return [np.sort(along[start : start + most]) for start in starts]
