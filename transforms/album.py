"""Who is on which picture, in the order in which an album shows it: the tables of a library joined.

Everything is kept as arrays (about 300 bytes a face), since a library may hold millions of faces.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.library import Library
from transforms.records import ERROR, NO_FACE, OK, SKIPPED
from transforms.tables import (
    CONFIDENCE,
    COVER,
    FACE_ID,
    IGNORED,
    NAME,
    NO_FACE_AT_ALL,
    PATH_BYTES,
    PERSON_ID,
    PHOTO_ID,
    REASON,
    ROLE,
    ROOT,
    SOURCE,
    STATUS,
    TAKEN_AT,
)

ATTACHED = "attached"
NOBODY = -1


@dataclass(frozen=True)
class PhotoColumns:
    """The photos that faces come from, m of them, each content once (the first of its paths).

    `roots` and `paths` (exact bytes) are arrow arrays; `taken` is datetime64[us][m], NaT where
    unknown.
    """

    roots: pa.Array
    paths: pa.Array
    taken: np.ndarray


@dataclass(frozen=True)
class PeopleColumns:
    """The people who have at least one face, p of them, those with most photos first.

    `ids` and `names` (null: not named) are arrow arrays. `faces` and `photos` are int64[p],
    `first` and `last` datetime64[us][p] with NaT where no photo has a date, `covers` int64[p]
    the face that stands for the person.
    """

    ids: pa.Array
    names: pa.Array
    faces: np.ndarray
    photos: np.ndarray
    first: np.ndarray
    last: np.ndarray
    covers: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Album:
    """n faces in order of face_id, with their people and photos.

    `person` int64[n] points into `people` (`NOBODY`: ungrouped) and `photo` int64[n] into
    `photos` (-1: unknown). `confidence` is float32[n], NaN where there is none; `attached`
    bool[n]. `order` int64[n] lists the faces as shown: person by person, each by date (undated
    last) and path, the ungrouped at the end; person i's are ``order[starts[i]:starts[i + 1]]``,
    the ungrouped ``order[starts[p]:]``.
    """

    face_ids: pa.Array
    person: np.ndarray
    photo: np.ndarray
    confidence: np.ndarray
    attached: np.ndarray
    order: np.ndarray
    starts: np.ndarray
    people: PeopleColumns
    photos: PhotoColumns
    not_grouped_yet: int


@dataclass(frozen=True)
class PhotoStates:
    """How many files ended in which state, and those that could not be read.

    `errors` has the columns root, path_bytes and reason, and `kinds` what stands before the first
    ": " of each reason, in order of kind, reason, root and path. `skipped` counts the reasons for
    which files were left out, the most frequent first.
    """

    counts: dict[str, int]
    errors: pa.Table
    kinds: list[str]
    skipped: list[tuple[str, int]]

    @property
    def photos(self) -> int:
        """Photographs that were read."""
        return self.counts.get(OK, 0) + self.counts.get(NO_FACE, 0)


def read_album(library: Library, revision: str) -> tuple[Album, PhotoStates]:
    """Reads a revision with its faces and photos.

    Faces that are gone from the library since the grouping are left out, and people without any
    other face with them; faces indexed since then are ungrouped, and counted.
    """
    photos = library.read_photos([PHOTO_ID, ROOT, PATH_BYTES, TAKEN_AT, STATUS, REASON])
    states = _photo_states(photos)
    photos = photos.filter(pc.equal(photos[STATUS], OK)).select([PHOTO_ID, ROOT, PATH_BYTES, TAKEN_AT])
    faces = library.read_faces([FACE_ID, PHOTO_ID])
    assignments, people = library.read_assignments(revision), library.read_people(revision)
    faces = faces.filter(pc.invert(pc.is_in(faces[FACE_ID], value_set=_hidden(assignments, people))))
    photos = _first_of_each(photos, PHOTO_ID)
    photo = _positions(faces[PHOTO_ID], photos[PHOTO_ID])
    return join_tables(
        _whole(faces[FACE_ID]),
        photo,
        PhotoColumns(_whole(photos[ROOT]), _whole(photos[PATH_BYTES]), _times(photos[TAKEN_AT])),
        assignments=assignments,
        people=_first_of_each(people, PERSON_ID),
    ), states


def _hidden(assignments: pa.Table, people: pa.Table) -> pa.Array:
    """The faces that the user does not want to see: what is none, and people to ignore."""
    ignored = people.filter(people[IGNORED])[PERSON_ID].combine_chunks()
    hidden = pc.or_(
        pc.equal(assignments[SOURCE], NO_FACE_AT_ALL), pc.is_in(assignments[PERSON_ID], value_set=ignored)
    )
    return assignments.filter(hidden)[FACE_ID].combine_chunks()


def join_tables(
    face_ids: pa.Array, photo: np.ndarray, photos: PhotoColumns, *, assignments: pa.Table, people: pa.Table
) -> Album:
    """The album of faces in order of id, given where each one's photo is in `photos` (-1: nowhere)."""
    row = _positions(face_ids, assignments[FACE_ID])
    known = row >= 0
    ids = _whole(people[PERSON_ID])
    if len(assignments) and len(ids):
        person = np.where(known, _positions(assignments[PERSON_ID], ids)[row], NOBODY)
    else:
        person = np.full(len(face_ids), NOBODY)
    confidence = np.full(len(face_ids), np.nan, np.float32)
    confidence[known] = _numbers(assignments[CONFIDENCE])[row[known]]
    attached = np.zeros(len(face_ids), bool)
    attached[known] = _numbers(pc.equal(assignments[ROLE], ATTACHED))[row[known]] == 1

    taken = _taken(photo, photos.taken)
    columns, person = _rank(person, photo, taken, people=people, face_ids=face_ids)
    last = np.where(person == NOBODY, len(columns), person)
    # Photos lie in order of root and path, faces in order of face_id, and lexsort is stable.
    order = np.lexsort([photo, taken, last])
    starts = np.searchsorted(last[order], np.arange(len(columns) + 1))
    return Album(
        face_ids=face_ids,
        person=person,
        photo=photo,
        confidence=confidence,
        attached=attached,
        order=order,
        starts=starts,
        people=columns,
        photos=photos,
        not_grouped_yet=int((~known).sum()),
    )


def _rank(
    person: np.ndarray, photo: np.ndarray, taken: np.ndarray, *, people: pa.Table, face_ids: pa.Array
) -> tuple[PeopleColumns, np.ndarray]:
    """The people in the order of the album, and `person` renumbered to match.

    Counts and years are taken from the faces rather than from the people table, so that they
    agree with what is shown when photos have gone since the grouping.
    """
    p = len(people)
    grouped = np.flatnonzero(person >= 0)
    faces = np.bincount(person[grouped], minlength=p)
    pairs = np.unique(np.stack([person[grouped], photo[grouped]]), axis=1)
    photos = np.bincount(pairs[0], minlength=p)
    order = np.lexsort([np.arange(p), -faces, -photos])
    order = order[faces[order] > 0]
    rank = np.full(p + 1, NOBODY)
    rank[order] = np.arange(len(order))
    person = rank[person]

    first, last = _extremes(person[grouped], taken[grouped], len(order))
    covers = _positions(people[COVER], face_ids)[order] if p else np.zeros(0, np.int64)
    member = np.full(len(order), NOBODY)
    member[person[grouped][::-1]] = grouped[::-1]
    mine = (covers >= 0) & (person[covers] == np.arange(len(order))) if len(person) else covers >= 0
    columns = PeopleColumns(
        ids=_whole(people[PERSON_ID]).take(pa.array(order)),
        names=_whole(people[NAME]).take(pa.array(order)),
        faces=faces[order],
        photos=photos[order],
        first=first,
        last=last,
        covers=np.where(mine, covers, member),
    )
    return columns, person


def _extremes(person: np.ndarray, taken: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    dated = ~np.isnat(taken)
    person, times = person[dated], taken[dated].astype(np.int64)
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.full(count, np.iinfo(np.int64).min)
    np.minimum.at(first, person, times)
    np.maximum.at(last, person, times)
    unknown = first > last
    # The smallest int64 is NaT in NumPy.
    first[unknown] = last[unknown] = np.iinfo(np.int64).min
    return first.astype("datetime64[us]"), last.astype("datetime64[us]")


def _taken(photo: np.ndarray, taken: np.ndarray) -> np.ndarray:
    nowhere = np.full(len(photo), np.datetime64("NaT"), "datetime64[us]")
    nowhere[photo >= 0] = taken[photo[photo >= 0]]
    return nowhere


def _photo_states(photos: pa.Table) -> PhotoStates:
    counts = Counter({v["values"]: v["counts"] for v in pc.value_counts(_whole(photos[STATUS])).to_pylist()})
    errors = photos.filter(pc.equal(photos[STATUS], ERROR)).select([ROOT, PATH_BYTES, REASON])
    reasons = pc.fill_null(errors[REASON], "unknown")
    kinds = pc.list_element(pc.split_pattern(reasons, ": ", max_splits=1), 0)
    errors = errors.set_column(2, REASON, reasons).append_column("kind", kinds)
    errors = errors.sort_by([(name, "ascending") for name in ("kind", REASON, ROOT, PATH_BYTES)])
    skipped = pc.value_counts(_whole(photos.filter(pc.equal(photos[STATUS], SKIPPED))[REASON])).to_pylist()
    return PhotoStates(
        counts=dict(counts),
        errors=errors,
        kinds=errors["kind"].to_pylist(),
        skipped=sorted(((v["values"] or "", v["counts"]) for v in skipped), key=lambda s: (-s[1], s[0])),
    )


def _first_of_each(table: pa.Table, column: str) -> pa.Table:
    """The first row of each value of `column`, in the order of the table."""
    numbered = pa.table({column: table[column], "row": np.arange(len(table))})
    rows = numbered.group_by(column).aggregate([("row", "min")])["row_min"].to_numpy()
    return table.take(pa.array(np.sort(rows)))


def _positions(values: pa.Array | pa.ChunkedArray, among: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """int64: where each value is found in `among`, -1 where it is not, or is null."""
    found = pc.index_in(_whole(values), value_set=_whole(among), skip_nulls=True)
    return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def _numbers(values: pa.ChunkedArray) -> np.ndarray:
    """A numeric or boolean column as float32, NaN for null."""
    return pc.cast(_whole(values), pa.float32()).to_numpy(zero_copy_only=False).astype(np.float32)


def _times(values: pa.ChunkedArray) -> np.ndarray:
    return _whole(values).to_numpy(zero_copy_only=False).astype("datetime64[us]")


def _whole(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One array; text and bytes with 64-bit offsets, as all paths together may exceed 2 GB."""
    wide = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}.get(values.type, values.type)
    values = values.cast(wide)
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
