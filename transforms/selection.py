"""What an export writes: faces with their people and photos in one row each, chosen and in order.

The tables of a library are staged, without embeddings, in a database file (DuckDB) that spills to
disk, so that memory stays within a limit however large the library is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.library import Library, LibraryError
from transforms.records import OK
from transforms.selected import Grouping, SelectedFace, SelectedPerson, SelectedPhoto, Selection
from transforms.tables import (
    ASSIGNMENTS_SCHEMA,
    BOX,
    CONFIDENCE,
    FACE_ID,
    FACE_SIZE,
    HEIGHT,
    INDEXED_AT,
    LABEL,
    NAME,
    PATH,
    PATH_BYTES,
    PEOPLE_SCHEMA,
    PERSON_ID,
    PHOTO_ID,
    ROLE,
    ROLL,
    ROOT,
    SCORE,
    SELECTED_SCHEMA,
    SELECTED_SIZE,
    SHARPNESS,
    STATUS,
    TAKEN_AT,
    UTC_OFFSET,
    WIDTH,
    X0,
    X1,
    Y0,
    Y1,
    YAW,
)

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "1GB"
_ROWS = 20_000
_PHOTOS = (PHOTO_ID, ROOT, PATH, PATH_BYTES, TAKEN_AT, UTC_OFFSET, WIDTH, HEIGHT, STATUS, INDEXED_AT)
_FACES = (FACE_ID, PHOTO_ID, BOX, SCORE, FACE_SIZE, SHARPNESS, ROLL, YAW)

_BY_PERSON = f"ORDER BY place, {TAKEN_AT} NULLS LAST, {ROOT}, {PATH_BYTES}, {X0}, {FACE_ID}"
_WITH = f"selected LEFT JOIN attached USING ({FACE_ID})"


class Selected:
    """A context: the faces that a selection takes from a library, staged in a file in `folder`.

    Raises LibraryError where nobody has a name or id that `selection` names.
    """

    def __init__(
        self, library: Library, selection: Selection, *, folder: str, grouping: Grouping, memory: str = MEMORY
    ) -> None:
        self._library, self._selection, self._grouping = library, selection, grouping
        self._folder, self._memory = folder, memory
        self.people: list[SelectedPerson] = []
        self.faces = self.photos = 0

    def __enter__(self) -> Selected:
        import duckdb

        os.makedirs(self._folder, exist_ok=True)
        self._file = os.path.join(self._folder, "selection.duckdb")
        self._db: DuckDBPyConnection = duckdb.connect(
            self._file,
            config={"memory_limit": self._memory, "temp_directory": self._folder, "threads": "2"},
        )
        self._db.execute("SET preserve_insertion_order = false")
        try:
            self._stage()
            self._select()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        for path in (self._file, self._file + ".wal"):
            if os.path.exists(path):
                os.unlink(path)

    # -- what comes out ----------------------------------------------------------------------

    def by_person(self) -> Iterator[SelectedFace]:
        """Person by person in the order of `people`, each by time and place; nobody's faces last."""
        yield from self._iterate(f"selected {_BY_PERSON}")

    def by_photo(self, *, copies: bool = False) -> Iterator[SelectedPhoto]:
        """Photo by photo in order of root and path; with `copies` also each further file that holds
        the same photo."""
        table = "selected"
        if copies:
            places = ", ".join(f"p.{column} AS {column}" for column in (ROOT, PATH, PATH_BYTES))
            table = f"(SELECT s.* REPLACE ({places}) FROM selected s JOIN photo p USING ({PHOTO_ID}))"
        faces = self._iterate(f"{table} ORDER BY {ROOT}, {PATH_BYTES}, {X0}, {FACE_ID}")
        for _, group in groupby(faces, key=lambda face: (face.root, face.path_bytes)):
            yield SelectedPhoto(tuple(group))

    def attach(self, column: str, tables: Iterable[pa.Table]) -> None:
        """Stages a further column of the selected faces, from tables of face_id and that column; of
        several values for a face the first counts."""
        made = False
        for table in tables:
            self._db.register("staged", table.select([FACE_ID, column]))
            rows = f"(SELECT DISTINCT ON ({FACE_ID}) * FROM staged) SEMI JOIN selected USING ({FACE_ID})"
            if made:
                self._db.execute(
                    f"INSERT INTO attached SELECT * FROM {rows} ANTI JOIN attached USING ({FACE_ID})"
                )
            else:
                self._db.execute(f"CREATE TABLE attached AS SELECT * FROM {rows}")
                made = True
            self._db.unregister("staged")
        if not made:
            self._db.execute(
                f"CREATE TABLE attached AS SELECT {FACE_ID}, NULL AS {column} FROM selected LIMIT 0"
            )

    def by_person_with(self, column: str) -> Iterator[tuple[SelectedFace, Any]]:
        """As `by_person`, each face with what was attached to it (None: nothing)."""
        yield from self._rows(f"{_WITH} {_BY_PERSON}", column)

    def batches(self, attached: str | None = None) -> Iterator[pa.RecordBatch]:
        """All rows as batches of `SELECTED_SCHEMA`, in the order of `by_person`; with a column that was
        attached as the last."""
        source = _WITH if attached else "selected"
        columns = [*SELECTED_SCHEMA.names, *([attached] if attached else [])]
        for table in self._tables(f"SELECT {', '.join(columns)} FROM {source} {_BY_PERSON}"):
            plain = table.select(SELECTED_SCHEMA.names).cast(SELECTED_SCHEMA)
            if attached:
                plain = plain.append_column(attached, table[attached])
            yield from plain.combine_chunks().to_batches()

    def _iterate(self, source: str) -> Iterator[SelectedFace]:
        for face, _ in self._rows(source, None):
            yield face

    def _rows(self, source: str, attached: str | None) -> Iterator[tuple[SelectedFace, Any]]:
        for table in self._tables(f"SELECT * FROM {source}"):
            columns = (FACE_ID, PERSON_ID, NAME, LABEL, CONFIDENCE, ROLE, PHOTO_ID, ROOT, PATH, PATH_BYTES,
                       TAKEN_AT, WIDTH, HEIGHT)  # fmt: skip
            boxes = list(zip(*(table[c].to_pylist() for c in (X0, Y0, X1, Y1)), strict=True))
            fields = [*(table[c].to_pylist() for c in columns), boxes, table[SCORE].to_pylist()]
            extras = table[attached].to_pylist() if attached else [None] * len(table)
            for row, extra in zip(zip(*fields, strict=True), extras, strict=True):
                yield SelectedFace(*row), extra

    def _tables(self, query: str) -> Iterator[pa.Table]:
        for batch in self._db.cursor().sql(query).to_arrow_reader(_ROWS):
            yield pa.Table.from_batches([batch])

    # -- how it is made ----------------------------------------------------------------------

    def _stage(self) -> None:
        """Tables `photo` (the newest row of each path that holds faces), `place_of` (one path of each
        photo), `face` (each once), `assigned`, `person`."""
        library, grouping = self._library, self._grouping
        self._load("photo_rows", library.iter_photos(_PHOTOS))
        self._load("face_rows", _numbered(library.iter_stored_faces(_FACES)))
        self._load("assigned", [grouping.assignments.cast(ASSIGNMENTS_SCHEMA)])
        self._load("person", [_labelled(grouping.people.cast(PEOPLE_SCHEMA))])
        run = self._db.execute
        run(f"""CREATE TABLE photo AS SELECT * FROM (SELECT * FROM photo_rows QUALIFY
                row_number() OVER (PARTITION BY {ROOT}, {PATH_BYTES} ORDER BY {INDEXED_AT} DESC) = 1)
                WHERE {STATUS} = '{OK}'""")
        wanted = ""
        if grouping.paths is not None:
            self._load("wanted", [grouping.paths])
            wanted = f"SEMI JOIN wanted USING ({PHOTO_ID}, {ROOT}, {PATH_BYTES})"
        run(f"""CREATE TABLE place_of AS SELECT * FROM photo {wanted} QUALIFY
                row_number() OVER (PARTITION BY {PHOTO_ID} ORDER BY {ROOT}, {PATH_BYTES}) = 1""")
        run(f"""CREATE TABLE face AS SELECT * FROM face_rows QUALIFY chunk =
                min(chunk) OVER (PARTITION BY {PHOTO_ID})""")
        run("DROP TABLE photo_rows; DROP TABLE face_rows")

    def _load(self, name: str, tables: Iterable[pa.Table]) -> None:
        waiting = iter(tables)
        first = next(waiting, None)
        if first is None:
            schema = {"photo_rows": _PHOTO_ROWS, "face_rows": _FACE_ROWS}[name]
            first = schema.empty_table()

        def batches() -> Iterator[pa.RecordBatch]:
            yield from first.to_batches()
            for table in waiting:
                yield from table.select(first.schema.names).cast(first.schema).to_batches()

        reader = pa.RecordBatchReader.from_batches(first.schema, batches())
        self._db.register("staged", reader)
        self._db.execute(f"CREATE TABLE {name} AS SELECT * FROM staged")
        self._db.unregister("staged")

    def _select(self) -> None:
        chosen, run = self._selection, self._db.execute
        x0, y0, x1, y1 = (f"f.{BOX}[{i}] AS {name}" for i, name in enumerate((X0, Y0, X1, Y1), start=1))
        people, parameters = self._conditions()
        join = f"""face f JOIN place_of p USING ({PHOTO_ID}) LEFT JOIN assigned a USING ({FACE_ID})
                   LEFT JOIN person w USING ({PERSON_ID})"""
        columns = f"""{FACE_ID}, a.{PERSON_ID}, w.{NAME}, coalesce(w.{LABEL}, a.{PERSON_ID}) AS {LABEL},
                      CASE WHEN a.{PERSON_ID} IS NULL THEN NULL ELSE a.{CONFIDENCE} END AS {CONFIDENCE},
                      a.{ROLE}, {PHOTO_ID}, p.{ROOT}, p.{PATH}, p.{PATH_BYTES}, p.{TAKEN_AT}, p.{UTC_OFFSET},
                      p.{WIDTH}, p.{HEIGHT}, {x0}, {y0}, {x1}, {y1}, f.{SCORE},
                      f.{FACE_SIZE} AS {SELECTED_SIZE}, f.{SHARPNESS}, f.{ROLL}, f.{YAW}"""
        run(f"CREATE TABLE fitting AS SELECT {columns} FROM {join} WHERE {people}", parameters)
        # Drawn by hash: the same faces whatever the machine and the order of the rows.
        run(
            f"""CREATE TABLE drawn AS SELECT *, count(*) OVER (PARTITION BY {PERSON_ID}) AS of_person,
                row_number() OVER (PARTITION BY {PERSON_ID}
                    ORDER BY md5(concat(?, ':', {FACE_ID})), {FACE_ID}) AS draw FROM fitting""",
            [str(chosen.seed)],
        )
        limits = [chosen.most] if chosen.most is not None else []
        if chosen.balanced:
            enough = f"{PERSON_ID} IS NOT NULL AND of_person >= {int(chosen.at_least)}"
            fewest = run(f"SELECT min(of_person) FROM drawn WHERE {enough}").fetchall()
            limits += [fewest[0][0]] if fewest[0][0] else []
        limit = f"AND draw <= {min(limits)}" if limits else ""
        run(f"""CREATE TABLE taken AS SELECT * EXCLUDE (of_person, draw) FROM drawn
                WHERE {PERSON_ID} IS NULL OR (of_person >= {int(chosen.at_least)} {limit})""")
        # Where a row stands follows from its person: those with most faces first, nobody at the end.
        run(f"""CREATE TABLE ranked AS SELECT {PERSON_ID}, any_value({NAME}) AS {NAME},
                any_value({LABEL}) AS {LABEL}, count(*) AS number,
                row_number() OVER (ORDER BY count(*) DESC, {PERSON_ID}) AS place
                FROM taken WHERE {PERSON_ID} IS NOT NULL GROUP BY {PERSON_ID}""")
        run(f"""CREATE TABLE selected AS SELECT t.*, coalesce(place, {1 << 62}) AS place
                FROM taken t LEFT JOIN (SELECT {PERSON_ID}, place FROM ranked) USING ({PERSON_ID})""")
        for name in ("fitting", "drawn", "taken"):
            run(f"DROP TABLE {name}")
        rows = run(f"SELECT {PERSON_ID}, {NAME}, {LABEL}, number FROM ranked ORDER BY place").fetchall()
        self.people = [SelectedPerson(*row) for row in rows]
        counts = run(f"SELECT count(*), count(DISTINCT {PHOTO_ID}) FROM selected").fetchall()
        self.faces, self.photos = counts[0]

    def _conditions(self) -> tuple[str, list[object]]:
        """A condition on the joined row, and the values of its question marks."""
        chosen = self._selection
        parameters: list[object] = [chosen.min_confidence]
        people = f"(a.{PERSON_ID} IS NOT NULL AND a.{CONFIDENCE} >= ?"
        if chosen.only_named:
            people += f" AND w.{NAME} IS NOT NULL"
        if chosen.people:
            people += f" AND a.{PERSON_ID} IN (SELECT unnest(?))"
            parameters.append(self._ids(chosen.people))
        people += f" OR a.{PERSON_ID} IS NULL)" if chosen.ungrouped else ")"
        for moment, sign in ((chosen.since, ">="), (chosen.until, "<")):
            if moment is not None:
                people += f" AND p.{TAKEN_AT} {sign} ?"
                parameters.append(moment)
        return people, parameters

    def _ids(self, wanted: tuple[str, ...]) -> list[str]:
        table = self._grouping.people
        ids = set(table[PERSON_ID].to_pylist())
        named: dict[str, list[str]] = {}
        for person, name in zip(table[PERSON_ID].to_pylist(), table[NAME].to_pylist(), strict=True):
            named.setdefault(name, []).append(person)
        found: list[str] = []
        for one in wanted:
            if one not in ids and one not in named:
                raise LibraryError(f"nobody in {self._library.path} has the id or name {one!r}")
            found += [one] if one in ids else named[one]
        return found


_PHOTO_ROWS = pa.schema(
    [
        (PHOTO_ID, pa.string()),
        (ROOT, pa.string()),
        (PATH, pa.string()),
        (PATH_BYTES, pa.binary()),
        (TAKEN_AT, pa.timestamp("us")),
        (UTC_OFFSET, pa.int16()),
        (WIDTH, pa.int32()),
        (HEIGHT, pa.int32()),
        (STATUS, pa.string()),
        (INDEXED_AT, pa.timestamp("us", tz="UTC")),
    ]
)
_FACE_ROWS = pa.schema(
    [(FACE_ID, pa.string()), (PHOTO_ID, pa.string()), (BOX, pa.list_(pa.float32(), 4))]
    + [(name, pa.float32()) for name in (SCORE, FACE_SIZE, SHARPNESS, ROLL, YAW)]
    + [("chunk", pa.int64())]
)


def _numbered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    for number, table in enumerate(tables):
        yield table.append_column("chunk", pa.array(np.full(len(table), number)))


def _labelled(people: pa.Table) -> pa.Table:
    """Gives each person a label: the name, made unique by the id where several have it, else the id."""
    names = people[NAME]
    count = {v["values"]: v["counts"] for v in pc.value_counts(names.combine_chunks()).to_pylist()}
    labels = [
        person if not name else name if count[name] == 1 else f"{name} ({person})"
        for person, name in zip(people[PERSON_ID].to_pylist(), names.to_pylist(), strict=True)
    ]
    return people.select([PERSON_ID, NAME]).append_column(LABEL, pa.array(labels, pa.string()))
