"""How well groups match people: pairwise, BCubed and V-measure scores, and purity.

Pairwise and BCubed (Bagga & Baldwin 1998; Amigó et al. 2009, who show that of the usual measures
only BCubed meets all they ask of one). Faces that are left ungrouped must come with labels of
their own, so that they count as groups of one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy.sparse import coo_matrix
from sklearn.metrics import homogeneity_completeness_v_measure


@dataclass(frozen=True)
class ClusteringScores:
    """Scores in 0 to 1, and counts. `purity` is the share of faces in a group whose person has most of it."""

    pairwise_precision: float
    pairwise_recall: float
    pairwise_f: float
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f: float
    v_measure: float
    purity: float
    faces: int
    people: int
    groups: int
    largest_group: int
    single_groups: int

    def as_dict(self) -> dict[str, float]:
        """The scores by name."""
        return asdict(self)


def clustering_scores(truth: np.ndarray, groups: np.ndarray) -> ClusteringScores:
    """Scores `groups` int[n] against the people `truth` int[n]. Raises ValueError without faces."""
    if not len(truth):
        raise ValueError("there are no faces to score")
    _, people = np.unique(truth, return_inverse=True)
    _, found = np.unique(groups, return_inverse=True)
    table = coo_matrix((np.ones(len(people)), (people, found))).tocsr()  # sums duplicates
    cells = table.data
    person_sizes = np.asarray(table.sum(axis=1)).ravel()
    group_sizes = np.asarray(table.sum(axis=0)).ravel()
    rows, columns = table.nonzero()

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1)).sum() / 2)

    joint, in_groups, in_people = pairs(cells), pairs(group_sizes), pairs(person_sizes)
    pair_precision = joint / in_groups if in_groups else 1.0
    pair_recall = joint / in_people if in_people else 1.0
    bcubed_precision = float((cells**2 / group_sizes[columns]).sum() / len(people))
    bcubed_recall = float((cells**2 / person_sizes[rows]).sum() / len(people))
    return ClusteringScores(
        pairwise_precision=pair_precision,
        pairwise_recall=pair_recall,
        pairwise_f=_f(pair_precision, pair_recall),
        bcubed_precision=bcubed_precision,
        bcubed_recall=bcubed_recall,
        bcubed_f=_f(bcubed_precision, bcubed_recall),
        v_measure=float(homogeneity_completeness_v_measure(people, found)[2]),
        purity=float(table.max(axis=0).sum() / len(people)),
        faces=len(people),
        people=len(person_sizes),
        groups=len(group_sizes),
        largest_group=int(group_sizes.max()),
        single_groups=int((group_sizes == 1).sum()),
    )


def _f(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
