"""Grouping a library whose vectors don't fit in memory: everything large lies in files of a work folder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache

import numpy as np

from models.calibration import Calibration
from pipeline.faces_to_group import ReadyFaces
from pipeline.search_neighbours import TWICE, SearchSettings, cells_to_probe, search_neighbours
from transforms import storage
from transforms.cells import FARTHER, NEAR, UNSURE
from transforms.library import Library, LibraryError
from transforms.neighbours import NEIGHBOURS, NeighbourGraph
from transforms.people import FaceSet, WeakLimits
from transforms.present_rows import FaceOrder
from transforms.regrouping import Search, neighbours_of
from transforms.tables import EMBEDDING, matrix
from transforms.vector_file import VectorFile, write_vectors
from transforms.verification import centred
from transforms.whole_vectors import require_whole

_CALIBRATION_SAMPLE = 20_000
_WORK = "work-"


# Sees the vectors, float32[n] biases, bool[n] which faces are weak, and the graph.
Observer = Callable[[VectorFile, np.ndarray, np.ndarray, NeighbourGraph], None]


@contextmanager
def faces_in_files(
    library: Library, faces: FaceSet, order: FaceOrder, known: Calibration, *, settings: SearchSettings,
    observe: Observer | None = None,
) -> Iterator[ReadyFaces]:  # fmt: skip
    """The faces, given in order of face_id without their vectors, while the block runs.

    The facts of the search are settings, the number of edges and seconds.

    `observe` sees the vectors and the whole graph, if there is one. The work folder lies in the library,
    where there is room and where the workers of another engine find it; for a library behind a URL it is
    local. Raises LibraryError where another engine's workers couldn't share it.
    """
    local = not storage.is_url(library.path)
    if settings.beam_options and not local:
        raise LibraryError(
            f"{library.path} is not a folder that every worker can open as files: group it without --runner"
        )
    # The caller holds the lease, so what lies here was left by a run that was killed.
    for name in storage.folder_names(library.path) if local else []:
        if name.startswith(_WORK):
            storage.remove_folder(library.file(name))
    facts: dict[str, object] = {}
    seconds = {"vectors": 0.0, "neighbours": 0.0}
    # What can't be removed now, a mapped file on a network drive perhaps, the next run removes.
    with tempfile.TemporaryDirectory(
        prefix=_WORK, dir=library.path if local else None, ignore_cleanup_errors=True
    ) as work:
        started = time.monotonic()
        vectors, bias = _written(library, order, known, f"{work}/vectors", threads=settings.running_threads())
        seconds["vectors"] = round(time.monotonic() - started, 1)
        cells = cache(lambda: cells_to_probe(vectors, seed=settings.seed, threads=settings.running_threads()))

        def whole(these: FaceSet, least: float, limits: WeakLimits) -> NeighbourGraph:
            started = time.monotonic()
            graph = search_neighbours(
                vectors,
                work,
                k=NEIGHBOURS,
                least=least,
                bias=these.biases(),
                unsure=these.weak(limits),
                settings=settings,
            )
            seconds["neighbours"] += round(time.monotonic() - started, 1)
            facts.update(edges=len(graph.left), least=least)
            if observe is not None:
                observe(vectors, these.biases(), these.weak(limits), graph)
            return graph

        def among(these: FaceSet, least: float, rows: np.ndarray, base: np.ndarray) -> NeighbourGraph:
            started = time.monotonic()
            graph = neighbours_of(these, least, rows, base, cells=cells(), threads=settings.running_threads())
            seconds["neighbours"] += round(time.monotonic() - started, 1)
            facts.update(edges=int(str(facts.get("edges", 0))) + len(graph.left), least=least)
            return graph

        search = Search(whole, among, along=True, threads=settings.running_threads(), folder=work)
        visits = {"farther": FARTHER, "near": NEAR, "unsure_probes": UNSURE, "more_neighbours": TWICE}
        facts.update({**asdict(settings), **visits, "seconds": seconds})
        yield ReadyFaces(replace(faces, vectors=vectors.mapped(), bias=bias), search, facts)


def _written(
    library: Library, order: FaceOrder, known: Calibration, path: str, *, threads: int
) -> tuple[VectorFile, np.ndarray]:
    """Centred vectors in order of face_id, in a file, and float32[n] their biases."""
    bias = np.zeros(len(order.rank), np.float32)
    dimensions = len(known.centre)

    def ready(chunks: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for places, part in _embeddings(library, order, chunks):
            vectors = centred(part, known.centre)
            if known.cohort:
                bias[places] = known.cohort.bias(vectors)
            yield places, vectors

    streams = [ready(range(first, len(order.chunks), threads)) for first in range(threads)]
    return write_vectors(path, len(bias), dimensions, streams), bias


def _embeddings(
    library: Library, order: FaceOrder, chunks: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows in order of face_id, float32[m, d]) of some chunks, slice by slice. Raises LibraryError
    where one is broken."""
    for number in chunks:
        start = int(order.starts[number])
        for part in library.iter_faces([EMBEDDING], of=[order.chunks[number]]):
            places, embeddings = order.rank[start : start + len(part)], matrix(part[EMBEDDING])
            require_whole(library, embeddings, places)
            yield places, embeddings
            start += len(part)


def sampled_embeddings(library: Library, order: FaceOrder) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings taken evenly from all faces, in order of face_id: (int64[m] rows, float32[m, d])."""
    step = max(1, len(order.rank) // _CALIBRATION_SAMPLE)
    rows, found = [], []
    for places, part in _embeddings(library, order, range(len(order.chunks))):
        chosen = places % step == 0
        rows.append(places[chosen])
        found.append(part[chosen])
    ascending = np.argsort(np.concatenate(rows))
    return np.concatenate(rows)[ascending], np.concatenate(found)[ascending]
