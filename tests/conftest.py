"""One math thread, as in a worker: on a busy machine several wait for each other most of the time."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"
# How long an example takes says something about the machine: the first one compiles, others wait.
settings.register_profile("albumen", deadline=None)
settings.load_profile("albumen")


@pytest.fixture(scope="session")
def small_embedder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An embedder that costs next to nothing, for where it matters which faces there are, not what they are
    like: what ``--embedder`` takes."""
    from tests.onnx_files import model

    path = tmp_path_factory.mktemp("embedder") / "small.onnx"
    model(path, ("n", 3, 112, 112))
    return f"onnx:{path}"
