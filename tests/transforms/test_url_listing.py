from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.memory_filesystem import MemoryFileSystem
from transforms.listing import ArchiveError, ListingReport, list_archive
from transforms.records import FileEntry

URL = "testmem://bucket/photos"
LIBRARY_INFO = json.dumps({"format": 1, "roots": {}, "fingerprint": None, "settings": None}).encode()


@pytest.fixture(autouse=True)
def _no_files_in_memory() -> Iterator[None]:
    MemoryFileSystem.clear()
    yield
    MemoryFileSystem.clear()


def listed(location: str, **options: Any) -> tuple[list[FileEntry], ListingReport]:
    report = ListingReport()
    return list(list_archive(location, root="main", report=report, **options)), report


def paths(location: str) -> list[bytes]:
    return [entry.path for entry in listed(location)[0]]


def put(*relative: str, base: str = URL) -> None:
    for path in relative:
        MemoryFileSystem.put(f"{base}/{path}", path.encode(), modified=1_700_000_000.25)


@pytest.mark.parametrize("location", [URL, URL + "/"])
def test_a_url_is_listed_with_sizes_and_times(location: str) -> None:
    put("b/c/2.jpg", "a.jpg")
    put("x.jpg", base=URL + "-2019")
    entries, report = listed(location)
    assert entries == [
        FileEntry("main", b"a.jpg", 5, 1_700_000_000_250_000),
        FileEntry("main", b"b/c/2.jpg", 9, 1_700_000_000_250_000),
    ]
    assert (report.files, report.folders) == (2, 3)


@pytest.mark.parametrize("name", ["photos [2019]", "photos*", "photos?", "[", "[!a]"])
def test_a_url_may_hold_the_special_characters_of_patterns(name: str) -> None:
    put("a [1].jpg", "line\nbreak.jpg", "ü*.jpg", base=f"testmem://bucket/{name}")
    put("b.jpg", base="testmem://bucket/photosX")
    put("c.jpg", base="testmem://bucket/a")
    expected = sorted([b"a [1].jpg", b"line\nbreak.jpg", "ü*.jpg".encode()])
    assert paths(f"testmem://bucket/{name}") == expected


def test_the_same_rules_hold_for_a_url() -> None:
    put("a.jpg", ".hidden.jpg", "d/.h/b.jpg", "d/.h/i/c.jpg", "@eaDir/a.jpg", "d/.Trash-1/x/c.jpg", "empty/")
    put("P.photoslibrary/originals/1.heic", "P.photoslibrary/resources/1.jpg")
    put("library/report/crop.jpg", "old/photos/x.parquet", "old/zoo/y.jpg", "mine/library.json")
    MemoryFileSystem.put(f"{URL}/old/library.json", LIBRARY_INFO)
    entries, report = listed(URL, exclude=[f"{URL}/library", "/elsewhere"])
    assert [e.path for e in entries] == [b"P.photoslibrary/originals/1.heic", b"a.jpg", b"mine/library.json"]
    assert report == ListingReport(
        files=3, folders=5, hidden_folders=1, cache_folders=3, hidden_files=1,
        excluded_folders=1, other_libraries=1,
    )  # fmt: skip


@pytest.mark.parametrize("location", ["testmem://bucket/nothing", "nosuchscheme://bucket", URL])
def test_a_url_without_files_is_an_error_at_once(location: str) -> None:
    MemoryFileSystem.failures[URL + "/"] = PermissionError("403")
    with pytest.raises(ArchiveError, match=location):
        list_archive(location, root="main", report=ListingReport())


def test_a_url_that_is_a_library_is_refused() -> None:
    MemoryFileSystem.put(f"{URL}/library.json", LIBRARY_INFO)
    with pytest.raises(ArchiveError, match="Albumen library"):
        listed(URL)
    with pytest.raises(ArchiveError, match="both archive and library"):
        listed(URL, exclude=[URL])


def test_a_filesystem_that_lists_single_folders_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    put("a.jpg")
    monkeypatch.setattr(MemoryFileSystem, "has_dirs", lambda self: True)
    with pytest.raises(ArchiveError, match="mount it instead"):
        listed(URL)
