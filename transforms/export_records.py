"""Where a library's faces have gone: a record of each folder with exports or pages made from it.

Kept so that what is forgotten can be removed there too. A record is written before the first file
of an export, and stays until the export is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass

from transforms import storage
from transforms.library import Library

EVALUATION = "evaluation"
"""The kind of a folder with results of experiments, of which only some files show faces or hold vectors."""

_FOLDER = "exports"


@dataclass(frozen=True)
class ExportRecord:
    """`folder` is where the list of the export's files is, and `base` where the files are: they
    differ for sidecars, which lie among the originals."""

    kind: str
    folder: str
    base: str


def record_export(library: Library, *, kind: str, folder: str, base: str | None = None) -> None:
    """Puts a folder on record."""
    folder = storage.absolute(folder)
    record = ExportRecord(kind, folder, base or folder)
    storage.write_bytes(_path(library, folder), json.dumps(asdict(record)).encode("ascii"))


def export_records(library: Library) -> list[ExportRecord]:
    """All folders on record."""
    folder = library.file(_FOLDER)
    names = storage.file_names(folder, suffix=".json")
    return [ExportRecord(**json.loads(storage.read_bytes(storage.join(folder, n)))) for n in names]


def drop_record(library: Library, record: ExportRecord) -> None:
    """Forgets a folder, once nothing of the library is left in it."""
    storage.remove(_path(library, record.folder))


def _path(library: Library, folder: str) -> str:
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return library.file(_FOLDER, f"{digest}.json")
