"""Exports as tables: CSV, JSON and Parquet, one row a face.

Names of people and files come from strangers' files. In a CSV a spreadsheet would run a cell that
begins like a formula, so such a text gets an apostrophe before it (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.tables import (
    CONFIDENCE,
    FACE_ID,
    HEIGHT,
    LABEL,
    NAME,
    PATH,
    PATH_BYTES,
    PERSON_ID,
    PHOTO_ID,
    ROLE,
    ROLL,
    ROOT,
    SCORE,
    SELECTED_SCHEMA,
    SELECTED_SIZE,
    SHARPNESS,
    TAKEN_AT,
    UTC_OFFSET,
    WIDTH,
    X0,
    X1,
    Y0,
    Y1,
    YAW,
)

COLUMNS = {
    FACE_ID: "the face: the photo's id, a colon, the number of the face from left to right",
    PERSON_ID: "the person; empty: nobody's face",
    NAME: "the person's name; empty: not named yet",
    LABEL: "what to call the person: the name (with the id where two share it), else the id",
    CONFIDENCE: "how surely the face is this person's, 0 to 1",
    ROLE: "core: grouped; attached: too weak to be grouped, added to the person it fits",
    PHOTO_ID: "the photo: hash (BLAKE2b, 128 bits) of the file's content",
    ROOT: "the archive's name in the library",
    PATH: "the file's path in the archive; bytes that are no text as \\xNN",
    TAKEN_AT: "when the photo was taken, by the camera's clock",
    UTC_OFFSET: "minutes east of UTC that the camera recorded; empty: none",
    WIDTH: "width of the upright photo in pixels",
    HEIGHT: "height of the upright photo in pixels",
    X0: "left side of the face's box, in pixels of the upright photo",
    Y0: "top of the box",
    X1: "right side of the box",
    Y1: "bottom of the box",
    SCORE: "the detector's score, 0 to 1",
    SELECTED_SIZE: "the shorter side of the box in pixels",
    SHARPNESS: "how sharp the face is, 0 to 1",
    ROLL: "degrees by which the head leans, from the landmarks",
    YAW: "degrees by which the head is turned, from the landmarks",
}
"""What the columns of CSV, JSON and Parquet mean, in their order."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def guarded(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(_FORMULA) else text


def unguarded(text: str) -> str:
    """The text that `guarded` was given."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def csv_lines(batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """A CSV file (UTF-8, RFC 4180) of batches of `SELECTED_SCHEMA`, in parts."""
    yield _csv([list(COLUMNS)])
    for batch in batches:
        columns = [_cells(batch.column(name)) for name in COLUMNS]
        yield _csv(zip(*columns, strict=True))


def columns_csv() -> bytes:
    """A CSV file that says what each column means."""
    return _csv([("column", "meaning"), *COLUMNS.items()])


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _cells(column: pa.Array) -> list[object]:
    values = column.to_pylist()
    if pa.types.is_string(column.type):
        return ["" if v is None else guarded(v) for v in values]
    if pa.types.is_float32(column.type):
        return ["" if v is None else f"{v:.6g}" for v in values]
    # One form for all, or pandas takes none of them for times; this one spreadsheets read as well.
    times = {"sep": " ", "timespec": "milliseconds"}
    return ["" if v is None else v.isoformat(**times) if isinstance(v, datetime) else v for v in values]


def json_parts(batches: Iterable[pa.RecordBatch], about: dict[str, object]) -> Iterator[bytes]:
    """A JSON file of batches in the order of people: an object with `about`, the columns' meanings
    and a list of people, each with a list of faces (nobody's: person_id null)."""
    head = {**about, "columns": COLUMNS}
    text = json.dumps(head, indent=1)
    yield text[: text.rindex("}")].rstrip().encode() + b',\n "people": ['
    rows = (row for batch in batches for row in _objects(batch))
    separator = b"\n"
    for (person, name, label), faces in groupby(
        rows, key=lambda row: (row[PERSON_ID], row[NAME], row[LABEL])
    ):
        person_head = json.dumps({PERSON_ID: person, NAME: name, LABEL: label})[:-1]
        yield separator + f'  {person_head}, "faces": ['.encode()
        inner = "\n"
        for face in faces:
            text = json.dumps({k: v for k, v in face.items() if k not in (PERSON_ID, NAME, LABEL)})
            yield f"{inner}   {text}".encode()
            inner = ",\n"
        yield b"]}"
        separator = b",\n"
    yield b"\n ]}\n"


def _objects(batch: pa.RecordBatch) -> Iterator[dict[str, object]]:
    for row in batch.select(list(COLUMNS)).to_pylist():
        row[TAKEN_AT] = row[TAKEN_AT] and row[TAKEN_AT].isoformat()
        for name, value in row.items():
            if isinstance(value, float):
                row[name] = float(f"{value:.6g}")
        yield row


def write_parquet(batches: Iterable[pa.RecordBatch], file: BinaryIO, *, about: dict[str, object]) -> None:
    """Writes one Parquet table of `COLUMNS`, the exact path, and whatever else the batches have."""
    metadata = {"albumen": json.dumps({**about, "columns": COLUMNS})}
    writer: pq.ParquetWriter | None = None
    for batch in batches:
        extra = [name for name in batch.schema.names if name not in SELECTED_SCHEMA.names]
        table = pa.Table.from_batches([batch]).select([*COLUMNS, PATH_BYTES, *extra])
        if writer is None:
            writer = pq.ParquetWriter(file, table.schema.with_metadata(metadata), compression="zstd")
        writer.write_table(table.replace_schema_metadata(metadata))
    if writer is None:
        empty = SELECTED_SCHEMA.empty_table().select([*COLUMNS, PATH_BYTES])
        writer = pq.ParquetWriter(file, empty.schema.with_metadata(metadata))
    writer.close()
