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
from pipeline.search_neighbours import SearchSettings
from pipeline.supervise import RunFailed
from transforms import storage
from transforms.archive import ArchiveError
from transforms.corrections import CorrectionError
from transforms.export_records import record_export
from transforms.lease import STALE_SECONDS, Lease, LeaseLost, LibraryInUse
from transforms.library import REPORT, Library, LibraryError

WRONG_USE = (UsageError, WeightsError, CorrectionError)
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


def run(
    archive: str, library: str, options: IndexOptions, *, method: str, number: int | None, seed: int,
    quiet: bool,
) -> Result:  # fmt: skip
    """Index, group, report. Grouping and report are skipped where nothing has changed since."""
    from pipeline.group import group_library, is_current
    from pipeline.index import index as index_archive
    from pipeline.index import write_log

    started = time.monotonic()
    with _begun(archive, library) as (opened, lease):
        indexed = index_archive(opened, lease, archive, options, quiet=quiet)
        facts: dict[str, object] = {"index": asdict(indexed)}
        lines = _index_lines(indexed)
        if is_current(opened, method=method, seed=seed, number=number):
            lines.append("The people are up to date.")
        else:
            grouped = group_library(opened, method=method, seed=seed, number=number)
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


def group(
    library: str, *, method: str, number: int | None, settings: SearchSettings, full: bool, quiet: bool
) -> Result:
    """Faces → people."""
    from pipeline.group import group_library

    opened = Library.open(library)
    with Lease(library):
        grouped = group_library(
            opened, method=method, number=number, seed=settings.seed, full=full, settings=settings
        )
    return Result(_group_lines(grouped), {"group": asdict(grouped)})


def report(library: str, *, out: str | None, quiet: bool) -> Result:
    """People → web pages."""
    from pipeline.report import write_report

    opened = Library.open(library)
    if out is not None:
        record_export(opened, kind="report", folder=out)  # so that what is forgotten goes there too
        return Result(*_reported(write_report(opened, out=out), out))
    with Lease(library):
        return Result(*_reported(write_report(opened), opened.file(REPORT)))


def correct(library: str, kind: str, references: Sequence[str], *, name: str, note: str) -> Result:
    """One more line of corrections."""
    from pipeline.correct import correct as write

    made = write(Library.open(library), kind, references, name=name, note=note)
    lines = [f"{made.correction.id}: {made.correction}", *made.notes]
    lines.append(f"It holds from the next `albumen group {library}` or `albumen run` on.")
    return Result(lines, {"correction": made.correction.id})


def review_corrections(library: str) -> Result:
    """All corrections, and what is wrong with them."""
    from pipeline.correct import review

    return Result(*review(Library.open(library)))


def migrate(library: str, *, embedder: str, mirror: bool, without_missing: bool, quiet: bool) -> Result:
    """Another embedder, the same people."""
    from pipeline.group import group_library
    from pipeline.migrate import migrate as embed_anew

    opened = Library.open(library)
    with Lease(library) as lease:
        done = embed_anew(
            opened, lease, embedder=embedder, mirror=mirror, without_missing=without_missing, quiet=quiet
        )
        facts: dict[str, object] = {"migrate": asdict(done), "complete": done.complete}
        lines = [f"The original of {path} is missing." for path in done.missing_paths]
        if done.missing > len(done.missing_paths):
            lines.append(f"{done.missing:,} originals are missing in all.")
        if not done.complete:
            raise LibraryError(
                "\n".join(lines) + "\nThe library stays as it is: connect the archive and start again (what "
                "is done is kept), or leave these photos' faces out with --without-missing"
            )
        lines.append(f"{done.faces:,} faces have vectors of {embedder} now ({done.fingerprint}).")
        revision = opened.current_revision()
        if revision is not None:
            made = opened.read_grouping(revision)
            number = made.get("number")
            grouped = group_library(
                opened, method=str(made["method"]), seed=int(str(made["seed"])),
                number=None if number is None else int(str(number)),
            )  # fmt: skip
            lines += _group_lines(grouped)
            facts["group"] = asdict(grouped)
    return Result(lines, facts)


def evaluate_clusters(library: str, labels: str | None) -> Result:
    """Grouping against folders or a file of labels."""
    from pipeline.evaluate import clusters

    return Result(*clusters(Library.open(library), labels))


def stats(library: str, *, ask: bool, count: int) -> Result:
    """What a library holds, and what to ask its owner."""
    from pipeline import stats as job

    opened = Library.open(library)
    return Result(*(job.ask(opened, count=count) if ask else job.stats(opened)))


def calibrate(library: str, out: str) -> Result:
    """Learns an embedder's calibration."""
    from pipeline.calibrate import calibrate as learn

    return Result(*learn(Library.open(library), out))


def evaluate_grouping(
    library: str, *, out: str | None, distractors: tuple[int, ...], synthetic: int
) -> Result:
    """All ways of grouping, scored."""
    from pipeline.evaluate_grouping import evaluate_grouping as evaluate

    return Result(*evaluate(Library.open(library), out=out, distractors=distractors, synthetic=synthetic))


def bench_index(
    folders: Sequence[str], *, boxes: tuple[str, str] | None, pairs: tuple[str, str] | None, precision: str,
    **how,
) -> Result:  # fmt: skip
    """Speed beside facenet-pytorch's own loop, and what it must not cost."""
    from pipeline.bench_index import bench
    from pipeline.bench_quality import detection_quality, verification_quality

    lines, data = bench(folders, precision=precision, **how)
    for name, measure, given in (
        ("detection", detection_quality, boxes), ("verification", verification_quality, pairs)
    ):  # fmt: skip
        if given:
            more, facts = measure(*given, precision=precision)
            lines, data = [*lines, *more], {**data, name: facts}
    return Result(lines, data)


def bench_camera(out: str, portraits: str, crowds: str, boxes: str, *, count: int, seed: int) -> Result:
    """Photographs for `bench index`."""
    from pipeline.camera_photos import write_camera_photos

    faces = write_camera_photos(portraits, crowds, boxes, out, count=count, seed=seed)
    return Result([f"{count} photos with {faces} faces laid into them: {out}"], {"faces": faces})


def evaluate_dedupe(library: str, *, copies: int, seed: int, learn: bool) -> Result:
    """Faults planted into a crawl."""
    from pipeline.evaluate_dedupe import evaluate_dedupe as evaluate

    return Result(*evaluate(Library.open(library), copies=copies, seed=seed, learn=learn))


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
    lines = [
        f"{grouped.faces:,} faces grouped into {grouped.people:,} people in {_time(grouped.seconds)}; "
        f"{grouped.ungrouped:,} faces ungrouped.",
        f"Method {grouped.method}: {grouped.ran}; threshold {grouped.threshold:.3f}.",
    ]
    if grouped.regrouped < grouped.faces:
        lines.append(f"{grouped.regrouped:,} faces were looked at again: new ones and what they touch.")
    past = grouped.overlap
    if past.kept or past.split or past.merged or past.gone:
        lines.append(
            f"Of the people of the revision before {past.kept:,} were kept, {past.split:,} split, "
            f"{past.merged:,} merged into others, {past.gone:,} are gone; {past.new:,} are new. "
            f"{past.moved:,} faces changed their person, {past.joined:,} joined one, {past.left:,} left."
        )
    if grouped.names_without_person:
        names = ", ".join(grouped.names_without_person)
        lines.append(f"Names whose person has no face now, kept until one comes back: {names}.")
    return lines + list(grouped.problems)


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
