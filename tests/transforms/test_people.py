from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration import Curve
from transforms import people as people_module
from transforms.grouping import THRESHOLD_METHODS, renumbered
from transforms.neighbours import neighbour_graph
from transforms.people import (
    ATTACHED,
    CORE,
    IDENTICAL,
    NEIGHBOURS,
    UNGROUPED,
    Assignment,
    FaceSet,
    WeakLimits,
    assign,
    attach,
    loose_neighbours,
    one_face_a_photo,
    own_likeness,
    person_ids,
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


def test_a_face_between_two_people_stays_ungrouped() -> None:
    who = np.repeat([0, 1], 5)
    vectors = identities(who, noise=0.05)
    middle = between(unit(vectors[:5].mean(axis=0)), unit(vectors[5:].mean(axis=0)))
    group = np.append(who, -1)
    everyone, photo = np.vstack([vectors, middle]), np.arange(11)
    assert (vectors @ middle).min() > 0.5
    assert attach(everyone, group, photo, threshold=0.5)[-1] == -1
    nearer = between(unit(vectors[:5].mean(axis=0)), unit(vectors[5:].mean(axis=0)), 0.35)
    assert attach(np.vstack([vectors, nearer]), group, photo, threshold=0.5)[-1] == 0


def test_a_face_attaches_from_the_threshold_on() -> None:
    vectors = np.eye(4, dtype=np.float32)[[0, 0, 0, 0]]
    vectors[3] = unit(np.array([0.7, 0.714, 0, 0]))
    group = np.array([0, 0, 0, -1])
    for threshold, expected in ((0.69, 0), (0.71, -1)):
        assert attach(vectors, group, np.arange(4), threshold=threshold)[3] == expected


def test_of_two_loose_faces_of_a_photo_the_better_fit_attaches() -> None:
    vectors = identities(np.zeros(6, int), noise=0.05)
    group, photo = np.array([0, 0, 0, 0, -1, -1]), np.array([0, 1, 2, 3, 9, 9])
    fits = vectors[4:] @ vectors[:4].T
    better = 4 + int(np.sort(fits, axis=1)[:, -3:].mean(axis=1).argmax())
    result = attach(vectors, group, photo, threshold=0.6)
    assert result[better] == 0 and result[9 - better] == -1
    beside_the_person = attach(vectors, group, np.array([0, 1, 2, 9, 9, 9]), threshold=0.6)
    assert beside_the_person[4:].tolist() == [-1, -1]


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


def slow_attach(vectors, group, photo, threshold, margin=0.05):
    """What `attach` means, face by face."""
    core = np.flatnonzero(group >= 0)
    fits = []
    for face in np.flatnonzero(group < 0):
        order = core[np.argsort(-(vectors[core] @ vectors[face]))[:40]]
        each = {
            g: float((vectors[order[group[order] == g]][:3] @ vectors[face]).mean())
            for g in set(group[order])
        }
        ranked = sorted(((fit, g) for g, fit in each.items()), reverse=True)
        second = ranked[1][0] if len(ranked) > 1 else -1
        hidden = float(vectors[order[-1]] @ vectors[face]) if len(core) > len(order) else -1
        if len(ranked) == 1 and hidden > ranked[0][0] - margin:
            means = {g: unit(vectors[group == g].mean(axis=0)) for g in set(group[core])}
            rest = [float(vectors[face] @ m) for g, m in means.items() if g != ranked[0][1]]
            lead = float(vectors[face] @ means[ranked[0][1]]) - max(rest, default=-1)
            second = ranked[0][0] - lead if rest else -1
        if ranked[0][0] >= threshold and ranked[0][0] - second >= margin:
            fits.append((ranked[0][0], face, ranked[0][1]))
    result, taken = group.copy(), {(group[c], photo[c]) for c in core}
    for _, face, person in sorted(fits, key=lambda f: (-f[0], f[1])):
        if (person, photo[face]) not in taken:
            taken.add((person, photo[face]))
            result[face] = person
    return result


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), people=st.integers(1, 4), count=st.integers(2, 70))
def test_attaching_is_done_as_face_by_face(seed: int, people: int, count: int) -> None:
    random = np.random.default_rng(seed)
    who = random.integers(0, people, count)
    vectors = identities(who, noise=0.5, seed=seed)
    group = np.where(random.random(count) < 0.3, -1, who)
    if (group < 0).all():
        return
    group[group >= 0] = renumbered(group[group >= 0])
    photo = random.integers(0, max(1, count // 3), count)
    expected = slow_attach(vectors, group, photo, 0.5)
    np.testing.assert_array_equal(attach(vectors, group, photo, threshold=0.5), expected)


def test_edges_say_as_much_of_loose_faces_as_comparing_all_does() -> None:
    who = np.repeat(np.arange(6), 70)
    vectors = identities(who, noise=0.6, seed=3)
    group = np.where(np.random.default_rng(0).random(len(who)) < 0.3, -1, who)
    everything = neighbour_graph(vectors, k=len(who), least=-1)
    listed = neighbour_graph(vectors, k=NEIGHBOURS, least=0.1)
    found = loose_neighbours(vectors, None, group, listed)
    kept = set(zip(found.loose.tolist(), found.core.tolist(), strict=True))
    for a, b, cosine in zip(everything.left, everything.right, everything.similarity, strict=True):
        for loose, core in ((a, b), (b, a)):
            if group[loose] < 0 <= group[core] and (loose, core) not in kept:
                assert cosine <= found.unlisted[loose] + 1e-6
    assert (found.unlisted[group < 0] < 0.9).all()


def test_a_runner_up_beyond_the_neighbours_counts() -> None:
    """Sixty faces of one sibling hide the other one; their means do not."""
    first = unit(np.eye(16, dtype=np.float32)[0] + 0.04 * np.random.default_rng(0).normal(size=(60, 16)))
    sibling = unit(0.9 * np.eye(16, dtype=np.float32)[0] + 0.43 * np.eye(16, dtype=np.float32)[1])
    second = unit(sibling + 0.02 * np.random.default_rng(1).normal(size=(2, 16)))
    between_both = unit(0.97 * np.eye(16, dtype=np.float32)[0] + 0.24 * np.eye(16, dtype=np.float32)[1])
    vectors = np.vstack([first, second, between_both])
    group = np.array([0] * 60 + [1, 1, -1])
    assert attach(vectors, group, np.arange(63), threshold=0.6)[-1] == -1
    assert attach(vectors, np.array([0] * 60 + [-1, -1, -1]), np.arange(63), threshold=0.6)[-1] == 0


def test_faces_that_are_like_everybody_need_to_be_more_alike() -> None:
    vectors = identities(np.zeros(4, int), noise=0.5)
    alike = float((vectors @ vectors.T)[np.triu_indices(4, 1)].min())
    faces = face_set(vectors)
    common = replace(faces, bias=np.full(4, 0.3, np.float32))
    assert assigned(faces, threshold=alike - 0.05).group.tolist() == [0, 0, 0, 0]
    assert assigned(common, threshold=alike + 0.05).group.tolist() == [-1] * 4


# -- ids ---------------------------------------------------------------------------------------------


def ids_of(groups: dict[str, int], previous: dict[str, str] | None = None) -> dict[str, str | None]:
    """The person id of each face, faces in order of id."""
    faces = sorted(groups)
    ids = person_ids(faces, np.array([groups[f] for f in faces], np.int64), previous or {})
    assert len(ids) == len(set(ids)) == max(groups.values(), default=-1) + 1
    return {f: ids[groups[f]] if groups[f] >= 0 else None for f in faces}


def known(people: dict[str, str | None]) -> dict[str, str]:
    return {face: person for face, person in people.items() if person}


def test_new_people_get_ids_that_depend_on_their_faces_alone() -> None:
    first = ids_of({"a": 0, "b": 0, "c": 1, "d": -1})
    assert first == ids_of({"a": 1, "b": 1, "c": 0, "d": -1})
    assert ids_of({"c": 0, "x": 0}) == {"c": first["c"], "x": first["c"]}
    assert all(person is None or person.startswith("p-") for person in first.values())


def test_people_keep_their_ids_when_they_grow_and_are_renumbered() -> None:
    before = ids_of({"b": 0, "c": 0, "d": 1, "e": 1})
    after = ids_of({"a": 1, "b": 1, "c": 1, "d": 0, "e": 0, "f": 2, "g": 2}, known(before))
    assert (after["b"], after["d"]) == (before["b"], before["d"])
    assert after["a"] == before["b"] and after["f"] not in before.values()


def test_of_a_split_the_larger_part_keeps_the_id_and_the_other_gets_a_new_one() -> None:
    before = ids_of(dict.fromkeys("abcde", 0))
    after = ids_of({"a": 0, "b": 0, "c": 1, "d": 1, "e": 1}, known(before))
    assert after["c"] == before["a"] and after["a"] != before["a"]


def test_a_merged_person_takes_the_id_of_the_larger() -> None:
    before = ids_of({"a": 0, "b": 0, "c": 1, "d": 1, "e": 1})
    assert set(ids_of(dict.fromkeys("abcde", 0), known(before)).values()) == {before["c"]}


def test_an_id_is_never_given_to_someone_else() -> None:
    before = ids_of({"a": 0, "b": 0, "c": 1, "d": 1})
    # The first person has vanished but for its first face, which is alone; the name of a new person
    # whose first face it would be is taken.
    merged = ids_of({"a": 0, "c": 0, "d": 0, "b": -1}, known(before))
    assert merged["a"] == before["c"]
    again = ids_of({"a": 0, "x": 0, "c": 1, "d": 1}, {"b": str(before["a"]), **known(merged), "a": "p-other"})
    assert again["a"] == "p-other"
    fresh = ids_of({"a": 0, "x": 0}, {"b": str(before["a"])})
    assert fresh["a"] != before["a"]


@given(st.data())
def test_ids_do_not_depend_on_the_numbers_of_groups(data: st.DataObject) -> None:
    faces = [f"f{i:02d}" for i in range(data.draw(st.integers(1, 12)))]
    raw = np.array([data.draw(st.integers(0, 4)) for _ in faces])
    previous = {f: f"p{data.draw(st.integers(0, 3))}" for f in faces if data.draw(st.booleans())}
    groups = renumbered(raw)
    order = np.array(data.draw(st.permutations(range(groups.max() + 1))))
    first = ids_of(dict(zip(faces, groups.tolist(), strict=True)), previous)
    shuffled = ids_of(dict(zip(faces, order[groups].tolist(), strict=True)), previous)
    # A tie between two groups for an id goes by number: leave those out.
    overlaps = {(g, previous[f]) for f, g in zip(faces, groups.tolist(), strict=True) if f in previous}
    if len({person for _, person in overlaps}) == len(overlaps):
        assert first == shuffled


@pytest.mark.parametrize("few", [0, 10_000])
def test_the_runner_up_among_many_people_is_looked_for_where_people_are_alike(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people_module, "_FEW_PEOPLE", few)
    monkeypatch.setattr(people_module, "_PEOPLE_IN_CELL", 20)
    monkeypatch.setattr(people_module, "_PEOPLE_PROBES", 3)
    monkeypatch.setattr(people_module, "_TOGETHER", 37)
    who = np.repeat(np.arange(200), 3)
    vectors = identities(who, noise=0.4, seed=5)
    person = np.random.default_rng(0).integers(0, 200, len(who))
    found = people_module._lead(vectors, who, np.arange(len(who)), person)
    means = unit(np.array([vectors[who == p].mean(axis=0) for p in range(200)]))
    alike = vectors @ means.T
    own = np.take_along_axis(alike, person[:, None], axis=1)[:, 0]
    np.put_along_axis(alike, person[:, None], -2, axis=1)
    missed = np.abs(found - (own - alike.max(axis=1))) > 1e-4
    assert not missed.any() if few else missed.mean() < 0.05
    alone = people_module._lead(vectors[:3], who[:3], np.arange(3), np.zeros(3, int))
    assert (alone > 2).all(), "nobody else is there"
