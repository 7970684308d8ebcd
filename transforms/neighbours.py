"""The neighbour graph: for every face its most similar others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from transforms.edge_lists import Directed

# So many neighbours of a face are looked for.
NEIGHBOURS = 48
_BLOCK = 1024


@dataclass(frozen=True)
class NeighbourGraph:
    """Edges between faces, each once: int32[m] `left` < `right`, and float32[m] `similarity`: the cosine,
    or where faces have biases (`models.calibration.Cohort`) the cosine minus half of both."""

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


def neighbour_graph(
    vectors: np.ndarray, *, k: int, least: float, bias: np.ndarray | None = None, threads: int = 1
) -> NeighbourGraph:
    """Connects every face to its `k` most similar others with a similarity of at least `least`, of a burst
    of near-identical shots the one that stands for it; the others have an edge to that one (`bursts`).

    `vectors` float32[n, d] of unit length, `bias` float32[n]. An edge that both ends name occurs once, in
    order of both ends. All pairs are compared: fit for up to some 200,000 faces; see `large_neighbours`
    for more.
    """
    from transforms.cell_search import search_home  # on use: compiles

    found, _ = search_home(vectors, k, least=least, most=len(vectors), bias=bias, threads=threads)
    return undirected(len(vectors), found)


def undirected(faces: int, found: Directed) -> NeighbourGraph:
    """The neighbours of each face as edges, one that both ends name once, in order of both ends."""
    return simple(NeighbourGraph(faces, *found.columns()))


def simple(graph: NeighbourGraph) -> NeighbourGraph:
    """The graph with one edge, the strongest, between the same two faces, in order of both; before, either of
    them may stand left."""
    from transforms.edge_lists import united  # on use: compiles

    return NeighbourGraph(graph.faces, *united(graph.left, graph.right, graph.similarity))


def cosines(
    left: np.ndarray, right: np.ndarray, similarity: np.ndarray, bias: np.ndarray | None
) -> np.ndarray:
    """float32[m]: the cosines behind the similarities of faces int[m] `left` and `right`, which are less by
    half of both `bias` float32[n]."""
    return similarity if bias is None else similarity + (bias[left] + bias[right]) / 2


def pair_keys(left: np.ndarray, right: np.ndarray, faces: int) -> np.ndarray:
    """int64[m]: a number for each pair of the faces 0 … `faces` - 1, the same for both directions."""
    return np.minimum(left, right).astype(np.int64) * faces + np.maximum(left, right)


def graph_within(graph: NeighbourGraph, rows: np.ndarray) -> NeighbourGraph:
    """The edges between the faces int64[n] `rows`, ascending, by their place among these."""
    place = np.full(graph.faces, -1, np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    inside = graph.filter((place[graph.left] >= 0) & (place[graph.right] >= 0))
    return NeighbourGraph(len(rows), place[inside.left], place[inside.right], inside.similarity)
