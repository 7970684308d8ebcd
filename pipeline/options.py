"""What a run can be told, and what it takes for granted."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import psutil

from models.detector import MtcnnSettings
from models.engine import AUTO
from pipeline.cgroups import container_limits
from transforms.index_config import DEFAULT_MAX_PIXELS

WORKER_BYTES = 1_000_000_000


class UsageError(Exception):
    """The command can't be carried out as given; the message says what to give instead."""


@dataclass(frozen=True)
class IndexOptions:
    """How to index. `until` is seconds since 1970; `beam_options` are handed to Beam as they are. Without an
    `embedder`, or `mirror`, a library goes on as it was indexed, or last migrated."""

    workers: int | None = None
    detector: MtcnnSettings = MtcnnSettings()
    embedder: str | None = None
    mirror: bool = False
    engine: str = AUTO
    precision: str = AUTO
    max_pixels: int = DEFAULT_MAX_PIXELS
    thumbs: bool = True
    chunk_size: int = 256
    until: float | None = None
    retry_errors: bool = False
    prune: bool = False
    yes: bool = False
    relocate: str | None = None
    runner: str | None = None
    beam_options: tuple[str, ...] = field(default=())


def default_workers(device: str) -> int:
    """As many processes as cores and free memory allow, the machine's or the container's; one a GPU."""
    if device == "cuda":
        import torch

        return max(1, torch.cuda.device_count())
    free, allowed = psutil.virtual_memory().available, container_limits().memory
    return max(1, min(cores(), (free if allowed is None else min(free, allowed)) // WORKER_BYTES))


def cores() -> int:
    """How many cores this process may use; a container's part of a core counts as one."""
    try:
        available = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        available = os.cpu_count() or 1
    allowed = container_limits().cores
    return available if allowed is None else min(available, math.ceil(allowed))


def parse_until(text: str, now: datetime) -> float:
    """Seconds since 1970 of the next time that a clock shows ``07:00``, or of a date with time.

    `now` is local time with its zone. Raises UsageError.
    """
    match = re.fullmatch(r"(\d{1,2}):(\d{2})", text)
    try:
        if match:
            time = now.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
            if time <= now:
                # By the calendar, not by 24 hours: the clock may change tonight.
                time = (now.replace(tzinfo=None) + timedelta(days=1)).replace(
                    hour=time.hour, minute=time.minute, second=0, microsecond=0
                ).astimezone()  # fmt: skip
            return time.timestamp()
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError as error:
        raise UsageError(
            f"--until {text}: give a time such as 07:00, or a date with time such as 2026-01-31T07:00"
        ) from error
