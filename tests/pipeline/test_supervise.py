"""What the supervisor does about workers that die, hang or say that it is no use."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from pipeline import supervise as supervise_module
from pipeline.supervise import Committed, InFlight, RunFailed, Supervisor
from transforms.archive import RootGuard
from transforms.index_config import IndexConfig
from transforms.manifest import Chunk

STAND_IN = str(Path(__file__).with_name("stand_in_worker.py"))


@dataclass
class Outcome:
    committed: Counter[str] = field(default_factory=Counter)
    given_up: list[tuple[str, str, bool]] = field(default_factory=list)
    supervisor: Supervisor | None = None


def supervise(
    folder: Path, chunks: Sequence[Chunk], fates: dict[object, str], *, workers: int = 2, **options: object
) -> Outcome:
    (folder / "fates").write_text("".join(f"{n}, {fate}\n" for n, fate in fates.items()))
    config = IndexConfig(
        library=str(folder), run="run", root="photos", location=str(folder),
        guard=RootGuard.of(str(folder)), embedder="facenet-casia", until=options.pop("until", None),
    )  # fmt: skip
    outcome = Outcome()

    def on_commit(done: Committed) -> None:
        outcome.committed.update(done.photos)

    outcome.supervisor = Supervisor(
        config, workers=workers, log_folder=str(folder), on_commit=on_commit,
        on_tick=options.pop("on_tick", lambda in_flight: None),
        give_up=lambda chunk, how, hung: outcome.given_up.append((chunk.name, how, hung)),
        command=(STAND_IN, str(folder / "fates")), **options,
    )  # fmt: skip
    outcome.supervisor.run(chunks)
    return outcome


def cut(files: int, size: int) -> list[Chunk]:
    return [
        Chunk("run", "00000", n, start, min(start + size, files))
        for n, start in enumerate(range(0, files, size))
    ]


@pytest.mark.parametrize("workers", [1, 3])
def test_every_chunk_is_done_once(tmp_path: Path, workers: int) -> None:
    outcome = supervise(tmp_path, cut(100, 4), {}, workers=workers)
    assert outcome.committed == {"ok": 100}
    assert outcome.given_up == []


@pytest.mark.parametrize(("workers", "largest"), [(1, 600), (2, 300), (3, 150)])
def test_large_chunks_are_divided_where_few_are_left_for_the_workers(
    tmp_path: Path, workers: int, largest: int
) -> None:
    sizes: list[int] = []
    give = supervise_module._Worker.give

    def noted(worker: supervise_module._Worker, chunks: Sequence[Chunk]) -> None:
        sizes.extend(chunk.size for chunk in chunks)
        give(worker, chunks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervise_module._Worker, "give", noted)
        outcome = supervise(tmp_path, [*cut(600, 600), Chunk("run", "00001", 0, 0, 200)], {}, workers=workers)
    assert outcome.committed == {"ok": 800}
    assert sum(sizes) == 800 and max(sizes) == largest
    assert len(sizes) == 2 if workers == 1 else len(sizes) >= 2 * workers


def test_a_photo_that_kills_is_found_by_halving(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, cut(32, 16), {21: "kill"})
    assert outcome.committed == {"ok": 31, "error": 1}
    ((name, how, hung),) = outcome.given_up
    assert name.endswith("0021-0022")
    assert "SIGKILL" in how and not hung


def test_a_worker_that_is_killed_once_costs_no_photo(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, cut(12, 1), {5: f"kill-once {tmp_path / 'marker'}"})
    assert outcome.committed == {"ok": 12}
    assert outcome.given_up == []
    assert outcome.supervisor is not None
    assert outcome.supervisor.restarts == 1


def test_workers_killed_again_and_again_cost_no_photo(tmp_path: Path) -> None:
    victims = random.Random(4).sample(range(200), 20)
    outcome = supervise(
        tmp_path, cut(200, 7), {n: f"kill-once {tmp_path / str(n)}" for n in victims}, workers=3
    )
    assert outcome.committed == {"ok": 200}
    assert outcome.given_up == []
    assert outcome.supervisor is not None
    assert outcome.supervisor.restarts == len(victims)


def test_a_worker_that_hangs_is_ended(tmp_path: Path) -> None:
    # Long enough for a stand-in to start on a busy machine, many times over.
    outcome = supervise(tmp_path, cut(2, 1), {1: "hang"}, workers=1, stall_seconds=4.0)
    assert outcome.committed == {"ok": 1, "error": 1}
    ((_, how, hung),) = outcome.given_up
    assert "no progress" in how and hung


def test_what_is_hopeless_for_all_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="the drive is full"):
        supervise(tmp_path, cut(8, 1), {3: "fatal"})


def test_workers_that_can_not_start_end_the_run_with_their_last_words(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="this worker can't start"):
        supervise(tmp_path, cut(8, 1), {"start": "never"})


def test_after_the_end_time_nothing_is_begun(tmp_path: Path) -> None:
    outcome = supervise(tmp_path, cut(8, 2), {}, until=time.time() - 1)
    assert outcome.committed == {}
    assert outcome.supervisor is not None
    assert sum(chunk.size for chunk in outcome.supervisor.late) == 8


def test_an_error_of_the_caller_ends_the_workers(tmp_path: Path) -> None:
    def lost(in_flight: InFlight) -> None:
        raise RuntimeError("the lease is lost")

    with pytest.raises(RuntimeError, match="lease is lost"):
        supervise(tmp_path, cut(8, 1), {2: "hang", 3: "hang"}, on_tick=lost)


def test_a_chunk_counts_its_crashes_only_when_it_is_a_single_photo() -> None:
    (chunk,) = cut(4, 4)
    left, right = replace(chunk, crashes=1).halves()
    assert (left.crashes, right.crashes) == (0, 0)
    assert (left.size, right.size) == (2, 2)
