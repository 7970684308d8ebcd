from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.memory_filesystem import MemoryFileSystem
from transforms import storage
from transforms.library import LibraryError
from transforms.report_folder import MARKER, ReportFolder

URL = "testmem://bucket/library/report"


@pytest.fixture(autouse=True)
def _no_files_in_memory() -> Iterator[None]:
    MemoryFileSystem.clear()
    yield
    MemoryFileSystem.clear()


def write(folder: str, **files: bytes) -> None:
    with ReportFolder(folder) as report:
        for name, data in files.items():
            report.write(name.replace("__", "/"), data)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != MARKER
    }


def test_a_new_report_replaces_all_of_the_old_one(tmp_path: Path) -> None:
    report = tmp_path / "report"
    write(str(report), a=b"1", people__b=b"2")
    assert contents(report) == {"a": b"1", "people/b": b"2"}
    write(str(report), a=b"3", people__c=b"4")
    assert contents(report) == {"a": b"3", "people/c": b"4"}
    assert os.listdir(tmp_path) == ["report"]


def test_a_failure_leaves_the_old_report_and_nothing_beside_it(tmp_path: Path) -> None:
    report = tmp_path / "report"
    write(str(report), a=b"old")
    with pytest.raises(KeyboardInterrupt), ReportFolder(str(report)) as folder:
        folder.write("a", b"new")
        raise KeyboardInterrupt
    assert contents(report) == {"a": b"old"}
    assert os.listdir(tmp_path) == ["report"]


def test_what_a_crash_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    report = tmp_path / "report"
    write(str(report), a=b"old")
    for left in ("report.partial-" + "0" * 32, "report.old-" + "1" * 32):
        (tmp_path / left / "people").mkdir(parents=True)
    (tmp_path / "report.partial-notes").mkdir()
    write(str(report), a=b"new")
    assert contents(report) == {"a": b"new"}
    assert sorted(os.listdir(tmp_path)) == ["report", "report.partial-notes"]


def test_the_old_report_returns_after_a_crash_between_the_two_renames(tmp_path: Path) -> None:
    report = tmp_path / "report"
    write(str(report), a=b"old")
    report.rename(tmp_path / ("report.old-" + "1" * 32))
    with pytest.raises(RuntimeError), ReportFolder(str(report)):
        raise RuntimeError
    assert contents(report) == {"a": b"old"}


def test_the_old_report_returns_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report"
    write(str(report), a=b"old")
    rename = os.rename

    def failing(source: str, target: str) -> None:
        if ".partial-" in source:
            raise PermissionError(13, "no", source)
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(storage.WriteFailed, match="report can't be written"):
        write(str(report), a=b"new")
    assert contents(report) == {"a": b"old"}
    assert os.listdir(tmp_path) == ["report"]


@pytest.mark.parametrize("name", ["holiday.jpg", ".hidden"])
def test_a_folder_with_other_things_is_refused_and_kept(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(LibraryError, match="is not an Albumen report") as error:
        write(str(tmp_path), a=b"1")
    assert name in str(error.value)
    assert contents(tmp_path) == {name: b"mine"}


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"mine")
    with pytest.raises(LibraryError, match="is a file"):
        write(str(tmp_path / "out"), a=b"1")
    assert (tmp_path / "out").read_bytes() == b"mine"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(str(tmp_path / "out") + "/", a=b"1")
    assert contents(tmp_path / "out") == {"a": b"1"}


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    write(str(tmp_path / "out"), a=b"1")
    write(str(tmp_path / "out"), a=b"2")
    assert (tmp_path / "out").is_symlink()
    assert contents(tmp_path / "disk") == {"a": b"2"}


def test_a_mount_point_is_written_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    write(str(tmp_path), a=b"1", people__b=b"2")
    write(str(tmp_path), a=b"3", people__c=b"4")
    assert contents(tmp_path) == {"a": b"3", "people/c": b"4"}
    assert not (tmp_path / ".spill").exists()


def test_a_url_is_written_in_place_and_stale_pages_go() -> None:
    write(URL, a=b"1", people__b=b"2")
    write(URL, a=b"3", people__c=b"4")
    files = {name: data for name, (data, _) in MemoryFileSystem.files.items()}
    del files[f"{URL}/{MARKER}"]
    assert files == {f"{URL}/a": b"3", f"{URL}/people/c": b"4"}


def test_a_url_with_other_things_is_refused() -> None:
    MemoryFileSystem.put(f"{URL}/holiday.jpg", b"mine")
    with pytest.raises(LibraryError, match=r"holiday\.jpg"):
        write(URL, a=b"1")


def test_the_bytes_written_are_counted(tmp_path: Path) -> None:
    with ReportFolder(str(tmp_path / "report")) as report:
        before = report.bytes_written
        report.write("a", b"12345")
        assert report.bytes_written == before + 5
