"""Names: which of those that the user gave is a person's, and whose person has gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from transforms.corrections import MERGE, NAME, RENAME, SAME, Correction
from transforms.ties import TieGraph, array


@dataclass(frozen=True)
class Claim:
    """A name for the person with the faces int64[m] `faces`. With `exact` it was given to just this
    face, which then is a person even if nobody else looks like it."""

    name: str
    faces: np.ndarray
    exact: bool
    correction: str


def settle_names(
    lines: Sequence[Correction], ties: TieGraph, *, first_sides: Mapping[str, frozenset[int]]
) -> tuple[list[Claim], list[list[Correction]]]:
    """One name for each person that lines of naming speak of, and the lines that dispute one.

    Of several names for a person the last rename holds; where a merge or `same` later joined two named
    people, the name of the one that it mentions first (whose faces are `first_sides`). All others are
    disputes: none of these lines applies, and they leave `ties`.
    """
    for about in _by_person(lines, ties):
        _loosen(_naming(about), ties)
    claims, disputes = [], []
    for about in _by_person(lines, ties):
        said = _undisputed(about, ties, first_sides)
        if not said:
            continue
        if len({c.name for c in said}) > 1:
            disputes.append(said)
            ties.drop(c.id for c in said)
            continue
        last = said[-1]
        faces = ties.faces(last.id)
        claims.append(Claim(last.name, array(faces), all(faces.values()), last.id))
    return claims, disputes


def _by_person(lines: Sequence[Correction], ties: TieGraph) -> list[list[Correction]]:
    """The lines about one person, for each person; lines without a face are about nobody."""
    component = ties.components()
    people: dict[int, list[Correction]] = {}
    for correction in lines:
        for face in list(ties.faces(correction.id))[:1]:
            people.setdefault(component[face], []).append(correction)
    return list(people.values())


def _naming(lines: Sequence[Correction]) -> list[Correction]:
    return [c for c in lines if c.kind in (NAME, RENAME)]


def _loosen(said: Sequence[Correction], ties: TieGraph) -> None:
    """Differently named people are two people, unless more than an anchor says otherwise."""
    for first, second in combinations(said, 2):
        if first.name != second.name:
            ties.loosen(first.id, second.id)


def _undisputed(
    lines: Sequence[Correction], ties: TieGraph, first_sides: Mapping[str, frozenset[int]]
) -> list[Correction]:
    """The naming ones among the lines about a person that are left once later lines have had their say."""
    left: list[Correction] = []
    whose: dict[str, set[int]] = {}  # the faces that a name has come to speak of
    for line in lines:
        faces = set(ties.faces(line.id))
        if line.kind in (NAME, RENAME):
            if line.kind == RENAME:
                left = [c for c in left if not whose[c.id] & faces]
            left.append(line)
            whose[line.id] = faces
        elif line.kind in (MERGE, SAME):
            kept = [c for c in left if whose[c.id] & first_sides[line.id]]
            if kept:
                left = [c for c in left if c in kept or not whose[c.id] & faces]
            for claim in left:
                if whose[claim.id] & faces:
                    whose[claim.id] |= faces
    return left
