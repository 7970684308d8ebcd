from __future__ import annotations

import numpy as np
import pytest

from transforms.identities import Crawl, Limits, choose_faces, judge, linked

D = 64
LIMITS = Limits(link=0.4, belongs=0.6, same=(0.7, 0.7, 0.7))


def crowd(people: int, each: int, *, spread: float = 0.07, seed: int = 0) -> np.ndarray:
    """float32[people, each, D]: unit vectors around a direction for each person."""
    random = np.random.default_rng(seed)
    middle = random.normal(size=(people, 1, D))
    middle /= np.linalg.norm(middle, axis=2, keepdims=True)
    vectors = middle + spread * random.normal(size=(people, each, D))
    return (vectors / np.linalg.norm(vectors, axis=2, keepdims=True)).astype(np.float32)


def crawl(labels: list[str], vectors: list[np.ndarray], missing: tuple[int, ...] = ()) -> Crawl:
    names = sorted(set(labels))
    face = np.arange(len(labels))
    face[list(missing)] = -1
    return Crawl(names, np.array([names.index(x) for x in labels]), face, np.stack(vectors))


def test_a_clean_crawl_has_nothing_wrong() -> None:
    people = crowd(8, 5)
    labels = [f"p{i}" for i in range(8) for _ in range(5)]
    verdict = judge(crawl(labels, list(people.reshape(-1, D))), LIMITS)
    assert (verdict.same, verdict.misfiled, verdict.mixed) == ([], [], [])
    assert (verdict.fit > 0.7).all()


def test_each_fault_is_found_as_what_it_is() -> None:
    people = crowd(9, 6)
    labels = [f"p{i}" for i in range(9) for _ in range(6)]
    vectors = list(people.reshape(-1, D))
    labels[0] = labels[1] = "p0 again"  # p0 under two names
    labels[6] = "p2"  # a photo of p1 under p2
    labels[18:24] = ["p4"] * 6  # p3 put under p4 whole: p4 is mixed
    vectors.append(crowd(1, 1, seed=9)[0, 0])
    labels.append("p5")  # somebody whom nobody knows
    verdict = judge(crawl(labels, vectors), LIMITS)
    names = sorted(set(labels))
    assert [(names[s.identity], names[s.other]) for s in verdict.same] == [("p0 again", "p0")]
    assert {(m.photo, names[m.other] if m.other >= 0 else None) for m in verdict.misfiled} == {
        (6, "p1"),
        (54, None),
    }
    assert [(names[m.identity], m.photos) for m in verdict.mixed] in (
        [("p4", tuple(range(18, 24)))], [("p4", tuple(range(24, 30)))],
    )  # fmt: skip


def test_of_two_the_one_that_belongs_elsewhere_is_the_wrong_one() -> None:
    people = crowd(3, 4)
    labels = ["a", "b", "b", "b", "c", "c", "c", "c", "a"]
    vectors = [*people[1][:4], *people[2][:4], people[0][0]]
    verdict = judge(crawl(labels, vectors), LIMITS)
    assert [(m.photo, m.other) for m in verdict.misfiled] == [(0, 1)], "though it stands first"
    strangers = crawl(["a", "a", "b", "b"], [*crowd(2, 1, seed=5)[:, 0], *people[2][:2]])
    assert [m.photos for m in judge(strangers, LIMITS).mixed] == [(1,)]


def test_photos_without_a_face_are_left_out() -> None:
    people = crowd(2, 3)
    verdict = judge(crawl(["a"] * 3 + ["b"] * 3, list(people.reshape(-1, D)), missing=(2, 4)), LIMITS)
    assert np.isnan(verdict.fit[[2, 4]]).all() and verdict.misfiled == []
    nobody = judge(Crawl(["a"], np.zeros(2, int), np.full(2, -1), np.zeros((0, D), np.float32)), LIMITS)
    assert (nobody.same, nobody.misfiled, nobody.mixed) == ([], [], [])


def test_bystanders_in_front_are_not_taken_for_the_identity() -> None:
    people = crowd(4, 5)
    vectors = np.concatenate([people[0], people[1][:1]])
    faces = [[0], [1], [2], [3], [5, 4]]
    prominence = np.array([1, 1, 1, 1, 1, 9.0])
    assert choose_faces(np.zeros(5, int), faces, prominence, vectors).tolist() == [0, 1, 2, 3, 4]
    alone = choose_faces(np.array([0]), [[4, 5]], prominence, vectors)
    assert alone.tolist() == [5], "with nothing to compare, the most prominent"
    assert choose_faces(np.array([0]), [[]], prominence, vectors).tolist() == [-1]


@pytest.mark.parametrize("count", [30, 2000])
def test_many_photos_are_grouped_as_few_are(count: int) -> None:
    people = crowd(2, count // 2)
    labels = linked(people.reshape(-1, D), 0.4)
    assert len(set(labels[: count // 2])) == len(set(labels[count // 2 :])) == 1 and len(set(labels)) == 2
