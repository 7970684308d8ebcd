"""What `albumen bench …` does with folders that hold nothing to measure, and what it takes for granted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline import commands
from pipeline.bench_memory import _Samples
from pipeline.camera_photos import HEIGHT, WIDTH, write_camera_photos
from pipeline.cli_bench import bench
from pipeline.options import UsageError


def test_folders_to_measure_must_be_given() -> None:
    result = CliRunner().invoke(bench, ["index"])
    assert result.exit_code == 2 and "FOLDERS" in result.output


def test_there_are_as_many_workers_as_cores_that_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def bench_index(folders: tuple[str, ...], *, workers: int, **_: object) -> commands.Result:
        asked.append(workers)
        return commands.Result([], {})

    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {2, 3, 7}, raising=False)
    monkeypatch.setattr(commands, "bench_index", bench_index)
    for arguments in ([], ["--workers", "5"]):
        assert CliRunner().invoke(bench, ["index", str(tmp_path), *arguments]).exit_code == 0
    assert asked == [3, 5]


def test_memory_needs_photos(tmp_path: Path) -> None:
    result = CliRunner().invoke(bench, ["memory", str(tmp_path)])
    assert result.exit_code == 2 and "holds no files: give a folder" in result.output


def test_a_worker_that_was_never_seen_has_no_memory_to_tell_of() -> None:
    assert _Samples().by_stretch(10) == []


@pytest.fixture
def sources(tmp_path: Path) -> tuple[str, str, str]:
    """Folders of portraits and crowds, and the crowds' labels: one with a background, one without."""
    pixels = np.random.default_rng(4).integers(0, 256, (480, 640, 3), np.uint8)
    for name, image in {
        "portraits/a.jpg": Image.fromarray(pixels[:250, :250]),
        "crowds/room.jpg": Image.fromarray(pixels),
        "crowds/full.jpg": Image.fromarray(pixels),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image.save(tmp_path / name)
    boxes = {"room.jpg": [{"box": [10, 0, 60, 60]}], "full.jpg": [{"box": [10, 100, 600, 300]}]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    return str(tmp_path / "portraits"), str(tmp_path / "crowds"), str(tmp_path / "boxes.json")


def test_camera_photos_are_the_same_for_the_same_seed(sources: tuple[str, str, str], tmp_path: Path) -> None:
    made = []
    for out in ("a", "b"):
        assert 1 <= write_camera_photos(*sources, str(tmp_path / out), count=1, seed=3) <= 5
        made.append((tmp_path / out / "camera_0000.jpg").read_bytes())
    assert made[0] == made[1]
    with Image.open(tmp_path / "a" / "camera_0000.jpg") as image:
        assert image.size == (WIDTH, HEIGHT)


def test_crowds_without_room_and_missing_photos_are_named(
    sources: tuple[str, str, str], tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    for missing, said in (("crowds/room.jpg", "crowds has no labelled"), ("crowds/full.jpg", "crowds has no"),
                          ("portraits/a.jpg", "portraits holds no portraits")):  # fmt: skip
        (tmp_path / missing).unlink()
        with pytest.raises(UsageError, match=said):
            write_camera_photos(*sources, out, count=1, seed=0)
