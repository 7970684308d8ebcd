"""Labelled photographs with the faces that were found in them: what the experiments measure.

An experiment is given a folder or a library that is indexed already. A folder is indexed first, into the
folder for results, where a next run finds it again; a library is read as it is, and only told where its
faces have gone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.embedder import FACENET_CASIA, ONNX_PREFIX, EmbedderSpec, embedder_spec
from pipeline.options import IndexOptions, UsageError
from transforms import storage
from transforms.archive import LIBRARY_INFO
from transforms.export_records import EVALUATION, record_export
from transforms.labels import Label, face_at, folder_labels, read_labels
from transforms.lease import Lease
from transforms.library import Library, LibraryError
from transforms.records import ERROR, NO_FACE, OK
from transforms.tables import (
    BOX,
    EMBEDDING,
    FACE_ID,
    HEIGHT,
    LANDMARKS,
    PATH_BYTES,
    PHOTO_ID,
    ROOT,
    SHARPNESS,
    STATUS,
    WIDTH,
    YAW,
    matrix,
)
from transforms.verification import has_pairs


@dataclass(frozen=True)
class Workplace:
    """Where an experiment writes, the embedder asked for (None: the library's, or the default), and the
    command line as its page shows it."""

    out: str
    command: str
    embedder: str | None = None
    quiet: bool = False


@dataclass(frozen=True)
class LabelledFaces:
    """The labelled faces that were found, n of them, in order of root and path; and what was not found.

    `names` of the people; `person` int64[n], numbers into it; `files`: (root, exact path) of each face's
    photo; `vectors` float32[n, d] as stored; `boxes` float32[n, 4] and `landmarks` float32[n, 5, 2] in
    upright pixels; `sharpness` and `yaw` float32[n]; `labels` as given; `missing`: labelled photos without
    the face.
    """

    library: Library
    names: list[str]
    person: np.ndarray
    labels: list[Label]
    files: list[tuple[str, bytes]]
    face_ids: list[str]
    vectors: np.ndarray
    boxes: np.ndarray
    landmarks: np.ndarray
    sharpness: np.ndarray
    yaw: np.ndarray
    missing: list[Label]

    def __len__(self) -> int:
        return len(self.person)

    def select(self, rows: np.ndarray) -> LabelledFaces:
        """Some of the faces, int[m] or bool[n]."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(
            self,
            person=self.person[rows],
            labels=[self.labels[r] for r in rows],
            files=[self.files[r] for r in rows],
            face_ids=[self.face_ids[r] for r in rows],
            vectors=self.vectors[rows],
            boxes=self.boxes[rows],
            landmarks=self.landmarks[rows],
            sharpness=self.sharpness[rows],
            yaw=self.yaw[rows],
        )

    @property
    def counted(self) -> str:
        """How many faces of how many people, for a page."""
        people = len(np.unique(self.person))
        photos = len(self) + len(self.missing)
        return f"{photos:,} labelled photos, {len(self):,} with the labelled face found, {people:,} people"


def is_library(path: str) -> bool:
    """Whether there is a library at `path`."""
    return storage.exists(storage.join(path, LIBRARY_INFO.decode()))


def opened_library(source: str, work: Workplace, *, name: str = "library") -> Library:
    """The library `source`, or the folder `source` indexed into ``OUT/<name>``; only what is missing is done,
    and what has gone from the folder goes from the library.

    Raises UsageError, LibraryError, ArchiveError and what else indexing raises.
    """
    if is_library(source):
        library = Library.open(source)
        if work.embedder is not None:
            spec_of(library, work.embedder)
        note_results(library, work)
        return library
    from pipeline.index import index

    path = _own_library(source, work, name)
    with Lease(path) as lease:
        library = Library.create(path)
        # Photos that were moved to another person's folder would be of both.
        options = IndexOptions(embedder=work.embedder or FACENET_CASIA, prune=True, yes=True)
        done = index(library, lease, source, options, quiet=work.quiet)
        if not done.listed:
            raise UsageError(f"{source} holds no files: give a folder of photographs, or an indexed library")
    note_results(library, work)
    return library


def _own_library(source: str, work: Workplace, name: str) -> str:
    """Where the folder `source` is indexed: ``OUT/<name>``, or ``OUT/<name>-2`` and so on where those before
    are of other folders, whose people must not be mixed with these."""
    location = storage.absolute(source)
    for number in count(1):
        path = storage.join(work.out, name if number == 1 else f"{name}-{number}")
        if not is_library(path) or {location} >= set(Library.open(path).info().roots.values()):
            return path
    raise AssertionError("numbers do not end")


def note_results(library: Library, work: Workplace) -> None:
    """Notes in the library where its faces are about to go, so that they can be forgotten there too."""
    if storage.is_url(work.out):
        return
    try:
        record_export(library, kind=EVALUATION, folder=work.out)
    except storage.WriteFailed:
        pass  # whoever may only read a library can't make it forget either


def embedder_name(library: Library) -> str:
    """What the library's embedder is called."""
    described = (library.info().settings or {}).get("embedder")
    return str(described.get("name")) if isinstance(described, dict) else ""


def spec_of(library: Library, embedder: str | None = None) -> EmbedderSpec:
    """The embedder with which a library was indexed.

    `embedder` names it where the library can't: an ONNX file has no name of its own there. Raises
    UsageError where they differ.
    """
    settings = library.info().settings or {}
    described = settings.get("embedder")
    if not isinstance(described, dict):
        raise LibraryError(f"{library.path} is not indexed yet: albumen index ARCHIVE {library.path}")
    name = embedder or str(described["name"])
    if name == ONNX_PREFIX.rstrip(":"):
        raise UsageError(f"{library.path} was indexed with an ONNX model: name it with --embedder onnx:FILE")
    spec = embedder_spec(name, mirror=bool(described["mirror"]))
    if spec.describe() != described:
        raise UsageError(
            f"{library.path} was indexed with another embedder ({described['name']}, weights "
            f"{str(described['weights'])[:12]}) than {name}: give that one with --embedder, or another --out"
        )
    return spec


@dataclass(frozen=True)
class LabelledPhotos:
    """The labelled photos of a library, n of them, in order of root and path or as a file of labels has them.

    `names` of the people; `people` int64[n], numbers into it; `files`: (root, exact path) of each photo;
    `face` int64[n]: the row of its labelled face in `faces`, the library's faces in order of face_id, -1
    where that was not found.
    """

    labels: list[Label]
    names: list[str]
    people: np.ndarray
    files: list[tuple[str, bytes]]
    face: np.ndarray
    faces: pa.Table

    @cached_property
    def paths(self) -> list[str]:
        """The photos' paths below their root."""
        return [label.photo for label in self.labels]

    @cached_property
    def face_ids(self) -> list[str]:
        """The ids of all faces of the library."""
        return self.faces[FACE_ID].to_pylist()

    @cached_property
    def embeddings(self) -> np.ndarray:
        """float32[m, d]: the vectors of all faces of the library, where they were asked for."""
        return matrix(self.faces[EMBEDDING])


def labelled_photos(
    library: Library, labels_file: str | None = None, *, embeddings: bool = False, columns: Sequence[str] = ()
) -> LabelledPhotos:
    """The photos of a library with their labelled faces: by a CSV file, else by the folder that each lies in.

    The labelled face covers the label's point; without one it is the photo's only face, or the one that
    covers the photo's centre. `columns` of the faces are read beside their ids and boxes. Raises
    LibraryError without labelled photos, UsageError for a file of labels that is none.
    """
    photos = indexed_photos(library)
    paths = [os.fsdecode(p) for p in photos[PATH_BYTES].to_pylist()]
    row_of = {path: row for row, path in enumerate(paths)}
    labels = folder_labels(paths) if labels_file is None else labels_from(labels_file)
    unknown = [label.photo for label in labels if label.photo not in row_of]
    if unknown:
        raise UsageError(
            f"{labels_file} names {len(unknown):,} photos that {library.path} does not hold, {unknown[0]!r} "
            f"the first: paths are relative to {' or '.join(library.info().roots.values()) or 'the folder'}; "
            "index what is missing, or take its lines out"
        )
    if len(row_of) < len(paths) and not _unique(paths).issuperset(label.photo for label in labels):
        raise UsageError(
            f"{library.path} holds photos of several archives under one path: index one of them alone"
        )
    if not labels and labels_file is not None:
        raise UsageError(f"{labels_file} labels no photo: below its first line expected one face a line")
    if not labels:
        raise LibraryError(
            f"{_photographs(library)} lie in no folders: expected a folder for each person, or a file of "
            "labels"
        )
    at = [row_of[label.photo] for label in labels]
    return photos_at(library, photos, labels, at, columns=[*columns, *([EMBEDDING] if embeddings else [])])


def indexed_photos(library: Library) -> pa.Table:
    """The photos of a library in order of root and path, without files that are no photographs."""
    photos = library.read_photos([ROOT, PATH_BYTES, PHOTO_ID, WIDTH, HEIGHT, STATUS])
    return photos.filter(pc.is_in(photos[STATUS], value_set=pa.array([OK, NO_FACE, ERROR])))


def photos_at(
    library: Library, photos: pa.Table, labels: list[Label], at: list[int], *, columns: Sequence[str] = ()
) -> LabelledPhotos:
    """Photos of a library with their labelled faces; the labels are those of the rows `at` of `photos`."""
    wanted = [FACE_ID, PHOTO_ID, BOX, *columns]
    faces = library.read_faces(wanted)
    boxes = matrix(faces[BOX]) if len(faces) else np.zeros((0, 4), np.float32)
    rows_of: dict[str, list[int]] = {}
    for row, photo in enumerate(faces[PHOTO_ID].to_pylist()):
        rows_of.setdefault(photo, []).append(row)
    ids, roots, raw = (photos[c].to_pylist() for c in (PHOTO_ID, ROOT, PATH_BYTES))
    extent = np.stack([photos[c].fill_null(0).to_numpy() for c in (WIDTH, HEIGHT)], axis=1)
    chosen = [
        _face_of(label, boxes, rows_of.get(ids[row], []), extent[row])
        for label, row in zip(labels, at, strict=True)
    ]
    names, people = np.unique([label.person for label in labels], return_inverse=True)
    return LabelledPhotos(
        labels, names.tolist(), people.astype(np.int64), [(roots[r], raw[r]) for r in at],
        np.array(chosen, np.int64), faces,
    )  # fmt: skip


def labelled_faces(library: Library, labels_file: str | None = None) -> LabelledFaces:
    """The labelled faces of a library that were found, each once a person.

    Raises what `labelled_photos` raises, and LibraryError where none was found.
    """
    photos = labelled_photos(
        library, labels_file, embeddings=True, columns=[LANDMARKS, SHARPNESS, YAW]
    )  # fmt: skip
    if not (photos.face >= 0).any():
        raise LibraryError(
            f"{_photographs(library)} show no labelled face that the detector finds: expected a folder for "
            "each person, or a file of labels, with faces in the photographs' middle"
        )
    # A copy of a photo says nothing new: one face counts once for a person.
    pairs = np.stack([photos.face, photos.people], axis=1)
    first = np.zeros(len(pairs), bool)
    first[np.unique(pairs, axis=0, return_index=True)[1]] = True
    at = np.flatnonzero(first & (photos.face >= 0))
    rows, faces = photos.face[at], photos.faces
    names, person = np.unique([photos.labels[i].person for i in at], return_inverse=True)
    return LabelledFaces(
        library=library,
        names=names.tolist(),
        person=person.astype(np.int64),
        labels=[photos.labels[i] for i in at],
        files=[photos.files[i] for i in at],
        face_ids=[photos.face_ids[r] for r in rows],
        vectors=photos.embeddings[rows],
        boxes=matrix(faces[BOX])[rows],
        landmarks=matrix(faces[LANDMARKS])[rows].reshape(-1, 5, 2),
        sharpness=faces[SHARPNESS].to_numpy()[rows],
        yaw=faces[YAW].to_numpy()[rows],
        missing=[label for label, face in zip(photos.labels, photos.face, strict=True) if face < 0],
    )


def _unique(paths: list[str]) -> set[str]:
    return {path for path, count in Counter(paths).items() if count == 1}


def _photographs(library: Library) -> str:
    """What to call a library's photographs for who may have given only their folder."""
    return f"the photographs of {', '.join(library.info().roots.values()) or library.path}"


def require_pairs(person: np.ndarray, source: str, *, of: str = "the labelled faces") -> None:
    """Raises LibraryError, which names `source`, where the faces of `person` int[n] make no pairs of one
    person, or none of two."""
    if not has_pairs(person):
        raise LibraryError(
            f"{source}: {of} are {len(person):,}, their people {len(np.unique(person)):,}; at least two "
            "people are needed, and two photos of one of them"
        )


def labels_from(path: str) -> list[Label]:
    """The labels of a CSV file. Raises UsageError that names the file."""
    try:
        return read_labels(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(
            f"{path}, {error}: expected a CSV file with photo and person, one face a line"
        ) from error


def _face_of(label: Label, boxes: np.ndarray, rows: list[int], extent: np.ndarray) -> int:
    if not rows:
        return -1
    if label.point is None and len(rows) == 1:
        return rows[0]
    k = face_at(boxes[rows], label.point or extent / 2)
    return rows[k] if k >= 0 else -1
