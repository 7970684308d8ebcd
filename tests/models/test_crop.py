from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.crop import FivePointGeometry, UprightBoxGeometry, roll_degrees, similarity, yaw_degrees

BOX = np.array([100, 50, 180, 150], np.float32)  # 80 wide, 100 high
# Eyes level, nose in the middle.
LANDMARKS = np.array([[120, 85], [160, 85], [140, 105], [124, 125], [156, 125]], np.float32)
# The five points' places in ArcFace's 112 × 112 crops, as its code publishes them.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def to_photo(matrix: np.ndarray, x: float, y: float) -> np.ndarray:
    return matrix @ np.array([x, y, 1.0])


def turned(points: np.ndarray, degrees: float, *, around: tuple[float, float] = (140, 100)) -> np.ndarray:
    """Points turned clockwise, as a viewer sees it, y growing downwards."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (np.asarray(points, np.float64) - around) @ turn.T + around


@pytest.mark.parametrize("size", [112, 160])
def test_the_corners_of_the_box_fill_their_share_of_the_crop(size: int) -> None:
    matrix = UprightBoxGeometry(box_share=0.8, shift=0).matrix(BOX, LANDMARKS, size)
    low, high = 0.1 * size, 0.9 * size
    np.testing.assert_allclose(to_photo(matrix, low, low), [100, 50])
    np.testing.assert_allclose(to_photo(matrix, high, low), [180, 50])
    np.testing.assert_allclose(to_photo(matrix, low, high), [100, 150])
    np.testing.assert_allclose(to_photo(matrix, high, high), [180, 150])


def test_without_squashing_the_longer_side_decides_and_proportions_stay() -> None:
    matrix = UprightBoxGeometry(box_share=1, squash=0, shift=0).matrix(BOX, LANDMARKS, 160)
    np.testing.assert_allclose(to_photo(matrix, 0, 0), [90, 50])
    np.testing.assert_allclose(to_photo(matrix, 160, 160), [190, 150])
    half = UprightBoxGeometry(box_share=1, squash=0.5, shift=0).matrix(BOX, LANDMARKS, 160)
    np.testing.assert_allclose(to_photo(half, 0, 0), [95, 50])


@pytest.mark.parametrize("degrees", [-170, -40, 0, 25, 90])
def test_a_turned_face_stands_upright_in_its_crop(degrees: float) -> None:
    landmarks = turned(LANDMARKS, degrees)
    matrix = UprightBoxGeometry(box_share=1, shift=0).matrix(BOX, landmarks, 100)
    np.testing.assert_allclose(to_photo(matrix, 50, 50), [140, 100])
    down = to_photo(matrix, 50, 100) - [140, 100]
    np.testing.assert_allclose(down, turned(np.array([[140, 150]]), degrees)[0] - [140, 100], atol=1e-4)
    left_eye, right_eye = (np.linalg.solve(matrix[:, :2], p - matrix[:, 2]) for p in landmarks[:2])
    assert left_eye[1] == pytest.approx(right_eye[1], abs=1e-4) and left_eye[0] < right_eye[0]


def test_uprightness_can_be_partial_or_none() -> None:
    landmarks = turned(LANDMARKS, 30)
    none = UprightBoxGeometry(upright=0).matrix(BOX, landmarks, 160)
    np.testing.assert_allclose(none, UprightBoxGeometry().matrix(BOX, LANDMARKS, 160))
    half = UprightBoxGeometry(upright=0.5).matrix(BOX, landmarks, 160)
    np.testing.assert_allclose(half, UprightBoxGeometry().matrix(BOX, turned(LANDMARKS, 15), 160), atol=1e-4)


def test_shift_moves_the_crop_towards_the_chin() -> None:
    geometry = UprightBoxGeometry(box_share=1, shift=0.1)
    np.testing.assert_allclose(to_photo(geometry.matrix(BOX, LANDMARKS, 160), 80, 80), [140, 110])
    sideways = geometry.matrix(BOX, turned(LANDMARKS, 90), 160)
    np.testing.assert_allclose(to_photo(sideways, 80, 80), [130, 100], atol=1e-4)


@pytest.mark.parametrize("size", [112, 224])
def test_five_points_that_are_the_template_turned_land_on_it(size: int) -> None:
    landmarks = turned(TEMPLATE * 3 + (400, 200), 37, around=(500, 300))
    matrix = FivePointGeometry().matrix(BOX, landmarks, size)
    for (x, y), landmark in zip(TEMPLATE * size / 112, landmarks, strict=True):
        np.testing.assert_allclose(to_photo(matrix, x, y), landmark, atol=1e-6)


def test_five_points_of_a_real_face_land_close_to_the_template() -> None:
    matrix = FivePointGeometry().matrix(BOX, LANDMARKS, 112)
    inverse = np.linalg.inv(matrix[:, :2])
    found = (LANDMARKS - matrix[:, 2]) @ inverse.T
    assert np.abs(found - TEMPLATE).max() < 8


POINTS = hnp.arrays(np.float64, (5, 2), elements=st.floats(-100, 100).map(lambda x: round(x, 3)))


@given(source=POINTS, target=POINTS)
def test_similarity_is_the_least_squares_solution(source: np.ndarray, target: np.ndarray) -> None:
    if np.ptp(source, axis=0).max() < 0.1:
        return
    # x' = a·x − b·y + c, y' = b·x + a·y + d: linear in a, b, c, d.
    ones, zeros = np.ones(5), np.zeros(5)
    rows = np.concatenate(
        [
            np.stack([source[:, 0], -source[:, 1], ones, zeros], 1),
            np.stack([source[:, 1], source[:, 0], zeros, ones], 1),
        ]
    )
    a, b, c, d = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity(source, target), [[a, -b, c], [b, a, d]], rtol=1e-5, atol=1e-5)


def test_points_that_coincide_give_scale_zero() -> None:
    spread, point = LANDMARKS.astype(np.float64), np.full((5, 2), 7.0)
    np.testing.assert_allclose(similarity(spread, point), [[0, 0, 7], [0, 0, 7]], atol=1e-12)
    np.testing.assert_array_equal(similarity(point, spread)[:, :2], 0)
    np.testing.assert_allclose(similarity(point, spread)[:, 2], spread.mean(axis=0))


@pytest.mark.parametrize("degrees", [-179, -90, -10, 0, 45, 135])
def test_roll_is_the_clockwise_turn_of_the_eyes(degrees: float) -> None:
    assert roll_degrees(turned(LANDMARKS, degrees)) == pytest.approx(degrees, abs=1e-4)


@pytest.mark.parametrize("degrees", [0, 33, 180])
def test_yaw_follows_the_nose_whatever_the_roll(degrees: float) -> None:
    assert yaw_degrees(turned(LANDMARKS, degrees)) == pytest.approx(0, abs=1e-4)
    to_the_right, far_right, to_the_left = LANDMARKS.copy(), LANDMARKS.copy(), LANDMARKS.copy()
    to_the_right[2, 0], far_right[2, 0], to_the_left[2, 0] = 150, 170, 130
    assert 0 < yaw_degrees(turned(to_the_right, degrees)) < yaw_degrees(turned(far_right, degrees)) < 90
    assert yaw_degrees(turned(to_the_left, degrees)) == pytest.approx(
        -yaw_degrees(turned(to_the_right, degrees))
    )


def test_eyes_in_one_point_are_a_profile() -> None:
    assert yaw_degrees(np.ones((5, 2))) == 90


def test_every_setting_of_a_geometry_is_in_its_description() -> None:
    geometries = [
        UprightBoxGeometry(),
        UprightBoxGeometry(box_share=0.7),
        UprightBoxGeometry(squash=0.5),
        UprightBoxGeometry(upright=0),
        UprightBoxGeometry(shift=0.1),
        FivePointGeometry(),
    ]
    assert len({str(g.describe()) for g in geometries}) == len(geometries)
