"""What an export says when a photograph can't be read, and when its own folder can't be written."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from transforms import storage
from transforms.export_folder import ExportFolder
from transforms.export_list import EXPORT_MARKER, remove_export

UNREADABLE = OSError(errno.EIO, "Input/output error")


@pytest.fixture
def photos(tmp_path: Path) -> list[bytes]:
    """Two photographs."""
    paths = [tmp_path / f"photo{k}.jpg" for k in range(2)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return [os.fsencode(path) for path in paths]


def copies(folder: Path, photos: list[bytes]) -> list[tuple[str, str]]:
    with ExportFolder(str(folder), {}) as export:
        wanted = ((f"anna/{os.path.basename(os.fsdecode(p))}", p) for p in photos)
        return list(export.place(wanted, link="copy"))


def test_a_photograph_that_cant_be_read_is_named_and_the_others_are_copied(
    tmp_path: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.copyfileobj

    def failing(original, copy, length):
        if original.name == photos[0]:
            raise UNREADABLE
        real(original, copy, length)

    monkeypatch.setattr(shutil, "copyfileobj", failing)
    assert copies(tmp_path / "out", photos) == [(os.fsdecode(photos[0]), "Input/output error")]
    assert os.listdir(tmp_path / "out/anna") == ["photo1.jpg"]


def test_a_copy_that_cant_be_written_is_named(
    tmp_path: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(source: str, target: str, real=os.replace) -> None:
        if target.endswith("photo0.jpg"):
            raise UNREADABLE
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    ((photo, reason),) = copies(tmp_path / "out", photos)
    assert photo == os.fsdecode(photos[0]) and "out/anna/photo0.jpg can't be written (Input/output" in reason


def test_an_export_stops_where_its_folder_cant_be_written(
    tmp_path: Path, photos: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with ExportFolder(str(tmp_path / "out"), {}) as export:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(storage.WriteFailed, match=r"out can't be written \(No space left.*make room"):
            export.write("faces.csv", [b"x"])
        monkeypatch.undo()


def test_what_a_killed_export_left_half_written_goes_with_the_next_and_with_the_export(
    tmp_path: Path, photos: list[bytes]
) -> None:
    """A process that is killed leaves partial files in the folders that its journal names."""
    out = tmp_path / "out"
    copies(out, photos)
    half = out / "anna" / f".half{storage.TEMPORARY_SUFFIX}"

    def killed() -> None:
        shutil.copy(out / EXPORT_MARKER, out / ".albumen-export.journal")
        half.write_bytes(b"a photograph")

    killed()
    copies(out, photos)
    assert not half.exists()
    killed()
    assert remove_export(str(out)) == [] and not out.exists()
