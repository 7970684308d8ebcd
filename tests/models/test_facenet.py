from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from PIL import Image, ImageFilter

from models.embedder import Mirrored, load_embedder
from models.engine import Engine, choose_engine, cpu_has_bfloat16
from models.facenet import FaceNet

REFERENCE = choose_engine(backend="torch", precision="float32")


@pytest.fixture(scope="module")
def facenet(casia_state: dict[str, torch.Tensor]) -> FaceNet:
    return FaceNet(casia_state, engine=REFERENCE)


def by_facenet_pytorch(network: InceptionResnetV1, crops: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy((crops.transpose(0, 3, 1, 2) - 127.5) / 128).float()).numpy()


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_every_precision_gives_what_facenet_pytorch_gives(
    precision: str, casia_state: dict[str, torch.Tensor], plain_network: InceptionResnetV1, crops: np.ndarray
) -> None:
    vectors = FaceNet(casia_state, engine=choose_engine(backend="torch", precision=precision)).embed(crops)
    assert vectors.shape == (4, 512) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    cosines = (vectors * by_facenet_pytorch(plain_network, crops)).sum(axis=1)
    assert cosines.min() >= (0.99999 if precision == "float32" else 0.999)


def test_one_person_s_photos_are_closer_than_two_people_s(facenet: FaceNet, crops: np.ndarray) -> None:
    similarity = facenet.embed(crops) @ facenet.embed(crops).T
    assert min(similarity[0, 1], similarity[2, 3]) > similarity[:2, 2:].max() + 0.3


def test_no_crops_are_no_vectors(facenet: FaceNet) -> None:
    assert facenet.embed(np.zeros((0, 160, 160, 3), np.uint8)).shape == (0, 512)


def test_more_crops_than_a_batch_are_embedded_in_order(facenet: FaceNet, crops: np.ndarray) -> None:
    many = np.concatenate([crops] * 9)[:35]
    expected = np.concatenate([facenet.embed(crops)] * 9)[:35]
    np.testing.assert_allclose(facenet.embed(many), expected, atol=1e-5)


def test_mirroring_is_the_mean_of_both_and_blind_to_the_side(facenet: FaceNet, crops: np.ndarray) -> None:
    mirrored = Mirrored(facenet)
    flipped = crops[:, :, ::-1]
    vectors = mirrored.embed(crops)
    mean = facenet.embed(crops) + facenet.embed(np.ascontiguousarray(flipped))
    np.testing.assert_allclose(vectors, mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(mirrored.embed(flipped), vectors, atol=1e-5)
    assert mirrored.dimensions == 512
    assert (vectors * facenet.embed(crops)).sum(axis=1).max() < 0.9999


def test_the_default_embedder_is_casia(plain_network: InceptionResnetV1, crops: np.ndarray) -> None:
    embedder = load_embedder("facenet-casia", engine=choose_engine(precision="float32"))
    cosines = (embedder.embed(crops) * by_facenet_pytorch(plain_network, crops)).sum(axis=1)
    assert cosines.min() > 0.99999


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this processor does not multiply in bfloat16")
def test_the_default_engine_gives_in_bfloat16_what_torch_gives_in_float32(
    facenet: FaceNet, crops: np.ndarray
) -> None:
    engine = choose_engine()
    assert engine == Engine("openvino", "cpu", "bfloat16")
    vectors = load_embedder("facenet-casia", engine=engine).embed(crops)
    assert vectors.shape == (4, 512) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors * facenet.embed(crops)).sum(axis=1).min() >= 0.999


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this processor does not multiply in bfloat16")
@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_dark_and_blurred_faces_are_embedded_in_bfloat16_as_in_float32(
    backend: str, facenet: FaceNet, crops: np.ndarray
) -> None:
    dark = np.stack(
        [blurred(crop, radius, share) for crop in crops for radius in (3, 6) for share in (0.1, 0.2, 0.4)]
    )
    vectors = load_embedder("facenet-casia", engine=choose_engine(backend=backend)).embed(dark)
    assert (vectors * facenet.embed(dark)).sum(axis=1).min() >= 0.9995


def blurred(crop: np.ndarray, radius: int, light: float) -> np.ndarray:
    image = Image.fromarray(crop).filter(ImageFilter.GaussianBlur(radius))
    return (np.asarray(image) * light).astype(np.uint8)


def test_weights_of_another_network_are_refused(casia_state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(RuntimeError, match="last_linear"):
        FaceNet({k: v for k, v in casia_state.items() if k != "last_linear.weight"}, engine=REFERENCE)
