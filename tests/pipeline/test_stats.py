from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from pipeline.export import ExportOptions, export
from pipeline.stats import stats
from tests.export_library import make_library
from transforms.library import Library
from transforms.records import ERROR, SKIPPED, FileEntry, PhotoRow


def test_it_says_what_a_library_holds_and_where(tmp_path: Path) -> None:
    made = make_library(tmp_path)
    bad = [
        PhotoRow(FileEntry("main", f"bad{i}.jpg".encode(), 1, 1), ERROR, "truncated", None, None, None, None)
        for i in range(3)
    ]
    film = PhotoRow(FileEntry("main", b"film.mp4", 1, 1), SKIPPED, "a video", None, None, None, None)
    none = np.zeros((0, 8), np.float32)
    made.library.commit_chunk(
        "bad", fingerprint="test", photos=[*bad, film], faces=[], embeddings=none, thumbs=()
    )
    export(made.library, ExportOptions(to="csv", out=str(tmp_path / "out")))
    lines, facts = stats(made.library)
    text = "\n".join(lines)
    assert lines[0] == (
        "21 files: 17 photos with faces, 0 without, 1 not photographs, 3 with errors; "
        "taken 2001-01-01 to 2001-01-15 (1 undated)."
    )
    assert "3 × truncated" in text and "18 faces, 17 of them of 3 people; 2 have a name." in text
    assert f"Archive main: 21 files of {made.archive}." in text and str(tmp_path / "out") in text
    assert facts["photos"] == {"ok": 17, "error": 3, "skipped": 1} and facts["named"] == 2
    assert facts["bytes"]["thumbs"] == sum(
        p.stat().st_size for p in Path(made.library.path, "thumbs").iterdir()
    )
    os.rename(made.archive, tmp_path / "away")
    assert any("is not there now" in line for line in stats(made.library)[0])


def test_a_library_that_is_new_or_not_grouped_says_so(tmp_path: Path) -> None:
    library = Library.create(str(tmp_path / "new"))
    lines, facts = stats(library)
    assert lines[0].startswith("0 files") and any("not grouped yet" in line for line in lines)
    assert facts["faces"] == 0
