from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.crop import FivePointGeometry, UprightBoxGeometry
from tests.photo_files import picture
from transforms import align
from transforms.align import sharpness, side_for_crops, thumbnail, warp
from transforms.decode import read_photo


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """Red grows by 1 a pixel to the right, green by 1 a pixel downwards."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y, np.full_like(x, 40)], axis=2).astype(np.uint8)


def placed(scale: float, x: float = 0, y: float = 0) -> np.ndarray:
    return np.array([[scale, 0, x], [0, scale, y]], np.float64)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@given(
    width=st.integers(64, 400),
    height=st.integers(64, 400),
    limit=st.integers(2_000, 160_000),
    face=st.floats(1, 400),
)
def test_a_photo_comes_large_enough_for_its_crops_within_the_limit(
    format: str, width: int, height: int, limit: int, face: float
) -> None:
    buffer = io.BytesIO()
    picture(width, height).save(buffer, format)
    boxes = np.array([[0, 0, face / 2, face], [0, 0, 400, 10]], np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(align, "CROP_PIXELS", limit)
        side = side_for_crops(width, height, boxes, size=160)
    pixels = read_photo(buffer.getvalue(), name=b"a", max_pixels=10**6, long_side=side).pixels
    assert pixels.shape[0] * pixels.shape[1] <= limit
    halved = -(-width // 2) * -(-height // 2)
    if width * height <= limit or (face >= 320 and halved <= limit):
        assert max(pixels.shape) >= int(max(width, height) * min(1, 160 / face))


def test_the_identity_changes_nothing() -> None:
    photo = noise(40, 40)
    np.testing.assert_array_equal(warp(photo, placed(1), 40), photo)


@given(x=st.integers(0, 20), y=st.integers(0, 30))
def test_a_shift_by_whole_pixels_cuts_out(x: int, y: int) -> None:
    photo = noise(60, 50)
    np.testing.assert_array_equal(warp(photo, placed(1, x, y), 30), photo[y : y + 30, x : x + 30])


@given(x=st.integers(-50, 50), y=st.integers(-50, 50))
def test_outside_of_the_photo_its_edge_is_repeated(x: int, y: int) -> None:
    photo = noise(20, 30)
    rows, columns = np.clip(np.arange(y, y + 16), 0, 19), np.clip(np.arange(x, x + 16), 0, 29)
    np.testing.assert_array_equal(warp(photo, placed(1, x, y), 16), photo[rows][:, columns])


@pytest.mark.parametrize("scale", [0.6, 1, 3.4])
@pytest.mark.parametrize("corner", [(-90, 2), (90, 2), (2, -90), (2, 90), (-90, 90), (-3, -3)])
def test_a_crop_wholly_outside_is_one_of_the_repeated_edge(scale: float, corner: tuple[int, int]) -> None:
    photo = noise(24, 30)
    wider = np.pad(photo, ((200, 200), (200, 200), (0, 0)), mode="edge")
    inside = warp(wider, placed(scale, corner[0] + 200, corner[1] + 200), 8)
    # Averaging cuts the last block off where the part of the photo ends.
    np.testing.assert_allclose(warp(photo, placed(scale, *corner), 8).astype(int), inside, atol=1)


@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("offset", [0, 7])
def test_shrinking_averages_so_that_texture_does_not_alias(factor: int, offset: int) -> None:
    photo = noise(40 * factor + 20, 40 * factor + 20)
    part = photo[offset : offset + 40 * factor, offset : offset + 40 * factor].astype(np.float64)
    mean = part.reshape(40, factor, 40, factor, 3).mean(axis=(1, 3))
    crop = warp(photo, placed(factor, offset, offset), 40).astype(np.float64)
    # The blocks that are averaged may lie up to half a block beside the crop's own pixels.
    assert crop.std() < photo.std() / factor * 1.3
    assert abs(crop.mean() - mean.mean()) < 1


@given(scale=st.floats(0.3, 9), x=st.floats(-5, 60), y=st.floats(-5, 60), degrees=st.floats(-180, 180))
def test_every_pixel_comes_from_where_the_matrix_says(
    scale: float, x: float, y: float, degrees: float
) -> None:
    photo, size = smooth(250, 250), 12
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.column_stack([turn, np.array([110 + x, 110 + y]) - turn @ [size / 2, size / 2]])
    middles = np.stack(np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5), axis=-1)
    where = middles @ turn.T + matrix[:, 2] - 0.5
    inside = ((where > 10) & (where < 239)).all(axis=2)
    crop = warp(photo, matrix, size)
    # Pillow rounds when it averages and cuts off when it interpolates, in cubics a little off the line.
    np.testing.assert_allclose(crop[..., :2][inside], where[inside], atol=1.6 + 0.1 * scale)
    assert (crop[..., 2] == 40).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 3)])
@pytest.mark.parametrize("scale", [0.01, 1, 10])
def test_photos_of_any_size_can_be_cut(shape: tuple[int, int], scale: float) -> None:
    crop = warp(np.full((*shape, 3), 77, np.uint8), placed(scale, -5, -5), 160)
    assert crop.shape == (160, 160, 3) and crop.dtype == np.uint8
    assert (crop == 77).all()


@pytest.mark.parametrize("geometry", [UprightBoxGeometry(), FivePointGeometry()])
def test_a_box_of_no_size_still_gives_a_crop(geometry: UprightBoxGeometry | FivePointGeometry) -> None:
    matrix = geometry.matrix(np.array([5, 5, 5, 5]), np.full((5, 2), 5.0), 112)
    assert warp(noise(10, 10), matrix, 112).shape == (112, 112, 3)


def test_the_photo_is_left_as_it_is() -> None:
    photo = noise(30, 30)
    before = photo.copy()
    warp(photo, placed(3, -10, -10), 20)
    np.testing.assert_array_equal(photo, before)


def decoded(jpeg: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.format == "JPEG"
        return np.asarray(image)


def test_a_thumbnail_shows_the_face_in_natural_proportions_and_a_little_around() -> None:
    photo = np.zeros((400, 400, 3), np.uint8)
    photo[100:300, 150:250] = 255  # a box twice as high as it is wide
    bright = decoded(thumbnail(photo, np.array([150, 100, 250, 300]))).mean(axis=2) > 128
    assert bright.shape == (112, 112)
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert abs(height - 112 * 0.7) <= 2 and abs(width - height / 2) <= 2
    assert abs(rows.mean() - 55.5) <= 1 and abs(columns.mean() - 55.5) <= 1


def test_a_thumbnail_of_a_face_at_the_corner_of_a_tiny_photo_is_whole() -> None:
    assert decoded(thumbnail(noise(9, 9), np.array([-8, -8, 30, 30]))).shape == (112, 112, 3)


def test_a_thumbnail_is_small() -> None:
    assert len(thumbnail(noise(300, 300), np.array([50, 50, 250, 250]))) < 20_000


def test_sharpness_falls_with_blur_and_not_with_contrast() -> None:
    sharp = noise(160, 160)
    blurred = np.asarray(Image.fromarray(sharp).resize((20, 20), Image.Resampling.BOX).resize((160, 160)))
    assert sharpness(sharp) > 0.5 > 0.2 > sharpness(blurred) > 0
    paler = (sharp * 0.5 + 60).astype(np.uint8)
    assert sharpness(paler) == pytest.approx(sharpness(sharp), rel=0.02)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_crop_of_one_colour_is_not_sharp(value: int) -> None:
    assert sharpness(np.full((160, 160, 3), value, np.uint8)) == 0
