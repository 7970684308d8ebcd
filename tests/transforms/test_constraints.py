from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from transforms.constraints import Constraints, Tie, resolve
from transforms.corrections import Anchor, Correction, Problem


def within(said: Constraints, rows: np.ndarray) -> Constraints:
    """The same about the faces int64[n] `rows` (ascending) alone, by their place among these."""

    def place(faces: np.ndarray) -> np.ndarray:
        return np.searchsorted(rows, faces[np.isin(faces, rows)])

    def pairs(both: np.ndarray) -> np.ndarray:
        return np.searchsorted(rows, both[np.isin(both, rows).all(axis=1)]).reshape(-1, 2)

    ties = [Tie(place(t.faces), tuple(w for w in map(place, t.wholes) if len(w))) for t in said.ties]
    claims = [replace(c, faces=place(c.faces)) for c in said.claims]
    return Constraints(
        place(said.absent), tuple(t for t in ties if len(t.faces)), pairs(said.apart),
        tuple(c for c in claims if len(c.faces)), tuple(w for w in map(place, said.ignored) if len(w)),
        pairs(said.same_photo),
    )  # fmt: skip


def face(number: int) -> str:
    return f"{number:032x}:0"


def person(*faces: int) -> Anchor:
    return Anchor(tuple(face(f) for f in faces), False)


def said(line: int, kind: str, *who: int | Anchor, name: str = "") -> Correction:
    """A correction about faces (numbers) and people (anchors)."""
    anchors = [Anchor((face(w),), True) if isinstance(w, int) else w for w in who]
    texts = [f"p-{'-'.join(a.faces)}" if not a.exact else a.faces[0] for a in anchors]
    meant = dict(zip(texts, anchors, strict=True))
    return Correction(line, f"c-{line}", "2026-01-01", kind, texts[0], tuple(texts[1:]), name, meant)


def resolved(*corrections: Correction, faces: int = 100) -> tuple[Constraints, list[Problem]]:
    rows = {face(i): i for i in range(faces)}

    def rows_of(ids: Sequence[str]) -> np.ndarray:
        return np.array([rows.get(i, -1) for i in ids], np.int64)

    return resolve(corrections, rows_of)


def tied(found: Constraints) -> list[list[int]]:
    return [t.faces.tolist() for t in found.ties]


P, Q, R = person(1, 2, 3), person(11, 12, 13), person(21, 22, 23)


def test_each_kind_says_what_it_says() -> None:
    found, problems = resolved(
        said(2, "merge", P, Q), said(3, "different", 31, 32, 33), said(4, "split", R, 41, 42),
        said(5, "not-a-face", 51), said(6, "ignore-person", person(61, 62)),
        said(7, "same-photo-allowed", 71, 72), said(8, "not-this-person", 81, R), said(9, "same", 91, 92),
    )  # fmt: skip
    assert not problems
    assert tied(found) == [[1, 2, 3, 11, 12, 13], [41, 42], [91, 92]]
    assert [[s.tolist() for s in t.wholes] for t in found.ties] == [[[1, 2, 3], [11, 12, 13]], [], []]
    pairs = [[31, 32], [31, 33], [32, 33]] + [[r, f] for r in (21, 22, 23) for f in (41, 42, 81)]
    assert found.apart.tolist() == sorted(pairs)
    assert found.absent.tolist() == [51] and found.ignored[0].tolist() == [61, 62]
    assert found.same_photo.tolist() == [[71, 72]]


def test_what_contradicts_is_reported_with_both_lines_and_neither_applies() -> None:
    found, (problem,) = resolved(said(2, "same", 1, 2), said(3, "different", 2, 1), said(4, "same", 5, 6))
    assert problem.lines == (2, 3) and "line 2" in problem.message and "line 3" in problem.message
    assert tied(found) == [[5, 6]] and not len(found.apart)
    found, (problem,) = resolved(said(2, "merge", P, Q), said(3, "different", P, Q))
    assert problem.lines == (2, 3) and not found.ties and not len(found.apart)


def test_a_contradiction_over_several_lines_names_them_all() -> None:
    found, (problem,) = resolved(said(2, "same", 1, 2), said(3, "same", 2, 3), said(9, "different", 1, 3))
    assert problem.lines == (2, 3, 9) and not found.ties and not len(found.apart)
    found, (problem,) = resolved(said(2, "same", 1, 2), said(3, "same", 1, 2), said(9, "different", 1, 2))
    assert problem.lines == (2, 3, 9)


def test_what_is_no_face_can_t_be_someone_too() -> None:
    found, (problem,) = resolved(said(2, "not-a-face", 1), said(3, "name", 1, name="Anna"))
    assert problem.lines == (2, 3) and not len(found.absent) and not found.claims
    found, problems = resolved(said(2, "name", P, name="Anna"), said(3, "not-a-face", 1))
    assert not problems and tied(found) == [[2, 3]] and found.absent.tolist() == [1]


def test_what_is_said_of_a_face_goes_before_its_being_an_anchor() -> None:
    found, problems = resolved(said(2, "merge", P, Q), said(3, "not-this-person", 1, person(2, 3, 12)))
    assert not problems
    assert tied(found) == [[2, 3, 11, 12, 13]]
    assert found.apart.tolist() == [[1, 2], [1, 3], [1, 12]]


def test_an_anchor_said_to_be_someone_else_leaves_the_rest_apart() -> None:
    found, problems = resolved(said(2, "different", P, Q), said(3, "same", 1, 11))
    assert not problems and tied(found) == [[1, 11]]
    assert [1, 11] not in found.apart.tolist() and [2, 12] in found.apart.tolist()


def test_two_people_who_share_few_anchors_are_two() -> None:
    anna, bo = person(1, 2, 3, 4), person(4, 5, 6, 7)
    found, problems = resolved(said(2, "name", anna, name="Anna"), said(3, "name", bo, name="Bo"))
    assert not problems and tied(found) == [[1, 2, 3], [4, 5, 6, 7]]
    assert [c.name for c in found.claims] == ["Anna", "Bo"]


def test_a_chain_of_merges_is_one_person() -> None:
    for lines in ([(P, Q), (Q, R)], [(Q, R), (P, Q)], [(P, Q), (person(1, 2, 11), R)]):
        found, problems = resolved(*(said(2 + i, "merge", *who) for i, who in enumerate(lines)))
        assert not problems
        assert len(found.ties) == 2 and set(found.ties[0].faces) & set(found.ties[1].faces)
        assert set(tied(found)[0]) | set(tied(found)[1]) == {1, 2, 3, 11, 12, 13, 21, 22, 23}
    strangers = resolved(said(2, "merge", P, Q), said(3, "merge", person(3, 41, 42, 43), R))[0]
    assert not set(strangers.ties[0].faces) & set(strangers.ties[1].faces)


def test_two_names_for_one_person_are_a_contradiction_until_one_is_a_rename() -> None:
    found, (problem,) = resolved(said(2, "name", P, name="Anna"), said(3, "name", P, name="Bo"))
    assert problem.lines == (2, 3) and not found.claims and not found.ties
    found, problems = resolved(said(2, "name", P, name="Anna"), said(3, "rename", P, name="Bo"))
    assert not problems and [c.name for c in found.claims] == ["Bo"]


def test_of_merged_people_the_first_one_s_name_stays() -> None:
    names = said(2, "name", P, name="Anna"), said(3, "name", Q, name="Bo")
    for first, second, name in ((P, Q, "Anna"), (Q, P, "Bo")):
        found, problems = resolved(*names, said(4, "merge", first, second))
        assert not problems and [c.name for c in found.claims] == [name]
        assert tied(found)[-1] == [1, 2, 3, 11, 12, 13]


def test_a_rename_is_of_one_of_two_who_are_merged_later() -> None:
    named = said(2, "name", P, name="Anna"), said(3, "name", Q, name="Bo"), said(4, "rename", P, name="Anne")
    found, problems = resolved(*named, said(5, "merge", Q, P))
    assert not problems and [c.name for c in found.claims] == ["Bo"]
    found, problems = resolved(*named, said(5, "merge", Q, P), said(6, "rename", P, name="Cy"))
    assert not problems and [c.name for c in found.claims] == ["Cy"]


def test_one_face_can_t_make_two_names_one_person() -> None:
    found, problems = resolved(
        said(2, "name", P, name="Anna"), said(3, "name", Q, name="Bo"), said(4, "same", 1, 11)
    )
    assert not problems and {c.name for c in found.claims} == {"Anna", "Bo"}
    assert tied(found) == [[2, 3], [12, 13], [1, 11]]


def test_a_person_whose_faces_are_all_gone_is_waited_for() -> None:
    found, (problem,) = resolved(said(2, "name", person(200, 201), name="Anna"), said(3, "same", 1, 2))
    assert problem.lines == (2,) and "waits" in problem.message and tied(found) == [[1, 2]]


def test_constraints_within_some_faces_are_those_about_them() -> None:
    found, _ = resolved(said(2, "merge", P, Q), said(3, "different", 31, 32), said(4, "name", 1, name="Anna"))
    part = within(found, np.array([1, 2, 11, 31, 40]))
    assert tied(part) == [[0, 1, 2], [0]] and not len(part.apart)
    assert part.claims[0].faces.tolist() == [0]
    assert within(found, np.arange(100)).apart.tolist() == found.apart.tolist()
