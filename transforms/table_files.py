"""Tables as files: Parquet, written whole, and read with errors that name the file."""

from __future__ import annotations

import io
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
    with _reading(path), storage.open_input(path) as file:
        data = file if not storage.is_url(path) else io.BytesIO(file.read())
        return pq.read_table(data, columns=columns)


def iter_table(path: str, columns: list[str], *, rows: int) -> Iterator[pa.Table]:
    """Columns of a table, at most `rows` rows at a time. Raises LibraryError where the file is damaged."""
    with ExitStack() as stack:
        with _reading(path):
            file = stack.enter_context(storage.open_input(path))
            data = file if not storage.is_url(path) else io.BytesIO(file.read())
            batches = pq.ParquetFile(data).iter_batches(batch_size=rows, columns=columns)
        while True:
            with _reading(path):
                batch = next(batches, None)
            if batch is None:
                return
            yield pa.Table.from_batches([batch])


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
