from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.detector import Detections, MtcnnSettings
from models.embedder import embedder_spec
from tests.photo_files import picture
from transforms import align, detect
from transforms.archive import ArchiveError, RootGuard
from transforms.decode import Photo, PhotoInfo, read_photo
from transforms.detect import (
    _GROUP_BYTES,
    _GROUP_PHOTOS,
    _GROUP_PIXELS,
    ChunkDetector,
    search_cost,
    searched_together,
)
from transforms.index_config import IndexConfig
from transforms.known_content import KnownContent
from transforms.library import LibraryError
from transforms.manifest import Chunk
from transforms.records import ERROR, OK, FaceSlice, FileEntry


class Finder:
    """Finds what it is told to find in each photo, given the pixels."""

    def __init__(self, find: Callable[[np.ndarray], Detections]) -> None:
        self._find = find

    def detect(self, photos: Sequence[np.ndarray]) -> list[Detections]:
        return [self._find(photo) for photo in photos]


def small_face(photo: np.ndarray) -> Detections:
    """A face of a twentieth of the photo's width, in its middle."""
    height, width = photo.shape[:2]
    box = np.array([width / 2, height / 2, width * 0.55, height / 2 + width * 0.05], np.float32)
    points = box[:2] + np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.3, 0.8], [0.7, 0.8]]) * width * 0.05
    return Detections(box[None], np.ones(1, np.float32), points[None].astype(np.float32))


def write(folder: Path, name: str, *, width: int = 200, height: int = 150) -> FileEntry:
    buffer = io.BytesIO()
    picture(width, height).save(buffer, "PNG" if name.endswith("png") else "JPEG")
    (folder / name).write_bytes(buffer.getvalue())
    return FileEntry("root", name.encode(), len(buffer.getvalue()), 0)


def search(
    folder: Path, entries: Sequence[FileEntry], find: Callable[[np.ndarray], Detections] = small_face,
    *, working_side: int = 1280,
) -> list[FaceSlice]:  # fmt: skip
    config = IndexConfig(
        library="", run="", root="root", location=str(folder), guard=RootGuard.of(str(folder)),
        embedder="facenet-casia", detector=MtcnnSettings(working_side=working_side),
    )  # fmt: skip
    nothing = KnownContent(np.zeros(0, "S32"), np.zeros(0, bool))
    chunks = ChunkDetector(config, Finder(find), embedder_spec("facenet-casia"), nothing)
    return list(chunks.slices(Chunk("", "", 0, 0, len(entries)), entries))


@given(st.lists(st.tuples(st.integers(0, 2 * _GROUP_BYTES), st.integers(0, 2 * _GROUP_PIXELS)), max_size=100))
def test_groups_hold_all_files_in_order_within_the_limits(costs: list[tuple[int, int]]) -> None:
    groups = list(searched_together(costs, lambda cost: cost))
    assert [cost for group in groups for cost in group] == costs
    for group in groups:
        held, pixels = (sum(cost[i] for cost in group) for i in range(2))
        within = held <= _GROUP_BYTES and pixels <= _GROUP_PIXELS and len(group) <= _GROUP_PHOTOS
        assert len(group) == 1 or within


def test_small_photos_are_searched_many_at_a_time() -> None:
    groups = list(searched_together([(1, 1)] * (_GROUP_PHOTOS + 1), lambda cost: cost))
    assert [len(group) for group in groups] == [_GROUP_PHOTOS, 1]


def test_a_jpeg_costs_what_is_decoded_of_it_and_others_all_they_hold() -> None:
    jpeg, png = (PhotoInfo(12_000, 9_000, kind, None, None) for kind in ("JPEG", "PNG"))
    small = PhotoInfo(640, 480, "JPEG", None, None)
    assert search_cost(png, 1280)[0] == 3 * 12_000 * 9_000
    assert search_cost(jpeg, 1280)[0] < search_cost(png, 1280)[0] / 4
    assert search_cost(jpeg, 1280)[1] == search_cost(png, 1280)[1] == 1280 * 960
    assert search_cost(small, 1280) == (3 * 640 * 480, 640 * 480)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
@pytest.mark.parametrize(("limit", "shape"), [(1_000 * 750, (750, 1_000)), (700_000, (375, 500))])
def test_a_photo_is_decoded_larger_for_a_small_face_but_never_beyond_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: int, shape: tuple[int, int]
) -> None:
    decoded: list[tuple[int, ...]] = []

    def watched(data: bytes, **options: object) -> Photo:
        photo = read_photo(data, **options)
        decoded.append(photo.pixels.shape[:2])
        return photo

    monkeypatch.setattr(detect, "read_photo", watched)
    monkeypatch.setattr(detect, "DECODED_SIDE", 200)
    monkeypatch.setattr(align, "CROP_PIXELS", limit)
    entry = write(tmp_path, name, width=1_000, height=750)
    (found,) = search(tmp_path, [entry], working_side=200)
    assert len(found.faces) == 1
    assert decoded[1:] == [shape]


@pytest.mark.parametrize("step", ["warp", "thumbnail", "side_for_crops"])
@pytest.mark.parametrize("failure", [ValueError("a box of no numbers"), MemoryError()])
def test_a_photo_of_which_no_face_can_be_cut_is_that_photo_s_error_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: Exception
) -> None:
    entries = [write(tmp_path, name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    real, calls = getattr(detect, step), []

    def fail_for_the_second(*arguments: object, **options: object) -> object:
        calls.append(step)
        if len(calls) == 2:
            raise failure
        return real(*arguments, **options)

    monkeypatch.setattr(detect, step, fail_for_the_second)
    (found,) = search(tmp_path, entries)
    assert [row.status for row in found.photos] == [OK, ERROR, OK]
    assert type(failure).__name__ in str(found.photos[1].reason)
    ids = [row.photo_id for row in found.photos]
    assert all(ids), "known by its content: left alone until it changes"
    assert [face.photo_id for face in found.faces] == [ids[0], ids[2]]
    assert len(found.crops) == len(found.thumbs) == 2, "nothing is left of a photo that failed halfway"


def test_a_photo_that_the_network_can_not_take_costs_no_other(tmp_path: Path) -> None:
    entries = [write(tmp_path, f"{width}.jpg", width=width) for width in (200, 210, 220)]

    def refuse_one(photo: np.ndarray) -> Detections:
        if photo.shape[1] == 210:
            raise RuntimeError("no kernel for this shape")
        return small_face(photo)

    (found,) = search(tmp_path, entries, refuse_one)
    assert [row.status for row in found.photos] == [OK, ERROR, OK]
    assert found.photos[1].reason == "detection failed: RuntimeError: no kernel for this shape"


@pytest.mark.parametrize("failure", [ArchiveError("the drive has gone"), LibraryError("damaged")])
def test_what_no_photo_survives_is_no_photo_s_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*arguments: object) -> None:
        raise failure

    monkeypatch.setattr(detect, "warp", fail)
    with pytest.raises(type(failure), match=str(failure)):
        search(tmp_path, [write(tmp_path, "a.jpg")])
