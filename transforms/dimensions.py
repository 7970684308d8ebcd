"""Shorter vectors: fewer dimensions by a projection learnt on other people, and one byte per dimension.

FaceNet, section 5.4, trains a network for each number of dimensions, and stores 128 of them in 128 bytes.
Here a trained network's vectors are projected on the directions in which they vary most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Values beyond this quantile of the learnt ones are cut off: a few outliers would coarsen all the others.
_RANGE = 0.9999


@dataclass(frozen=True)
class Projection:
    """`mean` float32[d] and `directions` float32[k, d], the one with the largest variance first."""

    mean: np.ndarray
    directions: np.ndarray

    def apply(self, vectors: np.ndarray, dimensions: int) -> np.ndarray:
        """float32[n, dimensions] unit vectors: the first directions' share of float32[n, d]."""
        return unit_rows((vectors - self.mean) @ self.directions[:dimensions].T)


def learn_projection(vectors: np.ndarray) -> Projection:
    """Principal components of float32[n, d] vectors; at most n of them."""
    from sklearn.decomposition import PCA

    found = PCA(svd_solver="full").fit(vectors)
    return Projection(found.mean_.astype(np.float32), found.components_.astype(np.float32))


@dataclass(frozen=True)
class ByteCodec:
    """One signed byte per dimension; `step` is the value of one unit."""

    step: float

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """int8[n, d]; values out of range become the largest there is."""
        return np.clip(np.rint(vectors / self.step), -127, 127).astype(np.int8)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """float32[n, d] unit vectors."""
        return unit_rows(codes.astype(np.float32) * np.float32(self.step))


def learn_codec(vectors: np.ndarray) -> ByteCodec:
    """The codec whose range holds nearly all values of float32[n, d] vectors."""
    return ByteCodec(max(float(np.quantile(np.abs(vectors), _RANGE)), 1e-6) / 127)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """float32[n, d] rows at unit length; a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
