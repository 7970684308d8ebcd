from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.detector import MtcnnSettings
from pipeline import clip_vectors
from pipeline.clip_vectors import frames, list_clips
from pipeline.evaluate_videos import videos
from pipeline.labelled import Workplace
from pipeline.options import UsageError
from pipeline.photo_faces import main_face
from tests.photo_files import jpeg

D = 16


class Reader:
    """Sees in a frame the person whose number its red is, and nobody in a black one."""

    detector = MtcnnSettings()
    dimensions = D
    embedded = 0

    class spec:
        name = "stand-in"

        @staticmethod
        def describe() -> dict[str, object]:
            return {"name": "stand-in"}

    def main_crop(self, pixels: np.ndarray) -> np.ndarray | None:
        red = round(float(pixels[..., 0].mean()) / 10)
        return np.full((2, 2, 3), red, np.uint8) if red else None

    def embed(self, crops: np.ndarray) -> np.ndarray:
        Reader.embedded += len(crops)
        return np.stack([np.random.default_rng(int(c[0, 0, 0])).normal(size=D) for c in crops]) / D**0.5


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """8 people with 3 clips of 4 frames, the first of them without a face."""
    from PIL import Image

    Reader.embedded = 0
    monkeypatch.setattr(clip_vectors.PhotoReader, "default", lambda *_: Reader())
    for person in range(1, 9):
        for clip in range(3):
            place = tmp_path / "clips" / f"P{person}" / str(clip)
            place.mkdir(parents=True)
            for number in range(4):
                shade = (person * 10 if number else 0, 0, 0)
                Image.new("RGB", (32, 32), shade).save(place / f"{number + 8}.png")
    return tmp_path / "clips"


def test_clips_of_people_who_are_easy_to_tell_apart(folder: Path, tmp_path: Path) -> None:
    work = Workplace(str(tmp_path / "out"), "albumen evaluate videos FOLDER", quiet=True)
    _, facts = videos(str(folder), work, limits=(1, 100))
    rows = facts["rows"]
    assert isinstance(rows, list)
    assert [r["frames"] for r in rows] == [1, 100]
    assert all(r["accuracy"] == 1 for r in rows)
    assert Reader.embedded == 24 * 3, "frames without a face do not count"
    videos(str(folder), work, limits=(1, 100))
    assert Reader.embedded == 24 * 3, "what is known is not embedded again"
    assert "YouTube Faces" in (tmp_path / "out" / "videos.md").read_text()


def test_pairs_that_name_other_clips_are_refused(folder: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("1, P1/0, P1/1, 1\n2, P1/0, Nobody/1, 0\n")
    with pytest.raises(UsageError, match=r"names 'Nobody/1'"):
        videos(str(folder), Workplace(str(tmp_path), "", quiet=True), pairs_file=str(pairs))


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no clips"):
        list_clips(str(tmp_path))


def test_frames_come_in_the_order_of_their_numbers_without_the_damaged(tmp_path: Path) -> None:
    for name in ("10.jpg", "9.jpg"):
        (tmp_path / name).write_bytes(jpeg(int(name[:-4]) * 4, 40))
    (tmp_path / "8.jpg").write_bytes(b"\xff\xd8 damaged")
    (tmp_path / "notes.txt").write_text("not a frame")
    assert [f.shape[1] for f in frames(tmp_path)] == [36, 40]


def test_video_files_are_read(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    place = tmp_path / "Ann"
    place.mkdir()
    with av.open(str(place / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in (40, 120, 200):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clips = list_clips(str(tmp_path))
    assert list(clips) == ["Ann/clip"]
    found = list(frames(clips["Ann/clip"]))
    assert [f.shape for f in found] == [(48, 64, 3)] * 3
    assert [round(float(f.mean()), -1) for f in found] == [40, 120, 200]
    (place / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(UsageError, match=r"broken\.mp4 can't be read as a video"):
        list(frames(place / "broken.mp4"))


def test_a_picture_is_about_the_face_at_its_centre_else_the_largest() -> None:
    boxes = np.array([[0, 0, 30, 30], [45, 45, 60, 60], [60, 60, 99, 99]], np.float32)
    assert main_face(boxes, 100, 100) == 1
    assert main_face(boxes[[0, 2]], 100, 100) == 1
    assert main_face(boxes[:0], 100, 100) == -1
