"""``albumen import``: names that were given in other programs → corrections."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from pipeline.export_originals import existing_sidecar
from transforms import storage
from transforms.correction_lines import NamedFace, lines_for, with_lines
from transforms.export_cvat import read_cvat
from transforms.export_labelstudio import read_task
from transforms.lease import Lease
from transforms.library import CORRECTIONS, Library, LibraryError
from transforms.orientation import embedded_xmp, read_orientation
from transforms.photo_formats import UnreadablePhoto
from transforms.region import Region
from transforms.region_match import match_regions
from transforms.safe_xml import UnsafeXml, parse
from transforms.selected import SelectedPhoto, Selection, current_grouping
from transforms.selection import Selected
from transforms.xmp_regions import read_regions

_THREADS, _BATCH = 8, 256

Regions = Callable[[SelectedPhoto], list[Region]]
"""What another program has on a photo. Raises OSError, UnsafeXml, UnreadablePhoto."""


@dataclass
class ImportSummary:
    """`photos` had regions with names; of their `named` regions `matched` lie on faces that Albumen
    knows, and came to `corrections` new lines; `problems` (file, reason)."""

    photos: int = 0
    named: int = 0
    matched: int = 0
    people: int = 0
    corrections: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


def import_xmp(library: Library, *, stem: bool = False, embedded: bool = True) -> ImportSummary:
    """Names from sidecars beside the photos, else from the XMP inside the photos."""
    roots = library.info().roots

    def regions(photo: SelectedPhoto) -> list[Region]:
        face = photo.first
        location = roots[face.root]
        found: list[Region] = []
        for source in ("sidecar", "inside"):
            if source == "sidecar":
                original = storage.join(location, os.fsdecode(face.path_bytes))
                data = None if storage.is_url(location) else existing_sidecar(original, stem=stem)
            else:
                data = embedded_xmp(location, face.path_bytes) if embedded and not found else None
            if data is None or b"egion" not in data:
                continue
            orientation = read_orientation(location, face.path_bytes)
            for r in read_regions(parse(data), orientation=orientation):
                # What Albumen wrote itself says nothing new.
                found += [] if r.face_id else [Region(r.name, r.box, relative=True)]
        return found

    return _import(library, regions, note="imported from XMP", copies=True)


def import_labelstudio(library: Library, file: str) -> ImportSummary:
    """Names from a JSON export of Label Studio. Raises LibraryError for what is none."""
    known: dict[str, list[Region]] = {}
    try:
        tasks = json.loads(storage.read_bytes(file))
        for task in tasks:
            photo_id, path, regions = read_task(task)
            known[photo_id or path] = regions
    except (ValueError, TypeError) as error:
        raise LibraryError(f"{file} can't be read ({error}): give Label Studio's export as JSON") from error
    return _import(library, _looked_up(known), note="imported from Label Studio")


def import_cvat(library: Library, file: str) -> ImportSummary:
    """Names from annotations of CVAT, XML 1.1 for images. Raises LibraryError for what is none."""
    try:
        with open(file, "rb") as opened:
            known = dict(read_cvat(opened))
    except UnsafeXml as error:
        raise LibraryError(
            f"{file} can't be read ({error}): give annotations as CVAT for images 1.1"
        ) from error
    return _import(library, _looked_up(known), note="imported from CVAT")


def _looked_up(known: dict[str, list[Region]]) -> Regions:
    """Regions by photo_id, by path (before it the archive's name where there are several), or by path below a
    folder that the other program has added."""
    endings: dict[str, list[str]] = {}
    for name in known:
        parts = name.split("/")
        for start in range(1, len(parts)):
            endings.setdefault("/".join(parts[start:]), []).append(name)

    def regions(photo: SelectedPhoto) -> list[Region]:
        face = photo.first
        place = f"{face.root}/{face.path}"
        for key in (face.photo_id, place, face.path):
            if key in known:
                return known[key]
        longer = endings.get(place, []) or endings.get(face.path, [])
        return known[longer[0]] if len(longer) == 1 else []

    return regions


def _import(library: Library, regions: Regions, *, note: str, copies: bool = False) -> ImportSummary:
    summary, named = ImportSummary(), []
    with Lease(library.path), tempfile.TemporaryDirectory(prefix="albumen-import-") as folder:
        everybody = Selection(ungrouped=True)
        with Selected(library, everybody, folder=folder, grouping=current_grouping(library)) as selected:
            for photo, found in _found(selected.by_photo(copies=copies), regions, summary):
                named += _named(photo, found, summary)
            known = {person.label: person.person_id for person in selected.people}
        # One face may be seen in several copies of its photo.
        unique = {(face.face_id, face.name): face for face in named}
        summary.people = len({face.name for face in named} - {""})
        path = library.file(CORRECTIONS)
        before = storage.read_bytes(path) if storage.exists(path) else b""
        after, summary.corrections = with_lines(before, lines_for(unique.values(), known), note=note)
        if summary.corrections:
            storage.write_bytes(path, after)
    return summary


def _found(
    photos: Iterable[SelectedPhoto], regions: Regions, summary: ImportSummary
) -> Iterator[tuple[SelectedPhoto, list[Region]]]:
    """Photos that have regions, read some at a time: most of the time goes to waiting for the drive."""

    def one(photo: SelectedPhoto) -> list[Region] | Exception:
        try:
            return regions(photo)
        except (OSError, UnsafeXml, UnreadablePhoto) as error:
            return error

    waiting = iter(photos)
    with ThreadPoolExecutor(_THREADS) as pool:
        while batch := list(islice(waiting, _BATCH)):
            for photo, found in zip(batch, pool.map(one, batch), strict=True):
                if isinstance(found, Exception):
                    summary.problems.append((photo.first.path, str(found)))
                elif found:
                    yield photo, found


def _named(photo: SelectedPhoto, found: list[Region], summary: ImportSummary) -> list[NamedFace]:
    with_names = [region for region in found if region.name.strip()]
    summary.photos += bool(with_names)
    summary.named += len(with_names)
    named = []
    for i, j in match_regions(photo.faces, found):
        face, name = photo.faces[i], found[j].name.strip()
        summary.matched += bool(name)
        # What the export called the person says nothing new, and may be no name at all.
        kept = name == face.label
        if name:
            named.append(NamedFace(face.face_id, "" if kept else name, face.person_id, face.name))
    return named
