"""What exports have made in a folder: a list that outlives crashes, and by which it can be removed again.

``.albumen-export.jsonl`` lists the files of the last export, one a line after a first line that says
what it was; ``.albumen-export.journal`` the names that a running export is about to make. So after a
crash as after a good end it is known which files are Albumen's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from transforms import storage

EXPORT_MARKER = ".albumen-export.jsonl"
JOURNAL, SPILL = ".albumen-export.journal", ".albumen-export.spill"
DIGEST = 16


@dataclass(frozen=True)
class Made:
    """A file of an export: its name below the folder (bytes that are not UTF-8 as surrogates), and
    what tells whether it is still the file that was made."""

    name: str
    size: int = -1
    mtime_ns: int = -1
    target: str | None = None


def made_files(folder: str) -> Iterator[Made]:
    """What exports have made in `folder`, by its list and, after a crash, by its journal. Of a file that
    the journal names it is not known how it should look; it may come twice."""
    journal = os.path.join(folder, JOURNAL)
    begun = np.sort(np.array([digest_of(m.name) for m in listed(journal)], f"S{DIGEST}"))
    for made in listed(os.path.join(folder, EXPORT_MARKER)):
        yield Made(made.name) if among(begun, made.name) else made
    yield from listed(journal)


def among(digests: np.ndarray, name: str) -> bool:
    digest = np.array(digest_of(name), f"S{DIGEST}")
    place = int(np.searchsorted(digests, digest))
    return place < len(digests) and bool(digests[place] == digest)


def remove_made(folder: str, made: Made) -> bool:
    """Removes a file of an export; False where it has been changed since, and stays."""
    path = os.path.join(folder, *made.name.split("/"))
    if not os.path.lexists(path):
        return True
    if made.size >= 0 or made.target is not None:
        now = described(folder, made.name)
        if now != made:
            return False
    try:
        os.unlink(path)
    except (IsADirectoryError, PermissionError):
        return False
    return True


def remove_export(folder: str) -> list[str]:
    """Removes an export with its list; names of files that were changed since and stay."""
    changed, folders, seen = [], set(), set()
    for made in made_files(folder):
        if made.name in seen:
            continue
        seen.add(made.name)
        folders.add(os.path.dirname(os.path.join(folder, *made.name.split("/"))))
        if not remove_made(folder, made):
            changed.append(made.name)
    shutil.rmtree(os.path.join(folder, SPILL), ignore_errors=True)
    for one in folders | {folder}:
        storage.remove_partial_files(one)
    if not changed:
        for name in (JOURNAL, EXPORT_MARKER):
            storage.remove(os.path.join(folder, name))
    remove_empty(folders | {folder}, os.path.dirname(folder))
    return changed


def remove_empty(folders: set[str], top: str) -> None:
    """Removes folders that are empty, and those above them below `top` that then are."""
    for folder in sorted(folders, key=len, reverse=True):
        while folder != top and folder.startswith(os.path.join(top, "")):
            try:
                os.rmdir(folder)
            except OSError:
                break
            folder = os.path.dirname(folder)


def write_listed(folder: str, name: str, data: bytes) -> None:
    """Writes a file of a folder that is not an export as a whole, but where this file shows faces or holds
    vectors: it is put on the folder's list first, so that what is forgotten can be removed there too."""
    path = storage.join(folder, *name.split("/"))
    if not storage.is_url(folder) and all(made.name != name for made in made_files(folder)):
        marker = os.path.join(folder, EXPORT_MARKER)
        if not os.path.exists(marker):
            storage.write_bytes(marker, line_of({"made_by": "Albumen"}))
        with storage.writing(path), open(os.path.join(folder, JOURNAL), "ab") as journal:
            journal.write(line_of(asdict(Made(name))))
            journal.flush()
            os.fsync(journal.fileno())
    storage.write_bytes(path, data)


def described(folder: str, name: str) -> Made:
    path = os.path.join(folder, *name.split("/"))
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return Made(name, target=os.readlink(path))
    return Made(name, status.st_size, status.st_mtime_ns)


def digest_of(name: str) -> bytes:
    # An S-type of NumPy drops zeros at the end: a digest that ends in them is hashed on.
    digest = hashlib.blake2b(os.fsencode(name), digest_size=DIGEST).digest()
    return digest if digest[-1] else digest[:-1] + b"\1"


def line_of(data: dict[str, object]) -> bytes:
    return json.dumps(data).encode("ascii") + b"\n"


def listed(path: str) -> Iterator[Made]:
    try:
        with open(path, "rb") as file:
            for line in file:
                try:
                    data = json.loads(line)
                    name = data["name"]
                except (ValueError, KeyError, TypeError):
                    continue  # the first line, or one that a crash cut short
                if isinstance(name, str) and ".." not in name.split("/") and not name.startswith("/"):
                    yield Made(name, int(data["size"]), int(data["mtime_ns"]), data["target"])
    except FileNotFoundError:
        return
