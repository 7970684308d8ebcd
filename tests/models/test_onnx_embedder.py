from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from models.embedder import load_embedder
from models.engine import choose_engine
from models.onnx_embedder import OnnxEmbedder, input_size
from models.weights import WeightsError
from tests.onnx_files import Dim, model


def crops(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), np.uint8)


def expected(images: np.ndarray, matrix: np.ndarray, *, channels_first: bool) -> np.ndarray:
    pixels = (images.astype(np.float64) - 127.5) / 127.5
    if channels_first:
        pixels = pixels.transpose(0, 3, 1, 2)
    vectors = pixels.reshape(-1, len(matrix)) @ matrix
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("batch", ["n", 1, 4])
@pytest.mark.parametrize("size", [112, 20])
def test_layouts_batches_and_sizes(tmp_path: Path, channels_first: bool, batch: Dim, size: int) -> None:
    shape = (batch, 3, size, size) if channels_first else (batch, size, size, 3)
    matrix = model(tmp_path / "m.onnx", shape, size=size)
    assert input_size(str(tmp_path / "m.onnx")) == size
    embedder = OnnxEmbedder(str(tmp_path / "m.onnx"))
    assert embedder.dimensions == 5
    for count in (0, 1, 4, 6, 33):
        images = crops(count, size)
        vectors = embedder.embed(images)
        assert vectors.shape == (count, 5) and vectors.dtype == np.float32
        np.testing.assert_allclose(
            vectors, expected(images, matrix, channels_first=channels_first), atol=1e-4
        )


@pytest.mark.parametrize("shape", [("n", 3, "h", "w"), ("n", "h", "w", 3), ("n", 3, 112, "w")])
def test_a_free_size_is_the_usual_one(tmp_path: Path, shape: tuple[Dim, ...]) -> None:
    model(tmp_path / "m.onnx", shape)
    assert input_size(str(tmp_path / "m.onnx")) == 112
    assert OnnxEmbedder(str(tmp_path / "m.onnx")).embed(crops(2, 112)).shape == (2, 5)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        (("n", 3, 112, 96), {}),
        (("n", 112, 96, 3), {}),
        (("n", 1, 112, 112), {}),
        (("n", 37632), {}),
        (("n", 3, 112, 112), {"inputs": 2}),
        (("n", 3, 112, 112), {"dtype": TensorProto.FLOAT16}),
        (("n", 3, 112, 112), {"dtype": TensorProto.UINT8}),
    ],
)
def test_other_inputs_are_refused_with_what_was_expected(
    tmp_path: Path, shape: tuple[Dim, ...], options: dict[str, int]
) -> None:
    model(tmp_path / "wrong.onnx", shape, **options)
    with pytest.raises(WeightsError, match=r"wrong\.onnx takes .*expected one float32 batch of square RGB"):
        OnnxEmbedder(str(tmp_path / "wrong.onnx"))


def test_a_model_that_does_not_run_on_its_own_input_is_refused(tmp_path: Path) -> None:
    model(tmp_path / "broken.onnx", ("n", 3, "h", "w"), size=64)
    with pytest.raises(WeightsError, match=r"broken\.onnx can't be run on 112 × 112 crops"):
        OnnxEmbedder(str(tmp_path / "broken.onnx"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.onnx is not a file"):
        input_size(str(tmp_path / "gone.onnx"))


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match=r"text\.onnx can't be loaded as an ONNX model"):
        input_size(str(tmp_path / "text.onnx"))


def test_without_onnxruntime_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(tmp_path / "m.onnx", ("n", 3, 112, 112))
    plain = builtins.__import__

    def without(name: str, *args: object, **options: object) -> object:
        if name == "onnxruntime":
            raise ImportError(name)
        return plain(name, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(WeightsError, match=r"pip install 'albumen\[onnx\]'"):
        OnnxEmbedder(str(tmp_path / "m.onnx"))


def test_a_zero_vector_stays_zero_and_finite(tmp_path: Path) -> None:
    model(tmp_path / "m.onnx", ("n", 3, 20, 20), size=20)
    loaded = onnx.load(str(tmp_path / "m.onnx"))
    loaded.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((1200, 5), np.float32), "matrix"))
    onnx.save(loaded, str(tmp_path / "m.onnx"))
    np.testing.assert_array_equal(OnnxEmbedder(str(tmp_path / "m.onnx")).embed(crops(2, 20)), 0)


def test_it_is_loaded_by_its_name_and_mirrored_on_wish(tmp_path: Path) -> None:
    path = tmp_path / "my model.onnx"
    model(path, ("n", 3, 20, 20), size=20)
    images = crops(3, 20)
    mirrored = load_embedder(f"onnx:{path}", mirror=True, engine=choose_engine())
    np.testing.assert_allclose(mirrored.embed(images), mirrored.embed(images[:, :, ::-1]), atol=1e-5)
    assert (
        np.abs(
            mirrored.embed(images) - load_embedder(f"onnx:{path}", engine=choose_engine()).embed(images)
        ).max()
        > 0.01
    )
