"""One archive and its undisturbed library for all whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.albumen_process import Indexing, albumen
from tests.people_archive import write_archive

# What happens meanwhile happens meanwhile, on a fast machine too.
_SLOW_DRIVE = """
import sys

if any("pipeline.worker" in a for a in sys.orig_argv):
    import time
    from transforms import archive

    read = archive.read_file

    def read_file(location, path):
        time.sleep(0.2)
        return read(location, path)

    archive.read_file = read_file
"""


@pytest.fixture(scope="session")
def indexing(small_embedder: str) -> Indexing:
    """See `Indexing`."""

    def arguments(archive: Path, library: Path, *, size: int = 4, workers: int = 1) -> list[object]:
        engine = ["--workers", workers, "--chunk-size", size, "--embedder", small_embedder]
        return ["index", archive, library, *engine, "--quiet"]

    return arguments


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 photos: enough for many chunks."""
    return write_archive(tmp_path_factory.mktemp("archive") / "photos", portraits_each=11)


@pytest.fixture(scope="session")
def undisturbed(archive: Path, indexing: Indexing, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run makes of it that nothing disturbs."""
    library = tmp_path_factory.mktemp("undisturbed") / "library"
    albumen(*indexing(archive, library))
    return library


@pytest.fixture(scope="session")
def slow_drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For `start`: every read of a photo waits a moment."""
    folder = tmp_path_factory.mktemp("slow")
    (folder / "sitecustomize.py").write_text(_SLOW_DRIVE)
    return folder
