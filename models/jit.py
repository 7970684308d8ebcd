"""Loops over pixels and boxes as machine code, compiled by Numba on first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

_Function = TypeVar("_Function", bound=Callable)


def compiled(function: _Function) -> _Function:
    """`function` in machine code, without the interpreter's lock while it runs.

    The code is kept on disk for the next process where a folder can be written, beside the module or
    in the user's cache; elsewhere each process compiles it anew, in a second or two.
    """
    try:
        return cast(_Function, numba.njit(function, cache=True, nogil=True))
    except RuntimeError:  # no folder for the cache
        return cast(_Function, numba.njit(function, nogil=True))
