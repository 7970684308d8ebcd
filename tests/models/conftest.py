from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from matplotlib import cbook
from PIL import Image
from skimage import data

from models.detector import MtcnnSettings
from models.facenet_weights import load_casia
from models.mtcnn import Mtcnn
from models.mtcnn_torch import TorchMtcnnNetworks


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
