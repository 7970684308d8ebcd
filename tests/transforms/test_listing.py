from __future__ import annotations

import errno
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.listing import ArchiveError, ListingReport, list_archive
from transforms.records import FileEntry

LIBRARY_INFO = json.dumps({"format": 1, "roots": {}, "fingerprint": None, "settings": None}).encode()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder


def write(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())


def listed(location: Path | str, **options: Any) -> tuple[list[FileEntry], ListingReport]:
    report = ListingReport()
    return list(list_archive(str(location), root="main", report=report, **options)), report


def paths(location: Path | str, **options: Any) -> list[bytes]:
    return [entry.path for entry in listed(location, **options)[0]]


# -- what is listed ----------------------------------------------------------------------------------


def test_files_come_depth_first_in_order_of_their_names(archive: Path) -> None:
    write(archive, "z.jpg", "b/2.jpg", "b/1.jpg", "a.jpg", "b/a/3.jpg", "a/4.jpg")
    entries, report = listed(archive)
    expected = [b"a.jpg", b"z.jpg", b"a/4.jpg", b"b/1.jpg", b"b/2.jpg", b"b/a/3.jpg"]
    assert [e.path for e in entries] == expected
    assert (report.files, report.folders) == (6, 4)


def test_an_entry_has_root_size_and_mtime_in_microseconds(archive: Path) -> None:
    write(archive, "a.jpg")
    os.utime(archive / "a.jpg", ns=(0, 1_700_000_000_123_456_789))
    assert listed(archive)[0] == [FileEntry("main", b"a.jpg", 5, 1_700_000_000_123_456)]


def test_an_mtime_before_1970_is_kept(archive: Path) -> None:
    write(archive, "a.jpg")
    os.utime(archive / "a.jpg", ns=(0, -1_000_000_000))
    assert listed(archive)[0][0].mtime_us == -1_000_000


def test_an_empty_archive_has_no_files(archive: Path) -> None:
    entries, report = listed(archive)
    assert (entries, report) == ([], ListingReport(folders=1))


file_names = st.binary(min_size=1, max_size=255).filter(
    lambda n: not set(n) & {0, ord("/")} and not n.startswith(b".")
)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are not UTF-8")
@settings(max_examples=60, deadline=None)
@given(names=st.sets(file_names, min_size=1, max_size=5))
@example(names={b"line\nbreak.jpg", b"\xff\xfe.jpg", b"[1].jpg", b"-rf", b"x" * 255, b"*?.jpg", b" "})
def test_every_name_is_listed_with_its_exact_bytes(names: set[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            (Path(folder) / os.fsdecode(name)).touch()
        assert paths(folder) == sorted(names)


def test_the_archive_itself_may_have_an_unusual_name(tmp_path: Path) -> None:
    location = os.fsencode(tmp_path) + b"/[\xff]\n"
    if sys.platform != "linux":
        location = os.fsencode(tmp_path) + b"/[x]\n"
    os.mkdir(location)
    Path(os.fsdecode(location), "a.jpg").touch()
    assert paths(os.fsdecode(location)) == [b"a.jpg"]


@pytest.fixture
def deep_archive(archive: Path) -> Iterator[Path]:
    """An archive with a file a thousand folders down; most tools can't remove such a tree."""
    start = os.getcwd()
    os.chdir(archive)
    for _ in range(1000):
        os.mkdir("d")
        os.chdir("d")
    Path("a.jpg").touch()
    os.chdir(start)
    yield archive
    os.chdir(os.path.join(archive, *["d"] * 1000))
    os.unlink("a.jpg")
    for _ in range(1000):
        os.chdir("..")
        os.rmdir("d")
    os.chdir(start)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no path that long")
def test_a_thousand_folders_deep(deep_archive: Path) -> None:
    assert paths(deep_archive) == [b"d/" * 1000 + b"a.jpg"]


# -- what is left out --------------------------------------------------------------------------------


def test_hidden_files_and_folders_are_left_out_and_counted(archive: Path) -> None:
    write(archive, "a.jpg", "._a.jpg", ".DS_Store", ".hidden/b.jpg", "c/.also/d.jpg")
    entries, report = listed(archive)
    assert [e.path for e in entries] == [b"a.jpg"]
    assert (report.hidden_files, report.hidden_folders) == (2, 2)


@pytest.mark.parametrize("name", ["@eaDir", ".thumbnails", "Family Previews.lrdata"])
def test_a_cache_folder_is_left_out_and_counted(archive: Path, name: str) -> None:
    write(archive, "2019/a.jpg", f"2019/{name}/deeper/a.jpg")
    entries, report = listed(archive)
    assert [e.path for e in entries] == [b"2019/a.jpg"]
    assert (report.cache_folders, report.hidden_folders) == (1, 0)


@pytest.mark.parametrize("inside", ["archive", "archive/Pictures/Photos Library.photoslibrary"])
def test_of_an_apple_photos_library_the_originals_are_listed(tmp_path: Path, inside: str) -> None:
    package = tmp_path / "archive/Pictures/Photos Library.photoslibrary"
    write(
        package,
        "originals/0/derivatives/A.heic",
        "resources/derivatives/A.jpg",
        "database/x",
        "Masters/B.jpg",
    )
    entries, report = listed(tmp_path / inside)
    found = [e.path.rpartition(b"photoslibrary/")[2] for e in entries]
    assert found == [b"Masters/B.jpg", b"originals/0/derivatives/A.heic"]
    assert report.cache_folders == 2


def test_excluded_folders_are_left_out_under_any_spelling(archive: Path, tmp_path: Path) -> None:
    write(archive, "a.jpg", "library/report/b.jpg", "out/c.jpg", "library2/d.jpg")
    (tmp_path / "shortcut").symlink_to(archive / "library")
    exclude = [str(tmp_path / "shortcut"), str(archive) + "/../archive/out/", str(tmp_path / "missing")]
    entries, report = listed(archive, exclude=[*exclude, "gs://bucket/elsewhere"])
    assert [e.path for e in entries] == [b"a.jpg", b"library2/d.jpg"]
    assert report.excluded_folders == 2


def test_a_link_does_not_bring_an_excluded_folder_back(archive: Path, tmp_path: Path) -> None:
    write(tmp_path / "library", "crop.jpg")
    (archive / "link").symlink_to(tmp_path / "library")
    entries, report = listed(archive, exclude=[str(tmp_path / "library")])
    assert (entries, report.excluded_folders) == ([], 1)


def test_another_library_in_the_archive_is_left_out(archive: Path) -> None:
    write(archive, "a.jpg", "old/report/b.jpg", "mine/c.jpg")
    (archive / "old" / "library.json").write_bytes(LIBRARY_INFO)
    (archive / "mine" / "library.json").write_text('{"books": ["format", "roots"]}')
    entries, report = listed(archive)
    assert [e.path for e in entries] == [b"a.jpg", b"mine/c.jpg", b"mine/library.json"]
    assert report.other_libraries == 1


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff", b"[]"])
def test_a_foreign_library_json_is_a_file_like_others(archive: Path, content: bytes) -> None:
    (archive / "library.json").write_bytes(content)
    assert paths(archive) == [b"library.json"]


def test_a_library_as_the_archive_is_refused(archive: Path) -> None:
    (archive / "library.json").write_bytes(LIBRARY_INFO)
    with pytest.raises(ArchiveError, match="Albumen library, not an archive"):
        listed(archive)


def test_one_folder_for_archive_and_library_is_refused(archive: Path) -> None:
    with pytest.raises(ArchiveError, match="both archive and library"):
        listed(archive, exclude=[f"{archive}/"])


def test_pipes_and_sockets_are_counted(archive: Path) -> None:
    os.mkfifo(archive / "pipe.jpg")
    os.mkfifo(archive / "library.json")
    write(archive, "a.jpg")
    entries, report = listed(archive)
    assert [e.path for e in entries] == [b"a.jpg"]
    assert report.special_files == 2


# -- symbolic links ----------------------------------------------------------------------------------


def test_a_linked_file_is_a_file(archive: Path, tmp_path: Path) -> None:
    write(tmp_path, "elsewhere.jpg")
    (archive / "a.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    assert listed(archive)[0][0].size == len("elsewhere.jpg")


def test_a_broken_link_is_counted(archive: Path) -> None:
    (archive / "a.jpg").symlink_to(archive / "nowhere.jpg")
    (archive / "b.jpg").symlink_to("b.jpg")
    entries, report = listed(archive)
    assert (entries, report.links_skipped) == ([], 2)


def test_a_linked_folder_is_listed_once_and_after_the_real_ones(archive: Path, tmp_path: Path) -> None:
    write(tmp_path / "drive", "x.jpg", "deep/y.jpg")
    write(archive, "z/a.jpg")
    (archive / "a link").symlink_to(tmp_path / "drive")
    (archive / "b link").symlink_to(tmp_path / "drive/deep")
    entries, report = listed(archive)
    assert [e.path for e in entries] == [b"z/a.jpg", b"a link/x.jpg", b"a link/deep/y.jpg"]
    assert report.links_skipped == 1


def test_a_link_within_the_archive_does_not_rename_what_it_points_to(archive: Path) -> None:
    write(archive, "z/a.jpg")
    (archive / "a link").symlink_to("z")
    entries, report = listed(archive)
    assert [e.path for e in entries] == [b"z/a.jpg"]
    assert report.links_skipped == 1


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "2019", "2019/loop"])
def test_a_loop_ends(archive: Path, target: str) -> None:
    write(archive, "2019/a.jpg")
    (archive / "2019" / "loop").symlink_to(target)
    entries, report = listed(archive)
    assert [e.path for e in entries] == [b"2019/a.jpg"]
    assert report.links_skipped == 1


def test_two_linked_folders_that_link_to_each_other_end(archive: Path, tmp_path: Path) -> None:
    write(tmp_path, "one/1.jpg", "two/2.jpg")
    (tmp_path / "one" / "next").symlink_to(tmp_path / "two")
    (tmp_path / "two" / "next").symlink_to(tmp_path / "one")
    (archive / "link").symlink_to(tmp_path / "one")
    assert paths(archive) == [b"link/1.jpg", b"link/next/2.jpg"]


# -- faults ------------------------------------------------------------------------------------------


def failing_scandir(monkeypatch: pytest.MonkeyPatch, failures: dict[bytes, OSError]) -> None:
    real = os.scandir

    def scandir(path: bytes) -> Any:
        for name, error in failures.items():
            if os.path.basename(os.fsencode(path)) == name:
                raise error
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ENOENT, errno.ENAMETOOLONG])
def test_a_folder_that_fails_is_recorded_and_the_rest_listed(
    archive: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    write(archive, "a/1.jpg", "b/bad/2.jpg", "c/3.jpg")
    failing_scandir(monkeypatch, {b"bad": OSError(number, os.strerror(number))})
    entries, report = listed(archive)
    assert [e.path for e in entries] == [b"a/1.jpg", b"c/3.jpg"]
    assert report.unreadable_folders == [(b"b/bad", os.strerror(number))]


class Opened:
    """What os.scandir returns, with other entries in it."""

    def __init__(self, entries: Iterator[Any]) -> None:
        self._entries = entries

    def __enter__(self) -> Iterator[Any]:
        return self._entries

    def __exit__(self, *_: object) -> None:
        pass


def altered_scandir(
    monkeypatch: pytest.MonkeyPatch, alter: Callable[[bytes, list[os.DirEntry[bytes]]], Iterator[Any]]
) -> None:
    real = os.scandir

    def scandir(path: bytes) -> Opened:
        with real(path) as entries:
            return Opened(alter(path, list(entries)))

    monkeypatch.setattr(os, "scandir", scandir)


def test_what_was_read_of_a_folder_before_it_failed_is_listed(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(archive, "bad/1.jpg", "bad/2.jpg", "c.jpg")

    def half(path: bytes, entries: list[os.DirEntry[bytes]]) -> Iterator[Any]:
        for entry in entries:
            yield entry
            if path.endswith(b"bad"):
                raise OSError(errno.EIO, "Input/output error")

    altered_scandir(monkeypatch, half)
    entries, report = listed(archive)
    assert len(entries) == 2
    assert report.unreadable_folders == [(b"bad", "Input/output error")]


class UnknownEntry:
    """An entry that only its folder knows: its own state can't be read."""

    def __init__(self, entry: os.DirEntry[bytes]) -> None:
        self.name, self.path, self.is_dir = entry.name, entry.path, entry.is_dir

    def is_symlink(self) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    def stat(self) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied")


def test_entries_whose_state_is_unknown_are_not_lost(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(archive, "a.jpg", "b/c.jpg", "lost+found/x")
    altered_scandir(monkeypatch, lambda path, entries: map(UnknownEntry, entries))
    entries, report = listed(archive)
    assert entries == [FileEntry("main", b"a.jpg", 0, 0)]
    assert report.unreadable_folders == [(b"b", "Permission denied")]
    assert report.cache_folders == 1


class UnnumberedEntry:
    """An entry on a network drive that gives every file the inode number 0."""

    def __init__(self, entry: os.DirEntry[bytes]) -> None:
        self.name, self.path, self._entry = entry.name, entry.path, entry
        self.is_dir, self.is_symlink = entry.is_dir, entry.is_symlink

    def stat(self) -> SimpleNamespace:
        real = self._entry.stat()
        return SimpleNamespace(
            st_mode=real.st_mode, st_dev=1, st_ino=0, st_size=real.st_size, st_mtime_ns=real.st_mtime_ns
        )


def test_a_drive_without_inode_numbers_is_listed_whole_but_for_its_links(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(archive, "a/1.jpg", "a/b/2.jpg", "library/3.jpg")
    (archive / "loop").symlink_to(archive)
    altered_scandir(monkeypatch, lambda path, entries: map(UnnumberedEntry, entries))
    entries, report = listed(archive, exclude=[str(archive / "library")])
    assert [e.path for e in entries] == [b"a/1.jpg", b"a/b/2.jpg"]
    assert (report.links_skipped, report.excluded_folders) == (1, 1)


def test_a_time_beyond_the_calendar_becomes_its_last_moment(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(archive, "a.jpg")

    class Late(UnnumberedEntry):
        def stat(self) -> SimpleNamespace:
            status = super().stat()
            status.st_mtime_ns = 2**80
            return status

    altered_scandir(monkeypatch, lambda path, entries: map(Late, entries))
    moment = datetime(1970, 1, 1) + timedelta(microseconds=listed(archive)[0][0].mtime_us)
    assert moment == datetime.max


def test_a_server_that_shows_a_loop_as_real_folders_is_listed_once(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(archive, "a/1.jpg")
    (archive / "a" / "loop").symlink_to(archive)
    monkeypatch.setattr("transforms.listing._is_link", lambda entry: False)
    entries, report = listed(archive)
    assert [e.path for e in entries] == [b"a/1.jpg"]
    assert report.links_skipped == 1


def missing(archive: Path) -> None:
    archive.rmdir()


def a_file(archive: Path) -> None:
    archive.rmdir()
    archive.touch()


@pytest.mark.parametrize("spoil", [missing, a_file])
def test_a_root_that_is_no_folder_is_an_error_at_once(archive: Path, spoil: Callable[[Path], None]) -> None:
    spoil(archive)
    with pytest.raises(ArchiveError, match=rf"{archive}.*is the drive mounted"):
        list_archive(str(archive), root="main", report=ListingReport())


def test_an_unreadable_root_is_an_error(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_scandir(monkeypatch, {b"archive": PermissionError(errno.EACCES, "Permission denied")})
    with pytest.raises(ArchiveError, match="Permission denied"):
        listed(archive)


def test_a_root_that_goes_while_listing_is_an_error(archive: Path, tmp_path: Path) -> None:
    write(archive, "1.jpg", "a/2.jpg", "b/3.jpg")
    entries = list_archive(str(archive), root="main", report=ListingReport())
    assert next(entries).path == b"1.jpg"
    archive.rename(tmp_path / "gone")
    with pytest.raises(ArchiveError, match="is the drive mounted"):
        list(entries)
