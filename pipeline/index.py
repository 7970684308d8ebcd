"""``albumen index``: photos → faces."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from itertools import islice

import pyarrow as pa

from models.embedder import ONNX_PREFIX
from models.facenet_weights import FACENET_CASIA
from pipeline.estimate import Estimate
from pipeline.forget import finish_forgetting
from pipeline.options import IndexOptions, UsageError, default_workers
from pipeline.progress import ProgressLine
from pipeline.supervise import Committed, InFlight, RunFailed, Supervisor
from transforms import storage
from transforms.archive import read_file
from transforms.compaction import Tidied, tidy
from transforms.index_config import IndexConfig
from transforms.known_content import KNOWN_CONTENT, KnownContent, KnownFiles, content_id
from transforms.lease import Lease
from transforms.library import LOGS, MANIFESTS, Library, LibraryError
from transforms.listing import ListingReport, RootGuard, list_archive
from transforms.manifest import Chunk, ManifestWriter, read_chunk
from transforms.records import ERROR, FileEntry, PhotoRow, printable
from transforms.successors import record_successors
from transforms.summary import Summary
from transforms.tables import PATH_BYTES, ROOT

_LISTING_BATCH = 10_000
_PRUNE_SHARE = 0.05


@dataclass(frozen=True)
class IndexSummary:
    """What a run of indexing did. `photos` counts by status what was indexed by this run; `left`
    counts files that are still to do because the end time came; `missing` counts photos of the
    library that are not in the archive now."""

    run: str
    listed: int = 0
    unchanged: int = 0
    photos: dict[str, int] = field(default_factory=dict)
    faces: int = 0
    left: int = 0
    missing: int = 0
    pruned: int = 0
    restarts: int = 0
    seconds: float = 0.0
    listing: dict[str, object] = field(default_factory=dict)
    tidied: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every file ended in a recorded state."""
        return self.left == 0


def index(
    library: Library, lease: Lease, archive: str, options: IndexOptions, *, quiet: bool = False
) -> IndexSummary:
    """Indexes what is new or changed in `archive`. The caller holds the lease.

    Raises ArchiveError, LibraryError, WeightsError, UsageError, RunFailed; the library is whole then
    as well, and the next run continues.
    """
    started = time.monotonic()
    run = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ-") + uuid.uuid4().hex[:4]
    finish_forgetting(library)
    location = storage.absolute(archive)
    guard = RootGuard.of(location)
    root = register_root(library, location, relocate=options.relocate)
    config = _config(library, run, root, location, guard, options)
    library.use_fingerprint(config.fingerprint(), config.settings())

    interrupted = bool(storage.folder_names(config.manifests))  # a run before did not come to its end
    known = KnownFiles(library, root, retry_errors=options.retry_errors)
    report = ListingReport()
    writer = ManifestWriter(config.manifests, run, chunk_size=options.chunk_size)
    entries = list_archive(location, root=root, exclude=[library.path], report=report)
    listed = todo = 0
    for batch in _batched(entries, _LISTING_BATCH):
        fresh = [e for e, same in zip(batch, known.unchanged(batch), strict=True) if not same]
        for entry in fresh:
            writer.add(entry)
        listed, todo = listed + len(batch), todo + len(fresh)
        lease.check()
    chunks = writer.close()
    _check_not_emptied(listed, len(known), location)

    missing = _missing(known, report)
    forget = _to_forget(missing, known, root, options) if options.prune else None
    if chunks:
        KnownContent.of(library).save(storage.join(config.manifests, run, KNOWN_CONTENT))
        summary, left, restarts = _work(library, lease, config, options, chunks, todo, quiet)
    else:
        summary, left, restarts = Summary(), 0, 0
    lease.check()
    changed = bool(chunks) or interrupted or forget is not None
    if changed:
        record_successors(library, run)
    tidied = tidy(library, run=run, forget=forget) if changed else Tidied()
    storage.remove_folder(config.manifests)
    return IndexSummary(
        run=run,
        listed=listed,
        unchanged=listed - todo,
        photos=summary.photos,
        faces=summary.faces,
        left=left,
        missing=len(missing),
        pruned=tidied.forgotten_rows,
        restarts=restarts,
        seconds=time.monotonic() - started,
        listing=_listing_facts(report),
        tidied=asdict(tidied),
    )


def register_root(library: Library, location: str, *, relocate: str | None) -> str:
    """The name of the archive at `location` in the library; a new archive gets a new name.

    `relocate` names a known root that has moved to `location`. Raises UsageError for an unknown one.
    """
    info = library.info()
    if relocate is not None:
        if relocate not in info.roots:
            known = ", ".join(info.roots) or "none"
            raise UsageError(f"--relocate {relocate}: the library has no such root; it has: {known}")
        library.save_info(replace(info, roots={**info.roots, relocate: location}))
        return relocate
    for name, known_location in info.roots.items():
        if known_location == location:
            return name
    base = printable(os.fsencode(location.rstrip("/")).rpartition(b"/")[2]) or "archive"
    name = next(n for n in _numbered(base) if n not in info.roots)
    library.save_info(replace(info, roots={**info.roots, name: location}))
    return name


def _numbered(base: str) -> Iterator[str]:
    yield base
    number = 2
    while True:
        yield f"{base}-{number}"
        number += 1


def _config(
    library: Library, run: str, root: str, location: str, guard: RootGuard, options: IndexOptions
) -> IndexConfig:
    embedder, mirror = library_embedder(library, options)
    if embedder.startswith(ONNX_PREFIX):
        # Workers run in a folder of their own.
        embedder = ONNX_PREFIX + storage.absolute(embedder[len(ONNX_PREFIX) :])
    return IndexConfig(
        library=library.path,
        run=run,
        root=root,
        location=location,
        guard=guard,
        embedder=embedder,
        mirror=mirror,
        detector=options.detector,
        max_pixels=options.max_pixels,
        thumbs=options.thumbs,
        until=options.until,
        backend=options.engine,
        precision=options.precision,
    )


def library_embedder(library: Library, options: IndexOptions) -> tuple[str, bool]:
    """Which embedder, and whether of mirror images too: as asked for, else as the library has it."""
    described = (library.info().settings or {}).get("embedder")
    if not isinstance(described, dict):
        return options.embedder or FACENET_CASIA, options.mirror
    name = options.embedder or str(described.get("name"))
    if name == ONNX_PREFIX.rstrip(":"):
        raise UsageError(
            f"{library.path} has the vectors of an ONNX model: name it with --embedder onnx:FILE"
        )
    return name, options.mirror or bool(described.get("mirror"))


def _batched(entries: Iterator[FileEntry], size: int) -> Iterator[list[FileEntry]]:
    while batch := list(islice(entries, size)):
        yield batch


def _check_not_emptied(listed: int, known: int, location: str) -> None:
    if known and not listed:
        raise LibraryError(
            f"{location} holds no files, but the library knows {known:,} there: is the drive mounted? "
            "If they really are gone, index a new library"
        )


def _missing(known: KnownFiles, report: ListingReport) -> list[bytes]:
    """Paths that the library knows and the archive no longer has; none from folders that could not
    be listed, since of these nothing is known."""
    paths = known.unseen().to_pylist()
    unlisted = tuple(path + b"/" for path, _ in report.unreadable_folders)
    return [p for p in paths if not p.startswith(unlisted)] if unlisted else paths


def _to_forget(missing: list[bytes], known: KnownFiles, root: str, options: IndexOptions) -> pa.Table:
    if len(missing) > _PRUNE_SHARE * len(known) and not options.yes:
        raise UsageError(
            f"--prune would forget {len(missing):,} of {len(known):,} photos of {root}: "
            "check that the whole archive is there, then add --yes"
        )
    return pa.table(
        {ROOT: pa.array([root] * len(missing), pa.string()), PATH_BYTES: pa.array(missing, pa.binary())}
    )


def _work(
    library: Library, lease: Lease, config: IndexConfig, options: IndexOptions,
    chunks: list[Chunk], todo: int, quiet: bool,
) -> tuple[Summary, int, int]:  # fmt: skip
    """Runs the chunks, here or on the engine asked for: (what was done, files left, restarts)."""
    if options.runner:
        from pipeline.graph import run_graph

        try:
            run_graph(config, chunks, [f"--runner={options.runner}", *options.beam_options])
        except RuntimeError as error:  # an engine hands on the failure of a step as text
            config.guard.check()
            raise RunFailed(f"{options.runner} ended the run: {_last_line(error)}") from error
        done = _recorded_summaries(library, config.run)
        return done, todo - sum(done.photos.values()), 0
    from models.engine import default_device

    config = replace(config, device=default_device(options.engine))
    workers = min(options.workers or default_workers(config.device), len(chunks))
    done = Summary()
    logs = library.file(LOGS) if not storage.is_url(library.path) else os.getcwd()
    with storage.writing(logs):
        os.makedirs(logs, exist_ok=True)
    estimate = Estimate(library, todo)
    with ProgressLine(todo, quiet=quiet) as line:
        line.say(estimate.before())

        def on_commit(committed: Committed) -> None:
            nonlocal done
            done += Summary(1, committed.faces, committed.photos)

        def on_tick(in_flight: InFlight) -> None:
            lease.check()
            count = min(todo, sum(done.photos.values()) + in_flight.photos)
            faces = done.faces + in_flight.faces
            line.say(estimate.during(done=count, faces=faces))
            line.update(done=count, faces=faces, errors=done.photos.get(ERROR, 0))

        supervisor = Supervisor(
            config, workers=workers, log_folder=logs, on_commit=on_commit, on_tick=on_tick,
            give_up=lambda chunk, how, hung: give_up(library, config, chunk, how, hung=hung),
        )  # fmt: skip
        try:
            supervisor.run(chunks)
        except RunFailed:
            config.guard.check()  # an archive that has gone is the better explanation
            raise
        finally:
            _remove_empty_logs(logs, config.run)
    return done, sum(chunk.size for chunk in supervisor.late), supervisor.restarts


def give_up(library: Library, config: IndexConfig, chunk: Chunk, how: str, *, hung: bool) -> None:
    """Records the one photo of `chunk`, which killed its process each time, as an error.

    Its content is hashed, so that later runs know it and leave it alone until it changes. Where a
    process `hung` over it that may have been the read itself, which would hang here for ever: it stays
    unread, and the next run tries it again.
    """
    rows = []
    for entry in read_chunk(config.manifests, chunk):
        photo_id = None
        if not hung:
            with suppress(OSError):
                photo_id = content_id(read_file(config.location, entry.path))
        rows.append(PhotoRow(entry, ERROR, f"ended the process that read it ({how})", photo_id=photo_id))
    import numpy as np

    library.commit_chunk(
        f"{chunk.name}-{uuid.uuid4().hex[:8]}", fingerprint=config.fingerprint(),
        photos=rows, faces=[], embeddings=np.zeros((0, 1), np.float32), thumbs=[],
    )  # fmt: skip


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _recorded_summaries(library: Library, run: str) -> Summary:
    folder = library.file(MANIFESTS, run)
    names = [n for n in storage.file_names(folder, suffix=".json") if n.startswith("summary-")]
    return sum(
        (Summary.from_json(storage.read_bytes(storage.join(folder, n)).decode()) for n in names), Summary()
    )


def _remove_empty_logs(folder: str, run: str) -> None:
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name.startswith(f"{run}-worker-") and not os.path.getsize(path):
            os.unlink(path)


def _listing_facts(report: ListingReport) -> dict[str, object]:
    facts = asdict(report)
    facts["unreadable_folders"] = [[printable(path), reason] for path, reason in report.unreadable_folders]
    return facts


def write_log(library: Library, run: str, facts: dict[str, object]) -> None:
    """Writes ``logs/<run>.json``."""
    storage.write_bytes(library.file(LOGS, f"{run}.json"), json.dumps(facts, indent=2, default=str).encode())
