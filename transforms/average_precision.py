"""Average precision of detections: the area under precision over recall, as scores fall."""

from __future__ import annotations

import numpy as np


def precision_recall(scores: np.ndarray, true: np.ndarray, labelled: int) -> tuple[np.ndarray, np.ndarray]:
    """(precision, recall) float64[m] at every score that occurs, the highest first.

    `scores` float[n] and `true` bool[n] are of the finds that count; `labelled` the number of faces there
    were to find. Finds of one score enter together.
    """
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    ordered = np.asarray(scores, float)[order]
    hits = np.cumsum(np.asarray(true, bool)[order])
    last = np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]
    found = np.flatnonzero(last) + 1
    return hits[last] / found, hits[last] / max(1, labelled)


def average_precision(scores: np.ndarray, true: np.ndarray, labelled: int) -> float:
    """The area under the curve whose precision at a recall is the best at that recall or beyond
    (Pascal VOC from 2010 on, and WIDER FACE). nan where there was nothing to find."""
    if not labelled:
        return float("nan")
    precision, recall = precision_recall(scores, true, labelled)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * best))
