"""Coarse cells: regions of the sphere so chosen that faces alike share one, and none holds too many.

A face lies in its nearest cells, but for those that are much farther than the nearest: most faces of
someone who is photographed much have cells of their own, and are surely in one of these, while a stranger
has as many places to meet who is like them as may be (as SPANN has it, Chen et al. 2021, section 3.2.2).
"""

from __future__ import annotations

import warnings

import numpy as np

# A cell is meant to be filled to this share of what it may hold: samples err, and density varies.
_FILL = 0.8
_SAMPLE_PER_CELL = 48
# A cell whose centre is farther than the nearest by more than this share, in 1 - cosine, is too far.
_FARTHER = 0.2
# Faces of which their likeness says little lie in so many cells however far these are.
_UNSURE = 2
_NOWHERE = -1
_BLOCK = 8192


def sample_size(faces: int, *, most: int, probes: int) -> int:
    """How many faces `plan_cells` wants to see to plan cells for `faces`."""
    return min(faces, 2 * _cells(faces, most=most, probes=probes) * _SAMPLE_PER_CELL)


def _cells(faces: int, *, most: int, probes: int) -> int:
    return max(1, round(faces * probes / (most * _FILL)))


def plan_cells(sample: np.ndarray, *, faces: int, most: int, probes: int, seed: int) -> np.ndarray:
    """float32[c, d]: the centres of cells for `faces` faces, each in at most `probes` of them.

    `sample` float32[m, d] unit vectors taken evenly from all faces.
    Spherical k-means of half of them; then a cell whose share of the other half stands for more than
    `most` faces is split again, and again.
    """
    probes = max(1, probes)
    # Centres lie nearer to what they were made of than to other faces.
    second = slice(1, None, 2) if len(sample) > 1 else slice(None)
    learnt, judged = sample[::2], sample[second]
    cells = min(_cells(faces, most=most, probes=probes), len(learnt))
    centres = _k_means(learnt, cells, seed)
    for _ in range(8):
        found = near_cells(judged, centres, probes)
        share = np.bincount(found[found != _NOWHERE], minlength=len(centres)) * (faces / len(judged))
        crowded = np.flatnonzero(share > most)
        if not len(crowded):
            break
        primary = nearest_cells(learnt, centres, 1)[:, 0]
        grown = [np.delete(centres, crowded, axis=0)]
        for cell in crowded.tolist():
            mine = learnt[primary == cell]
            parts = min(int(np.ceil(share[cell] / (most * _FILL))), len(mine))
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
    """int32[n, min(probes, c)]: as `nearest_cells`, but -1 for those that are too far.

    Of `unsure` bool[n] faces two are never too far: blurred faces are about as far from one cell as from
    the next, and have to meet clear ones.
    """
    found, similarity = _nearest(vectors, centres, probes)
    distance = 1 - similarity
    near = distance <= distance[:, :1] * (1 + _FARTHER)
    if unsure is not None:
        near[:, :_UNSURE] |= unsure[:, None]
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
