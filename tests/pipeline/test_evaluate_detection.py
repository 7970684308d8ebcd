from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import evaluate_detection
from pipeline.evaluate_detection import detection, read_boxes
from pipeline.labelled import Workplace
from pipeline.options import UsageError

LABELS = {
    "photos/a.jpg": [
        {"box": [10, 10, 60, 60], "invalid": 0, "blur": 2, "occlusion": 1},
        {"box": [100, 10, 60, 60], "invalid": 1},
        {"box": [200, 10, 20, 20]},
    ],
    "../b.jpg": [{"box": [10, 10, 60, 60]}],
}


@pytest.fixture
def boxes(tmp_path: Path) -> str:
    (tmp_path / "boxes.json").write_text(json.dumps(LABELS))
    return str(tmp_path / "boxes.json")


def test_small_and_invalid_faces_do_not_score(boxes: str) -> None:
    truth = read_boxes(boxes)["photos/a.jpg"]
    assert truth.scored.tolist() == [True, False, False]
    assert truth.boxes[0].tolist() == [10, 10, 70, 70]
    assert truth.properties["blur"].tolist() == [2, 0, 0]


@pytest.mark.parametrize("text", ["[]", "{", '{"a": [{"box": [1, 2]}]}', '{"a": [{"blur": 0}]}', '{"a": 3}'])
def test_a_file_of_another_kind_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(UsageError, match=r"boxes\.json can't be read"):
        read_boxes(str(tmp_path / "boxes.json"))


def test_photos_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps({"a/1.jpg": [], "b/1.jpg": []}))
    work = Workplace(str(tmp_path / "out"), "", quiet=True)
    with pytest.raises(UsageError, match=r"names a/1\.jpg and b/1\.jpg"):
        detection(str(tmp_path), str(tmp_path / "boxes.json"), work)


def test_finds_failures_and_pictures_are_reported(
    boxes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "b.jpg"):
        Image.new("RGB", (300, 200), "grey").save(tmp_path / name)
    hit = np.array([[10, 10, 70, 70]], np.float32), np.array([0.9])
    answers = iter([hit, hit, hit, None])
    for way in ("albumen_detector", "reference_detector"):
        monkeypatch.setattr(evaluate_detection, way, lambda: lambda pixels: next(answers))
    work = Workplace(str(tmp_path / "out"), "albumen evaluate detection PHOTOS BOXES", quiet=True)
    lines, facts = detection(str(tmp_path), boxes, work)
    assert "2 photos, 2 faces" in lines[0]
    ours, reference = facts["albumen"], facts["facenet-pytorch"]
    assert isinstance(ours, dict) and isinstance(reference, dict)
    assert ours["subsets"]["all"]["recall"] == 1
    assert ours["subsets"]["blurred"]["labelled"] == 1
    assert (reference["failures"], reference["subsets"]["all"]["recall"]) == (1, 0.5)
    assert not Path(work.out, "pictures").exists(), "without mistakes nothing is drawn"
    assert "facenet-pytorch" in Path(work.out, "detection.md").read_text()


def test_a_photo_that_is_not_there_is_named(
    boxes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate_detection, "albumen_detector", lambda: lambda pixels: None)
    with pytest.raises(UsageError, match=r"b\.jpg can't be read"):
        detection(str(tmp_path), boxes, Workplace(str(tmp_path), ""), reference=False)
