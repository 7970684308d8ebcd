"""Small libraries of people for tests of what comes after grouping, and a reader of HTML pages."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from transforms.library import Library, LibraryInfo
from transforms.records import OK, FaceRow, FileEntry, PhotoRow
from transforms.tables import ASSIGNMENTS_SCHEMA, PEOPLE_SCHEMA

ROOT = "photos"
FINGERPRINT = "test"


@dataclass(frozen=True)
class Picture:
    """A photo and whose faces are in it: person ids, None for nobody. `content` makes it a copy of
    another picture, by its number."""

    path: bytes
    people: Sequence[str | None] = ()
    taken: datetime | None = None
    status: str = OK
    reason: str | None = None
    root: str = ROOT
    content: int | None = None


@dataclass(frozen=True)
class Person:
    person_id: str
    name: str | None = None
    cover: str | None = None


@dataclass
class FaceLibrary:
    """A library that is filled chunk by chunk and then grouped. The photo_id of picture i is
    ``content<i>``, its k-th face ``content<i>:<k>``."""

    path: Path
    roots: dict[str, str]
    library: Library = field(init=False)
    assigned: list[tuple[str, str | None, float | None, str, str]] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.library = Library.create(str(self.path))
        self.library.save_info(LibraryInfo(roots=self.roots))
        self.library.use_fingerprint(FINGERPRINT, {})

    def add(self, *pictures: Picture, thumbs: bool = True, jpeg: bytes | None = None) -> None:
        """Indexes the pictures as one chunk."""
        photos, faces, jpegs = [], [], []
        for picture in pictures:
            photo_id = f"content{self.count if picture.content is None else picture.content}"
            entry = FileEntry(picture.root, picture.path, 1, 1)
            photos.append(
                PhotoRow(entry, picture.status, picture.reason, photo_id, 9, 9, "JPEG", picture.taken)
            )
            for k, person in enumerate(picture.people):
                face_id = f"{photo_id}:{k}"
                faces.append(_face(face_id, photo_id))
                jpegs.append(jpeg if jpeg is not None else face_jpeg(self.count, k))
                role = "core" if person else "ungrouped"
                self.assigned.append((face_id, person, 0.9 if person else None, role, "cluster"))
            self.count += 1
        self.library.commit_chunk(
            f"chunk{self.count:06d}",
            fingerprint=FINGERPRINT,
            photos=photos,
            faces=faces,
            embeddings=np.ones((len(faces), 4), np.float32),
            thumbs=jpegs if thumbs else [],
        )

    def group(self, *people: Person, grouping: dict[str, object] | None = None) -> Library:
        """Writes all assignments so far as the current revision; people not given have no name."""
        known = {p.person_id: p for p in people}
        ids = dict.fromkeys(person for _, person, *_ in self.assigned if person)
        rows = [known.get(i, Person(i)) for i in ids]
        self.library.write_revision(
            self.library.next_revision(),
            assignments=_table([*self.assigned], ASSIGNMENTS_SCHEMA),
            people=_table(
                [(p.person_id, p.name, 0, 0, None, None, p.cover, False) for p in rows], PEOPLE_SCHEMA
            ),
            grouping=grouping or {"method": "graph"},
        )
        return self.library


def face_jpeg(*seed: int) -> bytes:
    """A small JPEG, another for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def _face(face_id: str, photo_id: str) -> FaceRow:
    zeros = np.zeros((5, 2), np.float32)
    return FaceRow(face_id, photo_id, np.zeros(4, np.float32), zeros, 1.0, 60.0, 1.0, 0.0, 0.0)


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


@dataclass
class Page(HTMLParser):
    """A parsed page: every start tag with its attributes, and the text outside of style sheets."""

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    _in_style: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False

    def handle_data(self, data: str) -> None:
        if not self._in_style and data.strip():
            self.texts.append(data.strip())

    def values(self, attribute: str, tag: str | None = None) -> list[str]:
        """What an attribute says, wherever it stands, in order."""
        return [a[attribute] for t, a in self.tags if attribute in a and tag in (None, t)]


def read_page(html: bytes) -> Page:
    page = Page()
    page.feed(html.decode())
    page.close()
    return page
