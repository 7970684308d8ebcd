from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration import Line
from pipeline.evaluate_growth import handed_on
from tests.transforms.test_bursts import moments
from tests.transforms.test_constraints import person, resolved, said, within
from tests.transforms.test_enforcement import face_set, identities
from transforms.bursts import BURST
from transforms.constraints import Constraints, Tie
from transforms.enforcement import violations
from transforms.grouping import REACH, renumbered
from transforms.increments import part_of
from transforms.neighbours import NEIGHBOURS, NeighbourGraph, neighbour_graph
from transforms.people import FaceSet
from transforms.regrouping import FULL, INCREMENT, RENEWED, Regrouped, exact_search, regroup

NOTHING = np.zeros(0, np.int64)
grouped = partial(regroup, method="default", seed=0, line=Line(0.6, 0.0))


def people(who: np.ndarray, *, noise: float = 0.2, weak: np.ndarray | None = None) -> FaceSet:
    weak = np.zeros(len(who), bool) if weak is None else weak
    return face_set(identities(who, noise=noise), np.arange(len(who)), weak)


def grow(
    faces: FaceSet, before: Regrouped, old: np.ndarray, now: np.ndarray,
    constraints: Constraints = Constraints(), changed: np.ndarray | None = NOTHING,
) -> Regrouped:  # fmt: skip
    return grouped(
        part_of(faces, now),
        constraints,
        kept=handed_on(before, old, now),
        frozen=before.frozen,
        changed=changed,
    )


def test_new_faces_join_their_people_and_nobody_else_is_looked_at() -> None:
    who = np.concatenate([np.repeat(np.arange(10), 20), [3, 3, 7]])
    faces, old = people(who), np.arange(200)
    before = grouped(part_of(faces, old), Constraints())
    after = grow(faces, before, old, np.arange(203))
    assert (before.kind, after.kind) == (FULL, INCREMENT)
    assert after.regrouped == 3
    np.testing.assert_array_equal(renumbered(after.found.group), renumbered(who))


def test_of_a_known_burst_new_faces_are_compared_with_one_shot() -> None:
    vectors = moments(5, 12)
    faces = face_set(vectors, np.arange(60), np.zeros(60, bool))
    old, exact = np.arange(48), exact_search()
    asked: list[np.ndarray] = []

    def among(faces: FaceSet, least: float, rows: np.ndarray, base: np.ndarray) -> NeighbourGraph:
        asked.append(base)
        return exact.among(faces, least, rows, base)

    before = grouped(part_of(faces, old), Constraints())
    after = grouped(
        faces, Constraints(), kept=handed_on(before, old, np.arange(60)), frozen=before.frozen,
        changed=NOTHING, search=replace(exact, among=among),
    )  # fmt: skip
    # Four moments are known; of the new shots nothing is.
    assert asked[0].tolist() == [0, 12, 24, 36, *range(48, 60)]
    assert after.kind == RENEWED and set(after.found.group.tolist()) == {0}


def test_a_quarter_more_renews_the_threshold_on_the_kept_graph() -> None:
    who = np.repeat(np.arange(10), 20)
    faces, old = people(who), np.arange(0, 200, 2)
    line = Line(0.5, 0.02)
    before = grouped(part_of(faces, old), Constraints(), line=line)
    few, many = np.union1d(old, [1, 3]), np.arange(200)
    assert grow(faces, before, old, few).frozen == before.frozen
    after = grouped(
        part_of(faces, many), Constraints(), line=line, kept=handed_on(before, old, many),
        frozen=before.frozen, changed=NOTHING,
    )  # fmt: skip
    assert after.kind == RENEWED and after.frozen.threshold == line.at(200) > before.frozen.threshold
    assert after.frozen.least == before.frozen.least
    np.testing.assert_array_equal(after.found.group, grouped(faces, Constraints(), line=line).found.group)


def test_the_grown_graph_is_the_graph() -> None:
    """As long as nobody has more neighbours than are kept, and no two shots are near-identical."""
    who = np.repeat(np.arange(8), 12)
    faces = people(who, noise=0.7)
    assert np.sort((faces.vectors @ faces.vectors.T).ravel())[-97] < BURST
    result, rows = grouped(part_of(faces, NOTHING), Constraints()), NOTHING
    for step in range(1, 4):
        grown = np.sort(np.random.default_rng(0).permutation(96)[: 32 * step])
        result, rows = grow(faces, result, rows, grown), grown
    exact = neighbour_graph(faces.vectors, k=80, least=0.6 - REACH)
    found = set(zip(result.graph.left.tolist(), result.graph.right.tolist(), strict=True))
    assert found == set(zip(exact.left.tolist(), exact.right.tolist(), strict=True))
    assert len(result.graph.left) == len(found)


def test_faces_that_go_leave_their_people_as_they_are() -> None:
    who = np.repeat(np.arange(5), 4)
    faces, old = people(who), np.arange(20)
    before = grouped(faces, Constraints())
    now = np.setdiff1d(old, [0, 1, 2, 4])
    after = regroup(
        part_of(faces, now), Constraints(), method="default", seed=0, line=Line(0.6, 0),
        kept=_without(handed_on(before, old, old), now), frozen=before.frozen, changed=NOTHING,
    )  # fmt: skip
    assert after.regrouped == 0
    # The first person has one face left, so is nobody.
    assert after.found.group.tolist() == [-1, 0, 0, 0, *[1] * 4, *[2] * 4, *[3] * 4]


def _without(kept, now):
    from transforms.increments import Kept
    from transforms.neighbours import graph_within

    return Kept(kept.known[now], kept.group[now], kept.role[now], kept.confidence[now],
                graph_within(kept.graph, now))  # fmt: skip


def test_a_correction_regroups_the_people_that_it_speaks_of() -> None:
    who = np.repeat(np.arange(6), 10)
    faces, all_rows = people(who), np.arange(60)
    before = grouped(faces, Constraints())
    found, _ = resolved(said(2, "merge", person(0, 1), person(10, 11)))
    after = grow(faces, before, all_rows, all_rows, found, found.faces)
    assert after.kind == INCREMENT and after.regrouped == 20
    assert renumbered(after.found.group).tolist() == renumbered(np.where(who == 1, 0, who)).tolist()
    # Taken back, they are two again.
    undone = grow(faces, after, all_rows, all_rows, Constraints(), found.faces)
    np.testing.assert_array_equal(undone.found.group, before.found.group)


def test_two_named_people_stay_two_whoever_comes_between_them() -> None:
    centre = np.eye(32)
    ends = np.stack([centre[0], 0.4 * centre[0] + 0.9165 * centre[1]])
    between = np.linspace(0.2, 0.8, 30)[:, None]
    clean = np.concatenate([ends[np.repeat([0, 1], 20)], (1 - between) * ends[0] + between * ends[1]])
    vectors = clean + 0.06 * np.random.default_rng(0).normal(size=clean.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    faces = face_set(vectors.astype(np.float32), np.arange(70), np.zeros(70, bool))
    anna, bo = said(2, "name", person(0, 1), name="Anna"), said(3, "name", person(20, 21), name="Bo")
    grown_into_one = _grown_by(faces, Constraints())
    assert len(np.unique(grown_into_one[:40])) == 1
    found, _ = resolved(anna, bo, faces=70)
    group = _grown_by(faces, found)
    assert (group[:20] == group[0]).all() and (group[20:40] == group[20]).all() and group[0] != group[20]
    assert np.isin(group[40:], group[[0, 20]]).all()


def _grown_by(faces: FaceSet, found: Constraints) -> np.ndarray:
    old, now = np.arange(40), np.arange(70)
    before = grouped(part_of(faces, old), within(found, old))
    assert len(np.unique(before.found.group)) == 2
    frozen = before.frozen.__class__(before.frozen.threshold, 100, before.frozen.least)
    after = grouped(faces, found, kept=handed_on(before, old, now), frozen=frozen, changed=NOTHING)
    assert after.kind == INCREMENT and violations(after.found.group, found) == []
    return after.found.group


def test_a_weak_face_joins_someone_who_has_grown() -> None:
    who = np.zeros(6, int)
    vectors = identities(who, noise=0.2)
    weak = np.arange(6) == 0
    faces = face_set(vectors, np.arange(6), weak)
    old = np.array([0, 1])
    before = grouped(part_of(faces, old), Constraints())
    assert before.found.group.tolist() == [-1, -1]
    after = grouped(
        faces, Constraints(), kept=handed_on(before, old, np.arange(6)), changed=NOTHING,
        frozen=before.frozen.__class__(before.frozen.threshold, 100, before.frozen.least),
    )  # fmt: skip
    assert after.kind == INCREMENT and after.found.group.tolist() == [0] * 6
    assert after.found.role.tolist() == ["attached", *["core"] * 5]


def test_a_blurred_face_finds_its_person_among_ever_so_many_blurred_ones() -> None:
    random = np.random.default_rng(4)
    directions = np.linalg.qr(random.normal(size=(64, 64)))[0][:2]
    noise = 0.01 * random.normal(size=(4 + 2 * NEIGHBOURS, 64))
    # Four faces of one person, and a crowd of blurred ones that are more alike than that, the last of them
    # half like the person.
    person_, crowd = np.repeat(directions[:1], 4, axis=0), np.repeat(directions[1:], 2 * NEIGHBOURS, axis=0)
    vectors = np.concatenate([person_, crowd]) + noise
    vectors[-1] = 0.8 * directions[0] + directions[1]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    count = len(vectors)
    faces = face_set(vectors, np.arange(count), np.arange(count) >= 4)
    old = np.arange(count - 1)
    before = grouped(part_of(faces, old), Constraints())
    after = grow(faces, before, old, np.arange(count))
    assert after.kind == INCREMENT and before.found.group.tolist() == [0] * 4 + [-1] * (count - 5)
    at_once = grouped(faces, Constraints())
    assert at_once.found.group[-1] == after.found.group[-1] == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(2, 5))
def test_growing_keeps_corrections_and_every_group_is_two_at_least(seed: int, steps: int) -> None:
    random = np.random.default_rng(seed)
    count = 60
    faces = face_set(
        identities(random.integers(0, 6, count), noise=0.5, seed=seed), random.integers(0, 40, count),
        random.random(count) < 0.2,
    )  # fmt: skip
    found, _ = resolved(
        said(2, "merge", person(0, 1), person(2, 3)), said(3, "different", 4, 5), said(4, "not-a-face", 6),
        said(5, "name", person(7, 8), name="Anna"), said(6, "name", 9, name="Bo"), faces=count,
    )  # fmt: skip
    order = np.concatenate([np.arange(10), 10 + random.permutation(count - 10)])
    rows = np.sort(order[: count // 2])
    result = grouped(part_of(faces, rows), within(found, rows))
    for step in range(1, steps + 1):
        grown = np.sort(order[: count // 2 + step * count // (2 * steps)])
        result, rows = grow(faces, result, rows, grown, within(found, grown)), grown
        group = result.found.group
        assert violations(group, within(found, rows)) == []
        sizes = np.bincount(group[group >= 0], minlength=1)
        assert set(np.flatnonzero(sizes == 1)) <= {group[np.searchsorted(rows, 9)]}
        assert ((group >= 0) == (result.found.role != "ungrouped")).all()


def test_new_photos_of_someone_whom_a_merge_made_of_two_looks_find_them() -> None:
    """A child and the grown-up they became: their mean is like neither."""
    who = np.repeat([0, 1, 2], 12)
    faces = people(who, noise=0.4)
    rows = np.flatnonzero(np.arange(36) % 12 < 10)
    sides = (np.array([0, 1, 2]), np.array([10, 11, 12]))  # by place among the rows
    once = Constraints(ties=(Tie(np.concatenate(sides), sides),))
    result = grouped(part_of(faces, rows), once)
    assert result.found.group.tolist() == [0] * 20 + [1] * 10
    now = (rows[sides[0]], rows[sides[1]])
    after = grow(faces, result, rows, np.arange(36), Constraints(ties=(Tie(np.concatenate(now), now),)))
    assert after.kind == INCREMENT and after.regrouped == 6
    assert after.found.group.tolist() == [0] * 24 + [1] * 12


def test_the_first_shot_of_a_burst_being_no_face_does_not_take_the_others_from_their_person() -> None:
    person = people(np.zeros(6, int), noise=0.5)
    shots = np.array([0, 0, 0, 1, 2, 3, 4, 5])
    faces = replace(part_of(person, shots), photo=np.arange(8))
    assert grouped(faces, Constraints()).found.group.tolist() == [0] * 8
    found = grouped(faces, Constraints(absent=np.array([0])))
    assert found.found.group.tolist() == [-1] + [0] * 7 and found.frozen.clear == 7
    assert not np.isin([found.graph.left, found.graph.right], 0).any()
