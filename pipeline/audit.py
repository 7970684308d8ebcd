"""``albumen audit``: whether a library is as it should be, and mending what is not."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import groupby

from pipeline.forget import finish_forgetting
from transforms import storage
from transforms.audit import (
    BROKEN_ROW,
    DAMAGED,
    ORIGINAL,
    RECORD,
    REVISION,
    SCHEMA,
    VECTOR,
    Finding,
    audit_revisions,
    audit_tables,
)
from transforms.compaction import tidy
from transforms.export_records import drop_record, export_records
from transforms.forgetting import PENDING
from transforms.lease import Lease
from transforms.library import Library, LibraryError
from transforms.records import NO_FACE, OK
from transforms.repair import remove_partial, repair_tables
from transforms.tables import PATH_BYTES, ROOT, STATUS

_SHOWN = 20
_SINGLY = (OK, NO_FACE)


@dataclass
class AuditSummary:
    """What was found, and with ``--fix`` what is left of it, and how many photos are to be indexed `again`
    (from `archives`, into `library`)."""

    findings: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    fixed: bool = False
    again: int = 0
    library: str = ""
    archives: tuple[str, ...] = ()

    def facts(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "findings": [_plain(f) for f in self.findings],
            "left": [_plain(f) for f in self.left],
            "fixed": self.fixed,
            "again": self.again,
        }

    def lines(self) -> list[str]:
        """For a person."""
        if not self.findings:
            return ["The library is as it should be."]
        lines = [f"{f.kind}: {f.file}: {f.detail}{_times(f)}" for f in self.findings[:_SHOWN]]
        if len(self.findings) > _SHOWN:
            lines.append(f"... and {len(self.findings) - _SHOWN:,} more findings.")
        if not self.fixed:
            return [*lines, "albumen audit LIBRARY --fix mends what can be mended."]
        mended = len(self.findings) - len(self.left)
        lines.append(f"{mended:,} of {len(self.findings):,} findings were mended.")
        if self._took_out:
            number = f"{self.again:,} photos were" if self.again else "Photos were"
            lines.append(f"{number} taken out, for their rows could not be trusted. Look at them again:")
            lines += [f"  albumen index {archive} {self.library}" for archive in self.archives]
        lines += [f"Left: {f.kind}: {f.file}: {_remedy(f)}" for f in self.left[:_SHOWN]]
        return lines

    @property
    def _took_out(self) -> bool:
        lost = [f for f in self.findings if f.kind == DAMAGED and f.chunk]
        return self.again > 0 or bool(lost and not any(f.kind == DAMAGED for f in self.left))


def audit(library: Library, *, fix: bool = False) -> AuditSummary:
    """Looks through a library; with `fix` mends it. Raises LibraryError where it is none."""
    with Lease(library.path):
        archives = library.info().roots.values()
        summary = AuditSummary(
            list(findings(library)), library=library.path, archives=tuple(sorted(archives))
        )
        if fix and summary.findings:
            there = all(storage.is_url(place) or os.path.isdir(place) for place in archives)
            summary.again = _mend(library, summary.findings, can_index=there)
            summary.left, summary.fixed = list(findings(library)), True
    return summary


def findings(library: Library) -> Iterator[Finding]:
    """All that is wrong with a library."""
    if storage.exists(library.file(PENDING)):
        yield Finding(RECORD, library.file(PENDING), "forgetting was interrupted")
    found = list(audit_tables(library))
    yield from found
    yield from audit_revisions(library)
    for record in export_records(library):
        if not storage.exists(record.folder):
            yield Finding(RECORD, record.folder, "an export that is not there")
    if not any(f.kind == DAMAGED for f in found):
        yield from _missing_originals(library)


def _missing_originals(library: Library) -> Iterator[Finding]:
    """Photos that are no longer where they were; a whole archive that is gone is one finding."""
    locations = library.info().roots
    table = library.read_photos([ROOT, PATH_BYTES, STATUS])
    rows = zip(*(table[c].to_pylist() for c in (ROOT, PATH_BYTES, STATUS)), strict=True)
    for root, photos in groupby(rows, key=lambda row: row[0]):
        location = locations.get(root)
        if location is None:
            yield Finding(ORIGINAL, root, "an archive that library.json does not name", len(list(photos)))
        elif storage.is_url(location):
            continue  # asking for each of millions costs more than it tells; a run lists them
        elif not os.path.isdir(location):
            yield Finding(ORIGINAL, location, "the archive is not there: is its drive mounted?")
        else:
            base = os.fsencode(location)
            gone = [
                p
                for _, p, status in photos
                if status in _SINGLY and not os.path.exists(os.path.join(base, p))
            ]
            if gone:
                first = os.fsdecode(gone[0]).encode("utf-8", "backslashreplace").decode()
                yield Finding(ORIGINAL, location, f"photos that are gone, the first {first}", len(gone))


def _mend(library: Library, found: list[Finding], *, can_index: bool) -> int:
    finish_forgetting(library)
    run = f"audit-{uuid.uuid4().hex[:8]}"
    remove_partial(library)
    again = repair_tables(library, found, run=run, can_index=can_index)
    if can_index or not any(f.kind in (DAMAGED, SCHEMA) for f in found):
        tidy(library, run=run)
    for record in export_records(library):
        if not storage.exists(record.folder) and storage.exists(os.path.dirname(record.folder)):
            drop_record(library, record)
    _mend_revisions(library)
    return again


def _mend_revisions(library: Library) -> None:
    """Incomplete revisions go; the newest that is whole is the current one."""
    bad = {f.file for f in audit_revisions(library) if f.kind in (REVISION, DAMAGED)}
    for revision in library.revisions():
        folder = library.file("people", revision)
        if any(path == folder or path.startswith(folder + "/") for path in bad):
            storage.remove_folder(folder)
    whole, current = library.revisions(), library.current_revision()
    if current is not None and current not in whole:
        if whole:
            library.use_revision(whole[-1])
        else:
            storage.remove(library.file("people", "CURRENT"))


def _remedy(finding: Finding) -> str:
    if finding.kind == ORIGINAL:
        return f"{finding.detail}{_times(finding)}; albumen index --prune forgets photos that are gone"
    if finding.kind in (DAMAGED, SCHEMA, VECTOR, BROKEN_ROW):
        return f"{finding.detail}; its photos must be indexed again: mount the archive's drive first"
    return finding.detail


def _times(finding: Finding) -> str:
    return f" ({finding.count:,})" if finding.count > 1 else ""


def _plain(finding: Finding) -> dict[str, object]:
    data = asdict(finding)
    data["photos"] = sorted(finding.photos)
    return data


__all__ = ["AuditSummary", "LibraryError", "audit"]
