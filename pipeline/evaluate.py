"""``albumen evaluate clusters``: how well the people of a labelled archive are grouped.

The archive has a folder per person, as LFW does. The labelled face of a photo is the one whose box
covers the photo's centre, the nearest to it where several do, and a photo without one counts as a
face of its own that is like nobody.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from transforms.clustering_scores import ClusteringScores, clustering_scores
from transforms.library import Library, LibraryError
from transforms.records import ERROR, NO_FACE, OK
from transforms.tables import (
    BOX,
    EMBEDDING,
    FACE_ID,
    HEIGHT,
    PATH_BYTES,
    PERSON_ID,
    PHOTO_ID,
    STATUS,
    WIDTH,
    matrix,
)


@dataclass(frozen=True)
class Labelled:
    """The photos of a labelled archive in order of path: their names (``Person/file.jpg``), people,
    and per photo the row of its labelled face in the library's faces, -1 for none."""

    paths: list[str]
    people: np.ndarray
    face: np.ndarray
    face_ids: list[str]
    embeddings: np.ndarray | None


def labelled_faces(library: Library, *, embeddings: bool) -> Labelled:
    """Pairs the photos of a library with their labelled faces. Raises LibraryError without photos."""
    photos = library.read_photos([PATH_BYTES, PHOTO_ID, WIDTH, HEIGHT, STATUS])
    photos = photos.filter(pc.is_in(photos[STATUS], value_set=_states()))
    if not len(photos):
        raise LibraryError(f"{library.path} holds no photos: index a labelled archive first")
    paths = [p.decode("utf-8", "surrogateescape") for p in photos[PATH_BYTES].to_pylist()]
    people = np.unique([p.rpartition("/")[0] for p in paths], return_inverse=True)[1]
    faces = library.read_faces([FACE_ID, PHOTO_ID, BOX, *([EMBEDDING] if embeddings else [])])
    boxes = matrix(faces[BOX]) if len(faces) else np.zeros((0, 4), np.float32)
    rows_of: dict[str, list[int]] = {}
    for row, photo in enumerate(faces[PHOTO_ID].to_pylist()):
        rows_of.setdefault(photo, []).append(row)
    centres = np.stack([photos[WIDTH].to_numpy(), photos[HEIGHT].to_numpy()], axis=1) / 2
    face = np.array(
        [
            _at_centre(boxes, rows_of.get(p, []), c)
            for p, c in zip(photos[PHOTO_ID].to_pylist(), centres, strict=True)
        ]
    )
    return Labelled(
        paths, people, face, faces[FACE_ID].to_pylist(), matrix(faces[EMBEDDING]) if embeddings else None
    )


def _states():
    import pyarrow as pa

    return pa.array([OK, NO_FACE, ERROR])


def _at_centre(boxes: np.ndarray, rows: list[int], centre: np.ndarray) -> int:
    inside = [r for r in rows if (boxes[r, :2] <= centre).all() and (boxes[r, 2:] >= centre).all()]
    return min(
        inside, key=lambda r: float(np.abs(boxes[r].reshape(2, 2).mean(axis=0) - centre).sum()), default=-1
    )


def clusters(library: Library) -> tuple[list[str], dict[str, object]]:
    """The current people against the archive's folders: all people, and each half by name's hash."""
    revision = library.current_revision()
    if revision is None:
        raise LibraryError(f"{library.path} is not grouped yet: albumen group {library.path}")
    labelled = labelled_faces(library, embeddings=False)
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
    return int(hashlib.sha256(person.encode("utf-8", "surrogateescape")).hexdigest(), 16) % 2 == 0


def _described(s: ClusteringScores) -> str:
    return (
        f"BCubed F {s.bcubed_f:.4f} (P {s.bcubed_precision:.4f}, R {s.bcubed_recall:.4f}), "
        f"pairwise F {s.pairwise_f:.4f} (P {s.pairwise_precision:.4f}, R {s.pairwise_recall:.4f}), "
        f"V {s.v_measure:.4f}; {s.faces:,} faces, {s.groups:,} groups over {s.people:,} people, "
        f"largest {s.largest_group:,}"
    )
