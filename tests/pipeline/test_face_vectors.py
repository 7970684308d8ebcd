from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.embedder import embedder_spec
from pipeline import face_vectors
from pipeline.face_vectors import FaceVectors
from pipeline.labelled import LabelledFaces, Workplace
from tests.photo_files import jpeg
from transforms.face_view import FaceView
from transforms.labels import Label
from transforms.library import Library, LibraryError, LibraryInfo

COUNT = 5


class Embedder:
    """A vector of the crop's mean colour in its left and right half; counts what it is given."""

    dimensions = 6
    given = 0

    def embed(self, crops: np.ndarray) -> np.ndarray:
        Embedder.given += len(crops)
        half = crops.shape[2] // 2
        vectors = np.concatenate(
            [crops[:, :, :half].mean(axis=(1, 2)), crops[:, :, half:].mean(axis=(1, 2))], 1
        )
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabelledFaces:
    monkeypatch.setattr(face_vectors, "load_embedder", lambda *_, **__: Embedder())
    monkeypatch.setattr(face_vectors, "_CHUNK", 2)
    Embedder.given = 0
    for k in range(COUNT):
        (tmp_path / f"{k}.jpg").write_bytes(jpeg(120 + k, 100))
    library = Library.create(str(tmp_path / "library"))
    settings = {"embedder": embedder_spec("facenet-casia").describe()}
    library.save_info(LibraryInfo({"photos": str(tmp_path)}, "fingerprint", settings))
    points = np.array([[40, 40], [60, 40], [50, 50], [42, 60], [58, 60]], np.float32)
    return LabelledFaces(
        library, ["Ann"], np.zeros(COUNT, int), [Label(f"{k}.jpg", "Ann") for k in range(COUNT)],
        [("photos", f"{k}.jpg".encode()) for k in range(COUNT)], [f"{k}:0" for k in range(COUNT)],
        np.eye(COUNT, 6, dtype=np.float32), np.tile(np.array([30, 25, 70, 75], np.float32), (COUNT, 1)),
        np.tile(points, (COUNT, 1, 1)), np.ones(COUNT), np.zeros(COUNT), [],
    )  # fmt: skip


def vectors_of(faces: LabelledFaces, tmp_path: Path) -> FaceVectors:
    return FaceVectors(faces, Workplace(str(tmp_path / "out"), "", quiet=True))


def test_what_the_library_holds_is_not_embedded_again(faces: LabelledFaces, tmp_path: Path) -> None:
    assert vectors_of(faces, tmp_path).embed(FaceView()) is faces.vectors
    assert Embedder.given == 0


def test_a_stopped_experiment_goes_on_where_it_was(
    faces: LabelledFaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = FaceView(jpeg_quality=30)
    whole = FaceVectors._chunk

    def stops_at_the_last(self, view: FaceView, rows: range) -> np.ndarray:
        if rows.stop == COUNT:
            raise KeyboardInterrupt
        return whole(self, view, rows)

    monkeypatch.setattr(FaceVectors, "_chunk", stops_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        vectors_of(faces, tmp_path).embed(view)
    monkeypatch.setattr(FaceVectors, "_chunk", whole)
    first = vectors_of(faces, tmp_path).embed(view)
    assert Embedder.given == COUNT
    np.testing.assert_array_equal(vectors_of(faces, tmp_path).embed(view), first)
    assert Embedder.given == COUNT, "the second time nothing is embedded"
    vectors_of(faces, tmp_path).embed(FaceView(jpeg_quality=31))
    assert Embedder.given == 2 * COUNT, "another view is another matter"


def test_the_mirror_image_is_the_other_way_round(faces: LabelledFaces, tmp_path: Path) -> None:
    vectors = vectors_of(faces, tmp_path)
    view = FaceView(centre_crop=True)
    plain, flipped = vectors.embed(view), vectors.embed(FaceView(centre_crop=True, flip=True))
    np.testing.assert_allclose(plain[:, :3], flipped[:, 3:], atol=1e-5)
    mean = vectors.mirrored(view)
    np.testing.assert_allclose(mean[:, :3], mean[:, 3:], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(mean, axis=1), 1, atol=1e-6)


def test_a_photo_that_has_gone_is_named(faces: LabelledFaces, tmp_path: Path) -> None:
    (tmp_path / "3.jpg").unlink()
    with pytest.raises(LibraryError, match=r"3\.jpg below .* can't be read any more"):
        vectors_of(faces, tmp_path).embed(FaceView(pixels=400))
