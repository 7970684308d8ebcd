"""``albumen evaluate threshold``: learns how far apart two faces of one person may be.

From the people with an even SHA-256 of the name alone; the others say what the threshold does to people that
it was not learnt from.
"""

from __future__ import annotations

import os

import numpy as np

from models.calibration import calibration_key
from models.same_person import SamePerson
from pipeline.evaluate import in_learning_half
from pipeline.faces_to_group import calibration
from pipeline.labelled import Workplace, labelled_faces, opened_library, spec_of
from transforms import storage
from transforms.all_pairs import accepted_pairs, all_pairs
from transforms.library import LibraryError
from transforms.verification import centred

_FAR = 1e-3


def threshold(source: str, folder: str, work: Workplace) -> tuple[list[str], dict[str, object]]:
    """Writes the threshold of the embedder of `source` into `folder`, and checks it on the other half."""
    library = opened_library(source, work)
    spec = spec_of(library, work.embedder)
    faces = labelled_faces(library)
    vectors = centred(faces.vectors, calibration(library, faces.vectors).centre)
    half = np.array([in_learning_half(name) for name in faces.names])[faces.person]
    try:
        point = all_pairs(vectors[half], faces.person[half], fars=[_FAR]).at[_FAR]
        others = all_pairs(vectors[~half], faces.person[~half], fars=[])
    except ValueError as error:
        raise LibraryError(f"{library.path}: {error} in each half of the people") from error
    same, different = accepted_pairs(vectors[~half], faces.person[~half], point.distance)
    val, far = len(same) / len(others.same), len(different) / others.different
    learnt = SamePerson(
        round(point.distance, 4), _FAR, round(point.val, 4), "people with an even SHA-256 of the name"
    )
    path = storage.join(folder, calibration_key(spec.describe()))
    storage.write_bytes(path, learnt.to_json().encode())
    lines = [
        f"{os.path.basename(path)}: distance {point.distance:.4f}, VAL {point.val:.4f} at FAR {_FAR:.0e} "
        f"on {int(half.sum()):,} faces",
        f"on the {int((~half).sum()):,} faces of other people: VAL {val:.4f}, FAR {far:.2e}",
    ]
    facts = {"distance": point.distance, "val": point.val, "held_out_val": val, "held_out_far": far}
    return lines, {**facts, "file": path}
