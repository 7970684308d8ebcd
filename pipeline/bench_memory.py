"""``albumen bench memory``: does a worker's memory stay flat, however many photos it sees?

Indexes an archive of links to given photos, over and over, with one worker, and reads the worker's
resident memory as photos go by.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil

from pipeline.index import index
from pipeline.options import IndexOptions, UsageError
from transforms.lease import Lease
from transforms.library import Library

_MARKS = (500, 1000, 2000, 5000)


def memory(folder: str, *, photos: int, chunk_size: int) -> tuple[list[str], dict[str, object]]:
    """Peak and median resident memory of the worker over each stretch of photos. Raises UsageError for a
    folder without files."""
    sources = sorted(p for p in Path(folder).rglob("*") if p.is_file())
    if not sources:
        raise UsageError(f"{folder} holds no files: give a folder with photographs")
    with tempfile.TemporaryDirectory(prefix="albumen-bench-") as work:
        archive = Path(work, "archive")
        for number in range(photos):
            source = sources[number % len(sources)]
            link = archive / f"{number // 1000:04d}" / f"{number:07d}{source.suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source.resolve())
        samples = _Samples()
        library = Library.create(os.path.join(work, "library"))
        options = replace(IndexOptions(), workers=1, chunk_size=chunk_size)
        with Lease(library.path) as lease, samples:
            summary = index(library, lease, str(archive), options, quiet=False)
    stretches = samples.by_stretch(photos)
    lines = [f"{photos:,} photos in chunks of {chunk_size}, {summary.faces:,} faces, {summary.seconds:.0f} s"]
    lines += [
        f"photos {low:,} to {high:,}: resident memory of the worker {median:.0f} MB (median), "
        f"{peak:.0f} MB (peak)"
        for low, high, median, peak in stretches
    ]
    return lines, {"photos": photos, "chunk_size": chunk_size, "stretches": stretches}


class _Samples:
    """Reads the resident memory of this process's worker four times a second, in a thread."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> _Samples:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.25):
            try:
                workers = [
                    c for c in psutil.Process().children() if "pipeline.worker" in " ".join(c.cmdline())
                ]
                if workers:
                    self._taken.append((time.monotonic(), workers[0].memory_info().rss))
            except psutil.Error:
                continue

    def by_stretch(self, photos: int) -> list[tuple[int, int, float, float]]:
        """(from, to, median MB, peak MB), photos taken to go by evenly while the worker runs."""
        if not self._taken:  # the worker was done before it was looked at
            return []
        times, sizes = (np.array(column, float) for column in zip(*self._taken, strict=True))
        position = (times - times[0]) / max(times[-1] - times[0], 1e-9) * photos
        edges = [0, *(m for m in _MARKS if m < photos), photos]
        stretches = []
        for low, high in pairwise(edges):
            mine = sizes[(position >= low) & (position <= high)] / 1e6
            if len(mine):
                stretches.append((low, high, float(np.median(mine)), float(mine.max())))
        return stretches
