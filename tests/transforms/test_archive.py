from __future__ import annotations

import pickle
import socket
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.memory_filesystem import MemoryFileSystem
from transforms.archive import ArchiveError, RootGuard, is_cache, mtime_in_range

CACHES = [
    ".thumbnails", "@eaDir", "@EADIR", "#recycle", "@Recycle", "$RECYCLE.BIN", "System Volume Information",
    "lost+found", ".Trash", ".Trash-1000", ".Trashes", "Family Previews.lrdata",
    "Family Smart Previews.lrdata", "appdata_oc1a2b3c4d5e",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_files_in_memory() -> Iterator[None]:
    MemoryFileSystem.clear()
    yield
    MemoryFileSystem.clear()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


# -- folders without photos --------------------------------------------------------------------------


@pytest.mark.parametrize("name", CACHES)
def test_folders_of_thumbnails_caches_and_deleted_files_are_known(name: str) -> None:
    assert is_cache(name.encode(), parent=b"2019")
    assert is_cache(name.upper().encode(), parent=b"2019")


@pytest.mark.parametrize(
    "name", ["Thumbs", "thumbnails", "cache", "Previews", "Trash", "recycle", "originals", "derivatives", ""]
)
def test_names_that_a_person_may_give_are_none_of_them(name: str) -> None:
    assert not is_cache(name.encode(), parent=b"2019")


@pytest.mark.parametrize("package", ["My.photoslibrary", "OLD.PHOTOLIBRARY", "x.aplibrary"])
def test_in_an_apple_package_all_but_the_originals_is_cache(package: str) -> None:
    parent = package.encode()
    assert not is_cache(b"originals", parent=parent)
    assert not is_cache(b"Masters", parent=parent)
    assert is_cache(b"resources", parent=parent)


@given(st.integers(-(2**80), 2**80))
def test_any_mtime_becomes_one_that_a_datetime_holds(mtime_us: int) -> None:
    held = mtime_in_range(mtime_us)
    moment = datetime(1970, 1, 1) + timedelta(microseconds=held)
    assert held == mtime_us or moment in (datetime.min, datetime.max)


# -- the guard of a root -----------------------------------------------------------------------------


def test_a_guard_of_an_unchanged_root_is_content(archive: Path) -> None:
    guard = RootGuard.of(str(archive))
    guard.check()
    (archive / "a.jpg").touch()
    guard.check()


def test_a_guard_notices_a_root_that_is_gone(archive: Path) -> None:
    guard = RootGuard.of(str(archive))
    archive.rmdir()
    with pytest.raises(ArchiveError, match="can't be listed"):
        guard.check()


def test_a_guard_notices_a_root_that_became_empty(archive: Path) -> None:
    (archive / "a.jpg").touch()
    guard = RootGuard.of(str(archive))
    (archive / "a.jpg").unlink()
    with pytest.raises(ArchiveError, match="is empty and was not"):
        guard.check()


def test_a_guard_notices_another_folder_in_the_place_of_the_root(archive: Path, tmp_path: Path) -> None:
    guard = RootGuard.of(str(archive))
    archive.rename(tmp_path / "before")
    archive.mkdir()
    with pytest.raises(ArchiveError, match="another folder or drive"):
        guard.check()


def test_a_guard_does_not_compare_inodes_across_machines(archive: Path) -> None:
    guard = RootGuard.of(str(archive))
    assert guard.host == socket.gethostname()
    replace(guard, host="another machine", device=guard.device + 1).check()
    with pytest.raises(ArchiveError):
        replace(guard, device=guard.device + 1).check()


def test_a_guard_travels(archive: Path) -> None:
    guard = RootGuard.of(str(archive))
    assert pickle.loads(pickle.dumps(guard)) == guard
    assert RootGuard(**asdict(guard)) == guard


@pytest.mark.parametrize("name", ["photos", "photos [2019]", "photos*", "[!a]"])
def test_a_guard_notices_a_url_that_became_empty(name: str) -> None:
    url = f"testmem://bucket/{name}"
    MemoryFileSystem.put(f"{url}/a.jpg")
    MemoryFileSystem.put("testmem://bucket/photosX/a.jpg")
    MemoryFileSystem.put("testmem://bucket/photos 2/a.jpg")
    guard = RootGuard.of(url)
    guard.check()
    del MemoryFileSystem.files[f"{url}/a.jpg"]
    with pytest.raises(ArchiveError, match="is empty and was not"):
        guard.check()


def test_a_guard_notices_a_url_that_fails() -> None:
    MemoryFileSystem.put("testmem://bucket/photos/a.jpg")
    guard = RootGuard.of("testmem://bucket/photos")
    MemoryFileSystem.failures["testmem://bucket/photos/"] = PermissionError("403")
    with pytest.raises(ArchiveError, match="403"):
        guard.check()
