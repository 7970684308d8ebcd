from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.clustering_scores import clustering_scores
from transforms.grouping_samples import LabelledFaces, of_share, with_many_photos
from transforms.people import FaceSet


def face_set(photo: list[int]) -> FaceSet:
    ones = np.ones(len(photo), np.float32)
    vectors = np.arange(len(photo), dtype=np.float32)[:, None] * ones[:, None]
    return FaceSet(vectors, np.array(photo), ones, ones, ones, ones)


def labelled() -> LabelledFaces:
    """Photos 0 to 3 of the people 7, 7, 8, 9; the last without a face, the second with a stranger too."""
    return LabelledFaces(face_set([0, 1, 1, 2]), np.array([7, 7, 8, 9]), np.array([0, 2, 3, -1]))


def test_a_sample_holds_all_faces_of_its_photos() -> None:
    part = labelled().of_photos(np.array([False, True, True, True]))
    assert part.faces.photo.tolist() == [0, 0, 1]
    assert part.faces.vectors[:, 0].tolist() == [1, 2, 3]
    assert part.face.tolist() == [1, 2, -1]
    assert part.people.tolist() == [7, 8, 9]


def test_who_is_ungrouped_or_not_found_is_alone() -> None:
    scores = labelled().scores(np.array([0, -1, 0, -1]))
    assert (scores.groups, scores.people, scores.bcubed_f) == (3, 3, 1.0)
    assert labelled().scores(np.array([-1, -1, -1, -1])).groups == 4


@given(st.data())
def test_strangers_in_a_group_cost_precision_alone(data: st.DataObject) -> None:
    people = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=12))
    count = len(people)
    sample = LabelledFaces(face_set(list(range(count))), np.array(people), np.arange(count))
    groups = st.lists(st.integers(-1, 4), min_size=count, max_size=count)
    own, others = data.draw(groups), data.draw(st.lists(st.integers(-1, 4), max_size=12))
    hidden = sample.among(face_set(list(range(len(others)))))
    group = np.array(own + others)
    _, precision, recall = hidden.bcubed_among(group)
    strangers = 100 + np.arange(len(others))  # every one a person of its own
    labels = np.where(group < 0, 50 + np.arange(len(group)), group)
    truth = np.append(people, strangers)
    each = [np.mean(truth[labels == labels[i]] == people[i]) for i in range(count)]
    assert precision == pytest.approx(np.mean(each))
    assert recall == pytest.approx(clustering_scores(np.array(people), labels[:count]).bcubed_recall)


def test_shares_hold_whole_people_and_grow() -> None:
    names = np.array([f"Person {i // 3}" for i in range(3000)])
    small, large = of_share(names, 0.1), of_share(names, 0.3)
    assert 60 < small.reshape(-1, 3).any(axis=1).sum() < 140
    assert (small <= large).all()
    np.testing.assert_array_equal(small.reshape(-1, 3).any(axis=1), small.reshape(-1, 3).all(axis=1))
    assert not np.array_equal(of_share(names, 0.1, repeat=1), small)


@given(st.lists(st.integers(0, 3), max_size=90))
def test_people_with_many_photos_keep_thirty_at_most(people: list[int]) -> None:
    chosen = with_many_photos(np.array(people, np.int64))
    for person in range(4):
        count = people.count(person)
        mine = [bool(c) for c, p in zip(chosen, people, strict=True) if p == person]
        assert mine == [count >= 10 and place < 30 for place in range(count)]
