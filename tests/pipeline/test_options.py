from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from pipeline import options
from pipeline.cgroups import Limits
from pipeline.options import UsageError, cores, default_workers, parse_until

EVENING = datetime(2026, 1, 31, 22, 30).astimezone()


def test_a_time_of_day_is_the_next_time_that_a_clock_shows_it() -> None:
    morning = datetime.fromtimestamp(parse_until("07:00", EVENING))
    assert (morning.day, morning.hour, morning.minute) == (1, 7, 0)
    later = datetime.fromtimestamp(parse_until("23:15", EVENING))
    assert (later.day, later.hour, later.minute) == (31, 23, 15)
    now = datetime.fromtimestamp(parse_until("22:30", EVENING))
    assert now - EVENING.replace(tzinfo=None) == timedelta(days=1)


def test_a_date_with_time_may_lie_in_the_past_and_may_have_a_zone() -> None:
    assert parse_until("2020-01-01T07:00", EVENING) < EVENING.timestamp()
    exact = datetime(2026, 2, 1, 5, tzinfo=timezone.utc)
    assert parse_until("2026-02-01T07:00+02:00", EVENING) == exact.timestamp()


@pytest.mark.parametrize("text", ["", "7 o'clock", "25:00", "07:60", "2026-02-30T07:00"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="07:00"):
        parse_until(text, EVENING)


def test_there_is_always_a_worker() -> None:
    assert default_workers("cpu") >= 1


@pytest.mark.parametrize(
    ("limits", "processors", "workers"),
    [
        (Limits(), 8, 8),
        (Limits(cores=2.0), 2, 2),
        (Limits(cores=1.5), 2, 2),
        (Limits(cores=0.5), 1, 1),
        (Limits(cores=64.0), 8, 8),
        (Limits(memory=3_500_000_000), 8, 3),
        (Limits(memory=200_000_000), 8, 1),
        (Limits(cores=4.0, memory=2_000_000_000), 4, 2),
        (Limits(memory=1 << 62), 8, 8),
    ],
)
def test_a_container_of_a_large_machine_gets_no_more_workers_than_fit_into_it(
    monkeypatch: pytest.MonkeyPatch, limits: Limits, processors: int, workers: int
) -> None:
    monkeypatch.setattr(options.os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(options.psutil, "virtual_memory", lambda: SimpleNamespace(available=64 << 30))
    monkeypatch.setattr(options, "container_limits", lambda: limits)
    assert (cores(), default_workers("cpu")) == (processors, workers)
