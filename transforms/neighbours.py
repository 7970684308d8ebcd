"""The neighbour graph: for every face its most similar others, exactly, by blocked matrix products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BLOCK = 1024


@dataclass(frozen=True)
class NeighbourGraph:
    """Edges between faces, each once: int32[m] `left` < `right`, and float32[m] `similarity` (cosine)."""

    faces: int
    left: np.ndarray
    right: np.ndarray
    similarity: np.ndarray

    def filter(self, keep: np.ndarray) -> NeighbourGraph:
        """The edges for which bool[m] `keep` holds."""
        return NeighbourGraph(self.faces, self.left[keep], self.right[keep], self.similarity[keep])


def nearest(queries: np.ndarray, base: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k most similar rows of `base` for each query: (int32[n, k] indices, float32[n, k] cosines).

    Both are float32[·, d] of unit length. Best first; exact up to rounding. Fewer than k rows give
    fewer columns. Memory: one block of 1,024 queries against the whole base.
    """
    k = min(k, len(base))
    indices = np.empty((len(queries), k), np.int32)
    similarities = np.empty((len(queries), k), np.float32)
    if not k or not len(queries):
        return indices, similarities
    import torch  # on use: a run that finds nothing to do must not wait for it

    table = torch.from_numpy(np.ascontiguousarray(base)).T
    for start in range(0, len(queries), _BLOCK):
        rows = slice(start, start + _BLOCK)
        scores = torch.from_numpy(np.ascontiguousarray(queries[rows])) @ table
        top = torch.topk(scores, k, dim=1)
        indices[rows], similarities[rows] = top.indices.numpy(), top.values.numpy()
    return indices, similarities


def neighbour_graph(vectors: np.ndarray, *, k: int, least: float) -> NeighbourGraph:
    """Connects every face to its `k` most similar others with a cosine of at least `least`.

    `vectors` float32[n, d] of unit length. An edge that both ends name occurs once.
    """
    count = len(vectors)
    indices, similarities = nearest(vectors, vectors, k + 1)
    source = np.repeat(np.arange(count, dtype=np.int32), indices.shape[1])
    target, similarity = indices.ravel(), similarities.ravel()
    keep = (target != source) & (similarity >= least)
    left, right = np.minimum(source, target)[keep], np.maximum(source, target)[keep]
    key = left.astype(np.int64) * count + right
    _, first = np.unique(key, return_index=True)
    return NeighbourGraph(count, left[first], right[first], similarity[keep][first])


def graph_within(graph: NeighbourGraph, rows: np.ndarray) -> NeighbourGraph:
    """The edges between the faces int64[n] `rows`, ascending, by their place among these."""
    place = np.full(graph.faces, -1, np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    inside = graph.filter((place[graph.left] >= 0) & (place[graph.right] >= 0))
    return NeighbourGraph(len(rows), place[inside.left], place[inside.right], inside.similarity)
