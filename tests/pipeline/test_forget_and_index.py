"""Forgetting and indexing again, on real photographs, in this process."""

from __future__ import annotations

import shutil
from pathlib import Path

from click.testing import CliRunner

from pipeline.cli import main
from tests.people_archive import landscape, portrait, together, write_archive
from transforms.library import Library
from transforms.tables import FACE_ID, PATH_BYTES, PERSON_ID, PHOTO_ID, STATUS


def albumen(command: str, *arguments: object) -> None:
    result = CliRunner().invoke(main, [command, *map(str, arguments)])
    assert result.exit_code == 0, result.output


def test_a_forgotten_person_stays_forgotten(tmp_path: Path) -> None:
    archive, library = write_archive(tmp_path / "archive"), str(tmp_path / "library")
    in_process = ("--runner", "FnApiRunner", "--precision", "float32")
    albumen("index", archive, library, *in_process)
    albumen("group", library)
    opened = Library.open(library)
    photos = opened.read_photos([PHOTO_ID, PATH_BYTES])
    of = dict(zip(photos[PATH_BYTES].to_pylist(), photos[PHOTO_ID].to_pylist(), strict=True))
    assigned = opened.read_assignments("r000001")
    person_of = dict(zip(assigned[FACE_ID].to_pylist(), assigned[PERSON_ID].to_pylist(), strict=True))
    hopper = person_of[of[b"hopper/hopper-0.jpg"] + ":0"]
    both = [p for f, p in person_of.items() if f.startswith(of[b"together.jpg"])]
    assert hopper in both and len(set(both)) == 2
    albumen("forget", library, "--person", hopper, "--photo", "collins/collins-1.jpg", "--yes")

    # Nothing comes back: with other metadata, under another name, or when all is looked at again.
    shutil.copy(archive / "together.jpg", archive / "moved.jpg")
    (archive / "hopper/hopper-1.jpg").write_bytes(portrait("hopper", 1) + b"edited")
    (archive / "collins/collins-1.jpg").write_bytes(portrait("collins", 1) + b"edited")
    (archive / "new.jpg").write_bytes(together() + b"another file")
    (archive / "landscape.jpg").write_bytes(landscape() + b"edited")
    albumen("index", archive, library, *in_process)
    photos = opened.read_photos([PHOTO_ID, PATH_BYTES, STATUS]).to_pylist()
    faces = set(opened.read_faces([FACE_ID])[FACE_ID].to_pylist())
    status = {p["path_bytes"]: p["status"] for p in photos}
    found = {p["path_bytes"]: sum(f.startswith(p["photo_id"]) for f in faces) for p in photos}
    assert found[b"together.jpg"] == found[b"moved.jpg"] == 1
    assert all(found[f"hopper/hopper-{i}.jpg".encode()] == 0 for i in range(3))
    assert status[b"collins/collins-1.jpg"] == "skipped" and found[b"collins/collins-0.jpg"] == 1
    assert found[b"new.jpg"] == 2, "another file in another place is another photo"
