"""What grouping needs to know of an embedder beforehand: its centre, and how alike strangers are.

Faces of strangers are not spread evenly on the sphere. Their mean is far from zero, and taking it
away ("centring") tells people apart better. Some faces are more like strangers than others are, so
the same similarity says less between them: a cohort of typical strangers measures that, as in the
score normalisation of speaker verification (Auckenthaler et al. 2000; Matějka et al. 2017). And the
more faces a library holds, the more pairs of strangers are alike by chance, so the similarity that
speaks for one person grows with the library, close to a straight line in the logarithm of the number
of faces.

For the embedders that Albumen ships all of this is learnt on one half of LFW's people (even SHA-256
of the name) by ``albumen evaluate calibrate`` and kept as small files beside this module. For any
other embedder what can be is learnt from the library itself, and there is no cohort.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from importlib import resources

import numpy as np

# Faces are compared with the nearest of the cohort. With 256 means of some eleven people each, 12 do
# best for pairs of the learning half, 8 to 16 about as well.
_NEAREST = 12
_BLOCK = 16_384
# The expected number of strangers above the threshold for each face, where nothing was learnt:
# what the thresholds learnt on LFW come to with the default embedder.
_STRANGERS_PER_FACE = 0.25
_SAMPLE = 4000
FROM_LIBRARY = "the library itself"
_LEAST_PAIRS = 2000
_TWICE = 0.9  # a mirror, a collage, a photo in a photo
# How far strangers' similarities reach, in units of their spread: a share of 1e-3 of the pairs of
# LFW's learning half lies 3.6 above the middle, and each tenth of it 0.75 further. A normal
# distribution's tail (3.1, 3.7, 4.3, 4.8) ends too soon.
_REACH, _REACH_PER_DECADE = 3.6, 0.75


@dataclass(frozen=True)
class Line:
    """A threshold on cosine similarity: intercept + slope · log10(number of faces)."""

    intercept: float
    slope: float

    def at(self, faces: int) -> float:
        """The threshold for a library of `faces` faces."""
        return self.intercept + self.slope * float(np.log10(max(faces, 10)))


@dataclass(frozen=True)
class Cohort:
    """Typical strangers: float32[c, d] centred unit `vectors`, each the mean of several people's faces,
    and how alike a face `usually` is to the nearest of them."""

    vectors: np.ndarray
    usually: float

    def bias(self, faces: np.ndarray) -> np.ndarray:
        """float32[n]: how much more alike than usual float32[n, d] centred unit vectors are to strangers.

        The mean similarity to the nearest of the cohort, minus what is usual. The similarity of two faces
        minus half of each one's bias is what says that they show one person.
        """
        nearest = min(_NEAREST, len(self.vectors))
        result = np.empty(len(faces), np.float32)
        for start in range(0, len(faces), _BLOCK):
            rows = slice(start, start + _BLOCK)
            alike = np.partition(faces[rows] @ self.vectors.T, -nearest, axis=1)[:, -nearest:]
            result[rows] = alike.mean(axis=1) - self.usually
        return result

    def as_dict(self) -> dict[str, object]:
        """As JSON can hold it: vectors as bytes of 1/127 of the largest number."""
        scale = float(np.abs(self.vectors).max()) / 127
        data = np.round(self.vectors / scale).astype(np.int8).tobytes()
        text = base64.b64encode(data).decode("ascii")
        return {"usually": round(self.usually, 4), "rows": len(self.vectors), "scale": scale, "vectors": text}

    @classmethod
    def from_dict(cls, data: dict) -> Cohort:
        """Reads what `as_dict` wrote."""
        numbers = np.frombuffer(base64.b64decode(data["vectors"]), np.int8).astype(np.float32)
        vectors = numbers.reshape(data["rows"], -1) * np.float32(data["scale"])
        return cls(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), data["usually"])


@dataclass(frozen=True)
class Curve:
    """Straight lines between points: `values` at rising `places`, level beyond both ends."""

    places: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, places: np.ndarray) -> np.ndarray:
        """float32[n]: the value at each place."""
        return np.interp(places, self.places, self.values).astype(np.float32)


# How surely a face belongs to a person, by how far its likeness to the person's other faces lies
# above the threshold, where nothing was learnt: about what was learnt for the default embedder.
USUAL_CONFIDENCE = Curve((-0.1, 0.0, 0.1, 0.2), (0.5, 0.8, 0.95, 0.99))


@dataclass(frozen=True)
class Calibration:
    """`centre` float32[d]; `thresholds` by grouping method; `source` says what they were learnt from.

    `cohort` of typical strangers, None where there is none; `confidence` by how far beyond the threshold.
    """

    centre: np.ndarray
    thresholds: dict[str, Line]
    source: str
    cohort: Cohort | None = None
    confidence: Curve = USUAL_CONFIDENCE

    def to_json(self) -> str:
        """As text."""
        data = {
            "source": self.source,
            "thresholds": {method: [line.intercept, line.slope] for method, line in self.thresholds.items()},
            "confidence": [self.confidence.places, self.confidence.values],
            "centre": [round(float(x), 6) for x in self.centre],
            "cohort": self.cohort.as_dict() if self.cohort else None,
        }
        return json.dumps(data) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Reads what `to_json` wrote."""
        data = json.loads(text)
        places, values = data["confidence"]
        return cls(
            centre=np.array(data["centre"], np.float32),
            thresholds={method: Line(*line) for method, line in data["thresholds"].items()},
            source=data["source"],
            cohort=Cohort.from_dict(data["cohort"]) if data["cohort"] else None,
            confidence=Curve(tuple(places), tuple(values)),
        )


def calibration_key(embedder: dict[str, object]) -> str:
    """The name of the file for the embedder that `EmbedderSpec.describe` describes."""
    label = "".join(c if c.isalnum() else "-" for c in str(embedder["name"]).lower())
    return f"{label}-{hashlib.sha256(json.dumps(embedder, sort_keys=True).encode()).hexdigest()[:12]}.json"


def shipped_calibration(embedder: dict[str, object]) -> Calibration | None:
    """The calibration that Albumen ships for an embedder, None where it ships none."""
    file = resources.files("models").joinpath("calibrations", calibration_key(embedder))
    return Calibration.from_json(file.read_text(encoding="utf-8")) if file.is_file() else None


def learnt_from_library(
    embeddings: np.ndarray, methods: list[str], photo: np.ndarray | None = None
) -> Calibration:
    """A calibration from a library's own float32[n, d] unit vectors.

    The centre is their mean. How alike strangers are is read off pairs of faces in one photo, where int[n]
    `photo` tells of enough of them: they are known to be different people, siblings and couples too. Else
    pairs are taken at random: nearly all are of two people, and the few of one person can't
    disturb the lower half. The threshold is put where a constant number of strangers is left for each face.
    """
    centre = embeddings.mean(axis=0) if len(embeddings) else np.zeros(embeddings.shape[1], np.float32)
    pairs = _same_photo_similarities(embeddings, centre, photo) if photo is not None else np.zeros(0)
    if len(pairs) < _LEAST_PAIRS:
        sample = _moved(embeddings[:: max(1, len(embeddings) // _SAMPLE)][:_SAMPLE], centre)
        pairs = (sample @ sample.T)[np.triu_indices(len(sample), k=1)]
    if len(pairs) < 100:
        line = Line(0.5, 0.03)  # too few faces to learn from: a middling guess
    else:
        middle = float(np.median(pairs))
        spread = float(np.sqrt(np.mean((pairs[pairs <= middle] - middle) ** 2)))
        # Directions that have nothing in common spread so; few faces may happen to do so less.
        spread = max(spread, embeddings.shape[1] ** -0.5)
        slope = _REACH_PER_DECADE * spread
        reach = _REACH + _REACH_PER_DECADE * (-3 - np.log10(_STRANGERS_PER_FACE))
        line = Line(middle + reach * spread, slope)
    return Calibration(centre.astype(np.float32), dict.fromkeys(methods, line), FROM_LIBRARY)


def _moved(embeddings: np.ndarray, centre: np.ndarray) -> np.ndarray:
    moved = embeddings - centre
    return moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)


def _same_photo_similarities(embeddings: np.ndarray, centre: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Of each face and the next few in its photo, but for one face twice."""
    order = np.argsort(photo, kind="stable")
    similarities = []
    for apart in range(1, 5):
        first = np.flatnonzero(photo[order][apart:] == photo[order][:-apart])
        first = first[:: max(1, len(first) // (5 * _SAMPLE))]
        left, right = (
            _moved(embeddings[order[first]], centre),
            _moved(embeddings[order[first + apart]], centre),
        )
        similarities.append(np.einsum("ij,ij->i", left, right))
    found = np.concatenate(similarities)
    return found[found < _TWICE]
