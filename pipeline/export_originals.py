"""Exports that go back to the photos and faces themselves: folders, contact sheets, sidecars."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from transforms import storage
from transforms.export_contact_sheets import Tile, jpeg, pdfs, sheets
from transforms.export_folder import ExportFolder
from transforms.export_names import photo_name, unique_names
from transforms.export_xmp import FaceRegion, merge
from transforms.library import LibraryError
from transforms.orientation import read_orientation
from transforms.pages import counted
from transforms.photo_formats import UnreadablePhoto
from transforms.safe_xml import UnsafeXml
from transforms.selected import SelectedFace, SelectedPerson
from transforms.selection import Selected
from transforms.tables import JPEG

if TYPE_CHECKING:
    from pipeline.export import _Job

_NOBODY = "nobody"
_SIDECAR = b".xmp"


def write_folders(folder: ExportFolder, selected: Selected, job: _Job) -> list[tuple[str, str]]:
    """A folder a person with the photos that show the person."""
    if any(storage.is_url(location) for location in job.roots.values()):
        raise LibraryError("folders of photos behind a URL can't be made: download the archive first")
    names = _folder_names(selected.people)

    def wanted() -> Iterator[tuple[str, bytes]]:
        for person, faces in groupby(selected.by_person(), key=lambda face: face.person_id):
            shown: dict[str, str] = {}
            for face in faces:
                if face.photo_id in shown:
                    continue
                name = photo_name(face.path_bytes, face.photo_id)
                if name in shown.values():  # 48 bits of two hashes alike
                    name = photo_name(face.path_bytes, face.photo_id[::-1])
                shown[face.photo_id] = name
                yield f"{names[person]}/{name}", os.fsencode(job.original(face))

    return list(folder.place(wanted(), link=job.options.link))


def _folder_names(people: list[SelectedPerson]) -> dict[str | None, str]:
    # Given in order of id, so that a name does not move when another person of that name has more faces.
    labels = sorted((p.person_id, p.label) for p in people)
    named = unique_names([("", _NOBODY), *labels])
    return {person or None: name for person, name in named.items()}


def write_contact_sheets(folder: ExportFolder, selected: Selected, job: _Job) -> list[tuple[str, str]]:
    """Pages of faces, person by person."""
    names = _folder_names(selected.people)
    selected.attach(JPEG, job.library.iter_thumbs())
    labels = {p.person_id: p for p in selected.people}
    kind = "pdf" if job.options.pages == "pdf" else "jpg"
    blank = _Counter()
    for person, faces in groupby(selected.by_person_with(JPEG), key=lambda row: row[0].person_id):
        known = labels.get(person) if person else None
        facts = counted(known.faces, "face", "faces") if known else ""
        pages = sheets(known.label if known else _NOBODY, facts, _tiles(faces, blank))
        files = pdfs(pages) if kind == "pdf" else (jpeg(page) for page in pages)
        for number, data in enumerate(files, start=1):
            folder.write(f"{names[person]}-{number:03d}.{kind}", [data])
    return [("thumbnails", f"{blank.count:,} faces have none: shown blank")] if blank.count else []


@dataclass
class _Counter:
    count: int = 0


def _tiles(faces: Iterable[tuple[SelectedFace, bytes | None]], blank: _Counter) -> Iterator[Tile]:
    for face, thumb in faces:
        blank.count += thumb is None
        yield Tile(thumb, _caption(face))


def _caption(face: SelectedFace) -> str:
    day = face.taken_at.date().isoformat() if face.taken_at else ""
    sure = f"{100 * face.confidence:.0f} %" if face.confidence is not None else ""
    return "  ".join(part for part in (day, sure) if part)


def write_sidecars(folder: ExportFolder, selected: Selected, job: _Job) -> list[tuple[str, str]]:
    """A sidecar for each file that shows somebody, merged with the one beside it."""
    if any(storage.is_url(location) for location in job.roots.values()):
        raise LibraryError("sidecars for photos behind a URL can't be made: download the archive first")

    shared: list[tuple[str, str]] = []

    def wanted() -> Iterator[tuple[str, Callable[[], bytes | None]]]:
        before = None
        for photo in selected.by_photo(copies=True):
            original = job.original(photo.first)
            sidecar = sidecar_path(original, stem=job.options.stem)
            if job.options.beside:
                name = sidecar.lstrip("/")
            else:
                inside = os.path.relpath(sidecar, job.roots[photo.first.root])
                name = f"{photo.first.root}/{inside}"
            # Files that differ in their ending alone stand side by side in the order of paths.
            if name == before:
                shared.append(
                    (photo.first.path, f"shares {os.path.basename(sidecar)} with the file before it")
                )
                continue
            before = name
            yield name, partial(_sidecar, photo.first, photo.faces, original, job)

    failed = list(folder.make(wanted()))
    return [*failed, *shared]


def _sidecar(face: SelectedFace, faces: Sequence[SelectedFace], original: str, job: _Job) -> bytes | None:
    try:
        orientation = read_orientation(job.roots[face.root], face.path_bytes)
    except (OSError, UnreadablePhoto) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise UnsafeXml(f"the photo {original} can't be read ({reason})") from error
    regions = []
    for one in faces:
        x0, y0, x1, y1 = one.inside()
        w, h = face.width, face.height
        regions.append(FaceRegion(one.face_id, one.name, (x0 / w, y0 / h, x1 / w, y1 / h)))
    return merge(
        existing_sidecar(original, stem=job.options.stem), regions,
        size=(face.width, face.height), orientation=orientation,
    )  # fmt: skip


def sidecar_path(original: str, *, stem: bool) -> str:
    """``photo.jpg.xmp``, as digiKam, darktable and Immich have it, or ``photo.xmp`` as Adobe does."""
    return os.fsdecode(
        (os.path.splitext(os.fsencode(original))[0] if stem else os.fsencode(original)) + _SIDECAR
    )


def existing_sidecar(original: str, *, stem: bool) -> bytes | None:
    """What stands in a photo's sidecar; where there is none of that name, in one of the other, which
    the new one would hide from some programs."""
    for kind in (stem, not stem):
        path = sidecar_path(original, stem=kind)
        for candidate in (path, path[:-4] + ".XMP"):
            if os.path.isfile(candidate):
                return storage.read_bytes(candidate)
    return None


def retire_sidecar(path: str) -> None:
    """Takes Albumen's regions and tags out of a sidecar, and removes it where nothing else is in it.

    One that can't be read any more is left alone.
    """
    try:
        data = storage.read_bytes(path)
        rest = merge(data, [], size=(1, 1), orientation=1)
    except (FileNotFoundError, UnsafeXml):
        return
    if rest is None:
        storage.remove(path)
    elif rest != data:
        storage.write_bytes(path, rest)
