from __future__ import annotations

import numpy as np
import pytest

from models.crop import UprightBoxGeometry
from transforms.align import warp
from transforms.face_view import FaceView, crop_pixels, fixed_face, recompressed, view_crop

GEOMETRY, SIZE = UprightBoxGeometry(), 80
BOX = np.array([60, 50, 140, 150], np.float32)
POINTS = np.array([[85, 90], [115, 90], [100, 110], [88, 130], [112, 130]], np.float32)


@pytest.fixture
def photo() -> np.ndarray:
    x, y = np.meshgrid(np.arange(200), np.arange(220))
    fine = 40 * ((x + y) % 2)
    return np.stack([x, y, 100 + fine], axis=2).clip(0, 255).astype(np.uint8)


def crop(photo: np.ndarray, view: FaceView) -> np.ndarray:
    return view_crop(photo, view, box=BOX, landmarks=POINTS, geometry=GEOMETRY, size=SIZE)


def test_a_plain_view_is_the_index_crop(photo: np.ndarray) -> None:
    expected = warp(photo, GEOMETRY.matrix(BOX, POINTS, SIZE), SIZE)
    np.testing.assert_array_equal(crop(photo, FaceView()), expected)
    np.testing.assert_array_equal(crop(photo, FaceView(flip=True)), expected[:, ::-1])


def test_a_shrunk_face_shows_the_same_part_with_less_detail(photo: np.ndarray) -> None:
    plain, shrunk = crop(photo, FaceView()).astype(int), crop(photo, FaceView(pixels=1600)).astype(int)
    # The two slopes stay where they are; the fine texture goes.
    assert np.abs(plain[4:-4, 4:-4, :2] - shrunk[4:-4, 4:-4, :2]).mean() < 2
    assert shrunk[..., 2].std() < plain[..., 2].std() / 2


def test_a_face_that_is_small_already_stays(photo: np.ndarray) -> None:
    assert crop_pixels(GEOMETRY.matrix(BOX, POINTS, SIZE), SIZE) < 25_600
    np.testing.assert_array_equal(crop(photo, FaceView(pixels=25_600)), crop(photo, FaceView()))


def test_stronger_compression_changes_more(photo: np.ndarray) -> None:
    plain = crop(photo, FaceView()).astype(int)
    low, high = (np.abs(crop(photo, FaceView(jpeg_quality=q)).astype(int) - plain).mean() for q in (10, 90))
    assert low > high > 0
    assert recompressed(photo, 50).shape == photo.shape


def test_the_fixed_crop_needs_no_detector(photo: np.ndarray) -> None:
    box, points = fixed_face(200, 220)
    expected = warp(photo, GEOMETRY.matrix(box, points, SIZE), SIZE)
    np.testing.assert_array_equal(crop(photo, FaceView(centre_crop=True)), expected)
    assert (points >= box[:2]).all() and (points <= box[2:]).all()


def test_a_face_at_the_border_can_be_shrunk(photo: np.ndarray) -> None:
    outside = BOX + np.float32(150)
    view = FaceView(jpeg_quality=30, pixels=900)
    shape = view_crop(photo, view, box=outside, landmarks=POINTS + 150, geometry=GEOMETRY, size=SIZE).shape
    assert shape == (SIZE, SIZE, 3)


def test_views_have_names_of_their_own() -> None:
    views = [
        FaceView(flip, centre, quality, pixels)
        for flip in (False, True)
        for centre in (False, True)
        for quality in (None, 10, 90)
        for pixels in (None, 10, 90)
    ]
    assert len({v.name for v in views}) == len(views)
