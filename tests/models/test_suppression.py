from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import nms

from models import suppression


def random_boxes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    corner = generator.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corner, corner + generator.uniform(1, 40, (count, 2))], axis=1)
    return boxes.astype(np.float32), generator.uniform(0, 1, count).astype(np.float32)


@settings(deadline=None)
@given(count=st.integers(0, 60), seed=st.integers(0, 1000), threshold=st.sampled_from([0.3, 0.5, 0.7]))
def test_by_union_keeps_what_torchvision_keeps_of_each(count: int, seed: int, threshold: float) -> None:
    boxes, scores = random_boxes(count, seed)
    among = np.random.default_rng(seed).integers(0, 4, count)
    expected = []
    for number in range(4):
        own = np.flatnonzero(among == number)
        kept = nms(torch.from_numpy(boxes[own]), torch.from_numpy(scores[own]), threshold).numpy()
        expected += own[kept].tolist()
    assert suppression.by_union(boxes, scores, threshold, among=among).tolist() == expected


@settings(deadline=None)
@given(count=st.integers(0, 40), seed=st.integers(0, 1000))
def test_by_smaller_leaves_no_box_inside_a_better_one(count: int, seed: int) -> None:
    boxes, scores = random_boxes(count, seed)
    kept = suppression.by_smaller(boxes, scores, 0.7, among=np.zeros(count, np.int64))
    assert list(scores[kept]) == sorted(scores[kept], reverse=True)

    def share(a: np.ndarray, b: np.ndarray) -> float:
        low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
        overlap = np.prod(np.maximum(0, high - low + 1))
        return float(overlap / min(np.prod(a[2:] - a[:2] + 1), np.prod(b[2:] - b[:2] + 1)))

    for i, a in enumerate(kept):
        assert all(share(boxes[a], boxes[b]) <= 0.7 for b in kept[:i])
    for gone in set(range(count)) - set(kept.tolist()):
        assert any(scores[k] >= scores[gone] and share(boxes[k], boxes[gone]) > 0.7 for k in kept)


def test_boxes_of_different_photos_are_not_compared() -> None:
    boxes, scores = np.tile(np.float32([1, 2, 30, 40]), (3, 1)), np.float32([0.7, 0.9, 0.8])
    among = np.array([1, 1, 0])
    for suppress in (suppression.by_union, suppression.by_smaller):
        assert suppress(boxes, scores, 0.5, among=among).tolist() == [2, 1]
