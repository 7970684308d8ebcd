"""A drive that fails while a library is written or its archive is read, in this process."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from tests.people_archive import portrait, write_archive
from transforms import detect, storage
from transforms.library import Library
from transforms.tables import FACE_ID, PATH_BYTES, REASON, STATUS

NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
READ_ONLY = OSError(errno.EROFS, "Read-only file system")
FORBIDDEN = PermissionError(errno.EACCES, "Permission denied")
UNREADABLE = OSError(errno.EIO, "Input/output error")
MARKS = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}|[0-9a-f]{32}|-[0-9a-f]{8}(?=\.)|mtcnn-[^/]+|r\d{6}")


# The command with an archive, a library and options, on Beam's own runner in this process.
Albumen = Callable[..., Result]


@pytest.fixture
def albumen(small_embedder: str) -> Albumen:
    engine = ["--runner", "FnApiRunner", "--chunk-size", "1", "--embedder", small_embedder]

    def run(command: str, archive: Path, library: Path, *options: str) -> Result:
        return CliRunner().invoke(main, [command, str(archive), str(library), *engine, *options])

    return run


def states(library: Path) -> dict[bytes, str]:
    """The state of each path, as far as it is committed; {} before there is a library."""
    if not (library / "library.json").exists():
        return {}
    rows = Library.open(str(library)).read_photos([PATH_BYTES, STATUS]).to_pylist()
    return {row[PATH_BYTES]: row[STATUS] for row in rows}


def face_ids(library: Path) -> list[str]:
    return Library.open(str(library)).read_faces([FACE_ID])[FACE_ID].to_pylist()


class FailingDrive:
    """Fails once for each kind of file in a library, in the order in which they come."""

    def __init__(self, library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._library, self._errors = library, itertools.cycle([NO_SPACE, READ_ONLY, FORBIDDEN])
        self._write, self._sync = storage._write_bytes, os.fsync
        self._kind: str | None = "lease.json"  # which goes past the library's own writing
        self.failed: list[str] = []
        self.failing = False
        monkeypatch.setattr(storage, "_write_bytes", self.write)
        monkeypatch.setattr(os, "fsync", self.sync)

    def write(self, path: str, data: bytes, durable: bool) -> None:
        self._kind = MARKS.sub("*", os.path.relpath(path, self._library))
        if self._kind == "library.json":  # three times: begun, with its archive, with its fingerprint
            info = json.loads(bytes(data))
            self._kind += f" {bool(info['roots'])} {bool(info['fingerprint'])}"
        try:
            self._write(path, data, durable)
        finally:
            self._kind = None

    def sync(self, descriptor: int) -> None:
        if self._kind is not None and self._kind not in self.failed and not self.failing:
            self.failed.append(self._kind)
            self.failing = True
            raise next(self._errors)
        self._sync(descriptor)


def test_each_write_may_fail_and_the_next_run_goes_on(
    albumen: Albumen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, library = tmp_path / "photos", tmp_path / "library"
    archive.mkdir()
    (archive / "a.jpg").write_bytes(portrait("hopper"))
    (archive / "b.jpg").write_bytes(portrait("collins"))
    drive = FailingDrive(library, monkeypatch)
    before: dict[bytes, str] = {}
    for _ in range(40):
        drive.failing = False
        result = albumen("run", archive, library)
        after = states(library)
        assert before.items() <= after.items(), "what was committed is lost"
        before = after
        if not drive.failing:
            break
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit), result.exception
        assert f"{library}" in result.output
        assert "can't be written" in result.output
        assert re.search("make room|make it writable|let this user write", result.output)
        assert "then run again; what is committed stays" in result.output
        assert not (library / "lease.json").exists()
    assert result.exit_code == 0, result.output
    begun = {kind.split("/")[0].split(" ")[0] for kind in drive.failed}
    assert begun >= {"lease.json", "library.json", "manifests", "faces", "thumbs", "photos", "people", "logs"}

    opened = Library.open(str(library))
    assert states(library) == {b"a.jpg": "ok", b"b.jpg": "ok"}
    assert len(face_ids(library)) == 2
    assert len(opened.chunk_names()) == 1
    assert len(opened.read_assignments(str(opened.current_revision()))) == 2
    assert (library / "report" / "index.html").exists()
    assert not list(library.rglob("*.partial*"))
    assert not (library / "manifests").exists()


def test_photos_that_can_not_be_read_now_and_then_end_well(
    albumen: Albumen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, library, chance = write_archive(tmp_path / "photos"), tmp_path / "library", random.Random(11)
    read, failed = detect.read_file, set()

    def read_or_fail(location: str, path: bytes) -> bytes:
        if chance.random() < 0.5:
            failed.add(path)
            raise UNREADABLE
        return read(location, path)

    settled: dict[bytes, str] = {}
    with monkeypatch.context() as patch:
        patch.setattr(detect, "read_file", read_or_fail)
        for _ in range(2):
            failed.clear()
            result = albumen("index", archive, library, "--chunk-size", "3")
            assert result.exit_code == 0, result.output
            found = states(library)
            assert {path for path, state in found.items() if state == "error"} == failed
            assert failed
            assert settled.items() <= found.items(), "a photo that was read is not read again"
            settled = {path: state for path, state in found.items() if state != "error"}
    assert albumen("index", archive, library).exit_code == 0
    found = states(library)
    assert found.pop(b"landscape.jpg") == "no_face"
    assert set(found.values()) == {"ok"}
    assert len(found) == 7
    assert len(face_ids(library)) == 8


def test_photos_taken_away_meanwhile_are_errors_until_they_are_back(
    albumen: Albumen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, library = write_archive(tmp_path / "photos"), tmp_path / "library"
    read, away = detect.read_file, tmp_path / "away"

    def read_after_moving(location: str, path: bytes) -> bytes:
        if not away.exists():
            (archive / "hopper").rename(away)
        return read(location, path)

    with monkeypatch.context() as patch:
        patch.setattr(detect, "read_file", read_after_moving)
        assert albumen("index", archive, library).exit_code == 0
    rows = Library.open(str(library)).read_photos().to_pylist()
    gone = {row[PATH_BYTES]: row[REASON] for row in rows if row[STATUS] == "error"}
    assert gone == {
        b"hopper/hopper-%d.jpg" % number: "vanished between listing and reading" for number in range(3)
    }
    assert len(rows) == 8
    away.rename(archive / "hopper")
    assert albumen("index", archive, library).exit_code == 0
    assert set(states(library).values()) == {"ok", "no_face"}


def test_a_drive_of_the_library_that_can_not_be_read_is_not_the_photos_fault(
    albumen: Albumen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, library = write_archive(tmp_path / "photos"), tmp_path / "library"
    opened = storage.open_input

    def open_or_fail(path: str):
        if "manifests" in path and "part-" in path:
            raise UNREADABLE
        return opened(path)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "open_input", open_or_fail)
        result = albumen("index", archive, library)
    assert result.exit_code == 1
    assert "part-00000.parquet" in result.output
    assert "start again" in result.output
    assert states(library) == {}
    assert albumen("index", archive, library).exit_code == 0
    assert len(states(library)) == 8


def test_a_file_that_can_not_be_read_takes_nothing_from_what_is_known_of_it(
    albumen: Albumen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, library = write_archive(tmp_path / "photos"), tmp_path / "library"
    albumen("index", archive, library)
    before, faces = states(library), face_ids(library)

    def fail(location: str, path: bytes) -> bytes:
        raise UNREADABLE

    for path in archive.rglob("*.jpg"):  # as a drive does that is mounted in another way
        os.utime(path, (1_000_000_000, 1_000_000_000))
    with monkeypatch.context() as patch:
        patch.setattr(detect, "read_file", fail)
        result = albumen("index", archive, library)
    assert "8 with errors" in result.output
    assert states(library) == before
    assert face_ids(library) == faces
    result = albumen("index", archive, library)
    assert "8 new or changed files of 8" in result.output, "they are read again"
    assert face_ids(library) == faces
    assert "none new or changed" in albumen("index", archive, library).output
