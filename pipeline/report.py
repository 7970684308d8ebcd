"""``albumen report``: writes a library's people as web pages that open from disk.

    report/index.html, index.2.html, …      people, largest first
    report/people/person-<id>.html, …       a person's faces by date, linking to the photos
    report/seen-once.html, …                people in a single photo
    report/ungrouped.html, …                faces of nobody
    report/problems.html, …                 photos that could not be read, and why

Thumbnails are part of the pages, since a million small files take hours on a network drive.
Memory is bounded by the joined tables and one bucket of thumbnails (`transforms.thumb_sort`).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from transforms import storage
from transforms.album import Album, PhotoStates, read_album
from transforms.album_pages import AlbumPages
from transforms.library import REPORT, Library, LibraryError
from transforms.pages import PageWriter, Site, counted, long_date
from transforms.records import printable
from transforms.report_folder import ReportFolder
from transforms.thumb_sort import ThumbSort

_STATE = ".albumen-state"

Progress = Callable[[str, int, int], None]
"""Is told the step ("thumbnails" or "pages"), how many are done and how many there are."""

SPACE_PER_FACE = 12_000
"""Bytes of disk a face takes while a report is made: 4 KB sorted, 6 KB in its page, and a reserve."""

_MAX_METHOD_ROWS, _MAX_METHOD_TEXT = 60, 200
# What says how the groups were made comes first, so that it is never what is cut.
_METHOD_FIRST = (
    *("method", "ran", "kind", "threshold", "threshold_line", "parameters", "weak_limits", "margin", "reach"),
    *("neighbours", "seed", "number", "calibration", "cohort", "fingerprint", "revision", "made_at"),
)
# What it holds for the next grouping, and may have thousands of.
_NO_METHOD = (
    *("named_by_corrections", "effective_corrections", "names_without_person", "problems"),
    *("faces_state", "corrections_state", "centre"),
)


@dataclass(frozen=True)
class ReportSummary:
    """What a report holds. `index` is the front page; `people` counts all, also those seen once."""

    index: str
    revision: str
    photos: int
    faces: int
    people: int
    ungrouped: int
    errors: int
    faces_without_thumb: int
    pages: int
    bytes: int
    seconds: float


def write_report(
    library: Library, *, out: str | None = None, progress: Progress | None = None
) -> ReportSummary:
    """Writes the pages of the current grouping to the library's report folder, or to `out`.

    The previous report is replaced when the new one is complete. The caller holds the library's
    lease. Raises LibraryError without a grouping, where the folder holds something else, or where
    it can't be written.
    """
    began = time.monotonic()
    revision = library.current_revision()
    if revision is None:
        raise LibraryError(
            f"{library.path} has not been grouped, so there are no people to show yet: "
            f"albumen group {library.path}"
        )
    target = out or library.file(REPORT)
    album, states = read_album(library, revision)
    roots = library.info().roots
    site = Site(title=_title(roots), footer=_footer(revision))
    pages = AlbumPages(album, states, site=site, roots=roots, folder=target)
    try:
        with ReportFolder(target) as folder:
            found = _write_pages(
                folder,
                pages,
                ThumbSort(folder.spill, album.face_ids, pages.placements(), pages=pages.count),
                thumbs=library.iter_thumbs(),
                front=_FrontMatter(
                    method=list(method_rows(library.read_grouping(revision))),
                    empty=_empty(album, states),
                    not_grouped_yet=album.not_grouped_yet,
                    library=library.path,
                ),
                progress=progress,
            )
            folder.write(_STATE, _state(library, revision))
    except OSError as error:
        needed = len(album.face_ids) * SPACE_PER_FACE // 1_000_000 + 1
        raise LibraryError(
            f"the report can't be written to {target} ({error}): check that it can be written to and has "
            f"{needed} MB free, or give another folder with --out"
        ) from error
    return ReportSummary(
        index=storage.join(target, "index.html"),
        revision=revision,
        photos=states.photos,
        faces=len(album.face_ids),
        people=len(album.people),
        ungrouped=len(album.face_ids) - int(album.starts[-1]),
        errors=len(states.errors),
        faces_without_thumb=len(album.face_ids) - found,
        pages=pages.count + pages.problem_pages,
        bytes=folder.bytes_written,
        seconds=time.monotonic() - began,
    )


def is_current(library: Library) -> bool:
    """Whether the library's own report shows what the library holds now."""
    revision, path = library.current_revision(), library.file(REPORT, _STATE)
    if revision is None or not storage.exists(path):
        return False
    return storage.read_bytes(path) == _state(library, revision)


def _state(library: Library, revision: str) -> bytes:
    roots = json.dumps(library.info().roots, sort_keys=True)  # where the links lead
    return hashlib.sha256(f"{revision}\n{library.photos_state()}\n{roots}".encode()).hexdigest().encode()


@dataclass(frozen=True)
class _FrontMatter:
    """What the front page says besides its people."""

    method: Sequence[tuple[str, str]]
    empty: str | None
    not_grouped_yet: int
    library: str

    def notes(self, *, faces: int, found: int) -> list[str]:
        """What the reader should know before looking, given how many faces have a thumbnail."""
        notes = []
        if self.not_grouped_yet:
            added = counted(self.not_grouped_yet, "face was", "faces were")
            notes.append(
                f"{added} added since the grouping and shown as ungrouped until the next one: "
                f"albumen group {printable(os.fsencode(self.library))}"
            )
        if faces and not found:
            notes.append("The library was indexed without thumbnails, so faces are shown as placeholders.")
        return notes


def _write_pages(
    folder: ReportFolder,
    pages: AlbumPages,
    sort: ThumbSort,
    *,
    thumbs: Iterable[pa.Table],
    front: _FrontMatter,
    progress: Progress | None,
) -> int:
    """Writes all pages, the front page last; returns how many faces have a thumbnail."""
    tell = progress or (lambda step, done, total: None)
    writer = PageWriter()
    for number in range(pages.problem_pages):
        name, problems = pages.problems_page(number)
        folder.write(name, writer.problems(problems))
    for found in sort.read(thumbs):
        tell("thumbnails", found, sort.faces)
    notes = front.notes(faces=sort.faces, found=sort.found)
    for page, jpegs in sort.pages():
        index = pages.index_number(page)
        if index is None:
            name, faces = pages.faces_page(page, jpegs)
            folder.write(name, writer.faces(faces))
        else:
            name, people = pages.index_page(index, jpegs, method=front.method, notes=notes, empty=front.empty)
            folder.write(name, writer.index(people))
        tell("pages", page + 1, pages.count)
    return sort.found


def _title(roots: Mapping[str, str]) -> str:
    names = [printable(os.fsencode(name)) for name in roots]
    return ", ".join(names) if 0 < len(names) <= 3 else "Photo library"


def _footer(revision: str) -> str:
    today = long_date(datetime.now()).partition(",")[0]
    return (
        f"Made by Albumen on {today} from grouping {revision}. "
        "These pages show the faces of real people: share them with care."
    )


def _empty(album: Album, states: PhotoStates) -> str | None:
    if len(album.people):
        return None
    if len(album.face_ids):
        return "Nobody was recognised twice: every face stands alone, under Ungrouped."
    if states.photos:
        return f"No faces were found in {counted(states.photos, 'photo', 'photos')}."
    return "There are no photographs in this library yet."


def method_rows(grouping: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """The entries of grouping.json as names and values that fit on a page, the method and its parameters
    first."""
    first = {key: grouping[key] for key in _METHOD_FIRST if key in grouping}
    rest = {key: value for key, value in grouping.items() if key not in first and key not in _NO_METHOD}
    for number, (name, value) in enumerate(_leaves({**first, **rest}, "")):
        if number == _MAX_METHOD_ROWS:
            return
        yield name, value


def _leaves(value: object, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and name.count(" · ") < 2:
        for key, inner in value.items():
            plain_key = str(key)[:_MAX_METHOD_TEXT].replace("_", " ")
            yield from _leaves(inner, f"{name} · {plain_key}" if name else plain_key)
    elif isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 8:
        yield name, counted(len(value), "value", "values")
    elif isinstance(value, bool):
        yield name, "yes" if value else "no"
    elif isinstance(value, float):
        yield name, f"{value:.6g}"
    elif value is not None:
        yield name, str(value)[:_MAX_METHOD_TEXT]
