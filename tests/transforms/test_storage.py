from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.memory_filesystem import MemoryFileSystem
from transforms import storage


@pytest.fixture(autouse=True)
def _no_files_in_memory() -> Iterator[None]:
    MemoryFileSystem.clear()
    yield
    MemoryFileSystem.clear()


@pytest.fixture(params=["local", "url", "url with special characters"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "a [1]" / "b*")
    return {"url": "testmem://bucket/a/b", "url with special characters": "testmem://bucket/a [1]/b*?"}[
        request.param
    ]


def write(folder: str, *names: str) -> None:
    for name in names:
        storage.write_bytes(storage.join(folder, *name.split("/")), name.encode())


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("gs://bucket/x", True),
        ("s3://b", True),
        ("testmem://bucket", True),
        ("/home/gs://x", False),
        ("relative/x", False),
        ("C://x", False),
        ("://x", False),
        ("", False),
    ],
)
def test_urls_are_told_from_paths(path: str, url: bool) -> None:
    assert storage.is_url(path) is url


def test_parts_are_joined_as_their_kind_wants() -> None:
    assert storage.join("gs://bucket/a/", "b", "c.parquet") == "gs://bucket/a/b/c.parquet"
    assert storage.join("/data/", "b", "c") == os.path.join("/data", "b", "c")


def test_what_is_written_is_read(folder: str) -> None:
    path = storage.join(folder, "deep", "file.bin")
    assert not storage.exists(path)
    storage.write_bytes(path, b"first")
    storage.write_bytes(path, memoryview(b"second"))
    assert storage.exists(path) and storage.read_bytes(path) == b"second" and storage.size(path) == 6
    with storage.open_input(path) as file:
        file.seek(3)
        assert file.read() == b"ond"


@pytest.mark.parametrize("name", ["x.gz", "x.bz2", "x.zst"])
def test_no_name_makes_a_file_be_compressed(folder: str, name: str) -> None:
    path = storage.join(folder, name)
    storage.write_bytes(path, b"plain")
    assert storage.read_bytes(path) == b"plain" and storage.size(path) == 5


def test_files_and_folders_are_listed_in_order_and_one_level_deep(folder: str) -> None:
    write(folder, "b.parquet", "a.parquet", "c.json", "sub/d.parquet", "other/deep/e", "sub/f")
    write(folder + "-beside", "z.parquet")
    assert storage.file_names(folder) == ["a.parquet", "b.parquet", "c.json"]
    assert storage.file_names(folder, suffix=".parquet") == ["a.parquet", "b.parquet"]
    assert storage.folder_names(folder) == ["other", "sub"]


def test_a_folder_that_is_not_there_is_empty(folder: str) -> None:
    assert storage.file_names(folder) == storage.folder_names(folder) == []
    assert storage.remove_partial_files(folder) == 0
    storage.remove_folder(folder)
    storage.remove(storage.join(folder, "file"))


def test_a_file_is_removed_alone_and_a_folder_with_all_in_it(folder: str) -> None:
    write(folder, "keep", "gone", "sub/a", "sub/deep/b", "subway/c")
    storage.remove(storage.join(folder, "gone"))
    storage.remove(storage.join(folder, "gone"))
    storage.remove_folder(storage.join(folder, "sub"))
    assert storage.file_names(folder) == ["keep"] and storage.folder_names(folder) == ["subway"]
    assert storage.read_bytes(storage.join(folder, "subway", "c")) == b"subway/c"


@pytest.mark.parametrize("read", [storage.read_bytes, storage.open_input])
def test_a_missing_file_is_a_file_not_found(tmp_path: Path, read) -> None:
    with pytest.raises(FileNotFoundError):
        read(str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError):
        read("testmem://bucket/gone")


class Fault:
    """Fails at its n-th call, and lets the others through."""

    def __init__(self, call, number: int, error: BaseException) -> None:
        self._call, self._left, self._error = call, number, error

    def __call__(self, *args, **options):
        self._left -= 1
        if self._left == 0:
            raise self._error
        return self._call(*args, **options)


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("before", [b"old", None])
def test_a_write_that_fails_leaves_what_there_was(
    step: str, error: BaseException, before: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    monkeypatch.setattr(os, step, Fault(getattr(os, step), 1, error))
    with pytest.raises(type(error)):
        storage.write_bytes(str(path), b"new")
    assert sorted(os.listdir(tmp_path)) == (["file"] if before is not None else [])
    assert before is None or path.read_bytes() == before


def test_a_write_that_dies_leaves_a_partial_file_that_nobody_sees_and_that_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(os, "replace", Fault(os.replace, 1, KeyboardInterrupt()))
        dying.setattr(os, "unlink", Fault(os.unlink, 1, OSError("dead processes remove nothing")))
        with pytest.raises(KeyboardInterrupt):
            storage.write_bytes(str(tmp_path / "file.parquet"), b"new")
    (left,) = os.listdir(tmp_path)
    assert left.endswith(storage.TEMPORARY_SUFFIX)
    write(str(tmp_path), "whole.parquet")
    assert storage.file_names(str(tmp_path)) == ["whole.parquet"]
    assert storage.remove_partial_files(str(tmp_path)) == 1
    assert os.listdir(tmp_path) == ["whole.parquet"]


def test_a_drive_that_refuses_to_sync_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", Fault(os.fsync, 2, OSError(22, "Invalid argument")))
    storage.write_bytes(str(tmp_path / "file"), b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_what_nobody_looks_for_after_a_crash_is_written_whole_without_waiting_for_the_drive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    monkeypatch.setattr(os, "fsync", Fault(os.fsync, 1, OSError(5, "a drive that is slow")))
    storage.write_bytes(str(path), b"new", durable=False)
    assert path.read_bytes() == b"new"
    monkeypatch.setattr(os, "replace", Fault(os.replace, 1, OSError(28, "No space left on device")))
    with pytest.raises(storage.WriteFailed):
        storage.write_bytes(str(path), b"newer", durable=False)
    assert os.listdir(tmp_path) == ["file"] and path.read_bytes() == b"new"


def test_errors_of_a_store_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    MemoryFileSystem.failures["testmem://bucket/file"] = OSError("403 forbidden")
    with pytest.raises(OSError, match="403"):
        storage.write_bytes("testmem://bucket/file", b"x")


def test_what_fails_in_the_block_passes_as_it_is_and_leaves_no_file(tmp_path: Path) -> None:
    class Unreadable(OSError):
        """Of the photograph that is being copied."""

    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(Unreadable), storage.open_output(str(tmp_path / "file")) as file:
        file.write(b"half")
        raise Unreadable(5, "Input/output error", "photo.jpg")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no drive that is always full")
def test_a_write_that_fails_in_the_block_names_the_file_that_it_was_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_full_drive(path: str, mode: str):
        return open("/dev/full", "wb")

    monkeypatch.setattr(storage, "open", on_a_full_drive, raising=False)
    for size in (10, 1 << 20):  # fails when closed, and at once
        with (
            pytest.raises(storage.WriteFailed, match=r"table.csv can't be written \(No space left"),
            storage.open_output(str(tmp_path / "table.csv")) as file,
        ):
            file.write(b"x" * size)
