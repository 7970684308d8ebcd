"""A small library of made-up people that grows, loses photos and is edited, for tests of what lasts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.group import group_library
from transforms.compaction import tidy
from transforms.library import Library, LibraryInfo
from transforms.records import OK, FaceRow, FileEntry, PhotoRow
from transforms.successors import record_successors
from transforms.tables import FACE_ID, PATH_BYTES, PERSON_ID, ROOT

ROOT_NAME, FINGERPRINT, DIMENSIONS, PEOPLE = "photos", "stand-in", 32, 8


def photo_id(path: str, version: int) -> str:
    return hashlib.blake2b(f"{path} {version}".encode(), digest_size=16).hexdigest()


@dataclass
class GrownLibrary:
    """`photos` maps a path to its version and who is in it, from left to right."""

    path: Path
    noise: float = 0.2
    thumbs: bool = False
    photos: dict[str, tuple[int, list[int]]] = field(default_factory=dict)
    library: Library = field(init=False)
    runs: int = 0

    def __post_init__(self) -> None:
        self.library = Library.create(str(self.path))
        self.library.save_info(LibraryInfo(roots={ROOT_NAME: "/archive"}))
        self.library.use_fingerprint(FINGERPRINT, {"embedder": {"name": "stand-in"}})

    def add(self, *who: list[int]) -> list[str]:
        """Indexes photos of these people; returns the paths."""
        paths = [f"album/{len(self.photos) + i:04d}.jpg" for i in range(len(who))]
        for path, people in zip(paths, who, strict=True):
            self.photos[path] = (0, people)
        self._commit(paths)
        return paths

    def edit(self, *paths: str) -> None:
        """Changes the metadata of photos: other content, the same picture."""
        for path in paths:
            version, people = self.photos[path]
            self.photos[path] = (version + 1, people)
        self._commit(list(paths))

    def remove(self, path: str) -> None:
        """Forgets a photo, as ``--prune`` does."""
        del self.photos[path]
        self._tidy(pa.table({ROOT: [ROOT_NAME], PATH_BYTES: [path.encode()]}))

    def face(self, path: str, place: int = 0) -> str:
        """The id of the face at a place from the left."""
        return f"{photo_id(path, self.photos[path][0])}:{place}"

    def _commit(self, paths: list[str]) -> None:
        photos, faces, vectors = [], [], []
        for path in paths:
            version, people = self.photos[path]
            content = photo_id(path, version)
            entry = FileEntry(ROOT_NAME, path.encode(), 1, version + 1)
            photos.append(PhotoRow(entry, OK, None, content, 1000, 100, "JPEG", None))
            for k, person in enumerate(people):
                box = np.array([100 * k, 0, 100 * k + 80, 80], np.float32)
                points = np.zeros((5, 2), np.float32)
                faces.append(FaceRow(f"{content}:{k}", content, box, points, 0.99, 80.0, 0.5, 0.0, 0.0))
                vectors.append(self._vector(path, k, person))
        self.runs += 1
        self.library.commit_chunk(
            f"chunk{self.runs:04d}", fingerprint=FINGERPRINT, photos=photos, faces=faces,
            embeddings=np.array(vectors, np.float32).reshape(-1, DIMENSIONS),
            thumbs=[f"a picture of {f.face_id}".encode() for f in faces] if self.thumbs else [],
        )  # fmt: skip
        self._tidy(None)

    def _tidy(self, forget: pa.Table | None) -> None:
        record_successors(self.library, f"run{self.runs:04d}")
        tidy(self.library, run=f"run{self.runs:04d}", forget=forget)

    def _vector(self, path: str, place: int, person: int) -> np.ndarray:
        middle = np.random.default_rng(person).normal(size=DIMENSIONS)
        own = np.random.default_rng([int(path[6:10]), place]).normal(size=DIMENSIONS)
        vector = middle + self.noise * 2 * own
        return vector / np.linalg.norm(vector)


def six_people(folder: Path) -> GrownLibrary:
    """Six people, ten photos each, all groupable, and grouped."""
    made = GrownLibrary(folder)
    made.add(*[[i % 6] for i in range(60)])
    regroup(made)
    return made


def assigned(library: Library) -> dict[str, str | None]:
    revision = library.current_revision()
    assert revision is not None
    table = library.read_assignments(revision)
    faces = table[FACE_ID].to_pylist()
    assert len(faces) == len(set(faces)), "a face stands in two places"
    return dict(zip(faces, table[PERSON_ID].to_pylist(), strict=True))


def people(library: Library) -> dict[str, dict]:
    revision = library.current_revision()
    assert revision is not None
    return {row[PERSON_ID]: row for row in library.read_people(revision).to_pylist()}


def person_of(grown: GrownLibrary, number: int) -> str:
    """The person of the photo with this number."""
    found = assigned(grown.library)[grown.face(f"album/{number:04d}.jpg")]
    assert found is not None
    return found


def regroup(grown: GrownLibrary, method: str = "default"):
    return group_library(grown.library, method=method, seed=0)
