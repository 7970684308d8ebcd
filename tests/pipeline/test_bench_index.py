from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.bench_index import Task, Turn, bench, overhead, photos_of, ratio, run
from pipeline.bench_quality import missed_against
from pipeline.contenders import ALBUMEN, CONTENDERS, REDUCED, REFERENCE, _facenet_pytorch
from pipeline.evaluate_detection import Detected
from pipeline.options import UsageError
from pipeline.stages import Stages
from pipeline.supervise import RunFailed
from tests import photo_files
from tests.people_archive import portrait, write_archive
from transforms.detection_scores import PhotoFinds, Truth


def _run(contender: str, task: Task, *, cores: int) -> Turn:
    """One of the two loops of facenet-pytorch runs here: it takes ten seconds to load once more."""
    if contender != REDUCED:
        return run(contender, task, cores=cores)
    found = _facenet_pytorch(reduced=True)(task.photos)
    return Turn(REDUCED, len(task.photos), found["faces"], 1.0, 0.0, found["failed"])


def test_the_loops_are_measured_on_the_same_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.bench_index.run", _run)
    folder = write_archive(tmp_path / "photos", portraits_each=2)
    lines, data = bench([str(folder)], count=3, turns=1, passes=2, precision="float32", workers=1)
    measured = data["photos"]
    assert isinstance(measured, dict)
    (turn,) = measured["turns"]["1"]
    assert set(turn) == set(CONTENDERS)
    assert turn[REFERENCE]["photos"] == turn[REDUCED]["photos"] == 3
    assert {turn[name]["failed"] for name in CONTENDERS} == {0}
    # Albumen looks at every photo in both passes.
    assert turn[ALBUMEN]["photos"] == 6
    assert turn[ALBUMEN]["faces"] == 2 * turn[REFERENCE]["faces"] > 0
    slow, fast = (turn[name]["seconds"] / turn[name]["photos"] for name in (REFERENCE, ALBUMEN))
    assert measured["ratio_to_reference"]["1"] == pytest.approx(slow / fast)
    stages = measured["stage_ms_per_photo"]["1"]
    assert measured["floor_ms_per_photo"]["1"] == pytest.approx(
        stages["decode"] + stages["networks of detect"] + stages["embed"]
    )
    assert "above it" in lines[-2]
    parts = turn[ALBUMEN]["milliseconds"]
    assert list(parts) == ["decode", "networks of detect", "embed", "pixels", "all else"]
    assert min(parts.values()) > 0
    kernels = parts["decode"] + parts["networks of detect"] + parts["embed"]
    assert measured["within"]["1"]["pixels"] == pytest.approx(parts["pixels"] / kernels)
    assert "all else (Beam, Parquet, Python)" in lines[-1]


def test_stages_can_be_measured_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stages(task: Task, *, cores: int) -> Stages:
        assert len(task.photos) == 3 and cores == 1 and task.engine == "torch"
        return Stages({"list": 0.5, "decode": 1.0, "networks of detect": 2.0, "embed": 3.0})

    monkeypatch.setattr("pipeline.bench_index.measure_stages", stages)
    monkeypatch.setattr("pipeline.bench_index.run", None)
    folder = write_archive(tmp_path / "photos", portraits_each=2)
    shutil.copytree(folder, tmp_path / "more" / "photos")
    folders = [str(folder), str(tmp_path / "more" / "photos")]
    lines, data = bench(
        folders, count=3, turns=1, passes=1, engine="torch", precision="float32", workers=1, stages_only=True
    )
    # Folders that are called alike are told apart.
    assert list(data) == ["photos", folders[1]]
    measured = data["photos"]
    assert isinstance(measured, dict)
    assert measured["turns"] == {} and "scaling" not in measured
    assert measured["floor_ms_per_photo"] == {"1": 6.0}
    assert len(lines) == 6 and "stages by themselves, ms a photo, 1 at a time: list 0.50" in lines[1]


def test_photos_are_spread_over_the_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no photographs: give"):
        photos_of(str(tmp_path), 3)
    for number in range(10):
        (tmp_path / f"{number}.jpg").write_bytes(photo_files.jpeg())
    (tmp_path / "notes.txt").touch()
    photos, left_out = photos_of(str(tmp_path), 3)
    assert [Path(p).stem for p in photos] == ["0", "3", "6"] and left_out == 0


def test_photos_that_not_every_loop_can_read_are_left_out_and_counted(tmp_path: Path) -> None:
    whole = photo_files.jpeg(400, 300)
    for name, data in {
        "photo.jpg": whole,
        "small.png": photo_files.encode("PNG", Image.new("RGB", (12, 12))),
        "cut.jpg": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "phone.heic": photo_files.encode("HEIF"),
        "camera.raf": photo_files.fujifilm_raw(whole),
        "letter": b"no photo at all",
    }.items():
        (tmp_path / name).write_bytes(data)
    photos, left_out = photos_of(str(tmp_path), 20)
    assert [Path(p).name for p in photos] == ["photo.jpg", "small.png"] and left_out == 5
    for path in photos:
        Path(path).unlink()
    with pytest.raises(UsageError, match="of the 5 files tried"):
        photos_of(str(tmp_path), 20)


def test_a_photo_that_the_reference_can_not_take_is_counted(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("small.png", "face.jpg", "damaged.jpg")]
    for path, data in zip(
        paths, (photo_files.encode("PNG", Image.new("RGB", (12, 12))), portrait("hopper"), b"x"), strict=True
    ):
        path.write_bytes(data)
    assert _facenet_pytorch(reduced=True)([str(p) for p in paths]) == {"faces": 1, "failed": 2}


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit('no such weights')", "reference could not start: no such weights"),
        ("import sys; sys.stdin.close(); raise SystemExit('gone')", "could not start: gone"),
        (
            "print('ready', flush=True); input(); raise SystemExit('out of memory')",
            "reference ended before it was done, with exit code 1: out of memory",
        ),
    ],
)
def test_a_loop_that_does_not_come_to_its_end_says_why(
    program: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    popen = subprocess.Popen
    monkeypatch.setattr(
        "pipeline.bench_index.subprocess.Popen",
        lambda command, **how: popen([sys.executable, "-c", program], **how),
    )
    task = Task([f"{n}-{'long' * 30}.jpg" for n in range(2000)], 1, 1, "auto", "float32")
    with pytest.raises(RunFailed, match=said):
        run(REFERENCE, task, cores=1)


def test_ratios_are_taken_turn_by_turn() -> None:
    def turn(slow: float, fast: float) -> dict[str, Turn]:
        return {"slow": Turn("slow", 1, 1, slow, 0), "fast": Turn("fast", 1, 1, fast, 0)}

    assert ratio([turn(2, 1), turn(40, 10), turn(90, 10)], "slow", "fast") == 4


def test_what_lies_above_the_floor_is_told_turn_by_turn() -> None:
    """A machine that is twice as slow in one turn is so for the stages of that turn too."""

    def turn(milliseconds: float) -> dict[str, Turn]:
        return {ALBUMEN: Turn(ALBUMEN, 1000, 0, milliseconds, 0)}

    def stages(decode: float) -> Stages:
        return Stages({"decode": decode, "networks of detect": 5.0, "embed": 5.0, "align": 1.0})

    turns, measured = [turn(22), turn(44), turn(30)], [stages(10), stages(30), stages(10)]
    assert overhead(turns, measured, cores=1) == pytest.approx(0.1)
    # On two cores, a photo takes each core twice as long as the rate of both says.
    assert overhead([turn(22)], [stages(30)], cores=2) == pytest.approx(0.1)
    assert Stages.usual(measured).milliseconds == {
        "decode": 10, "networks of detect": 5, "embed": 5, "align": 1,
    }  # fmt: skip


def test_what_one_detector_misses_of_another_is_told_by_height() -> None:
    boxes = np.array([[0, 0, 50, 50], [100, 0, 200, 100], [300, 0, 500, 200], [600, 0, 620, 20]], np.float32)
    truth = Truth(boxes, np.array([True, True, True, False]))

    def finding(*which: int) -> Detected:
        chosen = boxes[list(which)]
        return Detected("", {"a.jpg": PhotoFinds.of(truth, chosen, np.ones(len(chosen)))}, 0, 0.0)

    assert missed_against(finding(0, 1, 3), finding(1, 2)) == {
        "40 to 80 px": (1, 0), "80 to 160 px": (0, 0), "from 160 px": (0, 1),
    }  # fmt: skip
