"""``albumen evaluate clusters``: how well the people of a labelled archive are grouped.

Whose face is where says a folder per person, as LFW has it, a file of labels, or a tree of folders with
copies of photos. A photo whose labelled face was not found counts as a face of its own that is like nobody.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import asdict

import numpy as np

from pipeline.label_tree import photos_of_tree
from pipeline.labelled import LabelledPhotos, labelled_photos
from pipeline.options import UsageError
from transforms.clustering_scores import ClusteringScores, clustering_scores
from transforms.library import Library, LibraryError
from transforms.tables import FACE_ID, PERSON_ID


def clusters(library: Library, labels: str | None = None) -> tuple[list[str], dict[str, object]]:
    """The current people against LABELS, a CSV file or a folder tree; without one against the archive's
    folders: all people, and each half of LFW by the name's hash.

    Raises LibraryError for a library that is not grouped or has none of the photos, UsageError for labels
    that are none or contradict each other.
    """
    revision = library.current_revision()
    if revision is None:
        raise LibraryError(f"{library.path} is not grouped yet: albumen group {library.path}")
    facts: dict[str, object] = {"revision": revision, "grouping": library.read_grouping(revision)}
    lines: list[str] = []
    if labels is None:
        labelled = labelled_photos(library)
        chosen = np.arange(len(labelled.face))
    else:
        labelled, lines, counts = _by_labels(library, labels)
        chosen = _distinct(labelled, labels)
        missing = int((labelled.face[chosen] < 0).sum())
        facts["labels"] = {**counts, "faces": len(chosen), "not_found": missing}
        if missing:
            lines.append(
                f"{missing:,} of {len(chosen):,} labelled faces were not found: each counts as alone"
            )
    assignments = library.read_assignments(revision)
    person = dict(zip(assignments[FACE_ID].to_pylist(), assignments[PERSON_ID].to_pylist(), strict=True))
    groups = np.array(
        [
            (person.get(labelled.face_ids[f]) if f >= 0 else None) or f"alone {i}"
            for i, f in enumerate(labelled.face[chosen])
        ]
    )
    people = labelled.people[chosen]
    parts = [("all", np.ones(len(people), bool))]
    if labels is None:
        learnt = np.array([in_learning_half(path.rpartition("/")[0]) for path in labelled.paths])
        parts += [("learnt on (even hash)", learnt), ("held out (odd hash)", ~learnt)]
    for name, part in parts:
        if part.any():
            scores = clustering_scores(people[part], groups[part])
            facts[name] = scores.as_dict()
            lines.append(f"{name:22} {_described(scores)}" if labels is None else _described(scores))
    return lines, facts


def _by_labels(library: Library, labels: str) -> tuple[LabelledPhotos, list[str], dict[str, object]]:
    """The labelled photos, what to say of them, and what was counted."""
    if os.path.isdir(labels):
        labelled, count = photos_of_tree(library, labels)
        return labelled, count.lines(labels), asdict(count)
    labelled = labelled_photos(library, labels)
    return labelled, [], {"photos": len(set(labelled.paths))}


def _distinct(labelled: LabelledPhotos, source: str) -> np.ndarray:
    """int64[m]: the labels without those that say again what a copy of the photo said, one for each face.

    Raises UsageError where two labels mean one face and different people.
    """
    first: dict[object, int] = {}
    for i, face in enumerate(labelled.face.tolist()):
        same = first.setdefault(face if face >= 0 else (labelled.labels[i].photo, labelled.people[i]), i)
        if labelled.people[same] != labelled.people[i]:
            one, other = labelled.labels[same], labelled.labels[i]
            raise UsageError(
                f"{source} calls one face {one.person!r} in {one.photo!r} and {other.person!r} in "
                f"{other.photo!r}: correct one of them, or say with x and y which face is meant"
            )
    return np.array(sorted(first.values()), np.int64)


def in_learning_half(person: str) -> bool:
    """Whether a person belongs to the half of LFW on which defaults were learnt: even SHA-256 of the name."""
    return name_hash(person)[-1] % 2 == 0


def name_hash(person: str) -> bytes:
    """The SHA-256 of a name, which may be of a folder whose name is no Unicode."""
    return hashlib.sha256(person.encode("utf-8", "surrogateescape")).digest()


def _described(s: ClusteringScores) -> str:
    return (
        f"BCubed F {s.bcubed_f:.4f} (P {s.bcubed_precision:.4f}, R {s.bcubed_recall:.4f}), "
        f"pairwise F {s.pairwise_f:.4f} (P {s.pairwise_precision:.4f}, R {s.pairwise_recall:.4f}), "
        f"V {s.v_measure:.4f}; {s.faces:,} faces, {s.groups:,} groups over {s.people:,} people, "
        f"largest {s.largest_group:,}"
    )
