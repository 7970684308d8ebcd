"""``albumen bench growth``: a synthetic library that grows, against one grouping of all of it.

Every step is what ``albumen group`` does when photos have come, in a process of its own.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np

from models.calibration import shipped_calibration
from models.embedder import FACENET_CASIA, embedder_spec
from models.face_statistics import shipped_statistics
from pipeline.bench_group import MemoryWatch, in_process
from pipeline.search_neighbours import SearchSettings
from transforms import storage
from transforms.clustering_scores import clustering_scores
from transforms.library import Library
from transforms.synthetic_faces import SyntheticPeople
from transforms.synthetic_library import part_chunks, write_synthetic_library
from transforms.tables import PERSON_ID

_LARGEST = 20_000
_ALL, _GROWING, _TRUTH = "all", "library", "truth.npy"


def bench(
    faces: int, *, shares: list[float], folder: str | None, work: str | None, settings: SearchSettings,
    out: str, show: Callable[[str], None] = lambda line: None,
) -> tuple[list[str], dict[str, object]]:  # fmt: skip
    """Groups a library of `faces` synthetic faces whose photos come in parts, of the given `shares`.

    `folder` keeps the synthetic faces for another time; without one they lie in `work` until the end.
    A page about it is written into `out`. `show` gets a line for each step as soon as it is known.
    """
    place: AbstractContextManager[str]
    place = nullcontext(folder) if folder else tempfile.TemporaryDirectory(prefix="albumen-bench-", dir=work)
    steps = []
    with place as lies_in:
        if not storage.exists(storage.join(lies_in, _TRUTH)):
            in_process(_write, lies_in, faces, shares, settings.seed)
        storage.remove_folder(storage.join(lies_in, _GROWING))
        for part in range(len(shares)):
            in_process(_arrive, lies_in, part)
            steps.append(in_process(_group, lies_in, part, settings, False))
            show(_described(steps[-1]))
        once = in_process(_group, lies_in, len(shares) - 1, settings, True)
    show(_described(once))
    seconds = sum(step["processor_seconds"] for step in steps)
    ratio = seconds / once["processor_seconds"]
    points = 100 * (steps[-1]["bcubed_f"] - once["bcubed_f"])
    lines = [
        f"In {len(shares)} steps {seconds:.0f} s of processor time, {ratio:.2f} times that of all at once; "
        f"BCubed F {steps[-1]['bcubed_f']:.4f}, {points:+.2f} points."
    ]
    facts = {"steps": steps, "once": once, "cost": ratio, "points": points}
    path = storage.join(out, f"growth-{steps[-1]['faces']}-in-{len(shares)}")
    storage.write_bytes(path + ".json", (json.dumps(facts, indent=1) + "\n").encode())
    storage.write_bytes(path + ".md", _page(steps, once, lines[0]).encode())
    return [*lines, f"written to {path}.md and .json"], facts


def _page(steps: list[dict], once: dict, summary: str) -> str:
    lines = [
        f"# A library of {once['faces']:,} synthetic faces that grows",
        "",
        "`albumen bench growth`: each line is what `albumen group` does when photos have come, in a process "
        f"of its own, with {once['threads']} threads; the last is one grouping of everything. {summary}",
        "",
        "| faces | kind of grouping | faces grouped anew | seconds | processor seconds | own memory MB "
        "| people | BCubed F (precision) |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for step in [*steps, {**once, "kind": "at once"}]:
        lines.append(
            f"| {step['faces']:,} | {step['kind']} | {step['regrouped']:,} | {step['seconds']:.0f} "
            f"| {step['processor_seconds']:.0f} | {step['own_mb']:,} | {step['people']:,} "
            f"| {step['bcubed_f']:.4f} ({step['bcubed_precision']:.4f}) |"
        )
    return "\n".join(lines) + "\n"


def _write(folder: str, faces: int, shares: list[float], seed: int) -> dict:
    embedder = embedder_spec(FACENET_CASIA).describe()
    known = shipped_calibration(embedder)
    assert known is not None
    storage.remove_folder(storage.join(folder, _ALL))
    truth = write_synthetic_library(
        storage.join(folder, _ALL), shipped_statistics(), centre=known.centre, embedder=embedder,
        faces=faces, seed=seed, people=SyntheticPeople(largest=min(_LARGEST, faces // 10)), shares=shares,
    )  # fmt: skip
    np.save(storage.join(folder, _TRUTH), np.stack([truth.person, truth.part]))
    return {}


def _arrive(folder: str, part: int) -> dict:
    """Photos come: a part's chunks go from the library of all to the one that grows."""
    source = Library.open(storage.join(folder, _ALL))
    library = Library.create(storage.join(folder, _GROWING))
    library.save_info(source.info())
    for name in part_chunks(source, part):
        library.replace_chunks([], name, source.read_chunk(name))
    return {}


def _group(folder: str, part: int, settings: SearchSettings, full: bool) -> dict:
    import torch

    from pipeline.group import group_library

    torch.set_num_threads(settings.threads)
    library = Library.open(storage.join(folder, _GROWING))
    with MemoryWatch() as watch:
        started, processor = time.monotonic(), time.process_time()
        made = group_library(library, method="default", seed=settings.seed, full=full, settings=settings)
        seconds, processor = time.monotonic() - started, time.process_time() - processor
    person, arrived = np.load(storage.join(folder, _TRUTH))
    coded = library.read_assignments(made.revision)[PERSON_ID].combine_chunks().dictionary_encode().indices
    group = coded.fill_null(-1).to_numpy().astype(np.int64)
    alone = group < 0
    group[alone] = -1 - np.arange(int(alone.sum()))
    scores = clustering_scores(person[arrived <= part], group)
    return {
        "faces": made.faces,
        "kind": made.kind,
        "regrouped": made.regrouped,
        "people": made.people,
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
        "own_mb": round(watch.peak[0] / 1e6),
        "bcubed_f": round(scores.bcubed_f, 4),
        "bcubed_precision": round(scores.bcubed_precision, 4),
        "threads": settings.threads,
        "search": library.read_grouping(made.revision).get("search"),
    }


def _described(step: dict) -> str:
    return (
        f"{step['faces']:>9,} faces: {step['kind']:26} {step['regrouped']:>9,} grouped anew, "
        f"{step['seconds']:6.1f} s ({step['processor_seconds']:.1f} s of processor time), "
        f"{step['own_mb']:,} MB, BCubed F {step['bcubed_f']:.4f}"
    )
