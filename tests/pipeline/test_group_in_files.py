from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from models.calibration import shipped_calibration
from models.embedder import embedder_spec
from models.face_statistics import shipped_statistics
from pipeline import group
from pipeline.bench_group import FAMILY, FAMILY_FACES, largest_people, neighbour_recall, people_of
from pipeline.search_neighbours import SearchSettings, search_neighbours
from transforms import storage
from transforms.bursts import bursts_of
from transforms.clustering_scores import clustering_scores
from transforms.library import Library
from transforms.neighbours import NEIGHBOURS, neighbour_graph
from transforms.synthetic_faces import SyntheticPeople, synthetic_faces
from transforms.synthetic_library import part_chunks, write_synthetic_library
from transforms.tables import FACE_ID, FACES, PERSON_ID
from transforms.vector_file import VectorFile, write_vectors

SETTINGS = SearchSettings(usual=150, most=600, probes=8)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> tuple[VectorFile, np.ndarray, np.ndarray]:
    parts = list(
        synthetic_faces(shipped_statistics(), faces=3000, seed=1, people=SyntheticPeople(largest=300))
    )
    vectors = np.concatenate([p.vectors for p in parts])
    order = np.random.default_rng(0).permutation(len(vectors))
    path = str(tmp_path_factory.mktemp("vectors") / "vectors")
    file = write_vectors(
        path, len(vectors), 512,
        [[(order[:1000], vectors[:1000])], [(order[1000:], vectors[1000:])]],
    )  # fmt: skip
    stored = np.empty_like(vectors)
    stored[order] = vectors
    person = np.empty(len(vectors), np.int64)
    person[order] = np.concatenate([p.person for p in parts])
    return file, stored, person


def test_a_file_of_vectors_gives_back_any_rows_in_any_order(faces) -> None:
    file, vectors, _ = faces
    rows = np.random.default_rng(2).integers(len(vectors), size=500)
    np.testing.assert_array_equal(file.take(rows), vectors[rows])
    np.testing.assert_array_equal(file.read(10, 700), vectors[10:700])
    assert file.take(np.zeros(0, np.int64)).shape == (0, 512)
    assert file.slices(1400) == [(0, 1400), (1400, 2800), (2800, 3000)]


@pytest.mark.parametrize("change", [{}, {"compact": True}, {"threads": 3}, {"memory": 10_000_000}])
def test_cells_find_nearly_all_that_comparing_all_finds_and_nothing_else(faces, tmp_path, change) -> None:
    file, vectors, person = faces
    bias = np.random.default_rng(4).normal(0, 0.05, 3000).astype(np.float32)
    nobody = np.zeros(3000, bool)
    exact = neighbour_graph(vectors, k=NEIGHBOURS, least=0.6, bias=bias)
    settings = dataclasses.replace(SETTINGS, **change)
    found = search_neighbours(file, str(tmp_path), k=NEIGHBOURS, least=0.6, bias=bias, settings=settings)
    assert (found.left < found.right).all() and (found.similarity >= 0.6).all()
    key, expected = (g.left.astype(np.int64) * 3000 + g.right for g in (found, exact))
    assert (np.diff(key) > 0).all()
    alike = np.einsum("ij,ij->i", vectors[found.left], vectors[found.right])
    alike -= (bias[found.left] + bias[found.right]) / 2
    np.testing.assert_allclose(found.similarity, alike, atol=1e-5)
    assert np.isin(expected, key).mean() > 0.93
    assert neighbour_recall(file, bias, found, person, least=0.6, unsure=nobody) > 0.93
    assert neighbour_recall(file, bias, exact, person, least=0.6, unsure=nobody) > 0.999


@pytest.mark.parametrize("compact", [False, True])
def test_weak_faces_find_clear_ones_and_are_nobodys_neighbours(faces, tmp_path, compact: bool) -> None:
    file, vectors, person = faces
    unsure = np.random.default_rng(6).random(3000) < 0.3
    settings = dataclasses.replace(SETTINGS, compact=compact)
    found = search_neighbours(file, str(tmp_path), k=80, least=0.6, unsure=unsure, settings=settings)
    assert not (unsure[found.left] & unsure[found.right]).any()
    # Of each face that stands for itself the nearest clear ones that do, and hardly more than those.
    zeros = np.zeros(3000, np.float32)
    stands = bursts_of(found.filter(~(unsure[found.left] | unsure[found.right])), zeros) == np.arange(3000)
    alike = np.where(~unsure & stands, vectors @ vectors.T, -1)
    np.fill_diagonal(alike, -1)
    best = np.argsort(-alike, axis=1, kind="stable")[:, :80]
    named = [(f, int(o)) for f in np.flatnonzero(stands).tolist() for o in best[f] if alike[f, o] >= 0.6]
    exact = {(min(pair), max(pair)) for pair in named}
    kept = set(zip(found.left.tolist(), found.right.tolist(), strict=True))
    kept = {pair for pair in kept if stands[list(pair)].all()}
    assert len(exact & kept) > 0.93 * len(exact) and len(kept - exact) < 0.1 * len(kept)
    weak = {pair for pair in exact if unsure[list(pair)].any()}
    assert len(weak) > 100 and len(weak & kept) > 0.93 * len(weak)
    assert neighbour_recall(file, zeros, found, person, least=0.6, unsure=unsure) > 0.93


def test_a_library_of_weak_faces_alone_has_no_neighbours(faces, tmp_path) -> None:
    found = search_neighbours(
        faces[0], str(tmp_path), k=80, least=0.6, unsure=np.ones(3000, bool), settings=SETTINGS
    )
    assert found.faces == 3000 and not len(found.left)


def test_the_graph_does_not_depend_on_threads_or_on_what_is_merged_at_a_time(faces, tmp_path) -> None:
    found = []
    for number, change in enumerate(({}, {"threads": 2}, {"threads": 3, "memory": 10_000_000})):
        folder = tmp_path / str(number)
        folder.mkdir()
        settings = dataclasses.replace(SETTINGS, **change)
        found.append(search_neighbours(faces[0], str(folder), k=80, least=0.6, settings=settings))
    for other in found[1:]:
        for name in ("left", "right", "similarity"):
            np.testing.assert_array_equal(getattr(found[0], name), getattr(other, name))


def test_a_library_grouped_in_files_has_the_people_that_it_has_when_grouped_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = embedder_spec("facenet-casia").describe()
    known = shipped_calibration(embedder)
    assert known is not None
    path = str(tmp_path / "library")
    truth = write_synthetic_library(
        path, shipped_statistics(), centre=known.centre, embedder=embedder, faces=2000, seed=2,
        people=SyntheticPeople(largest=60), slice_faces=700,
    )  # fmt: skip
    library = Library.open(path)
    scores, tables = [], []
    for exact_faces in (10_000, 100, 100):
        monkeypatch.setattr(group, "EXACT_FACES", exact_faces)
        threads = 1 + len(scores)
        summary = group.group_library(
            library, method="default", seed=0, full=True,
            settings=dataclasses.replace(SETTINGS, threads=threads),
        )  # fmt: skip
        # Of an increment without new faces the people would be the same whatever the search finds.
        assert summary.kind == "full" and summary.regrouped == 2000
        search = library.read_grouping(summary.revision)["search"]
        assert isinstance(search, dict) and ("exact" in search) == (exact_faces == 10_000)
        table = library.read_assignments(summary.revision)
        tables.append(table)
        ids = [p or f"alone {i}" for i, p in enumerate(table[PERSON_ID].to_pylist())]
        scores.append(clustering_scores(truth.person, np.unique(ids, return_inverse=True)[1]))
        assert sum(library.read_people(summary.revision)[FACES].to_pylist()) == 2000 - summary.ungrouped
    assert scores[0].bcubed_precision > 0.95 and scores[0].bcubed_recall > 0.9
    assert abs(scores[1].bcubed_f - scores[0].bcubed_f) < 0.01
    assert tables[1].equals(tables[2])
    assert tables[0][FACE_ID].equals(tables[1][FACE_ID])
    assert not [name for name in (tmp_path / "library").iterdir() if name.name.startswith("work-")]


def test_the_largest_people_are_judged_by_the_group_with_most_of_their_faces() -> None:
    person = np.repeat([0, 1, 2], [10, 8, 2])
    group = np.array([0] * 9 + [5] + [1] * 4 + [2] * 3 + [0] + [-1, -2])
    # One face of the first person is not clear, and it is the one that is elsewhere.
    found = largest_people(person, group, clear=group != 5, count=2)
    assert found.whole == pytest.approx((0.9 + 0.5) / 2)
    assert found.clear_whole == pytest.approx((1.0 + 0.5) / 2)
    assert found.clean == pytest.approx((0.9 + 1.0) / 2)


def test_a_family_is_twenty_large_people_among_small_ones() -> None:
    sizes = people_of(FAMILY, FAMILY_FACES, seed=0).drawn(FAMILY_FACES, np.random.default_rng(0))
    assert (sizes[:20] == 20_000).all() and sizes[20:].max() <= 500
    assert sizes[20:].sum() == pytest.approx(100_000, rel=0.01)


def test_a_large_library_that_grows_is_grouped_where_it_has_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = embedder_spec("facenet-casia").describe()
    known = shipped_calibration(embedder)
    assert known is not None
    truth = write_synthetic_library(
        str(tmp_path / "all"), shipped_statistics(), centre=known.centre, embedder=embedder, faces=3000,
        seed=3, people=SyntheticPeople(largest=100), shares=[0.9, 0.1],
    )  # fmt: skip
    source = Library.open(str(tmp_path / "all"))
    monkeypatch.setattr(group, "EXACT_FACES", 100)
    revisions = []
    for number in range(2):
        library = Library.create(str(tmp_path / f"growing-{number}"))
        library.save_info(source.info())
        for part in range(2):
            for name in part_chunks(source, part):
                library.replace_chunks([], name, source.read_chunk(name))
            settings = dataclasses.replace(SETTINGS, threads=1 + number)
            made = group.group_library(library, method="default", seed=0, settings=settings)
            assert made.kind == ("full", "increment")[part]
            revisions.append(library.read_assignments(made.revision))
        assert library.read_grouping(made.revision)["kind"] == "increment"
        assert not storage.folder_names(library.file("graph"))
    first, second = revisions[:2]
    assert 300 <= made.regrouped < 800
    assert second.equals(revisions[3])
    # Most of those who were there are who they were.
    before = dict(zip(first[FACE_ID].to_pylist(), first[PERSON_ID].to_pylist(), strict=True))
    after = dict(zip(second[FACE_ID].to_pylist(), second[PERSON_ID].to_pylist(), strict=True))
    assert np.mean([after[face] == person for face, person in before.items() if person]) > 0.97
    once = group.group_library(library, method="default", seed=0, settings=SETTINGS, full=True)
    assert once.kind == "full"
    scores = [_score(truth.person, table) for table in (second, library.read_assignments(once.revision))]
    assert abs(scores[0] - scores[1]) < 0.01


def _score(person: np.ndarray, assignments) -> float:
    ids = [p or f"alone {i}" for i, p in enumerate(assignments[PERSON_ID].to_pylist())]
    return clustering_scores(person, np.unique(ids, return_inverse=True)[1]).bcubed_f
