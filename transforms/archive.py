"""What an archive is: its root and how that can fail, what in it holds no photos, what a listing met."""

from __future__ import annotations

import json
import os
import re
import socket
from dataclasses import dataclass, field

from transforms import storage
from transforms.records import printable

# Names that NAS systems, operating systems and photo programs give to folders of thumbnails, caches
# and deleted files, and that nobody gives to a folder of photos. Compared in lower case.
_CACHE_FOLDERS = frozenset(
    {
        b".thumbnails",  # freedesktop.org, Android
        b".@__thumb", b"@recycle", b"@recently-snapshot",  # QNAP
        b"@eadir", b"#recycle", b"#snapshot",  # Synology
        b"$recycle.bin", b"recycler", b"system volume information",  # Windows
        b"lost+found",  # ext4
        b"ipod photo cache",  # iTunes
    }
)  # fmt: skip
_CACHE_PATTERN = re.compile(
    rb"\.trash.*"  # .Trash, .Trashes, .Trash-1000
    rb"|.*previews\.lrdata"  # Lightroom's "Previews" and "Smart Previews"
    rb"|appdata_oc[0-9a-z]{10}",  # Nextcloud's previews
    re.IGNORECASE | re.DOTALL,
)
# Of the packages of Apple's photo programs only the originals are photos of their own.
_APPLE_PACKAGES = (b".photoslibrary", b".photolibrary", b".migratedphotolibrary", b".aplibrary")
_APPLE_ORIGINALS = (b"originals", b"masters")

LIBRARY_INFO = b"library.json"
_LIBRARY_INFO_LIMIT = 1 << 20
OUTPUT_MARKERS = (b".albumen-export.jsonl", b".albumen-report")
"""Files that mark a folder of exports or pages: its pictures are copies, not photos of the archive."""
# What a datetime can hold. Damaged disks report times beyond it.
_FIRST_MTIME_US, _LAST_MTIME_US = -62_135_596_800_000_000, 253_402_300_799_999_999


class ArchiveError(Exception):
    """The archive as a whole can't be listed; the message names it and the remedy."""


@dataclass
class ListingReport:
    """What one listing met; it grows while the listing is read.

    `links_skipped` are links to folders that are listed already (or contain the archive) and broken
    links; `special_files` sockets, pipes and devices; `excluded_folders` Albumen's own output;
    `other_libraries` further Albumen libraries. `unreadable_folders` holds (path relative to the
    root, reason): what lies below them is not in the listing, or only in part.
    """

    files: int = 0
    folders: int = 0
    hidden_folders: int = 0
    cache_folders: int = 0
    hidden_files: int = 0
    links_skipped: int = 0
    special_files: int = 0
    excluded_folders: int = 0
    other_libraries: int = 0
    unreadable_folders: list[tuple[bytes, str]] = field(default_factory=list)


@dataclass(frozen=True)
class RootGuard:
    """Tells a root that has gone (a drive unmounted, another one in its place) from files that have.

    Device and inode are compared on the machine that listed the archive only: elsewhere the same
    network drive has other numbers.
    """

    location: str
    device: int = 0
    inode: int = 0
    empty: bool = False
    host: str = ""

    @classmethod
    def of(cls, location: str) -> RootGuard:
        """Looks at a root now. Raises ArchiveError where it is missing, not a folder or unreadable."""
        if storage.is_url(location):
            return cls(location, empty=not match_url(location, first_only=True))
        try:
            status = os.stat(os.fsencode(location))
            return cls(location, status.st_dev, status.st_ino, _is_empty(location), socket.gethostname())
        except (OSError, ValueError) as error:
            raise archive_error(location, error) from error

    def check(self) -> None:
        """Raises ArchiveError where the root is missing, another folder, or empty unlike before."""
        now = RootGuard.of(self.location)
        if now.empty and not self.empty:
            raise ArchiveError(f"{shown(self.location)} is empty and was not: is the drive still mounted?")
        same = (now.device, now.inode) == (self.device, self.inode) or not self.inode
        if self.host == now.host and not same:
            raise ArchiveError(
                f"{shown(self.location)} is another folder or drive than when it was listed: "
                "is the right drive mounted? Start again once it is"
            )


def match_url(location: str, *, first_only: bool = False) -> list[tuple[str, int, float]]:
    """(URL, bytes, seconds since 1970) of what lies below a URL. Raises ArchiveError."""
    # Imported on use: Beam takes a second to import and local archives don't need it.
    from apache_beam.io.filesystems import FileSystems

    base = location.rstrip("/") + "/"
    # match() has no way to quote its special characters, but ? matches them as it does any other.
    pattern = re.sub(r"[\[*?]", "?", base)
    limit = 1 if first_only and pattern == base else None
    try:
        if FileSystems.get_filesystem(base).has_dirs():
            raise ValueError("Beam lists a filesystem of this kind one folder at a time; mount it instead")
        found = FileSystems.match([pattern + "**"], [limit])[0].metadata_list
    except (OSError, ValueError) as error:
        raise archive_error(location, error) from error
    return [(f.path, f.size_in_bytes, f.last_updated_in_seconds) for f in found if f.path.startswith(base)]


def is_cache(name: bytes, *, parent: bytes) -> bool:
    """Whether a folder of that name holds thumbnails, caches or deleted files, or is a part of an
    Apple photo package (`parent`, the name of the folder around it) without originals."""
    name, parent = name.lower(), parent.lower()
    if parent.endswith(_APPLE_PACKAGES) and name not in _APPLE_ORIGINALS:
        return True
    return name in _CACHE_FOLDERS or _CACHE_PATTERN.fullmatch(name) is not None


def is_library_info(path: str, *, size: int) -> bool:
    """Whether a file named `LIBRARY_INFO` marks an Albumen library (of any version)."""
    if size > _LIBRARY_INFO_LIMIT:
        return False
    try:
        data = json.loads(storage.read_bytes(path))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and {"format", "roots", "fingerprint"} <= data.keys()


def mtime_in_range(mtime_us: int) -> int:
    """Microseconds since 1970, held within the years that a datetime knows."""
    return max(_FIRST_MTIME_US, min(_LAST_MTIME_US, mtime_us))


def archive_error(location: str, error: Exception) -> ArchiveError:
    """What to raise when the root itself fails with `error`."""
    reason = (error.strerror if isinstance(error, OSError) else None) or error
    return ArchiveError(
        f"the archive {shown(location)} can't be listed ({reason}): is the path right, is the drive "
        "mounted, and may this user read it?"
    )


def is_library_error(location: str) -> ArchiveError:
    """What to raise when a library is given as the archive."""
    return ArchiveError(
        f"{shown(location)} is an Albumen library, not an archive of photos: give the archive first, "
        "then the library"
    )


def same_folder_error(location: str) -> ArchiveError:
    """What to raise when the output of a run would be its input."""
    return ArchiveError(f"{shown(location)} is both archive and library: give two folders")


def shown(location: str) -> str:
    """A location for a message: names that are not UTF-8 become printable."""
    return printable(location.encode("utf-8", "surrogateescape"))


def _is_empty(location: str) -> bool:
    with os.scandir(os.fsencode(location)) as entries:
        return next(entries, None) is None


def read_file(location: str, path: bytes) -> bytes:
    """The content of a file of an archive. Raises FileNotFoundError, OSError."""
    if storage.is_url(location):
        return storage.read_bytes(storage.join(location, os.fsdecode(path)))
    with open(os.path.join(os.fsencode(location), path), "rb") as file:
        return file.read()
