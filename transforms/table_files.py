"""Tables as files: Parquet, written whole, and read with errors that name the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from transforms import storage
from transforms.tables import dictionary_columns

_DAMAGED = "{path} can't be read ({error}): restore it from a backup or remove it, and index again"
_UNREACHABLE = "{path} can't be read ({error}): see that its drive is mounted and sound, then run again"


class LibraryError(Exception):
    """The library can't be used as asked; the message names the file and the remedy."""


def write_table(path: str, table: pa.Table) -> None:
    """Writes a table whole."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=dictionary_columns(table))
    storage.write_bytes(path, memoryview(sink.getvalue()))


def read_table(path: str, columns: list[str] | None = None) -> pa.Table:
    """Reads a table, or some of its columns. Raises LibraryError where the file is damaged."""
    with _reading(path), arrow_file(path) as file:
        return pq.read_table(file, columns=columns)


def iter_table(path: str, columns: list[str], *, rows: int) -> Iterator[pa.Table]:
    """Columns of a table, at most `rows` rows at a time. Raises LibraryError where the file is damaged."""
    with ExitStack() as stack:
        with _reading(path):
            file = stack.enter_context(arrow_file(path))
            batches = pq.ParquetFile(file).iter_batches(batch_size=rows, columns=columns)
        while True:
            with _reading(path):
                batch = next(batches, None)
            if batch is None:
                return
            yield pa.Table.from_batches([batch])


@contextmanager
def arrow_file(path: str) -> Iterator[pa.NativeFile]:
    """A file that Arrow reads by itself. Raises FileNotFoundError, OSError.

    Of a file of Python's, a thread of Arrow's may let go only when the command has done its work: if Python
    is ending by then, the process is aborted ("terminate called without an active exception").
    """
    with storage.open_input(path) as opened:
        local = not storage.is_url(path)
        # As bytes: a path need not be text.
        with pa.OSFile(os.fsencode(path)) if local else pa.BufferReader(opened.read()) as file:
            yield file


@contextmanager
def _reading(path: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        # What Parquet can't decode is an OSError too, but one without a number.
        text = _UNREACHABLE if isinstance(error, OSError) and error.errno else _DAMAGED
        raise LibraryError(text.format(path=path, error=error)) from error
