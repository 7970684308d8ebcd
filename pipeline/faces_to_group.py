"""What grouping needs of a library: its faces, and the calibration of its embedder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from models.calibration import Calibration, Line, learnt_from_library, shipped_calibration
from transforms.grouping import DEFAULT, THRESHOLD_METHODS
from transforms.library import Library
from transforms.people import FaceSet
from transforms.people_tables import photo_numbers
from transforms.tables import EMBEDDING, FACE_ID, FACE_SIZE, PHOTO_ID, SCORE, SHARPNESS, YAW, matrix
from transforms.verification import centred


def calibration(library: Library, embeddings: np.ndarray, photo: np.ndarray | None = None) -> Calibration:
    """The shipped calibration of the library's embedder, else one learnt from the library itself.

    int[n] `photo` tells which faces lie in one photo.
    """
    settings = library.info().settings or {}
    embedder = settings.get("embedder")
    shipped = shipped_calibration(embedder) if isinstance(embedder, dict) else None
    return shipped or learnt_from_library(embeddings, list(THRESHOLD_METHODS), photo)


def read_features(library: Library) -> tuple[pa.Table, FaceSet]:
    """All faces, as the library has them and for grouping, but without their vectors."""
    table = library.read_faces([FACE_ID, PHOTO_ID, FACE_SIZE, SCORE, YAW, SHARPNESS])
    features = (table[c].to_numpy() for c in (FACE_SIZE, SCORE, YAW, SHARPNESS))
    return table, FaceSet(np.zeros((len(table), 0), np.float32), photo_numbers(table), *features)


def with_vectors(faces: FaceSet, embeddings: np.ndarray, known: Calibration) -> FaceSet:
    """The faces with what grouping compares: centred vectors, and biases where a cohort is known."""
    vectors = centred(embeddings, known.centre)
    return replace(faces, vectors=vectors, bias=known.cohort.bias(vectors) if known.cohort else None)


def read_face_set(library: Library) -> tuple[pa.Table, FaceSet, Calibration]:
    """All faces, as the library has them and ready to be grouped."""
    table, faces = read_features(library)
    embeddings = matrix(library.read_faces([EMBEDDING])[EMBEDDING])
    known = calibration(library, embeddings, faces.photo)
    return table, with_vectors(faces, embeddings, known), known


def threshold_line(known: Calibration, method: str) -> Line:
    """The threshold of a method; one without a threshold of its own attaches faces at the default's."""
    return known.thresholds.get(method) or known.thresholds[DEFAULT]
