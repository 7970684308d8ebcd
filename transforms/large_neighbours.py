"""The neighbour graph of more faces than fit in memory, as a Beam graph over files.

    Slice ─ AssignCells ─ (cell, Part) ─ GroupByKey ─ SearchHome ─ (cell, Sent) ─ GroupByKey ─
    SearchVisitors ─ (band, Part) ─ GroupByKey ─ MergeFaces ─ (band, Part) ─ GroupByKey ─ UniteEdges ─ Edges

Each face is at home in its nearest cell, where it is compared with all others that are. Of near-identical
shots one stands for the others (`bursts`); who stands for themselves then visits a few more cells, and finds
those who do there. Each face keeps its best of all its cells; each pair becomes one edge. What crosses a
shuffle are names of parts of files in a work folder. Nothing depends on the number of workers, or on who did
what when.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from transforms import storage
from transforms.cells import near_cells
from transforms.compact_vectors import CompactForm
from transforms.vector_file import VectorFile, read_rows

if TYPE_CHECKING:
    from transforms.edge_lists import Directed

_INT, _FLOAT, _BYTE = np.dtype("<i4"), np.dtype("<f4"), np.dtype("i1")
_EDGE = np.dtype([("face", "<i4"), ("other", "<i4"), ("similarity", "<f4")])
# Compact vectors are off by this much at most in all but very few pairs.
_COMPACT_MARGIN, _COMPACT_SLACK = 0.02, 16
# Samples err: cells this much fuller than planned are still searched completely.
_OVERFULL = 1.5
# What lies beside a file of stored vectors: rows, biases, cells they look in, whether they are weak.
_ROWS, _BIAS, _NEAR, _UNSURE = ".rows", ".bias", ".near", ".unsure"
# So many elements wait for each thread.
_WAITING = 8
# What a part that is sent to a cell is for, where it isn't edges for a band.
_HOME, _VISIT = -2, -1


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

    def looked_in(self) -> int:
        """How many cells a face looks in at most."""
        return min(self.probes, len(self.centres))

    def listed(self) -> int:
        """How many neighbours the search looks for: more where it compares compact vectors."""
        return self.k + (_COMPACT_SLACK if self.compact else 0)

    def reached(self) -> float:
        """How alike they are at least there."""
        return self.least - (_COMPACT_MARGIN if self.compact else 0)

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


@dataclass(frozen=True, order=True)
class Sent:
    """What a cell gets: those who are at home, those who visit, or edges for the band `purpose`."""

    purpose: int
    part: Part


@dataclass(frozen=True)
class _Faces:
    """int[n] `rows` among all faces, float32[n] `bias`, and [n, ·] `stored` vectors, compact or not."""

    rows: np.ndarray
    bias: np.ndarray
    stored: np.ndarray

    @classmethod
    def read(cls, plan: SearchPlan, parts: Sequence[Part]) -> _Faces:
        rows, bias = _stored(parts, _INT, kind=_ROWS), _stored(parts, _FLOAT, kind=_BIAS)
        if plan.compact is None:
            return cls(rows, bias, _stored(parts, _FLOAT, plan.vectors.dimensions))
        return cls(rows, bias, _stored(parts, _BYTE, plan.compact.directions.shape[1]))

    def of(self, which: np.ndarray) -> _Faces:
        return _Faces(self.rows[which], self.bias[which], self.stored[which])

    def comparable(self, plan: SearchPlan) -> np.ndarray:
        """float32[n, ·] unit vectors."""
        return self.stored if plan.compact is None else plan.compact.decode(self.stored)

    def written(self, plan: SearchPlan, kind: str) -> str:
        """The name of a new file of them."""
        path = plan.new_file(kind)
        _write(path + _ROWS, self.rows.astype(_INT))
        _write(path + _BIAS, self.bias)
        _write(path, self.stored)
        return path


class _InThreads(beam.DoFn):
    """Works off elements in threads, and hands on what each gives in their order. Several wait, so that no
    thread has nothing to do while another is busy with a large cell."""

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan

    def start_bundle(self) -> None:
        from transforms.blocked_search import torch_threads

        self._pool = torch_threads(self._plan.threads)
        self._waiting: list[Future] = []

    def process(self, element: tuple) -> Iterator:
        self._waiting.append(self._pool.submit(self._done, *self._work(element)))
        if len(self._waiting) > _WAITING * self._plan.threads:
            yield from self._waiting.pop(0).result()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for future in self._waiting:
            for found in future.result():
                yield WindowedValue(found, window.max_timestamp(), (window,))
        self._pool.shutdown()

    def _work(self, element: tuple) -> tuple:
        """What a thread gets of (key, Parts)."""
        key, parts = element
        return key, sorted(parts)

    def _done(self, *work) -> list:
        raise NotImplementedError


class AssignCells(_InThreads):
    """(start, stop) of a slice → (cell, Part): writes the slice's faces sorted by the cell that is home."""

    def _work(self, element: tuple[int, int]) -> tuple[int, int]:
        return element

    def _done(self, start: int, stop: int) -> list[tuple[int, Part]]:
        plan = self._plan
        vectors, unsure = plan.vectors.read(start, stop), plan.unsure.read(start, stop) > 0
        cells = near_cells(vectors, plan.centres, plan.probes, unsure=unsure)
        order = np.argsort(cells[:, 0], kind="stable")
        stored = vectors if plan.compact is None else plan.compact.encode(vectors)
        faces = _Faces(order + start, plan.bias.read(start, stop)[order], stored[order])
        path = faces.written(plan, "cells")
        _write(path + _NEAR, cells[order])
        _write(path + _UNSURE, unsure[order].astype(_BYTE))
        return list(_ranges(cells[order, 0], start, path))


class SearchHome(_InThreads):
    """(cell, Parts) → (cell, Sent): the neighbours of those who are at home in it among each other. Those who
    stand for themselves stay to be asked, and visit other cells, as weak faces do, who also ask at home."""

    def _done(self, key: int, parts: Sequence[Part]) -> list[tuple[int, Sent]]:
        from transforms.cell_search import search_home

        plan = self._plan
        everyone = _Faces.read(plan, parts)
        unsure = _stored(parts, _BYTE, kind=_UNSURE) > 0
        sure = np.flatnonzero(~unsure)
        faces = everyone.of(sure)
        found, stands = search_home(
            faces.comparable(plan), plan.listed(), least=plan.reached(), most=plan.fullest(), bias=faces.bias
        )
        edges = _exact(plan, faces, faces, found)
        order = int(everyone.rows[0])
        sent = [(key, Sent(band, part)) for band, part in _written_edges(plan, "found", edges, order=order)]
        if stands.any():
            path = faces.of(np.flatnonzero(stands)).written(plan, "home")
            sent.append((key, Sent(_HOME, Part(order, path, 0, int(stands.sum())))))
        asking = unsure.copy()
        asking[sure[stands]] = True
        cells = _stored(parts, _INT, plan.looked_in(), kind=_NEAR).reshape(len(asking), -1)
        row, place = np.nonzero((cells >= 0) & asking[:, None])
        elsewhere = (place > 0) | unsure[row]
        row, cell = row[elsewhere], cells[row, place][elsewhere]
        by_cell = np.argsort(cell, kind="stable")
        if len(row):
            path = everyone.of(row[by_cell]).written(plan, "visits")
            sent += [(c, Sent(_VISIT, part)) for c, part in _ranges(cell[by_cell], order, path)]
        return sent


class SearchVisitors(_InThreads):
    """(cell, Sent) → (band, Part): finds neighbours of a cell's visitors among those at home; what was found
    for these goes on as it is."""

    def _done(self, key: int, parts: Sequence[Sent]) -> list[tuple[int, Part]]:
        from transforms.cell_search import search_visitors

        plan = self._plan
        known = [(sent.purpose, sent.part) for sent in parts if sent.purpose >= 0]
        home, visits = ([s.part for s in parts if s.purpose == purpose] for purpose in (_HOME, _VISIT))
        if not home or not visits:
            return known
        hosts, guests = _Faces.read(plan, home), _Faces.read(plan, visits)
        found = search_visitors(
            hosts.comparable(plan), guests.comparable(plan), plan.listed(), least=plan.reached(),
            biases=(hosts.bias, guests.bias),
        )  # fmt: skip
        edges = _exact(plan, guests, hosts, found)
        edges = edges[np.argsort(edges["face"], kind="stable")]
        return known + _written_edges(plan, "found", edges, order=visits[0].order)


class MergeFaces(_InThreads):
    """(band, Parts) → (band, Part): the best neighbours of each face of the band, from all its cells, as
    edges for the band of the edge's first face."""

    def _done(self, key: int, parts: Sequence[Part]) -> list[tuple[int, Part]]:
        from transforms.edge_lists import strongest, united

        plan = self._plan
        found = strongest(*_columns(parts), k=plan.k, least=plan.least)
        first, second = np.minimum(found.face, found.other), np.maximum(found.face, found.other)
        own = first >= key * plan.band
        # Others' first faces lie anywhere before the band: what is made here must not go with their number.
        before = np.flatnonzero(~own)
        bands = (first[before] // plan.band).astype(np.min_scalar_type(key))  # of few bytes: sorts quickly
        before = before[np.argsort(bands, kind="stable")]
        edges = np.concatenate([
            _records(*(column[before] for column in (first, second, found.similarity))),
            _records(*united(first[own], second[own], found.similarity[own])),
        ])  # fmt: skip
        return _written_edges(plan, "merged", edges, order=key)


class UniteEdges(_InThreads):
    """(band, Parts) → Part: each edge once, in order of both faces."""

    def _done(self, key: int, parts: Sequence[Part]) -> list[Part]:
        from transforms.edge_lists import united

        edges = _records(*united(*_columns(parts)))
        path = self._plan.new_file("edges")
        _write(path, edges)
        return [Part(key, path, 0, len(edges))]


class RecordEdges(beam.DoFn):
    """Leaves a line for each file of edges, for who reads the result after the run."""

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan

    def process(self, part: Part) -> None:
        line = f"{part.order} {part.count} {part.path}"
        path = storage.join(self._plan.work, "result", f"{part.order:09d}.txt")
        storage.write_bytes(path, line.encode(), durable=False)


def build(pipeline: beam.Pipeline, plan: SearchPlan) -> beam.PCollection:
    """Adds the search to a pipeline; `edge_parts` tells afterwards what it found."""
    return (
        pipeline
        | "Slices" >> beam.Create(plan.vectors.slices(), reshuffle=True)
        | "AssignCells" >> beam.ParDo(AssignCells(plan))
        | "ByHome" >> beam.GroupByKey()
        | "SearchHome" >> beam.ParDo(SearchHome(plan))
        | "ByCell" >> beam.GroupByKey()
        | "SearchVisitors" >> beam.ParDo(SearchVisitors(plan))
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


def _write(path: str, array: np.ndarray) -> None:
    """A file of the work folder, which nobody looks for after a crash."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    storage.write_bytes(path, data, durable=False)


def _stored(parts: Sequence[Part], dtype: np.dtype, width: int = 1, *, kind: str = "") -> np.ndarray:
    return np.concatenate([read_rows(p.path + kind, p.start, p.count, dtype, width) for p in parts])


def _columns(parts: Sequence[Part]) -> list[np.ndarray]:
    """face, other, similarity of the edges in files."""
    edges = np.concatenate([read_edges(part) for part in parts])
    return [edges[name] for name in ("face", "other", "similarity")]


def _records(face: np.ndarray, other: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """Edges as files hold them."""
    edges = np.empty(len(face), _EDGE)
    edges["face"], edges["other"], edges["similarity"] = face, other, similarity
    return edges


def _exact(plan: SearchPlan, faces: _Faces, others: _Faces, found: Directed) -> np.ndarray:
    """What was found for `faces` among `others`, as edges with the similarities of the full vectors."""
    from transforms.blocked_search import similarities
    from transforms.edge_lists import strongest

    if plan.compact is not None:
        face, number = np.unique(found.face, return_inverse=True)
        other, other_number = np.unique(found.other, return_inverse=True)
        exact = similarities(
            plan.vectors.take(np.append(faces.rows[face], others.rows[other])),
            np.append(faces.bias[face], others.bias[other]),
            number, other_number + len(face),
        )  # fmt: skip
        found = strongest(found.face, found.other, exact, k=plan.k, least=plan.least)
    return _records(faces.rows[found.face], others.rows[found.other], found.similarity)


def _written_edges(plan: SearchPlan, kind: str, edges: np.ndarray, *, order: int) -> list[tuple[int, Part]]:
    """Writes edges that are sorted by the band of their first face as one file; a Part for each band."""
    if not len(edges):
        return []
    path = plan.new_file(kind)
    _write(path, edges)
    return list(_ranges(edges["face"] // plan.band, order, path))


def _ranges(keys: np.ndarray, order: int, path: str) -> Iterator[tuple[int, Part]]:
    """(key, Part) for each run of equal sorted keys."""
    starts = np.concatenate([[0], np.flatnonzero(np.diff(keys)) + 1])
    ends = np.append(starts[1:], len(keys))
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield int(keys[start]), Part(order, path, start, end - start)
