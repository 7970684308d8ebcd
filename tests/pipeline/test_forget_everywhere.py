"""After somebody is forgotten every byte of the library is searched for ids, names, vectors and pictures."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.correct import correct
from pipeline.forget import forget_command
from tests.grown_library import GrownLibrary, assigned, people, photo_id, regroup
from transforms import storage
from transforms.corrections import parse
from transforms.library import LOGS, Library
from transforms.records import FileEntry
from transforms.tables import EMBEDDING, FACE_ID, JPEG, matrix
from transforms.tombstones import TOMBSTONES, Tombstones

NAME = "Anna Weiß"


def every_byte(folder: str) -> Iterator[tuple[str, bytes]]:
    """(path, content) of all files below a folder; of tables also what they hold, uncompressed."""
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            data = Path(path).read_bytes()
            yield path, data
            if name.endswith(".parquet"):
                plain = io.BytesIO()
                table = pq.read_table(pa.BufferReader(data)).combine_chunks()
                with pa.ipc.new_stream(plain, table.schema) as stream:
                    stream.write_table(table)
                yield path, plain.getvalue()


def where(library: Library, *wanted: str | bytes, but: tuple[str, ...] = ()) -> set[str]:
    """Which files of a library hold any of some texts or bytes."""
    needles = [text.encode() if isinstance(text, str) else text for text in wanted]
    return {
        os.path.relpath(path, library.path)
        for path, data in every_byte(library.path)
        if not path.endswith(but) and any(needle in data for needle in needles)
    }


@pytest.fixture
def grown(tmp_path: Path) -> GrownLibrary:
    """A library with a past: Anna (person 0) and others, photos edited, removed and added, people merged
    and divided, lines of all kinds; and what interrupted work has left behind."""
    grown = GrownLibrary(tmp_path / "library", thumbs=True)
    grown.add(*[[i % 6] for i in range(48)], [0, 1], [2, 0])
    library = grown.library
    regroup(grown)
    anna = person(grown, "album/0000.jpg")
    correct(library, "name", [anna], name=NAME)
    correct(library, "name", [person(grown, "album/0001.jpg")], name="Bo", note=f"brother of {NAME}")
    regroup(grown)
    correct(library, "different", [NAME, "Bo"])
    correct(library, "different", ["Bo", person(grown, "album/0002.jpg"), NAME])
    correct(library, "not-a-face", ["album/0006.jpg#1"])
    correct(library, "split", [anna, "album/0012.jpg#1", "album/0018.jpg#1"])
    with open(library.file("corrections.csv"), "a", encoding="utf-8") as file:
        file.write("c-0000000a,,not-this-person,album/0007.jpg#1,album/0048.jpg#1,,,\r\n")
        file.write("c-0000000b,,same,album/0003.jpg,album/0009.jpg,,,none of Anna\r\n")
    regroup(grown)
    grown.edit("album/0000.jpg", "album/0048.jpg", "album/0024.jpg")
    grown.remove("album/0030.jpg")
    regroup(grown)
    grown.add([0], [1], [0, 3])
    regroup(grown)
    log = {"index": {"seconds": 3.5}, "group": {"problems": [f"{NAME} has no face"], "method": "default"}}
    storage.write_bytes(library.file(LOGS, "run.json"), json.dumps(log, ensure_ascii=False).encode())
    storage.write_bytes(library.file(LOGS, "run-worker-1.log"), f"face {face(grown)} is odd\nfine\n".encode())
    vector = vectors(grown)[face(grown)].tobytes()
    for left in ("work-abc/vectors", "report.new-1/index.html", "people/r000001/.x.partial",
                 "successors/.y.partial", "graph/r000009/.z.partial", "logs/.w.partial"):  # fmt: skip
        Path(library.file(left)).parent.mkdir(parents=True, exist_ok=True)
        Path(library.file(left)).write_bytes(vector + NAME.encode())
    return grown


def person(grown: GrownLibrary, path: str) -> str:
    return assigned(grown.library)[grown.face(path)] or ""


def face(grown: GrownLibrary) -> str:
    return grown.face("album/0036.jpg")


def vectors(grown: GrownLibrary) -> dict[str, np.ndarray]:
    table = grown.library.read_faces([FACE_ID, EMBEDDING])
    return dict(zip(table[FACE_ID].to_pylist(), matrix(table[EMBEDDING]), strict=True))


def pictures(library: Library) -> dict[str, bytes]:
    return {
        f: j
        for t in library.iter_thumbs()
        for f, j in zip(*(t[c].to_pylist() for c in (FACE_ID, JPEG)), strict=True)
    }


def test_of_a_person_nothing_is_left_in_any_byte(grown: GrownLibrary) -> None:
    library = grown.library
    anna = person(grown, "album/0000.jpg")
    mine = [f for f, p in assigned(library).items() if p == anna]
    older = [f"{photo_id(path, 0)}:0" for path in ("album/0000.jpg", "album/0024.jpg")]
    ids = [f.encode() for f in (*mine, *older)]
    known = vectors(grown)
    secret = [known[f].tobytes() for f in mine] + [pictures(library)[f] for f in mine]
    others = set(known) - set(mine)
    assert (
        face(grown) in mine and len(mine) > 5 and len(where(library, *ids)) > 10 and where(library, *secret)
    )
    assert len(where(library, NAME)) > 5, "the search finds what is there"

    forget_command(library, people=[NAME])

    assert where(library, *ids, *secret, NAME, anna) == set()
    assert set(vectors(grown)) == others == set(pictures(library))
    assert {row["name"] for row in people(library).values()} == {"Bo", None}
    assert json.loads(storage.read_bytes(library.file(LOGS, "run.json"))) == {
        "index": {"seconds": 3.5}, "group": {"problems": [], "method": "default"},
    }  # fmt: skip
    assert storage.read_bytes(library.file(LOGS, "run-worker-1.log")) == b"fine\n"


def test_what_was_decided_about_others_still_holds(grown: GrownLibrary) -> None:
    library = grown.library
    forget_command(library, people=[NAME])
    left = parse(library.read_corrections())
    assert not left.problems
    assert [c.kind for c in left.corrections] == ["name", "different", "not-a-face", "same"]
    assert left.corrections[0].name == "Bo" and len(left.corrections[1].references) == 2
    regroup(grown)
    assert {row["name"] for row in people(library).values()} == {"Bo", None}


def test_older_contents_of_edited_files_do_not_bring_a_person_back(grown: GrownLibrary) -> None:
    """The unedited file, from a backup and at another place, is the same photograph."""
    forget_command(grown.library, people=[NAME])
    stones = Tombstones.of(grown.library)
    box = np.array([[0, 0, 80, 80], [500, 0, 580, 80]], np.float32)
    for version in (0, 1):
        content = photo_id("album/0000.jpg", version)
        entry = FileEntry("photos", b"backup/0000.jpg", 1, 1)
        assert stones.faces(content, entry, box).tolist() == [True, False]


def test_of_a_photo_nothing_is_left_but_that_it_is_forgotten(grown: GrownLibrary) -> None:
    library, path = grown.library, "album/0048.jpg"
    both = [grown.face(path, place) for place in (0, 1)]
    before = [f"{photo_id(path, 0)}:{place}" for place in (0, 1)]
    secret = [vectors(grown)[f].tobytes() for f in both]
    assert where(library, *before) and where(library, *both)
    forget_command(library, photos=[path])
    assert where(library, *both, *before, *secret) == set()
    assert where(library, photo_id(path, 0), but=(TOMBSTONES,)) == set()
    assert Tombstones.of(library).photo(photo_id(path, 0), FileEntry("photos", b"backup.jpg", 1, 1))
    kinds = [c.id for c in parse(library.read_corrections()).corrections]
    assert "c-0000000a" not in kinds and "c-0000000b" in kinds


def test_a_file_of_utf_16_is_searched_as_well(grown: GrownLibrary) -> None:
    """Spreadsheets save corrections so."""
    library = grown.library
    path = Path(library.file("corrections.csv"))
    text = path.read_bytes().decode("utf-8-sig")
    path.write_bytes(text.encode("utf-16"))
    forget_command(library, people=[NAME])
    left = path.read_bytes().decode("utf-16")
    assert NAME not in left and "Bo" in left
    assert not parse(path.read_bytes()).problems
