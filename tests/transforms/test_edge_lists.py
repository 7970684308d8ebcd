from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from transforms.edge_lists import strongest, united


@given(seed=st.integers(0, 1000), k=st.integers(1, 6), cut=st.integers(0, 40))
def test_merging_parts_finds_what_the_whole_does_whatever_comes_twice(seed: int, k: int, cut: int) -> None:
    generator = np.random.default_rng(seed)
    alike = generator.random((8, 8)).astype(np.float32).round(1)
    face, other = (x.astype(np.int32) for x in np.nonzero(~np.eye(8, dtype=bool)))
    whole = strongest(face, other, alike[face, other], k=k, least=0.3)
    order = generator.permutation(np.concatenate([np.arange(len(face)), np.arange(min(cut, len(face)))]))
    part = strongest(face[order], other[order], alike[face, other][order], k=k, least=0.3)
    for name in ("face", "other", "similarity"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(part, name))
    counts = np.bincount(whole.face, minlength=8)
    expected = np.minimum(((alike >= np.float32(0.3)) & ~np.eye(8, dtype=bool)).sum(axis=1), k)
    np.testing.assert_array_equal(counts, expected)


_FACE = st.integers(3, 9)
_ALIKE = st.floats(-1, 1, width=16)


@given(st.lists(st.tuples(_FACE, _FACE, _ALIKE).filter(lambda edge: edge[0] != edge[1]), max_size=30))
def test_of_edges_between_the_same_faces_the_strongest_stays_in_order(
    edges: list[tuple[int, int, float]],
) -> None:
    most: dict[tuple[int, int], float] = {}
    for a, b, value in edges:
        pair = (min(a, b), max(a, b))
        most[pair] = max(value, most.get(pair, -1.0))
    ends = np.array([edge[:2] for edge in edges], np.int32).reshape(-1, 2)
    alike = np.array([edge[2] for edge in edges], np.float32)
    found = united(ends[:, 0], ends[:, 1], alike)
    assert [column.dtype for column in found] == [np.int32, np.int32, np.float32]
    assert list(zip(*(column.tolist() for column in found), strict=True)) == [
        (*pair, most[pair]) for pair in sorted(most)
    ]


def test_what_uniting_needs_does_not_go_with_the_number_of_the_second_face() -> None:
    second = np.array([2_000_000_000, 1_999_999_999], np.int32)
    found = united(second, np.array([5, 7], np.int32), np.array([0.5, 0.25], np.float32))
    assert [column.tolist() for column in found] == [[5, 7], second.tolist(), [0.5, 0.25]]
