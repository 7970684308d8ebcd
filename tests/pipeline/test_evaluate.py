"""The evaluations, on libraries and boxes small enough to know the answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.calibration import Calibration
from pipeline.calibrate import best_threshold, calibrate
from pipeline.evaluate import clusters, in_learning_half, labelled_faces
from pipeline.evaluate_detection import Counts, Truth, match, read_boxes
from pipeline.group import group_library
from tests.labelled_library import DIMENSIONS, EACH, PEOPLE, labelled_library
from transforms.library import Library, LibraryError


@pytest.fixture
def labelled(tmp_path: Path) -> Library:
    return labelled_library(tmp_path)


def test_the_labelled_face_covers_the_centre(labelled: Library) -> None:
    found = labelled_faces(labelled, embeddings=False)
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


def test_a_calibration_is_learnt_from_one_half_and_found_again(labelled: Library, tmp_path: Path) -> None:
    lines, facts = calibrate(labelled, str(tmp_path))
    learnt = Calibration.from_json(Path(str(facts["file"])).read_text())
    assert set(learnt.thresholds) == {"default", "hdbscan", "agglomerative"}
    assert learnt.centre.shape == (DIMENSIONS,)
    half = [p for p in range(PEOPLE) if in_learning_half(f"Person_{p}")]
    assert 0 < len(half) < PEOPLE
    assert f"{len(half) * EACH} faces of the learning half" in lines[0]


def test_the_best_threshold_is_the_middle_of_the_good_ones() -> None:
    turn = np.radians([0, 10, 90, 100])
    vectors = np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
    threshold, score = best_threshold(vectors, np.array([0, 0, 1, 1]), method="agglomerative")
    assert score == 1.0
    assert threshold == pytest.approx((0.34 + 0.74) / 2, abs=0.03)


def test_a_found_box_takes_the_free_label_that_it_overlaps_most() -> None:
    truth = np.array([[0, 0, 10, 10], [100, 100, 120, 120]], float)
    found = np.array([[0, 0, 10, 9], [1, 0, 11, 10], [100, 100, 109, 120], [300, 0, 310, 10]], float)
    assert match(found, truth).tolist() == [0, -1, -1, -1]
    assert match(found[:0], truth).tolist() == []
    assert match(found, truth[:0]).tolist() == [-1, -1, -1, -1]


def test_small_and_invalid_labels_count_neither_way(tmp_path: Path) -> None:
    labels = {
        "photos/a.jpg": [
            {"box": [0, 0, 50, 50], "invalid": 0},
            {"box": [100, 0, 50, 50], "invalid": 1},
            {"box": [200, 0, 20, 20], "invalid": 0},
            {"box": [300, 0, 90, 90], "invalid": 0},
        ]
    }
    (tmp_path / "boxes.json").write_text(json.dumps(labels))
    (truth,) = read_boxes(str(tmp_path / "boxes.json")).values()
    assert isinstance(truth, Truth)
    counts = Counts()
    # The first label, the invalid one, the small one, and nothing at all of 50 px and of 10 px.
    found = [[0, 0, 50, 50], [100, 0, 150, 50], [200, 0, 220, 20], [500, 0, 550, 50], [600, 0, 610, 10]]
    counts.add(np.array(found, np.float32), truth)
    counts.add(None, truth)
    figures = counts.figures()
    assert figures["recall"] == pytest.approx(1 / 4)
    assert figures["precision"] == pytest.approx(1 / 2)
    assert figures["errors"] == 1
