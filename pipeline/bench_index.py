"""``albumen bench index``: how fast, beside the loop that people write today, on the same photos.

Contenders (`pipeline.contenders`) run in turns, so that a machine whose speed wanders favours none of
them, and are compared turn by turn; the median of the turns counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

from pipeline.contenders import ALBUMEN, CONTENDERS, REDUCED, REFERENCE
from pipeline.options import UsageError
from pipeline.stages import Stages, measure_stages
from transforms.file_kinds import kind_by_name

_PACKAGES = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Turn:
    """One contender, once, on so many processes with a core each."""

    contender: str
    photos: int
    faces: int
    seconds: float
    peak_mb: float


def bench(
    folders: Sequence[str], *, count: int, turns: int, precision: str, workers: int
) -> tuple[list[str], dict[str, object]]:
    """Runs every set on one core and on `workers`: (lines to read, the same as data)."""
    lines: list[str] = []
    data: dict[str, object] = {}
    for folder in folders:
        paths = photos_of(folder, count)
        stages = measure_stages(paths, precision=precision)
        by_cores = {}
        for cores in sorted({1, workers}):
            rounds = [
                {name: run(name, paths, cores=cores, precision=precision) for name in CONTENDERS}
                for _ in range(turns)
            ]
            by_cores[cores] = rounds
        name = Path(folder).name
        lines += _lines(name, by_cores, stages)
        data[name] = _facts(by_cores, stages)
    return lines, data


def photos_of(folder: str, count: int) -> list[str]:
    """Up to `count` photographs of a folder, spread evenly over it. Raises UsageError without any."""
    found = sorted(
        str(p) for p in Path(folder).rglob("*") if p.is_file() and not kind_by_name(os.fsencode(p.name))
    )
    if not found:
        raise UsageError(f"{folder} holds no photographs: give folders with some")
    step = max(1, len(found) // count)
    return list(islice(found[::step], count))


def run(contender: str, paths: Sequence[str], *, cores: int, precision: str) -> Turn:
    """One turn: the photos dealt out to `cores` processes that start together."""
    hands = [list(paths[n::cores]) for n in range(cores)]
    processes = [_start(contender, hand, n, precision) for n, hand in enumerate(hands)]
    try:
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError(f"{contender} could not start: {_errors(process)}")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        measured = [json.loads(process.communicate()[0]) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return Turn(
        contender,
        sum(m["photos"] for m in measured),
        sum(m["faces"] for m in measured),
        max(m["seconds"] for m in measured),
        max(m["peak_mb"] for m in measured),
    )


def _start(contender: str, paths: Sequence[str], core: int, precision: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.contenders", contender, precision],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=_PACKAGES,
        env=dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
    )  # fmt: skip
    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process.pid, {available[core % len(available)]})
    assert process.stdin is not None
    process.stdin.write(json.dumps([os.path.abspath(p) for p in paths]) + "\n")
    process.stdin.flush()
    return process


def _errors(process: subprocess.Popen[str]) -> str:
    process.kill()
    return (process.communicate()[1] or "").strip()[-500:]


def ratio(rounds: Sequence[dict[str, Turn]], slow: str, fast: str) -> float:
    """How many times faster, the median over turns that ran side by side."""
    return median(turn[slow].seconds / turn[fast].seconds for turn in rounds)


def _lines(name: str, by_cores: dict[int, list[dict[str, Turn]]], stages: Stages) -> list[str]:
    lines = [f"{name}:"]
    for cores, rounds in by_cores.items():
        where = f"  {cores} core{'s' if cores > 1 else ''}"
        for contender in CONTENDERS:
            turns = [turn[contender] for turn in rounds]
            seconds = median(t.seconds for t in turns)
            photos, faces = turns[0].photos, turns[0].faces
            lines.append(
                f"{where}  {contender:<10} {photos / seconds:8.2f} photos/s {faces / seconds:8.1f} faces/s  "
                f"{faces} faces  {max(t.peak_mb for t in turns):.0f} MB a process at the peak"
            )
        lines.append(
            f"{where}  albumen is {ratio(rounds, REFERENCE, ALBUMEN):.1f} × the reference, "
            f"{ratio(rounds, REDUCED, ALBUMEN):.1f} × the reference on reduced photos"
        )
    cores = max(by_cores)
    if cores > 1:
        lines.append(
            f"  {cores} workers are {_scaling(by_cores, ALBUMEN):.2f} × one; "
            f"of the reference {_scaling(by_cores, REFERENCE):.2f} ×"
        )
    one = median(t[ALBUMEN].seconds / t[ALBUMEN].photos for t in by_cores[1])
    lines += stages.lines(one)
    return lines


def _scaling(by_cores: dict[int, list[dict[str, Turn]]], contender: str) -> float:
    """What more processes bring. Cores may share a clock, caches or units: the reference shows how much."""
    most = max(by_cores)
    return median(
        one[contender].seconds / all_[contender].seconds
        for one, all_ in zip(by_cores[1], by_cores[most], strict=True)
    )


def _facts(by_cores: dict[int, list[dict[str, Turn]]], stages: Stages) -> dict[str, object]:
    return {
        "turns": {
            str(cores): [{name: vars(turn) for name, turn in r.items()} for r in rounds]
            for cores, rounds in by_cores.items()
        },
        "ratio_to_reference": {str(c): ratio(r, REFERENCE, ALBUMEN) for c, r in by_cores.items()},
        "ratio_to_reduced": {str(c): ratio(r, REDUCED, ALBUMEN) for c, r in by_cores.items()},
        "scaling": {name: _scaling(by_cores, name) for name in (ALBUMEN, REFERENCE)},
        "stage_ms_per_photo": stages.milliseconds,
        "floor_ms_per_photo": stages.floor,
    }
