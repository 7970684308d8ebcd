"""What a worker tells the process that watches it: one short JSON line an event, on a pipe."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

BEGIN, PHOTOS, DONE, LATE, FATAL, SHIFT_DONE = "begin", "photos", "done", "late", "fatal", "shift_done"
_MESSAGE = 600  # characters: a line must fit what a pipe takes at once


def report(descriptor: int | None, event: str, **values: object) -> None:
    """Sends an event; nothing happens without a pipe. A watcher that is gone is no error here."""
    if descriptor is None:
        return
    line = json.dumps({"event": event, **values}) + "\n"
    try:
        os.write(descriptor, line.encode())
    except OSError:
        return


@contextmanager
def fatal(descriptor: int | None, *kinds: type[Exception]) -> Iterator[None]:
    """Reports errors of `kinds` as fatal on their way out: no other chunk will fare better.

    An engine hands on a failure as text; the pipe keeps what the person needs to read.
    """
    try:
        yield
    except kinds as error:
        report(descriptor, FATAL, message=str(error)[:_MESSAGE])
        raise
