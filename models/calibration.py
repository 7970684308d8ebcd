"""What grouping needs to know of an embedder beforehand: its centre, and how alike strangers are.

Faces of strangers are not spread evenly on the sphere: their mean is far from zero, and taking it
away ("centring") tells people apart better. And the more faces a library holds, the more pairs of
strangers are alike by chance, so the similarity that speaks for one person grows with the library,
close to a straight line in the logarithm of the number of faces.

For the embedders that Albumen ships both are learnt on one half of LFW's people (even SHA-256 of the
name) by ``albumen evaluate calibrate`` and kept as small files beside this module. For any other
embedder they are learnt from the library itself.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from statistics import NormalDist

import numpy as np

# The expected number of strangers above the threshold for each face, where nothing was learnt:
# what the thresholds learnt on LFW come to with the default embedder.
_STRANGERS_PER_FACE = 0.25
_SAMPLE = 4000
FROM_LIBRARY = "the library itself"


@dataclass(frozen=True)
class Line:
    """A threshold on cosine similarity: intercept + slope · log10(number of faces)."""

    intercept: float
    slope: float

    def at(self, faces: int) -> float:
        """The threshold for a library of `faces` faces."""
        return self.intercept + self.slope * float(np.log10(max(faces, 10)))


@dataclass(frozen=True)
class Calibration:
    """`centre` float32[d]; `thresholds` by grouping method; `source` says what they were learnt from."""

    centre: np.ndarray
    thresholds: dict[str, Line]
    source: str

    def to_json(self) -> str:
        """As text."""
        lines = {method: [line.intercept, line.slope] for method, line in self.thresholds.items()}
        centre = [round(float(x), 6) for x in self.centre]
        return json.dumps({"source": self.source, "thresholds": lines, "centre": centre}) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Reads what `to_json` wrote."""
        data = json.loads(text)
        thresholds = {method: Line(*line) for method, line in data["thresholds"].items()}
        return cls(np.array(data["centre"], np.float32), thresholds, data["source"])


def calibration_key(embedder: dict[str, object]) -> str:
    """The name of the file for the embedder that `EmbedderSpec.describe` describes."""
    label = "".join(c if c.isalnum() else "-" for c in str(embedder["name"]).lower())
    return f"{label}-{hashlib.sha256(json.dumps(embedder, sort_keys=True).encode()).hexdigest()[:12]}.json"


def shipped_calibration(embedder: dict[str, object]) -> Calibration | None:
    """The calibration that Albumen ships for an embedder, None where it ships none."""
    file = resources.files("models").joinpath("calibrations", calibration_key(embedder))
    return Calibration.from_json(file.read_text(encoding="utf-8")) if file.is_file() else None


def learnt_from_library(embeddings: np.ndarray, methods: list[str]) -> Calibration:
    """A calibration from a library's own float32[n, d] unit vectors.

    The centre is their mean. Two faces taken at random are nearly always of two people, and their
    similarities spread like a normal distribution, whose lower half the few pairs of one person
    can't disturb: mean and spread are read off there, and the threshold is put where the
    distribution leaves a constant number of strangers for each face.
    """
    centre = embeddings.mean(axis=0) if len(embeddings) else np.zeros(embeddings.shape[1], np.float32)
    step = max(1, len(embeddings) // _SAMPLE)
    sample = embeddings[::step][:_SAMPLE] - centre
    sample = sample / np.maximum(np.linalg.norm(sample, axis=1, keepdims=True), 1e-12)
    pairs = (sample @ sample.T)[np.triu_indices(len(sample), k=1)]
    if len(pairs) < 100:
        line = Line(0.5, 0.03)  # too few faces to learn from: a middling guess
    else:
        middle = float(np.median(pairs))
        spread = middle - float(np.quantile(pairs, NormalDist().cdf(-1)))
        low, high = (middle + spread * -NormalDist().inv_cdf(_STRANGERS_PER_FACE / n) for n in (1e2, 1e6))
        slope = (high - low) / 4
        line = Line(low - 2 * slope, slope)
    return Calibration(centre.astype(np.float32), dict.fromkeys(methods, line), FROM_LIBRARY)
