from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.best_neighbours import BFLOAT16, FLOAT32, Best, Format


def offered(similarity: np.ndarray, form: Format, *, k: int, least: float, cuts: list[int]) -> list[set[int]]:
    """Whom each face keeps, if its others come in blocks that end at `cuts`."""
    count = len(similarity)
    best, numbers = Best(count, k, form, least), np.arange(count, dtype=np.int32)
    ends = sorted({*(cut % (count + 1) for cut in cuts), count} - {0})
    for start, end in zip([0, *ends], ends, strict=False):
        block = torch.from_numpy(np.ascontiguousarray(similarity[:, start:end])).to(form.dtype)
        best.take(block, numbers, numbers, numbers[start:end])
    face, other = best.pairs()
    assert (np.bincount(face, minlength=count) <= k + form.slack).all()
    return [set(other[face == number].tolist()) for number in range(count)]


def best_of(similarity: np.ndarray, form: Format, *, k: int, least: float) -> list[set[int]]:
    rounded = torch.from_numpy(similarity).to(form.dtype).to(torch.float32).numpy()
    bar = float(torch.tensor(least - form.margin).to(form.dtype))
    np.fill_diagonal(rounded, -np.inf)
    order = np.argsort(-rounded, axis=1, kind="stable")[:, : k + form.slack]
    return [{int(o) for o in row if rounded[face, o] >= bar} for face, row in enumerate(order)]


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 150),
    k=st.integers(1, 30),
    least=st.floats(-1, 0.9),
    form=st.sampled_from([BFLOAT16, FLOAT32]),
    cuts=st.lists(st.integers(1, 150), max_size=3),
    decimals=st.sampled_from([1, 2, 7]),
    middle=st.floats(-0.3, 1),
)
def test_the_best_are_kept_in_whatever_blocks_they_come_and_of_equals_the_first(
    count: int, k: int, least: float, form: Format, cuts: list[int], decimals: int, middle: float
) -> None:
    drawn = np.random.default_rng(count * 31 + k).normal(middle, 0.2, (count, count))
    similarity = np.clip(drawn, -1, 1).astype(np.float32).round(decimals) + np.float32(0)
    kept = offered(similarity, form, k=k, least=least, cuts=cuts)
    assert kept == best_of(similarity, form, k=k, least=least)


@pytest.mark.parametrize("order", ["rising", "falling"])
@pytest.mark.parametrize("form", [BFLOAT16, FLOAT32])
def test_thousands_in_the_worst_order_are_no_trouble(form: Format, order: str) -> None:
    along = np.linspace(0.3, 1, 3000, dtype=np.float32)[:: 1 if order == "rising" else -1]
    similarity = np.ascontiguousarray(np.broadcast_to(along, (3000, 3000)))[:8]
    best, numbers = Best(8, 20, form, 0.5), np.arange(3000, dtype=np.int32)
    for start in range(0, 3000, 700):
        block = torch.from_numpy(similarity[:, start : start + 700].copy()).to(form.dtype)
        best.take(block, numbers[:8], numbers[:8] + 5000, numbers[start : start + 700])
    face, other = best.pairs()
    expected = numbers[-20:] if order == "rising" else numbers[:20]
    for number in range(8):
        assert set(expected.tolist()) <= set(other[face == number].tolist())
