from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import estimate
from pipeline.estimate import Estimate, past_pace
from transforms import storage
from transforms.library import LOGS, Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.create(str(tmp_path))


def log(library: Library, name: str, content: object) -> None:
    storage.write_bytes(library.file(LOGS, name), json.dumps(content).encode())


def test_a_past_run_tells_what_the_next_will_take(library: Library) -> None:
    run = {"photos": {"ok": 900, "no_face": 100, "skipped": 5000}, "faces": 2000, "seconds": 500.0}
    log(library, "20260101T000000Z-aaaa.json", {"index": run})
    log(library, "20260102T000000Z-bbbb.json", {"index": {**run, "photos": {"ok": 3}}})
    log(library, "20260103T000000Z-cccc.json", {"something": "else"})
    said = Estimate(library, 100_000)
    line = said.before()
    assert line is not None
    assert line.startswith(
        "100,000 files to index: about 13 h 53 min and 950 MB in the library, 1.4 GB for the report"
    )
    assert "20260101" in line
    assert said.before() is None and said.during(done=10_000, faces=1) is None, "said once"


def test_without_one_the_first_photos_tell(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 50.0, 100.0, 200.0])
    monkeypatch.setattr(estimate.time, "monotonic", lambda: next(clock))
    said = Estimate(library, 36_000)
    assert past_pace(library) is None and said.before() is None
    assert said.during(done=500, faces=500) is None, "too early"
    line = said.during(done=1000, faces=1000)
    assert line is not None and line.startswith("36,000 files to index: about 1 h 0 min")
    assert said.during(done=2000, faces=2000) is None


def test_too_small_a_disk_is_said_beforehand(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    run = {"photos": {"ok": 1000}, "faces": 1000, "seconds": 10.0}
    log(library, "20260101T000000Z-aaaa.json", {"index": run})
    monkeypatch.setattr(estimate, "_free", lambda path: 5_000_000)
    line = Estimate(library, 100_000).before()
    assert line is not None and "Only 5 MB are free" in line


def test_nothing_is_said_of_short_runs(library: Library) -> None:
    log(library, "20260101T000000Z-aaaa.json", {"index": {"photos": {"ok": 999}, "faces": 1, "seconds": 1.0}})
    assert Estimate(library, 100).before() is None
