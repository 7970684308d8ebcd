"""The evaluations, on libraries and boxes small enough to know the answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.calibration import USUAL_CONFIDENCE, Calibration
from pipeline.calibrate import assigned_right, best_threshold, calibrate, confidence_curve
from pipeline.evaluate import clusters, in_learning_half, labelled_faces, lfw
from pipeline.evaluate_detection import Counts, Truth, match, read_boxes
from pipeline.evaluate_grouping import ABLATIONS, evaluate_grouping
from pipeline.group import group_library, is_current
from pipeline.options import UsageError
from tests.face_library import face_jpeg
from transforms.grouping import METHODS, THRESHOLD_METHODS
from transforms.library import Library, LibraryError
from transforms.records import ERROR, OK, FaceRow, FileEntry, PhotoRow
from transforms.tables import CONFIDENCE

SETTINGS = {"detector": {}, "embedder": {"name": "stand-in"}}
PEOPLE, EACH, DIMENSIONS = 30, 4, 32


@pytest.fixture
def labelled(tmp_path: Path) -> Library:
    """30 people with 4 photos each, 100 × 100; in each photo a stranger's face at the border."""
    random = np.random.default_rng(3)
    library = Library.create(str(tmp_path / "library"))
    library.use_fingerprint("stand-in", SETTINGS)
    photos, faces, vectors = [], [], []
    for person in range(PEOPLE):
        middle = random.normal(size=DIMENSIONS)
        for number in range(1, EACH + 1):
            photo = f"{person:028x}{number:04x}"
            path = f"Person_{person}/Person_{person}_{number:04d}.jpg".encode()
            entry = FileEntry("photos", path, 1, 1)
            photos.append(PhotoRow(entry, OK, photo_id=photo, width=100, height=100, format="JPEG"))
            for k, (box, spread) in enumerate((((30, 30, 80, 80), 0.15), ((0, 0, 20, 20), 9.0))):
                vector = middle + spread * random.normal(size=DIMENSIONS)
                vectors.append(vector / np.linalg.norm(vector))
                points = np.array([[40, 45], [60, 45], [50, 55], [42, 65], [58, 65]], np.float32)
                faces.append(
                    FaceRow(f"{photo}:{k}", photo, np.array(box, np.float32), points, 0.99, 50, 0.3, 0, 0)
                )
    photos.append(PhotoRow(FileEntry("photos", b"Person_0/bad.jpg", 1, 1), ERROR, "cut", photo_id="f" * 32,
                           width=100, height=100))  # fmt: skip
    library.commit_chunk(
        "chunk", fingerprint="stand-in", photos=photos, faces=faces,
        embeddings=np.array(vectors, np.float32), thumbs=[face_jpeg(i) for i in range(len(faces))],
    )  # fmt: skip
    return library


def pairs_file(folder: Path) -> str:
    lines = ["2\t10"]
    for fold in range(2):
        lines += [f"Person_{fold * 10 + i}\t1\t2" for i in range(10)]
        lines += [f"Person_{fold * 10 + i}\t1\tPerson_{fold * 10 + i + 1}\t3" for i in range(10)]
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    return str(folder / "pairs.txt")


def test_the_labelled_face_covers_the_centre(labelled: Library) -> None:
    found = labelled_faces(labelled, embeddings=False)
    names = [found.face_ids[f].rpartition(":")[2] if f >= 0 else None for f in found.face]
    assert names.count("0") == PEOPLE * EACH
    assert names.count(None) == 1, "the photo that could not be decoded has none"


def test_verification_of_people_who_are_easy_to_tell_apart(labelled: Library, tmp_path: Path) -> None:
    lines, facts = lfw(labelled, pairs_file(tmp_path))
    centred = facts["centred"]
    assert isinstance(centred, dict)
    assert centred["accuracy"] == 1.0
    assert centred["val_all"][0] == 1.0
    assert "121 photos, 120 with a labelled face" in lines[0]


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
        revision = group_library(labelled, method=method, seed=5).revision
        found.append(labelled.read_assignments(revision))
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
    lines, facts = evaluate_grouping(labelled, out=str(tmp_path / "out"), distractors=())
    tables = (tmp_path / "out" / "grouping_tables.md").read_text()
    assert tables == "\n".join(lines) + "\n"
    for method in METHODS:
        scores = facts[f"Method {method}"]
        assert isinstance(scores, dict)
        assert scores["all LFW"]["faces"] == PEOPLE * EACH + 1
        assert scores["all LFW"]["people"] == PEOPLE
        assert scores["all LFW"]["bcubed_f"] > 0.8, method
    assert all(name in tables for name in ABLATIONS if name != "default")
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
