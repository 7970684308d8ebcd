"""Aligned crops to vectors, in whole batches across the photos of a slice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import apache_beam as beam
import numpy as np

from models.embedder import Embedder, load_embedder
from models.engine import Engine
from models.weights import WeightsError
from transforms import progress_pipe
from transforms.index_config import IndexConfig
from transforms.records import FaceSlice
from transforms.whole_vectors import broken


def embed_slice(part: FaceSlice, embedder: Embedder) -> FaceSlice:
    """The slice with embeddings, float32[n, d] of unit length, in the place of its crops.

    Raises FloatingPointError where the network gives numbers that are none, or nothing but zeros: better
    no chunk than a library with faces that are like nobody.
    """
    if part.crops is None or not len(part.crops):
        vectors = np.zeros((0, embedder.dimensions), np.float32)
    else:
        vectors = embedder.embed(part.crops)
        if len(broken(vectors)):
            raise FloatingPointError(
                f"the embedder gave zeros or values that are no numbers in chunk {part.chunk}"
            )
    return replace(part, crops=None, embeddings=vectors)


@lru_cache(maxsize=1)
def _shared_embedder(name: str, mirror: bool, engine: Engine) -> Embedder:
    return load_embedder(name, mirror=mirror, engine=engine)


@beam.typehints.with_input_types(FaceSlice)
@beam.typehints.with_output_types(FaceSlice)
class EmbedFaces(beam.DoFn):
    """FaceSlice with crops → FaceSlice with embeddings."""

    def __init__(self, config: IndexConfig) -> None:
        self._config = config

    def setup(self) -> None:
        c = self._config
        with progress_pipe.fatal(c.progress_fd, WeightsError):
            self._embedder = _shared_embedder(c.embedder, c.mirror, c.engine())

    def process(self, part: FaceSlice) -> Iterator[FaceSlice]:
        """See `embed_slice`."""
        yield embed_slice(part, self._embedder)
