"""``albumen dedupe``: a crawl whose folders are identities → what is wrong with it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.faces_to_group import calibration
from transforms import storage
from transforms.crawl import CrawlPhotos, read_crawl, read_labels
from transforms.dedupe_pages import dedupe_pages
from transforms.duplicates import (
    Duplicate,
    DuplicateLimits,
    candidates,
    near_duplicates,
    photo_groups,
)
from transforms.export_folder import ExportFolder
from transforms.export_records import record_export
from transforms.findings import (
    EXACT_COPY,
    FINDINGS,
    IDENTITIES,
    LEAVE_OUT,
    MERGE,
    MISFILED,
    MIXED,
    MOVE,
    NEAR_COPY,
    SAME_PERSON,
    FindingRow,
    findings_csv,
)
from transforms.identities import Limits, Verdict, judge
from transforms.lease import Lease
from transforms.library import Library
from transforms.pages import counted
from transforms.tables import EMBEDDING, FACE_ID, JPEG, matrix


@dataclass(frozen=True)
class DedupeSummary:
    """What was looked at, and how much of each kind was found. Photos `without_thumbnail` were not compared
    as pictures, though their faces are alike."""

    folder: str
    photos: int
    identities: int
    without_face: int
    without_thumbnail: int
    found: dict[str, int]


@dataclass(frozen=True)
class Findings:
    """All that is wrong with a crawl: rows for the list, and for each the photos to show beside it."""

    rows: list[FindingRow]
    shown: list[tuple[list[int], list[int]]]
    verdict: Verdict


def dedupe(library: Library, *, out: str, labels: str | None = None) -> DedupeSummary:
    """Writes findings, pages with pictures, and the identities as they are. Raises LibraryError."""
    with Lease(library.path):
        folder = ExportFolder(out, {"made_by": "Albumen", "format": "dedupe", "library": library.path})
        record_export(library, kind="dedupe", folder=out)
        known = read_labels(storage.read_bytes(labels), name=labels) if labels else None
        photos = read_crawl(library, centre_of(library), known)
        pairs = candidate_pairs(photos, DuplicateLimits())
        alike = {row for a, b, _ in pairs for row in (a, b)}
        thumbs = thumbs_of(library, photos, alike)
        unseen = len(alike - set(thumbs))
        found = find(photos, near_duplicates(pairs, thumbs))
        shown = {p for left, right in found.shown for p in (*left, *right)}
        thumbs |= thumbs_of(library, photos, shown - set(thumbs))
        with folder:
            folder.write(FINDINGS, [findings_csv(found.rows)])
            folder.write(IDENTITIES, [_parquet(photos.table(found.verdict.fit))])
            for name, page in dedupe_pages(photos, found.rows, found.shown, thumbs):
                folder.write(name, [page])
    counts, faceless = Counter(row.finding for row in found.rows), int((photos.face < 0).sum())
    return DedupeSummary(out, len(photos), len(set(photos.label)), faceless, unseen, dict(counts))


def centre_of(library: Library) -> np.ndarray:
    """The vector by which the library's embeddings are centred."""
    table = library.read_faces([EMBEDDING])
    return calibration(library, matrix(table[EMBEDDING])).centre


def candidate_pairs(photos: CrawlPhotos, limits: DuplicateLimits) -> list[tuple[int, int, float]]:
    """Pairs of photos with nearly the same face, each content once."""
    first: dict[str, int] = {}
    for row, photo in enumerate(photos.photo_id):
        if photos.face[row] >= 0:
            first.setdefault(photo, row)
    rows = np.array(sorted(first.values()), np.int64)
    if not len(rows):
        return []
    pairs = candidates(photos.vectors[photos.face[rows]], limits.similarity)
    return [(int(rows[a]), int(rows[b]), s) for a, b, s in pairs]


def thumbs_of(library: Library, photos: CrawlPhotos, wanted: set[int]) -> dict[int, bytes]:
    """The thumbnails of photos' faces, by row."""
    rows_of: dict[str, list[int]] = {}
    for row in wanted:
        if photos.face[row] >= 0:
            rows_of.setdefault(photos.face_ids[photos.face[row]], []).append(row)
    found: dict[int, bytes] = {}
    ids = pa.array(sorted(rows_of), pa.string())
    import pyarrow.compute as pc

    for table in library.iter_thumbs() if wanted else ():
        table = table.filter(pc.is_in(table[FACE_ID], value_set=ids))
        for face, jpeg in zip(table[FACE_ID].to_pylist(), table[JPEG].to_pylist(), strict=True):
            for row in rows_of[face]:
                found.setdefault(row, jpeg)
    return found


def find(
    photos: CrawlPhotos,
    near: Sequence[Duplicate],
    limits: Limits = Limits(),
    *,
    verdict: Verdict | None = None,
) -> Findings:
    """Judges a crawl (unless it has been); `near` are its near duplicates."""
    crawl = photos.crawl()
    verdict = verdict or judge(crawl, limits)
    members: dict[int, list[int]] = {}
    for row, identity in enumerate(crawl.identity.tolist()):
        members.setdefault(identity, []).append(row)
    rows: list[FindingRow] = []
    shown: list[tuple[list[int], list[int]]] = []
    for pair in verdict.same:
        a, b = crawl.names[pair.identity], crawl.names[pair.other]
        size = counted(len(members[pair.identity]), "photo", "photos")
        rows.append(FindingRow(SAME_PERSON, pair.score, MERGE, a, b, detail=size))
        shown.append((members[pair.identity][:4], members[pair.other][:4]))
    for one in verdict.misfiled:
        rows.append(_misfiled(photos, crawl.names, one))
        shown.append(([one.photo], members[one.other][:4] if one.other >= 0 else []))
    new_names = _NewNames(crawl.names)
    for mixed in verdict.mixed:
        other = new_names.after(crawl.names[mixed.identity])
        rest = [r for r in members[mixed.identity] if r not in mixed.photos]
        for photo in mixed.photos:
            rows.append(_photo_row(photos, photo, MIXED, mixed.score, MOVE, other, "another person"))
            shown.append(([photo], rest[:4]))
    for row, kept_at, exact, score, detail in _copies(photos, near, verdict.fit):
        kind = EXACT_COPY if exact else NEAR_COPY
        finding = _photo_row(photos, row, kind, score, LEAVE_OUT, photos.label[kept_at], detail)
        rows.append(_with_other_path(finding, photos.path[kept_at]))
        shown.append(([row], [kept_at]))
    return Findings(rows, shown, verdict)


class _NewNames:
    """Names for people that a mixed identity holds beside the one it means, each of them another."""

    def __init__(self, names: Sequence[str]) -> None:
        self._taken = set(names)

    def after(self, name: str) -> str:
        """``name (2)``, or the first number that is free."""
        new = next(n for k in count(2) if (n := f"{name} ({k})") not in self._taken)
        self._taken.add(new)
        return new


def _misfiled(photos: CrawlPhotos, names: list[str], one) -> FindingRow:
    if one.other >= 0:
        return _photo_row(
            photos, one.photo, MISFILED, one.score, MOVE, names[one.other], "like the other one"
        )
    return _photo_row(photos, one.photo, MISFILED, one.score, LEAVE_OUT, "", "like nobody here")


def _photo_row(photos, row: int, kind: str, score: float, action: str, other: str, detail: str) -> FindingRow:
    return FindingRow(
        kind, score, action, photos.label[row], other, photos.root[row], photos.path[row], detail=detail
    )


def _with_other_path(row: FindingRow, path: str) -> FindingRow:
    from dataclasses import replace

    return replace(row, other_path=path)


def _copies(
    photos: CrawlPhotos, near: Sequence[Duplicate], fit: np.ndarray
) -> Iterator[tuple[int, int, bool, float, str]]:
    """(photo to leave out, photo kept, whether byte for byte, score, detail). Kept is, of equal files, the
    one that fits its identity best, and of near duplicates the one with most pixels."""

    def worth(row: int) -> tuple:
        fits = -1.0 if np.isnan(fit[row]) else float(fit[row])
        return int(photos.pixels[row]), int(photos.bytes[row]), fits, -row

    by_content: dict[str, list[int]] = {}
    for row, photo in enumerate(photos.photo_id):
        by_content.setdefault(photo, []).append(row)
    for rows in by_content.values():
        kept = max(rows, key=worth)
        yield from ((r, kept, True, 1.0, "the same file") for r in rows if r != kept)
    best = {tuple(sorted((d.left, d.right))): d for d in near}
    for group in photo_groups(near):
        kept = max(group, key=worth)
        for row in group:
            if row != kept:
                pair = best.get(tuple(sorted((row, kept)))) or max(
                    (d for d in near if row in (d.left, d.right)), key=lambda d: d.score
                )
                mirrored = ", mirrored" if pair.mirrored else ""
                detail = f"{pair.bits} of 256 bits differ, cosine {pair.similarity:.3f}{mirrored}"
                yield row, kept, False, pair.score, detail


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
