"""The paper's compact form of a face: 128 bytes (FaceNet, section 5.5), for searching more in less memory.

Vectors are projected on the 128 directions in which a sample of them varies most, and each number
becomes one byte. The search works on these; what it finds is judged by the full vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DIMENSIONS = 128
# Numbers a little wider than the sample's widest still fit in a byte.
_ROOM = 1.1


@dataclass(frozen=True)
class CompactForm:
    """`directions` float32[d, c] and, for one step of a byte, `step` float32[c]."""

    directions: np.ndarray
    step: np.ndarray

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """int8[n, c] for float32[n, d]."""
        return np.clip(np.rint(vectors @ self.directions / self.step), -127, 127).astype(np.int8)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """float32[n, c] unit vectors whose cosines come near those of the vectors encoded."""
        found = codes * self.step
        return (found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def learn_compact_form(sample: np.ndarray) -> CompactForm:
    """The compact form for vectors like float32[m, d] `sample`."""
    values, directions = np.linalg.eigh(sample.T.astype(np.float64) @ sample)
    leading = directions[:, np.argsort(-values, kind="stable")[:DIMENSIONS]].astype(np.float32)
    widest = np.abs(sample @ leading).max(axis=0) * _ROOM
    return CompactForm(leading, (np.maximum(widest, 1e-6) / 127).astype(np.float32))
