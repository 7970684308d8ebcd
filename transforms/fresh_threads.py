"""Threads that are used once.

A library that keeps random numbers for each thread, as NetworKit does, begins them anew in a new thread: what
comes out then depends neither on what the process did before nor on what runs beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_fresh_threads(function: Callable[[T], R], elements: Iterable[T], *, threads: int = 1) -> Iterator[R]:
    """What `function` makes of each element, in their order, each in a thread of its own, `threads` at a
    time."""
    running: deque[Future[R]] = deque()
    for element in elements:
        running.append(_begun(function, element))
        if len(running) >= threads:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def _begun(function: Callable[[T], R], element: T) -> Future[R]:
    with_one = ThreadPoolExecutor(1)
    begun = with_one.submit(function, element)
    with_one.shutdown(wait=False)
    return begun
