"""Same person or not, over a given list of pairs: area under the ROC curve and equal error rate."""

from __future__ import annotations

import numpy as np


def area_under_curve(distances: np.ndarray, same: np.ndarray) -> float:
    """How often a pair of one person, drawn at random, is nearer than a pair of two; ties count half.

    `distances` float[n], `same` bool[n]. Raises ValueError without pairs of both kinds.
    """
    from sklearn.metrics import roc_auc_score

    _check_both(same)
    return float(roc_auc_score(same, -np.asarray(distances, float)))


def equal_error_rate(distances: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """(rate, distance) at which as many pairs of two people are accepted as of one person refused.

    Between two neighbouring distances the ROC curve is taken as a straight line; the distance is the
    nearer end's. Raises ValueError without pairs of both kinds.
    """
    _check_both(same)
    levels, false_accepts, false_rejects = error_curves(distances, same)
    gap = false_accepts - false_rejects  # grows from -1 to 1
    k = int(np.argmax(gap >= 0))
    before = gap[k - 1]  # k > 0: the first gap is -1
    share = -before / (gap[k] - before)
    rate = false_accepts[k - 1] + share * (false_accepts[k] - false_accepts[k - 1])
    return float(rate), float(levels[k] if share >= 0.5 else levels[k - 1])


def error_curves(distances: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(levels, FAR, 1 - VAL), float64[m]: the errors when pairs up to each level are called the same.

    The levels are every distance that occurs, and before them one below all, at which nothing is accepted.
    """
    distances = np.asarray(distances, np.float64)
    levels = np.unique(distances)
    levels = np.concatenate([[np.nextafter(levels[0], -np.inf)], levels])
    near, far = np.sort(distances[same]), np.sort(distances[~same])
    false_accepts = np.searchsorted(far, levels, side="right") / len(far)
    false_rejects = 1 - np.searchsorted(near, levels, side="right") / len(near)
    return levels, false_accepts, false_rejects


def _check_both(same: np.ndarray) -> None:
    if same.all() or not same.any():
        raise ValueError("a ROC curve needs pairs of one person and pairs of two people")
