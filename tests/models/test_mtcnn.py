from __future__ import annotations

import numpy as np
import pytest
from facenet_pytorch import MTCNN
from PIL import Image

from models.detector import Detections, MtcnnSettings, load_detector
from models.engine import Engine
from models.mtcnn import Mtcnn, at_working_size, pyramid_scales
from tests.models.conftest import mtcnn, resized

REFERENCE = Engine("torch", "cpu", "float32")


@pytest.fixture(scope="module")
def reference() -> MTCNN:
    return MTCNN(keep_all=True, min_face_size=24, select_largest=False)


def assert_same_faces(found: Detections, expected: Detections, *, pixels: float) -> None:
    """The same number of faces, boxes and landmarks within so many pixels, in whatever order."""
    assert len(found.boxes) == len(expected.boxes)
    if len(found.boxes):
        away = np.abs(found.boxes[:, None] - expected.boxes[None]).max(axis=2)
        partner = away.argmin(axis=1)
        assert sorted(partner) == list(range(len(partner)))
        np.testing.assert_allclose(found.boxes, expected.boxes[partner], atol=pixels)
        np.testing.assert_allclose(found.landmarks, expected.landmarks[partner], atol=pixels)
        np.testing.assert_allclose(found.scores, expected.scores[partner], atol=0.01)


def by_facenet_pytorch(network: MTCNN, photo: np.ndarray) -> Detections:
    boxes, scores, landmarks = network.detect(Image.fromarray(photo), landmarks=True)
    if boxes is None:
        return Detections.none()
    return Detections(*(np.array(a, np.float32) for a in (boxes, scores, landmarks)))


@pytest.mark.parametrize("name", ["astronaut", "hopper", "montage"])
@pytest.mark.parametrize("factor", [1.0, 0.61, 0.35])
def test_finds_what_facenet_pytorch_finds(
    name: str, factor: float, detector: Mtcnn, reference: MTCNN, request: pytest.FixtureRequest
) -> None:
    photo = resized(request.getfixturevalue(name), factor)
    assert max(photo.shape) <= detector.settings.working_side
    expected = by_facenet_pytorch(reference, photo)
    assert len(expected.boxes)
    assert_same_faces(detector.detect([photo])[0], expected, pixels=1.0)


def test_photos_of_every_kind_run_together_as_they_run_alone(
    detector: Mtcnn, astronaut: np.ndarray, hopper: np.ndarray, montage: np.ndarray
) -> None:
    photos = [
        np.zeros((300, 200, 3), np.uint8),
        resized(montage, 0.5),
        np.zeros((1, 1, 3), np.uint8),
        resized(hopper, 0.5),
        np.full((5, 2000, 3), 128, np.uint8),
        np.zeros((11, 11, 3), np.uint8),
        resized(astronaut, 0.4),
        np.random.default_rng(0).integers(0, 256, (2000, 3, 3), np.uint8),
    ]
    together = detector.detect(photos)
    for photo, faces in zip(photos, together, strict=True):
        assert_same_faces(faces, detector.detect([photo])[0], pixels=0.5)
    assert [len(faces.boxes) > 0 for faces in together] == [
        False,
        True,
        False,
        True,
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("shape", [(1, 1), (5, 2000), (2000, 5), (11, 11), (24, 24), (200, 300)])
@pytest.mark.parametrize("value", [0, 255])
def test_a_photo_without_a_face_has_none(detector: Mtcnn, shape: tuple[int, int], value: int) -> None:
    faces = detector.detect([np.full((*shape, 3), value, np.uint8)])[0]
    assert (faces.boxes.shape, faces.scores.shape, faces.landmarks.shape) == ((0, 4), (0,), (0, 5, 2))


def test_no_photos_have_no_faces(detector: Mtcnn) -> None:
    assert detector.detect([]) == []


def test_faces_come_best_first_as_float32(detector: Mtcnn, montage: np.ndarray) -> None:
    faces = detector.detect([montage])[0]
    assert len(faces.scores) >= 4
    assert list(faces.scores) == sorted(faces.scores, reverse=True)
    assert {faces.boxes.dtype, faces.scores.dtype, faces.landmarks.dtype} == {np.dtype(np.float32)}


def test_landmarks_lie_as_the_viewer_sees_them(detector: Mtcnn, astronaut: np.ndarray) -> None:
    faces = detector.detect([astronaut])[0]
    (x0, y0, x1, y1), points = faces.boxes[0], faces.landmarks[0]
    left_eye, right_eye, nose, left_mouth, right_mouth = points
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert ((points > (x0, y0)) & (points < (x1, y1))).all()


def test_large_photos_are_searched_small_and_answered_in_their_own_pixels(astronaut: np.ndarray) -> None:
    small = mtcnn(working_side=256)
    photo = np.ascontiguousarray(astronaut[:450])  # 512 × 450, searched at 256 × 225
    expected = small.detect([at_working_size(photo, 256)])[0]
    faces = small.detect([photo])[0]
    doubled = Detections(expected.boxes * 2, expected.scores, expected.landmarks * 2)
    assert_same_faces(faces, doubled, pixels=0.01)
    at_full_size = mtcnn().detect([photo])[0]
    np.testing.assert_allclose(faces.boxes[0], at_full_size.boxes[0], atol=12)


def test_a_very_long_photo_keeps_a_row_of_pixels_when_it_is_searched_small() -> None:
    small = mtcnn(working_side=64)
    assert len(small.detect([np.zeros((1, 5000, 3), np.uint8)])[0].boxes) == 0


def test_faces_well_below_the_least_size_are_not_looked_for(astronaut: np.ndarray) -> None:
    photo = resized(astronaut, 0.4)
    face = mtcnn(min_face=24).detect([photo])[0].boxes[0]
    side = float(min(face[2:] - face[:2]))
    assert 24 < side < 60
    assert len(mtcnn(min_face=3 * side).detect([photo])[0].boxes) == 0


def test_a_face_cut_by_the_edge_of_the_photo_is_still_found(detector: Mtcnn, astronaut: np.ndarray) -> None:
    box = detector.detect([astronaut])[0].boxes[0]
    cut = np.ascontiguousarray(astronaut[:, round(float(box[0] * 0.8 + box[2] * 0.2)) :])
    assert len(detector.detect([cut])[0].boxes) >= 1


@pytest.mark.parametrize("side", [12, 24, 100, 1280])
def test_the_pyramid_ends_where_the_window_is_the_whole_photo(side: int) -> None:
    scales = pyramid_scales(side, side * 2, 24, 0.709)
    assert all(side * scale >= 12 for scale in scales)
    assert (len(scales) == 0) == (side < 24)
    assert not scales or (scales[0] == 0.5 and side * scales[-1] * 0.709 < 12)


def test_the_detector_that_settings_describe_is_loaded() -> None:
    settings = MtcnnSettings(min_face=40)
    detector = load_detector(settings, engine=REFERENCE)
    assert isinstance(detector, Mtcnn) and detector.settings == settings
    assert settings.describe() != MtcnnSettings().describe()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["astronaut", "hopper", "montage"])
@pytest.mark.parametrize("factor", [1.0, 0.61, 0.35])
def test_openvino_finds_what_torch_finds(
    name: str, factor: float, precision: str, detector: Mtcnn, request: pytest.FixtureRequest
) -> None:
    photo = resized(request.getfixturevalue(name), factor)
    fast = load_detector(MtcnnSettings(), engine=Engine("openvino", "cpu", precision))
    assert_same_faces(fast.detect([photo])[0], detector.detect([photo])[0], pixels=1.0)
