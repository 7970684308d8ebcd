"""``albumen compare``: do two photographs show the same person?"""

from __future__ import annotations

import numpy as np

from models.calibration import shipped_calibration
from models.same_person import PAPER_DISTANCE, shipped_same_person
from pipeline.photo_faces import PhotoReader, place, with_faces
from transforms.verification import centred


def compare(
    first: str, second: str, *, embedder: str | None = None, mirror: bool = False
) -> tuple[list[str], dict[str, object]]:
    """Every face of one photo with every face of the other: distance, and verdicts at both thresholds.

    Raises UsageError where a photo can't be read or has no face, WeightsError.
    """
    reader = PhotoReader.default(embedder, mirror=mirror)
    left, right = with_faces(reader, first), with_faces(reader, second)
    known = shipped_calibration(reader.spec.describe())
    learnt = shipped_same_person(reader.spec.describe())
    lines, pairs = [], []
    for i, a in enumerate(left.vectors):
        for j, b in enumerate(right.vectors):
            distance = squared_distance(a, b)
            pair: dict[str, object] = {
                "first": i, "second": j, "distance": distance, "same_at_1.1": distance <= PAPER_DISTANCE
            }  # fmt: skip
            said = verdict(distance, PAPER_DISTANCE)
            text = f"distance {distance:.3f}: {said} at the paper's {PAPER_DISTANCE}"
            if known is not None and learnt is not None:
                moved = squared_distance(*centred(np.stack([a, b]), known.centre))
                pair |= {"centred_distance": moved, "same": moved <= learnt.distance}
                text += (
                    f"; centred {moved:.3f}: {verdict(moved, learnt.distance)} at the calibrated "
                    f"{learnt.distance:.3f} (FAR {learnt.far:.0e})"
                )
            pairs.append(pair)
            lines.append(
                f"{left.name} {place(left.faces[i])} and {right.name} {place(right.faces[j])}: {text}"
            )
    if learnt is None or known is None:
        lines.append(
            f"{reader.spec.name}{' with mirror images' if mirror else ''} has no calibrated threshold: the "
            "paper's is for another network, and no more than a hint"
        )
    thresholds = {"paper": PAPER_DISTANCE, "calibrated": None if learnt is None else learnt.distance}
    return lines, {"thresholds": thresholds, "pairs": pairs}


def squared_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared L2 distance between two vectors."""
    return float(((a.astype(np.float64) - b.astype(np.float64)) ** 2).sum())


def verdict(distance: float, threshold: float) -> str:
    """In words."""
    return "the same person" if distance <= threshold else "two people"
