from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from pipeline.options import UsageError, default_workers, parse_until

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
