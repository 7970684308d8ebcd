"""One archive and its undisturbed library for all whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.albumen_process import albumen
from tests.people_archive import faces, jpeg, write_archive


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 photos: enough for many chunks of four."""
    folder = write_archive(tmp_path_factory.mktemp("archive") / "photos", portraits_each=20)
    for number in range(18):
        image = faces()["hopper" if number % 2 else "collins"].rotate(number - 9, fillcolor=(99, 99, 99))
        (folder / f"turned-{number}.jpg").write_bytes(jpeg(image))
    return folder


@pytest.fixture(scope="session")
def undisturbed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run makes of it that nothing disturbs."""
    library = tmp_path_factory.mktemp("undisturbed") / "library"
    albumen("index", archive, library, "--workers", 2, "--chunk-size", 4, "--quiet")
    return library
