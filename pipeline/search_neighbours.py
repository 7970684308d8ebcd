"""The neighbour graph of a library in which all pairs are too many to compare: cells, on Beam."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from transforms import storage
from transforms.cells import plan_cells, sample_size
from transforms.compact_vectors import learn_compact_form
from transforms.neighbours import NeighbourGraph
from transforms.vector_file import VectorFile, new_mapped

if TYPE_CHECKING:
    from transforms.probe_search import Cells

# All pairs of this many faces take some minutes; cells lose a few neighbours in a hundred.
EXACT_FACES = 200_000
_BYTES_A_THREAD = 400_000_000
# A burst at the border of two cells stands in both, so that lists name it twice: they are longer by so much.
TWICE = 8
# Faces that are new look for their neighbours in this many cells, of so many faces mostly and at most.
_PROBES, _PROBED_USUAL, _PROBED = 24, 4_000, 5_000


@dataclass(frozen=True)
class SearchSettings:
    """How to search: `memory` bytes and `threads` to use; some `usual` faces are at home in a cell, and
    `most` where more are alike; each face looks in `probes` cells at most; `compact` searches on 128 bytes
    a face; `beam_options` name another engine."""

    memory: int = 4_000_000_000
    threads: int = 1
    usual: int = 3_000
    most: int = 12_000
    probes: int = 8
    compact: bool = False
    seed: int = 0
    beam_options: tuple[str, ...] = ()

    def running_threads(self) -> int:
        """As many threads as were asked for and memory allows."""
        return max(1, min(self.threads, self.memory // _BYTES_A_THREAD))

    def band(self, k: int) -> int:
        """How many faces each thread may merge at a time: edges of four cells, and sorting them."""
        return max(10_000, self.memory // 2 // (k * 4 * 40) // self.running_threads())


def search_neighbours(
    vectors: VectorFile,
    work: str,
    *,
    k: int,
    least: float,
    bias: np.ndarray | None = None,
    unsure: np.ndarray | None = None,
    settings: SearchSettings = SearchSettings(),
) -> NeighbourGraph:
    """Connects every face to its `k` most similar others with a similarity of at least `least`: of cosines,
    or with `bias` float32[n] minus half of both biases; and some more, since a burst (`bursts`) is collapsed
    in each cell where it lies. `unsure` bool[n] are faces of which their likeness says little: they look in
    more places, and are nobody's neighbours.

    The arrays of the graph lie in files in the folder `work`, which is local, or on storage that the
    workers of the engine share.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipeline.graph import LOCAL_RUNNER
    from transforms.large_neighbours import SearchPlan, build

    bias = np.zeros(len(vectors), np.float32) if bias is None else bias
    unsure = np.zeros(len(vectors), bool) if unsure is None else unsure
    # Blurred faces lie close together, whoever they are: cells made of them would hold nobody's neighbours.
    sure = np.flatnonzero(~unsure)
    if not len(sure):
        return _in_files(work, len(vectors))
    size = sample_size(len(sure), usual=settings.usual)
    sample = vectors.take(sure[np.unique(np.linspace(0, len(sure) - 1, size).astype(np.int64))])
    centres = plan_cells(
        sample, faces=len(sure), usual=settings.usual, most=settings.most, seed=settings.seed
    )
    plan = SearchPlan(
        vectors=vectors, bias=_column("bias", bias, work),
        unsure=_column("unsure", unsure, work), work=work, centres=centres,
        probes=settings.probes, k=k + TWICE, least=least, most=settings.most, band=settings.band(k + TWICE),
        threads=settings.running_threads(),
        compact=learn_compact_form(sample) if settings.compact else None,
    )  # fmt: skip
    options: Sequence[str] = settings.beam_options or LOCAL_RUNNER
    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        build(pipeline, plan)
    return _in_files(work, len(vectors))


def _column(name: str, values: np.ndarray, work: str) -> VectorFile:
    """A number a face, where the workers find it."""
    path = storage.join(work, name)
    storage.write_bytes(path, np.ascontiguousarray(values, "<f4").view(np.uint8).data, durable=False)
    return VectorFile(path, len(values), 1)


def cells_to_probe(vectors: VectorFile, *, seed: int, threads: int = 1) -> Cells:
    """Cells in which a few faces look for their neighbours among all."""
    from transforms.probe_search import Cells  # torch, numba: not where nothing is to be done

    return Cells.planned(
        vectors.mapped(), usual=_PROBED_USUAL, most=_PROBED, probes=_PROBES, seed=seed, threads=threads
    )


def _in_files(work: str, faces: int) -> NeighbourGraph:
    """The edges that a search left in its work folder, as one graph over files."""
    from transforms.large_neighbours import edge_parts, read_edges

    parts = edge_parts(work)
    names = {"face": np.int32, "other": np.int32, "similarity": np.float32}
    total = sum(part.count for part in parts)
    if not total:
        return NeighbourGraph(faces, *(np.zeros(0, kind) for kind in names.values()))
    whole = {
        name: new_mapped(os.path.join(work, f"graph-{name}"), np.dtype(kind), (total,))
        for name, kind in names.items()
    }
    start = 0
    for part in parts:
        edges = read_edges(part)
        for name, column in whole.items():
            column[start : start + part.count] = edges[name]
        start += part.count
    return NeighbourGraph(faces, *whole.values())
