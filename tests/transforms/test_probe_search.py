from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.probe_search import Cells, neighbours_among
from transforms.vector_file import write_vectors


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def pairs(found) -> set[tuple[int, int]]:
    return set(zip(found.face.tolist(), found.other.tolist(), strict=True))


def expected(
    vectors: np.ndarray, bias: np.ndarray, rows: np.ndarray, k: int, least: float
) -> set[tuple[int, int]]:
    similarity = vectors[rows] @ vectors.T - (bias[rows][:, None] + bias) / 2
    similarity[np.arange(len(rows)), rows] = -2
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return {
        (int(rows[i]), int(j)) for i in range(len(rows)) for j in best[i] if similarity[i, j] >= least
    }  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 40), st.integers(0, 12), st.integers(1, 9), st.integers(0, 99), st.booleans())
def test_it_finds_what_comparing_all_pairs_finds(
    count: int, asked: int, k: int, seed: int, celled: bool
) -> None:
    random = np.random.default_rng(seed)
    vectors = unit(random.normal(size=(count, 8)))
    rows = random.permutation(count)[:asked]
    # Looked for in every cell, nothing can be missed.
    cells = Cells.of(vectors, unit(random.normal(size=(3, 8))), 3) if celled else None
    bias = random.normal(0, 0.1, count).astype(np.float32)
    found = neighbours_among(vectors, rows, k, least=0.2, bias=bias, cells=cells, bfloat16=False)
    assert pairs(found) == expected(vectors, bias, rows, k, 0.2)
    assert len(found.face) == len(pairs(found))
    alike = np.einsum("ij,ij->i", vectors[found.face], vectors[found.other])
    alike -= (bias[found.face] + bias[found.other]) / 2
    np.testing.assert_allclose(found.similarity, alike, atol=1e-5)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_vectors_in_a_file_and_any_number_of_threads_give_the_same(tmp_path: Path, bfloat16: bool) -> None:
    random = np.random.default_rng(3)
    centres = unit(random.normal(size=(30, 16)))
    vectors = unit(centres[random.integers(0, 30, 9000)] + 0.15 * random.normal(size=(9000, 16)))
    rows = np.sort(random.permutation(9000)[:1500])
    cells = Cells.of(vectors, centres, 6, threads=2)
    file = write_vectors(str(tmp_path / "vectors"), 9000, 16, [[(np.arange(9000), vectors)]])
    one = neighbours_among(vectors, rows, 20, least=0.5, cells=cells, bfloat16=bfloat16)
    for threads in (2, 3):
        found = neighbours_among(
            file.mapped(), rows, 20, least=0.5, cells=cells, threads=threads, bfloat16=bfloat16
        )
        for name in ("face", "other", "similarity"):
            np.testing.assert_array_equal(getattr(found, name), getattr(one, name))
    exact = neighbours_among(vectors, rows, 20, least=0.5, bfloat16=False)
    assert len(pairs(one) & pairs(exact)) > 0.95 * len(pairs(exact))
