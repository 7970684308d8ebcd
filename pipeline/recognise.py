"""``albumen recognise``: names the faces of photographs by a gallery, a folder for each known person."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.faces_to_group import calibration
from pipeline.known_people import photo_paths
from pipeline.labelled import Workplace, labelled_faces, opened_library
from pipeline.options import UsageError
from pipeline.photo_faces import PhotoReader
from transforms import storage
from transforms.export_list import write_listed
from transforms.grouping import DEFAULT
from transforms.library import Library
from transforms.recogniser import (
    NEAREST,
    UNKNOWN,
    CrossValidation,
    Gallery,
    cross_validate,
    fit_confidence,
)
from transforms.records import printable
from transforms.tables import BOX, EMBEDDING, FACE_ID, matrix
from transforms.verification import centred

GALLERY_FILE, NAMES_FILE = "gallery.npz", "recognised.csv"
_COLUMNS = ("photo", "face", "x0", "y0", "x1", "y1", "person", "most_like", "similarity", "confidence")


@dataclass(frozen=True)
class AskedFaces:
    """Faces to be named: path of the photo and number in it, box float32[n, 4], vectors float32[n, d]."""

    paths: list[str]
    numbers: list[int]
    boxes: np.ndarray
    vectors: np.ndarray


def recognise(
    gallery_path: str,
    photos: str,
    work: Workplace,
    *,
    classifier: str = NEAREST,
    neighbours: int = 5,
    threshold: float | None = None,
) -> tuple[list[str], dict[str, object]]:
    """Names every face in `photos`, a photo, a folder or an indexed library, into ``OUT/recognised.csv``.

    `gallery_path` is a folder for each person, a library of one, or a ``gallery.npz`` from before. Raises
    UsageError, LibraryError and what indexing raises.
    """
    if os.path.isfile(gallery_path):
        gallery, lines = read_gallery(gallery_path), list[str]()
        if threshold is not None:
            gallery = replace(gallery, threshold=threshold, slope=0.0)
    else:
        gallery, lines = made_gallery(
            gallery_path, work, classifier=classifier, neighbours=neighbours, threshold=threshold
        )
    asked = _asked(photos, work, gallery)
    checked = cross_validate(gallery)
    known = gallery.for_faces(asked.count)
    lines += [
        f"{len(gallery.names):,} people with {len(gallery.person):,} faces; {gallery.classifier}, accepted "
        f"from a similarity of {known.threshold:.3f}",
        f"cross-validated at {gallery.threshold:.3f}: {told(checked)}",
    ]
    total = named = 0
    rows = []
    for part in asked.parts:
        found, similarity, most_like = known.recognise(centred(part.vectors, gallery.centre))
        total, named = total + len(found), named + int((found != UNKNOWN).sum())
        rows += _rows(part, known, found, similarity, most_like)
    path = storage.join(work.out, NAMES_FILE)
    write_listed(work.out, NAMES_FILE, _csv(rows))
    lines.append(f"{total:,} faces: {named:,} named, {total - named:,} unknown. Written to {path}")
    facts = {
        "faces": total,
        "named": named,
        "threshold": known.threshold,
        "cross_validation": asdict(checked),
        "file": path,
    }
    return lines, facts


def told(checked: CrossValidation) -> str:
    """The cross-validation in words; what nobody could be asked about is said to be unknown."""
    known = "nothing of known people, since each has one face only"
    if checked.asked:
        known = (
            f"of {checked.asked:,} faces of known people {100 * checked.right:.1f} % named rightly, "
            f"{100 * checked.wrong:.1f} % wrongly, {100 * checked.unknown:.1f} % called unknown"
        )
    strangers = "nothing of strangers, since the gallery has one person only"
    if checked.strangers:
        strangers = (
            f"of {checked.strangers:,} faces of people held out as strangers {100 * checked.accepted:.1f} % "
            "taken for somebody"
        )
    return f"{known}; {strangers}"


def made_gallery(
    source: str, work: Workplace, *, classifier: str, neighbours: int, threshold: float | None
) -> tuple[Gallery, list[str]]:
    """The gallery of a folder or library of labelled people, stored as ``OUT/gallery.npz``."""
    library = opened_library(source, work, name="gallery")
    faces = labelled_faces(library)
    known = calibration(library, faces.vectors)
    gallery = Gallery(
        names=[printable(os.fsencode(name)) for name in faces.names],
        vectors=centred(faces.vectors, known.centre),
        person=faces.person,
        threshold=threshold if threshold is not None else known.thresholds[DEFAULT].at(len(faces)),
        centre=known.centre,
        fingerprint=str(library.info().fingerprint),
        classifier=classifier,
        neighbours=neighbours,
        slope=known.thresholds[DEFAULT].slope if threshold is None else 0.0,
        cohort=known.cohort,
    ).trained()
    path = storage.join(work.out, GALLERY_FILE)
    write_listed(work.out, GALLERY_FILE, gallery.to_bytes())
    lines = [f"{faces.counted}. Stored in {path}"]
    if faces.missing:
        lines.append(
            f"{len(faces.missing):,} photos are left out: no face, or several and none in the middle, "
            f"{faces.missing[0].photo!r} the first"
        )
    return gallery, lines


def read_gallery(path: str) -> Gallery:
    """A stored gallery. Raises UsageError that names the file."""
    try:
        return Gallery.from_bytes(Path(path).read_bytes())
    except ValueError as error:
        raise UsageError(
            f"{path} is not a stored gallery ({error}): give a folder for each person"
        ) from error


@dataclass(frozen=True)
class _Asked:
    """How many faces there are, and they themselves, some at a time."""

    count: int
    parts: Iterable[AskedFaces]


def _asked(photos: str, work: Workplace, gallery: Gallery) -> _Asked:
    if os.path.isfile(photos):
        faces = _of_one_photo(photos, work, gallery)
        return _Asked(len(faces.paths), [faces])
    library = opened_library(photos, work, name="photos")
    _check_fingerprint(str(library.info().fingerprint), gallery)
    return _Asked(len(library.read_faces([FACE_ID])), _of_library(library))


def _of_one_photo(path: str, work: Workplace, gallery: Gallery) -> AskedFaces:
    from models.embedder import fingerprint

    reader = PhotoReader.default(work.embedder)
    found = reader.read(path)
    _check_fingerprint(fingerprint(reader.detector.describe(), reader.spec.describe()), gallery)
    boxes = np.array([face.box for face in found.faces], np.float32).reshape(-1, 4)
    return AskedFaces([found.name] * len(boxes), list(range(len(boxes))), boxes, found.vectors)


def _check_fingerprint(fingerprint: str, gallery: Gallery) -> None:
    if fingerprint != gallery.fingerprint:
        raise UsageError(
            f"the gallery's faces were embedded as {gallery.fingerprint}, those of the photos as "
            f"{fingerprint}: vectors of two kinds can't be compared. Give --embedder, or index one of them "
            "anew"
        )


def _of_library(library: Library) -> Iterator[AskedFaces]:
    for faces in library.iter_faces([FACE_ID, BOX, EMBEDDING]):
        if len(faces):
            ids = faces[FACE_ID].to_pylist()
            paths = photo_paths(library, ids)
            yield AskedFaces(
                paths=[paths.get(face, "") for face in ids],
                numbers=[int(face.rpartition(":")[2]) for face in ids],
                boxes=matrix(faces[BOX]),
                vectors=matrix(faces[EMBEDDING]),
            )


def _rows(
    asked: AskedFaces, gallery: Gallery, found: np.ndarray, similarity: np.ndarray, most_like: np.ndarray
) -> list[tuple]:
    rows = []
    for k, person in enumerate(found.tolist()):
        box = [round(float(v), 1) for v in asked.boxes[k]]
        name = gallery.names[person] if person != UNKNOWN else ""
        sure = fit_confidence(float(similarity[k]), gallery.threshold)
        likest = gallery.names[int(most_like[k])]
        rows.append(
            (asked.paths[k], asked.numbers[k], *box, name, likest, f"{similarity[k]:.4f}", f"{sure:.3f}")
        )
    return rows


def _csv(rows: list[tuple]) -> bytes:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in sorted(rows, key=lambda r: r[:2]):
        writer.writerow([_harmless(v) for v in row])
    return file.getvalue().encode("utf-8", "backslashreplace")


def _harmless(value: object) -> object:
    """Text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "@", "\t") else value
