from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.audit import audit
from tests.export_library import Exported, make_library
from transforms.library import Library
from transforms.records import OK, FaceRow, FileEntry, PhotoRow
from transforms.tables import EMBEDDING, FACE_ID, PHOTO_ID, matrix


@pytest.fixture
def made(tmp_path: Path) -> Exported:
    return make_library(tmp_path)


def kinds(library: Library) -> set[str]:
    return {f.kind for f in audit(library).findings}


def test_a_sound_library_has_no_findings(made: Exported) -> None:
    summary = audit(made.library)
    assert summary.findings == [] and summary.lines() == ["The library is as it should be."]


def test_leftovers_and_doubled_rows_are_found_and_go(made: Exported) -> None:
    library = made.library
    library.replace_chunks([], "chunk2", library.read_chunk("chunk"))
    os.rename(library.file("photos", "chunk2.parquet"), library.file("photos", ".left.partial"))
    library.replace_chunks([], "chunk3", library.read_chunk("chunk"))
    assert kinds(library) == {"orphan", "doubled rows"}
    before = library.read_faces([FACE_ID, EMBEDDING])
    assert audit(library, fix=True).left == []
    assert library.read_faces([FACE_ID, EMBEDDING]).equals(before)


@pytest.mark.parametrize("table", ["photos", "faces/test", "thumbs"])
def test_a_damaged_file_is_named_and_its_photos_are_indexed_again(made: Exported, table: str) -> None:
    path = Path(made.library.file(*table.split("/"), "chunk.parquet"))
    path.write_bytes(path.read_bytes()[:200])
    summary = audit(made.library)
    assert [(f.kind, f.file) for f in summary.findings] == [("damaged file", str(path))]
    assert [f.kind for f in audit(made.library, fix=True).left] == []
    assert made.library.chunk_names() == []


@pytest.mark.parametrize("factor", [0.5, np.nan, 0.0])
def test_vectors_that_are_not_of_unit_length_are_found(made: Exported, factor: float) -> None:
    library = made.library
    photos, faces, thumbs = library.read_chunk("chunk")
    assert faces is not None
    vectors = matrix(faces[EMBEDDING]).copy()
    vectors[3] *= factor
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    place = faces.column_names.index(EMBEDDING)
    wrong = faces.set_column(place, faces.schema.field(place), values)
    library.rewrite_chunk("chunk", "chunk2", photos=photos, faces={"test": wrong}, thumbs=thumbs)
    (finding,) = audit(library).findings
    assert (finding.kind, finding.count) == ("vector", 1)
    photo = faces[PHOTO_ID][3].as_py()
    assert audit(library, fix=True).left == []
    assert photo not in library.read_photos([PHOTO_ID])[PHOTO_ID].to_pylist(), "the next run sees it anew"
    assert len(library.read_photos([PHOTO_ID])) == len(photos) - 1


def test_another_schema_is_found(made: Exported) -> None:
    photos, faces, thumbs = made.library.read_chunk("chunk")
    assert faces is not None
    made.library.rewrite_chunk(
        "chunk", "chunk2", photos=photos.drop_columns(["format"]), faces={"test": faces}, thumbs=thumbs
    )
    (finding,) = audit(made.library).findings
    assert finding.kind == "schema" and "format" in finding.detail


def test_columns_in_another_order_and_of_another_width_are_mended_without_loss(made: Exported) -> None:
    library = made.library
    photos, faces, thumbs = library.read_chunk("chunk")
    assert faces is not None and thumbs is not None
    place = faces.column_names.index("score")
    wide = faces.set_column(place, "score", faces["score"].cast(pa.float64())).append_column(
        "mine", faces["yaw"]
    )
    turned = photos.select(photos.column_names[::-1])
    library.rewrite_chunk("chunk", "chunk2", photos=turned, faces={"test": wide}, thumbs=thumbs)
    assert kinds(library) == {"schema"}
    summary = audit(library, fix=True)
    assert summary.left == [] and summary.again == 0
    (name,) = library.chunk_names()
    assert library.read_chunk(name)[0].equals(photos) and library.read_chunk(name)[1].equals(faces)


def test_vectors_of_another_length_than_all_others_are_taken_out(made: Exported) -> None:
    library = made.library
    box = np.array([1, 1, 9, 9], np.float32)
    photo = PhotoRow(FileEntry("main", b"o1.jpg", 1, 1), OK, None, "f" * 32, 96, 64, "JPEG")
    face = FaceRow(f"{'f' * 32}:0", "f" * 32, box, np.zeros((5, 2), np.float32), 0.9, 8, 0.3, 0, 0)
    library.commit_chunk(
        "other", fingerprint="test", photos=[photo], faces=[face],
        embeddings=np.eye(1, 4, dtype=np.float32), thumbs=(),
    )  # fmt: skip
    assert kinds(library) == {"schema"}
    summary = audit(library, fix=True)
    assert summary.left == [] and summary.again == 1 and len(library.chunk_names()) == 1


def test_nothing_is_taken_out_while_the_originals_are_away(made: Exported) -> None:
    path = Path(made.library.file("faces", "test", "chunk.parquet"))
    path.write_bytes(path.read_bytes()[:200])
    os.rename(made.archive, made.archive.with_name("away"))
    summary = audit(made.library, fix=True)
    assert [f.kind for f in summary.left] == ["damaged file"] and "mount" in summary.lines()[-1]
    assert made.library.chunk_names() == ["chunk"]
    os.rename(made.archive.with_name("away"), made.archive)
    summary = audit(made.library, fix=True)
    assert summary.left == [] and summary.again == 17
    assert f"  albumen index {made.archive} {made.library.path}" in summary.lines()


def test_groupings_that_are_not_whole_go(made: Exported) -> None:
    library = made.library
    os.makedirs(library.file("people", "r000002"))
    library.use_revision("r000002")
    assert kinds(library) == {"revision"}
    assert audit(library, fix=True).left == []
    assert library.current_revision() == "r000001"


def test_missing_originals_are_told_and_left(made: Exported) -> None:
    (made.archive / "o1.jpg").unlink()
    summary = audit(made.library, fix=True)
    assert [(f.kind, f.count) for f in summary.left] == [("missing original", 1)]
    assert "o1.jpg" in summary.findings[0].detail and "--prune" in summary.lines()[-1]
    os.rename(made.archive, made.archive.with_name("away"))
    (finding,) = audit(made.library).findings
    assert "drive" in finding.detail and finding.count == 1
