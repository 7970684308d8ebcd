"""Grouping a library whose vectors don't fit in memory: everything large lies in files of a work folder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.calibration import Calibration
from pipeline.search_neighbours import SearchSettings, search_neighbours
from transforms import storage
from transforms.constraints import Constraints
from transforms.graph_people import ATTACH_MARGIN, Graded, assign_by_graph
from transforms.library import Library, LibraryError
from transforms.neighbours import NeighbourGraph
from transforms.people import NEIGHBOURS, Assignment
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
    library: Library,
    face_ids: pa.ChunkedArray,
    weak: np.ndarray,
    photo: np.ndarray,
    *,
    method: str,
    seed: int,
    settings: SearchSettings,
    calibrate: Callable[[np.ndarray], Calibration],
    constraints: Constraints = Constraints(),
    observe: Observer | None = None,
) -> FoundInFiles:
    """The people of the faces `face_ids`, sorted; `weak` bool[n], `photo` int[n].

    `calibrate` makes a calibration of embeddings; `constraints` are the user's decisions; `observe` sees
    the vectors and the graph before their files are removed. The work folder lies in the library, where
    there is room and where the workers of another engine find it; for a library behind a URL it is local.
    Raises LibraryError where another engine's workers couldn't share it.
    """
    clock = [time.monotonic()]
    rank = _ranks(library)
    embeddings = _sampled(library, rank)
    known = calibrate(embeddings)
    clear = int((~weak).sum())
    threshold = known.thresholds[method].at(clear)
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
        parts = ((rows, centred(part, known.centre)) for rows, part in _embeddings(library, rank))
        vectors = write_vectors(f"{work}/vectors", len(face_ids), embeddings.shape[1], parts)
        clock.append(time.monotonic())
        graph = search_neighbours(
            vectors, work, k=NEIGHBOURS, least=threshold - ATTACH_MARGIN, settings=settings, exact_faces=0
        )
        clock.append(time.monotonic())
        found = assign_by_graph(
            vectors, Graded(weak, photo), graph, method=method, threshold=threshold, seed=seed,
            constraints=constraints,
        )  # fmt: skip
        clock.append(time.monotonic())
        edges = len(graph.left)
        if observe is not None:
            observe(vectors, graph)
    read, searched, grouped = np.round(np.diff(clock), 1).tolist()
    facts = {
        **asdict(settings), "edges": edges, "least": threshold - ATTACH_MARGIN,
        "seconds": {"vectors": read, "neighbours": searched, "people": grouped},
    }  # fmt: skip
    return FoundInFiles(known, Frozen(threshold, clear, threshold), found, facts)


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


def _sampled(library: Library, rank: np.ndarray) -> np.ndarray:
    """Embeddings taken evenly from all faces, in order of face_id."""
    step = max(1, len(rank) // _CALIBRATION_SAMPLE)
    rows, found = [], []
    for places, part in _embeddings(library, rank):
        chosen = places % step == 0
        rows.append(places[chosen])
        found.append(part[chosen])
    return np.concatenate(found)[np.argsort(np.concatenate(rows))]
