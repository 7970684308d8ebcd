from __future__ import annotations

import io
import pickle
from dataclasses import replace

import numpy as np
import pytest

from models.calibration import Cohort
from transforms.recogniser import (
    NEAREST,
    SVM,
    UNKNOWN,
    Gallery,
    cross_validate,
    fit_confidence,
    person_fits,
)

D = 24


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def gallery(*, people: int = 6, each: int = 5, classifier: str = NEAREST, spread: float = 0.08) -> Gallery:
    random = np.random.default_rng(2)
    person = np.repeat(np.arange(people), each)
    vectors = unit(random.normal(size=(people, D)))[person] + spread * random.normal(size=(len(person), D))
    names = [f"Person {p}" for p in range(people)]
    return Gallery(
        names, unit(vectors), person, 0.6, np.zeros(D, np.float32), "stand-in", classifier
    ).trained()


@pytest.mark.parametrize("classifier", [NEAREST, SVM])
@pytest.mark.parametrize("people", [1, 2, 6])
def test_known_faces_are_named_and_strangers_unknown(classifier: str, people: int) -> None:
    known = gallery(people=people, classifier=classifier)
    random = np.random.default_rng(5)
    asked = unit(known.vectors + 0.05 * random.normal(size=known.vectors.shape))
    found, similarity, most_like = known.recognise(asked)
    np.testing.assert_array_equal(found, known.person)
    np.testing.assert_array_equal(most_like, known.person)
    assert (similarity > 0.6).all()
    assert (known.recognise(-known.vectors)[0] == UNKNOWN).all() if people == 1 else True
    strangers = unit(np.linalg.svd(known.vectors)[2][-3:])  # at right angles to everybody
    assert (known.recognise(strangers)[0] == UNKNOWN).all()


def test_the_nearest_faces_vote() -> None:
    angles = np.radians([0, 20, 25, 30])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    known = Gallery(["A", "B"], vectors, np.array([0, 1, 1, 1]), 0.0, np.zeros(2, np.float32), "x")
    asked = np.array([[np.cos(0.1), np.sin(0.1)]], np.float32)  # 6 degrees: A is nearest
    assert replace(known, neighbours=1).recognise(asked)[0].tolist() == [0]
    assert replace(known, neighbours=3).recognise(asked)[0].tolist() == [1]
    assert replace(known, neighbours=99).recognise(asked)[0].tolist() == [1]


def test_the_more_faces_are_asked_about_the_stricter() -> None:
    known = replace(gallery(), slope=0.06)  # of 30 faces, threshold 0.6
    assert known.for_faces(1).threshold == known.for_faces(15).threshold == 0.6
    assert known.for_faces(1500).threshold == pytest.approx(0.6 + 0.06)
    assert known.for_faces(10**9).threshold <= 1
    assert replace(known, slope=0.0).for_faces(10**6).threshold == 0.6, "one that was given stays"


def test_nobody_asked_is_nobody_named() -> None:
    found, similarity, _ = gallery().recognise(np.zeros((0, D), np.float32))
    assert len(found) == len(similarity) == 0


@pytest.mark.parametrize("classifier", [NEAREST, SVM])
def test_a_stored_gallery_answers_the_same(classifier: str) -> None:
    known = gallery(classifier=classifier)
    back = Gallery.from_bytes(known.to_bytes())
    asked = unit(np.random.default_rng(1).normal(size=(20, D)))
    for a, b in zip(known.recognise(asked), back.recognise(asked), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (back.names, back.classifier, back.fingerprint) == (known.names, known.classifier, "stand-in")


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def archive(**parts: object) -> bytes:
    known = gallery()
    stored = dict(np.load(io.BytesIO(known.to_bytes())))
    file = io.BytesIO()
    np.savez(file, **{**stored, **parts})
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 not a zip",
        pickle.dumps(Trap()),
        archive(names=np.array([Trap()], object)),
        archive(vectors=np.zeros((2, 2))),
        archive(person=np.array([99] * 30)),
        archive(person=np.array(["x"] * 30)),
        archive(format=np.array("something else")),
        archive(threshold=np.array(np.nan)),
        archive(classifier=np.array("rm -rf")),
        archive(weights=np.ones((1, 1))),
    ],
    ids=lambda d: f"{len(d)} bytes",
)
def test_a_file_of_another_kind_is_refused_and_never_run(data: bytes) -> None:
    with pytest.raises(ValueError):
        Gallery.from_bytes(data)


def test_cross_validation_counts_what_happens_to_known_people_and_strangers() -> None:
    easy = cross_validate(gallery())
    assert (easy.right, easy.wrong, easy.unknown, easy.accepted) == (1, 0, 0, 0)
    assert (easy.asked, easy.strangers) == (30, 30)
    blind = cross_validate(replace(gallery(), threshold=-1.0))
    assert blind.accepted == 1, "without a threshold every stranger is somebody"
    strict = cross_validate(replace(gallery(), threshold=1.0))
    assert (strict.unknown, strict.accepted) == (1, 0)


def test_shuffled_labels_are_recognised_by_chance_only() -> None:
    known = gallery(people=6, each=8)
    shuffled = replace(known, person=np.random.default_rng(0).permutation(known.person))
    assert cross_validate(shuffled).right < 0.5


def test_who_has_one_face_is_never_asked_about_as_known() -> None:
    once = replace(gallery(each=5), person=np.array([0] * 29 + [1]), names=["A", "B"])
    assert cross_validate(once).asked == 29
    assert np.isnan(cross_validate(gallery(people=1)).accepted), "one person alone has no strangers"


def test_a_person_fits_by_the_closest_three() -> None:
    near = [("A", 0.9), (None, 0.85), ("B", 0.8), ("A", 0.3), ("B", 0.7), ("A", 0.3), ("A", 0.0)]
    assert person_fits(near) == [("B", pytest.approx(0.75)), ("A", pytest.approx(0.5))]
    assert person_fits([]) == []


def test_confidence_is_one_half_at_the_threshold() -> None:
    assert fit_confidence(0.6, 0.6) == 0.5
    assert fit_confidence(0.9, 0.6) > 0.99 > 0.01 > fit_confidence(0.3, 0.6)


def test_what_is_like_everybody_is_less_alike_and_a_stored_gallery_knows_it() -> None:
    known = gallery()
    typical = unit(np.stack([known.vectors.mean(axis=0), np.eye(D)[0]]))
    with_cohort = replace(known, cohort=Cohort(typical, 0.1))
    plain, measured = (g.recognise(known.vectors)[1] for g in (known, with_cohort))
    bias = Cohort(typical, 0.1).bias(known.vectors)
    np.testing.assert_allclose(measured, plain - bias, atol=1e-5)  # each face is nearest to itself
    again = Gallery.from_bytes(with_cohort.to_bytes()).recognise(known.vectors)[1]
    np.testing.assert_array_equal(again, measured)
    broken = replace(known, cohort=Cohort(typical[:, :3], 0.1))
    with pytest.raises(ValueError, match="fit together"):
        Gallery.from_bytes(broken.to_bytes())
