"""A synthetic library on disk, as indexing would have left one, for whatever reads a library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.face_statistics import FaceStatistics
from transforms.library import Library, LibraryInfo
from transforms.records import OK
from transforms.synthetic_faces import SyntheticFaces, SyntheticPeople, synthetic_faces
from transforms.tables import (
    BOX,
    EMBEDDING,
    FACE_ID,
    FACE_SIZE,
    FORMAT,
    HEIGHT,
    INDEXED_AT,
    LANDMARKS,
    MTIME,
    PATH,
    PATH_BYTES,
    PHOTO_ID,
    PHOTOS_SCHEMA,
    REASON,
    ROLL,
    ROOT,
    SCORE,
    SHARPNESS,
    SIZE,
    STATUS,
    TAKEN_AT,
    UTC_OFFSET,
    WIDTH,
    YAW,
    faces_schema,
)

_ROOT = "synthetic"
_FIRST_PHOTO_US = 946_684_800_000_000  # the year 2000
_YEAR_US = 31_557_600_000_000
_SIDE = 4000


@dataclass(frozen=True)
class SyntheticTruth:
    """Who is who, in the order of a library's face_ids: int64[n] `person` and `burst`, and the `part` that
    each face's photo came with."""

    person: np.ndarray
    burst: np.ndarray
    part: np.ndarray


def write_synthetic_library(
    path: str,
    statistics: FaceStatistics,
    *,
    centre: np.ndarray,
    embedder: dict[str, object],
    faces: int,
    seed: int = 0,
    people: SyntheticPeople = SyntheticPeople(),
    slice_faces: int = 50_000,
    shares: Sequence[float] = (1.0,),
) -> SyntheticTruth:
    """Writes a new library of `faces` faces at `path`, a chunk for each slice.

    Photos come in parts: each slice has a chunk for each of `shares`, which add up to 1, with about that
    share of its photos, taken at random; `part_chunks` names them.

    `centre` float32[d] is what grouping takes away from the vectors of the embedder described by
    `embedder`; it is added here. Memory: one slice, and 24 bytes a face for the truth.
    """
    library = Library.create(path)
    library.save_info(LibraryInfo(roots={_ROOT: "a synthetic archive"}))
    library.use_fingerprint(f"synthetic-{seed}-{faces}", {"detector": {"name": "none"}, "embedder": embedder})
    keys, numbers, persons, bursts, arrived = [], [], [], [], []
    ends = np.cumsum(shares)[:-1]
    made = synthetic_faces(statistics, faces=faces, seed=seed, people=people, slice_faces=slice_faces)
    for number, part in enumerate(made):
        photo, place = np.unique(part.photo, return_inverse=True)
        # The k-th face of each photo.
        order = np.argsort(place, kind="stable")
        k = np.empty(len(place), np.int64)
        k[order] = np.arange(len(place)) - np.searchsorted(place[order], place[order])
        key = _mixed(photo.astype(np.uint64), seed)
        photo_ids = _hex(key)
        photos = _photos(photo, photo_ids, part, place)
        faces_of = _faces(photo_ids.take(pa.array(place)), k, part, uncentred(part.vectors, centre))
        # As good as random, and the same whatever the number of slices.
        arrival = np.searchsorted(ends, _mixed(key, seed + 1) / 2.0**64, side="right")
        for step in range(len(shares)):
            mine = pa.array(arrival == step), pa.array(arrival[place] == step)
            tables = photos.filter(mine[0]), faces_of.filter(mine[1]), None
            library.replace_chunks([], f"{_part_name(step)}{number:06d}", tables)
        arrived.append(arrival[place])
        keys.append(key[place])
        numbers.append(k)
        persons.append(part.person)
        bursts.append(part.burst)
    in_order = np.lexsort((np.concatenate(numbers), np.concatenate(keys)))
    return SyntheticTruth(*(np.concatenate(column)[in_order] for column in (persons, bursts, arrived)))


def part_chunks(library: Library, part: int) -> list[str]:
    """The names of the chunks that a synthetic library's part came with."""
    return [name for name in library.chunk_names() if name.startswith(_part_name(part))]


def _part_name(part: int) -> str:
    return f"synthetic-{part:02d}-"


def uncentred(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """float32[n, d] unit vectors that become `vectors` when `centre` (shorter than 1) is taken away."""
    along = vectors @ centre
    length = np.sqrt(along**2 + 1 - centre @ centre) - along
    return (centre + length[:, None] * vectors).astype(np.float32)


def _mixed(numbers: np.ndarray, seed: int) -> np.ndarray:
    """uint64[n] to uint64[n], one to one, in no apparent order, as content hashes are (splitmix64)."""
    with np.errstate(over="ignore"):
        x = numbers + np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _hex(keys: np.ndarray) -> pa.Array:
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    octets = keys.astype(">u8").view(np.uint8).reshape(-1, 8)
    text = np.stack([digits[octets >> 4], digits[octets & 15]], axis=2).reshape(-1, 16)
    return pa.array(np.ascontiguousarray(text).view("S16").ravel(), pa.binary()).cast(pa.string())


def _photos(photo: np.ndarray, photo_ids: pa.Array, part: SyntheticFaces, place: np.ndarray) -> pa.Table:
    count = len(photo)
    years = np.zeros(count)
    years[place] = part.years
    taken = _FIRST_PHOTO_US + (years * _YEAR_US).astype(np.int64)
    paths = [f"{number // 1000:06d}/{number:09d}.jpg" for number in photo.tolist()]
    columns: dict[str, object] = {
        PHOTO_ID: photo_ids,
        ROOT: pa.array([_ROOT]).take(pa.array(np.zeros(count, np.int64))),
        PATH: paths,
        PATH_BYTES: [p.encode() for p in paths],
        SIZE: np.full(count, 3_000_000),
        MTIME: pa.array(taken, pa.timestamp("us", tz="UTC")),
        WIDTH: np.full(count, _SIDE, np.int32),
        HEIGHT: np.full(count, _SIDE, np.int32),
        FORMAT: ["JPEG"] * count,
        TAKEN_AT: pa.array(taken, pa.timestamp("us")),
        UTC_OFFSET: pa.nulls(count, pa.int16()),
        STATUS: [OK] * count,
        REASON: pa.nulls(count, pa.string()),
        INDEXED_AT: pa.array(np.full(count, _FIRST_PHOTO_US), pa.timestamp("us", tz="UTC")),
    }
    return pa.table(columns, schema=PHOTOS_SCHEMA)


def _faces(photo_ids: pa.Array, k: np.ndarray, part: SyntheticFaces, embeddings: np.ndarray) -> pa.Table:
    corner = np.stack([k * 500.0, np.full(len(k), 100.0)], axis=1)
    box = np.concatenate([corner, corner + part.size[:, None]], axis=1)
    landmarks = np.repeat(box.reshape(-1, 2, 2).mean(axis=1)[:, None], 5, axis=1)
    columns = {
        FACE_ID: pc.binary_join_element_wise(photo_ids, pa.array(k).cast(pa.string()), ":"),
        PHOTO_ID: photo_ids,
        BOX: _lists(box),
        LANDMARKS: _lists(landmarks.reshape(-1, 10)),
        SCORE: part.score,
        FACE_SIZE: part.size,
        SHARPNESS: part.sharpness,
        ROLL: np.zeros(len(k), np.float32),
        YAW: part.yaw,
        EMBEDDING: _lists(embeddings),
    }
    schema = faces_schema(embeddings.shape[1])
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _lists(values: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
