"""The evaluations, on libraries and boxes small enough to know the answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.calibration import USUAL_CONFIDENCE, Calibration
from pipeline.calibrate import assigned_right, best_threshold, calibrate, confidence_curve
from pipeline.evaluate import clusters, in_learning_half
from pipeline.evaluate_grouping import ABLATIONS, evaluate_grouping
from pipeline.group import group_library, is_current
from pipeline.labelled import labelled_photos
from pipeline.options import UsageError
from tests.labelled_library import DIMENSIONS, EACH, PEOPLE, labelled_library
from transforms.grouping import METHODS, THRESHOLD_METHODS
from transforms.library import Library, LibraryError
from transforms.tables import CONFIDENCE


@pytest.fixture
def labelled(tmp_path: Path) -> Library:
    return labelled_library(tmp_path)


def test_the_labelled_face_covers_the_centre(labelled: Library) -> None:
    found = labelled_photos(labelled)
    names = [found.face_ids[f].rpartition(":")[2] if f >= 0 else None for f in found.face]
    assert names.count("0") == PEOPLE * EACH
    assert names.count(None) == 1, "the photo that could not be decoded has none"


def test_groups_are_scored_with_ungrouped_faces_alone(labelled: Library) -> None:
    with pytest.raises(LibraryError, match="albumen group"):
        clusters(labelled)
    group_library(labelled, method="default", seed=0)
    _, facts = clusters(labelled)
    scores = facts["all"]
    assert isinstance(scores, dict)
    assert scores["bcubed_f"] > 0.97
    assert scores["faces"] == PEOPLE * EACH + 1
    halves = [facts[k] for k in facts if k.endswith("hash)")]
    assert sum(half["faces"] for half in halves if isinstance(half, dict)) == scores["faces"]


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
def test_the_same_library_and_seed_give_the_same_people(labelled: Library, method: str) -> None:
    import torch

    found, threads = [], torch.get_num_threads()
    for number in (1, 2):
        torch.set_num_threads(number)
        made = group_library(labelled, method=method, seed=5, full=True)
        assert made.kind == "full", "what is kept would be the same in any case"
        found.append(labelled.read_assignments(made.revision))
    torch.set_num_threads(threads)
    assert found[0].drop([CONFIDENCE]).equals(found[1].drop([CONFIDENCE]))
    np.testing.assert_allclose(found[0][CONFIDENCE], found[1][CONFIDENCE], atol=1e-3)


def test_k_means_is_told_how_many_people_there_are(labelled: Library) -> None:
    with pytest.raises(UsageError, match="--people"):
        group_library(labelled, method="kmeans", seed=0)
    with pytest.raises(UsageError, match="--people"):
        group_library(labelled, method="default", seed=0, number=7)
    summary = group_library(labelled, method="kmeans", seed=0, number=PEOPLE)
    grouping = labelled.read_grouping(summary.revision)
    assert grouping["number"] == PEOPLE and grouping["ran"] == f"k-means, {PEOPLE} groups"
    assert is_current(labelled, method="kmeans", seed=0, number=PEOPLE)
    assert not is_current(labelled, method="kmeans", seed=0, number=PEOPLE + 1)


def test_a_calibration_is_learnt_from_one_half_and_found_again(labelled: Library, tmp_path: Path) -> None:
    lines, facts = calibrate(labelled, str(tmp_path))
    learnt = Calibration.from_json(Path(str(facts["file"])).read_text())
    assert set(learnt.thresholds) == set(THRESHOLD_METHODS)
    assert learnt.centre.shape == (DIMENSIONS,)
    half = [p for p in range(PEOPLE) if in_learning_half(f"Person_{p}")]
    assert 0 < len(half) < PEOPLE
    assert f"{len(half) * EACH} faces of the learning half" in lines[0]


def test_every_way_of_grouping_is_scored(labelled: Library, tmp_path: Path) -> None:
    lines, facts = evaluate_grouping(labelled, out=str(tmp_path / "out"), distractors=(), synthetic=1500)
    tables = (tmp_path / "out" / "grouping_tables.md").read_text()
    assert tables == "\n".join(lines) + "\n"
    for method in METHODS:
        scores = facts[f"Method {method}"]
        assert isinstance(scores, dict)
        assert scores["all LFW"]["faces"] == PEOPLE * EACH + 1
        assert scores["all LFW"]["people"] == PEOPLE
        assert scores["all LFW"]["bcubed_f"] > 0.8, method
    assert all(name in tables for name in ABLATIONS if name != "default")
    synthetic = facts["The default without its parts, on 1,500 synthetic faces"]
    assert isinstance(synthetic, dict) and list(synthetic) == list(ABLATIONS)
    assert synthetic["default"]["faces"] == 1500
    assert 0.8 < synthetic["default"]["bcubed_f"] < 1
    bins = facts["confidence"]
    assert isinstance(bins, list) and sum(count for count, _, _ in bins) > PEOPLE
    assert (tmp_path / "out" / "confidence.svg").read_text().startswith("<?xml")


def test_confidence_is_learnt_as_how_often_an_assignment_is_right() -> None:
    random = np.random.default_rng(0)
    beyond = random.uniform(-0.1, 0.3, 20_000)
    curve = confidence_curve(beyond, random.random(20_000) < 0.5 + beyond)
    assert list(curve.values) == sorted(curve.values)
    places = np.array([-0.05, 0.05, 0.2])
    np.testing.assert_allclose(curve.at(places), 0.5 + places, atol=0.05)
    assert confidence_curve(beyond[:5], beyond[:5] > 0) == USUAL_CONFIDENCE


def test_an_assignment_is_right_where_most_others_are_of_the_person() -> None:
    labels, people = np.array([0, 0, 0, 1, 1, 2, 3, 3]), np.array([5, 5, 6, 7, 8, 9, 4, 4])
    expected = [True, True, False, False, False, False, True, True]
    assert assigned_right(labels, people).tolist() == expected


def test_the_best_threshold_is_the_middle_of_the_good_ones() -> None:
    turn = np.radians([0, 10, 90, 100])
    vectors = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
    threshold, score = best_threshold(vectors, np.array([0, 0, 1, 1]), method="agglomerative")
    assert score == 1.0
    assert threshold == pytest.approx((0.34 + 0.74) / 2, abs=0.03)
