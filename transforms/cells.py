"""Coarse cells: regions of the sphere so chosen that faces alike share one, and none holds too many."""

from __future__ import annotations

import warnings

import numpy as np

# A cell is meant to be filled to this share of what it may hold: samples err, and density varies.
_FILL = 0.8
_SAMPLE_PER_CELL = 48
_BLOCK = 8192


def sample_size(faces: int, *, most: int, probes: int) -> int:
    """How many faces `plan_cells` wants to see to plan cells for `faces`."""
    return min(faces, _cells(faces, most=most, probes=probes) * _SAMPLE_PER_CELL)


def _cells(faces: int, *, most: int, probes: int) -> int:
    return max(1, round(faces * probes / (most * _FILL)))


def plan_cells(sample: np.ndarray, *, faces: int, most: int, probes: int, seed: int) -> np.ndarray:
    """float32[c, d]: the centres of cells for `faces` faces, each in its nearest `probes`.

    `sample` float32[m, d] unit vectors taken evenly from all faces. Spherical k-means; then a cell
    whose share of the sample stands for more than `most` faces is split again, and again.
    """
    probes = max(1, probes)
    cells = min(_cells(faces, most=most, probes=probes), len(sample))
    centres = _k_means(sample, cells, seed)
    for _ in range(8):
        found = nearest_cells(sample, centres, probes)
        share = np.bincount(found.ravel(), minlength=len(centres)) * (faces / len(sample))
        crowded = np.flatnonzero(share > most)
        if not len(crowded):
            break
        primary = found[:, 0]
        grown = [np.delete(centres, crowded, axis=0)]
        for cell in crowded.tolist():
            mine = sample[primary == cell]
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
    probes = min(probes, len(centres))
    found = np.empty((len(vectors), probes), np.int32)
    for start in range(0, len(vectors), _BLOCK):
        similarity = vectors[start : start + _BLOCK] @ centres.T
        # No partial sort of torch or numpy promises an order among equals; a few passes of argmax do.
        for probe in range(probes):
            best = similarity.argmax(axis=1)
            found[start : start + _BLOCK, probe] = best
            np.put_along_axis(similarity, best[:, None], -2, axis=1)
    return found
