"""``albumen evaluate clusters``: how well the people of a labelled archive are grouped.

The archive has a folder per person, as LFW does; a photo whose labelled face was not found counts as a
face of its own that is like nobody.
"""

from __future__ import annotations

import hashlib

import numpy as np

from pipeline.labelled import labelled_photos
from transforms.clustering_scores import ClusteringScores, clustering_scores
from transforms.library import Library, LibraryError
from transforms.tables import FACE_ID, PERSON_ID


def clusters(library: Library) -> tuple[list[str], dict[str, object]]:
    """The current people against the archive's folders: all people, and each half by name's hash."""
    revision = library.current_revision()
    if revision is None:
        raise LibraryError(f"{library.path} is not grouped yet: albumen group {library.path}")
    labelled = labelled_photos(library)
    assignments = library.read_assignments(revision)
    person = dict(zip(assignments[FACE_ID].to_pylist(), assignments[PERSON_ID].to_pylist(), strict=True))
    groups = np.array(
        [
            (person.get(labelled.face_ids[f]) if f >= 0 else None) or f"alone {i}"
            for i, f in enumerate(labelled.face)
        ]
    )
    learnt = np.array([in_learning_half(path.rpartition("/")[0]) for path in labelled.paths])
    lines: list[str] = []
    facts: dict[str, object] = {"revision": revision, "grouping": library.read_grouping(revision)}
    halves = (("all", learnt | True), ("learnt on (even hash)", learnt), ("held out (odd hash)", ~learnt))
    for name, part in halves:
        if part.any():
            scores = clustering_scores(labelled.people[part], groups[part])
            facts[name] = scores.as_dict()
            lines.append(f"{name:22} {_described(scores)}")
    return lines, facts


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
