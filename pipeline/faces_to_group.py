"""What grouping needs of a library: its faces, and the calibration of its embedder."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from models.calibration import Calibration, Line, learnt_from_library, shipped_calibration
from transforms.grouping import DEFAULT, THRESHOLD_METHODS
from transforms.library import Library
from transforms.people import FaceSet
from transforms.people_tables import photo_numbers
from transforms.present_rows import FaceOrder
from transforms.regrouping import Search, exact_search
from transforms.tables import EMBEDDING, FACE_ID, FACE_SIZE, PHOTO_ID, SCORE, SHARPNESS, YAW, matrix
from transforms.verification import centred
from transforms.whole_vectors import require_whole


@dataclass(frozen=True)
class ReadyFaces:
    """All faces ready to be grouped; `search` finds their neighbours, `facts` says how, also afterwards."""

    faces: FaceSet
    search: Search
    facts: dict[str, object]


def calibration(library: Library, embeddings: np.ndarray, photo: np.ndarray | None = None) -> Calibration:
    """The shipped calibration of the library's embedder, else one learnt from the library itself.

    int[n] `photo` tells which faces lie in one photo.
    """
    return shipped_for(library) or learnt_from_library(embeddings, list(THRESHOLD_METHODS), photo)


def shipped_for(library: Library) -> Calibration | None:
    """The shipped calibration of the library's embedder, None where there is none."""
    embedder = (library.info().settings or {}).get("embedder")
    return shipped_calibration(embedder) if isinstance(embedder, dict) else None


def faces_in_memory(library: Library, faces: FaceSet, known: Calibration, *, threads: int) -> ReadyFaces:
    """The faces, given in order of face_id without their vectors, with all that grouping needs."""
    return ReadyFaces(
        with_vectors(faces, read_embeddings(library), known), exact_search(threads), {"exact": True}
    )


def read_features(library: Library) -> tuple[pa.Table, FaceSet, FaceOrder]:
    """All faces, as the library has them and for grouping but without their vectors; and where they stand."""
    columns = [FACE_ID, PHOTO_ID, FACE_SIZE, SCORE, YAW, SHARPNESS]
    table, order = library.read_faces_in_order(columns)
    features = (table[c].to_numpy() for c in (FACE_SIZE, SCORE, YAW, SHARPNESS))
    return table, FaceSet(np.zeros((len(table), 0), np.float32), photo_numbers(table), *features), order


def read_embeddings(library: Library) -> np.ndarray:
    """float32[n, d]: the vectors of all faces. Raises LibraryError where one is broken."""
    embeddings = matrix(library.read_faces([EMBEDDING])[EMBEDDING])
    require_whole(library, embeddings)
    return embeddings


def with_vectors(faces: FaceSet, embeddings: np.ndarray, known: Calibration) -> FaceSet:
    """The faces with what grouping compares: centred vectors, and biases where a cohort is known."""
    vectors = centred(embeddings, known.centre)
    return replace(faces, vectors=vectors, bias=known.cohort.bias(vectors) if known.cohort else None)


def read_face_set(library: Library) -> tuple[pa.Table, FaceSet, Calibration]:
    """All faces, as the library has them and ready to be grouped."""
    table, faces, _ = read_features(library)
    embeddings = read_embeddings(library)
    known = calibration(library, embeddings, faces.photo)
    return table, with_vectors(faces, embeddings, known), known


def threshold_line(known: Calibration, method: str) -> Line:
    """The threshold of a method; one without a threshold of its own attaches faces at the default's."""
    return known.thresholds.get(method) or known.thresholds[DEFAULT]
