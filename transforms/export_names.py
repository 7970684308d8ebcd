"""Names of files and folders that every system takes, for people and photos with any name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# Windows refuses these characters, and these names with whatever ending.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_MOST = 100
_MOST_BYTES = 160


def safe_name(text: str, *, otherwise: str = "unnamed") -> str:
    """`text` as a part of a path: in Unicode's composed form, without what any file system refuses,
    no dots or spaces at its ends, at most 160 bytes; `otherwise` where nothing is left."""
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", text)).strip(" .")[:_MOST].strip(" .")
    while len(name.encode()) > _MOST_BYTES:
        name = name[:-1]
    name = name.strip(" .")
    if not name.strip("_"):
        return otherwise
    return f"_{name}" if _RESERVED.fullmatch(name) else name


def unique_names(labels: Iterable[tuple[str, str]]) -> dict[str, str]:
    """A name for each id, from (id, label): alike in no file system, those that ignore case and
    accents' encoding included. The first of several keeps the plain name."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for key, label in labels:
        name = safe_name(label, otherwise=safe_name(key))
        number = 1
        candidate = name
        while _folded(candidate) in taken:
            number += 1
            candidate = f"{name} ({number})"
        taken.add(_folded(candidate))
        names[key] = candidate
    return names


def photo_name(path: bytes, photo_id: str) -> str:
    """A file name for a photo, of its own name and its content: the same in every export, and alike
    for no two photos of a folder."""
    base = path.rpartition(b"/")[2].decode("utf-8", "backslashreplace")
    stem, dot, suffix = base.rpartition(".")
    if not dot or not 0 < len(suffix) <= 8 or not (suffix.isascii() and suffix.isalnum()):
        stem, suffix = base, ""
    name = f"{safe_name(stem, otherwise='photo')}-{photo_id[:12]}"
    return f"{name}.{suffix}" if suffix else name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
