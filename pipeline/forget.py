"""``albumen forget``: takes people, photos or everything out of a library for good."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.export_originals import retire_sidecar
from transforms import storage
from transforms.export_list import EXPORT_MARKER, made_files, remove_export
from transforms.export_records import EVALUATION, ExportRecord, drop_record, export_records
from transforms.forgetting import PENDING, Removal, Removed, everything, finish, forget
from transforms.lease import Lease
from transforms.library import Library, LibraryError
from transforms.report_folder import MARKER as REPORT_MARKER
from transforms.tables import (
    BOX,
    FACE_ID,
    NAME,
    PATH,
    PATH_BYTES,
    PERSON_ID,
    PHOTO_ID,
    ROOT,
    SUCCESSOR_ID,
    matrix,
)
from transforms.tombstones import Tombstone, Tombstones


def forget_command(
    library: Library, *, people: Sequence[str] = (), photos: Sequence[str] = (), all_of_it: bool = False
) -> Removed:
    """Forgets people (names or ids), photos (paths or ids), or everything; first of all it ends a
    removal that was interrupted.

    Raises LibraryError for what the library does not hold; then nothing is removed.
    """
    with Lease(library.path):
        ended = finish(library, clear_exports=clear_exports)
        if all_of_it:
            return forget(library, everything(), clear_exports=clear_exports)
        if ended is not None and not _holds(library, people, photos):
            return ended  # the same command once more
        removal = _removal(library, people, photos)
        return forget(library, removal, clear_exports=clear_exports)


def finish_forgetting(library: Library) -> None:
    """Ends a removal that was interrupted, and sees to it that nothing forgotten is indexed.

    The caller holds the lease. Raises LibraryError where everything was forgotten.
    """
    finish(library, clear_exports=clear_exports)
    if Tombstones.of(library).everything:
        raise LibraryError(
            f"everything in {library.path} was forgotten, and it takes nothing in any more: "
            "give another folder for a new library, and remove this one"
        )


def clear_exports(library: Library) -> list[str]:
    """Removes what was exported from the library, wherever it lies; what had to be left."""
    left: list[str] = []
    for record in export_records(library):
        rest = _clear(record)
        left += rest
        if not rest:
            drop_record(library, record)
    return left


def _clear(record: ExportRecord) -> list[str]:
    folder = record.folder
    if not os.path.isdir(folder):
        # A folder that is gone is gone; a drive that is not there may come back.
        above = os.path.dirname(folder)
        return [] if os.path.isdir(above) else [f"{folder} (not there now: is its drive mounted?)"]
    if os.path.exists(os.path.join(folder, REPORT_MARKER)):
        storage.remove_folder(folder)
        return []
    if not os.path.exists(os.path.join(folder, EXPORT_MARKER)):
        if record.kind == EVALUATION:
            return []  # numbers and plots alone
        return [] if not os.listdir(folder) else [f"{folder} (is no export any more)"]
    if record.base != folder:
        for made in made_files(folder):
            retire_sidecar(os.path.join(record.base, *made.name.split("/")))
        storage.remove_folder(folder)
        return []
    return [os.path.join(folder, name) for name in remove_export(folder)]


def _holds(library: Library, people: Sequence[str], photos: Sequence[str]) -> bool:
    try:
        _removal(library, people, photos)
    except LibraryError:
        return False
    return True


def _removal(library: Library, people: Sequence[str], photos: Sequence[str]) -> Removal:
    faces, ids, names = _faces_of_people(library, people)
    photo_ids, paths = _photos(library, photos)
    table = library.read_photos([PHOTO_ID, ROOT, PATH, PATH_BYTES])
    present = set(table[PHOTO_ID].to_pylist())
    boxes = _boxes(library, faces, photo_ids)
    paths |= _places_of_faces(library, boxes.keys() - _of_photos(boxes, photo_ids), table)
    before = _predecessors(library, boxes.keys())
    photo_ids |= {_photo(f) for f, heir in before.items() if _photo(heir) in photo_ids} - present
    places: dict[str, list[tuple[str, bytes]]] = {}
    for photo, root, path in zip(*(table[c].to_pylist() for c in (PHOTO_ID, ROOT, PATH_BYTES)), strict=True):
        places.setdefault(photo, []).append((root, path))
    stones = []
    for photo in sorted(photo_ids):
        stones += [Tombstone(photo, root, path, None) for root, path in places.get(photo, [("", b"")])]
    # A file that was written anew has another content: the old one must not come back either.
    for face, heir in sorted({**{f: f for f in faces}, **before}.items()):
        if _photo(heir) not in photo_ids:
            at = places.get(_photo(heir), [])
            stones += [Tombstone(_photo(face), root, path, boxes[heir]) for root, path in at]
    return Removal(
        frozenset(boxes.keys() | before.keys()),
        frozenset(photo_ids),
        frozenset(ids),
        frozenset(names),
        frozenset(paths),
        tuple(stones),
    )


def _photo(face: str) -> str:
    return face.partition(":")[0]


def _of_photos(faces: Iterable[str], photos: set[str]) -> set[str]:
    return {face for face in faces if _photo(face) in photos}


def _predecessors(library: Library, faces: Collection[str]) -> dict[str, str]:
    """Faces of older contents of files, and which of `faces` each has become."""
    table = library.read_successors()
    older: dict[str, list[str]] = {}
    for face, heir in zip(table[FACE_ID].to_pylist(), table[SUCCESSOR_ID].to_pylist(), strict=True):
        older.setdefault(heir, []).append(face)
    found: dict[str, str] = {}
    waiting = [(face, face) for face in faces]
    while waiting:
        face, heir = waiting.pop()
        for one in older.get(face, ()):
            if one not in found and one not in faces:
                found[one] = heir
                waiting.append((one, heir))
    return found


def _places_of_faces(library: Library, faces: Collection[str], photos: pa.Table) -> set[str]:
    """What a correction may call these faces: path and number from the left, as `References` reads them."""
    wanted = pa.array(sorted({_photo(face) for face in faces}), pa.string())
    found: dict[str, list[tuple[float, str]]] = {}
    for table in library.iter_faces([FACE_ID, PHOTO_ID, BOX]):
        table = table.filter(pc.is_in(table[PHOTO_ID], value_set=wanted))
        if len(table):
            left = matrix(table[BOX])[:, 0].tolist()
            for photo, x, face in zip(
                table[PHOTO_ID].to_pylist(), left, table[FACE_ID].to_pylist(), strict=True
            ):
                found.setdefault(photo, []).append((x, face))
    said: set[str] = set()
    rows = photos.filter(pc.is_in(photos[PHOTO_ID], value_set=wanted))
    for photo, root, path in zip(*(rows[c].to_pylist() for c in (PHOTO_ID, ROOT, PATH)), strict=True):
        ordered = [face for _, face in sorted(found.get(photo, []))]
        for name in _names_of(library, root, path):
            said |= {f"{name}#{k}" for k, face in enumerate(ordered, start=1) if face in faces}
            said |= {name} if len(ordered) == 1 else set()
    return said


def _names_of(library: Library, root: str, path: str) -> list[str]:
    location = library.info().roots.get(root, "")
    return [path, f"{root}/{path}", storage.join(location, path)]


def _faces_of_people(library: Library, wanted: Sequence[str]) -> tuple[set[str], set[str], set[str]]:
    """(faces, ids, names) of the people who are meant."""
    if not wanted:
        return set(), set(), set()
    revision = library.current_revision()
    if revision is None:
        raise LibraryError(f"{library.path} has not been grouped, so it knows no people")
    people = library.read_people(revision)
    name_of = dict(zip(people[PERSON_ID].to_pylist(), people[NAME].to_pylist(), strict=True))
    ids: set[str] = set()
    for one in wanted:
        found = {one} if one in name_of else {i for i, name in name_of.items() if name == one}
        if not found:
            raise LibraryError(f"nobody in {library.path} has the id or name {one!r}")
        if len(found) > 1:
            raise LibraryError(
                f"{len(found)} people are called {one!r}: give ids, {', '.join(sorted(found))}"
            )
        ids |= found
    names = {n for i in ids if (n := name_of[i]) is not None}
    names -= {name for i, name in name_of.items() if i not in ids}
    table = library.read_assignments(revision)
    mine = pc.is_in(table[PERSON_ID], value_set=pa.array(sorted(ids)))
    return set(table.filter(mine)[FACE_ID].to_pylist()), ids, names


def _photos(library: Library, wanted: Sequence[str]) -> tuple[set[str], set[str]]:
    """(photo ids, printable paths) of the photos that are meant: by id, path in the archive, or path on
    disk."""
    if not wanted:
        return set(), set()
    table = library.read_photos([PHOTO_ID, ROOT, PATH, PATH_BYTES])
    locations = library.info().roots
    ids: set[str] = set()
    rows = list(zip(*(c.to_pylist() for c in table.columns), strict=True))
    for one in wanted:
        absolute = os.fsencode(os.path.abspath(one))
        found = {
            photo
            for photo, root, path, exact in rows
            if photo is not None
            and (
                one in (photo, path)
                or os.fsencode(one) == exact
                or os.path.join(os.fsencode(locations.get(root, "")), exact) == absolute
            )
        }
        if not found:
            raise LibraryError(f"{library.path} knows no photo {one!r}: give its path as the report shows it")
        ids |= found
    return ids, {
        name for photo, root, path, _ in rows if photo in ids for name in _names_of(library, root, path)
    }


def _boxes(
    library: Library, faces: set[str], photos: set[str]
) -> dict[str, tuple[float, float, float, float]]:
    """The boxes of some faces, and of all faces of some photos."""
    wanted, of, found = pa.array(sorted(faces), pa.string()), pa.array(sorted(photos), pa.string()), {}
    for table in library.iter_stored_faces([FACE_ID, PHOTO_ID, BOX]):
        either = pc.or_(pc.is_in(table[FACE_ID], value_set=wanted), pc.is_in(table[PHOTO_ID], value_set=of))
        table = table.filter(either)
        for face, box in zip(table[FACE_ID].to_pylist(), matrix(table[BOX]).tolist(), strict=True):
            found[face] = (box[0], box[1], box[2], box[3])
    return found


__all__ = ["PENDING", "clear_exports", "finish_forgetting", "forget_command"]
