"""Removes faces, photos and people from every place of a library.

What is to be removed is written down first (``forgetting.json``), so that an interrupted removal is
finished by whatever comes next; then the tombstones, that nothing comes back; then every file that
holds something is written anew without it, or removed. Removal is by unlinking: snapshots and backups
of the drive are their owner's to clear.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.forgetting_corrections import without_mentions
from transforms.forgetting_revisions import rewrite_log, rewrite_revision, rewrite_successors
from transforms.library import CORRECTIONS, LOGS, MANIFESTS, REPORT, Library, LibraryError
from transforms.mentions import Mentions
from transforms.records import NO_FACE, SKIPPED
from transforms.tables import (
    FACE_ID,
    HEIGHT,
    PHOTO_ID,
    REASON,
    STATUS,
    TAKEN_AT,
    UTC_OFFSET,
    WIDTH,
)
from transforms.tombstones import EVERYTHING, FORGOTTEN, Tombstone, add_tombstones

PENDING = "forgetting.json"
_GRAPH, _SUCCESSORS, _WORK = "graph", "successors", "work-"
_ALL_FOLDERS = (
    "faces", "thumbs", "photos", "people", _GRAPH, REPORT, _SUCCESSORS, "export", MANIFESTS, LOGS,
)  # fmt: skip


@dataclass(frozen=True)
class Removal:
    """What has to go: faces by id, photos by id with all their faces, people by id, and their names;
    `paths` are the texts by which corrections may speak of photos (their paths) and faces (``path#2``).
    `everything` leaves nothing but the tombstone."""

    faces: frozenset[str] = frozenset()
    photos: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()
    stones: tuple[Tombstone, ...] = ()
    everything: bool = False

    def mentions(self, corrections: frozenset[str] = frozenset()) -> Mentions:
        """What must not be spoken of any more, with the ids of corrections that went."""
        return Mentions(self.faces, self.photos, self.people | corrections, self.names, self.paths)

    def to_json(self) -> bytes:
        """As text."""
        data = asdict(self)
        for key in ("faces", "photos", "people", "names", "paths"):
            data[key] = sorted(data[key])
        data["stones"] = [{**stone, "path": stone["path"].hex()} for stone in data["stones"]]
        return json.dumps(data).encode("ascii")

    @classmethod
    def from_json(cls, text: bytes) -> Removal:
        """Reads what `to_json` wrote."""
        data = json.loads(text)
        stones = tuple(
            Tombstone(
                s["photo_id"], s["root"], bytes.fromhex(s["path"]), tuple(s["box"]) if s["box"] else None
            )
            for s in data.pop("stones")
        )
        everything = data.pop("everything")
        sets = {key: frozenset(values) for key, values in data.items()}
        return cls(**sets, stones=stones, everything=everything)


@dataclass(frozen=True)
class Removed:
    """What was removed and written anew; `left` names files of exports that somebody has changed, or
    that can't be reached, and that must be looked at by hand."""

    faces: int = 0
    photos: int = 0
    people: int = 0
    files: int = 0
    left: tuple[str, ...] = ()


def forget(library: Library, removal: Removal, *, clear_exports: Callable[[Library], list[str]]) -> Removed:
    """Carries a removal out. The caller holds the lease; `clear_exports` removes all exports on record
    and says what it had to leave."""
    storage.write_bytes(library.file(PENDING), removal.to_json())
    return _finish(library, removal, clear_exports)


def finish(library: Library, *, clear_exports: Callable[[Library], list[str]]) -> Removed | None:
    """Ends a removal that was interrupted; None where there is none."""
    path = library.file(PENDING)
    if not storage.exists(path):
        return None
    return _finish(library, Removal.from_json(storage.read_bytes(path)), clear_exports)


def _finish(library: Library, removal: Removal, clear_exports: Callable[[Library], list[str]]) -> Removed:
    add_tombstones(library, removal.stones)
    left = clear_exports(library)
    for name in [*_passing_folders(library), library.file(_GRAPH)]:
        _remove_folder(name)
    if removal.everything:
        for name in _ALL_FOLDERS:
            _remove_folder(library.file(name))
        storage.remove(library.file(CORRECTIONS))
        removed = Removed(left=tuple(left))
    else:
        for path in library.uncommitted_files():
            storage.remove(path)
        library.remove_partial_files()
        removed = _rewrite_chunks(library, removal)
        files = removed.files + _rewrite_decisions(library, removal)
        removed = replace(removed, files=files, people=len(removal.people), left=tuple(left))
    storage.remove(library.file(PENDING))
    return removed


def _remove_folder(path: str) -> None:
    storage.remove_folder(path)
    if storage.folder_names(path) or storage.file_names(path):
        raise LibraryError(f"{path} can't be removed: is it open elsewhere, and may this user write there?")


def _passing_folders(library: Library) -> list[str]:
    """The report, and what interrupted reports and groupings have left beside it."""
    names = storage.folder_names(library.path)
    return [library.file(n) for n in names if n == REPORT or n.startswith((f"{REPORT}.", _WORK))]


def _rewrite_decisions(library: Library, removal: Removal) -> int:
    """Writes anew what revisions, successors, corrections and logs say; how many files."""
    corrections = library.read_corrections()
    left, lost = without_mentions(corrections, removal.mentions())
    gone = removal.mentions(lost)
    written = sum(rewrite_revision(library, name, gone) for name in library.revisions())
    written += rewrite_successors(library, gone)
    for name in storage.file_names(library.file(LOGS)):
        written += rewrite_log(library.file(LOGS, name), gone)
    if left != corrections:  # last: what it no longer says is not known to a second attempt
        storage.write_bytes(library.file(CORRECTIONS), left)
        written += 1
    return written


# -- photos, faces, thumbnails -------------------------------------------------------------------


def _rewrite_chunks(library: Library, removal: Removal) -> Removed:
    faces, photos = _values(removal.faces), _values(removal.photos)
    emptied = _values(_emptied(library, removal))
    face_rows = photo_rows = files = 0
    for name in library.chunk_names():
        photo_table, _, thumbs = library.read_chunk(name)
        tables = library.read_all_faces(name)
        keep = {
            fingerprint: pc.invert(pc.or_(_in(t[FACE_ID], faces), _in(t[PHOTO_ID], photos)))
            for fingerprint, t in tables.items()
        }
        gone = _in(photo_table[PHOTO_ID], photos)
        bare = _in(photo_table[PHOTO_ID], emptied)
        dropped = max((len(k) - (pc.sum(k).as_py() or 0) for k in keep.values()), default=0)
        stale_thumbs = thumbs is not None and pc.any(_thumbs_of(thumbs, faces, photos)).as_py()
        shown = pc.and_(gone, pc.not_equal(photo_table[STATUS], SKIPPED))
        changed = pc.or_(shown, pc.and_(bare, pc.not_equal(photo_table[STATUS], NO_FACE)))
        if not dropped and not stale_thumbs and not pc.any(changed).as_py():
            continue
        if thumbs is not None:
            thumbs = thumbs.filter(pc.invert(_thumbs_of(thumbs, faces, photos)))
        library.rewrite_chunk(
            name,
            f"{name.partition('-forgot-')[0]}-forgot-{uuid.uuid4().hex[:8]}",
            photos=_described(photo_table, gone, bare),
            faces={fingerprint: t.filter(keep[fingerprint]) for fingerprint, t in tables.items()},
            thumbs=thumbs,
        )
        files, face_rows = files + 1, face_rows + dropped
        photo_rows += pc.sum(gone).as_py() or 0
    return Removed(face_rows, photo_rows, 0, files)


def _emptied(library: Library, removal: Removal) -> frozenset[str]:
    """Photos that have no face left once the faces of `removal` are gone."""
    touched = {face.rpartition(":")[0] for face in removal.faces} - removal.photos
    wanted = _values(frozenset(touched))
    for table in library.iter_stored_faces([FACE_ID, PHOTO_ID]):
        kept = table.filter(
            pc.and_(_in(table[PHOTO_ID], wanted), pc.invert(_in(table[FACE_ID], _values(removal.faces))))
        )
        touched -= set(kept[PHOTO_ID].to_pylist())
    return frozenset(touched)


def _described(photos: pa.Table, gone: pa.ChunkedArray, bare: pa.ChunkedArray) -> pa.Table:
    """Photo rows with the states that follow from what was forgotten."""
    states = ((gone, SKIPPED, FORGOTTEN), (bare, NO_FACE, "its faces were forgotten"))
    for which, status, reason in states:
        for column, value in ((STATUS, status), (REASON, reason)):
            changed = pc.if_else(which, pa.scalar(value), photos[column])
            photos = photos.set_column(photos.column_names.index(column), column, changed)
    for column in (WIDTH, HEIGHT, TAKEN_AT, UTC_OFFSET):
        cleared = pc.if_else(gone, pa.scalar(None, photos[column].type), photos[column])
        photos = photos.set_column(photos.column_names.index(column), column, cleared)
    return photos


def _thumbs_of(thumbs: pa.Table, faces: pa.Array, photos: pa.Array) -> pa.ChunkedArray:
    of_photo = pc.list_element(pc.split_pattern(thumbs[FACE_ID], ":"), 0)
    return pc.or_(_in(thumbs[FACE_ID], faces), _in(of_photo, photos))


def _values(ids: frozenset[str]) -> pa.Array:
    return pa.array(sorted(ids), pa.string())


def _in(column: pa.ChunkedArray, values: pa.Array) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=values)


def everything() -> Removal:
    """The removal of all that a library holds."""
    return Removal(everything=True, stones=(Tombstone(EVERYTHING, "", b"", None),))
