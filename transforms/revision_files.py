"""Revisions on disk: ``people/<revision>/`` is a complete grouping, ``people/CURRENT`` names the newest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType

import pyarrow as pa

from transforms import storage
from transforms.decision_files import ANCHORS, GONE
from transforms.library_folder import LibraryFolder
from transforms.table_files import read_table as _read
from transforms.table_files import write_table
from transforms.tables import ASSIGNMENTS_SCHEMA, GONE_SCHEMA, IGNORED, PEOPLE_SCHEMA

_PEOPLE, _CURRENT, _SUFFIX = "people", "CURRENT", ".parquet"


class RevisionFiles(LibraryFolder):
    """The part of a `Library` that reads and writes revisions."""

    def current_revision(self) -> str | None:
        """The newest complete grouping, or None."""
        path = self.file(_PEOPLE, _CURRENT)
        return storage.read_bytes(path).decode().strip() if storage.exists(path) else None

    def next_revision(self) -> str:
        """A name for the next grouping, later in order than all there are."""
        taken = [int(n[1:]) for n in storage.folder_names(self.file(_PEOPLE)) if n[1:].isdigit()]
        return f"r{max(taken, default=0) + 1:06d}"

    def write_revision(
        self, revision: str, *, assignments: pa.Table, people: pa.Table, grouping: dict[str, object],
        gone: pa.Table | None = None, anchors: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """Writes one complete grouping and makes it the current one, in that order.

        `gone`: people of revisions before; `anchors`: faces that corrections speak of, by correction.
        """
        folder = self.file(_PEOPLE, revision)
        if gone is not None:
            write_table(storage.join(folder, GONE), gone.cast(GONE_SCHEMA))
        storage.write_bytes(storage.join(folder, ANCHORS), json.dumps(dict(anchors), indent=1).encode())
        write_table(storage.join(folder, "assignments" + _SUFFIX), assignments.cast(ASSIGNMENTS_SCHEMA))
        write_table(storage.join(folder, "people" + _SUFFIX), people.cast(PEOPLE_SCHEMA))
        text = json.dumps(grouping, indent=2).encode()
        storage.write_bytes(storage.join(folder, "grouping.json"), text)
        self.use_revision(revision)

    def read_assignments(self, revision: str) -> pa.Table:
        """The assignments of a revision, in order of face_id."""
        return _read(self.file(_PEOPLE, revision, "assignments" + _SUFFIX))

    def read_people(self, revision: str) -> pa.Table:
        """The people of a revision, largest first."""
        people = _read(self.file(_PEOPLE, revision, "people" + _SUFFIX))
        if IGNORED not in people.column_names:  # of a version that knew no corrections
            people = people.append_column(IGNORED, pa.array([False] * len(people), pa.bool_()))
        return people

    def revisions(self) -> list[str]:
        """Names of all revisions, complete or not, oldest first."""
        return storage.folder_names(self.file(_PEOPLE))

    def revision_files(self, revision: str) -> list[str]:
        """Paths of a revision's files."""
        folder = self.file(_PEOPLE, revision)
        return [storage.join(folder, name) for name in storage.file_names(folder)]

    def use_revision(self, revision: str) -> None:
        """Makes a revision the current one."""
        storage.write_bytes(self.file(_PEOPLE, _CURRENT), revision.encode() + b"\n")

    def read_grouping(self, revision: str) -> dict[str, object]:
        """How a revision was made."""
        return json.loads(storage.read_bytes(self.file(_PEOPLE, revision, "grouping.json")))
