"""The tables of a library: the names of all columns, the schemas, and rows as tables.

Nothing else in the project spells the name of a column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.records import ERROR, FaceRow, PhotoRow, printable

PHOTO_ID, ROOT, PATH, PATH_BYTES = "photo_id", "root", "path", "path_bytes"
SIZE, MTIME, WIDTH, HEIGHT, FORMAT = "size", "mtime", "width", "height", "format"
TAKEN_AT, UTC_OFFSET, STATUS, REASON, INDEXED_AT = "taken_at", "utc_offset", "status", "reason", "indexed_at"
FACE_ID, BOX, LANDMARKS, SCORE, FACE_SIZE = "face_id", "box", "landmarks", "score", "size"
SHARPNESS, ROLL, YAW, EMBEDDING, JPEG = "sharpness", "roll", "yaw", "embedding", "jpeg"
PERSON_ID, CONFIDENCE, ROLE, SOURCE = "person_id", "confidence", "role", "source"
NAME, FACES, PHOTOS_COUNT = "name", "faces", "photos"
FIRST_TAKEN, LAST_TAKEN, COVER = "first_taken_at", "last_taken_at", "cover_face_id"
# Of exports: one row has a face, its photo and its person. A face's own size must not be mixed up
# with its file's; `LABEL` is what a person is called, the name or else the id, no two alike.
LABEL, SELECTED_SIZE, X0, Y0, X1, Y1 = "label", "face_size", "x0", "y0", "x1", "y1"
IDENTITY = "identity"  # of a crawl: whose face a photo's folder says it is
IGNORED, LAST_REVISION, SUCCESSOR_ID = "ignored", "last_revision", "successor_id"
LEFT, RIGHT, SIMILARITY = "left", "right", "similarity"
# What a face's assignment goes back to, in the column `source`.
BY_GROUPING, BY_CORRECTION, NO_FACE_AT_ALL = "grouping", "correction", "not-a-face"

PHOTOS_SCHEMA = pa.schema(
    [
        (PHOTO_ID, pa.string()),
        (ROOT, pa.string()),
        (PATH, pa.string()),
        (PATH_BYTES, pa.binary()),
        (SIZE, pa.int64()),
        (MTIME, pa.timestamp("us", tz="UTC")),
        (WIDTH, pa.int32()),
        (HEIGHT, pa.int32()),
        (FORMAT, pa.string()),
        (TAKEN_AT, pa.timestamp("us")),
        (UTC_OFFSET, pa.int16()),
        (STATUS, pa.string()),
        (REASON, pa.string()),
        (INDEXED_AT, pa.timestamp("us", tz="UTC")),
    ]
)
# What decides which of several rows of a photo counts.
ROW_KEYS = (ROOT, PATH_BYTES, INDEXED_AT, STATUS, PHOTO_ID)
THUMBS_SCHEMA = pa.schema([(FACE_ID, pa.string()), (JPEG, pa.binary())])
ASSIGNMENTS_SCHEMA = pa.schema(
    [
        (FACE_ID, pa.string()),
        (PERSON_ID, pa.string()),
        (CONFIDENCE, pa.float32()),
        (ROLE, pa.string()),
        (SOURCE, pa.string()),
    ]
)
PEOPLE_SCHEMA = pa.schema(
    [
        (PERSON_ID, pa.string()),
        (NAME, pa.string()),
        (FACES, pa.int64()),
        (PHOTOS_COUNT, pa.int64()),
        (FIRST_TAKEN, pa.timestamp("us")),
        (LAST_TAKEN, pa.timestamp("us")),
        (COVER, pa.string()),
        (IGNORED, pa.bool_()),
    ]
)
# People of revisions before who have no face in this one, with faces by which they are known again.
GONE_SCHEMA = pa.schema(
    [
        (PERSON_ID, pa.string()),
        (NAME, pa.string()),
        (LAST_REVISION, pa.string()),
        (FACES, pa.list_(pa.string())),
    ]
)

SUCCESSORS_SCHEMA = pa.schema([(FACE_ID, pa.string()), (SUCCESSOR_ID, pa.string())])
# Edges of a revision's neighbour graph, by row among the faces of its assignments.
GRAPH_SCHEMA = pa.schema([(LEFT, pa.int32()), (RIGHT, pa.int32()), (SIMILARITY, pa.float32())])

SELECTED_SCHEMA = pa.schema(
    [
        (FACE_ID, pa.string()),
        (PERSON_ID, pa.string()),
        (NAME, pa.string()),
        (LABEL, pa.string()),
        (CONFIDENCE, pa.float32()),
        (ROLE, pa.string()),
        (PHOTO_ID, pa.string()),
        (ROOT, pa.string()),
        (PATH, pa.string()),
        (PATH_BYTES, pa.binary()),
        (TAKEN_AT, pa.timestamp("us")),
        (UTC_OFFSET, pa.int16()),
        (WIDTH, pa.int32()),
        (HEIGHT, pa.int32()),
        (X0, pa.float32()),
        (Y0, pa.float32()),
        (X1, pa.float32()),
        (Y1, pa.float32()),
        (SCORE, pa.float32()),
        (SELECTED_SIZE, pa.float32()),
        (SHARPNESS, pa.float32()),
        (ROLL, pa.float32()),
        (YAW, pa.float32()),
    ]
)
# What `albumen dedupe` found out of a crawl before any finding: a row per photo.
IDENTITIES_SCHEMA = pa.schema(
    [
        (IDENTITY, pa.string()),
        (ROOT, pa.string()),
        (PATH, pa.string()),
        (PATH_BYTES, pa.binary()),
        (PHOTO_ID, pa.string()),
        (FACE_ID, pa.string()),
        (CONFIDENCE, pa.float32()),
    ]
)

FORGOTTEN_AT = "forgotten_at"
# What must not come back: a face by its photo's content and box, or by its photo's place; without a
# box the whole photo.
TOMBSTONES_SCHEMA = pa.schema(
    [
        (PHOTO_ID, pa.string()),
        (ROOT, pa.string()),
        (PATH_BYTES, pa.binary()),
        (X0, pa.float32()),
        (Y0, pa.float32()),
        (X1, pa.float32()),
        (Y1, pa.float32()),
        (FORGOTTEN_AT, pa.timestamp("us", tz="UTC")),
    ]
)


def faces_schema(dimensions: int) -> pa.Schema:
    """The schema of faces whose embeddings have `dimensions` numbers."""
    return pa.schema(
        [
            (FACE_ID, pa.string()),
            (PHOTO_ID, pa.string()),
            (BOX, pa.list_(pa.float32(), 4)),
            (LANDMARKS, pa.list_(pa.float32(), 10)),
            (SCORE, pa.float32()),
            (FACE_SIZE, pa.float32()),
            (SHARPNESS, pa.float32()),
            (ROLL, pa.float32()),
            (YAW, pa.float32()),
            (EMBEDDING, pa.list_(pa.float32(), dimensions)),
        ]
    )


def newest_rows(photos: pa.Table) -> pa.Array:
    """Indices (int64) of the row of each (root, path) of a photos table that counts: the newest.

    A file that could not be read takes nothing from what is known of it: such a row counts only
    where there is no other. The older one's size and time then say that it is to be read again.
    Wants the columns of `ROW_KEYS`.
    """
    unread = pc.and_(pc.equal(photos[STATUS], ERROR), pc.is_null(photos[PHOTO_ID]))
    photos = photos.select([ROOT, PATH_BYTES, INDEXED_AT]).append_column("read", pc.invert(unread))
    order = pc.sort_indices(photos, sort_keys=[("read", "ascending"), (INDEXED_AT, "ascending")])
    rank = np.empty(len(order), np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    ranked = photos.select([ROOT, PATH_BYTES]).append_column("rank", pa.array(rank))
    last = ranked.group_by([ROOT, PATH_BYTES]).aggregate([("rank", "max")])["rank_max"]
    return pc.take(order, last.combine_chunks())


def digest(table: pa.Table) -> str:
    """A short name for what a table holds: equal tables have equal names."""
    digest = hashlib.sha256()
    for batch in table.combine_chunks().to_batches(max_chunksize=65_536):
        digest.update(batch.serialize())
    return digest.hexdigest()[:16]


def photos_table(photos: Sequence[PhotoRow]) -> pa.Table:
    """Photo rows as a table, stamped with the present time."""
    now = datetime.now(timezone.utc)
    rows = [
        {
            PHOTO_ID: p.photo_id,
            ROOT: p.file.root,
            PATH: printable(p.file.path),
            PATH_BYTES: p.file.path,
            SIZE: p.file.size,
            MTIME: p.file.mtime_us,
            WIDTH: p.width,
            HEIGHT: p.height,
            FORMAT: p.format,
            TAKEN_AT: p.taken_at,
            UTC_OFFSET: p.utc_offset,
            STATUS: p.status,
            # Messages of the operating system may hold names that are not text.
            REASON: p.reason and printable(p.reason.encode("utf-8", "surrogateescape")),
            INDEXED_AT: now,
        }
        for p in photos
    ]
    return pa.Table.from_pylist(rows, schema=PHOTOS_SCHEMA)


def faces_table(faces: Sequence[FaceRow], embeddings: np.ndarray) -> pa.Table:
    """Face rows and their float32[n, d] embeddings as a table."""
    boxes = np.array([f.box for f in faces], np.float32)
    landmarks = np.array([f.landmarks for f in faces], np.float32)
    columns = [
        pa.array([f.face_id for f in faces]),
        pa.array([f.photo_id for f in faces]),
        fixed_lists(boxes.reshape(-1, 4)),
        fixed_lists(landmarks.reshape(-1, 10)),
        *(
            pa.array(np.array([getattr(f, field) for f in faces], np.float32))
            for field in ("score", "size", "sharpness", "roll", "yaw")
        ),
        fixed_lists(np.ascontiguousarray(embeddings, np.float32)),
    ]
    return pa.table(columns, schema=faces_schema(embeddings.shape[1]))


def fixed_lists(values: np.ndarray) -> pa.Array:
    """An array float32[n, d] as a column of fixed-size lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def matrix(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """A column of fixed-size lists as a float32[n, d] array."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    width = array.type.list_size
    return np.asarray(array.flatten()).reshape(-1, width)


def dictionary_columns(table: pa.Table) -> list[str]:
    """Columns whose values repeat, for Parquet's dictionary encoding."""
    repeated = (ROOT, FORMAT, STATUS, REASON, ROLE, SOURCE, PERSON_ID)
    return [name for name in repeated if name in table.column_names]
