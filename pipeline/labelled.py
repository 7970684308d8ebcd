"""Labelled photographs with the faces that were found in them: what the experiments measure.

An experiment is given a folder or a library that is indexed already. A folder is indexed first, into the
folder for results, where a next run finds it again; a library is read as it is and never written to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.embedder import FACENET_CASIA, ONNX_PREFIX, EmbedderSpec, embedder_spec
from pipeline.options import IndexOptions, UsageError
from transforms import storage
from transforms.archive import LIBRARY_INFO
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
    """The library `source`, or the folder `source` indexed into ``OUT/<name>``; only what is missing is done.

    Raises UsageError, LibraryError, ArchiveError and what else indexing raises.
    """
    if is_library(source):
        library = Library.open(source)
        if work.embedder is not None:
            spec_of(library, work.embedder)
        return library
    from pipeline.index import index

    path = storage.join(work.out, name)
    with Lease(path) as lease:
        library = Library.create(path)
        options = IndexOptions(embedder=work.embedder or FACENET_CASIA)
        done = index(library, lease, source, options, quiet=work.quiet)
        if not done.listed:
            raise UsageError(f"{source} holds no files: give a folder of photographs, or an indexed library")
    return library


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


def labelled_faces(library: Library, labels_file: str | None = None) -> LabelledFaces:
    """The labelled faces of a library: by a CSV file, else by the folder that each photo lies in.

    The labelled face covers the label's point; without one it is the photo's only face, or the one that
    covers the photo's centre. Raises LibraryError without any, UsageError for a file that is none.
    """
    photos = library.read_photos([ROOT, PATH_BYTES, PHOTO_ID, WIDTH, HEIGHT, STATUS])
    photos = photos.filter(pc.is_in(photos[STATUS], value_set=pa.array([OK, NO_FACE, ERROR])))
    paths = [os.fsdecode(p) for p in photos[PATH_BYTES].to_pylist()]
    row_of = {path: row for row, path in enumerate(paths)}
    if len(row_of) < len(paths):
        raise UsageError(
            f"{library.path} holds photos of several archives under one path: index one of them alone"
        )
    labels = folder_labels(paths) if labels_file is None else labels_from(labels_file)
    unknown = [label.photo for label in labels if label.photo not in row_of]
    if unknown:
        raise UsageError(
            f"{labels_file} names {len(unknown):,} photos that {library.path} does not hold, {unknown[0]!r} "
            "the first: paths are relative to the folder indexed"
        )
    faces = library.read_faces([FACE_ID, PHOTO_ID, BOX, LANDMARKS, SHARPNESS, YAW, EMBEDDING])
    boxes = matrix(faces[BOX]) if len(faces) else np.zeros((0, 4), np.float32)
    rows_of: dict[str, list[int]] = {}
    for row, photo in enumerate(faces[PHOTO_ID].to_pylist()):
        rows_of.setdefault(photo, []).append(row)
    ids, roots, raw = (photos[c].to_pylist() for c in (PHOTO_ID, ROOT, PATH_BYTES))
    extent = np.stack([photos[c].fill_null(0).to_numpy() for c in (WIDTH, HEIGHT)], axis=1)
    chosen = [_face_of(label, boxes, rows_of.get(ids[row_of[label.photo]], []), extent[row_of[label.photo]])
              for label in labels]  # fmt: skip
    if not any(face >= 0 for face in chosen):
        raise LibraryError(
            f"{library.path} holds no labelled face: expected a folder for each person, or labels"
        )
    # A copy of a photo says nothing new: one face counts once for a person.
    known = {(face, label.person): label for label, face in reversed(list(zip(labels, chosen, strict=True)))}
    found = [(label, face) for label, face in zip(labels, chosen, strict=True)
             if face >= 0 and known[face, label.person] is label]  # fmt: skip
    rows = np.array([face for _, face in found])
    names, person = np.unique([label.person for label, _ in found], return_inverse=True)
    face_ids = faces[FACE_ID].to_pylist()
    photo_rows = [row_of[label.photo] for label, _ in found]
    return LabelledFaces(
        library=library,
        names=names.tolist(),
        person=person.astype(np.int64),
        labels=[label for label, _ in found],
        files=[(roots[r], raw[r]) for r in photo_rows],
        face_ids=[face_ids[r] for r in rows],
        vectors=matrix(faces[EMBEDDING])[rows],
        boxes=boxes[rows],
        landmarks=matrix(faces[LANDMARKS])[rows].reshape(-1, 5, 2),
        sharpness=faces[SHARPNESS].to_numpy()[rows],
        yaw=faces[YAW].to_numpy()[rows],
        missing=[label for label, face in zip(labels, chosen, strict=True) if face < 0],
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
