from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.test_constraints import person, resolved, said
from transforms.constraints import Constraints
from transforms.corrections import Correction
from transforms.enforcement import enforce, freed_photos, guided_by, violations
from transforms.neighbours import neighbour_graph
from transforms.people import Assignment, FaceSet, assign

THRESHOLD = 0.6


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def identities(who: np.ndarray, *, noise: float = 0.25, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(int(who.max(initial=0)) + 1, 32))
    return unit(centres[who] + noise * random.normal(size=(len(who), 32)))


def enforced(
    group: np.ndarray, vectors: np.ndarray, found: Constraints, photo: np.ndarray | None = None
) -> np.ndarray:
    photo = np.arange(len(group)) if photo is None else photo
    result = enforce(group, vectors, freed_photos(photo, found), found, threshold=THRESHOLD, identical=0.9)
    assert not violations(result, found)
    return result


@st.composite
def lines(draw: st.DrawFn, faces: int) -> list[Correction]:
    """Corrections of all kinds about faces 0 … faces-1, in any combination."""
    anyone = st.integers(0, faces - 1)
    someone = st.lists(anyone, min_size=1, max_size=4, unique=True).map(lambda f: person(*f))
    ref = anyone | someone
    kinds = {
        "name": st.tuples(ref), "rename": st.tuples(ref), "merge": st.tuples(someone, someone),
        "same": st.tuples(ref, ref), "different": st.tuples(ref, ref), "not-a-face": st.tuples(anyone),
        "split": st.tuples(someone, anyone, anyone), "not-this-person": st.tuples(anyone, someone),
        "ignore-person": st.tuples(someone), "same-photo-allowed": st.tuples(anyone, anyone),
    }  # fmt: skip
    made = []
    for line in range(2, 2 + draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(sorted(kinds)))
        name = draw(st.sampled_from(["Anna", "Bo", "Cy"])) if "name" in kind else ""
        who = draw(kinds[kind].filter(lambda refs: len({str(r) for r in refs}) == len(refs)))
        made.append(said(line, kind, *who, name=name))
    return made


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_constraint_is_kept_whatever_the_groups(data: st.DataObject) -> None:
    count = 24
    corrections = data.draw(lines(count))
    found, problems = resolved(*corrections, faces=count)
    seed = data.draw(st.integers(0, 99))
    group = np.array(data.draw(st.lists(st.integers(-1, 5), min_size=count, max_size=count)), np.int64)
    photo = np.random.default_rng(seed).integers(0, 16, count)
    result = enforced(group, identities(np.arange(count) % 6, noise=0.8, seed=seed), found, photo)
    if not len(found.faces):
        assert result is group
        return
    numbers = sorted(set(result.tolist()) - {-1})
    assert numbers == list(range(len(numbers)))
    named = {int(f) for c in found.claims if c.exact for f in c.faces}
    sizes = np.bincount(result[result >= 0], minlength=1)
    assert all(sizes[result[f]] > 1 or f in named for f in np.flatnonzero(result >= 0).tolist())
    # Each line either holds or was reported.
    reported = {line for p in problems for line in p.lines}
    for c in corrections:
        exact = [[int(x.split(":")[0], 16) for x in a.faces] for a in c.anchors.values() if a.exact]
        if c.line in reported or len(exact) < 2:
            continue
        together = {int(result[f]) for e in exact for f in e}
        if c.kind == "same":
            assert len(together) == 1 and -1 not in together
        if c.kind == "different":
            assert len(together) == 2 or together == {-1}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_keeping_them_twice_changes_nothing_more(data: st.DataObject) -> None:
    found, _ = resolved(*data.draw(lines(18)), faces=18)
    group = np.array(data.draw(st.lists(st.integers(-1, 4), min_size=18, max_size=18)), np.int64)
    vectors = identities(np.arange(18) % 5, noise=0.5)
    once = enforced(group, vectors, found)
    np.testing.assert_array_equal(enforced(once, vectors, found), once)


def test_without_corrections_nothing_changes() -> None:
    group = np.array([3, 3, -1, 1, 1])
    assert enforced(group, identities(group + 1), Constraints()).tolist() == group.tolist()


def test_merged_people_are_one_with_all_their_faces() -> None:
    who = np.repeat([0, 1, 2], 20)
    found, _ = resolved(said(2, "merge", person(0, 1, 2), person(20, 21, 22)))
    assert enforced(who, identities(who), found).tolist() == [0] * 40 + [1] * 20


def test_a_face_said_to_be_someone_else_moves_alone() -> None:
    """One face of the second person lies with the first: saying whose it is must not merge the two."""
    who = np.repeat([0, 1], 20)
    vectors, group = identities(who), who.copy()
    group[39] = 0
    found, _ = resolved(said(2, "same", 39, 20))
    assert enforced(group, vectors, found).tolist() == who.tolist()


def test_the_neighbours_of_a_face_that_is_different_leave_with_it() -> None:
    who = np.repeat([0, 1], 20)
    found, _ = resolved(said(2, "different", 0, 20))
    assert enforced(np.zeros(40, int), identities(who, noise=0.6), found).tolist() == who.tolist()


def test_a_stranger_leaves_a_person_alone() -> None:
    who = np.append(np.zeros(30, int), 1)
    found, _ = resolved(said(2, "not-this-person", 30, person(0, 1, 2, 3)))
    assert enforced(np.zeros(31, int), identities(who, noise=0.6), found).tolist() == [0] * 30 + [-1]


def test_differently_named_people_never_become_one() -> None:
    who = np.repeat([0, 1], 10)
    found, _ = resolved(
        said(2, "name", person(0, 1, 2), name="Anna"), said(3, "name", person(10, 11, 12), name="Bo")
    )
    assert enforced(np.zeros(20, int), identities(who, noise=0.5), found).tolist() == who.tolist()


def test_a_single_face_with_a_name_is_a_person() -> None:
    found, _ = resolved(said(2, "name", 2, name="Great-grandmother"))
    assert enforced(np.array([0, 0, -1]), identities(np.array([0, 0, 1])), found).tolist() == [0, 0, 1]


def test_what_is_no_face_leaves_and_takes_nobody_along() -> None:
    found, _ = resolved(said(2, "not-a-face", 0))
    assert enforced(np.zeros(4, int), identities(np.zeros(4, int)), found).tolist() == [-1, 0, 0, 0]


def test_merged_people_who_meet_in_a_photo_keep_one_face_there() -> None:
    who = np.repeat([0, 1], 5)
    photo = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 4])
    found, _ = resolved(said(2, "merge", person(0, 1), person(5, 6)))
    result = enforced(who, identities(who), found, photo)
    assert sorted(result[[4, 9]].tolist()) == [-1, 0]
    allowed, _ = resolved(said(2, "merge", person(0, 1), person(5, 6)), said(3, "same-photo-allowed", 4, 9))
    assert enforced(who, identities(who), allowed, photo).tolist() == [0] * 10


def test_the_graph_is_guided() -> None:
    vectors = identities(np.repeat([0, 1], 5), noise=0.5)
    graph = neighbour_graph(vectors, k=9, least=0.1)
    found, _ = resolved(said(2, "same", 0, 5), said(3, "different", 1, 2))
    edges = {(a, b): s for a, b, s in zip(*(x.tolist() for x in _edges(graph, found)), strict=True)}
    assert edges[0, 5] == 1 and (1, 2) not in edges and (0, 1) in edges
    assert len(edges) == len(graph.left)
    assert guided_by(graph, Constraints()) is graph


def _edges(graph, found):
    result = guided_by(graph, found)
    return result.left, result.right, result.similarity


def face_set(vectors: np.ndarray, photo: np.ndarray, weak: np.ndarray) -> FaceSet:
    ones = np.ones(len(vectors), np.float32)
    size = np.where(weak, 20, 100).astype(np.float32)
    return FaceSet(vectors, photo, size, ones, 0 * ones, ones)


def decided(faces: FaceSet, found: Constraints, *, threshold: float, method: str = "default") -> Assignment:
    return assign(faces, method=method, threshold=threshold, seed=1, constraints=found)


@pytest.mark.parametrize("method", ["default", "agglomerative"])
def test_grouping_keeps_every_constraint_too(method: str) -> None:
    count = 40

    @settings(max_examples=30, deadline=None)
    @given(lines(count), st.integers(0, 99))
    def holds(corrections: list[Correction], seed: int) -> None:
        random = np.random.default_rng(seed)
        found, _ = resolved(*corrections, faces=count)
        vectors = identities(random.integers(0, 6, count), noise=0.5, seed=seed)
        faces = face_set(vectors, random.integers(0, 25, count), random.random(count) < 0.2)
        result = decided(faces, found, method=method, threshold=0.5)
        assert not violations(result.group, found)
        assert ((result.group < 0) == (result.role == "ungrouped")).all()
        assert (result.confidence[result.group < 0] == 0).all()

    holds()


def test_a_merge_teaches_about_faces_that_lay_between_two_people() -> None:
    """A face as near to one half of a person as to the other belongs to nobody, until they are one."""
    who = np.repeat([0, 1], 12)
    vectors = identities(who, noise=0.1)
    middle = unit(vectors[:12].mean(axis=0) + vectors[12:].mean(axis=0))
    vectors = np.vstack([vectors, middle])
    faces = face_set(vectors, np.arange(25), np.arange(25) == 24)
    assert decided(faces, Constraints(), threshold=0.55).group[24] == -1
    found, _ = resolved(said(2, "merge", person(0, 1, 2), person(12, 13, 14)))
    assert decided(faces, found, threshold=0.55).group.tolist() == [0] * 25


def test_a_mirror_that_the_user_allows_is_one_person_twice() -> None:
    who = np.zeros(6, int)
    vectors, photo = identities(who, noise=0.4), np.array([0, 1, 2, 3, 4, 4])
    faces = face_set(vectors, photo, np.zeros(6, bool))
    assert sorted(decided(faces, Constraints(), threshold=0.3).group.tolist())[0] == -1
    found, _ = resolved(said(2, "same-photo-allowed", 4, 5))
    assert decided(faces, found, threshold=0.3).group.tolist() == [0] * 6
