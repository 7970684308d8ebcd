"""A library for tests of exports: a small archive on disk, with people whose names are a nuisance."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from tests.face_library import face_jpeg
from tests.photo_files import STORED, exif_block, picture
from transforms.known_content import content_id
from transforms.library import Library, LibraryInfo
from transforms.records import OK, FaceRow, FileEntry, PhotoRow
from transforms.tables import ASSIGNMENTS_SCHEMA, PEOPLE_SCHEMA

WIDTH, HEIGHT = 96, 64
BOX = (12.0, 8.0, 36.0, 40.0)
DIMENSIONS = 8
ODD_PATHS = (
    b"a&b <c>.jpg",
    b"deep/[x]*?.jpg",
    b"not text \xff.jpg",
    b"=1+1.jpg",
    b"deep/ umlaut \xc3\xa4.JPG",
)


@dataclass
class Exported:
    """`archive` holds the photos; `paths` of person → paths; photo k was taken on day k of 2001."""

    library: Library
    archive: Path
    paths: dict[str, list[bytes]]
    face_ids: dict[bytes, str]


def write_photo(path: Path, *, seed: int, orientation: int = 1) -> bytes:
    """A JPEG whose upright picture is 96 × 64, lying as `orientation` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = picture(WIDTH, HEIGHT)
    image.putpixel((0, 0), (seed % 256, seed // 256, 0))
    stored = image.transpose(STORED[orientation]) if orientation in STORED else image
    buffer = io.BytesIO()
    stored.save(buffer, "JPEG", quality=95, exif=exif_block(orientation=orientation), comment=f"{seed}")
    path.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def make_library(folder: Path) -> Exported:
    """Two people with names, one without, and a face of nobody:

    - ``=Formula "Anna"``: the eight orientations
    - ``Bello / Böse``: the odd paths
    - nameless: two photos, together with Anna; the first lies in the archive twice
    """
    archive = folder / "archive"
    archive.mkdir(parents=True)
    library = Library.create(str(folder / "library"))
    library.save_info(LibraryInfo(roots={"main": str(archive)}))
    library.use_fingerprint("test", {"embedder": {"name": "stand-in"}})
    people = {
        "p-anna": [f"o{o}.jpg".encode() for o in range(1, 9)],
        "p-bello": list(ODD_PATHS),
        "p-none": [b"pair1.jpg", b"pair2.jpg"],
    }
    photos, faces, assigned = [], [], []
    face_ids: dict[bytes, str] = {}
    seed = 0
    for person, paths in people.items():
        for path in paths:
            seed += 1
            orientation = int(path[1:2]) if path.startswith(b"o") else 1
            data = write_photo(archive / Path(path.decode("utf-8", "surrogateescape")), seed=seed,
                               orientation=orientation)  # fmt: skip
            photo = content_id(data)
            photos.append(_photo(path, photo, datetime(2001, 1, seed, 12, 0), len(data)))
            face_ids[path] = f"{photo}:0"
            faces.append(_face(photo, 0, BOX))
            assigned.append((f"{photo}:0", person, 0.5 + 0.01 * seed, "core", "grouping"))
            if person == "p-none":
                faces.append(_face(photo, 1, (50.0, 8.0, 100.0, 40.0)))
                assigned.append((f"{photo}:1", "p-anna", 0.99, "attached", "grouping"))
    copy = (archive / "pair1.jpg").read_bytes()
    (archive / "copy.jpg").write_bytes(copy)
    photos.append(_photo(b"copy.jpg", content_id(copy), datetime(2001, 1, 14, 12, 0), len(copy)))
    lonely = write_photo(archive / "nobody.jpg", seed=99)
    photos.append(_photo(b"nobody.jpg", content_id(lonely), None, len(lonely)))
    faces.append(_face(content_id(lonely), 0, BOX))
    assigned.append((f"{content_id(lonely)}:0", None, 0.0, "ungrouped", "grouping"))
    vectors = np.random.default_rng(1).normal(size=(len(faces), DIMENSIONS)).astype(np.float32)
    library.commit_chunk(
        "chunk", fingerprint="test", photos=photos, faces=faces,
        embeddings=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        thumbs=[face_jpeg(i) for i in range(len(faces))],
    )  # fmt: skip
    named = {"p-anna": '=Formula "Anna"', "p-bello": "Bello / Böse", "p-none": None}
    library.write_revision(
        library.next_revision(),
        assignments=_table(assigned, ASSIGNMENTS_SCHEMA),
        people=_table(
            [(p, n, 1, 1, None, None, face_ids[people[p][0]], False) for p, n in named.items()],
            PEOPLE_SCHEMA,
        ),
        grouping={"method": "default", "seed": 0, "faces_state": library.faces_state()},
    )  # fmt: skip
    return Exported(library, archive, people, face_ids)


def _photo(path: bytes, photo: str, taken: datetime | None, size: int) -> PhotoRow:
    return PhotoRow(FileEntry("main", path, size, 1), OK, None, photo, WIDTH, HEIGHT, "JPEG", taken)


def _face(photo: str, number: int, box: tuple[float, float, float, float]) -> FaceRow:
    points = np.zeros((5, 2), np.float32)
    return FaceRow(f"{photo}:{number}", photo, np.array(box, np.float32), points, 0.99, 24, 0.3, -1.5, 2)


def _table(rows: list[tuple], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)
