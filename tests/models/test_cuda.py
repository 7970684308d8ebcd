"""What is done for a graphics card, with the processor standing in for it.

Nothing here ran on a real one: tensors that are sent to CUDA stay where they are, and how they were
sent is written down. Arithmetic in half precision is the processor's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from models.detector import MtcnnSettings, load_detector
from models.embedder import load_embedder
from models.engine import Engine, choose_engine
from models.facenet import FaceNet
from models.mtcnn import Mtcnn
from models.mtcnn_torch import TorchMtcnnNetworks
from models.torch_transfer import on_device
from tests.models.conftest import resized
from tests.models.test_facenet import REFERENCE
from tests.models.test_mtcnn import assert_same_faces

CARD = Engine("torch", "cuda", "float16")
CUDA = torch.device("cuda")


@dataclass
class Card:
    """The shapes of what was pinned, and of what was sent to the card, with whether nobody waited."""

    pinned: list[tuple[int, ...]] = field(default_factory=list)
    sent: list[tuple[tuple[int, ...], bool]] = field(default_factory=list)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    seen, to = Card(), torch.Tensor.to

    def pin_memory(tensor: torch.Tensor) -> torch.Tensor:
        seen.pinned.append(tuple(tensor.shape))
        return tensor

    def stay(tensor: torch.Tensor, *wanted: object, **how: object) -> torch.Tensor:
        if CUDA in wanted:
            seen.sent.append((tuple(tensor.shape), bool(how.get("non_blocking"))))
        return to(tensor, *(torch.device("cpu") if w == CUDA else w for w in wanted), **how)

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch.Tensor, "to", stay)
    return seen


def test_arrays_go_to_a_card_through_pinned_memory_without_waiting(card: Card) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, ::2]
    assert (on_device(array, CUDA).numpy() == array).all()
    assert card == Card([(2, 2, 4)], [((2, 2, 4), True)])
    assert (on_device(array, torch.device("cpu")).numpy() == array).all()
    assert len(card.pinned) == 1


def test_faces_on_a_card_are_embedded_in_half_precision_with_the_last_layer_whole(
    card: Card, crops: np.ndarray, casia_state: dict[str, torch.Tensor]
) -> None:
    embedder = load_embedder("facenet-casia", engine=CARD)
    assert isinstance(embedder, FaceNet)
    assert embedder._trunk.conv2d_2b.conv.weight.dtype == torch.float16
    assert embedder._linear.weight.dtype == torch.float32
    card.sent.clear()
    vectors = embedder.embed(crops)
    assert card.sent == [((4, 160, 160, 3), True)] and card.pinned == [(4, 160, 160, 3)]
    cosines = (vectors * FaceNet(casia_state, engine=REFERENCE).embed(crops)).sum(axis=1)
    assert cosines.min() >= 0.999


def test_a_card_gets_a_slice_of_faces_whole(card: Card, casia_state: dict[str, torch.Tensor]) -> None:
    facenet = FaceNet(casia_state, engine=choose_engine(device="cuda", precision="float32"))
    batches: list[int] = []

    def vectors(batch: torch.Tensor) -> torch.Tensor:
        batches.append(len(batch))
        return batch[:, 0, 0, :1].float().expand(-1, 512)

    facenet.vectors = vectors  # type: ignore[method-assign]
    for count, expected in ((0, []), (256, [256]), (300, [300]), (512, [512]), (513, [257, 256])):
        crops = np.zeros((count, 160, 160, 3), np.uint8)
        crops[:, 0, 0, 0] = np.arange(count) % 251
        assert (facenet.embed(crops)[:, 7] == np.arange(count) % 251).all()
        assert batches == expected
        batches.clear()


def test_photos_on_a_card_are_screened_in_half_precision_and_judged_exactly(
    card: Card, detector: Mtcnn, montage: np.ndarray
) -> None:
    on_card = load_detector(MtcnnSettings(), engine=CARD)
    assert isinstance(on_card, Mtcnn)
    card.sent.clear()
    photo = resized(montage, 0.5)
    assert_same_faces(on_card.detect([photo])[0], detector.detect([photo])[0], pixels=1.0)
    # Tiles, single windows of P-Net, R-Net's twice, O-Net's: pinned, and none waited for.
    assert [shape[2] for shape in card.pinned] == [524, 12, 24, 24, 48]
    assert [shape for shape, _ in card.sent] == card.pinned
    assert all(without_waiting for _, without_waiting in card.sent)


def test_on_the_processor_torch_searches_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, str]] = []
    monkeypatch.setattr("models.mtcnn_torch.TorchMtcnnNetworks", lambda **how: made.append(how))
    load_detector(MtcnnSettings(), engine=Engine("torch", "cpu", "bfloat16"))
    load_detector(MtcnnSettings(), engine=CARD)
    assert made == [
        {"device": "cpu", "precision": "float32"},
        {"device": "cuda", "precision": "float16"},
    ]


@pytest.fixture(scope="module", params=["float16", "bfloat16"])
def screened(request: pytest.FixtureRequest) -> Mtcnn:
    return Mtcnn(MtcnnSettings(), TorchMtcnnNetworks(precision=request.param))


@pytest.mark.parametrize("name", ["astronaut", "hopper", "montage"])
@pytest.mark.parametrize("factor", [1.0, 0.61, 0.35])
def test_half_precision_finds_what_single_precision_finds(
    name: str, factor: float, screened: Mtcnn, detector: Mtcnn, request: pytest.FixtureRequest
) -> None:
    photo = resized(request.getfixturevalue(name), factor)
    assert_same_faces(screened.detect([photo])[0], detector.detect([photo])[0], pixels=1.0)


def test_nothing_near_a_threshold_needs_no_second_look(screened: Mtcnn) -> None:
    assert len(screened.detect([np.zeros((200, 300, 3), np.uint8)])[0].boxes) == 0
    pixels = np.zeros((3, 3, 24, 24), np.float32)
    assert screened.networks.refine(pixels, 2.0)[1].shape == (3,)


def test_cudnn_is_kept_from_rounding_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = TorchMtcnnNetworks()
    before, rounded = torch.backends.cudnn.allow_tf32, []
    forward: Callable = networks._onet._module.forward  # type: ignore[attr-defined]

    def watched(pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rounded.append(torch.backends.cudnn.allow_tf32)
        return forward(pixels)

    monkeypatch.setattr(networks._onet._module, "forward", watched)  # type: ignore[attr-defined]
    networks.output(np.zeros((2, 3, 48, 48), np.float32))
    assert rounded == [False]
    assert torch.backends.cudnn.allow_tf32 == before
