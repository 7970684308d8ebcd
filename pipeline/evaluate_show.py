"""``albumen evaluate show``: a library's faces as a map, similar ones near each other, coloured by person."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.known_people import how_grouped, people_of, photo_paths
from pipeline.labelled import Workplace, embedder_name, note_results
from pipeline.options import UsageError
from transforms import storage
from transforms.embedding_map import TSNE, MapFace, layout, map_page
from transforms.export_list import write_listed
from transforms.library import Library, LibraryError
from transforms.tables import EMBEDDING, FACE_ID, JPEG, matrix
from transforms.verification import centred

PAGE = "map.html"


def show(
    library_path: str, work: Workplace, *, method: str = TSNE, most: int = 3000, seed: int = 0
) -> tuple[list[str], dict[str, object]]:
    """Writes ``OUT/map.html`` with at most `most` of the library's faces, drawn at random.

    Reads the library, and notes there where this page is. Raises LibraryError without faces, UsageError
    where UMAP is asked for and not installed.
    """
    library = Library.open(library_path)
    note_results(library, work)
    face_ids, vectors = drawn_faces(library, most, seed)
    if not face_ids:
        raise LibraryError(f"{library.path} holds no faces: albumen index ARCHIVE {library.path}")
    try:
        vectors = centred(vectors, how_grouped(library, vectors.shape[1]).centre)
        points = layout(vectors, method=method, seed=seed)
    except ImportError as error:
        raise UsageError(
            f"{method} needs {error.name}: pip install 'albumen[umap]', or --method tsne"
        ) from error
    thumbs, paths = _thumbs(library, face_ids), photo_paths(library, face_ids)
    person_of, names = people_of(library, face_ids)
    people = [person_of.get(face) for face in face_ids]
    faces = [
        MapFace(
            names.get(person, person) if person is not None else None, paths.get(face, ""), thumbs.get(face)
        )
        for face, person in zip(face_ids, people, strict=True)
    ]
    shown = "" if len(face_ids) < most else ", drawn at random"
    facts = [
        f"{len(faces):,} faces{shown}, by {method}, seed {seed}; model {embedder_name(library)}, fingerprint "
        f"{library.info().fingerprint}.",
        "Near each other: similar to the network. Distances between far groups mean little.",
        f"Made by “{work.command}” on {datetime.now(timezone.utc):%Y-%m-%d}.",
    ]
    path = storage.join(work.out, PAGE)
    page = map_page(faces, points, title="Map of faces", facts=facts)
    write_listed(work.out, PAGE, page)
    line = (
        f"{len(faces):,} faces{shown}: {path} ({len(page) / 1e6:.1f} MB). It shows faces: keep it to yourself"
    )
    return [line], {"faces": len(faces), "file": path, "method": method}


def drawn_faces(library: Library, most: int, seed: int) -> tuple[list[str], np.ndarray]:
    """(face_ids, float32[m, d] vectors) of at most `most` faces, each as likely as any other."""
    ids = library.read_faces([FACE_ID])[FACE_ID]
    chosen = np.random.default_rng(seed).choice(len(ids), min(most, len(ids)), replace=False)
    wanted = ids.take(chosen).combine_chunks()
    kept, parts = [], []
    for table in library.iter_faces([FACE_ID, EMBEDDING]):
        part = table.filter(pc.is_in(table[FACE_ID], value_set=wanted))
        if len(part):
            kept += part[FACE_ID].to_pylist()
            parts.append(matrix(part[EMBEDDING]))
    return kept, np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)


def _thumbs(library: Library, face_ids: list[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    wanted = pa.array(face_ids, pa.string())
    for table in library.iter_thumbs():
        part = table.filter(pc.is_in(table[FACE_ID], value_set=wanted))
        found |= dict(zip(part[FACE_ID].to_pylist(), part[JPEG].to_pylist(), strict=True))
    return found
