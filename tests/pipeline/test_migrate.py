"""Another embedder for a library: new vectors for the same faces, the same people with their names."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pipeline.migrate as job
from models.crop import UprightBoxGeometry
from models.embedder import EmbedderSpec
from pipeline.commands import migrate as command
from pipeline.correct import correct
from pipeline.group import group_library
from pipeline.migrate import migrate
from pipeline.options import UsageError
from transforms.known_content import content_id
from transforms.lease import Lease
from transforms.library import Library, LibraryError, LibraryInfo
from transforms.records import OK, FaceRow, FileEntry, PhotoRow
from transforms.tables import EMBEDDING, FACE_ID, NAME, PERSON_ID, matrix

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
POINTS = np.array([[40, 45], [60, 45], [50, 55], [42, 65], [58, 65]], np.float32)


class MeanColour:
    """An embedder to which people are the colour of their photo."""

    dimensions = 3

    def embed(self, crops: np.ndarray) -> np.ndarray:
        means = crops.reshape(len(crops), -1, 3).mean(axis=1) - 90
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    def spec(name: str, *, mirror: bool = False) -> EmbedderSpec:
        return EmbedderSpec(name, 32, UprightBoxGeometry(), "none", name, mirror)

    monkeypatch.setattr(job, "embedder_spec", spec)
    monkeypatch.setattr(job, "load_embedder", lambda name, **_: MeanColour())


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Three people of a colour each, eight photos each, in two chunks, with vectors of two numbers."""
    made = Library.create(str(tmp_path / "library"))
    made.save_info(LibraryInfo(roots={"photos": str(tmp_path / "archive")}))
    made.use_fingerprint(
        "old", {"detector": {"name": "mtcnn", "working_side": 1280}, "embedder": {"name": "old"}}
    )
    (tmp_path / "archive").mkdir()
    for chunk in range(2):
        photos, faces, vectors = [], [], []
        for number in range(12):
            person = number % 3
            noise = np.random.default_rng([chunk, number]).integers(-20, 20, (100, 100, 3))
            pixels = np.clip(np.array(COLOURS[person]) + noise, 0, 255).astype(np.uint8)
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            name, photo = f"{chunk}-{number}.png", content_id(file.getvalue())
            (tmp_path / "archive" / name).write_bytes(file.getvalue())
            photos.append(
                PhotoRow(FileEntry("photos", name.encode(), 1, 1), OK, None, photo, 100, 100, "PNG")
            )
            box = np.array([30, 30, 80, 80], np.float32)
            faces.append(FaceRow(f"{photo}:0", photo, box, POINTS, 0.99, 50, 0.5, 0, 0))
            vectors.append(np.eye(4)[person])
        made.commit_chunk(
            f"chunk{chunk}", fingerprint="old", photos=photos, faces=faces,
            embeddings=np.array(vectors, np.float32), thumbs=[],
        )  # fmt: skip
    return made


def run(library: Library, *, without_missing: bool = False):
    with Lease(library.path) as lease:
        return migrate(
            library, lease, embedder="new", mirror=False, without_missing=without_missing, quiet=True
        )


def names(library: Library) -> dict[str, str]:
    people = library.read_people(library.current_revision() or "")
    return {p: n for p, n in zip(people[PERSON_ID].to_pylist(), people[NAME].to_pylist(), strict=True) if n}


def test_people_keep_ids_and_names(library: Library) -> None:
    group_library(library, method="agglomerative", seed=0)
    people = library.read_people(library.current_revision() or "")[PERSON_ID].to_pylist()
    correct(library, "name", [people[0]], name="Anna")
    result = command(library.path, embedder="new", mirror=False, without_missing=False, quiet=True)
    assert "24 faces have vectors of new now" in result.lines[0]
    faces = library.read_faces([EMBEDDING])
    assert matrix(faces[EMBEDDING]).shape == (24, 3)
    assert names(library) == {people[0]: "Anna"}
    assert library.info().settings == {
        "detector": {"name": "mtcnn", "working_side": 1280},
        "embedder": EmbedderSpec("new", 32, UprightBoxGeometry(), "none", "new", False).describe(),
    }
    with pytest.raises(UsageError, match="already"):
        run(library)


def test_a_missing_original_is_said_and_the_library_stays_as_it_is(library: Library, tmp_path: Path) -> None:
    (tmp_path / "archive" / "0-3.png").unlink()
    with pytest.raises(LibraryError, match=r"0-3\.png"):
        command(library.path, embedder="new", mirror=False, without_missing=False, quiet=True)
    assert library.info().fingerprint == "old" and matrix(
        library.read_faces([EMBEDDING])[EMBEDDING]
    ).shape == (24, 4)
    done = run(library, without_missing=True)
    assert done.complete and done.missing == 1 and len(library.read_faces([FACE_ID])) == 23


def test_another_file_in_an_original_s_place_is_none(library: Library, tmp_path: Path) -> None:
    (tmp_path / "archive" / "0-3.png").write_bytes((tmp_path / "archive" / "0-4.png").read_bytes())
    done = run(library)
    assert not done.complete and done.missing_paths == ("0-3.png",)
    assert library.info().fingerprint == "old"


def stopped_at_the_second_chunk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The next migration is interrupted there; a list that grows with every chunk that is begun."""
    real, calls = job.reembed, []

    def once(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(job, "reembed", once)
    return calls


def test_stopped_midway_the_old_library_works_and_the_next_migration_goes_on(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = stopped_at_the_second_chunk(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(library)
    assert library.info().fingerprint == "old"
    assert matrix(library.read_faces([EMBEDDING])[EMBEDDING]).shape == (24, 4)
    assert run(library).complete and len(calls) == 3
    vectors = matrix(library.read_faces([EMBEDDING])[EMBEDDING])
    assert vectors.shape == (24, 3) and len(list(Path(library.file("faces")).iterdir())) == 1
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_what_was_left_out_comes_back_when_its_original_does(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that may leave faces out is stopped; the next one, with everything there, has them all."""
    original = tmp_path / "archive" / "0-3.png"
    original.rename(tmp_path / "elsewhere.png")
    stopped_at_the_second_chunk(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(library, without_missing=True)
    (tmp_path / "elsewhere.png").rename(original)
    done = run(library)
    assert done.complete and done.faces == len(library.read_faces([FACE_ID])) == 24
