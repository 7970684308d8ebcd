"""What each command does, from its arguments to a few lines for a person and facts for a program.

Modules that take seconds to import are imported by the commands that need them, so that ``--help``
and a run that finds nothing to do answer at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from models.weights import WeightsError
from pipeline.options import IndexOptions, UsageError
from pipeline.supervise import RunFailed
from transforms import storage
from transforms.archive import ArchiveError
from transforms.lease import STALE_SECONDS, Lease, LeaseLost, LibraryInUse
from transforms.library import REPORT, Library, LibraryError

WRONG_USE = (UsageError, WeightsError)
_LEASE_WAIT = STALE_SECONDS + 30
FAILURES = (LibraryError, ArchiveError, LibraryInUse, LeaseLost, RunFailed, OSError)


_LEFT_OUT = (
    ("hidden_files", "hidden files"),
    ("hidden_folders", "hidden folders"),
    ("cache_folders", "folders of thumbnails and caches"),
    ("links_skipped", "links that lead nowhere new"),
    ("special_files", "special files"),
    ("excluded_folders", "folders of this library"),
    ("other_libraries", "other Albumen libraries"),
)


@dataclass(frozen=True)
class Result:
    """`lines` for a person, `facts` for ``--json`` and the run's log."""

    lines: list[str]
    facts: dict[str, object] = field(default_factory=dict)


def run(archive: str, library: str, options: IndexOptions, *, method: str, seed: int, quiet: bool) -> Result:
    """Index, group, report. Grouping and report are skipped where nothing has changed since."""
    from pipeline.group import group_library, is_current
    from pipeline.index import index as index_archive
    from pipeline.index import write_log

    started = time.monotonic()
    with _begun(archive, library) as (opened, lease):
        indexed = index_archive(opened, lease, archive, options, quiet=quiet)
        facts: dict[str, object] = {"index": asdict(indexed)}
        lines = _index_lines(indexed)
        if is_current(opened, method=method, seed=seed):
            lines.append("The people are up to date.")
        else:
            grouped = group_library(opened, method=method, seed=seed)
            lines += _group_lines(grouped)
            facts["group"] = asdict(grouped)
        lease.check()
        lines += _report_if_needed(opened, facts)
        facts["complete"], facts["seconds"] = indexed.complete, time.monotonic() - started
        write_log(opened, indexed.run, facts)
    return Result(lines, facts)


def index(archive: str, library: str, options: IndexOptions, *, quiet: bool) -> Result:
    """Photos → faces."""
    from pipeline.index import index as index_archive
    from pipeline.index import write_log

    with _begun(archive, library) as (opened, lease):
        indexed = index_archive(opened, lease, archive, options, quiet=quiet)
        facts = {"index": asdict(indexed), "complete": indexed.complete}
        write_log(opened, indexed.run, facts)
    return Result(_index_lines(indexed), facts)


def group(library: str, *, method: str, seed: int, quiet: bool) -> Result:
    """Faces → people."""
    from pipeline.group import group_library

    opened = Library.open(library)
    with Lease(library):
        grouped = group_library(opened, method=method, seed=seed)
    return Result(_group_lines(grouped), {"group": asdict(grouped)})


def report(library: str, *, out: str | None, quiet: bool) -> Result:
    """People → web pages."""
    from pipeline.report import write_report

    opened = Library.open(library)
    if out is not None:
        return Result(*_reported(write_report(opened, out=out), out))
    with Lease(library):
        return Result(*_reported(write_report(opened), opened.file(REPORT)))


def evaluate_lfw(library: str, pairs: str) -> Result:
    """Verification on LFW."""
    from pipeline.evaluate import lfw

    return Result(*lfw(Library.open(library), pairs))


def evaluate_clusters(library: str) -> Result:
    """Grouping against folders."""
    from pipeline.evaluate import clusters

    return Result(*clusters(Library.open(library)))


def calibrate(library: str, out: str) -> Result:
    """Learns an embedder's calibration."""
    from pipeline.calibrate import calibrate as learn

    return Result(*learn(Library.open(library), out))


def evaluate_detection(photos: str, boxes: str) -> Result:
    """Detection against boxes."""
    from pipeline.evaluate_detection import detection

    return Result(*detection(photos, boxes))


def bench_index(folders: Sequence[str], *, count: int, turns: int, precision: str, workers: int) -> Result:
    """Speed beside facenet-pytorch's own loop."""
    from pipeline.bench_index import bench

    return Result(*bench(folders, count=count, turns=turns, precision=precision, workers=workers))


def bench_camera(out: str, portraits: str, crowds: str, boxes: str, *, count: int, seed: int) -> Result:
    """Photographs for `bench index`."""
    from pipeline.camera_photos import write_camera_photos

    faces = write_camera_photos(portraits, crowds, boxes, out, count=count, seed=seed)
    return Result([f"{count} photos with {faces} faces laid into them: {out}"], {"faces": faces})


def bench_memory(photos: str, *, count: int, chunk_size: int) -> Result:
    """A worker's memory over many photos."""
    from pipeline.bench_memory import memory

    return Result(*memory(photos, photos=count, chunk_size=chunk_size))


def demo(folder: str) -> str:
    """A demonstration archive."""
    from pipeline.demo import write_archive

    return write_archive(folder)


class _begun:
    """A context: the library, new or existing, held by this process while photos are indexed."""

    def __init__(self, archive: str, library: str) -> None:
        if storage.lies_inside(archive, library):
            raise UsageError(
                f"{archive} lies inside the library {library}: give another folder for the library"
            )
        self._library = library

    def __enter__(self) -> tuple[Library, Lease]:
        # Unattended, a run that follows a power cut waits until the lease of the dead one is stale.
        with storage.writing(self._library):
            patient = not sys.stderr.isatty() and not Lease(self._library).held_here()
        self._lease = Lease(self._library, wait=_LEASE_WAIT if patient else 0)
        self._lease.__enter__()
        try:
            return Library.create(self._library), self._lease
        except BaseException:
            self._lease.__exit__(None, None, None)
            raise

    def __exit__(self, *_: object) -> None:
        self._lease.__exit__(None, None, None)


def _index_lines(indexed) -> list[str]:
    photos = indexed.photos
    total = sum(photos.values())
    if not total and not indexed.left:
        lines = [f"{indexed.listed:,} files, none new or changed ({indexed.seconds:.1f} s)."]
    else:
        lines = [
            f"{total:,} new or changed files of {indexed.listed:,} indexed in {_time(indexed.seconds)}: "
            f"{photos.get('ok', 0):,} photos with {indexed.faces:,} faces, "
            f"{photos.get('no_face', 0):,} without a face, "
            f"{photos.get('skipped', 0):,} not photographs, {photos.get('error', 0):,} with errors."
        ]
    if indexed.left:
        lines.append(f"Stopped at the time given: {indexed.left:,} files are left for the next run.")
    if indexed.pruned:
        lines.append(f"{indexed.pruned:,} photos that are gone were forgotten.")
    elif indexed.missing:
        lines.append(
            f"{indexed.missing:,} photos of the library are no longer in the archive (--prune forgets them)."
        )
    left_out = [(indexed.listing.get(key, 0), what) for key, what in _LEFT_OUT]
    if any(count for count, _ in left_out):
        said = ", ".join(f"{what} ({count:,})" for count, what in left_out if count)
        lines.append(f"Left out: {said}.")
    unreadable = indexed.listing.get("unreadable_folders") or []
    lines += [f"Folder not readable: {path}: {reason}" for path, reason in unreadable[:10]]
    if len(unreadable) > 10:
        lines.append(f"... and {len(unreadable) - 10:,} more folders that could not be read.")
    return lines


def _group_lines(grouped) -> list[str]:
    return [
        f"{grouped.faces:,} faces grouped into {grouped.people:,} people in {_time(grouped.seconds)}; "
        f"{grouped.ungrouped:,} faces ungrouped."
    ]


def _report_if_needed(library: Library, facts: dict[str, object]) -> list[str]:
    from pipeline.report import is_current, write_report

    if is_current(library):
        return [f"Report: {library.file(REPORT, 'index.html')}"]
    lines, reported = _reported(write_report(library), library.file(REPORT))
    facts["report"] = reported
    return lines


def _reported(summary, folder: str) -> tuple[list[str], dict[str, object]]:
    return [f"Report: {storage.join(folder, 'index.html')}"], asdict(summary)


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
