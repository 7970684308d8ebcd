"""Vectors in a file, row by row: read in slices or by row, so that memory doesn't depend on their number."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from transforms import storage

_SLICE = 32_768
_ZEROS = 1 << 24


@dataclass(frozen=True)
class VectorFile:
    """float32[count, dimensions], little-endian, without a header, at `path` (local or a URL)."""

    path: str
    count: int
    dimensions: int

    def __len__(self) -> int:
        return self.count

    def read(self, start: int, stop: int) -> np.ndarray:
        """float32[stop - start, d]: consecutive rows."""
        return read_rows(self.path, start, stop - start, np.dtype("<f4"), self.dimensions)

    def mapped(self) -> np.ndarray:
        """float32[n, d]: all rows of a local file, each read when it is used."""
        if not self.count:
            return np.zeros((0, self.dimensions), np.float32)
        return np.memmap(self.path, np.dtype("<f4"), "r", shape=(self.count, self.dimensions))

    def take(self, rows: np.ndarray) -> np.ndarray:
        """float32[m, d]: the rows int[m] of a local file, in any order."""
        return np.asarray(self.mapped()[rows])

    def slices(self, rows: int = _SLICE) -> list[tuple[int, int]]:
        """(start, stop) of all slices of at most `rows` rows."""
        return [(start, min(start + rows, self.count)) for start in range(0, self.count, rows)]


def read_rows(path: str, start: int, count: int, dtype: np.dtype, width: int = 1) -> np.ndarray:
    """`count` rows from `start` of a headerless file of `width` values a row: [count, width], or [count]
    where width is 1. Raises OSError where the file ends before."""
    with storage.open_input(path) as file:
        file.seek(start * width * dtype.itemsize)
        data = bytearray(count * width * dtype.itemsize)
        read = file.readinto(data)  # type: ignore[attr-defined]
    if read != len(data):
        raise OSError(f"{path} ends early: free the disk it lies on and run again")
    values = np.frombuffer(data, dtype)
    return values.reshape(count, width) if width > 1 else values


def write_vectors(
    path: str, count: int, dimensions: int, streams: Sequence[Iterable[tuple[np.ndarray, np.ndarray]]]
) -> VectorFile:
    """Writes a local file from `streams`, each worked off by a thread of its own, of (int[m] rows,
    float32[m, d] vectors), in any order of rows, all of them once."""
    if not count:
        storage.write_bytes(path, b"")
        return VectorFile(path, count, dimensions)
    table = new_mapped(path, np.dtype("<f4"), (count, dimensions))

    def put(stream: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        for rows, vectors in stream:
            table[rows] = vectors

    with ThreadPoolExecutor(len(streams)) as pool:
        list(pool.map(put, streams))
    return VectorFile(path, count, dimensions)


def new_mapped(path: str, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """A new local file of zeros as an array that can be written to.

    Its room on the drive is taken at once: a mapped file with holes would end the process without a word
    when the drive fills up. Raises WriteFailed where there isn't enough.
    """
    wanted = math.prod(shape) * dtype.itemsize
    with storage.writing(path), open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, wanted)
        else:  # macOS
            for start in range(0, wanted, _ZEROS):
                file.write(bytes(min(_ZEROS, wanted - start)))
    return np.memmap(path, dtype, "r+", shape=shape)
