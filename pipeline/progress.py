"""What a person sees while a run goes on: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_PLAIN_SECONDS = 30.0


class ProgressLine:
    """Photos done of all, faces, photos/s, time left, errors so far.

    A context manager. Speed and time left come from the last minutes on a terminal, from the whole
    run in plain lines.
    """

    def __init__(self, total: int, *, quiet: bool, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._total, self._quiet = total, quiet
        self._console = Console(file=self._stream)
        self._live = self._console.is_terminal and not quiet
        self._begun = time.monotonic()
        self._said = self._begun
        if self._live:
            self._bar = Progress(
                TextColumn("indexing"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("photos · {task.fields[faces]:,} faces · {task.fields[speed]:.1f} photos/s ·"),
                TimeRemainingColumn(),
                TextColumn("left · {task.fields[errors]:,} errors"),
                console=self._console,
                speed_estimate_period=300,
            )
            self._task = self._bar.add_task("indexing", total=total, faces=0, speed=0.0, errors=0)

    def __enter__(self) -> ProgressLine:
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._bar.stop()

    def say(self, text: str | None) -> None:
        """A line of its own above the live one."""
        if text and not self._quiet:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def update(self, *, done: int, faces: int, errors: int) -> None:
        """Shows a new state."""
        if self._quiet:
            return
        now = time.monotonic()
        speed = done / max(now - self._begun, 1e-9)
        if self._live:
            self._bar.update(self._task, completed=done, faces=faces, errors=errors, speed=speed)
        elif now - self._said >= _PLAIN_SECONDS:
            self._said = now
            left = _duration((self._total - done) / speed) if done else "unknown time"
            print(
                f"{done:,} of {self._total:,} photos, {faces:,} faces, {speed:.1f} photos/s, "
                f"{left} left, {errors:,} errors",
                file=self._stream,
                flush=True,
            )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return "under a minute"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
