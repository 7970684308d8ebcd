from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from transforms.upright import upright

PILLOW = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@settings(deadline=None)
@given(
    height=st.integers(1, 80), width=st.integers(1, 80), orientation=st.sampled_from(sorted(PILLOW))
)  # fmt: skip
def test_photos_are_turned_as_pillow_turns_them(height: int, width: int, orientation: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    turned = upright(pixels, orientation)
    np.testing.assert_array_equal(turned, np.asarray(Image.fromarray(pixels).transpose(PILLOW[orientation])))
    assert turned.flags.c_contiguous


@pytest.mark.parametrize("orientation", [0, 1, 9, -1])
def test_other_numbers_change_nothing(orientation: int) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert upright(pixels, orientation) is pixels
