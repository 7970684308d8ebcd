from __future__ import annotations

from pathlib import Path

import pytest

from models.calibration import shipped_calibration
from models.embedder import embedder_spec
from models.face_statistics import shipped_statistics
from pipeline import group
from pipeline.search_neighbours import SearchSettings
from transforms.library import Library
from transforms.synthetic_faces import SyntheticPeople
from transforms.synthetic_library import part_chunks, write_synthetic_library
from transforms.tables import ROLE


def test_a_library_that_grows_too_large_for_memory_keeps_its_weak_faces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph that was kept in memory has clear faces alone; in files weak ones attach along the graph."""
    embedder = embedder_spec("facenet-casia").describe()
    known = shipped_calibration(embedder)
    assert known is not None
    write_synthetic_library(
        str(tmp_path / "all"), shipped_statistics(), centre=known.centre, embedder=embedder, faces=1200,
        seed=3, people=SyntheticPeople(largest=60), shares=[0.6, 0.4],
    )  # fmt: skip
    everything, grown = Library.open(str(tmp_path / "all")), Library.create(str(tmp_path / "grown"))
    grown.save_info(everything.info())
    settings = SearchSettings(usual=150, most=600, probes=3)

    def attached(**how) -> int:
        summary = group.group_library(grown, method="default", seed=0, settings=settings, **how)
        return grown.read_assignments(summary.revision)[ROLE].to_pylist().count("attached")

    for part, in_memory in enumerate((10_000, 100)):
        monkeypatch.setattr(group, "EXACT_FACES", in_memory)
        for name in part_chunks(everything, part):
            grown.replace_chunks([], name, everything.read_chunk(name))
        found = attached()
    assert found == attached(full=True) > 20
