"""Whom a correction speaks of: person ids, names, face ids and photo paths, found in a library.

A person id means the people of one grouping. So that it still means them in any later one, a reference
is kept as faces: the face itself, or some of those by which the person is known best (`Anchor`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.corrections import Anchor, CorrectionError
from transforms.library import Library
from transforms.records import printable
from transforms.tables import (
    BOX,
    CONFIDENCE,
    FACE_ID,
    FACES,
    NAME,
    PATH,
    PATH_BYTES,
    PERSON_ID,
    PHOTO_ID,
    ROLE,
    ROOT,
    matrix,
)

# So many faces stand for a person: enough that some are left when photos go, few enough to read.
ANCHORS = 8
_PERSON = re.compile(r"p-[0-9a-f]{8,}")
_FACE = re.compile(r"([0-9a-f]{32}):\d+")
_CORE = "core"


def best_faces(face_ids: list[str], confidence: np.ndarray, core: np.ndarray) -> tuple[str, ...]:
    """Up to `ANCHORS` of a person's faces, the surest first, one a photo as far as that goes."""
    order = sorted(range(len(face_ids)), key=lambda i: (not core[i], -float(confidence[i]), face_ids[i]))
    first: dict[str, int] = {}
    for i in order:
        first.setdefault(face_ids[i].rpartition(":")[0], i)
    chosen = [i for i in order if first[face_ids[i].rpartition(":")[0]] == i]
    return tuple(face_ids[i] for i in [*chosen, *(i for i in order if i not in set(chosen))][:ANCHORS])


class References:
    """Finds what references mean in a library and one of its revisions (None: not grouped yet)."""

    def __init__(self, library: Library, revision: str | None) -> None:
        self._library = library
        self._revision = revision

    def find(self, text: str, *, without: Collection[str] = (), first: Sequence[str] = ()) -> Anchor:
        """The faces that a reference stands for. Of a person's faces those in `first` come first, and
        those in `without` not at all.

        Raises CorrectionError where there are none.
        """
        if _FACE.fullmatch(text):
            return self._face(text)
        if _PERSON.fullmatch(text):
            found = self._person(text, without, first)
        else:
            found = self._photo(text) or self._named(text, without, first)
        if found is None:
            raise CorrectionError(f"{text!r} is no {self._expected}")
        return found

    @staticmethod
    def is_face(text: str) -> bool:
        """Whether a reference has the form of a face id."""
        return bool(_FACE.fullmatch(text))

    def photo_faces(self, text: str) -> Anchor:
        """All faces of the photo with the path `text`, from left to right. Raises CorrectionError."""
        photo = self._photo_id(text)
        if photo is None:
            raise CorrectionError(f"{text!r} is no photo of this library: give its path")
        return Anchor(self.faces_from_left(photo), True)

    def person_of(self, face: str) -> str:
        """The person that a face belongs to. Raises CorrectionError where it is ungrouped."""
        table = self._assignments
        found = table.filter(pc.equal(table[FACE_ID], face))[PERSON_ID].to_pylist()
        if not found or found[0] is None:
            raise CorrectionError(f"the face {face} belongs to nobody yet: say which person it is not")
        return found[0]

    def people_of(self, faces: Sequence[str]) -> set[str]:
        """The people who have some of these faces."""
        table = self._assignments
        found = table.filter(pc.is_in(table[FACE_ID], pa.array(faces, pa.string())))
        return set(found[PERSON_ID].drop_null().to_pylist())

    def name_of(self, person: str) -> str | None:
        """The name of a person, None without one."""
        return next(
            iter(self._people.filter(pc.equal(self._people[PERSON_ID], person))[NAME].to_pylist()), None
        )

    def named(self, name: str) -> list[str]:
        """The people with this name."""
        return self._people.filter(pc.equal(self._people[NAME], name))[PERSON_ID].to_pylist()

    @cached_property
    def _assignments(self) -> pa.Table:
        if self._revision is None:
            return pa.table({c: pa.array([], pa.string()) for c in (FACE_ID, PERSON_ID, ROLE, CONFIDENCE)})
        return self._library.read_assignments(self._revision).combine_chunks()

    @cached_property
    def _members(self) -> dict[str, np.ndarray]:
        """The rows of every person's faces: a file made by hand may speak of thousands."""
        coded = self._assignments[PERSON_ID].combine_chunks().dictionary_encode()
        codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(len(coded.dictionary) + 1))
        people = coded.dictionary.to_pylist()
        return {p: order[a:b] for p, a, b in zip(people, bounds, bounds[1:], strict=False)}

    @cached_property
    def _people(self) -> pa.Table:
        if self._revision is None:
            return pa.table({c: pa.array([], pa.string()) for c in (PERSON_ID, NAME)})
        return self._library.read_people(self._revision)

    @cached_property
    def _photos(self) -> pa.Table:
        return self._library.read_photos([ROOT, PATH, PATH_BYTES, PHOTO_ID])

    @cached_property
    def _faces(self) -> pa.Table:
        return self._library.read_faces([FACE_ID, PHOTO_ID, BOX])

    @property
    def _expected(self) -> str:
        which = f"revision {self._revision}" if self._revision else "a library that is not grouped yet"
        return (
            f"person of {which}, no name of one, and no photo: give a person id (p-…), a face id, "
            "or a photo's path with #1 for its first face from the left"
        )

    def _face(self, text: str) -> Anchor:
        if not pc.any(pc.equal(self._faces[FACE_ID], text)).as_py():
            raise CorrectionError(f"the library holds no face {text}")
        return Anchor((text,), True)

    def _person(self, person: str, without: Collection[str], first: Sequence[str]) -> Anchor | None:
        members = self._assignments.take(pa.array(self._members.get(person, ()), pa.int64()))
        members = members.filter(pc.invert(pc.is_in(members[FACE_ID], pa.array(list(without), pa.string()))))
        if not len(members):
            return self._gone_person(person)
        ids = members[FACE_ID].to_pylist()
        core = np.array([role == _CORE for role in members[ROLE].to_pylist()])
        best = best_faces(ids, members[CONFIDENCE].to_numpy(), core)
        here = set(ids)
        known = [face for face in first if face in here]
        return Anchor(tuple(dict.fromkeys([*known, *best]))[:ANCHORS], False)

    def _gone_person(self, person: str) -> Anchor | None:
        """Someone of a revision before, who has no face in this one, or is part of someone else."""
        if self._revision is None:
            return None
        gone = self._library.read_gone(self._revision)
        faces = gone.filter(pc.equal(gone[PERSON_ID], person))[FACES].to_pylist()
        return Anchor(tuple(faces[0]), False) if faces and faces[0] else None

    def _named(self, name: str, without: Collection[str], first: Sequence[str]) -> Anchor | None:
        people = self.named(name)
        if len(people) > 1:
            raise CorrectionError(
                f"{len(people)} people are named {name!r} ({', '.join(people)}): give the id"
            )
        return self._person(people[0], without, first) if people else None

    def _photo(self, text: str) -> Anchor | None:
        path, mark, number = text.rpartition("#")
        photo = self._photo_id(path) if mark and number.isdecimal() else None
        if photo is None:
            photo, number = self._photo_id(text), ""
        if photo is None:
            return None
        faces = self.faces_from_left(photo)
        if not number and len(faces) != 1:
            raise CorrectionError(
                f"{text!r} shows {len(faces)} faces: say which one, counted from the left, as {text}#1"
            )
        if number and not 1 <= int(number) <= len(faces):
            raise CorrectionError(f"{path!r} shows {len(faces)} faces, counted from the left from 1")
        return Anchor((faces[int(number or 1) - 1],), True)

    def _photo_id(self, text: str) -> str | None:
        """The content of the photo at a path: absolute, below the name of its root, or below its root."""
        photos, found = self._photos, set()
        for root, location in self._library.info().roots.items():
            for start in (storage.join(location, ""), f"{root}/", ""):
                if not text.startswith(start):
                    continue
                rest = text[len(start) :]
                exact = os.fsencode(rest)
                shown = pc.equal(photos[PATH], printable(exact))
                same = pc.or_(shown, pc.equal(photos[PATH_BYTES], exact))
                rows = photos.filter(pc.and_(pc.equal(photos[ROOT], root), same))
                found |= set(rows[PHOTO_ID].drop_null().to_pylist())
        if len(found) > 1:
            raise CorrectionError(f"several photos are called {text!r}: put the archive's name before it")
        return found.pop() if found else None

    def faces_from_left(self, photo: str) -> tuple[str, ...]:
        """The faces of a photo, given by its id."""
        faces = self._faces.filter(pc.equal(self._faces[PHOTO_ID], photo))
        left = matrix(faces[BOX])[:, 0] if len(faces) else np.zeros(0)
        ids = faces[FACE_ID].to_pylist()
        return tuple(ids[i] for i in np.argsort(left, kind="stable"))
