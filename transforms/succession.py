"""People stay who they are from one grouping to the next: ids, names, and what has become of whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.constraints import Constraints
from transforms.library import Library
from transforms.person_ids import person_ids
from transforms.references import best_faces
from transforms.successors import Successors
from transforms.tables import (
    CONFIDENCE,
    FACE_ID,
    FACES,
    GONE_SCHEMA,
    LAST_REVISION,
    NAME,
    PERSON_ID,
    ROLE,
)

_BY_CORRECTION = "named_by_corrections"
# A part of a person counts as one from this share of their faces on: single faces come and go.
_PART = 0.1


@dataclass(frozen=True)
class Past:
    """The revision before: its `assignments` and the people `gone` by then, as tables, and `names` that
    do not come from corrections, by person id. Nothing before the first revision."""

    revision: str | None = None
    assignments: pa.Table | None = None
    gone: pa.Table | None = None
    names: Mapping[str, str] | None = None

    @classmethod
    def of(cls, library: Library, successors: Successors) -> Past:
        """The current revision of a library, its faces as they are called now."""
        revision = library.current_revision()
        if revision is None:
            return cls()
        people = library.read_people(revision)
        corrected = library.read_grouping(revision).get(_BY_CORRECTION) or []
        assert isinstance(corrected, list)
        pairs = zip(people[PERSON_ID].to_pylist(), people[NAME].to_pylist(), strict=True)
        names = {p: n for p, n in pairs if n is not None and p not in corrected}
        gone = library.read_gone(revision)
        pairs = zip(gone[PERSON_ID].to_pylist(), gone[NAME].to_pylist(), strict=True)
        names |= {p: n for p, n in pairs if n is not None}
        faces = [successors.now(f) for f in gone[FACES].to_pylist()]
        gone = gone.set_column(
            gone.schema.get_field_index(FACES), FACES, pa.array(faces, pa.list_(pa.string()))
        )
        assigned = library.read_assignments(revision)
        assigned = assigned.set_column(0, FACE_ID, successors.renamed(assigned[FACE_ID]))
        return cls(revision, assigned, gone, names)

    def person_of(self) -> dict[str, str]:
        """face_id → person_id; faces of people who are gone count where they are nobody else's now."""
        found: dict[str, str] = {}
        if self.gone is not None:
            for person, faces in zip(
                self.gone[PERSON_ID].to_pylist(), self.gone[FACES].to_pylist(), strict=True
            ):
                found[f"of {person}"] = person  # no face is called so: keeps the id from being given anew
                found.update(dict.fromkeys(faces, person))
        if self.assignments is not None:
            ids, people = self.assignments[FACE_ID].to_pylist(), self.assignments[PERSON_ID].to_pylist()
            found.update({f: p for f, p in zip(ids, people, strict=True) if p is not None})
        return found


def continued_ids(face_ids: Sequence[str], group: np.ndarray, past: Past) -> list[str]:
    """An id for each group 0 … g-1: that of the person of the past with most of its faces, or a new one.

    An id that was someone's once is never given to anyone else.
    """
    return person_ids(face_ids, group, past.person_of())


def given_names(
    ids: Sequence[str], group: np.ndarray, constraints: Constraints, past: Past
) -> tuple[dict[str, str], list[str], list[str]]:
    """Who is called what: (names by person id, the ids among them named by corrections, names whose
    person has no face now)."""
    names: dict[str, str] = {}
    lost: set[str] = set()
    for claim in constraints.claims:
        numbers = group[claim.faces]
        numbers = numbers[numbers >= 0]
        if len(numbers):
            names[ids[int(np.bincount(numbers).argmax())]] = claim.name
        else:
            lost.add(claim.name)
    corrected = sorted(names)
    older = past.names or {}
    lost |= {name for person, name in older.items() if person not in set(ids)}
    names = {**{p: n for p, n in older.items() if p in set(ids)}, **names}
    return names, corrected, sorted(lost)


def ignored_ids(ids: Sequence[str], group: np.ndarray, constraints: Constraints) -> set[str]:
    """The people whom the user does not want to see."""
    numbers = (group[faces][group[faces] >= 0] for faces in constraints.ignored)
    return {ids[int(np.bincount(n).argmax())] for n in numbers if len(n)}


def gone_people(past: Past, ids: Sequence[str]) -> pa.Table:
    """The people of the past who have no face now, with faces by which they are known again."""
    if past.assignments is None or past.gone is None:
        return GONE_SCHEMA.empty_table()
    here = pa.array(list(ids), pa.string())
    rows = past.gone.filter(pc.invert(pc.is_in(past.gone[PERSON_ID], value_set=here))).to_pylist()
    table = past.assignments
    known = pc.is_valid(table[PERSON_ID])
    left = table.filter(pc.and_(known, pc.invert(pc.is_in(table[PERSON_ID], value_set=here))))
    members: dict[str, list[tuple[str, float, bool]]] = {}
    columns = (left[c].to_pylist() for c in (PERSON_ID, FACE_ID, CONFIDENCE, ROLE))
    for person, face, confidence, role in zip(*columns, strict=True):
        members.setdefault(person, []).append((face, confidence or 0.0, role == "core"))
    for person, faces in sorted(members.items()):
        best = best_faces([f for f, _, _ in faces], np.array([c for _, c, _ in faces]),
                          np.array([core for _, _, core in faces]))  # fmt: skip
        name = (past.names or {}).get(person)
        rows.append({PERSON_ID: person, NAME: name, LAST_REVISION: past.revision, FACES: list(best)})
    return pa.Table.from_pylist(rows, schema=GONE_SCHEMA)


@dataclass(frozen=True)
class Overlap:
    """What has become of the people of the revision before: `kept` their id and most of their faces;
    `split` into several people; `merged` into someone else; `gone`, no face left; and `new` people.

    `moved` faces changed from one person to another, `joined` were ungrouped before, `left` are now.
    """

    kept: int = 0
    split: int = 0
    merged: int = 0
    new: int = 0
    gone: int = 0
    moved: int = 0
    joined: int = 0
    left: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


def overlap(past: Past, face_ids: pa.Array, group: np.ndarray, ids: Sequence[str]) -> Overlap:
    """Compares a grouping with the past, by the faces that both know."""
    if past.assignments is None:
        return Overlap(new=len(ids))
    coded = past.assignments[PERSON_ID].combine_chunks().dictionary_encode()
    people = coded.dictionary.to_pylist()
    codes = pc.fill_null(coded.indices, -1).to_numpy().astype(np.int64)
    row = pc.index_in(face_ids, value_set=past.assignments[FACE_ID].combine_chunks().cast(face_ids.type))
    row = pc.fill_null(row, -1).to_numpy().astype(np.int64)
    before = np.where(row >= 0, codes[row] if len(codes) else -1, -1)
    known, both = row >= 0, (before >= 0) & (group >= 0)
    many = int(group.max(initial=0)) + 1
    pairs, counts = np.unique(before[both] * many + group[both], return_counts=True)
    old, now = pairs // many, pairs % many
    total = np.bincount(old, counts, minlength=len(people))
    part = (counts >= _PART * total[old]) & ((counts > 1) | (counts == total[old]))
    split = np.bincount(old[part], minlength=len(people)) > 1
    # Where most of each person went: who shares that with others has been merged.
    order = np.lexsort([now, -counts, old])
    first = order[np.concatenate([[True], old[order][1:] != old[order][:-1]])] if len(order) else order
    main = np.full(len(people), -1)
    main[old[first]] = now[first]
    number = {person: i for i, person in enumerate(people)}
    continued = np.array([number.get(person, -1) for person in ids], np.int64)
    here = np.zeros(len(people), bool)
    here[continued[continued >= 0]] = True
    merged = (main >= 0) & ~here
    with_past = np.zeros(len(ids), bool)
    with_past[now] = True
    same = continued[group[both]] == before[both]
    return Overlap(
        kept=int((here & ~split).sum()),
        split=int(split.sum()),
        merged=int((merged & ~split).sum()),
        new=int((~with_past).sum()),
        gone=int((main < 0).sum()),
        moved=int((~same).sum()),
        joined=int((known & (before < 0) & (group >= 0)).sum()),
        left=int((known & (before >= 0) & (group < 0)).sum()),
    )
