"""What a grouping hands on of the user's decisions: what came of them, and which faces they mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transforms.constraints import Constraints
from transforms.corrections import Anchor, anchors_cell
from transforms.decisions import Decisions
from transforms.people import CORE, Assignment
from transforms.references import ANCHORS, best_faces
from transforms.tables import BY_CORRECTION, BY_GROUPING, NO_FACE_AT_ALL


def corrected(constraints: Constraints, count: int) -> np.ndarray:
    """str[n]: what each face's assignment goes back to."""
    source = np.full(count, BY_GROUPING, object)
    source[constraints.apart.ravel()] = BY_CORRECTION
    for tie in constraints.ties:
        source[tie.faces] = BY_CORRECTION
    source[constraints.absent] = NO_FACE_AT_ALL
    return source


def renewed_anchors(decisions: Decisions, face_ids: Sequence[str], found: Assignment) -> dict[str, str]:
    """The anchors that the revision keeps, by correction: of lines that were made by hand, and of people
    of whose anchors more than half are gone. These get others of the person they belong to now."""
    row = {face: i for i, face in enumerate(face_ids)} if decisions.corrections else {}
    kept = dict(decisions.kept)
    members: dict[int, tuple[str, ...]] = {}
    for correction in decisions.corrections:
        anchors = dict(correction.anchors)
        for text, anchor in correction.anchors.items():
            here = [f for f in anchor.faces if f in row]
            numbers = found.group[[row[f] for f in here]]
            numbers = numbers[numbers >= 0]
            if anchor.exact or 2 * len(here) >= min(len(anchor.faces), ANCHORS) or not len(numbers):
                continue
            number = int(np.bincount(numbers).argmax())
            if number not in members:
                rows = np.flatnonzero(found.group == number)
                ids = [face_ids[r] for r in rows.tolist()]
                members[number] = best_faces(ids, found.confidence[rows], found.role[rows] == CORE)
            anchors[text] = Anchor(tuple(dict.fromkeys([*here, *members[number]]))[:ANCHORS], False)
        if anchors != dict(correction.anchors):
            kept[correction.id] = anchors_cell(anchors)
    return kept
