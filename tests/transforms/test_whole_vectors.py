from __future__ import annotations

import numpy as np
import pytest

from transforms.embed import embed_slice
from transforms.records import FaceSlice
from transforms.whole_vectors import broken


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_what_is_no_vector_is_found(value: float) -> None:
    vectors = np.eye(4, 8, dtype=np.float32)
    assert broken(vectors).tolist() == [] == broken(vectors[:0]).tolist()
    vectors[2] = value
    assert broken(vectors).tolist() == [2]
    vectors[1, 1] = np.nan
    assert broken(vectors).tolist() == [1, 2]


class Stub:
    dimensions = 8

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors

    def embed(self, crops: np.ndarray) -> np.ndarray:
        return self._vectors


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_embedder_that_gives_no_vector_fails_before_anything_is_written(value: float) -> None:
    crops = np.zeros((2, 4, 4, 3), np.uint8)
    part = FaceSlice("c-1", True, [], crops=crops)
    whole = np.eye(2, 8, dtype=np.float32)
    np.testing.assert_array_equal(embed_slice(part, Stub(whole)).embeddings, whole)  # type: ignore[arg-type]
    vectors = whole.copy()
    vectors[1] = value
    with pytest.raises(FloatingPointError, match=r"zeros or values that are no numbers in chunk c-1"):
        embed_slice(part, Stub(vectors))  # type: ignore[arg-type]
