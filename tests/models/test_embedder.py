from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models import facenet_weights
from models.crop import FivePointGeometry, UprightBoxGeometry
from models.detector import MtcnnSettings
from models.embedder import EmbedderSpec, embedder_spec, fingerprint, load_embedder, unit
from models.engine import choose_engine
from models.weights import WeightsError
from tests.onnx_files import model

SPEC = embedder_spec("facenet-casia")


def name_of(*, detector: MtcnnSettings = MtcnnSettings(), embedder: EmbedderSpec = SPEC) -> str:
    return fingerprint(detector.describe(), embedder.describe())


@pytest.mark.parametrize(
    "change",
    [
        {"detector": MtcnnSettings(min_face=40)},
        {"detector": MtcnnSettings(working_side=2000)},
        {"detector": MtcnnSettings(thresholds=(0.6, 0.7, 0.8))},
        {"detector": MtcnnSettings(pyramid_factor=0.8)},
        {"embedder": embedder_spec("facenet-casia", mirror=True)},
        {"embedder": replace(SPEC, geometry=UprightBoxGeometry(box_share=0.8))},
        {"embedder": replace(SPEC, geometry=FivePointGeometry())},
        {"embedder": replace(SPEC, weights="0" * 64)},
        {"embedder": replace(SPEC, size=112)},
        {"embedder": replace(SPEC, preprocessing="bgr")},
        {"embedder": replace(SPEC, name="other")},
    ],
    ids=str,
)
def test_the_fingerprint_changes_with_all_that_changes_vectors(change: dict[str, object]) -> None:
    assert name_of(**change) != name_of()  # type: ignore[arg-type]


def test_the_fingerprint_is_the_same_for_the_same_settings() -> None:
    assert name_of() == name_of(detector=MtcnnSettings(), embedder=embedder_spec("facenet-casia"))
    shuffled = dict(reversed(SPEC.describe().items()))
    assert fingerprint(MtcnnSettings().describe(), shuffled) == name_of()


def test_the_fingerprint_names_detector_and_embedder_and_is_a_file_name() -> None:
    odd = replace(SPEC, name="onnx:my model/ü.onnx")
    assert name_of().startswith("mtcnn-facenet-casia-")
    assert all(c.isalnum() or c == "-" for c in name_of(embedder=odd))


def test_neither_engine_nor_precision_is_part_of_the_description() -> None:
    described = {*SPEC.describe(), *MtcnnSettings().describe()}
    assert not described & {"device", "precision", "dtype", "engine", "batch"}


def test_facenet_s_weights_are_in_the_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SPEC.weights == facenet_weights.CASIA.sha256
    monkeypatch.setattr(facenet_weights, "vggface2_sha256", lambda: "1" * 64)
    assert embedder_spec("facenet-vggface2").weights == "1" * 64


def test_an_onnx_file_is_described_by_its_content(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        model(tmp_path / name / "net.onnx", ("n", 3, 20, 20), size=20, seed=seed)
    first, second = (embedder_spec(f"onnx:{tmp_path / name / 'net.onnx'}") for name in "ab")
    assert first.name == second.name == "onnx"
    assert (first.size, first.geometry) == (20, FivePointGeometry())
    assert name_of(embedder=first) != name_of(embedder=second)


@pytest.mark.parametrize("name", ["facenet", "", "vggface2", "FACENET-CASIA"])
@pytest.mark.parametrize("use", [embedder_spec, partial(load_embedder, engine=choose_engine())])
def test_an_unknown_name_is_refused_with_those_there_are(name: str, use) -> None:
    with pytest.raises(
        WeightsError, match=r"unknown embedder .*facenet-casia, facenet-vggface2 or onnx:FILE"
    ):
        use(name)


@given(hnp.arrays(np.float32, (4, 3), elements=st.floats(-1e6, 1e6, width=32)))
def test_vectors_get_unit_length_but_zero_stays_zero(vectors: np.ndarray) -> None:
    vectors[0] = 0
    lengths = np.linalg.norm(unit(vectors).astype(np.float64), axis=1)
    large = np.abs(vectors).max(axis=1) > 1e-6
    np.testing.assert_allclose(lengths[large], 1, atol=1e-5)
    assert lengths[0] == 0 and np.isfinite(lengths).all() and unit(vectors).dtype == np.float32
