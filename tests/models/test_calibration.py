from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import calibration
from models.calibration import (
    Calibration,
    Cohort,
    Curve,
    Line,
    calibration_key,
    learnt_from_library,
    shipped_calibration,
)
from models.embedder import embedder_spec

DESCRIPTION = embedder_spec("facenet-casia").describe()


def vectors(people: int, each: int, *, noise: float, seed: int = 0, dimensions: int = 64) -> np.ndarray:
    """`each` unit vectors of every person, all drawn towards one common direction."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(people, dimensions)) + 0.7
    result = np.repeat(centres, each, axis=0) + noise * random.normal(size=(people * each, dimensions))
    return (result / np.linalg.norm(result, axis=1, keepdims=True)).astype(np.float32)


def test_a_line_rises_with_the_logarithm_of_the_library() -> None:
    line = Line(0.4, 0.05)
    assert line.at(1000) == pytest.approx(0.55)
    assert line.at(1_000_000) == pytest.approx(0.7)
    assert line.at(0) == line.at(3) == line.at(10) == pytest.approx(0.45)


def test_a_calibration_survives_as_text() -> None:
    centre = np.linspace(-0.1, 0.1, 512, dtype=np.float32)
    cohort = Cohort(vectors(40, 1, noise=0), 0.3125)
    curve = Curve((-0.1, 0.2), (0.5, 0.99))
    lines = {"default": Line(0.4, 0.05), "hdbscan": Line(0.3, 0)}
    written = Calibration(centre, lines, "LFW, half", cohort, curve)
    read = Calibration.from_json(written.to_json())
    assert (read.thresholds, read.source, read.confidence) == (lines, "LFW, half", curve)
    assert read.cohort is not None and read.cohort.usually == 0.3125
    np.testing.assert_allclose(read.cohort.vectors, cohort.vectors, atol=0.005)
    faces = vectors(20, 1, noise=0, seed=1)
    np.testing.assert_allclose(read.cohort.bias(faces), cohort.bias(faces), atol=0.005)
    assert Calibration.from_json(Calibration(centre, lines, "none").to_json()).cohort is None
    assert read.centre.dtype == np.float32
    np.testing.assert_allclose(read.centre, centre, atol=1e-6)


@pytest.mark.parametrize("block", [3, 10_000])
def test_bias_is_the_likeness_to_the_nearest_strangers_beyond_what_is_usual(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "_BLOCK", block)
    cohort, faces = Cohort(vectors(30, 1, noise=0), 0.25), vectors(10, 1, noise=0, seed=1)
    expected = np.sort(faces @ cohort.vectors.T, axis=1)[:, -12:].mean(axis=1) - 0.25
    np.testing.assert_allclose(cohort.bias(faces), expected, atol=1e-6)
    few = Cohort(cohort.vectors[:2], 0.25)
    np.testing.assert_allclose(few.bias(faces), (faces @ few.vectors.T).mean(axis=1) - 0.25, atol=1e-6)
    assert cohort.bias(faces[:0]).shape == (0,)


def test_a_curve_is_level_beyond_its_ends() -> None:
    curve = Curve((0.0, 1.0), (0.2, 0.8))
    np.testing.assert_allclose(curve.at(np.array([-5, 0.5, 7])), [0.2, 0.5, 0.8])


def test_strangers_of_one_photo_tell_more_than_strangers_taken_at_random() -> None:
    """Guests of one party are more alike than strangers are: the threshold must hold for them."""
    faces, party = vectors(100, 24, noise=1.5), np.repeat(np.arange(100), 24)

    def threshold(photo: np.ndarray | None) -> float:
        return learnt_from_library(faces, ["default"], photo).thresholds["default"].at(len(faces))

    assert threshold(party) > threshold(None) + 0.05
    shuffled = np.random.default_rng(0).permutation(party)
    assert threshold(shuffled) == pytest.approx(threshold(None), abs=0.03)
    assert threshold(np.arange(len(faces))) == threshold(None), "no two faces in one photo"


def test_every_part_of_an_embedder_s_description_has_its_own_file() -> None:
    keys = {calibration_key({**DESCRIPTION, part: "another"}) for part in DESCRIPTION}
    assert len(keys | {calibration_key(DESCRIPTION)}) == len(DESCRIPTION) + 1
    odd = calibration_key({**DESCRIPTION, "name": "onnx:../x y.onnx"})
    assert set(odd) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.") and odd.endswith(".json")
    assert "/" not in odd and ".." not in odd


def test_a_shipped_calibration_is_found_by_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration.resources, "files", lambda package: tmp_path)
    assert shipped_calibration(DESCRIPTION) is None
    (tmp_path / "calibrations").mkdir()
    text = Calibration(np.ones(3, np.float32), {"default": Line(1, 2)}, "test").to_json()
    (tmp_path / "calibrations" / calibration_key(DESCRIPTION)).write_text(text)
    found = shipped_calibration(DESCRIPTION)
    assert found is not None and found.thresholds == {"default": Line(1, 2)}
    assert shipped_calibration({**DESCRIPTION, "mirror": True}) is None


def test_what_is_shipped_can_be_read() -> None:
    folder = Path(calibration.__file__).parent / "calibrations"
    for file in folder.glob("*.json"):
        shipped = Calibration.from_json(file.read_text(encoding="utf-8"))
        assert shipped.source and np.isfinite(shipped.centre).all()
        assert all(0 < line.at(n) < 1 for line in shipped.thresholds.values() for n in (10, 10**7))
        assert shipped.cohort is not None and shipped.cohort.vectors.shape[1] == len(shipped.centre)
        assert list(shipped.confidence.values) == sorted(shipped.confidence.values)


def test_an_unknown_embedder_s_threshold_tells_the_library_s_people_apart() -> None:
    faces = vectors(200, 5, noise=0.3)
    learnt = learnt_from_library(faces, ["default", "hdbscan"])
    assert set(learnt.thresholds) == {"default", "hdbscan"}
    np.testing.assert_allclose(learnt.centre, faces.mean(axis=0), atol=1e-6)
    moved = faces - learnt.centre
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    threshold = learnt.thresholds["default"].at(len(faces))
    similarity, person = moved @ moved.T, np.repeat(np.arange(200), 5)
    same = person[:, None] == person[None, :]
    assert (similarity[same] >= threshold).mean() > 0.99
    strangers_per_face = (similarity[~same] >= threshold).sum() / len(faces)
    assert strangers_per_face < 2


def test_the_learnt_threshold_rises_with_the_library() -> None:
    line = learnt_from_library(vectors(300, 1, noise=0), ["default"]).thresholds["default"]
    assert 0 < line.at(100) < line.at(10_000) < line.at(1_000_000) < 1


@pytest.mark.parametrize("count", [0, 1, 2, 14])
def test_a_handful_of_faces_gets_a_middling_threshold(count: int) -> None:
    learnt = learnt_from_library(vectors(14, 1, noise=0)[:count], ["default"])
    assert learnt.centre.shape == (64,) and np.isfinite(learnt.centre).all()
    assert 0.4 < learnt.thresholds["default"].at(count) < 0.7


def test_a_large_library_is_learnt_from_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = vectors(400, 1, noise=0)
    monkeypatch.setattr(calibration, "_SAMPLE", 100)
    sampled = learnt_from_library(faces, ["default"]).thresholds["default"]
    monkeypatch.setattr(calibration, "_SAMPLE", 4000)
    assert sampled.at(400) == pytest.approx(
        learnt_from_library(faces, ["d"]).thresholds["d"].at(400), abs=0.03
    )
