"""A library with a vector that is none: named before anything is grouped, in memory and in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline import group
from tests.labelled_library import PEOPLE, labelled_library
from transforms.library import Library, LibraryError
from transforms.tables import EMBEDDING, FACE_ID, fixed_lists, matrix


def breaking(library: Library, value: float) -> str:
    """Gives one face a vector of `value`; returns its id."""
    [name] = library.chunk_names()
    photos, faces, thumbs = library.read_chunk(name)
    assert faces is not None
    vectors = matrix(faces[EMBEDDING]).copy()
    vectors[7] = value
    field = faces.schema.field(EMBEDDING)
    column = fixed_lists(vectors).cast(field.type)
    faces = faces.set_column(faces.schema.get_field_index(EMBEDDING), field, pa.chunked_array([column]))
    library.replace_chunks([name], "broken", (photos, faces, thumbs))
    return faces[FACE_ID][7].as_py()


@pytest.mark.parametrize("value", [0.0, np.nan])
@pytest.mark.parametrize(
    ("method", "exact_faces"), [("default", 10_000), ("kmeans", 10_000), ("default", 50)]
)
def test_a_broken_vector_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, method: str, exact_faces: int
) -> None:
    library = labelled_library(tmp_path)
    face = breaking(library, value)
    monkeypatch.setattr(group, "EXACT_FACES", exact_faces)
    number = PEOPLE if method == "kmeans" else None
    with pytest.raises(LibraryError, match=rf"face {face} in Person_0/.*albumen audit .* --fix"):
        group.group_library(library, method=method, seed=0, number=number)
    assert library.current_revision() is None
