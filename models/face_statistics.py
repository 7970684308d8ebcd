"""What the vectors of many people look like, in a few aggregate numbers: what synthetic faces are made from.

A face's vector is taken as its person's mean plus a deviation, both normally distributed, brought to
unit length. The directions and spreads of both are learnt from labelled faces (one half of LFW's
people), and so is how much look-alikes have in common: strangers are alike far more often than
independent means would be, because people come in ages, sexes and origins. No vector of any face or
person is kept.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from importlib import resources

import numpy as np

_RANK = 96  # holds 99.98 % of both variances of LFW's learning half
# A deviation's length varies from face to face like exp(normal(0, this)): fits the genuine distances.
_UNEVENNESS = 0.28
_MOST_FACES = 20
_COMMON = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 0.9])
_FARS = np.array([3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6])
_FILE = "faces-facenet-casia.npz"


@dataclass(frozen=True)
class FaceStatistics:
    """`mean` float32[d] of all people; `between`, `within` float32[r, d]: standard normal numbers times
    these are a person's mean and a face's deviation; `weak` float32[d], the unit vector that blurred
    and tiny faces lie towards; `look_alikes`: (share of a mean that two people have in common,
    probability that two people have at least that much), both rising and falling strictly."""

    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray
    weak: np.ndarray
    look_alikes: tuple[tuple[float, float], ...]
    unevenness: float
    source: str

    def to_bytes(self) -> bytes:
        """As an .npz file of half-precision arrays."""
        facts = {"look_alikes": self.look_alikes, "unevenness": self.unevenness, "source": self.source}
        arrays = {n: getattr(self, n).astype(np.float16) for n in ("mean", "between", "within", "weak")}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, facts=np.frombuffer(json.dumps(facts).encode(), np.uint8), **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> FaceStatistics:
        """Reads what `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes())
            arrays = {n: file[n].astype(np.float32) for n in ("mean", "between", "within", "weak")}
        levels = tuple((float(common), float(share)) for common, share in facts["look_alikes"])
        return cls(**arrays, look_alikes=levels, unevenness=facts["unevenness"], source=facts["source"])


def shipped_statistics() -> FaceStatistics:
    """The statistics of the default embedder's centred vectors."""
    return FaceStatistics.from_bytes(resources.files("models").joinpath("calibrations", _FILE).read_bytes())


def statistics_file_name() -> str:
    """The name under which `shipped_statistics` looks for its file."""
    return _FILE


def fitted(vectors: np.ndarray, people: np.ndarray, weak: np.ndarray, source: str) -> FaceStatistics:
    """Statistics of float32[n, d] centred unit vectors of int[n] `people`.

    `weak` float32[m, d] are vectors of faces that are blurred, tiny or doubtful, of anybody.
    Raises ValueError where no person has two faces.
    """
    _, person, counts = np.unique(people, return_inverse=True, return_counts=True)
    if counts.max(initial=0) < 2:
        raise ValueError("statistics of faces need people with two faces and more")
    first = np.unique(person, return_index=True)[1]
    within = _within_covariance(vectors, person, counts)
    between = np.cov(vectors[first].T) - within
    middle = weak.mean(axis=0)
    found = FaceStatistics(
        mean=vectors[first].mean(axis=0),
        between=_factor(between),
        within=_factor(within),
        weak=middle / np.linalg.norm(middle),
        look_alikes=(),
        unevenness=_UNEVENNESS,
        source=source,
    )
    return FaceStatistics(**{**vars(found), "look_alikes": _look_alikes(found, vectors[first])})


def _within_covariance(vectors: np.ndarray, person: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pooled over people with several faces; who has many counts as one with twenty."""
    sums = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(sums, person, vectors)
    deviation = vectors - (sums / counts[:, None])[person]
    several = counts >= 2
    weight = np.where(several, np.minimum(counts, _MOST_FACES) / np.maximum(counts - 1, 1), 0)
    total = np.minimum(counts, _MOST_FACES)[several].sum()
    return (deviation * weight[person, None]).T @ deviation / total


def _factor(covariance: np.ndarray) -> np.ndarray:
    """float32[r, d]: standard normal numbers times it have the covariance's leading part and its trace."""
    values, directions = np.linalg.eigh(covariance)
    leading = np.maximum(values[::-1][:_RANK], 0)
    leading *= max(values.sum(), 0) / leading.sum()
    return (np.sqrt(leading)[:, None] * directions[:, ::-1][:, :_RANK].T).astype(np.float32)


def _look_alikes(found: FaceStatistics, strangers: np.ndarray) -> tuple[tuple[float, float], ...]:
    """How often two people must have how much in common for the impostors' tail to be as it is.

    `strangers` float32[n, d], one face a person. For each share in common the tail is simulated; the
    non-negative mixture that comes nearest to the real tail, in ratio, is taken.
    """
    from scipy.optimize import nnls

    alike = (strangers @ strangers.T)[np.triu_indices(len(strangers), k=1)]
    levels = np.quantile(alike, 1 - _FARS)
    generator = np.random.default_rng(0)
    tails = np.stack([_simulated_tail(found, c, levels, generator) for c in _COMMON], axis=1)
    # The last row asks, with weight, that the mixture's parts add up to one.
    system = np.vstack([tails / _FARS[:, None], np.full((1, len(_COMMON)), 20.0)])
    parts = nnls(system, np.append(np.ones(len(_FARS)), 20.0))[0]
    at_least = np.cumsum(parts[::-1])[::-1]
    return tuple(
        (float(c), float(round(p, 9))) for c, p, part in zip(_COMMON, at_least, parts, strict=True)
        if c > 0 and part > 0
    )  # fmt: skip


def _simulated_tail(
    found: FaceStatistics, common: float, levels: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """float64[len(levels)]: the share of pairs above each, of strangers with `common` in common."""
    above, pairs, rank = np.zeros(len(levels)), 0, len(found.between)
    for _ in range(400):
        shared = generator.normal(size=(1, rank)) * np.sqrt(common)
        own = generator.normal(size=(300, rank)) * np.sqrt(1 - common)
        unevenness = np.exp(found.unevenness * generator.normal(size=(300, 1)) - found.unevenness**2 / 2)
        deviation = generator.normal(size=(300, len(found.within))) @ found.within * unevenness
        faces = found.mean + (shared + own) @ found.between + deviation
        faces /= np.linalg.norm(faces, axis=1, keepdims=True)
        alike = np.sort((faces @ faces.T)[np.triu_indices(300, k=1)])
        above += len(alike) - np.searchsorted(alike, levels)
        pairs += len(alike)
    return above / pairs
