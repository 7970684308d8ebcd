from __future__ import annotations

import numpy as np
import pytest

from tests.transforms.test_blocked_search import people_vectors
from transforms import bursts as bursts_of_faces
from transforms import cell_search
from transforms.best_neighbours import BFLOAT16, FLOAT32, Format
from transforms.blocked_search import search
from transforms.bursts import BURST, search_past_bursts
from transforms.cell_search import collapse_bursts, search_home, search_visitors
from transforms.cells import near_cells, nearest_cells, plan_cells, sample_size
from transforms.compact_vectors import learn_compact_form


def bursts(people: int, each: int, shots: int) -> np.ndarray:
    moments = people_vectors(people, each)
    generator = np.random.default_rng(1)
    vectors = np.repeat(moments, shots, axis=0)
    vectors = vectors + 0.02 * generator.normal(size=vectors.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("form", [BFLOAT16, FLOAT32])
@pytest.mark.parametrize("threads", [1, 3])
def test_most_shots_follow_a_near_identical_one_before_them(
    threads: int, form: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bursts_of_faces, "_SLICE", 1000)
    monkeypatch.setattr(bursts_of_faces, "product_format", lambda: form)
    vectors = bursts(12, 40, 8)
    leader = collapse_bursts(vectors, threads=threads)
    numbers = np.arange(len(vectors))
    assert (leader <= numbers).all()
    follows = leader != numbers
    assert (np.einsum("ij,ij->i", vectors, vectors[leader])[follows] >= BURST - 1e-6).all()
    # Of each of 480 moments seven shots could follow the first.
    assert follows.sum() > 0.9 * 480 * 7
    np.testing.assert_array_equal(leader, collapse_bursts(vectors))


def test_who_is_like_nobody_follows_nobody() -> None:
    vectors = people_vectors(1500, 1)
    np.testing.assert_array_equal(collapse_bursts(vectors), np.arange(1500))


def test_a_cell_that_is_not_too_full_is_searched_completely() -> None:
    vectors = people_vectors(5, 20, spread=0.7)
    exact, everyone = search_past_bursts(vectors, 10, least=0.4)
    found, stands = search_home(vectors, 10, least=0.4, most=100)
    np.testing.assert_array_equal(found.face, exact.face)
    np.testing.assert_array_equal(found.other, exact.other)
    np.testing.assert_array_equal(stands, everyone)


@pytest.mark.parametrize("most", [60, 200])
def test_a_cell_too_full_of_bursts_keeps_nearly_every_face_joined_to_its_person(most: int) -> None:
    vectors = bursts(3, 20, 10)
    person = np.repeat(np.arange(3), 200)
    bias = np.random.default_rng(5).normal(0, 0.1, len(vectors)).astype(np.float32)
    found, stands = search_home(vectors, 20, least=0.5, most=most, bias=bias)
    exact, _ = search_past_bursts(vectors, 20, least=0.5, bias=bias)
    alike = np.einsum("ij,ij->i", vectors[found.face], vectors[found.other])
    alike -= (bias[found.face] + bias[found.other]) / 2
    np.testing.assert_allclose(found.similarity, alike, atol=1e-5)
    assert (found.similarity >= 0.5).all() and np.bincount(found.face).max() <= 20
    assert stands.sum() <= 100 < 600
    # Nobody who is left aside is alone: a near-identical face stands for them.
    assert np.isin(np.flatnonzero(~stands), found.face).all()
    has = [np.unique(f.face[person[f.face] == person[f.other]]) for f in (found, exact)]
    assert len(has[0]) >= 0.99 * len(has[1])


@pytest.mark.parametrize("at_a_time", [7, 10_000])
def test_visitors_find_those_at_home_alone(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    monkeypatch.setattr(cell_search, "_VISITORS", at_a_time)
    vectors = people_vectors(5, 20)
    bias = np.random.default_rng(1).normal(0, 0.05, 100).astype(np.float32)
    visits = np.arange(100) % 3 == 0
    home, visitors = np.flatnonzero(~visits), np.flatnonzero(visits)
    found = search_visitors(
        vectors[home], vectors[visitors], 10, least=0.2, biases=(bias[home], bias[visitors])
    )
    among_all = search(vectors, 100, least=0.2, bias=bias)
    for number, face in enumerate(visitors):
        mine = among_all.other[among_all.face == face]
        np.testing.assert_array_equal(home[found.other[found.face == number]], mine[~visits[mine]][:10])
    nobody = search_visitors(vectors[:0], vectors[visitors], 10, least=0.2)
    assert not len(nobody.face)


def test_copies_of_one_face_are_no_endless_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bursts_of_faces, "_FEW", 64)
    vectors = np.repeat(people_vectors(1, 1), 300, axis=0)
    found, stands = search_home(vectors, 5, least=0.9, most=50)
    assert len(np.unique(np.append(found.face, found.other))) == 300 and stands.sum() == 1


def test_cells_are_home_to_few_enough_faces_and_people_meet() -> None:
    vectors = people_vectors(100, 20, spread=0.3)
    size = sample_size(2000, usual=75)
    centres = plan_cells(vectors[:: 2000 // size], faces=2000, usual=75, most=150, seed=0)
    found = near_cells(vectors, centres, 2)
    assert found.shape == (2000, 2) and (found[:, 0] != found[:, 1]).all() and (found[:, 0] >= 0).all()
    # Samples err, so some more than meant may be at home in a cell.
    assert np.bincount(found[:, 0]).max() <= 2 * 150
    face = np.arange(0, 2000, 2)
    meets = (found[face] == found[face + 1, :1]).any(axis=1)
    assert meets.mean() > 0.9


def test_a_face_looks_in_its_nearest_cell_and_in_those_that_are_hardly_farther() -> None:
    vectors, centres = people_vectors(30, 10, spread=1.0), people_vectors(12, 1, seed=5)
    nearest, near = nearest_cells(vectors, centres, 5), near_cells(vectors, centres, 5)
    distance = 1 - np.take_along_axis(vectors @ centres.T, nearest, axis=1)
    kept = near >= 0
    assert kept[:, 0].all() and kept.any(axis=0).all() and not kept.all()
    np.testing.assert_array_equal(near[kept], nearest[kept])
    farther = distance / distance[:, :1]
    assert farther[kept].max() <= farther[~kept].min()
    # Rounding may put a face behind the centre that it is: it is at home there all the same.
    turned = np.vstack([centres[:3] * np.float32(1 + 1e-6), centres])
    np.testing.assert_array_equal(
        near_cells(turned, centres, 3)[:, 0], nearest_cells(turned, centres, 1)[:, 0]
    )
    # A blurred face may be anyone's: two cells, however far.
    unsure = np.arange(len(vectors)) % 2 == 0
    wide = near_cells(vectors, centres, 5, unsure=unsure)
    np.testing.assert_array_equal(wide[unsure, :2], nearest[unsure, :2])
    np.testing.assert_array_equal(wide[~unsure], near[~unsure])


def test_someone_with_a_cell_of_their_own_looks_in_fewer_cells_than_strangers() -> None:
    """What keeps a family's archive from costing more than others of its size."""
    generator = np.random.default_rng(0)
    strangers = generator.normal(size=(2000, 16))
    family = np.repeat(generator.normal(size=(4, 16)), 500, axis=0) + 0.2 * generator.normal(size=(2000, 16))
    vectors = np.concatenate([strangers, family])
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    centres = plan_cells(vectors, faces=4000, usual=120, most=600, seed=0)
    probes = (near_cells(vectors, centres, 4) >= 0).sum(axis=1)
    assert probes[2000:].mean() + 0.5 < probes[:2000].mean()


def test_cells_of_copies_and_of_a_handful_of_faces_can_be_planned() -> None:
    copies = np.repeat(people_vectors(1, 1), 50, axis=0)
    for faces in (copies, people_vectors(2, 1)):
        centres = plan_cells(faces, faces=100_000, usual=130, most=500, seed=0)
        assert nearest_cells(faces, centres, 3).shape[1] == min(3, len(centres))


def test_the_compact_form_is_128_bytes_a_face_and_keeps_similarities() -> None:
    generator = np.random.default_rng(0)
    shape = np.exp(-np.arange(512) / 20)
    vectors = (generator.normal(size=(600, 512)) * shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    form = learn_compact_form(vectors[::2])
    codes = form.encode(vectors)
    assert codes.dtype == np.int8 and codes.shape == (600, 128)
    decoded = form.decode(codes)
    assert np.quantile(np.abs(decoded @ decoded.T - vectors @ vectors.T), 0.99) < 0.01
