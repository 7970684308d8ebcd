"""A library of labelled people whose faces are easy to tell apart, made without any photograph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.face_library import face_jpeg
from transforms.library import Library
from transforms.records import ERROR, OK, FaceRow, FileEntry, PhotoRow

SETTINGS = {"detector": {}, "embedder": {"name": "stand-in"}}
PEOPLE, EACH, DIMENSIONS = 30, 4, 32


def labelled_library(folder: Path, photo_id: Callable[[int, int], str] | None = None) -> Library:
    """30 people with 4 photos each, 100 × 100; in each photo a stranger's face at the border.

    `photo_id` gives the id of a person's photo of that number.
    """
    random = np.random.default_rng(3)
    library = Library.create(str(folder / "library"))
    library.use_fingerprint("stand-in", SETTINGS)
    photos, faces, vectors = [], [], []
    for person in range(PEOPLE):
        middle = random.normal(size=DIMENSIONS)
        for number in range(1, EACH + 1):
            photo = photo_id(person, number) if photo_id else f"{person:028x}{number:04x}"
            path = f"Person_{person}/Person_{person}_{number:04d}.jpg".encode()
            entry = FileEntry("photos", path, 1, 1)
            photos.append(PhotoRow(entry, OK, photo_id=photo, width=100, height=100, format="JPEG"))
            for k, (box, spread) in enumerate((((30, 30, 80, 80), 0.15), ((0, 0, 20, 20), 9.0))):
                vector = middle + spread * random.normal(size=DIMENSIONS)
                vectors.append(vector / np.linalg.norm(vector))
                points = np.array([[40, 45], [60, 45], [50, 55], [42, 65], [58, 65]], np.float32)
                faces.append(
                    FaceRow(f"{photo}:{k}", photo, np.array(box, np.float32), points, 0.99, 50, 0.3, 0, 0)
                )
    photos.append(PhotoRow(FileEntry("photos", b"Person_0/bad.jpg", 1, 1), ERROR, "cut", photo_id="f" * 32,
                           width=100, height=100))  # fmt: skip
    library.commit_chunk(
        "chunk", fingerprint="stand-in", photos=photos, faces=faces,
        embeddings=np.array(vectors, np.float32), thumbs=[face_jpeg(i) for i in range(len(faces))],
    )  # fmt: skip
    return library


def pairs_file(folder: Path) -> str:
    lines = ["2\t10"]
    for fold in range(2):
        lines += [f"Person_{fold * 10 + i}\t1\t2" for i in range(10)]
        lines += [f"Person_{fold * 10 + i}\t1\tPerson_{fold * 10 + i + 1}\t3" for i in range(10)]
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    return str(folder / "pairs.txt")
