"""Coarse cells: regions of the sphere so chosen that faces alike are near one, and none holds too many.

A face is at home in its nearest cell, and visits its next ones, but for those that are much farther than
the nearest (SPANN, Chen et al. 2021, section 3.2.2): most faces of someone who is photographed much have
cells of their own and visit few others, while a stranger visits as many places where someone like them may
be as there can be.
"""

from __future__ import annotations

import warnings

import numpy as np

_SAMPLE_PER_CELL = 48
# The parts of a cell that is split hold some such share of what it may hold.
_SPLIT = 0.6
# A cell whose centre is farther than the nearest by more than this share, in 1 - cosine, is too far; by less
# where the nearest is nearer than `NEAR`: more faces of someone lie there than a list of neighbours holds.
FARTHER, NEAR = 0.3, 0.3
# Faces of which their likeness says little look in so many cells however far these are.
UNSURE = 2
_NOWHERE = -1
_BLOCK = 8192


def sample_size(faces: int, *, usual: int) -> int:
    """How many faces `plan_cells` wants to see to plan cells for `faces`."""
    return min(faces, 2 * _cells(faces, usual) * _SAMPLE_PER_CELL)


def _cells(faces: int, usual: int) -> int:
    return max(1, round(faces / usual))


def plan_cells(sample: np.ndarray, *, faces: int, usual: int, most: int, seed: int) -> np.ndarray:
    """float32[c, d]: the centres of cells for `faces` faces, some `usual` at home in each, and `most` where
    more are alike.

    `sample` float32[m, d] unit vectors taken evenly from all faces.
    Spherical k-means of half of them; then a cell whose share of the other half stands for more than
    `most` faces is split, and split again.
    """
    # Centres lie nearer to what they were made of than to other faces.
    second = slice(1, None, 2) if len(sample) > 1 else slice(None)
    learnt, judged = sample[::2], sample[second]
    centres = _k_means(learnt, min(_cells(faces, usual), len(learnt)), seed)
    for _ in range(8):
        home = nearest_cells(judged, centres, 1)[:, 0]
        share = np.bincount(home, minlength=len(centres)) * (faces / len(judged))
        crowded = np.flatnonzero(share > most)
        if not len(crowded):
            break
        home = nearest_cells(learnt, centres, 1)[:, 0]
        grown = [np.delete(centres, crowded, axis=0)]
        for cell in crowded.tolist():
            mine = learnt[home == cell]
            parts = min(int(np.ceil(share[cell] / (most * _SPLIT))), len(mine))
            grown.append(_k_means(mine, parts, seed) if parts > 1 else centres[cell : cell + 1])
        split = np.concatenate(grown)
        if len(split) == len(centres):
            break  # copies of one face can't be split by where they lie
        centres = split
    return centres


def _k_means(vectors: np.ndarray, cells: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    # One thread sums in one order. Copies of a face make fewer cells than asked for, which is right.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = KMeans(cells, n_init=1, max_iter=12, random_state=seed, init="random").fit(vectors)
    centres = found.cluster_centers_.astype(np.float32)
    return centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)


def nearest_cells(vectors: np.ndarray, centres: np.ndarray, probes: int) -> np.ndarray:
    """int32[n, min(probes, c)]: each vector's nearest cells, the nearest first; of equals the first."""
    return _nearest(vectors, centres, probes)[0]


def near_cells(
    vectors: np.ndarray, centres: np.ndarray, probes: int, *, unsure: np.ndarray | None = None
) -> np.ndarray:
    """int32[n, min(probes, c)]: as `nearest_cells`, but -1 for those that are too far; the nearest is not.

    Of `unsure` bool[n] faces two are never too far: blurred faces are about as far from one cell as from
    the next, and have to meet clear ones.
    """
    found, similarity = _nearest(vectors, centres, probes)
    distance = 1 - similarity
    nearest = distance[:, :1]
    near = distance <= nearest * (1 + FARTHER * np.minimum(nearest / NEAR, 1))
    if unsure is not None:
        near[:, :UNSURE] |= unsure[:, None]
    return np.where(near, found, _NOWHERE)


def _nearest(vectors: np.ndarray, centres: np.ndarray, probes: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest cells, int32[n, min(probes, c)], and float32 their centres' cosines."""
    probes = min(probes, len(centres))
    found = np.empty((len(vectors), probes), np.int32)
    similarity = np.empty((len(vectors), probes), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        rows = slice(start, start + _BLOCK)
        cosine = vectors[rows] @ centres.T
        # No partial sort of torch or numpy promises an order among equals; a few passes of argmax do.
        for probe in range(probes):
            best = cosine.argmax(axis=1)[:, None]
            found[rows, probe] = best[:, 0]
            similarity[rows, probe] = np.take_along_axis(cosine, best, axis=1)[:, 0]
            np.put_along_axis(cosine, best, -2, axis=1)
    return found, similarity
