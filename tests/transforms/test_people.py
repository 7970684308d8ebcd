from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration import Curve
from transforms.grouping import THRESHOLD_METHODS, renumbered
from transforms.people import (
    ATTACHED,
    CORE,
    IDENTICAL,
    UNGROUPED,
    Assignment,
    FaceSet,
    WeakLimits,
    assign,
    one_face_a_photo,
    own_likeness,
)

THRESHOLD = 0.6


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def identities(who: np.ndarray, *, noise: float = 0.25, seed: int = 0) -> np.ndarray:
    """A unit vector float32[n, 32] for each face, near its person's."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(int(who.max(initial=0)) + 1, 32))
    return unit(centres[who] + noise * random.normal(size=(len(who), 32)))


def face_set(vectors: np.ndarray, photo: np.ndarray | None = None, weak: np.ndarray | None = None) -> FaceSet:
    """Clear faces, each in a photo of its own unless told; weak ones are small."""
    count = len(vectors)
    ones = np.ones(count, np.float32)
    size = np.where(np.zeros(count, bool) if weak is None else weak, 20, 100).astype(np.float32)
    return FaceSet(vectors, np.arange(count) if photo is None else photo, size, ones, 0 * ones, ones)


def assigned(faces: FaceSet, *, method: str = "default", threshold: float = THRESHOLD) -> Assignment:
    return assign(faces, method=method, threshold=threshold, seed=7)


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
def test_people_are_found_and_singles_stay_ungrouped(method: str) -> None:
    who = np.array([0, 1, 2, 0, 1, 0, 3, 1, 0, 1, 4, 4])
    found = assigned(face_set(identities(who)), method=method)
    alone = np.isin(who, [2, 3])
    assert (found.group[alone] == -1).all() and (found.role[alone] == UNGROUPED).all()
    assert (found.role[~alone] == CORE).all()
    np.testing.assert_array_equal(renumbered(found.group[~alone]), renumbered(who[~alone]))
    assert sorted(set(found.group.tolist())) == [-1, 0, 1, 2]
    assert found.confidence.dtype == np.float32
    assert (found.confidence[alone] == 0).all() and (found.confidence[~alone] > 0.5).all()
    assert (found.confidence <= 1).all()


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
@pytest.mark.parametrize("weak", [False, True])
def test_a_library_without_people_can_be_grouped(method: str, weak: bool) -> None:
    for count in (0, 1, 2):
        faces = face_set(identities(np.arange(count)), weak=np.full(count, weak))
        found = assigned(faces, method=method)
        assert found.group.tolist() == [-1] * count and found.confidence.tolist() == [0] * count


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), noise=st.floats(0.05, 0.9), method=st.sampled_from(THRESHOLD_METHODS))
def test_two_faces_of_a_photo_are_two_people_unless_they_are_the_same_picture(
    seed: int, noise: float, method: str
) -> None:
    random = np.random.default_rng(seed)
    vectors = identities(random.integers(0, 4, 40), noise=noise, seed=seed)
    photo = random.integers(0, 12, 40)
    faces = face_set(vectors, photo, weak=random.random(40) < 0.3)
    found = assigned(faces, method=method, threshold=0.4)
    for person in range(found.group.max() + 1):
        for number in range(12):
            inside = np.flatnonzero((found.group == person) & (photo == number))
            if len(inside) > 1:  # then all are as good as identical to one of them
                assert (vectors[inside] @ vectors[inside].T).min(axis=1).max() >= IDENTICAL - 1e-6
    assert ((found.group >= 0) == (found.role != UNGROUPED)).all()
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    members = np.bincount(found.group[found.group >= 0], minlength=1)
    assert (found.group.max() < 0) or (members >= 2).all()


def test_a_mirror_is_one_person_twice() -> None:
    who = np.array([0, 0, 0, 0])
    vectors = identities(who)
    twin = unit(vectors[0] + 0.05 * identities(np.array([0]), seed=9)[0])
    assert twin @ vectors[0] >= IDENTICAL
    found = assigned(face_set(np.vstack([vectors, twin]), np.array([0, 1, 2, 3, 0])))
    assert found.group.tolist() == [0] * 5


def test_of_a_photo_s_faces_the_one_nearest_to_the_group_stays() -> None:
    vectors = identities(np.zeros(6, int), noise=0.2)
    stranger = unit(vectors.mean(axis=0) + 0.9 * identities(np.array([0]), seed=5)[0])
    photo = np.array([0, 1, 2, 3, 4, 5, 2])
    labels = one_face_a_photo(np.vstack([vectors, stranger]), np.zeros(7, int), photo)
    assert labels.tolist() == [0, 0, 0, 0, 0, 0, 1]


@given(st.data())
def test_taking_faces_out_touches_no_one_else(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 20))
    labels = np.array(data.draw(st.lists(st.integers(0, 4), min_size=count, max_size=count)), np.int64)
    photo = np.array(data.draw(st.lists(st.integers(0, 6), min_size=count, max_size=count)), np.int64)
    vectors = unit(np.random.default_rng(count).normal(size=(count, 32)))  # none are identical
    result = one_face_a_photo(vectors, labels, photo)
    for label in set(labels.tolist()):
        members = np.flatnonzero(labels == label)
        alone = [m for m in members if np.sum(photo[members] == photo[m]) == 1]
        assert len({int(result[m]) for m in alone}) <= 1  # who had no double stays together
        for number in set(photo[members].tolist()):
            doubles = members[photo[members] == number]
            assert not alone or np.sum(result[doubles] == result[alone[0]]) == 1
    pairs = list(zip(result.tolist(), photo.tolist(), strict=True))
    assert len(pairs) == len(set(pairs))
    np.testing.assert_array_equal(result, renumbered(result))


def between(a: np.ndarray, b: np.ndarray, share: float = 0.5) -> np.ndarray:
    return unit(a * (1 - share) + b * share)


@pytest.mark.parametrize("method", THRESHOLD_METHODS)
def test_weak_faces_never_bridge_two_people(method: str) -> None:
    who = np.repeat([0, 1], 10)
    vectors = identities(who, noise=0.15)
    first, second = unit(vectors[:10].mean(axis=0)), unit(vectors[10:].mean(axis=0))
    steps = np.stack([between(first, second, s) for s in np.linspace(0.05, 0.95, 25)])
    everyone = np.vstack([vectors, steps])
    weak = np.arange(len(everyone)) >= 20
    found = assigned(face_set(everyone, weak=weak), method=method)
    np.testing.assert_array_equal(found.group[:20], who)
    assert found.group[20] == 0 and found.group[-1] == 1
    assert (found.role[[20, -1]] == ATTACHED).all()
    assert -1 in found.group[20:]


def test_weak_faces_alone_are_nobody() -> None:
    vectors = identities(np.zeros(5, int), noise=0.05)
    assert assigned(face_set(vectors, weak=np.ones(5, bool))).group.tolist() == [-1] * 5


@pytest.mark.parametrize(
    ("feature", "value"),
    [("size", 39.0), ("score", 0.89), ("yaw", -51.0), ("yaw", 51.0), ("sharpness", 0.02)],
)
def test_each_limit_makes_a_face_weak(feature: str, value: float) -> None:
    faces = face_set(identities(np.zeros(3, int)))
    changed = getattr(faces, feature).copy()
    changed[1] = value
    assert replace(faces, **{feature: changed}).weak(WeakLimits()).tolist() == [False, True, False]


def test_likeness_to_the_others_is_to_their_mean_direction() -> None:
    vectors = unit(np.random.default_rng(4).normal(size=(7, 8)))
    group, bias = np.array([0, 0, 0, 1, 1, -1, 0]), np.linspace(-0.1, 0.1, 7).astype(np.float32)
    found = own_likeness(vectors, group, bias)
    for face in range(7):
        others = [f for f in range(7) if f != face and group[f] == group[face]]
        if group[face] < 0:
            assert found[face] == 0
        else:
            mean = unit(vectors[others].mean(axis=0))
            expected = vectors[face] @ mean - (bias[face] + bias[others].mean()) / 2
            assert found[face] == pytest.approx(expected, abs=1e-5)


def test_confidence_follows_the_curve_and_who_is_ungrouped_has_none() -> None:
    vectors = identities(np.array([0, 0, 0, 1, 1, 2]), noise=0.2)
    curve = Curve((-1.0, 1.0), (0.25, 0.75))
    found = assign(face_set(vectors), method="default", threshold=THRESHOLD, seed=0, curve=curve)
    likeness = own_likeness(vectors, found.group, np.zeros(6, np.float32))
    np.testing.assert_allclose(found.confidence[:5], 0.5 + (likeness[:5] - THRESHOLD) / 4, atol=1e-5)
    assert found.confidence[5] == 0


def test_faces_that_are_like_everybody_need_to_be_more_alike() -> None:
    vectors = identities(np.zeros(4, int), noise=0.5)
    alike = float((vectors @ vectors.T)[np.triu_indices(4, 1)].min())
    faces = face_set(vectors)
    common = replace(faces, bias=np.full(4, 0.3, np.float32))
    assert assigned(faces, threshold=alike - 0.05).group.tolist() == [0, 0, 0, 0]
    assert assigned(common, threshold=alike + 0.05).group.tolist() == [-1] * 4
