"""``albumen find``: who in a library is it?"""

from __future__ import annotations

import numpy as np

from pipeline.known_people import Grouped, how_grouped, people_of, photo_paths
from pipeline.labelled import is_library
from pipeline.photo_faces import PhotoReader, place, with_faces
from transforms.library import Library, LibraryError
from transforms.recogniser import alike, fit_confidence, person_fits
from transforms.tables import EMBEDDING, FACE_ID, matrix
from transforms.verification import centred

_NEIGHBOURS = 40


def find(
    library_path: str, photo: str, *, embedder: str | None = None, count: int = 5
) -> tuple[list[str], dict[str, object]]:
    """For every face of a photo: the people of the library that it fits best, and the nearest faces.

    Reads the library and changes nothing. Raises LibraryError, UsageError.
    """
    if not is_library(library_path):
        raise LibraryError(f"{library_path} is not an Albumen library: albumen index ARCHIVE {library_path}")
    library = Library.open(library_path)
    reader = PhotoReader.for_library(library, embedder)
    found = with_faces(reader, photo)
    grouped = how_grouped(library, found.vectors.shape[1])
    nearest, total = nearest_faces(library, found.vectors, grouped, k=_NEIGHBOURS)
    threshold = grouped.threshold
    neighbours = {face for near in nearest for face, _ in near}
    person_of, names = people_of(library, neighbours)
    paths = photo_paths(library, neighbours)
    lines, facts = [f"faces in {found.name}: {len(found.faces)}; in the library: {total:,}"], []
    for face, near in zip(found.faces, nearest, strict=True):
        people = person_fits([(person_of.get(f), s) for f, s in near])[:count]
        lines.append(place(face) + ":")
        for person, fit in people:
            sure = fit_confidence(fit, threshold)
            lines.append(
                f"  {names.get(person) or person}: confidence {100 * sure:.0f} %, similarity {fit:.3f}"
            )
        if not people or people[0][1] < threshold:
            lines.append(f"  nobody known: no person reaches the similarity {threshold:.3f}")
        for other, similarity in near[:count]:
            where = paths.get(other, "?")
            lines.append(f"  face {other.rpartition(':')[2]} of {where}: similarity {similarity:.3f}")
        facts.append(
            {
                "box": [round(float(v), 1) for v in face.box],
                "people": [
                    {"person_id": p, "name": names.get(p), "similarity": s,
                     "confidence": fit_confidence(s, threshold)}
                    for p, s in people
                ],
                "faces": [
                    {"face_id": f, "path": paths.get(f), "similarity": s}
                    for f, s in near[:count]
                ],
            }
        )  # fmt: skip
    return lines, {"threshold": threshold, "faces": facts}


def nearest_faces(
    library: Library, vectors: np.ndarray, grouped: Grouped, *, k: int
) -> tuple[list[list[tuple[str, float]]], int]:
    """For each of float32[n, d] unit vectors the k most similar faces (face_id, similarity), best first; and
    how many faces the library has. Memory: one file of the library at a time."""
    queries = centred(vectors, grouped.centre)
    best: list[list[tuple[float, str]]] = [[] for _ in queries]
    total = 0
    for table in library.iter_faces([FACE_ID, EMBEDDING]):
        if not len(table):
            continue
        total += len(table)
        similarity = alike(centred(matrix(table[EMBEDDING]), grouped.centre), queries, grouped.cohort)
        top = np.argsort(-similarity, axis=0, kind="stable")[:k]
        for q, merged in enumerate(best):
            rows = top[:, q]
            ids = table[FACE_ID].take(rows).to_pylist()
            merged += [(float(similarity[r, q]), face) for r, face in zip(rows, ids, strict=True)]
            merged.sort(key=lambda item: (-item[0], item[1]))
            del merged[k:]
    return [[(face, s) for s, face in row] for row in best], total
