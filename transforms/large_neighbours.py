"""The neighbour graph of more faces than fit in memory, as a Beam graph over files.

    Slice ─ AssignCells ─ (cell, Part) ─ GroupByKey ─ SearchCell ─ (band, Part) ─ GroupByKey ─
    MergeFaces ─ (band, Part) ─ GroupByKey ─ UniteEdges ─ Edges

Each face is at home in its nearest cell and visits a few more; of those at home and of the visitors the
neighbours among those at home are found exactly; each face keeps its best of all its cells; each pair becomes
one edge. What crosses a shuffle are names of parts of files in a work folder. Nothing depends on the number
of workers, or on who did what when.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from transforms import storage
from transforms.cells import near_cells
from transforms.compact_vectors import CompactForm
from transforms.neighbours import edge_order
from transforms.vector_file import VectorFile, read_rows

if TYPE_CHECKING:
    from transforms.blocked_search import Directed

_INT, _FLOAT, _BYTE = np.dtype("<i4"), np.dtype("<f4"), np.dtype("i1")
_EDGE = np.dtype([("face", "<i4"), ("other", "<i4"), ("similarity", "<f4")])
# Compact vectors are off by this much at most in all but very few pairs.
_COMPACT_MARGIN, _COMPACT_SLACK = 0.02, 16
# Samples err: cells this much fuller than planned are still searched completely.
_OVERFULL = 1.5


@dataclass(frozen=True)
class SearchPlan:
    """What every step needs to know. `bias` holds one number a face, `unsure` 1 for those that look in
    more cells (`cells.near_cells`) and are nobody's neighbours, else 0; `centres` float32[c, d]; each face
    looks in `probes` cells at most, in each some `most` sure faces at most are at home; `band` faces are
    merged at a time; `compact` where the search works on compact vectors."""

    vectors: VectorFile
    bias: VectorFile
    unsure: VectorFile
    work: str
    centres: np.ndarray
    probes: int
    k: int
    least: float
    most: int
    band: int
    threads: int
    compact: CompactForm | None = None

    def fullest(self) -> int:
        """How many faces that are at home in a cell are all compared."""
        return round(self.most * _OVERFULL)

    def new_file(self, kind: str) -> str:
        """A name that no other worker, and no retry, uses."""
        return storage.join(self.work, f"{kind}-{uuid.uuid4().hex}")


@dataclass(frozen=True, order=True)
class Part:
    """`count` rows from `start` of a file; `order` says where it belongs among others."""

    order: int
    path: str
    start: int
    count: int


class AssignCells(beam.DoFn):
    """(start, stop) of a slice → (cell, Part): writes the slice's faces sorted by cell."""

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan

    def process(self, element: tuple[int, int]) -> Iterator[tuple[int, Part]]:
        plan, (start, stop) = self._plan, element
        vectors = plan.vectors.read(start, stop)
        unsure = plan.unsure.read(start, stop) > 0
        cells = near_cells(vectors, plan.centres, plan.probes, unsure=unsure)
        row, place = np.nonzero(cells >= 0)
        cell = cells[row, place]
        order = np.argsort(cell, kind="stable")
        rows = row[order]
        path = plan.new_file("cells")
        stored = vectors if plan.compact is None else plan.compact.encode(vectors)
        storage.write_bytes(path + ".rows", _bytes((rows + start).astype(_INT)))
        storage.write_bytes(path + ".bias", _bytes(plan.bias.read(start, stop)[rows]))
        storage.write_bytes(path + ".asking", _bytes(((place[order] > 0) | unsure[rows]).astype(_BYTE)))
        storage.write_bytes(path, _bytes(stored[rows]))
        yield from _ranges(cell[order], start, path)


class _InThreads(beam.DoFn):
    """Works off elements in threads, and hands on what each gives in their order."""

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan

    def start_bundle(self) -> None:
        import torch

        # torch keeps the number of threads for each thread anew.
        self._pool = ThreadPoolExecutor(self._plan.threads, initializer=torch.set_num_threads, initargs=(1,))
        self._waiting: list[Future] = []

    def process(self, element: tuple[int, Iterable[Part]]) -> Iterator:
        key, parts = element
        self._waiting.append(self._pool.submit(self._done, key, sorted(parts)))
        if len(self._waiting) > self._plan.threads:
            yield from self._waiting.pop(0).result()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for future in self._waiting:
            for found in future.result():
                yield WindowedValue(found, window.max_timestamp(), (window,))
        self._pool.shutdown()

    def _done(self, key: int, parts: Sequence[Part]) -> list:
        raise NotImplementedError


class SearchCell(_InThreads):
    """(cell, Parts) → (band, Part): finds neighbours inside the cell."""

    def _done(self, key: int, parts: Sequence[Part]) -> list[tuple[int, Part]]:
        from transforms.cell_search import search_cell

        plan = self._plan
        rows, bias = _stored(parts, _INT, kind=".rows"), _stored(parts, _FLOAT, kind=".bias")
        asking = _stored(parts, _BYTE, kind=".asking") > 0
        if plan.compact is None:
            vectors = _stored(parts, _FLOAT, plan.vectors.dimensions)
            found = search_cell(
                vectors, plan.k, least=plan.least, most=plan.fullest(), bias=bias, asking=asking
            )
        else:
            found = self._search_compact(parts, rows, bias, asking, plan.compact)
        edges = np.empty(len(found.face), _EDGE)
        edges["face"], edges["other"] = rows[found.face], rows[found.other]
        edges["similarity"] = found.similarity
        return _written(plan, "found", edges, edges["face"] // plan.band, order=int(rows[0]))

    def _search_compact(
        self, parts: Sequence[Part], rows: np.ndarray, bias: np.ndarray, asking: np.ndarray, form: CompactForm
    ) -> Directed:
        from transforms.blocked_search import similarities, strongest
        from transforms.cell_search import search_cell

        plan = self._plan
        vectors = form.decode(_stored(parts, _BYTE, form.directions.shape[1]))
        found = search_cell(
            vectors,
            plan.k + _COMPACT_SLACK,
            least=plan.least - _COMPACT_MARGIN,
            most=plan.fullest(),
            bias=bias,
            asking=asking,
        )
        used, number = np.unique(np.concatenate([found.face, found.other]), return_inverse=True)
        full = plan.vectors.take(rows[used])
        face, other = number[: len(found.face)], number[len(found.face) :]
        exact = similarities(full, bias[used], face, other)
        return strongest(found.face, found.other, exact, k=plan.k, least=plan.least)


class MergeFaces(_InThreads):
    """(band, Parts) → (band, Part): the best neighbours of each face of the band, from all its cells, as
    edges for the band of the edge's first face."""

    def _done(self, key: int, parts: Sequence[Part]) -> list[tuple[int, Part]]:
        from transforms.blocked_search import strongest

        edges = _edges(parts)
        found = strongest(
            edges["face"], edges["other"], edges["similarity"], k=self._plan.k, least=self._plan.least
        )
        edges = np.empty(len(found.face), _EDGE)
        edges["face"] = np.minimum(found.face, found.other)
        edges["other"] = np.maximum(found.face, found.other)
        edges["similarity"] = found.similarity
        edges = edges[edge_order(edges["face"], edges["other"])]
        return _written(self._plan, "merged", edges, edges["face"] // self._plan.band, order=key)


class UniteEdges(_InThreads):
    """(band, Parts) → Part: each edge once, in order of both faces."""

    def _done(self, key: int, parts: Sequence[Part]) -> list[Part]:
        edges = _edges(parts)
        edges = edges[edge_order(edges["face"], edges["other"])]
        path = self._plan.new_file("edges")
        storage.write_bytes(path, _bytes(edges))
        return [Part(key, path, 0, len(edges))]


class RecordEdges(beam.DoFn):
    """Leaves a line for each file of edges, for who reads the result after the run."""

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan

    def process(self, part: Part) -> None:
        line = f"{part.order} {part.count} {part.path}"
        storage.write_bytes(storage.join(self._plan.work, "result", f"{part.order:09d}.txt"), line.encode())


def build(pipeline: beam.Pipeline, plan: SearchPlan) -> beam.PCollection:
    """Adds the search to a pipeline; `edge_parts` tells afterwards what it found."""
    return (
        pipeline
        | "Slices" >> beam.Create(plan.vectors.slices(), reshuffle=True)
        | "AssignCells" >> beam.ParDo(AssignCells(plan))
        | "ByCell" >> beam.GroupByKey()
        | "SearchCell" >> beam.ParDo(SearchCell(plan))
        | "ByFace" >> beam.GroupByKey()
        | "MergeFaces" >> beam.ParDo(MergeFaces(plan))
        | "ByEdge" >> beam.GroupByKey()
        | "UniteEdges" >> beam.ParDo(UniteEdges(plan))
        | "RecordEdges" >> beam.ParDo(RecordEdges(plan))
    )


def edge_parts(work: str) -> list[Part]:
    """The files of edges that a finished search left in its work folder, in order."""
    folder = storage.join(work, "result")
    parts = []
    for name in storage.file_names(folder, suffix=".txt"):
        order, count, path = storage.read_bytes(storage.join(folder, name)).decode().split(" ", 2)
        parts.append(Part(int(order), path, 0, int(count)))
    return sorted(parts)


def read_edges(part: Part) -> np.ndarray:
    """One file of edges, as records of face, other, similarity."""
    return read_rows(part.path, part.start, part.count, _EDGE)


def _bytes(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _stored(parts: Sequence[Part], dtype: np.dtype, width: int = 1, *, kind: str = "") -> np.ndarray:
    return np.concatenate([read_rows(p.path + kind, p.start, p.count, dtype, width) for p in parts])


def _edges(parts: Sequence[Part]) -> np.ndarray:
    return np.concatenate([read_edges(part) for part in parts])


def _written(
    plan: SearchPlan, kind: str, edges: np.ndarray, band: np.ndarray, *, order: int
) -> list[tuple[int, Part]]:
    """Writes edges that are sorted by band as one file; a Part for each band."""
    if not len(edges):
        return []
    path = plan.new_file(kind)
    storage.write_bytes(path, _bytes(edges))
    return list(_ranges(band, order, path))


def _ranges(keys: np.ndarray, order: int, path: str) -> Iterator[tuple[int, Part]]:
    """(key, Part) for each run of equal sorted keys."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(keys)) + 1])
    ends = np.append(starts[1:], len(keys))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield int(keys[start]), Part(order, path, start, end - start)
