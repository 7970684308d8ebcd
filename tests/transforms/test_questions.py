from __future__ import annotations

import numpy as np

from pipeline.evaluate_corrections import answer
from tests.transforms.test_enforcement import identities, unit
from transforms.people import FaceSet
from transforms.questions import MEMBER, MERGE, SPLIT, questions

THRESHOLD = 0.6


def ask(vectors: np.ndarray, group: np.ndarray, photo: np.ndarray | None = None):
    photo = np.arange(len(group)) if photo is None else photo
    return questions(face_set(vectors, photo), group, np.ones(len(group), bool), threshold=THRESHOLD)


def face_set(vectors: np.ndarray, photo: np.ndarray) -> FaceSet:
    return FaceSet(vectors, photo, *np.ones((4, len(vectors)), np.float32))


def test_two_halves_of_a_person_are_asked_about_first() -> None:
    who = np.repeat([0, 1, 2], 16)
    group = who * 2 + (np.arange(48) % 16 >= 8)
    first = ask(identities(who), group)[:3]
    assert {q.kind for q in first} == {MERGE}
    assert {tuple(sorted(q.groups)) for q in first} == {(0, 1), (2, 3), (4, 5)}
    assert all(q.worth <= 8 for q in first)


def test_two_people_in_one_group_are_asked_about_first() -> None:
    who = np.repeat([0, 1, 2, 3], 10)
    found = ask(identities(who), np.where(who == 3, 2, who))[0]
    assert found.kind == SPLIT and found.groups == (2, 2)
    assert {who[found.first[0]], who[found.second[0]]} == {2, 3}
    assert answer(found, who, 1).kind == "different"


def test_a_stranger_in_a_group_is_asked_about_first() -> None:
    who = np.append(np.repeat([0, 1], 12), 2)
    found = ask(identities(who), np.append(who[:-1], 0))[0]
    assert found.kind == MEMBER and found.first.tolist() == [24] and found.groups == (0, 0)
    assert answer(found, who, 1).kind == "not-this-person"


def test_an_ungrouped_face_that_is_someone_is_asked_about() -> None:
    who = np.zeros(9, int)
    group = np.array([0] * 8 + [-1])
    found = [q for q in ask(identities(who), group) if q.kind == MERGE]
    assert found[0].groups == (0, -1) and found[0].second.tolist() == [8]
    doubtful = questions(
        face_set(identities(who), np.arange(9)), group, np.arange(9) < 8, threshold=THRESHOLD
    )
    assert not [q for q in doubtful if q.kind == MERGE]


def test_who_meet_in_photos_are_not_asked_about() -> None:
    who = np.zeros(16, int)
    group, apart = np.repeat([0, 1], 8), np.arange(16)
    assert [q for q in ask(identities(who), group, apart) if q.kind == MERGE]
    together = np.where(apart == 8, 0, apart)  # one face of each lies in photo 0
    assert not [q for q in ask(identities(who), group, together) if q.kind == MERGE]


def test_nothing_is_asked_of_nobody() -> None:
    assert ask(unit(np.eye(4)[:1]), np.array([-1])) == []
    assert ask(np.zeros((0, 4), np.float32), np.zeros(0, np.int64)) == []
