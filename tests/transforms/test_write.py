from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest

from transforms import storage
from transforms.archive import RootGuard
from transforms.index_config import IndexConfig
from transforms.library import Library
from transforms.records import ERROR, NO_FACE, OK, FaceRow, FaceSlice, FileEntry, PhotoRow
from transforms.summary import Summary
from transforms.tables import EMBEDDING, FACE_ID, STATUS, matrix
from transforms.write import SumSummaries, WriteChunk, commit, record_summary


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.create(str(tmp_path / "library"))


def config(library: Library, **options: object) -> IndexConfig:
    guard = RootGuard("/photos")
    return IndexConfig(
        library=library.path, run="run", root="main", location="/photos", guard=guard,
        embedder="facenet-casia", **options,
    )  # fmt: skip


def face_row(photo_id: str, number: int) -> FaceRow:
    box, points = np.arange(4, dtype=np.float32), np.arange(10, dtype=np.float32).reshape(5, 2)
    return FaceRow(f"{photo_id}:{number}", photo_id, box, points, 0.9, 40, 0.5, 1, 2)


def part(
    chunk: str, *photos: tuple[str, int], last: bool = True, thumbs: bool = True, status: str = OK
) -> FaceSlice:
    """A slice of photos given as (photo_id, faces); a face's vector is the sum of its id's letters."""
    rows = [
        PhotoRow(FileEntry("main", f"{chunk}/{i}/{p}".encode(), 1, 1), status if n else NO_FACE, photo_id=p)
        for i, (p, n) in enumerate(photos)
    ]
    faces = [face_row(p, k) for p, n in photos for k in range(n)]
    vectors = np.array([[vector_of(f.face_id)] * 4 for f in faces], np.float32).reshape(-1, 4)
    jpegs = [f.face_id.encode() for f in faces] if thumbs else []
    return FaceSlice(chunk, last, rows, faces, jpegs, None, vectors)


def vector_of(face_id: str) -> float:
    return float(sum(face_id.encode()))


def assert_holds(library: Library, faces: Sequence[str], *, photos: int) -> None:
    """Each face once, with its own vector and thumbnail."""
    table = library.read_faces([FACE_ID, EMBEDDING])
    assert table[FACE_ID].to_pylist() == sorted(faces)
    assert matrix(table[EMBEDDING])[:, 0].tolist() == [vector_of(f) for f in sorted(faces)]
    assert library.read_photos().num_rows == photos
    thumbs = {f: j for t in library.iter_thumbs() for f, j in zip(*t.to_pydict().values(), strict=True)}
    assert thumbs == {f: f.encode() for f in faces}
    assert sum(t.num_rows for t in library.iter_thumbs()) == len(thumbs)


def test_the_slices_of_a_chunk_become_one_file(library: Library) -> None:
    library.use_fingerprint("f", {})
    slices = [part("c", ("a", 2), ("b", 0), last=False), part("c", ("d", 1))]
    assert commit(library, fingerprint="f", slices=slices) == Summary(1, 3, {OK: 2, NO_FACE: 1})
    (name,) = library.chunk_names()
    assert name.startswith("c-")
    assert_holds(library, ["a:0", "a:1", "d:0"], photos=3)


def test_a_chunk_that_is_done_twice_leaves_two_files_and_counts_once(library: Library) -> None:
    library.use_fingerprint("f", {})
    for _ in range(2):
        commit(library, fingerprint="f", slices=[part("c", ("a", 2), thumbs=False)])
    assert len(library.chunk_names()) == 2
    assert library.read_faces([FACE_ID]).num_rows == 2 and library.read_photos().num_rows == 1


@pytest.mark.parametrize("apart", [False, True])
def test_two_files_with_the_same_content_in_one_chunk_have_their_faces_once(
    library: Library, apart: bool
) -> None:
    library.use_fingerprint("f", {})
    one, two = [("a", 2), ("b", 1)], [("c", 1), ("a", 2)]
    slices = [part("c", *one, last=False), part("c", *two)] if apart else [part("c", *one, *two)]
    assert commit(library, fingerprint="f", slices=slices).faces == 4
    assert_holds(library, ["a:0", "a:1", "b:0", "c:0"], photos=4)


def test_a_chunk_without_faces_has_photos_alone(library: Library) -> None:
    library.use_fingerprint("f", {})
    assert commit(library, fingerprint="f", slices=[part("c", ("a", 0))]) == Summary(1, 0, {NO_FACE: 1})
    assert library.read_photos([STATUS])[STATUS].to_pylist() == [NO_FACE]
    assert sorted(os.listdir(library.path)) == ["library.json", "photos"]


def run(library: Library, parts: Sequence[FaceSlice], **options: object) -> Summary:
    """Runs the step on slices in one bundle and gives what it recorded."""
    folder = storage.join(library.path, "run")
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        _ = (
            pipeline
            | beam.Create([0])
            | beam.FlatMap(lambda _: parts).with_output_types(FaceSlice)
            | beam.ParDo(WriteChunk(config(library, **options)))
            | beam.CombineGlobally(SumSummaries())
            | beam.Map(record_summary, folder)
        )
    (name,) = os.listdir(folder)
    return Summary.from_json(storage.read_bytes(storage.join(folder, name)).decode())


def test_in_a_pipeline_chunks_are_written_as_they_are_whole_and_summed_up(library: Library) -> None:
    settings = config(library)
    library.use_fingerprint(settings.fingerprint(), settings.settings())
    parts = [
        part("x", ("a", 2), last=False), part("y", ("b", 1)), part("x", ("c", 0)),
        part("torn", ("d", 1), last=False),
    ]  # fmt: skip
    assert run(library, parts) == Summary(3, 4, {OK: 3, NO_FACE: 1})
    assert sorted(n.partition("-")[0] for n in library.chunk_names()) == ["torn", "x", "y"]
    assert_holds(library, ["a:0", "a:1", "b:0", "d:0"], photos=4)


def test_nothing_to_do_is_a_summary_of_nothing(library: Library) -> None:
    assert run(library, []) == Summary()


def test_each_chunk_is_reported_when_it_is_on_disk(library: Library) -> None:
    settings = config(library)
    library.use_fingerprint(settings.fingerprint(), settings.settings())
    reading, writing = os.pipe()
    step = WriteChunk(config(library, progress_fd=writing))
    step.start_bundle()
    assert list(step.process(part("x", ("a", 2), last=False))) == [] and library.chunk_names() == []
    assert list(step.process(part("x", ("b", 1), status=ERROR))) == [Summary(1, 3, {OK: 1, ERROR: 1})]
    os.close(writing)
    with open(reading) as pipe:
        events = [json.loads(line) for line in pipe]
    assert events == [{"event": "done", "chunk": "x", "faces": 3, "photos": {OK: 1, ERROR: 1}}]


def test_a_full_disk_is_told_with_the_remedy(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    step = WriteChunk(config(library, progress_fd=writing))
    step.start_bundle()

    def full(path: str, data: bytes, durable: bool) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "_write_bytes", full)
    with pytest.raises(
        storage.WriteFailed,
        match=r"library/.* can't be written \(No space left on device\): make room.*run again",
    ):
        list(step.process(part("x", ("a", 1))))
    os.close(writing)
    with open(reading) as pipe:
        (event,) = [json.loads(line) for line in pipe]
    assert event["event"] == "fatal" and "make room" in event["message"]
    assert library.chunk_names() == []


def test_summaries_add_up() -> None:
    total = Summary(1, 2, {OK: 3}) + Summary(1, 0, {OK: 1, ERROR: 2})
    assert total == Summary(2, 2, {OK: 4, ERROR: 2}) == Summary.from_json(total.to_json())
