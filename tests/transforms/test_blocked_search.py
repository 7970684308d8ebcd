from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.test_neighbours import unit_vectors
from transforms import blocked_search
from transforms.blocked_search import search


def people_vectors(people: int, each: int, *, seed: int = 0, spread: float = 0.5) -> np.ndarray:
    generator = np.random.default_rng(seed)
    middle = generator.normal(size=(people, 16))
    vectors = np.repeat(middle, each, axis=0) + spread * generator.normal(size=(people * each, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def all_alike(vectors: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    alike = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    return alike if bias is None else alike - (bias[:, None] + bias.astype(np.float64)) / 2


def brute_force(vectors: np.ndarray, bias: np.ndarray | None, k: int, least: float) -> list[list[int]]:
    alike = all_alike(vectors, bias)
    np.fill_diagonal(alike, -3)
    nearest = np.argsort(-alike, axis=1, kind="stable")[:, :k]
    return [[int(o) for o in row if alike[face, o] >= least] for face, row in enumerate(nearest)]


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(0, 60),
    k=st.integers(1, 70),
    least=st.floats(-1, 0.95),
    sides=st.sampled_from([(6, 3, 3), (16, 16, 8), (21, 14, 7), (4096, 256, 128)]),
    threads=st.sampled_from([1, 3]),
    biased=st.booleans(),
)
def test_the_search_in_float32_finds_what_comparing_all_pairs_finds(
    count: int, k: int, least: float, sides: tuple[int, int, int], threads: int, biased: bool
) -> None:
    vectors = unit_vectors(count)
    bias = np.random.default_rng(k).normal(0.1, 0.2, count).astype(np.float32) if biased else None
    alike = all_alike(vectors, bias)
    if np.abs(alike - least).min(initial=1) < 1e-5:
        return  # rounding decides
    with pytest.MonkeyPatch.context() as patch:
        for name, side in zip(("_TILE", "_STRIP", "_FILL"), sides, strict=True):
            patch.setattr(blocked_search, name, side)
        found = search(vectors, k, least=least, bias=bias, threads=threads, bfloat16=False)
    lists = [found.other[found.face == face].tolist() for face in range(count)]
    assert lists == brute_force(vectors, bias, k, least)
    np.testing.assert_allclose(found.similarity, alike[found.face, found.other], atol=1e-6)


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("k", "tile"), [(5, 4096), (40, 4096), (40, 128)])
def test_bfloat16_finds_the_same_but_for_near_ties_with_similarities_of_full_precision(
    k: int, tile: int, biased: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocked_search, "_TILE", tile)
    vectors = people_vectors(20, 30)
    bias = np.random.default_rng(0).normal(0, 0.2, 600).astype(np.float32) if biased else None
    exact = search(vectors, k, least=0.5, bias=bias, bfloat16=False)
    fast = search(vectors, k, least=0.5, bias=bias, bfloat16=True)
    alike = all_alike(vectors, bias)
    np.testing.assert_allclose(fast.similarity, alike[fast.face, fast.other], atol=1e-6)
    pairs = [set(zip(f.face.tolist(), f.other.tolist(), strict=True)) for f in (exact, fast)]
    assert len(pairs[0] & pairs[1]) >= 0.995 * len(pairs[0])
    for face, other in pairs[0] - pairs[1]:
        worst = fast.similarity[fast.face == face].min()
        assert alike[face, other] <= worst + 0.006


def test_threads_tiles_and_copies_of_a_face_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.repeat(people_vectors(4, 10), 3, axis=0)
    first = search(vectors, 6, least=0.3)
    for threads, tile in ((2, 4096), (1, 48), (5, 48)):
        for name, side in (("_TILE", tile), ("_STRIP", 16), ("_FILL", 16)):
            monkeypatch.setattr(blocked_search, name, side)
        again = search(vectors, 6, least=0.3, threads=threads)
        for name in ("face", "other", "similarity"):
            np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    # Of equals the first by number is kept, and nobody is their own neighbour.
    assert first.other[first.face == 5][:2].tolist() == [3, 4]
