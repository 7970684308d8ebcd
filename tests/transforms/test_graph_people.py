from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.transforms.test_blocked_search import people_vectors
from transforms import graph_people, people
from transforms.constraints import Constraints, Tie
from transforms.decided_people import assign_decided
from transforms.enforcement import violations
from transforms.graph_people import ATTACH_MARGIN, Graded, assign_by_graph, attach, one_face_a_photo
from transforms.neighbours import neighbour_graph
from transforms.people import Assignment, FaceSet, assign
from transforms.vector_file import VectorFile, write_vectors


def in_file(folder: Path, vectors: np.ndarray) -> VectorFile:
    return write_vectors(
        str(folder / "vectors"), len(vectors), vectors.shape[1], [(np.arange(len(vectors)), vectors)]
    )


@pytest.mark.parametrize("band", [5, 100_000])
def test_rules_on_a_graph_in_files_find_the_people_that_rules_in_memory_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, band: int
) -> None:
    monkeypatch.setattr(graph_people, "_BAND_FACES", band)
    vectors = people_vectors(30, 9, spread=0.25)
    generator = np.random.default_rng(3)
    photo = generator.integers(0, 150, len(vectors))
    weak = generator.random(len(vectors)) < 0.2
    one = np.ones(len(vectors), np.float32)
    faces = FaceSet(vectors, photo, np.where(weak, 10, 90).astype(np.float32), one, 0 * one, one)
    expected = assign(faces, method="default", threshold=0.75, seed=0)
    graph = neighbour_graph(vectors, k=80, least=0.75 - ATTACH_MARGIN)
    found = assign_by_graph(
        in_file(tmp_path, vectors), Graded(weak, photo), graph, method="default", threshold=0.75, seed=0
    )
    np.testing.assert_array_equal(found.group, expected.group)
    assert found.role.tolist() == expected.role.tolist()
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-4)


def test_corrections_hold_on_a_graph_in_files_as_they_do_in_memory(tmp_path: Path) -> None:
    vectors = people_vectors(30, 9, spread=0.25)
    photo = np.random.default_rng(3).integers(0, 150, len(vectors))
    one = np.ones(len(vectors), np.float32)
    weak = np.random.default_rng(4).random(len(vectors)) < 0.2
    faces = FaceSet(vectors, photo, np.where(weak, 10, 90).astype(np.float32), one, 0 * one, one)
    graph = neighbour_graph(vectors, k=80, least=0.75 - ATTACH_MARGIN)

    def on_graph(said: Constraints) -> Assignment:
        return assign_by_graph(
            in_file(tmp_path, vectors), Graded(weak, photo), graph, method="default", threshold=0.75, seed=0,
            constraints=said,
        )  # fmt: skip

    free = on_graph(Constraints()).group
    one_person, other = np.flatnonzero(free == 0), np.flatnonzero(free == 1)
    said = Constraints(
        absent=np.flatnonzero(free == 2)[:1],
        ties=(Tie(np.array(sorted([one_person[0], other[0]])), (one_person, other)),),
        apart=np.flatnonzero(free == 3)[:2].reshape(1, 2),
    )
    assert violations(free, said)
    found = on_graph(said)
    assert not violations(found.group, said)
    expected = assign_decided(
        faces, said,
        lambda part, local, _: assign(part, method="default", threshold=0.75, seed=0, constraints=local),
    )  # fmt: skip
    np.testing.assert_array_equal(found.group, expected.group)
    assert found.role.tolist() == expected.role.tolist()


def test_one_face_a_photo_in_bands_is_that_of_the_whole(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(graph_people, "_BAND_FACES", 20)
    vectors = people_vectors(10, 12, spread=0.4)
    labels = np.repeat(np.arange(10), 12)
    photo = np.random.default_rng(0).integers(0, 60, 120)
    found = one_face_a_photo(in_file(tmp_path, vectors), labels, photo)
    expected = people.one_face_a_photo(vectors, labels, photo)
    np.testing.assert_array_equal(found, expected)


def test_a_face_between_two_people_attaches_to_neither_and_one_photo_gives_a_person_one_face() -> None:
    # Faces 0-2 are one person, 3-5 another; 6 lies between them, 7 and 8 share a photo.
    ends = [
        (0, 6, 0.8),
        (3, 6, 0.78),
        (0, 7, 0.9),
        (1, 7, 0.9),
        (2, 7, 0.9),
        (0, 8, 0.8),
        (1, 8, 0.8),
        (2, 8, 0.8),
    ]
    left, right, similarity = (np.array(x) for x in zip(*ends, strict=True))
    near = graph_people.NeighbourGraph(
        9, left.astype(np.int32), right.astype(np.int32), similarity.astype(np.float32)
    )
    group = np.array([0, 0, 0, 1, 1, 1, -1, -1, -1])
    photo = np.array([0, 1, 2, 3, 4, 5, 6, 7, 7])
    assert attach(near, group, photo, threshold=0.7).tolist() == [0, 0, 0, 1, 1, 1, -1, 0, -1]
