from __future__ import annotations

import io

import pytest

from pipeline import progress
from pipeline.progress import ProgressLine


def test_plain_lines_say_all_there_is_to_know(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 31.0, 40.0, 100.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    with ProgressLine(1000, quiet=False, stream=stream) as line:
        line.update(done=100, faces=90, errors=0)
        line.update(done=310, faces=280, errors=2)
        line.update(done=400, faces=350, errors=2)
        line.update(done=1000, faces=900, errors=3)
    said = stream.getvalue().splitlines()
    assert said == [
        "310 of 1,000 photos, 280 faces, 10.0 photos/s, 1 min left, 2 errors",
        "1,000 of 1,000 photos, 900 faces, 10.0 photos/s, under a minute left, 3 errors",
    ]


def test_nothing_is_said_when_quiet() -> None:
    stream = io.StringIO()
    with ProgressLine(10, quiet=True, stream=stream) as line:
        line.update(done=10, faces=1, errors=0)
    assert stream.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_a_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    stream = Terminal()
    with ProgressLine(1000, quiet=False, stream=stream) as line:
        line.update(done=250, faces=240, errors=7)
    assert "250/1000" in stream.getvalue()
    assert "240 faces" in stream.getvalue()
    assert "7 errors" in stream.getvalue()
