"""What speed must not cost: which labelled faces are found, and whether vectors still tell people apart.

For ``albumen bench index``, beside its speeds: the detectors of its loops on photos with labelled boxes
(WIDER FACE), and LFW's pairs by vectors of the precision that is measured and by those of float32.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.contenders import ALBUMEN, REDUCED, REDUCED_SIDE, REFERENCE
from pipeline.evaluate_detection import (
    HEIGHTS,
    SCORED_FROM,
    Detected,
    albumen_detector,
    detect_all,
    read_boxes,
    reference_detector,
)
from pipeline.evaluate_lfw import learnt_centre, numbered_pairs, pair_distances_of
from pipeline.face_vectors import FaceVectors
from pipeline.labelled import Workplace, labelled_faces
from transforms.detection_scores import detection_scores, heights
from transforms.face_view import FaceView
from transforms.library import Library
from transforms.verification import centred, fold_accuracy

_EXACT = "float32"
_SAME = FaceView(flip=True)  # read from the photos anew: plain vectors are the library's own


def detection_quality(photos: str, boxes: str, *, precision: str) -> tuple[list[str], dict[str, object]]:
    """Recall and precision of all loops' detectors, and by height what Albumen misses against each."""
    truths = read_boxes(boxes)
    found = {
        REFERENCE: detect_all(REFERENCE, reference_detector(), photos, truths),
        REDUCED: detect_all(REDUCED, reference_detector(long_side=REDUCED_SIDE), photos, truths),
        ALBUMEN: detect_all(ALBUMEN, albumen_detector(precision=precision), photos, truths),
    }
    lines = [f"{len(truths)} photos with labelled faces, from {SCORED_FROM} pixels:"]
    facts: dict[str, object] = {}
    for name, detected in found.items():
        scores = detection_scores(list(detected.photos.values()), lowest=SCORED_FROM)
        lines.append(
            f"  {name:<10} recall {scores.recall:.4f} of {scores.labelled} faces, precision "
            f"{scores.precision:.4f}, {detected.failures} photos failed"
        )
        facts[name] = {"recall": scores.recall, "precision": scores.precision, "failures": detected.failures}
    for other in (REFERENCE, REDUCED):
        by_height = missed_against(found[other], found[ALBUMEN])
        facts[f"missed_against_{other}"] = by_height
        told = ", ".join(f"{name} {lost} and {won}" for name, (lost, won) in by_height.items())
        lines.append(f"  faces that only {other} finds, and that only albumen finds: {told}")
    return lines, facts


def missed_against(other: Detected, ours: Detected) -> dict[str, tuple[int, int]]:
    """By height: how many labelled faces only `other` finds, and how many only `ours`."""
    result = {}
    for low, high in pairwise(HEIGHTS):
        lost = won = 0
        for photo, theirs in other.photos.items():
            tall = heights(theirs.truth.boxes)
            wanted = theirs.truth.scored & (tall >= low) & (tall < high)
            missed_theirs, missed_ours = np.zeros((2, len(tall)), bool)
            missed_theirs[theirs.missed()] = True
            missed_ours[ours.photos[photo].missed()] = True
            lost += int((wanted & missed_ours & ~missed_theirs).sum())
            won += int((wanted & missed_theirs & ~missed_ours).sum())
        result[f"{low:.0f} to {high:.0f} px" if np.isfinite(high) else f"from {low:.0f} px"] = (lost, won)
    return result


def verification_quality(library: str, pairs: str, *, precision: str) -> tuple[list[str], dict[str, object]]:
    """LFW's ten folds by vectors of `precision` and of float32, from the boxes of a library that holds LFW.

    Mirror images are embedded for both, since the library's own vectors may be of any precision.
    """
    faces = labelled_faces(Library.open(library))
    folds = numbered_pairs(faces, Path(pairs))
    lines: list[str] = ["LFW's pairs, by mirror images of the faces of the library:"]
    facts: dict[str, object] = {}
    vectors: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory(prefix="albumen-bench-") as folder:
        for way in dict.fromkeys((precision, _EXACT)):
            work = Workplace(folder, "", quiet=True)
            vectors[way] = FaceVectors(faces, work, precision=way).embed(_SAME)
            accuracies = []
            for used in (vectors[way], centred(vectors[way], learnt_centre(faces, vectors[way]))):
                score = fold_accuracy(pair_distances_of(folds, used), folds.same, folds.folds)
                accuracies.append((score.mean, score.standard_error))
            (raw, raw_error), (middle, middle_error) = accuracies
            lines.append(
                f"  {way:<10} accuracy {raw:.4f} ± {raw_error:.4f}, centred {middle:.4f} ± {middle_error:.4f}"
            )
            facts[way] = {"accuracy": raw, "centred": middle}
    if precision != _EXACT:
        cosine = np.einsum("ij,ij->i", vectors[precision], vectors[_EXACT])
        facts["least_cosine"] = float(cosine.min())
        lines.append(
            f"  cosine of both vectors of a face: {cosine.min():.5f} at least, {np.median(cosine):.5f} mostly"
        )
    return lines, facts
