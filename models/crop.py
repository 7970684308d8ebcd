"""Crop geometry: which part of a photo, turned how, a network sees of a face."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np


class CropGeometry(Protocol):
    """Says where in the photo a crop's pixels come from."""

    def matrix(self, box: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
        """float64[2, 3]: the affine map from a crop's pixels (x, y, 1) to the photo's.

        Pixel coordinates are continuous: (0, 0) is the upper left corner of the first pixel.
        """
        ...

    def describe(self) -> dict[str, object]:
        """The geometry as plain values, for fingerprints."""
        ...


@dataclass(frozen=True)
class UprightBoxGeometry:
    """The detection box turned upright by the eyes and squashed to a square.

    FaceNet's training crops were boxes with a margin, squashed to a square, of faces that mostly
    stood upright. `box_share` is the box's part of the crop's side; `squash` 1 fills the square
    with the box's own width and height, 0 keeps the natural proportions; `upright` 1 turns by the
    whole angle of the eyes, 0 not at all; `shift` moves the crop down by that share of the box's
    height.

    The defaults were chosen on one half of LFW's people (even SHA-256 of the name: 6,274 faces, of
    people with at most 20 photos), by facenet-casia in bfloat16, minus the half's mean embedding.
    Percent: mean of VAL and 1 - FAR at its best, and VAL at FAR 1e-3 and 1e-4; a standard error of
    VAL is about 0.3::

        box 130/160, squashed, upright, shift 0        98.68   94.87   85.16
        box 122/160                                    98.66   94.49   84.30
        box 126/160                                    98.76   94.93   84.74
        box 134/160                                    98.69   94.69   85.22
        box 138/160                                    98.68   94.38   84.43
        half upright                                   98.71   94.94   85.07
        not turned                                     98.69   94.79   85.26
        half squashed                                  98.73   94.26   82.59
        shift 0.03 down                                98.64   94.57   84.37
        shift 0.03 up                                  98.74   94.98   85.32   <- chosen

    LFW's faces stand nearly upright already, so that turning them shows no gain there; photos of
    people lying down or leaning need it.
    """

    box_share: float = 130 / 160
    squash: float = 1.0
    upright: float = 1.0
    shift: float = -0.03

    def matrix(self, box: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
        """See `CropGeometry.matrix`."""
        x0, y0, x1, y1 = np.asarray(box, np.float64).tolist()
        side = max(x1 - x0, y1 - y0)
        wide, high = (
            (side * (1 - self.squash) + length * self.squash) / (self.box_share * size)
            for length in (x1 - x0, y1 - y0)
        )
        angle = math.radians(roll_degrees(landmarks)) * self.upright
        cos, sin = math.cos(angle), math.sin(angle)
        linear = ((cos * wide, -sin * high), (sin * wide, cos * high))
        down = self.shift * (y1 - y0)
        middle = ((x0 + x1) / 2 - sin * down, (y0 + y1) / 2 + cos * down)
        return np.array([(a, b, m - (a + b) * size / 2) for (a, b), m in zip(linear, middle, strict=True)])

    def describe(self) -> dict[str, object]:
        """See `CropGeometry.describe`."""
        return {"kind": "upright box", **asdict(self)}


# Where ArcFace's training put the five landmarks in its 112 × 112 crops
# (Deng et al. 2019, arXiv:1801.07698; the coordinates are published with its code).
_ARCFACE_112 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


@dataclass(frozen=True)
class FivePointGeometry:
    """The similarity that brings the five landmarks closest to ArcFace's template."""

    def matrix(self, box: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
        """See `CropGeometry.matrix`."""
        return similarity(_ARCFACE_112 * size / 112, np.asarray(landmarks, np.float64))

    def describe(self) -> dict[str, object]:
        """See `CropGeometry.describe`."""
        return {"kind": "five points"}


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """float64[2, 3]: the rotation, scale and shift that takes source float64[n, 2] closest to target.

    Least squares without reflection (Umeyama 1991). Points that all coincide give scale zero.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    spread = (a**2).sum() or 1.0
    cosine = (a * b).sum() / spread
    sine = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / spread
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([linear, target_mean - linear @ source_mean])


def roll_degrees(landmarks: np.ndarray) -> float:
    """How far the line through the eyes is turned from the horizontal, clockwise positive."""
    left, right = np.asarray(landmarks, np.float64)[:2].tolist()
    return math.degrees(math.atan2(right[1] - left[1], right[0] - left[0]))


def yaw_degrees(landmarks: np.ndarray) -> float:
    """An estimate of how far the head is turned sideways, -90 to 90, towards the viewer's right positive.

    From where the nose lies between the eyes, on the line through them: in the middle for a frontal
    face, beyond an eye for a profile. The nose's tip stands out by about the half distance of the
    eyes, so the offset in that unit is close to the tangent of the angle.
    """
    left, right, nose = np.asarray(landmarks, np.float64)[:3].tolist()
    line = (right[0] - left[0], right[1] - left[1])
    length = line[0] ** 2 + line[1] ** 2
    if length == 0:
        return 90.0
    position = ((nose[0] - left[0]) * line[0] + (nose[1] - left[1]) * line[1]) / length
    return math.degrees(math.atan((position - 0.5) * 2))
