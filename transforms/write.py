"""Embedded faces to committed chunk files, and what they held as small summaries."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from apache_beam.utils.windowed_value import WindowedValue

from transforms import progress_pipe, storage
from transforms.index_config import IndexConfig
from transforms.library import Library, LibraryError
from transforms.records import FaceSlice
from transforms.summary import Summary


def commit(library: Library, *, fingerprint: str, slices: list[FaceSlice]) -> Summary:
    """Writes the slices of one chunk as one chunk of the library, under a name of its own."""
    photos = [row for part in slices for row in part.photos]
    faces = [row for part in slices for row in part.faces]
    thumbs = [thumb for part in slices for thumb in part.thumbs]
    embeddings = np.concatenate([p.embeddings for p in slices if p.embeddings is not None])
    # Two files of a chunk with the same content are one photo: its faces are written once.
    first: dict[str, int] = {}
    for number, face in enumerate(faces):
        first.setdefault(face.face_id, number)
    keep = list(first.values())
    faces = [faces[i] for i in keep]
    library.commit_chunk(
        f"{slices[0].chunk}-{uuid.uuid4().hex[:8]}",
        fingerprint=fingerprint,
        photos=photos,
        faces=faces,
        embeddings=embeddings[keep],
        thumbs=[thumbs[i] for i in keep] if thumbs else [],
    )
    return Summary(1, len(faces), dict(Counter(row.status for row in photos)))


@beam.typehints.with_input_types(FaceSlice)
@beam.typehints.with_output_types(Summary)
class WriteChunk(beam.DoFn):
    """FaceSlice with embeddings → Summary, once the chunk is on disk.

    The slices of a chunk arrive one after the other and become one file. Should an engine tear them
    apart, each part is written as a file of its own at the end of its bundle: nothing hangs on it.
    """

    def __init__(self, config: IndexConfig) -> None:
        self._config = config
        self._fingerprint = config.fingerprint()

    def start_bundle(self) -> None:
        self._open: dict[str, list[FaceSlice]] = {}

    def process(self, part: FaceSlice) -> Iterator[Summary]:
        """Collects slices; commits at the last."""
        self._open.setdefault(part.chunk, []).append(part)
        if part.last:
            yield self._commit(part.chunk)

    def finish_bundle(self) -> Iterator[object]:
        for chunk in list(self._open):
            yield WindowedValue(self._commit(chunk), MIN_TIMESTAMP, (GlobalWindow(),))

    def _commit(self, chunk: str) -> Summary:
        slices = self._open.pop(chunk)
        library = Library(self._config.library)
        with progress_pipe.fatal(self._config.progress_fd, LibraryError, OSError):
            summary = commit(library, fingerprint=self._fingerprint, slices=slices)
        progress_pipe.report(
            self._config.progress_fd,
            progress_pipe.DONE,
            chunk=chunk,
            faces=summary.faces,
            photos=summary.photos,
        )
        return summary


class SumSummaries(beam.CombineFn):
    """Adds summaries up."""

    def create_accumulator(self) -> Summary:
        return Summary()

    def add_input(self, accumulator: Summary, element: Summary) -> Summary:
        return accumulator + element

    def merge_accumulators(self, accumulators: Iterable[Summary]) -> Summary:
        return sum(accumulators, Summary())

    def extract_output(self, accumulator: Summary) -> Summary:
        return accumulator


def record_summary(summary: Summary, folder: str) -> None:
    """Writes a summary into a run's folder, under a name of its own."""
    storage.write_bytes(storage.join(folder, f"summary-{uuid.uuid4().hex}.json"), summary.to_json().encode())
