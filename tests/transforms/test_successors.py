from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from transforms.compaction import tidy
from transforms.library import Library
from transforms.records import OK, FaceRow, FileEntry, PhotoRow
from transforms.successors import PhotoFaces, Successors, iou, match_faces, record_successors
from transforms.tables import FACE_ID


def photo_of(content: str, path: bytes = b"a.jpg", size: tuple[int, int] = (100, 100)) -> PhotoRow:
    return PhotoRow(FileEntry("photos", path, 1, 1), OK, None, content * 32, *size, "JPEG", None)


def faces_of(content: str, boxes: list[list[float]]) -> list[FaceRow]:
    points = np.zeros((5, 2), np.float32)
    return [
        FaceRow(
            f"{content * 32}:{k}", content * 32, np.array(b, np.float32), points, 1.0, 60.0, 1.0, 0.0, 0.0
        )
        for k, b in enumerate(boxes)
    ]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    opened = Library.create(str(tmp_path / "library"))
    opened.use_fingerprint("stand-in", {})
    return opened


def commit(library: Library, name: str, photo: PhotoRow, faces: list[FaceRow], vectors: np.ndarray) -> None:
    library.commit_chunk(
        name,
        fingerprint="stand-in",
        photos=[photo],
        faces=faces,
        embeddings=vectors.astype(np.float32),
        thumbs=[],
    )


def heirs(library: Library) -> dict[str, str]:
    return dict(Successors.of(library, library.read_faces([FACE_ID])[FACE_ID].combine_chunks()).heirs)


BOXES = [[10.0, 10, 30, 30], [50, 50, 80, 80]]


def test_faces_of_a_file_whose_metadata_changed_are_found_again(library: Library) -> None:
    vectors = np.eye(2, 4)
    commit(library, "one", photo_of("a"), faces_of("a", BOXES), vectors)
    # Found in another order, and a little elsewhere: they are the same all the same.
    moved = [[51.0, 50, 81, 80], [10, 11, 30, 31]]
    commit(library, "two", photo_of("b"), faces_of("b", moved), vectors[::-1])
    assert record_successors(library, "run") == 2
    tidy(library, run="run")
    assert heirs(library) == {"a" * 32 + ":0": "b" * 32 + ":1", "a" * 32 + ":1": "b" * 32 + ":0"}


def test_edits_follow_one_another(library: Library) -> None:
    for name, content in (("one", "a"), ("two", "b"), ("three", "c")):
        commit(library, name, photo_of(content), faces_of(content, BOXES[:1]), np.eye(1, 4))
        record_successors(library, name)
        tidy(library, run=name)
    assert heirs(library) == {"a" * 32 + ":0": "c" * 32 + ":0", "b" * 32 + ":0": "c" * 32 + ":0"}


def test_another_picture_under_the_same_name_inherits_nothing(library: Library) -> None:
    commit(library, "one", photo_of("a"), faces_of("a", BOXES), np.eye(2, 4))
    commit(library, "two", photo_of("b"), faces_of("b", BOXES), np.eye(4, 4)[2:])
    assert record_successors(library, "run") == 0 and heirs(library) == {}


def test_a_copy_that_stays_keeps_its_faces(library: Library) -> None:
    commit(library, "one", photo_of("a"), faces_of("a", BOXES[:1]), np.eye(1, 4))
    commit(library, "copy", photo_of("a", b"copy.jpg"), [], np.zeros((0, 4)))
    commit(library, "two", photo_of("b"), faces_of("b", BOXES[:1]), np.eye(1, 4))
    assert record_successors(library, "run") == 1
    tidy(library, run="run")
    assert heirs(library) == {}


def test_nothing_is_read_or_written_where_no_file_changed(library: Library) -> None:
    commit(library, "one", photo_of("a"), faces_of("a", BOXES), np.eye(2, 4))
    commit(library, "two", photo_of("b", b"b.jpg"), faces_of("b", BOXES), np.eye(2, 4))
    assert record_successors(library, "run") == 0
    assert not Path(library.file("successors")).exists()


def test_a_smaller_copy_is_compared_at_its_own_size() -> None:
    old = PhotoFaces(["a"], np.array([[10.0, 10, 30, 30]]), np.eye(1, 4))
    new = replace(old, ids=["b"], boxes=old.boxes / 2)
    assert match_faces(old, new, old_size=(100, 80), new_size=(50, 40)) == [("a", "b")]
    assert match_faces(old, new, old_size=(100, 80), new_size=(100, 80)) == []


def test_overlap_of_boxes() -> None:
    a = np.array([[0.0, 0, 2, 2], [0, 0, 1, 1]])
    np.testing.assert_allclose(iou(a, a), [[1, 0.25], [0.25, 1]])
    assert iou(a, np.array([[3.0, 3, 4, 4]])).max() == 0
