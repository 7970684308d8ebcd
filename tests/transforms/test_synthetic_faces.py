from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.face_statistics import FaceStatistics, fitted, shipped_statistics
from transforms.library import Library
from transforms.synthetic_faces import SyntheticFaces, SyntheticPeople, synthetic_faces
from transforms.synthetic_library import uncentred, write_synthetic_library
from transforms.tables import EMBEDDING, FACE_ID, PHOTO_ID, matrix
from transforms.verification import centred


def small_statistics(dimensions: int = 12) -> FaceStatistics:
    generator = np.random.default_rng(0)
    return FaceStatistics(
        mean=np.zeros(dimensions, np.float32),
        between=(0.3 * generator.normal(size=(6, dimensions))).astype(np.float32),
        within=(0.1 * generator.normal(size=(5, dimensions))).astype(np.float32),
        weak=np.eye(dimensions, dtype=np.float32)[0],
        look_alikes=((0.3, 0.05), (0.6, 0.01)),
        unevenness=0.3,
        source="a test",
    )


def together(parts: list[SyntheticFaces]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([vars(p)[name] for p in parts]) for name in vars(parts[0])}


@settings(max_examples=25, deadline=None)
@given(faces=st.integers(1, 400), seed=st.integers(0, 50), slice_faces=st.sampled_from([30, 100, 1000]))
def test_a_library_has_the_faces_asked_for_and_nobody_is_twice_in_a_photo(
    faces: int, seed: int, slice_faces: int
) -> None:
    parts = list(
        synthetic_faces(
            small_statistics(), faces=faces, seed=seed, slice_faces=slice_faces,
            people=SyntheticPeople(largest=60),
        )
    )  # fmt: skip
    whole = together(parts)
    assert all(len(column) == faces for column in whole.values())
    np.testing.assert_allclose(np.linalg.norm(whole["vectors"], axis=1), 1, atol=1e-5)
    for part in parts:
        assert len(part.person) <= slice_faces or len(np.unique(part.person)) == 1
    in_photo = set(zip(whole["photo"].tolist(), whole["person"].tolist(), strict=True))
    assert len(in_photo) == faces
    # People and photos are numbered through all slices, without gaps.
    for column in ("person", "photo", "burst"):
        assert set(whole[column].tolist()) == set(range(int(whole[column].max()) + 1))


def test_the_same_seed_gives_the_same_library_and_another_seed_another() -> None:
    def made(seed: int) -> dict[str, np.ndarray]:
        return together(list(synthetic_faces(small_statistics(), faces=300, seed=seed, slice_faces=80)))

    first, again, other = made(1), made(1), made(2)
    for name, column in first.items():
        np.testing.assert_array_equal(column, again[name])
    assert not np.array_equal(first["vectors"], other["vectors"])


def test_people_are_of_the_sizes_given() -> None:
    people = SyntheticPeople(sizes=np.array([5, 1, 30]))
    whole = together(list(synthetic_faces(small_statistics(), faces=36, people=people, slice_faces=10)))
    assert np.bincount(whole["person"]).tolist() == [5, 1, 30]


def test_shots_of_a_burst_are_more_alike_than_a_persons_photos_and_these_than_strangers() -> None:
    whole = together(list(synthetic_faces(shipped_statistics(), faces=6000, seed=3)))
    clear = (whole["size"] >= 40) & (whole["score"] >= 0.95) & (whole["sharpness"] >= 0.085)
    vectors, person, burst = (whole[n][clear] for n in ("vectors", "person", "burst"))
    alike = vectors @ vectors.T
    same_burst = (burst[:, None] == burst) & ~np.eye(len(burst), dtype=bool)
    same = (person[:, None] == person) & (burst[:, None] != burst)
    different = person[:, None] != person
    assert alike[same_burst].mean() > 0.9 > 0.75 > alike[same].mean() > 0.55
    assert abs(alike[different].mean()) < 0.05


def test_statistics_survive_being_written() -> None:
    found = small_statistics()
    again = FaceStatistics.from_bytes(found.to_bytes())
    assert (again.look_alikes, again.unevenness, again.source) == (
        found.look_alikes, found.unevenness, found.source,
    )  # fmt: skip
    for name in ("mean", "between", "within", "weak"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), atol=1e-3)


def test_fitting_needs_people_with_two_faces() -> None:
    with pytest.raises(ValueError, match="two faces"):
        fitted(np.eye(4, dtype=np.float32), np.arange(4), np.eye(4, dtype=np.float32), "a test")


@given(seed=st.integers(0, 100), length=st.floats(0, 0.9))
def test_the_centre_is_added_so_that_taking_it_away_gives_the_vectors_back(seed: int, length: float) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(5, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centre = generator.normal(size=8)
    centre *= length / np.linalg.norm(centre)
    stored = uncentred(vectors, centre)
    np.testing.assert_allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(centred(stored, centre), vectors, atol=1e-5)


def test_a_synthetic_library_reads_as_an_indexed_one_in_the_order_of_its_truth(tmp_path: Path) -> None:
    statistics, centre = small_statistics(), np.full(12, 0.05, np.float32)
    truth = write_synthetic_library(
        str(tmp_path / "library"), statistics, centre=centre, embedder={"name": "a test"}, faces=500,
        seed=4, slice_faces=100, people=SyntheticPeople(largest=40),
    )  # fmt: skip
    library = Library.open(str(tmp_path / "library"))
    assert len(library.chunk_names()) > 2
    table = library.read_faces([FACE_ID, PHOTO_ID, EMBEDDING])
    made = together(
        list(
            synthetic_faces(
                statistics, faces=500, seed=4, slice_faces=100, people=SyntheticPeople(largest=40)
            )
        )
    )
    assert len(table) == len(truth.person) == 500
    found = centred(matrix(table[EMBEDDING]), centre)
    nearest = (found @ made["vectors"].T).argmax(axis=1)
    np.testing.assert_array_equal(made["person"][nearest], truth.person)
    np.testing.assert_array_equal(made["burst"][nearest], truth.burst)
    # Faces share a photo on disk exactly where they were made to.
    on_disk = np.unique(table[PHOTO_ID].to_numpy(), return_inverse=True)[1]
    pairs = len(set(zip(on_disk.tolist(), made["photo"][nearest].tolist(), strict=True)))
    assert pairs == len(set(on_disk.tolist())) == len(set(made["photo"].tolist()))
