"""Non-maximum suppression: of boxes that overlap much, the one with the best score stays.

The boxes of many photos go through it at once, each box among those of its own photo or level.
"""

from __future__ import annotations

import numpy as np

from models.jit import compiled


def by_union(boxes: np.ndarray, scores: np.ndarray, threshold: float, *, among: np.ndarray) -> np.ndarray:
    """Indices of the boxes that stay: int64[m].

    `boxes` float32[n, 4] (x0, y0, x1, y1), `scores` float32[n]. A box goes when a better one that
    stays overlaps it by more than `threshold`, intersection over union, and has the same number in
    `among`, int64[n]. The boxes of the lowest number come first, of each the best first.
    """
    order = np.lexsort((-scores, among))
    return order[_keep_by_union(boxes[order], among[order], threshold)]


def by_smaller(boxes: np.ndarray, scores: np.ndarray, threshold: float, *, among: np.ndarray) -> np.ndarray:
    """As `by_union`, by the overlap's share of the smaller box; boxes include their last pixel.

    O-Net's last step: a face inside another's box is dropped even where their union is large.
    """
    order = np.lexsort((-scores, among))
    return order[_keep_by_smaller(boxes[order], among[order], threshold)]


@compiled
def _keep_by_union(boxes, among, threshold):
    keep = np.ones(len(boxes), np.bool_)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for i in range(len(boxes)):
        if not keep[i]:
            continue
        for j in range(i + 1, len(boxes)):
            if among[j] != among[i]:
                break
            if keep[j]:
                wide = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0])
                high = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1])
                if wide > 0 and high > 0:
                    overlap = wide * high
                    keep[j] = overlap <= threshold * (areas[i] + areas[j] - overlap)
    return keep


@compiled
def _keep_by_smaller(boxes, among, threshold):
    keep = np.ones(len(boxes), np.bool_)
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    for i in range(len(boxes)):
        if not keep[i]:
            continue
        for j in range(i + 1, len(boxes)):
            if among[j] != among[i]:
                break
            if keep[j]:
                wide = min(boxes[i, 2], boxes[j, 2]) - max(boxes[i, 0], boxes[j, 0]) + 1
                high = min(boxes[i, 3], boxes[j, 3]) - max(boxes[i, 1], boxes[j, 1]) + 1
                if wide > 0 and high > 0:
                    keep[j] = wide * high <= threshold * min(areas[i], areas[j])
    return keep
