from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.memory_filesystem import MemoryFileSystem
from transforms import storage
from transforms.lease_file import LeaseFile, LocalLeaseFile, Snapshot, UrlLeaseFile

NAME = "lease.json"
URL = "testmem://bucket/library"


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("transforms.lease_file.SETTLE_SECONDS", 0.0)
    MemoryFileSystem.clear()
    yield
    MemoryFileSystem.clear()


@pytest.fixture(params=["local", "url"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> LeaseFile:
    return UrlLeaseFile(URL, NAME) if request.param == "url" else LocalLeaseFile(str(tmp_path), NAME)


def read(file: LeaseFile) -> Snapshot:
    found = file.read()
    assert found is not None
    return found


def test_a_file_is_created_once(file: LeaseFile) -> None:
    assert file.read() is None
    assert file.create(b"first")
    assert not file.create(b"second")
    assert read(file).content == b"first"


def test_only_its_owner_rewrites_and_removes_a_file(file: LeaseFile) -> None:
    file.create(b"mine, and long")
    assert not file.rewrite(b"theirs", owned=lambda content: content == b"theirs")
    assert not file.remove(owned=lambda content: content == b"theirs")
    assert file.rewrite(b"mine", owned=lambda content: content == b"mine, and long")
    assert read(file).content == b"mine"
    assert file.remove(owned=lambda content: content == b"mine")
    assert file.read() is None


def test_what_is_gone_is_neither_rewritten_nor_removed(file: LeaseFile) -> None:
    with pytest.raises(FileNotFoundError):
        file.rewrite(b"mine", owned=lambda content: True)
    assert not file.remove(owned=lambda content: True)
    assert file.read() is None


def test_a_file_is_taken_away_only_as_it_was_judged(file: LeaseFile) -> None:
    file.create(b"old")
    judged = read(file)
    file.rewrite(b"new", owned=lambda content: True)
    assert not file.take_away(judged)
    assert read(file).content == b"new"
    assert file.take_away(read(file))
    assert file.read() is None


def test_the_clock_is_that_of_new_files_and_leaves_none(file: LeaseFile) -> None:
    before = file.clock()
    file.create(b"mine")
    assert before <= read(file).modified <= file.clock()
    file.remove(owned=lambda content: True)
    assert not MemoryFileSystem.files


def test_of_many_that_take_one_file_away_one_does(tmp_path: Path) -> None:
    for _ in range(20):
        LocalLeaseFile(str(tmp_path), NAME).create(b"old")
        judged = read(LocalLeaseFile(str(tmp_path), NAME))
        barrier = threading.Barrier(5)
        taken: list[bool] = []

        def take(barrier: threading.Barrier, judged: Snapshot, taken: list[bool]) -> None:
            file = LocalLeaseFile(str(tmp_path), NAME)
            barrier.wait()
            taken.append(file.take_away(judged) and file.create(b"new"))

        threads = [threading.Thread(target=take, args=(barrier, judged, taken)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == [False, False, False, False, True]
        assert os.listdir(tmp_path) == [NAME]
        os.unlink(tmp_path / NAME)


def test_putting_a_file_back_does_not_overwrite_a_newer_one(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"first")

    def meanwhile(_: object) -> bool:
        (tmp_path / NAME).write_bytes(b"second")
        return False

    assert not LocalLeaseFile(str(tmp_path), NAME).remove(owned=meanwhile)
    assert (tmp_path / NAME).read_bytes() == b"second"
    assert os.listdir(tmp_path) == [NAME]


def test_rewriting_a_file_that_is_taken_over_meanwhile_leaves_the_new_one_alone(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"mine")

    def meanwhile(content: bytes) -> bool:
        os.rename(tmp_path / NAME, tmp_path / "aside")
        (tmp_path / NAME).write_bytes(b"theirs")
        return content == b"mine"

    LocalLeaseFile(str(tmp_path), NAME).rewrite(b"beat", owned=meanwhile)
    assert (tmp_path / NAME).read_bytes() == b"theirs"


def test_what_a_crash_leaves_is_cleaned_up_with_other_partial_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "unlink", lambda path, **_: None)
    file = LocalLeaseFile(str(tmp_path), NAME)
    file.create(b"old")
    file.clock()
    file.take_away(read(file))
    monkeypatch.undo()
    assert storage.remove_partial_files(str(tmp_path)) == 3
    assert os.listdir(tmp_path) == []
