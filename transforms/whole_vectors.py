"""Vectors that say nothing: of zeros, or of values that are no numbers.

One of them makes every comparison with it meaningless, and some methods fail on it; all of zeros would be
one person.
"""

from __future__ import annotations

import numpy as np

from transforms.library import Library, LibraryError
from transforms.tables import FACE_ID, PATH, PHOTO_ID


def broken(vectors: np.ndarray) -> np.ndarray:
    """int64[m]: the rows of float32[n, d] that are no vectors of a face."""
    squares = np.einsum("ij,ij->i", vectors, vectors)
    return np.flatnonzero(~(np.isfinite(squares) & (squares > 0)))


def require_whole(library: Library, embeddings: np.ndarray, places: np.ndarray | None = None) -> None:
    """Raises LibraryError, which names the face and its photo, where a vector of the library is broken.

    float32[n, d] `embeddings` are those of int64[n] `places` in order of face_id, or of all faces.
    """
    rows = broken(embeddings)
    if not len(rows):
        return
    place = int(rows[0] if places is None else places[rows[0]])
    face, photo = (
        library.read_faces([FACE_ID, PHOTO_ID])[name][place].as_py() for name in (FACE_ID, PHOTO_ID)
    )
    photos = library.read_photos([PHOTO_ID, PATH])
    path = dict(zip(photos[PHOTO_ID].to_pylist(), photos[PATH].to_pylist(), strict=True)).get(photo, photo)
    raise LibraryError(
        f"{library.path}: the vector of face {face} in {path} is all zeros or holds values that are no "
        f"numbers. albumen audit {library.path} --fix takes such photos out; then index the archive again"
    )
