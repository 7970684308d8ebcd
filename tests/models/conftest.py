from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from matplotlib import cbook
from PIL import Image
from skimage import data

from models.crop import UprightBoxGeometry
from models.detector import MtcnnSettings
from models.facenet_weights import load_casia
from models.mtcnn import Mtcnn
from models.mtcnn_torch import TorchMtcnnNetworks
from transforms.align import warp


@pytest.fixture(scope="session", autouse=True)
def _one_math_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """Eileen Collins, uint8[512, 512, 3]."""
    return data.astronaut()


@pytest.fixture(scope="session")
def hopper() -> np.ndarray:
    """Grace Hopper, uint8[606, 512, 3]."""
    with cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def mtcnn(**settings: float) -> Mtcnn:
    """The detector on the reference engine."""
    return Mtcnn(MtcnnSettings(**settings), TorchMtcnnNetworks())


@pytest.fixture(scope="session")
def detector() -> Mtcnn:
    return mtcnn()


@pytest.fixture(scope="session")
def casia_state() -> dict[str, torch.Tensor]:
    return load_casia()


@pytest.fixture(scope="session")
def plain_network(casia_state: dict[str, torch.Tensor]) -> InceptionResnetV1:
    """facenet-pytorch's own network as it comes, with the default weights."""
    network = InceptionResnetV1(pretrained=None, classify=False)
    network.load_state_dict(casia_state)
    return network.eval()


def resized(photo: np.ndarray, factor: float) -> np.ndarray:
    height, width = photo.shape[:2]
    return np.asarray(Image.fromarray(photo).resize((round(width * factor), round(height * factor))))


@pytest.fixture(scope="session")
def montage(astronaut: np.ndarray, hopper: np.ndarray) -> np.ndarray:
    """Four faces of four sizes side by side, on grey."""
    parts = [astronaut, resized(hopper, 0.7), resized(astronaut, 0.4), resized(hopper, 0.3)]
    height, width = max(p.shape[0] for p in parts), sum(p.shape[1] for p in parts)
    result, x = np.full((height, width, 3), 90, np.uint8), 0
    for part in parts:
        result[: part.shape[0], x : x + part.shape[1]] = part
        x += part.shape[1]
    return result


@pytest.fixture(scope="session")
def crops(detector: Mtcnn, astronaut: np.ndarray, hopper: np.ndarray) -> np.ndarray:
    """Four aligned crops: Collins, Collins smaller and darker, Hopper, Hopper smaller and darker."""
    photos = []
    for photo in (astronaut, hopper):
        small = np.asarray(Image.fromarray(photo).resize((photo.shape[1] * 2 // 5, photo.shape[0] * 2 // 5)))
        photos += [photo, (small * 0.6).astype(np.uint8)]
    faces = detector.detect(photos)
    geometry = UprightBoxGeometry()
    return np.stack(
        [
            warp(photo, geometry.matrix(found.boxes[0], found.landmarks[0], 160), 160)
            for photo, found in zip(photos, faces, strict=True)
        ]
    )
