"""Where the processor's time goes while a whole run works: its kernels, and what is left for all else.

A run and its stages that are measured one after the other meet a machine at different speeds; parts of one
and the same run do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

import models.mtcnn
import transforms.detect
import transforms.embed

DECODE, NETWORKS, EMBED, PIXELS, ELSE = "decode", "networks of detect", "embed", "pixels", "all else"
# What detection and cropping do with pixels, all in machine code.
_PIXELS: dict[ModuleType, tuple[str, ...]] = {
    models.mtcnn: ("reduced", "summed_area", "level_part", "windows"),
    transforms.detect: ("warp", "thumbnail", "sharpness"),
}


def timed(function: Callable, name: str, seconds: dict[str, float], clock: Callable[[], float]) -> Callable:
    """`function`, adding the time that it takes by `clock` to `seconds` under `name`."""

    @wraps(function)
    def call(*args, **options):
        started = clock()
        try:
            return function(*args, **options)
        finally:
            seconds[name] = seconds.get(name, 0.0) + clock() - started

    return call


def time_networks(networks: Any, seconds: dict[str, float], clock: Callable[[], float]) -> None:
    """From now on a detector's networks count their time under `NETWORKS`."""
    for name in ("propose", "refine", "output"):
        setattr(networks, name, timed(getattr(networks, name), NETWORKS, seconds, clock))


class KernelClock:
    """Counts processor time by kernel in this process. Put in place before models are loaded, for good."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        for module, names in _PIXELS.items():
            for name in names:
                setattr(module, name, self._timed(PIXELS, getattr(module, name)))
        transforms.detect.read_photo = self._timed(DECODE, transforms.detect.read_photo)
        load_detector, load_embedder = transforms.detect.load_detector, transforms.embed.load_embedder

        def clocked_detector(*args, **options):
            detector: Any = load_detector(*args, **options)
            time_networks(detector.networks, self._seconds, time.thread_time)
            return detector

        def clocked_embedder(*args, **options):
            embedder: Any = load_embedder(*args, **options)
            embedder.embed = self._timed(EMBED, embedder.embed)
            return embedder

        transforms.detect.load_detector = clocked_detector
        transforms.embed.load_embedder = clocked_embedder

    def _timed(self, kernel: str, function: Callable) -> Callable:
        return timed(function, kernel, self._seconds, time.thread_time)

    @contextmanager
    def of(self, photos: int) -> Iterator[dict[str, float]]:
        """Milliseconds a photo by kernel, filled in at the end of the block; `ELSE` is what no kernel took of
        the process's time."""
        self._seconds.clear()
        milliseconds: dict[str, float] = {}
        started = time.process_time()
        yield milliseconds
        whole = time.process_time() - started
        for kernel in (DECODE, NETWORKS, EMBED, PIXELS):
            milliseconds[kernel] = self._seconds.get(kernel, 0.0) / photos * 1000
        milliseconds[ELSE] = whole / photos * 1000 - sum(milliseconds.values())
