"""The neighbour graph of a revision on disk, and what a revision hands on to the next one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.increments import Kept
from transforms.library import Library
from transforms.neighbours import NeighbourGraph
from transforms.people import UNGROUPED
from transforms.successors import Successors
from transforms.table_files import read_table, write_table
from transforms.tables import (
    CONFIDENCE,
    FACE_ID,
    GRAPH_SCHEMA,
    LEFT,
    PERSON_ID,
    RIGHT,
    ROLE,
    SIMILARITY,
)

_GRAPH, _EDGES = "graph", "edges.parquet"


def write_graph(library: Library, revision: str, graph: NeighbourGraph) -> None:
    """Writes the graph of a revision whose assignments have the same order of faces."""
    table = pa.table([graph.left, graph.right, graph.similarity], schema=GRAPH_SCHEMA)
    write_table(library.file(_GRAPH, revision, _EDGES), table)


def remove_old_graphs(library: Library) -> None:
    """Removes all graphs but the current revision's."""
    current = library.current_revision()
    for name in storage.folder_names(library.file(_GRAPH)):
        if name != current:
            storage.remove_folder(library.file(_GRAPH, name))


def read_kept(library: Library, face_ids: pa.Array, successors: Successors) -> Kept | None:
    """What the current revision hands on to a grouping of these faces; None where that is nothing."""
    revision = library.current_revision()
    if revision is None:
        return None
    table = library.read_assignments(revision)
    if not len(table):
        return None
    ids = successors.renamed(table[FACE_ID]).combine_chunks()
    row = (
        pc.fill_null(pc.index_in(face_ids, value_set=ids.cast(face_ids.type)), -1).to_numpy().astype(np.int64)
    )
    known = row >= 0
    people = table[PERSON_ID].combine_chunks().dictionary_encode().indices
    group = np.where(known, pc.fill_null(people, -1).to_numpy(zero_copy_only=False)[row], -1)
    role = np.where(known, table[ROLE].to_numpy()[row], UNGROUPED)
    confidence = np.where(known, table[CONFIDENCE].to_numpy()[row], 0).astype(np.float32)
    graph = _read_graph(library, revision, row, len(face_ids))
    return Kept(known, group.astype(np.int64), role.astype(object), confidence, graph)


def _read_graph(library: Library, revision: str, row: np.ndarray, faces: int) -> NeighbourGraph | None:
    """The graph of a revision by row among the faces of now; int64[n] `row` of its faces among its own."""
    path = library.file(_GRAPH, revision, _EDGES)
    if not storage.exists(path):
        return None
    edges = read_table(path)
    left, right = edges[LEFT].to_numpy(), edges[RIGHT].to_numpy()
    known = np.flatnonzero(row >= 0)
    now = np.full(max(int(row.max(initial=-1)), int(right.max(initial=-1))) + 1, -1, np.int32)
    now[row[known]] = known
    left, right = now[left], now[right]
    here = (left >= 0) & (right >= 0)
    small, large = np.minimum(left, right)[here], np.maximum(left, right)[here]
    return NeighbourGraph(faces, small, large, edges[SIMILARITY].to_numpy()[here])
