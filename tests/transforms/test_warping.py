from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from transforms.warping import affine


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@settings(deadline=None)
@given(
    angle=st.floats(-3, 3), scale=st.floats(0.3, 2), x=st.floats(30, 40), y=st.floats(30, 40),
    size=st.integers(1, 6),
)  # fmt: skip
def test_it_is_pillow_s_bicubic_transform(angle: float, scale: float, x: float, y: float, size: int) -> None:
    photo = noise(90, 70)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[cos, -sin, x], [sin, cos, y]])
    expected = np.asarray(
        Image.fromarray(photo).transform(
            (size, size), Image.Transform.AFFINE, matrix.reshape(-1).tolist(), Image.Resampling.BICUBIC
        )
    )
    # Pillow leaves pixels black whose middle lies outside; here the photo is large enough for none.
    assert np.abs(affine(photo, matrix, size).astype(int) - expected).max() <= 1


def test_the_photo_itself_comes_out_of_the_identity() -> None:
    photo = noise(30, 30)
    np.testing.assert_array_equal(affine(photo, np.array([[1.0, 0, 0], [0, 1, 0]]), 30), photo)


def test_the_edge_repeats_outside() -> None:
    photo = noise(4, 5)
    left = affine(photo, np.array([[1.0, 0, -100], [0, 1, 0]]), 4)
    np.testing.assert_array_equal(left, np.repeat(photo[:, :1], 4, axis=1))
