"""Ids of people, which stay theirs from one grouping to the next."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np


def person_ids(face_ids: Sequence[str], group: np.ndarray, previous: Mapping[str, str]) -> list[str]:
    """An id for each group 0 … g-1.

    A group takes over the id of the person of the last revision with which it shares most faces, the
    largest overlap first, and each id goes to one group. New people are named after their first face
    in order of id, so the same library gives the same ids.
    """
    numbers, first = np.unique(group, return_index=True)
    first_face = {n: face_ids[r] for n, r in zip(numbers.tolist(), first.tolist(), strict=True) if n >= 0}
    ids: dict[int, str] = {}
    used: set[str] = set()
    for number, person in _overlaps(face_ids, group, previous):
        if number not in ids and person not in used:
            ids[number] = person
            used.add(person)
    reserved = used | set(previous.values())
    for number in sorted(first_face):
        if number not in ids:
            ids[number] = _new_id(first_face[number], reserved)
            reserved.add(ids[number])
    return [ids[number] for number in range(len(first_face))]


def _overlaps(
    face_ids: Sequence[str], group: np.ndarray, previous: Mapping[str, str]
) -> list[tuple[int, str]]:
    """The pairs of a group and a person of before that share faces, the largest overlap first."""
    rows = np.flatnonzero(group >= 0).tolist()
    held = [previous.get(face_ids[row], "") for row in rows]
    people = sorted(set(held))
    code = {person: i for i, person in enumerate(people)}
    codes = np.fromiter(map(code.__getitem__, held), np.int64, len(held))
    pairs, counts = np.unique(group[rows] * len(people) + codes, return_counts=True)
    pairs = pairs[np.argsort(-counts, kind="stable")]
    found = zip((pairs // max(len(people), 1)).tolist(), (pairs % max(len(people), 1)).tolist(), strict=True)
    return [(number, people[code]) for number, code in found if people[code]]


def _new_id(face_id: str, reserved: set[str]) -> str:
    salt = 0
    while True:
        digest = hashlib.blake2b(f"{face_id}/{salt}".encode(), digest_size=5).hexdigest()
        if f"p-{digest}" not in reserved:
            return f"p-{digest}"
        salt += 1
