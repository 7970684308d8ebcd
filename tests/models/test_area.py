from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from models import area
from models.area import area_crops, area_resize, integral_image

SIDES = st.integers(1, 40)


def image(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def area_by_torch(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    tensor = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
    return interpolate(tensor, size=(height, width), mode="area")[0].permute(1, 2, 0).numpy()


@given(height=SIDES, width=SIDES, new_height=SIDES, new_width=SIDES)
def test_resizing_is_torch_s_area_interpolation_up_and_down(
    height: int, width: int, new_height: int, new_width: int
) -> None:
    pixels = image(height, width)
    resized = area_resize(integral_image(pixels), new_height, new_width)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, area_by_torch(pixels, new_height, new_width), atol=1e-3)


@given(data=st.data(), height=SIDES, width=SIDES, size=st.integers(1, 30))
def test_windows_are_torch_s_area_interpolation_of_the_parts(
    data: st.DataObject, height: int, width: int, size: int
) -> None:
    pixels = image(height, width)
    boxes = []
    for _ in range(data.draw(st.integers(1, 4))):
        x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        boxes.append((x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))))
    crops = area_crops(integral_image(pixels), np.array(boxes), size)
    assert crops.shape == (len(boxes), size, size, 3)
    for crop, (x0, y0, x1, y1) in zip(crops, boxes, strict=True):
        np.testing.assert_allclose(crop, area_by_torch(pixels[y0:y1, x0:x1], size, size), atol=1e-3)


def test_no_windows_are_no_crops() -> None:
    assert area_crops(integral_image(image(5, 5)), np.zeros((0, 4), np.int64), 24).shape == (0, 24, 24, 3)


def test_the_sums_of_the_brightest_photo_do_not_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    white = np.full((60, 70, 3), 255, np.uint8)
    assert integral_image(white).dtype == np.int32
    monkeypatch.setattr(area, "_INT32_LIMIT", 60 * 70 - 1)
    sums = integral_image(white)
    assert sums.dtype == np.int64
    np.testing.assert_array_equal(area_resize(sums, 7, 9), np.full((7, 9, 3), 255, np.float32))
    np.testing.assert_array_equal(area_crops(sums, np.array([[1, 2, 50, 60]]), 24), 255)


def test_the_limit_of_int32_is_the_largest_white_photo_whose_sum_fits() -> None:
    assert area._INT32_LIMIT * 255 < 2**31 <= (area._INT32_LIMIT + 1) * 255


def test_long_sums_give_the_same_result_as_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, boxes = image(33, 47), np.array([[0, 0, 47, 33], [3, 4, 40, 9]])
    short = integral_image(pixels)
    monkeypatch.setattr(area, "_INT32_LIMIT", 1)
    long = integral_image(pixels)
    np.testing.assert_array_equal(area_resize(short, 12, 50), area_resize(long, 12, 50))
    np.testing.assert_array_equal(area_crops(short, boxes, 24), area_crops(long, boxes, 24))
