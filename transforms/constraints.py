"""Corrections as what grouping must keep to: faces that belong together, faces that don't, and names.

A line that names faces speaks of just these. A line that names a person speaks of someone known by a few
faces (`Anchor`), one of which may be a stranger that the grouping had mixed in. So what is said of a face
goes before what its being an anchor would imply: "this face is not Anna" takes it out of Anna's anchors.
Only what then still can't hold together is a contradiction, and none of its lines applies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from transforms.corrections import (
    DIFFERENT,
    IGNORE_PERSON,
    KINDS,
    MERGE,
    NAME,
    NOT_A_FACE,
    NOT_THIS_PERSON,
    RENAME,
    SAME,
    SAME_PHOTO_ALLOWED,
    SPLIT,
    Correction,
    Problem,
)
from transforms.names import Claim, settle_names
from transforms.ties import TieGraph, array

_TYING = (MERGE, SAME, SPLIT, NAME, RENAME)
_PARTING = (DIFFERENT, NOT_THIS_PERSON, SPLIT)
_NO_PAIRS = np.zeros((0, 2), np.int64)


@dataclass(frozen=True)
class Tie:
    """Faces int64[m] of one person. The people that hold most of each of `wholes` become one person;
    the other faces come along by themselves."""

    faces: np.ndarray
    wholes: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Constraints:
    """What the user decided, about faces by their row among all faces.

    `absent` int64[a]: not faces. `apart` int64[m, 2]: pairs of faces of two people. `ignored`: people,
    each by some faces. `same_photo` int64[s, 2]: pairs in one photo that may be one person.
    """

    absent: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ties: tuple[Tie, ...] = ()
    apart: np.ndarray = field(default_factory=lambda: _NO_PAIRS)
    claims: tuple[Claim, ...] = ()
    ignored: tuple[np.ndarray, ...] = ()
    same_photo: np.ndarray = field(default_factory=lambda: _NO_PAIRS)

    @property
    def faces(self) -> np.ndarray:
        """int64[m]: all faces that are spoken of, in order."""
        parts = [self.absent, *(t.faces for t in self.ties), self.apart.ravel(), self.same_photo.ravel()]
        return np.unique(np.concatenate([*parts, *(c.faces for c in self.claims), *self.ignored]))

    def among(self, rows: np.ndarray) -> Constraints:
        """The ties and pairs of the faces int64[n] `rows` (ascending) alone, by their row among all faces."""
        ties = (replace(t, faces=np.intersect1d(t.faces, rows)) for t in self.ties)
        return Constraints(
            ties=tuple(t for t in ties if len(t.faces)),
            apart=self.apart[np.isin(self.apart, rows).all(axis=1)],
        )


@dataclass
class _Line:
    """A correction with the rows of its references: `sides[i]` are reference i's, `exact[i]` as in
    `Anchor`. Faces leave sides that are not exact when more exact lines speak of them."""

    correction: Correction
    sides: list[set[int]]
    exact: list[bool]

    def tied(self) -> dict[int, bool]:
        """The faces that the line says are one person, and which of them exactly."""
        first = 1 if self.correction.kind == SPLIT else 0
        sides = sorted(zip(self.exact[first:], self.sides[first:], strict=True), key=lambda s: s[0])
        return {face: exact for exact, side in sides for face in side}

    def parted(self) -> list[tuple[int, int]]:
        """Which of its sides the line says are two people."""
        if self.correction.kind == DIFFERENT:
            return list(combinations(range(len(self.sides)), 2))
        return [(0, i) for i in range(1, len(self.sides))]


def resolve(
    corrections: Sequence[Correction], rows_of: Callable[[Sequence[str]], np.ndarray]
) -> tuple[Constraints, list[Problem]]:
    """The constraints that active corrections with anchors come to, and what stands against that.

    `rows_of` gives each face id's row, -1 for one that the library does not hold.
    """
    lines, problems = _located(corrections, rows_of)
    lines, clashes = _without_absent(lines)
    tied = {x.correction.id: x for x in lines if x.correction.kind in _TYING}
    parting = [x for x in lines if x.correction.kind in _PARTING]
    ties = TieGraph({id: x.tied() for id, x in tied.items()}, {id: x.sides for id, x in tied.items()})
    for line in parting:
        _let_anchors_give_way(line, ties)
    component = ties.components()
    for line in parting:
        against = _lines_against(line, ties, component)
        if against:
            clashes.append([*(tied[id] for id in against), line])
    out = {x.correction.id for clash in clashes for x in clash}
    ties.drop(out)
    naming = [
        x.correction for x in tied.values() if x.correction.kind != SPLIT and x.correction.id not in out
    ]
    claims, disputes = settle_names(
        naming, ties, first_sides={i: frozenset(x.sides[0]) for i, x in tied.items()}
    )
    lines = [x for x in lines if x.correction.id not in out]
    problems += [_clash([x.correction for x in clash]) for clash in clashes]
    problems += [_clash(dispute) for dispute in disputes]
    disputed = {c.id for dispute in disputes for c in dispute}
    idle = [x for x in lines if x.correction.id in tied.keys() - disputed and not ties.faces(x.correction.id)]
    problems += [_idle(x.correction) for x in idle]
    return _constraints(lines, ties, claims), sorted(problems, key=lambda p: p.lines)


def _located(
    corrections: Sequence[Correction], rows_of: Callable[[Sequence[str]], np.ndarray]
) -> tuple[list[_Line], list[Problem]]:
    """Corrections with the rows of their faces; a line left without any face of a reference is reported."""
    wanted = sorted({f for c in corrections for a in c.anchors.values() for f in a.faces})
    row = {f: r for f, r in zip(wanted, rows_of(wanted).tolist(), strict=True) if r >= 0}
    lines, problems = [], []
    for correction in corrections:
        anchors = [correction.anchors[r] for r in correction.references if r in correction.anchors]
        sides = [{row[f] for f in a.faces if f in row} for a in anchors]
        exact = [a.exact for a in anchors]
        spoken_of = set().union(*(s for s, e in zip(sides, exact, strict=True) if e))
        sides = [s if e else s - spoken_of for s, e in zip(sides, exact, strict=True)]
        gone = [r for r, side in zip(correction.references, sides, strict=False) if not side]
        if gone:
            message = f"{correction}: the library holds no face of {', '.join(gone)} any more; it waits"
            problems.append(Problem((correction.line,), message))
        else:
            lines.append(_Line(correction, sides, exact))
    return lines, problems


def _without_absent(lines: list[_Line]) -> tuple[list[_Line], list[list[_Line]]]:
    """Takes what is no face out of all anchors; who exactly names such a face contradicts."""
    absent = {f: x for x in lines if x.correction.kind == NOT_A_FACE for side in x.sides for f in side}
    clashes = []
    for line in lines:
        if line.correction.kind in (NOT_A_FACE, DIFFERENT, NOT_THIS_PERSON, SAME_PHOTO_ALLOWED):
            continue
        for side, exact in zip(line.sides, line.exact, strict=True):
            hit = side & absent.keys()
            if hit and exact:
                clashes.append([absent[min(hit)], line])
            elif hit:
                side -= hit
    return [x for x in lines if all(x.sides)], clashes


def _let_anchors_give_way(line: _Line, ties: TieGraph) -> None:
    for a, b in line.parted():
        for side, other in ((a, b), (b, a)):
            if line.exact[side]:
                for face in line.sides[side]:
                    ties.free(face, line.sides[other])


def _lines_against(line: _Line, ties: TieGraph, component: dict[int, int]) -> list[str]:
    """The lines that tie what `line` parts: any two faces that it names exactly, or most of two people."""
    against: set[str] = set()
    for a, b in line.parted():
        pairs = [(f, g) for f in sorted(line.sides[a]) for g in sorted(line.sides[b])]
        tied = [(f, g) for f, g in pairs if f == g or component.get(f, -1) == component.get(g, -2)]
        if (
            len(tied) == len(pairs)
            or (line.exact[a] and line.exact[b] and tied)
            or 2 * len(tied) > len(pairs)
        ):
            against.update(id for f, g in tied for id in ties.lines_between(f, g))
    return [id for id in ties.lines if id in against]


def _clash(corrections: Sequence[Correction]) -> Problem:
    ordered = sorted(corrections, key=lambda c: c.line)
    said = " and ".join(str(c) for c in ordered)
    return Problem(
        tuple(c.line for c in ordered),
        f"{said} contradict each other: {'neither' if len(ordered) == 2 else 'none'} applies. "
        f"Take one back, as with: albumen correct LIBRARY undo {ordered[0].id}",
    )


def _idle(correction: Correction) -> Problem:
    message = f"{correction}: other lines say of all its faces that they are someone else's; it waits"
    return Problem((correction.line,), message)


def _constraints(lines: Sequence[_Line], ties: TieGraph, claims: Sequence[Claim]) -> Constraints:
    component = ties.components()
    apart: set[tuple[int, int]] = set()
    for line in (x for x in lines if x.correction.kind in _PARTING):
        for a, b in line.parted():
            pairs = ((f, g) for f in line.sides[a] for g in line.sides[b] if f != g)
            apart |= {
                (min(p), max(p)) for p in pairs if component.get(p[0], -1) != component.get(p[1], -2)
            }  # fmt: skip
    of_kind = {kind: [x for x in lines if x.correction.kind == kind] for kind in KINDS}
    return Constraints(
        absent=array(f for x in of_kind[NOT_A_FACE] for side in x.sides for f in side),
        ties=tuple(_tie(x, ties) for x in lines if ties.faces(x.correction.id)),
        apart=_pairs(apart),
        claims=tuple(claims),
        ignored=tuple(array(side) for x in of_kind[IGNORE_PERSON] for side in x.sides),
        same_photo=_pairs(
            {p for x in of_kind[SAME_PHOTO_ALLOWED] for p in combinations(sorted(set().union(*x.sides)), 2)}
        ),
    )


def _tie(line: _Line, ties: TieGraph) -> Tie:
    faces = ties.faces(line.correction.id)
    whole = line.correction.kind == MERGE
    sides = [s & faces.keys() for s, e in zip(line.sides, line.exact, strict=True) if whole or not e]
    return Tie(array(faces), tuple(array(s) for s in sides if s))


def _pairs(pairs: set[tuple[int, int]]) -> np.ndarray:
    return np.array(sorted(pairs), np.int64).reshape(-1, 2)
