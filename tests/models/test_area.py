from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from models.area import level_part, reduced, summed_area, windows

SIDES = st.integers(1, 40)


def image(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def area_by_torch(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    tensor = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
    return ((interpolate(tensor, size=(height, width), mode="area")[0] - 127.5) / 128).numpy()


@settings(deadline=None)  # the first call compiles
@given(data=st.data(), height=SIDES, width=SIDES, new_height=SIDES, new_width=SIDES)
def test_levels_are_torch_s_area_interpolation_with_an_odd_edge_repeated(
    data: st.DataObject, height: int, width: int, new_height: int, new_width: int
) -> None:
    pixels = image(height, width)
    even = (new_height + new_height % 2, new_width + new_width % 2)
    tiles = np.full((2, 3, 50, 60), np.nan, np.float32)
    level_part(summed_area(pixels), (new_height, new_width), (0, 0, *even), tiles, (1, 3, 5))
    level = tiles[1, :, 3 : 3 + even[0], 5 : 5 + even[1]]
    assert np.isfinite(tiles).sum() == level.size
    expected = area_by_torch(pixels, new_height, new_width)
    padded = np.pad(expected, ((0, 0), (0, new_height % 2), (0, new_width % 2)), mode="edge")
    np.testing.assert_allclose(level, padded, atol=1e-5)
    y, x = (data.draw(st.integers(0, side - 1)) for side in even)
    part = np.full((1, 3, even[0] - y, even[1] - x), np.nan, np.float32)
    level_part(summed_area(pixels), (new_height, new_width), (y, x, *part.shape[2:]), part, (0, 0, 0))
    np.testing.assert_array_equal(part[0], level[:, y:, x:])


@settings(deadline=None)
@given(data=st.data(), height=SIDES, width=SIDES, size=st.integers(1, 30))
def test_windows_are_torch_s_area_interpolation_of_the_parts(
    data: st.DataObject, height: int, width: int, size: int
) -> None:
    pixels = image(height, width)
    boxes = []
    for _ in range(data.draw(st.integers(0, 4))):
        x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        boxes.append((x0, y0, data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))))
    crops = np.full((len(boxes), 3, size, size), np.nan, np.float32)
    windows(summed_area(pixels), np.array(boxes, np.int64).reshape(-1, 4), crops)
    for crop, (x0, y0, x1, y1) in zip(crops, boxes, strict=True):
        np.testing.assert_allclose(crop, area_by_torch(pixels[y0:y1, x0:x1], size, size), atol=1e-5)


@settings(deadline=None)
@given(data=st.data(), height=SIDES, width=SIDES)
def test_reducing_counts_every_pixel_by_its_part_of_a_bin(
    data: st.DataObject, height: int, width: int
) -> None:
    pixels = image(height, width)
    rows, columns = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    # Each pixel as rows × columns small ones: then every bin is a whole number of them.
    small = pixels.repeat(rows, axis=0).repeat(columns, axis=1).astype(float)
    exact = small.reshape(rows, height, columns, width, 3).mean(axis=(1, 3))
    assert np.abs(reduced(pixels, rows, columns) - exact).max() <= 0.51


def test_the_sums_of_the_brightest_photo_do_not_overflow() -> None:
    white = np.full((3200, 3000, 3), 255, np.uint8)
    level = np.empty((1, 3, 1, 1), np.float32)
    level_part(summed_area(white), (1, 1), (0, 0, 1, 1), level, (0, 0, 0))
    np.testing.assert_allclose(level, 127.5 / 128, atol=1e-5)
    np.testing.assert_array_equal(reduced(white, 7, 9), 255)
