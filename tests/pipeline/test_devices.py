"""Where the work of a run is done, as told to machines that this one pretends to be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from models.engine import Engine
from pipeline.index import index
from pipeline.options import IndexOptions, default_workers
from pipeline.supervise import _environment
from transforms.archive import RootGuard
from transforms.index_config import IndexConfig
from transforms.lease import Lease
from transforms.library import Library
from transforms.manifest import Chunk


def with_cards(monkeypatch: pytest.MonkeyPatch, count: int, *, visible: str | None = None) -> None:
    """As if this machine had so many graphics cards; `visible` is CUDA_VISIBLE_DEVICES."""
    monkeypatch.setattr("models.engine._cuda_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


def config(folder: Path, device: str) -> IndexConfig:
    return IndexConfig(
        library=str(folder), run="run", root="photos", location=str(folder),
        guard=RootGuard.of(str(folder)), embedder="facenet-casia", device=device,
    )  # fmt: skip


def test_a_card_has_one_worker_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cards(monkeypatch, 3)
    assert default_workers("cuda") == 3


@pytest.mark.parametrize(
    ("cards", "visible", "expected"),
    [
        (1, None, ["0", "0", "0"]),
        (2, None, ["0", "1", "0"]),
        (2, "5,3", ["5", "3", "5"]),
        (1, "GPU-1a2b,", ["GPU-1a2b"] * 3),
        (1, "2,9", ["2", "2", "2"]),  # CUDA leaves out those from the first that is none
    ],
)
def test_workers_beyond_the_number_of_cards_share_them(
    cards: int, visible: str | None, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cards(monkeypatch, cards, visible=visible)
    told = [_environment(config(tmp_path, "cuda"), n)["CUDA_VISIBLE_DEVICES"] for n in range(3)]
    assert told == expected


def test_a_worker_on_the_processor_has_one_thread_and_is_told_no_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cards(monkeypatch, 2)
    monkeypatch.delenv("OMP_NUM_THREADS")
    told = _environment(config(tmp_path, "cpu"), 1)
    assert told["OMP_NUM_THREADS"] == "1" and "CUDA_VISIBLE_DEVICES" not in told
    assert "OMP_NUM_THREADS" not in _environment(config(tmp_path, "cuda"), 1)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("auto", Engine("torch", "cuda", "float16")),
        ("torch", Engine("torch", "cuda", "float16")),
        ("openvino", Engine("openvino", "cpu", "float32")),
    ],
)
def test_workers_are_sent_where_the_engine_runs(
    asked: str, expected: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = []

    class NoWorkers:
        late: Sequence[Chunk] = ()
        restarts = 0

        def __init__(self, config: IndexConfig, **_: object) -> None:
            engines.append(config.engine())

        def run(self, chunks: Sequence[Chunk]) -> None:
            pass

    with_cards(monkeypatch, 1)
    monkeypatch.setattr("models.engine.cpu_has_bfloat16", lambda: False)
    monkeypatch.setattr("pipeline.index.Supervisor", NoWorkers)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"a photo")
    library = Library.create(str(tmp_path / "library"))
    with Lease(library.path) as lease:
        index(library, lease, str(photos), IndexOptions(engine=asked), quiet=True)
    assert engines == [expected]
