"""``albumen bench index``: how fast, beside the loop that people write today, on the same photos.

Contenders (`pipeline.contenders`) run in turns, so that a machine whose speed wanders favours none of
them, and are compared turn by turn; the median of the turns counts. On more than one core each has a
process that goes through all photos by itself: no core waits for another, whatever the photos hold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from statistics import mean, median

from PIL import Image

from models.engine import AUTO
from pipeline.contenders import ALBUMEN, CONTENDERS, REDUCED, REFERENCE, STAGES
from pipeline.kernel_clock import ELSE, PIXELS
from pipeline.options import UsageError
from pipeline.stages import Stages
from pipeline.supervise import RunFailed
from transforms.decode import NotAPhoto, UnreadablePhoto, prepare_pillow, read_photo
from transforms.detect import DECODED_SIDE
from transforms.file_kinds import kind_by_name
from transforms.index_config import DEFAULT_MAX_PIXELS

_PACKAGES = Path(__file__).resolve().parent.parent
_LAST_WORDS = 500


@dataclass(frozen=True)
class Turn:
    """One contender, once, on so many processes with a core each: what all of them did together, in
    `seconds` as their rates together say. `failed` counts photos that it could not take. Of Albumen also
    `milliseconds` of processor time a photo by kernel (`pipeline.kernel_clock`)."""

    contender: str
    photos: int
    faces: int
    seconds: float
    peak_mb: float
    failed: int = 0
    milliseconds: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Photos a second."""
        return self.photos / self.seconds


# By number of cores: of each turn every contender's, and the stages that were measured just before them.
Rounds = dict[int, list[dict[str, Turn]]]
StageRounds = dict[int, list[Stages]]


@dataclass(frozen=True)
class Task:
    """What is measured: `photos`, `turns` times, by Albumen `passes` times in each turn."""

    photos: Sequence[str]
    turns: int
    passes: int
    engine: str
    precision: str


def bench(
    folders: Sequence[str], *, count: int, turns: int, passes: int, precision: str, workers: int,
    engine: str = AUTO, stages_only: bool = False,
) -> tuple[list[str], dict[str, object]]:  # fmt: skip
    """Runs every set on one core and on `workers`: (lines to read, the same as data).

    Raises UsageError for a folder without photographs, RunFailed where a loop does not come to its end.
    """
    lines: list[str] = []
    data: dict[str, object] = {}
    for folder in folders:
        photos, left_out = photos_of(folder, count)
        task = Task(photos, turns, passes, engine, precision)
        widths = sorted({1, workers})
        stages: StageRounds = {cores: [] for cores in widths}
        rounds: Rounds = {} if stages_only else {cores: [] for cores in widths}
        # A turn holds everything that is compared, one core and all: what the machine's speed does from
        # one hour to the next changes no ratio.
        for _ in range(turns):
            for cores in widths:
                stages[cores].append(measure_stages(task, cores=cores))
                if not stages_only:
                    rounds[cores].append({name: run(name, task, cores=cores) for name in CONTENDERS})
        name = Path(folder).name
        name = folder if name in data else name  # two folders may be called alike
        lines += [_title(name, photos, left_out), *_speed_lines(rounds), *_stage_lines(stages, rounds)]
        data[name] = {"photos": len(photos), "left_out": left_out, **_facts(rounds, stages)}
    return lines, data


def photos_of(folder: str, count: int) -> tuple[list[str], int]:
    """Up to `count` photographs of a folder, spread evenly over it, without those that not every loop can
    read; and how many those were. Raises UsageError without any."""
    found = sorted(
        str(p) for p in Path(folder).rglob("*") if p.is_file() and not kind_by_name(os.fsencode(p.name))
    )
    chosen = list(islice(found[:: max(1, len(found) // count)], count))
    prepare_pillow()
    photos = [path for path in chosen if _for_all(path)]
    if not photos:
        tried = f" that can be compared, of the {len(chosen)} files tried" if chosen else ""
        raise UsageError(f"{folder} holds no photographs{tried}: give folders with some")
    return photos, len(chosen) - len(photos)


def _for_all(path: str) -> bool:
    """Whether Albumen reads the photo, and Pillow by itself, as the reference does, opens it with as many
    pixels: of a RAW file it may take a thumbnail; HEIF it opens with a plug-in only."""
    try:
        data = Path(path).read_bytes()
        photo = read_photo(
            data, name=os.fsencode(path), max_pixels=DEFAULT_MAX_PIXELS, long_side=DECODED_SIDE
        )
        with Image.open(path) as image:
            as_large = sorted(image.size) == sorted((photo.info.width, photo.info.height))
            return as_large and image.format != "HEIF"
    except (OSError, NotAPhoto, UnreadablePhoto):
        return False


def _title(name: str, photos: Sequence[str], left_out: int) -> str:
    left = f", {left_out} more left out that not every loop can read" if left_out else ""
    return f"{name}: {len(photos)} photos{left}"


def run(contender: str, task: Task, *, cores: int) -> Turn:
    """One turn of one contender. Processes work each by itself, so their rates add up; who is done waits for
    nobody."""
    measured = _measured(contender, task, cores=cores)
    photos = sum(m["photos"] for m in measured)
    return Turn(
        contender,
        photos,
        sum(m["faces"] for m in measured),
        photos / sum(m["photos"] / m["seconds"] for m in measured),
        max(m["peak_mb"] for m in measured),
        sum(m["failed"] for m in measured),
        _mean_by_name([m.get("milliseconds", {}) for m in measured]),
    )


def measure_stages(task: Task, *, cores: int) -> Stages:
    """Each stage by itself, on so many cores at a time: the mean over cores."""
    return Stages(_mean_by_name([m["milliseconds"] for m in _measured(STAGES, task, cores=cores)]))


def _mean_by_name(measured: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: mean(m[name] for m in measured) for name in measured[0]}


def _measured(contender: str, task: Task, *, cores: int) -> list[dict]:
    """What each of `cores` processes that start together says."""
    processes = [_start(contender, task, n) for n in range(cores)]
    try:
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise RunFailed(f"the loop {contender} could not start: {_last_words(process)}")
        for process in processes:
            _tell(process, "go")
        return [_result(contender, process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it died: what it does not say tells so
        process.stdin.write(line + "\n")
        process.stdin.flush()


def _result(contender: str, process: subprocess.Popen[str]) -> dict:
    said, errors = process.communicate()
    try:
        return json.loads(said)
    except json.JSONDecodeError as error:
        raise RunFailed(
            f"the loop {contender} ended before it was done, with exit code {process.returncode}: "
            + errors.strip()[-_LAST_WORDS:]
        ) from error


def _start(contender: str, task: Task, core: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.contenders", contender, task.engine, task.precision,
         str(task.passes)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=_PACKAGES,
        env=dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
    )  # fmt: skip
    if hasattr(os, "sched_setaffinity"):
        available = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(process.pid, {available[core % len(available)]})
    _tell(process, json.dumps([os.path.abspath(p) for p in task.photos]))
    return process


def _last_words(process: subprocess.Popen[str]) -> str:
    process.kill()
    return process.communicate()[1].strip()[-_LAST_WORDS:]


def ratio(rounds: Sequence[dict[str, Turn]], slow: str, fast: str) -> float:
    """How many times faster, the median over turns that ran side by side."""
    return median(turn[fast].rate / turn[slow].rate for turn in rounds)


def scaling(rounds: Rounds, contender: str) -> float:
    """What more processes bring. Cores may share a clock, caches or units: the reference shows how much."""
    return median(
        all_[contender].rate / one[contender].rate
        for one, all_ in zip(rounds[1], rounds[max(rounds)], strict=True)
    )


def _speed_lines(rounds: Rounds) -> list[str]:
    lines = []
    for cores, turns in rounds.items():
        where = f"  {cores} core{'s' if cores > 1 else ''}"
        for contender in CONTENDERS:
            own = [turn[contender] for turn in turns]
            rate = median(t.rate for t in own)
            faces = own[0].faces / own[0].photos
            lines.append(
                f"{where}  {contender:<10} {rate:8.2f} photos/s {rate * faces:8.1f} faces/s  "
                f"{faces:.2f} faces a photo  {max(t.peak_mb for t in own):.0f} MB a process at the peak"
                + (f"  {own[0].failed} of {own[0].photos} photos failed" if own[0].failed else "")
            )
        lines.append(
            f"{where}  albumen is {ratio(turns, REFERENCE, ALBUMEN):.1f} × the reference, "
            f"{ratio(turns, REDUCED, ALBUMEN):.1f} × the reference on reduced photos"
        )
    if len(rounds) > 1:
        lines.append(
            f"  {max(rounds)} workers are {scaling(rounds, ALBUMEN):.2f} × one; "
            f"of the reference {scaling(rounds, REFERENCE):.2f} ×"
        )
    return lines


def overhead(turns: Sequence[dict[str, Turn]], stages: Sequence[Stages], *, cores: int) -> float:
    """How far the whole of Albumen's run lies above the floor, as a share of it: the median over turns."""
    return median(
        1000 * cores / turn[ALBUMEN].rate / measured.floor - 1
        for turn, measured in zip(turns, stages, strict=True)
    )


def within(turns: Sequence[dict[str, Turn]]) -> tuple[Stages, dict[str, float]]:
    """Of the processor time of Albumen's runs: milliseconds a photo by kernel, and what pixels and all else
    take as shares of decoding and the networks. Medians over turns."""
    own = [Stages(turn[ALBUMEN].milliseconds) for turn in turns]
    shares = {part: median(o.milliseconds[part] / o.floor for o in own) for part in (PIXELS, ELSE)}
    return Stages.usual(own), shares


def _stage_lines(stages: StageRounds, rounds: Rounds) -> list[str]:
    lines = []
    for cores, measured in stages.items():
        lines.append(f"  stages by themselves, ms a photo, {cores} at a time: {Stages.usual(measured)}")
        floor = median(m.floor for m in measured)
        line = f"  floor (decode, networks of detect, embed) {floor:.2f} ms a photo"
        if cores in rounds:
            whole = median(1000 * cores / turn[ALBUMEN].rate for turn in rounds[cores])
            line += (
                f"; the whole run {whole:.2f}: {overhead(rounds[cores], measured, cores=cores):.0%} above it"
            )
        lines.append(line)
        if cores in rounds:
            spent, shares = within(rounds[cores])
            lines.append(
                f"  of the run's processor time, ms a photo: {spent}; beyond decoding and networks "
                f"{shares[PIXELS]:.0%} for pixels (pyramids, windows, crops, thumbnails), "
                f"{shares[ELSE]:.0%} for all else (Beam, Parquet, Python)"
            )
    return lines


def _facts(rounds: Rounds, stages: StageRounds) -> dict[str, object]:
    facts: dict[str, object] = {
        "turns": {
            str(cores): [{name: vars(turn) for name, turn in r.items()} for r in turns]
            for cores, turns in rounds.items()
        },
        "ratio_to_reference": {str(c): ratio(r, REFERENCE, ALBUMEN) for c, r in rounds.items()},
        "ratio_to_reduced": {str(c): ratio(r, REDUCED, ALBUMEN) for c, r in rounds.items()},
        "stage_ms_per_photo": {str(c): Stages.usual(s).milliseconds for c, s in stages.items()},
        "floor_ms_per_photo": {str(c): median(m.floor for m in s) for c, s in stages.items()},
        "within": {str(c): within(r)[1] for c, r in rounds.items()},
        "overhead": {str(c): overhead(r, stages[c], cores=c) for c, r in rounds.items()},
    }
    if rounds:
        facts["scaling"] = {name: scaling(rounds, name) for name in CONTENDERS}
    return facts
