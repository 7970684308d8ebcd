from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.test_people import between, identities, unit
from transforms import attaching
from transforms.attaching import attach, loose_neighbours
from transforms.grouping import renumbered
from transforms.neighbours import NEIGHBOURS, neighbour_graph


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


@pytest.mark.parametrize("few", [0, 10_000])
def test_the_runner_up_among_many_people_is_looked_for_where_people_are_alike(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attaching, "_FEW_PEOPLE", few)
    monkeypatch.setattr(attaching, "_PEOPLE_IN_CELL", 20)
    monkeypatch.setattr(attaching, "_PEOPLE_PROBES", 3)
    monkeypatch.setattr(attaching, "_TOGETHER", 37)
    who = np.repeat(np.arange(200), 3)
    vectors = identities(who, noise=0.4, seed=5)
    person = np.random.default_rng(0).integers(0, 200, len(who))
    found = attaching._lead(vectors, who, np.arange(len(who)), person)
    means = unit(np.array([vectors[who == p].mean(axis=0) for p in range(200)]))
    alike = vectors @ means.T
    own = np.take_along_axis(alike, person[:, None], axis=1)[:, 0]
    np.put_along_axis(alike, person[:, None], -2, axis=1)
    missed = np.abs(found - (own - alike.max(axis=1))) > 1e-4
    assert not missed.any() if few else missed.mean() < 0.05
    alone = attaching._lead(vectors[:3], who[:3], np.arange(3), np.zeros(3, int))
    assert (alone > 2).all(), "nobody else is there"
