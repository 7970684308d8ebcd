"""Labels from a folder tree: each folder is a person and holds copies of photos that are in a library.

Copies are known by their content, wherever the library's own files lie and whatever they are called.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field

from pipeline.labelled import LabelledPhotos, indexed_photos, photos_at
from transforms import storage
from transforms.archive import read_file
from transforms.file_kinds import kind_by_name
from transforms.known_content import content_id
from transforms.labels import Label
from transforms.library import Library, LibraryError
from transforms.listing import ListingReport, list_archive
from transforms.tables import PATH_BYTES, PHOTO_ID


@dataclass
class TreeCount:
    """What a tree of labels holds, contents counted once: `photos` in folders; of these `lacking` in the
    library, and `shared` by folders of several people, so that it can't be told whose face is whose.
    `beside` are files outside of the folders, `unreadable` (path, reason) what could not be read."""

    photos: int = 0
    lacking: int = 0
    shared: int = 0
    beside: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def lines(self, folder: str) -> list[str]:
        """What of the tree is left out, for a person."""
        counts = (
            (self.lacking, "the library lacks: index them, or take copies that nothing has changed"),
            (self.shared, "lie in folders of several people, so whose face is whose can't be told"),
            (self.beside, "lie beside the people's folders"),
            (len(self.unreadable), f"can't be read, {_first(self.unreadable)}"),
        )
        left_out = [f"  {count:,} {why}" for count, why in counts if count]
        held = f"{folder}: {self.photos:,} photos in people's folders"
        return [f"{held}, left out:" if left_out else held, *left_out]


def photos_of_tree(library: Library, folder: str) -> tuple[LabelledPhotos, TreeCount]:
    """The photos of `library` of which copies lie in the tree, each once, labelled by their folders' names.

    The person is the last folder's name: ``2019/Anna`` and ``2020/Anna`` are one. Every file is read. Raises
    ArchiveError where the folder can't be listed, LibraryError where the library has none of its photos.
    """
    people, count = _people_of(folder)
    photos = indexed_photos(library)
    row_of = dict(zip(photos[PHOTO_ID].to_pylist(), range(len(photos)), strict=True))
    count.photos = len(people)
    count.lacking = sum(photo not in row_of for photo in people)
    known = {photo: names for photo, names in people.items() if photo in row_of}
    count.shared = sum(len(names) > 1 for names in known.values())
    chosen = sorted((row_of[photo], *names) for photo, names in known.items() if len(names) == 1)
    if not chosen:
        raise LibraryError(
            f"{library.path} holds none of the photos in {folder} ("
            + "; ".join(line.strip() for line in count.lines(folder)[1:])
            + "): expected a folder for each person, with copies of photos of the library in it"
        )
    raw = photos[PATH_BYTES]
    labels = [Label(os.fsdecode(raw[row].as_py()), person) for row, person in chosen]
    return photos_at(library, photos, labels, [row for row, _ in chosen]), count


def _people_of(folder: str) -> tuple[dict[str, set[str]], TreeCount]:
    """The people in whose folders each content lies, by photo_id."""
    count, report = TreeCount(), ListingReport()
    people: dict[str, set[str]] = {}
    for entry in list_archive(storage.absolute(folder), root="labels", report=report):
        if kind_by_name(entry.path):
            continue
        if b"/" not in entry.path:
            count.beside += 1
            continue
        try:
            photo = content_id(read_file(storage.absolute(folder), entry.path))
        except OSError as error:
            count.unreadable.append((os.fsdecode(entry.path), error.strerror or str(error)))
            continue
        people.setdefault(photo, set()).add(_person(entry.path))
    count.unreadable += [(os.fsdecode(path), reason) for path, reason in report.unreadable_folders]
    return people, count


def _person(path: bytes) -> str:
    # Some systems take names of files apart into letters and accents.
    return unicodedata.normalize("NFC", os.fsdecode(path.split(b"/")[-2]))


def _first(unreadable: list[tuple[str, str]]) -> str:
    return f"{unreadable[0][0]!r} the first: {unreadable[0][1]}" if unreadable else ""
