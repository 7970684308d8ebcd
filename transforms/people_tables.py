"""The tables of a grouping, for any number of faces: columns in, columns out, no loop over faces."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.library import Library
from transforms.people import Assignment
from transforms.tables import (
    ASSIGNMENTS_SCHEMA,
    CONFIDENCE,
    COVER,
    FACE_ID,
    FACES,
    FIRST_TAKEN,
    IGNORED,
    LAST_TAKEN,
    NAME,
    PEOPLE_SCHEMA,
    PERSON_ID,
    PHOTO_ID,
    PHOTOS_COUNT,
    ROLE,
    SOURCE,
    TAKEN_AT,
)

_NEVER = np.iinfo(np.int64).min


def photo_numbers(faces: pa.Table) -> np.ndarray:
    """int64[n]: a number for the photo of each face, in order of first appearance."""
    coded = faces[PHOTO_ID].combine_chunks().dictionary_encode()
    return coded.indices.to_numpy().astype(np.int64)


def taken_times(library: Library, photo_ids: pa.ChunkedArray) -> np.ndarray:
    """int64[n]: when each photo was taken, microseconds since 1970; the least int64 where unknown."""
    photos = library.read_photos([PHOTO_ID, TAKEN_AT])
    known = photos.filter(pc.is_valid(photos[TAKEN_AT]))
    place = pc.index_in(photo_ids, value_set=known[PHOTO_ID].combine_chunks())
    found = pc.take(known[TAKEN_AT].combine_chunks().cast(pa.int64()), place)
    return pc.fill_null(found, pa.scalar(_NEVER, pa.int64())).to_numpy()


def assignments_table(
    face_ids: pa.ChunkedArray, found: Assignment, ids: Sequence[str], source: np.ndarray
) -> pa.Table:
    """A row for each face; `ids` are the ids of groups 0 … g-1, str[n] `source` what each goes back to."""
    group = pa.array(found.group, mask=found.group < 0)
    columns = {
        FACE_ID: face_ids.combine_chunks(),
        PERSON_ID: pc.take(pa.array(ids, pa.string()), group),
        CONFIDENCE: pa.array(found.confidence, pa.float32()),
        ROLE: pa.array(found.role, pa.string()),
        SOURCE: pa.array(source, pa.string()),
    }
    return pa.table(columns, schema=ASSIGNMENTS_SCHEMA)


def people_table(
    face_ids: pa.ChunkedArray,
    group: np.ndarray,
    ids: Sequence[str],
    photo: np.ndarray,
    taken: np.ndarray,
    beauty: np.ndarray,
    names: Mapping[str, str],
    ignored: Collection[str],
) -> pa.Table:
    """A row for each person, the largest first.

    `group` int64[n] numbers 0 … g-1 with a face each, -1 for ungrouped; `photo` and `taken` as from
    `photo_numbers` and `taken_times`; the most beautiful face is the cover. `names` and `ignored` go by id.
    """
    count = len(ids)
    grouped = np.flatnonzero(group >= 0)
    order = grouped[np.lexsort((-beauty[grouped], group[grouped]))]
    starts = np.searchsorted(group[order], np.arange(count))
    of = group[order]
    by_photo = order[np.lexsort((photo[order], of))]
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(group[by_photo]) != 0) | (np.diff(photo[by_photo]) != 0)
    never = taken[order] == _NEVER
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.full(count, _NEVER)
    np.minimum.at(first, of[~never], taken[order][~never])
    np.maximum.at(last, of[~never], taken[order][~never])
    unknown = last == _NEVER
    when = pa.timestamp("us")
    table = pa.table(
        {
            PERSON_ID: pa.array(ids, pa.string()),
            NAME: pa.array([names.get(person) for person in ids], pa.string()),
            FACES: np.bincount(of, minlength=count),
            PHOTOS_COUNT: np.bincount(group[by_photo][new], minlength=count),
            FIRST_TAKEN: pa.array(first, when, mask=unknown),
            LAST_TAKEN: pa.array(last, when, mask=unknown),
            COVER: pc.take(face_ids.combine_chunks(), pa.array(order[starts] if count else order)),
            IGNORED: pa.array([person in ignored for person in ids], pa.bool_()),
        },
        schema=PEOPLE_SCHEMA,
    )
    return table.sort_by([(FACES, "descending"), (PERSON_ID, "ascending")])
