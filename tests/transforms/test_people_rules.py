"""The rules of grouping one by one, on faces whose likeness to each other is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from transforms import people
from transforms.grouping import REACH, THRESHOLD_METHODS, StrongFaces, fine_groups, merged_groups
from transforms.increments import Growth, Kept, increment
from transforms.neighbours import NeighbourGraph, neighbour_graph
from transforms.people import IDENTICAL, FaceSet, Rules, assign, deciding_edges
from transforms.regrouping import neighbours_of

THRESHOLD = 0.6


def with_likeness(alike: np.ndarray) -> np.ndarray:
    """float32[n, n] unit vectors whose cosines are float[n, n] `alike`."""
    return np.linalg.cholesky(alike + 1e-9 * np.eye(len(alike))).astype(np.float32)


def face_set(vectors: np.ndarray, photo: np.ndarray, weak: np.ndarray | None = None) -> FaceSet:
    ones = np.ones(len(vectors), np.float32)
    size = 90 * ones if weak is None else np.where(weak, 10, 90).astype(np.float32)
    return FaceSet(vectors, photo, size, ones, 0 * ones, ones)


def edge(similarity: float, faces: int = 2) -> NeighbourGraph:
    return graph_of([(0, 1, similarity)], faces)


def graph_of(edges: list[tuple[int, int, float]], faces: int) -> NeighbourGraph:
    left, right, similarity = zip(*edges, strict=True)
    ends = (np.array(left, np.int32), np.array(right, np.int32))
    return NeighbourGraph(faces, *ends, np.array(similarity, np.float32))


# -- two faces of one photo ---------------------------------------------------------------------------


def deciding(similarity: float, *, bias: float = 0.0, photo=(0, 0), weak=(False, False)) -> int:
    """How many edges decide, of one between two faces with that `similarity` and `bias` each."""
    found = deciding_edges(
        edge(similarity), np.full(2, bias, np.float32), np.array(photo), np.array(weak), THRESHOLD
    )
    return len(found.left)


def test_faces_of_one_photo_are_no_neighbours_unless_they_are_one_face_twice() -> None:
    assert deciding(0.8, photo=(0, 1)) == 1
    assert deciding(0.8, photo=(3, 3)) == 0
    assert deciding(IDENTICAL + 0.01, photo=(3, 3)) == 1


def test_what_is_one_face_twice_is_told_by_the_cosine_whatever_the_biases_are() -> None:
    # The similarity of an edge is the cosine less half of both biases.
    assert deciding(0.8, bias=0.15) == 1, "a cosine of 0.95, of faces that are like everybody"
    assert deciding(0.95, bias=-0.15) == 0, "a cosine of 0.8, of faces that are like nobody"


def test_an_edge_decides_between_clear_faces_down_to_somewhat_below_the_threshold() -> None:
    assert deciding(THRESHOLD - REACH + 0.001, photo=(0, 1)) == 1
    assert deciding(THRESHOLD - REACH - 0.001, photo=(0, 1)) == 0
    for weak in ((True, False), (False, True)):
        assert deciding(0.99, photo=(0, 1), weak=weak) == 0


def siblings() -> FaceSet:
    """Two siblings in three photos together: 0.65 alike themselves from photo to photo, 0.75 with each other
    in the light of one photo, 0.4 otherwise."""
    who, photo = np.repeat([0, 1], 3), np.tile([0, 1, 2], 2)
    alike = 0.4 + 0.25 * (who[:, None] == who) + 0.35 * (photo[:, None] == photo)
    return face_set(with_likeness(alike), photo)


def test_siblings_who_are_most_alike_within_a_photo_are_two_people() -> None:
    found = assign(siblings(), method="default", threshold=THRESHOLD, seed=0)
    assert found.group.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("method", [*THRESHOLD_METHODS, "kmeans"])
def test_without_the_rule_two_faces_of_a_photo_may_be_one_person(method: str) -> None:
    alike = np.full((4, 4), 0.75)
    np.fill_diagonal(alike, 1)
    faces = face_set(with_likeness(alike), np.array([0, 0, 1, 2]))

    def groups(rules: Rules) -> list[int]:
        number = 1 if method == "kmeans" else None
        found = assign(faces, method=method, threshold=THRESHOLD, seed=0, rules=rules, people=number)
        return found.group.tolist()

    assert groups(Rules(same_photo=False)) == [0, 0, 0, 0]
    assert sorted(groups(Rules())) == [-1, 0, 0, 0]


@pytest.mark.parametrize(("same_photo", "expected"), [(False, [0, 0, 0, 0]), (True, [0, 0, 0, -1])])
def test_new_faces_keep_to_the_rule_as_well(same_photo: bool, expected: list[int]) -> None:
    alike = np.full((4, 4), 0.75)
    np.fill_diagonal(alike, 1)
    faces = face_set(with_likeness(alike), np.array([0, 1, 2, 0]))
    known = np.array([True, True, True, False])
    role = np.where(known, "core", "ungrouped").astype(object)
    kept = Kept(known, np.array([0, 0, 0, -1]), role, np.where(known, 0.9, 0).astype(np.float32))

    def near(rows: np.ndarray) -> NeighbourGraph:
        return neighbours_of(faces, THRESHOLD - REACH, rows)

    how = Growth(THRESHOLD, 0, Rules(same_photo=same_photo), people.USUAL_CONFIDENCE)
    nothing = np.zeros(0, np.int64)
    fresh = near(np.array([3]))
    found, _ = increment(faces, kept, fresh, people.Constraints(), nothing, near=near, how=how)
    assert found.group.tolist() == expected


# -- who may attach -----------------------------------------------------------------------------------


def test_weak_faces_and_clear_ones_that_are_like_somebody_look_for_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Faces 0 to 2 are a person, 3 is a clear stranger, 4 a weak one; 5 and 6 are like one of 0 to 2 above
    the threshold and just below it."""
    alike = np.full((7, 7), 0.1)
    alike[:3, :3] = 0.8
    for face, to_first in ((5, THRESHOLD + 0.005), (6, THRESHOLD - 0.02)):
        alike[face, 0] = alike[0, face] = to_first
        alike[face, [1, 2]] = alike[[1, 2], face] = 0.4
    np.fill_diagonal(alike, 1)
    faces = face_set(with_likeness(alike), np.arange(7), np.arange(7) == 4)
    asked, real = [], people.loose_neighbours

    def recording(*args, **options):
        asked.append(options["among"])
        return real(*args, **options)

    monkeypatch.setattr(people, "loose_neighbours", recording)
    found = assign(faces, method="default", threshold=THRESHOLD, seed=0)
    assert found.group.tolist() == [0, 0, 0, -1, -1, -1, -1]
    assert np.flatnonzero(asked[0]).tolist() == [0, 1, 2, 4, 5]


@pytest.mark.parametrize("seed", range(6))
def test_whom_nobody_is_like_would_not_have_attached_had_they_looked(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(seed)
    who = np.where(random.random(90) < 0.3, np.arange(90), random.integers(0, 9, 90))
    vectors = random.normal(size=(90, 32))[who] + random.uniform(0.3, 1.1, (90, 1)) * random.normal(
        size=(90, 32)
    )
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    faces = face_set(vectors, random.integers(0, 60, 90), random.random(90) < 0.2)
    expected = assign(faces, method="default", threshold=0.5, seed=0)
    real = people.loose_neighbours
    asked: list[np.ndarray] = []

    def everybody(*args, among, **options):
        asked.append(among)
        return real(*args, among=np.ones(90, bool), **options)

    monkeypatch.setattr(people, "loose_neighbours", everybody)
    found = assign(faces, method="default", threshold=0.5, seed=0)
    np.testing.assert_array_equal(found.group, expected.group)
    assert not asked[0].all() and (expected.role == people.ATTACHED).any()


# -- the default method's levels ----------------------------------------------------------------------


def test_first_communities_keep_somewhat_above_the_threshold() -> None:
    for beyond, expected in ((0.0, [0, 1]), (0.02, [0, 0])):
        found = fine_groups(edge(THRESHOLD + beyond), np.arange(2), threshold=THRESHOLD, seed=0)
        assert found.tolist() == expected


def test_a_burst_is_one_face_to_the_communities() -> None:
    """Sixty shots of one smile weigh no more than one, else they would be a community of their own."""
    alike = np.full((6, 6), THRESHOLD + 0.2)
    vectors = with_likeness(alike + np.eye(6) * (1 - alike))
    shots = np.repeat([0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 60, 60])
    faces = face_set(vectors[shots], np.arange(len(shots)))
    found = assign(faces, method="default", threshold=THRESHOLD, seed=0, rules=Rules(merge=False))
    assert set(found.group.tolist()) == {0}


def merged(alike: np.ndarray) -> list[int]:
    """What faces that begin alone are put together to."""
    vectors = with_likeness(alike)
    graph = neighbour_graph(vectors, k=len(vectors), least=0.3)
    count = len(vectors)
    every = np.arange(count)
    faces = StrongFaces(vectors, np.zeros(count, np.float32), every, graph, every, every)
    return merged_groups(faces, np.arange(count), threshold=THRESHOLD).tolist()


def test_pieces_are_put_together_from_somewhat_below_the_threshold_on() -> None:
    for beyond, expected in ((-0.04, [0, 0]), (-0.06, [0, 1])):
        alike = np.array([[1, THRESHOLD + beyond], [THRESHOLD + beyond, 1]])
        assert merged(alike) == expected


def test_pieces_are_put_together_twice_since_larger_ones_have_surer_means() -> None:
    """The first two faces are joined at once; the third, compared again, reaches the mean of both, which is
    shorter than a face; the fourth would only reach the mean of all three."""
    alike = np.array(
        [[1, 0.56, 0.53, 0.505], [0.56, 1, 0.53, 0.505], [0.53, 0.53, 1, 0.505], [0.505, 0.505, 0.505, 1]]
    )
    assert merged(alike) == [0, 0, 0, 1]
    assert merged(alike[1:, 1:]) == [0, 1, 2], "one by one none is like another enough"


def test_faces_that_take_no_part_stay_out() -> None:
    vectors = with_likeness(np.array([[1.0, 0.7, 0.7], [0.7, 1, 0.7], [0.7, 0.7, 1]]))
    graph = neighbour_graph(vectors, k=3, least=0.3)
    every = np.arange(3)
    faces = StrongFaces(vectors, np.zeros(3, np.float32), every, graph, every, every)
    labels = np.array([0, -1, 1])
    assert merged_groups(faces, labels, threshold=THRESHOLD).tolist() == [0, -1, 0]
    assert merged_groups(
        replace(faces, photo=np.zeros(3, np.int64)), labels, threshold=THRESHOLD
    ).tolist() == [0, -1, 1], "groups that meet in a photo stay apart"
