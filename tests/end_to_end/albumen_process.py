"""Runs the command as a user would, in processes of its own, and harms them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil

from transforms.library import Library
from transforms.tables import EMBEDDING, FACE_ID, PATH_BYTES, PHOTO_ID, STATUS, matrix

ROOT = Path(__file__).resolve().parents[2]

# Arguments of ``albumen index`` by archive and library, and by the size of chunks and number of workers.
Indexing = Callable[..., list[object]]


def start(*arguments: object, sabotage: Path | None = None) -> subprocess.Popen[str]:
    """Starts ``albumen``; `sabotage` is a folder whose ``sitecustomize.py`` every process imports."""
    paths = [str(p) for p in (sabotage, ROOT) if p]
    return subprocess.Popen(
        [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], *, timeout: float = 240) -> tuple[int, str, str]:
    """(exit code, standard output, standard error), when it has ended."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, out, err


def albumen(*arguments: object, sabotage: Path | None = None) -> dict:
    """Runs ``albumen … --json`` to a good end; its facts."""
    code, out, err = finish(start(*arguments, "--json", sabotage=sabotage))
    assert code == 0, err + out
    return json.loads(out.strip().splitlines()[-1])


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes of a run."""
    try:
        children = psutil.Process(process.pid).children()
        return [c for c in children if "pipeline.worker" in " ".join(c.cmdline())]
    except psutil.Error:
        return []


def wait_until(
    condition: Callable[[], object], process: subprocess.Popen[str], *, timeout: float = 120
) -> None:
    """Waits until something is so; fails when the process ends before or the time is up."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert process.poll() is None, finish(process)
        assert time.monotonic() < deadline, "the run did not get that far in time"
        time.sleep(0.02)


def committed(library: Path) -> int:
    """How many chunks a library holds so far."""
    try:
        return sum(name.endswith(".parquet") for name in os.listdir(library / "photos"))
    except FileNotFoundError:
        return 0


def content(library: Path) -> tuple[dict[bytes, tuple], dict[str, np.ndarray]]:
    """All that counts in a library: the state of each path, and the vector of each face."""
    opened = Library.open(str(library))
    photos = opened.read_photos([PATH_BYTES, PHOTO_ID, STATUS]).to_pylist()
    faces = opened.read_faces([FACE_ID, EMBEDDING])
    vectors = dict(zip(faces[FACE_ID].to_pylist(), matrix(faces[EMBEDDING]), strict=True))
    return {row[PATH_BYTES]: (row[PHOTO_ID], row[STATUS]) for row in photos}, vectors


def rows_on_disk(library: Path) -> tuple[int, int]:
    """(photo rows, face rows) as any tool that reads the folders finds them."""
    import pyarrow.dataset as dataset

    fingerprint = Library.open(str(library)).info().fingerprint
    faces = library / "faces" / str(fingerprint)
    return dataset.dataset(library / "photos").count_rows(), dataset.dataset(faces).count_rows()


def assert_same_content(library: Path, reference: Path) -> None:
    """Same rows, and vectors that agree; nothing doubled on disk, nothing half-written."""
    (photos, vectors), (expected_photos, expected_vectors) = content(library), content(reference)
    assert photos == expected_photos
    assert vectors.keys() == expected_vectors.keys()
    assert all(float(vectors[f] @ expected_vectors[f]) >= 0.9999 for f in vectors)
    assert rows_on_disk(library) == (len(photos), len(vectors))
    assert not list(library.rglob("*.partial"))
