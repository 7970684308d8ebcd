"""Vectors of people who never lived."""

from __future__ import annotations

import numpy as np

from transforms.neighbours import NeighbourGraph


def identities(people: int, each: int, *, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Shuffled unit vectors of people far from one another: (float32[n, 32], int[n] who)."""
    random = np.random.default_rng(seed)
    who = random.permutation(np.repeat(np.arange(people), each))
    centres = random.normal(size=(people, 32))
    vectors = centres[who] + noise * random.normal(size=(len(who), 32))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), who


def complete_graph(similarity: np.ndarray) -> NeighbourGraph:
    """All pairs, as alike as float[n, n] says."""
    left, right = np.triu_indices(len(similarity), 1)
    return NeighbourGraph(
        len(similarity), left.astype(np.int32), right.astype(np.int32), similarity[left, right]
    )
