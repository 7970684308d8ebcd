"""Grouping a library whose vectors don't fit in memory: everything large lies in files of a work folder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.calibration import Calibration
from pipeline.faces_to_group import calibration, threshold_line
from pipeline.search_neighbours import SearchSettings, search_neighbours
from transforms import storage
from transforms.constraints import Constraints
from transforms.decided_people import assign_decided
from transforms.library import Library, LibraryError
from transforms.neighbours import NeighbourGraph, graph_within
from transforms.people import NEIGHBOURS, Assignment, FaceSet, Rules, assign, least_cosine
from transforms.regrouping import Frozen
from transforms.tables import EMBEDDING, FACE_ID, matrix
from transforms.vector_file import VectorFile, write_vectors
from transforms.verification import centred

_CALIBRATION_SAMPLE = 20_000
_WORK = "work-"


Observer = Callable[[VectorFile, NeighbourGraph], None]


@dataclass(frozen=True)
class FoundInFiles:
    """What a grouping found, and `facts` of how: settings, number of edges, seconds of its parts."""

    known: Calibration
    frozen: Frozen
    assignment: Assignment
    facts: dict[str, object]


def group_in_files(
    library: Library, faces: FaceSet, *, method: str, seed: int, number: int | None, rules: Rules,
    settings: SearchSettings, constraints: Constraints = Constraints(), observe: Observer | None = None,
) -> FoundInFiles:  # fmt: skip
    """The people of all faces, given in order of face_id without their vectors.

    `constraints` are the user's decisions; `observe` sees the vectors and the graph before their files
    are removed. The work folder lies in the library, where there is room and where the workers of another
    engine find it; for a library behind a URL it is local.
    Raises LibraryError where another engine's workers couldn't share it.
    """
    clock = [time.monotonic()]
    rank, weak = _ranks(library), faces.weak(rules.limits)
    rows, embeddings = _sampled(library, rank)
    known = calibration(library, embeddings, faces.photo[rows])
    clear = int((~weak).sum())
    threshold = threshold_line(known, method).at(clear)
    local = not storage.is_url(library.path)
    if settings.beam_options and not local:
        raise LibraryError(
            f"{library.path} is not a folder that every worker can open as files: group it without --runner"
        )
    # The caller holds the lease, so what lies here was left by a run that was killed.
    for name in storage.folder_names(library.path) if local else []:
        if name.startswith(_WORK):
            storage.remove_folder(library.file(name))
    with tempfile.TemporaryDirectory(prefix=_WORK, dir=library.path if local else None) as work:
        bias = np.zeros(len(rank), np.float32)

        def parts() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for places, part in _embeddings(library, rank):
                vectors = centred(part, known.centre)
                if known.cohort:
                    bias[places] = known.cohort.bias(vectors)
                yield places, vectors

        vectors = write_vectors(f"{work}/vectors", len(rank), embeddings.shape[1], parts())
        clock.append(time.monotonic())
        least = least_cosine(threshold, bias[~weak])
        graph = search_neighbours(vectors, work, k=NEIGHBOURS, least=least, settings=settings, exact_faces=0)
        clock.append(time.monotonic())
        found = assign_decided(
            replace(faces, vectors=vectors.mapped(), bias=bias), constraints,
            lambda part, said, rows: assign(
                part, method=method, threshold=threshold, seed=seed, rules=rules, curve=known.confidence,
                people=number, constraints=said, graph=_within(graph, rows),
                attach_along=_within(graph, rows),
            ),
        )  # fmt: skip
        clock.append(time.monotonic())
        edges = len(graph.left)
        if observe is not None:
            observe(vectors, graph)
    read, searched, grouped = np.round(np.diff(clock), 1).tolist()
    facts = {
        **asdict(settings), "edges": edges, "least": least,
        "seconds": {"vectors": read, "neighbours": searched, "people": grouped},
    }  # fmt: skip
    return FoundInFiles(known, Frozen(threshold, clear, least), found, facts)


def _within(graph: NeighbourGraph, rows: np.ndarray) -> NeighbourGraph:
    """`graph_within`, without a copy where the rows are all that there are."""
    return graph if len(rows) == graph.faces else graph_within(graph, rows)


def _ranks(library: Library) -> np.ndarray:
    """int64[n]: the place in order of face_id of each face in order of chunks."""
    parts = [part[FACE_ID] for part in library.iter_faces([FACE_ID], rows=1_000_000)]
    order = pc.sort_indices(pa.chunked_array([c for part in parts for c in part.chunks])).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def _embeddings(library: Library, rank: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows in order of face_id, float32[m, d]), slice by slice."""
    start = 0
    for part in library.iter_faces([EMBEDDING]):
        yield rank[start : start + len(part)], matrix(part[EMBEDDING])
        start += len(part)


def _sampled(library: Library, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings taken evenly from all faces, in order of face_id: (int64[m] rows, float32[m, d])."""
    step = max(1, len(rank) // _CALIBRATION_SAMPLE)
    rows, found = [], []
    for places, part in _embeddings(library, rank):
        chosen = places % step == 0
        rows.append(places[chosen])
        found.append(part[chosen])
    order = np.argsort(np.concatenate(rows))
    return np.concatenate(rows)[order], np.concatenate(found)[order]
