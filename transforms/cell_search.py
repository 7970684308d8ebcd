"""Neighbours within one cell, or among all faces of a small library, however many these are.

Near-identical shots stand for each other (`bursts`): most are found in a small part of all pairs. Then those
who are left of the faces at home are compared with each other, and then visitors ask them. A cell with more
faces than it may hold is one much-photographed person: it is searched in overlapping parts.
"""

from __future__ import annotations

import numpy as np

from transforms.bursts import collapse_bursts, followed, search_past_bursts
from transforms.edge_lists import Directed, strongest
from transforms.probe_search import neighbours_among

# Visitors are compared so many at a time: memory doesn't go with their number.
_VISITORS = 16_384


def search_home(
    vectors: np.ndarray, k: int, *, least: float, most: int, bias: np.ndarray | None = None, threads: int = 1
) -> tuple[Directed, np.ndarray]:
    """For each of those who are at home in a cell, float32[n, d] unit `vectors`, the up to `k` others with
    most similarity ≥ `least` (as in `blocked_search.search`), with bursts collapsed; and bool[n] which faces
    stand for themselves. Complete where these are `most` or fewer."""
    leader = collapse_bursts(vectors, threads=threads)
    stands = leader == np.arange(len(vectors))
    found = [followed(vectors, leader, bias)]
    for part in _parts(vectors, np.flatnonzero(stands), most):
        part = part[stands[part]]
        near, left = search_past_bursts(
            _of(vectors, part), k, least=least, bias=None if bias is None else bias[part], threads=threads
        )
        stands[part[~left]] = False
        found.append(near.numbered(part))
    return strongest(*Directed.together(found).columns(), k=k, least=-np.inf), stands


def search_visitors(
    home: np.ndarray, visitors: np.ndarray, k: int, *, least: float,
    biases: tuple[np.ndarray, np.ndarray] | None = None,
) -> Directed:  # fmt: skip
    """For each of float32[m, d] `visitors` the up to `k` most alike, with similarity ≥ `least`, of those at
    `home`, float32[n, d]: `face` counts among visitors, `other` among these. `biases`: float32[n], [m]."""
    found = []
    for start in range(0, len(visitors), _VISITORS):
        asking = visitors[start : start + _VISITORS]
        bias = None if biases is None else np.append(biases[0], biases[1][start : start + _VISITORS])
        near = neighbours_among(
            np.concatenate([home, asking]), len(home) + np.arange(len(asking)), k, least=least, bias=bias,
            base=np.arange(len(home)),
        )  # fmt: skip
        found.append(Directed(near.face + np.int32(start - len(home)), near.other, near.similarity))
    return Directed.together(found)


def _along(vectors: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """float32[n]: products that don't depend on how many threads the linear algebra has."""
    return np.einsum("ij,j->i", vectors, direction.astype(vectors.dtype))


def _of(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Those rows, ascending: no copy of all."""
    return vectors if len(rows) == len(vectors) else vectors[rows]


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
