"""Indexing, in this process on Beam's own runner, with the real networks on small photos."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.detector import MtcnnSettings
from models.facenet_weights import FACENET_CASIA
from models.weights import WeightsError
from pipeline.index import IndexSummary, give_up, index, library_embedder, register_root
from pipeline.options import IndexOptions, UsageError
from tests import photo_files
from tests.people_archive import faces, jpeg, landscape, portrait, together, write_archive
from transforms.archive import ArchiveError, RootGuard
from transforms.index_config import IndexConfig
from transforms.known_content import content_id
from transforms.lease import Lease
from transforms.library import Library, LibraryError
from transforms.manifest import Chunk, ManifestWriter
from transforms.records import FileEntry
from transforms.tables import (
    BOX,
    EMBEDDING,
    FACE_ID,
    FORMAT,
    HEIGHT,
    JPEG,
    PATH,
    PATH_BYTES,
    PHOTO_ID,
    REASON,
    ROOT,
    STATUS,
    TAKEN_AT,
    UTC_OFFSET,
    WIDTH,
    matrix,
)

IN_PROCESS = IndexOptions(
    runner="FnApiRunner", beam_options=("--direct_running_mode=in_memory",), precision="float32"
)


@pytest.fixture(autouse=True)
def _small_embedder(small_embedder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all but those who ask for another."""
    monkeypatch.setitem(globals(), "IN_PROCESS", replace(IN_PROCESS, embedder=small_embedder))


def run(archive: Path | str, library: Path, **options: object) -> IndexSummary:
    opened = Library.create(str(library))
    with Lease(str(library)) as lease:
        return index(opened, lease, str(archive), replace(IN_PROCESS, **options), quiet=True)


def rows(library: Path, *columns: str) -> dict[bytes, dict]:
    table = Library.open(str(library)).read_photos()
    return {row[PATH_BYTES]: row for row in table.to_pylist()}


def statuses(library: Path) -> dict[bytes, str]:
    return {path: row[STATUS] for path, row in rows(library).items()}


def faces_of(library: Path) -> dict[str, np.ndarray]:
    table = Library.open(str(library)).read_faces([FACE_ID, EMBEDDING])
    return dict(zip(table[FACE_ID].to_pylist(), matrix(table[EMBEDDING]), strict=True))


def test_every_photo_ends_in_one_state_with_its_faces(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "photos")
    summary = run(archive, tmp_path / "library", embedder=FACENET_CASIA)

    assert summary.photos == {"ok": 7, "no_face": 1}
    assert summary.faces == 8
    assert summary.complete
    found = rows(tmp_path / "library")
    assert found[b"landscape.jpg"][STATUS] == "no_face"
    assert found[b"together.jpg"][REASON] is None
    assert found[b"together.jpg"][PHOTO_ID] == content_id(together())
    table = Library.open(str(tmp_path / "library")).read_faces([FACE_ID, PHOTO_ID, BOX, EMBEDDING])
    assert Counter(table[PHOTO_ID].to_pylist())[content_id(together())] == 2
    vectors = matrix(table[EMBEDDING])
    assert vectors.shape == (8, 512)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_precision_and_chunk_size_change_nothing_that_matters(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "photos")
    run(archive, tmp_path / "one", embedder=FACENET_CASIA)
    run(archive, tmp_path / "two", embedder=FACENET_CASIA, precision="bfloat16", chunk_size=3)
    one, two = faces_of(tmp_path / "one"), faces_of(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(float(one[f] @ two[f]) > 0.999 for f in one)


def test_faces_are_numbered_from_left_to_right_in_full_size_pixels(tmp_path: Path) -> None:
    archive = tmp_path / "photos"
    archive.mkdir()
    large = Image.open(photo_stream(together())).resize((420 * 5, 280 * 5), Image.Resampling.BICUBIC)
    (archive / "large.jpg").write_bytes(jpeg(large))
    run(archive, tmp_path / "library", detector=MtcnnSettings(working_side=420))

    table = Library.open(str(tmp_path / "library")).read_faces([FACE_ID, BOX])
    boxes = matrix(table[BOX])
    assert [f.rpartition(":")[2] for f in table[FACE_ID].to_pylist()] == ["0", "1"]
    middles = (boxes[:, 0] + boxes[:, 2]) / 2
    assert middles[0] < 1050 < middles[1]
    assert (boxes[:, 2] - boxes[:, 0] > 250).all()


def photo_stream(data: bytes):
    import io

    return io.BytesIO(data)


def test_a_second_run_finds_nothing_to_do(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "photos")
    run(archive, tmp_path / "library")
    before = Library.open(str(tmp_path / "library")).chunk_names()
    summary = run(archive, tmp_path / "library")
    assert summary.unchanged == summary.listed == 8
    assert summary.photos == {}
    assert Library.open(str(tmp_path / "library")).chunk_names() == before


def test_a_run_that_was_cut_off_before_tidying_is_tidied_by_the_next(tmp_path: Path, monkeypatch) -> None:
    archive, library = write_archive(tmp_path / "photos"), tmp_path / "library"
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.index.tidy", _must_not_be_called)
        with pytest.raises(AssertionError):
            run(archive, library, chunk_size=2)
    opened = Library.open(str(library))
    assert len(opened.chunk_names()) == 4
    summary = run(archive, library)
    assert summary.unchanged == 8
    assert len(opened.chunk_names()) == 1
    assert not (library / "manifests").exists()


def test_changed_new_and_vanished_files(tmp_path: Path) -> None:
    archive, library = write_archive(tmp_path / "photos"), tmp_path / "library"
    run(archive, library)
    (archive / "hopper" / "hopper-0.jpg").write_bytes(landscape() + b"x")  # no longer her
    (archive / "new.jpg").write_bytes(portrait("collins", 9))
    (archive / "collins" / "collins-1.jpg").unlink()
    summary = run(archive, library)

    assert summary.photos == {"ok": 1, "no_face": 1}
    assert summary.missing == 1
    found = statuses(library)
    assert found[b"hopper/hopper-0.jpg"] == "no_face"
    assert found[b"new.jpg"] == "ok"
    assert found[b"collins/collins-1.jpg"] == "ok", "kept until it is pruned"
    assert content_id(portrait("hopper", 0)) not in {f.partition(":")[0] for f in faces_of(library)}

    assert run(archive, library, prune=True, yes=True).pruned == 1
    assert b"collins/collins-1.jpg" not in statuses(library)
    assert content_id(portrait("collins", 1)) not in {f.partition(":")[0] for f in faces_of(library)}


def test_prune_asks_before_it_forgets_much(tmp_path: Path) -> None:
    archive, library = write_archive(tmp_path / "photos"), tmp_path / "library"
    run(archive, library)
    shutil.rmtree(archive / "hopper")
    with pytest.raises(UsageError, match=r"3 of 8.*--yes"):
        run(archive, library, prune=True)
    assert len(statuses(library)) == 8


def test_an_archive_that_lost_all_its_files_is_not_believed(tmp_path: Path) -> None:
    archive, library = write_archive(tmp_path / "photos"), tmp_path / "library"
    run(archive, library)
    shutil.rmtree(archive)
    with pytest.raises(ArchiveError, match="mounted"):
        run(archive, library)
    archive.mkdir()
    with pytest.raises((ArchiveError, LibraryError), match="mounted"):
        run(archive, library, prune=True, yes=True)
    assert len(statuses(library)) == 8


def test_content_under_another_path_costs_no_detection(tmp_path: Path, monkeypatch) -> None:
    archive, library = write_archive(tmp_path / "photos"), tmp_path / "library"
    run(archive, library)
    before = faces_of(library)
    (archive / "copy.jpg").write_bytes(together())
    (archive / "empty-copy.jpg").write_bytes(landscape())
    monkeypatch.setattr("transforms.detect.read_photo", _must_not_be_called)
    summary = run(archive, library)
    assert summary.photos == {"ok": 1, "no_face": 1}
    assert faces_of(library).keys() == before.keys()
    row = rows(library)[b"copy.jpg"]
    assert (row[PHOTO_ID], row[WIDTH], row[HEIGHT]) == (content_id(together()), 420, 280)

    (archive / "together.jpg").unlink()
    assert run(archive, library, prune=True, yes=True).pruned == 1
    assert faces_of(library).keys() == before.keys(), "the copy still needs the faces"


def _must_not_be_called(*args: object, **kwargs: object) -> None:
    raise AssertionError("this was not to be called")


def test_doubles_within_a_run_are_one_photo_with_its_faces_once(tmp_path: Path) -> None:
    archive, library = tmp_path / "photos", tmp_path / "library"
    archive.mkdir()
    for number in range(4):
        (archive / f"{number}.jpg").write_bytes(together())
    summary = run(archive, library, chunk_size=1)
    assert summary.photos == {"ok": 4}
    assert len(faces_of(library)) == 2
    thumbs = [t for table in Library.open(str(library)).iter_thumbs() for t in table[JPEG].to_pylist()]
    assert len(thumbs) == 2


def test_odd_files_each_get_a_row_with_a_reason(tmp_path: Path) -> None:
    archive, library = tmp_path / "photos", tmp_path / "library"
    archive.mkdir()
    whole = portrait("hopper")
    (archive / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (archive / "empty.jpg").write_bytes(b"")
    (archive / "page.jpg").write_bytes(b"<html>not found</html>")
    (archive / "clip.MP4").write_bytes(b"\0\0\0\x18ftypmp42")
    (archive / "side.xmp").write_bytes(b"<x/>")
    (archive / "letter.unknown").write_bytes(b"Dear")
    with open(archive / "disk.image", "wb") as sparse:
        sparse.truncate(5_000_000_000)
    (archive / "really-png.jpg").write_bytes(photo_files.encode("PNG", faces()["hopper"]))
    os.symlink(archive, archive / "loop")
    os.symlink("nowhere", archive / "broken.jpg")
    (archive / os.fsdecode(b"caf\xe9 [1]\n.jpg")).write_bytes(portrait("collins"))
    (archive / ".hidden").mkdir()
    (archive / ".hidden" / "x.jpg").write_bytes(whole)
    (archive / "@eaDir").mkdir()
    (archive / "@eaDir" / "thumb.jpg").write_bytes(whole)
    summary = run(archive, library)

    found = rows(library)
    assert {p: r[STATUS] for p, r in found.items()} == {
        b"cut.jpg": "error",
        b"empty.jpg": "error",
        b"page.jpg": "error",
        b"clip.MP4": "skipped",
        b"side.xmp": "skipped",
        b"letter.unknown": "skipped",
        b"disk.image": "skipped",
        b"really-png.jpg": "ok",
        b"caf\xe9 [1]\n.jpg": "ok",
    }
    assert all(r[REASON] for r in found.values() if r[STATUS] != "ok")
    assert found[b"really-png.jpg"][FORMAT] == "PNG"
    assert found[b"caf\xe9 [1]\n.jpg"][PATH] == "caf\\xe9 [1]\\n.jpg"
    assert summary.listing["hidden_folders"] == 1
    assert summary.listing["cache_folders"] == 1
    assert sum(summary.photos.values()) == len(found)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_faces_lie_where_a_viewer_sees_them(tmp_path: Path, orientation: int) -> None:
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    canvas = Image.new("RGB", (500, 300), (90, 90, 90))
    canvas.paste(faces()["hopper"], (280, 20))
    stored = canvas.transpose(turns[orientation]) if orientation in turns else canvas
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg(stored, exif=exif))
    run(tmp_path / "photos", tmp_path / "library")
    row = rows(tmp_path / "library")[b"a.jpg"]
    assert (row[WIDTH], row[HEIGHT]) == (500, 300)
    x0, y0, x1, y1 = matrix(Library.open(str(tmp_path / "library")).read_faces([BOX])[BOX])[0]
    assert 300 < (x0 + x1) / 2 < 460
    assert 60 < (y0 + y1) / 2 < 240


def test_when_a_photo_was_taken(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    exif = Image.Exif()
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0x9011] = "2019:07:04 12:33:10", "+02:00"
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg(faces()["hopper"], exif=exif))
    run(tmp_path / "photos", tmp_path / "library")
    row = rows(tmp_path / "library")[b"a.jpg"]
    assert row[TAKEN_AT].isoformat() == "2019-07-04T12:33:10"
    assert row[UTC_OFFSET] == 120


def test_a_file_that_vanishes_before_it_is_read_is_an_error_and_tried_again(
    tmp_path: Path, monkeypatch
) -> None:
    archive, library = write_archive(tmp_path / "photos"), tmp_path / "library"
    from transforms import detect

    read = detect.read_file

    def read_but_one(location: str, path: bytes) -> bytes:
        if path == b"together.jpg":
            raise FileNotFoundError(2, "No such file", "together.jpg")
        if path == b"landscape.jpg":
            raise OSError(5, "Input/output error")
        return read(location, path)

    with monkeypatch.context() as patch:
        patch.setattr(detect, "read_file", read_but_one)
        summary = run(archive, library)
    assert summary.photos == {"ok": 6, "error": 2}
    found = rows(library)
    assert "vanished" in found[b"together.jpg"][REASON]
    assert "Input/output error" in found[b"landscape.jpg"][REASON]
    assert run(archive, library).photos == {"ok": 1, "no_face": 1}


def test_a_photo_that_the_detector_fails_on_costs_itself_alone(tmp_path: Path, monkeypatch) -> None:
    archive, library = write_archive(tmp_path / "photos"), tmp_path / "library"
    from models.mtcnn import Mtcnn

    detect = Mtcnn.detect

    def detect_but_one(self: Mtcnn, photos: list[np.ndarray]) -> list:
        if any(p.shape[1] == 420 for p in photos):
            raise RuntimeError("this photo is too much")
        return detect(self, photos)

    monkeypatch.setattr(Mtcnn, "detect", detect_but_one)
    assert run(archive, library).photos == {"ok": 6, "no_face": 1, "error": 1}
    assert "this photo is too much" in rows(library)[b"together.jpg"][REASON]


def test_a_bomb_is_refused_by_its_size(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(portrait("hopper"))
    run(tmp_path / "photos", tmp_path / "library", max_pixels=10_000)
    row = rows(tmp_path / "library")[b"a.jpg"]
    assert row[STATUS] == "error"
    assert "--max-pixels" in row[REASON]
    assert run(tmp_path / "photos", tmp_path / "library").unchanged == 1
    assert run(tmp_path / "photos", tmp_path / "library", retry_errors=True).photos == {"ok": 1}


def test_vectors_of_another_kind_are_refused_and_both_kinds_named(tmp_path: Path) -> None:
    archive, library = write_archive(tmp_path / "photos"), tmp_path / "library"
    run(archive, library)
    first = Library.open(str(library)).info().fingerprint
    with pytest.raises(LibraryError) as refused:
        run(archive, library, embedder=FACENET_CASIA)
    assert str(first) in str(refused.value)
    assert "mtcnn-onnx-" in str(refused.value) and "mtcnn-facenet-casia-" in str(refused.value)
    with pytest.raises(LibraryError) as refused:
        run(archive, library, mirror=True)
    assert str(first) in str(refused.value)
    assert str(refused.value).count("mtcnn-onnx-") == 2
    with pytest.raises(WeightsError, match="unknown embedder"):
        run(archive, library, embedder="arcface")


def test_without_thumbnails_none_are_stored(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "photos")
    run(archive, tmp_path / "library", thumbs=False)
    assert list(Library.open(str(tmp_path / "library")).iter_thumbs()) == []


def test_an_end_time_that_has_passed_leaves_all_for_the_next_run(tmp_path: Path) -> None:
    archive, library = write_archive(tmp_path / "photos"), tmp_path / "library"
    summary = run(archive, library, until=time.time() - 1)
    assert (summary.left, summary.photos) == (8, {})
    assert not summary.complete
    assert run(archive, library).complete


def test_the_library_inside_the_archive_is_not_indexed(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "photos")
    library = archive / "albumen"
    run(archive, library)
    (archive / "new.jpg").write_bytes(portrait("hopper", 7))
    assert run(archive, library).listed == 9


def test_roots_have_names_of_their_own_and_can_move(tmp_path: Path) -> None:
    first, second = write_archive(tmp_path / "a" / "photos"), write_archive(tmp_path / "b" / "photos")
    library = tmp_path / "library"
    run(first, library)
    assert run(second, library).photos == {"ok": 7, "no_face": 1}
    opened = Library.open(str(library))
    assert opened.info().roots == {"photos": str(first), "photos-2": str(second)}
    assert Counter(opened.read_photos([ROOT])[ROOT].to_pylist()) == {"photos": 8, "photos-2": 8}
    assert len(faces_of(library)) == 8, "the same content has its faces once"

    first.rename(tmp_path / "moved")
    assert run(tmp_path / "moved", library, relocate="photos").unchanged == 8
    assert opened.info().roots["photos"] == str(tmp_path / "moved")
    with pytest.raises(UsageError, match=r"no such root.*photos, photos-2"):
        register_root(opened, str(first), relocate="holidays")


def one_photo(archive: Path, folder: Path) -> tuple[Library, IndexConfig, Chunk]:
    """A library for the archive, and a chunk of a run that holds together.jpg alone."""
    library = Library.create(str(folder))
    register_root(library, str(archive), relocate=None)
    data = (archive / "together.jpg").stat()
    config = IndexConfig(
        library=library.path, run="run", root="photos", location=str(archive),
        guard=RootGuard.of(str(archive)), embedder=str(IN_PROCESS.embedder),
    )  # fmt: skip
    writer = ManifestWriter(config.manifests, "run")
    writer.add(FileEntry("photos", b"together.jpg", data.st_size, data.st_mtime_ns // 1000))
    (chunk,) = writer.close()
    return library, config, chunk


def test_a_photo_that_kills_its_process_is_recorded_and_left_alone(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "photos")
    library, config, chunk = one_photo(archive, tmp_path / "library")
    give_up(library, config, chunk, "signal 11, SIGSEGV", hung=False)
    row = rows(tmp_path / "library")[b"together.jpg"]
    assert (row[STATUS], row[PHOTO_ID]) == ("error", content_id(together()))
    assert "SIGSEGV" in row[REASON]
    assert run(archive, tmp_path / "library").unchanged == 1


def test_a_photo_that_hangs_its_process_is_not_read_by_the_one_that_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_archive(tmp_path / "photos", portraits_each=0)
    library, config, chunk = one_photo(archive, tmp_path / "library")
    read: list[bytes] = []
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.index.read_file", lambda location, path: read.append(path) or b"")
        give_up(library, config, chunk, "no progress for 900 s", hung=True)
    assert not read
    row = rows(tmp_path / "library")[b"together.jpg"]
    assert (row[STATUS], row[PHOTO_ID]) == ("error", None)
    again = run(archive, tmp_path / "library")
    assert (again.unchanged, again.photos) == (0, {"ok": 1, "no_face": 1}), "tried again"


def test_a_library_goes_on_with_the_embedder_that_it_has(tmp_path: Path) -> None:
    library = Library.create(str(tmp_path / "library"))
    assert library_embedder(library, IndexOptions()) == ("facenet-casia", False)
    library.use_fingerprint("x", {"embedder": {"name": "facenet-vggface2", "mirror": True}})
    assert library_embedder(library, IndexOptions()) == ("facenet-vggface2", True)
    assert library_embedder(library, IndexOptions(embedder="onnx:a.onnx")) == ("onnx:a.onnx", True)
    other = Library.create(str(tmp_path / "other"))
    other.use_fingerprint("x", {"embedder": {"name": "onnx", "mirror": False}})
    with pytest.raises(UsageError, match="--embedder onnx:FILE"):
        library_embedder(other, IndexOptions())
