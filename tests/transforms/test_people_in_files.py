from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.transforms.test_blocked_search import people_vectors
from transforms import edge_files
from transforms.constraints import Constraints, Tie
from transforms.enforcement import violations
from transforms.neighbours import neighbour_graph
from transforms.people import Assignment, FaceSet, Rules, assign
from transforms.regrouping import neighbours_of
from transforms.vector_file import write_vectors

LEVEL = 0.75


def faces_and_file(folder: Path) -> tuple[FaceSet, FaceSet]:
    """Thirty people, some faces weak, in memory and with vectors in a file."""
    vectors = people_vectors(30, 9, spread=0.25)
    generator = np.random.default_rng(3)
    photo = generator.integers(0, 150, len(vectors))
    size = np.where(generator.random(len(vectors)) < 0.2, 10, 90).astype(np.float32)
    one = np.ones(len(vectors), np.float32)
    bias = generator.normal(0, 0.01, len(vectors)).astype(np.float32)
    rows = [[(np.arange(len(vectors)), vectors)]]
    file = write_vectors(str(folder / "vectors"), len(vectors), vectors.shape[1], rows)
    features = (photo, size, one, 0 * one, one, bias)
    return FaceSet(vectors, *features), FaceSet(file.mapped(), *features)


def on_graph(faces: FaceSet, said: Constraints = Constraints(), folder: str | None = None) -> Assignment:
    faces = faces.without(said.absent)
    everyone, clear = np.arange(len(faces.photo)), np.flatnonzero(~faces.weak(Rules().limits))
    graph = neighbours_of(faces, LEVEL - 0.2, everyone, clear)
    return assign(
        faces, method="default", threshold=LEVEL, seed=0, constraints=said, graph=graph, attach_along=graph,
        folder=folder,
    )  # fmt: skip


@pytest.mark.parametrize("slice_edges", [70, 8_000_000])
def test_a_graph_and_vectors_in_files_give_the_people_that_memory_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slice_edges: int
) -> None:
    monkeypatch.setattr(edge_files, "_SLICE", slice_edges)
    faces, in_file = faces_and_file(tmp_path)
    expected = assign(faces, method="default", threshold=LEVEL, seed=0)
    found = on_graph(in_file, folder=str(tmp_path))
    np.testing.assert_array_equal(found.group, expected.group)
    assert found.role.tolist() == expected.role.tolist()
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-4)


def test_corrections_hold_on_a_graph_in_files_as_they_do_in_memory(tmp_path: Path) -> None:
    faces, in_file = faces_and_file(tmp_path)
    free = on_graph(in_file).group
    one_person, other = np.flatnonzero(free == 0), np.flatnonzero(free == 1)
    said = Constraints(
        absent=np.flatnonzero(free == 2)[:1],
        ties=(Tie(np.array(sorted([one_person[0], other[0]])), (one_person, other)),),
        apart=np.flatnonzero(free == 3)[:2].reshape(1, 2),
    )
    assert violations(free, said)
    found = on_graph(in_file, said, str(tmp_path))
    assert not violations(found.group, said)
    expected = assign(faces, method="default", threshold=LEVEL, seed=0, constraints=said)
    np.testing.assert_array_equal(found.group, expected.group)


def test_one_close_face_of_several_is_not_enough_in_files_either() -> None:
    """What a graph doesn't list is less alike than what it does."""
    random = np.random.default_rng(0)

    def unit(x: np.ndarray) -> np.ndarray:
        return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)

    person = unit(random.normal(size=64) + 0.55 * random.normal(size=(6, 64)))
    weak = unit(person[0] + 1.1 * unit(random.normal(size=64)))
    vectors, ones = np.vstack([person, weak]), np.ones(7, np.float32)
    assert (vectors[:6] @ weak > 0.67).sum() == 1
    faces = FaceSet(vectors, np.arange(7), np.array([90] * 6 + [10], np.float32), ones, 0 * ones, ones)
    graph = neighbour_graph(vectors, k=80, least=0.61)
    in_files = assign(faces, method="default", threshold=0.67, seed=0, graph=graph, attach_along=graph)
    in_memory = assign(faces, method="default", threshold=0.67, seed=0)
    np.testing.assert_array_equal(in_files.group, in_memory.group)
    assert in_files.group.tolist() == [0] * 6 + [-1]
