"""The library's files about what the user decided, and what must be known to keep to it for ever.

corrections.csv                     the user's: runs read it, `albumen correct` adds to it
successors/<run>.parquet            which faces have become which, when files were written anew
people/<revision>/anchors.json      faces that corrections speak of and the file does not name
people/<revision>/gone.parquet      people of revisions before who have no face in this one
"""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa

from transforms import storage
from transforms.library_folder import LibraryFolder
from transforms.table_files import read_table, write_table
from transforms.tables import GONE_SCHEMA, SUCCESSORS_SCHEMA

CORRECTIONS, GONE, ANCHORS = "corrections.csv", "gone.parquet", "anchors.json"
_PEOPLE, _SUCCESSORS, _SUFFIX = "people", "successors", ".parquet"


class DecisionFiles(LibraryFolder):
    """The part of a `Library` that reads and writes them."""

    def write_successors(self, name: str, successors: pa.Table) -> None:
        """Writes which faces have become which, as found by one run."""
        write_table(self.file(_SUCCESSORS, name + _SUFFIX), successors)

    def read_successors(self) -> pa.Table:
        """Which faces have become which, as all runs have found."""
        names = storage.file_names(self.file(_SUCCESSORS), suffix=_SUFFIX)
        tables = [read_table(self.file(_SUCCESSORS, name)) for name in names]
        return pa.concat_tables([SUCCESSORS_SCHEMA.empty_table(), *tables])

    def read_gone(self, revision: str) -> pa.Table:
        """People of revisions before that this one has no face of."""
        path = self.file(_PEOPLE, revision, GONE)
        return read_table(path) if storage.exists(path) else GONE_SCHEMA.empty_table()

    def read_anchors(self, revision: str) -> dict[str, str]:
        """Faces that corrections speak of, by correction, as far as a revision keeps them."""
        path = self.file(_PEOPLE, revision, ANCHORS)
        return json.loads(storage.read_bytes(path)) if storage.exists(path) else {}

    def read_corrections(self) -> bytes:
        """The corrections file as it lies there; nothing without one."""
        path = self.file(CORRECTIONS)
        return storage.read_bytes(path) if storage.exists(path) else b""

    def corrections_state(self) -> str:
        """A short name for what the corrections file holds."""
        return hashlib.sha256(self.read_corrections()).hexdigest()[:16]
