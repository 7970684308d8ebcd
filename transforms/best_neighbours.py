"""The best neighbours of many faces, picked out of blocks of similarities by compiled code.

What a face's next neighbours must reach is found first, from the highest of every few numbers of a block:
so one among twenty thousand faces of its person takes little more of them in hand than it keeps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
import torch

# The highest of so many numbers is looked at first.
_DEPTH = 16
# Similarities are counted by classes, down from somewhat above one: 128 between a number and its half.
_CLASSES, _ABOVE_ONE = 512, 64


@dataclass(frozen=True)
class Format:
    """How blocks are multiplied: `slack` more neighbours than asked for are kept, and `margin` below the
    least similarity, for what rounding may change."""

    dtype: torch.dtype
    bits: torch.dtype
    keys: type[np.signedinteger]
    slack: int
    margin: float


# A bfloat16 below one is off by up to 2^-9.
BFLOAT16 = Format(torch.bfloat16, torch.int16, np.int16, 8, 0.006)
FLOAT32 = Format(torch.float32, torch.int32, np.int32, 0, 1e-5)


class Best:
    """For each face its `k` best neighbours so far and some more, in no order.

    Similarities are kept as the bits of their format, as whole numbers, of which several can be compared
    at a time and which are in the same order. What is below a face's bar is surely not among its best.
    """

    def __init__(self, faces: int, k: int, form: Format, least: float) -> None:
        self._capacity = max(k + form.slack, 1)
        room = self._capacity + self._capacity // 2 + 1
        self._form, self._negative = form, least - form.margin <= 0
        self._keys = np.empty((faces, room), form.keys)
        self._others = np.empty((faces, room), np.int32)
        self._count = np.zeros(faces, np.int32)
        self._bars = np.full(faces, self._key(least - form.margin), form.keys)
        # A class is a number's first 16 bits: all of a bfloat16.
        self._shift = 0 if form.keys is np.int16 else 16
        self._lowest = (int(self._key(1.0)) >> self._shift) + _ABOVE_ONE - _CLASSES

    def take(self, block: torch.Tensor, lists: np.ndarray, faces: np.ndarray, others: np.ndarray) -> None:
        """Offers the faces int[n], whose lists are int[n] `lists`, the others int32[m].

        The first n rows and m columns of `block` hold their similarities. Nobody is offered themselves.
        Threads may share a `Best`, but not a list.
        """
        _keep_best(
            self._ordered(block), lists, faces, others, self._keys, self._others, self._count, self._bars,
            self._capacity, self._shift, self._lowest,
        )  # fmt: skip

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """(int32[m] whose list, int32[m] the neighbours in it), list by list."""
        _trim(self._keys, self._others, self._count, self._capacity)
        inside = np.arange(self._others.shape[1]) < self._count[:, None]
        return np.repeat(np.arange(len(self._count), dtype=np.int32), self._count), self._others[inside]

    def _key(self, similarity: float) -> np.signedinteger:
        return self._ordered(torch.tensor([[similarity]]).to(self._form.dtype))[0, 0]

    def _ordered(self, block: torch.Tensor) -> np.ndarray:
        bits = block.view(self._form.bits).numpy()
        # Those of negative numbers run the other way, which matters only where such are wanted.
        return np.where(bits < 0, bits ^ np.iinfo(bits.dtype).max, bits) if self._negative else bits


@numba.njit(cache=True, nogil=True)
def _keep_best(bits, lists, faces, others, keys, held_others, count, bars, capacity, shift, lowest):
    room, columns = held_others.shape[1], len(others)
    width = -(-columns // _DEPTH)
    tops, classes = np.empty(width, bits.dtype), np.empty(_CLASSES, np.int32)
    packed = np.empty(room, np.int64)
    for i in range(len(lists)):
        row, own = bits[i], lists[i]
        held, bar = count[own], bars[own]
        if not _highest(row, columns, tops, bar):
            continue
        # Each of the highest is someone; where they and what is held are enough, the bar rises at once,
        # and hardly anything has to be taken in hand that is dropped later.
        bar = _raised(bar, tops, keys[own, :held], capacity, classes, shift, lowest)
        for start in range(width):
            if tops[start] < bar:
                continue
            for j in range(start, columns, width):
                if row[j] >= bar and others[j] != faces[i]:
                    if held == room:
                        held = _make_room(keys[own], held_others[own], bar, capacity, packed)
                    keys[own, held], held_others[own, held] = row[j], others[j]
                    held += 1
        count[own], bars[own] = held, bar


@numba.njit(cache=True, nogil=True)
def _highest(row, columns, tops, bar):
    """The highest of every `len(tops)`-th number into `tops`; returns whether one reaches the bar."""
    width = len(tops)
    tops[:] = row[:width]
    for start in range(width, columns, width):
        part = row[start : min(start + width, columns)]
        for j in range(len(part)):
            tops[j] = max(tops[j], part[j])
    reached = False
    for j in range(width):
        reached |= tops[j] >= bar
    return reached


@numba.njit(cache=True, nogil=True)
def _raised(bar, tops, held, capacity, classes, shift, lowest):
    """The highest bar that more than `capacity` of `tops` and `held` surely reach; one of `tops` may be the
    face itself. `classes` is room for counting."""
    classes[:] = 0
    for key in held:
        classes[min(max((key >> shift) - lowest, 0), _CLASSES - 1)] += 1
    for key in tops:
        if key >= bar:
            classes[min(max((key >> shift) - lowest, 0), _CLASSES - 1)] += 1
    number, reached = _CLASSES, 0
    while number > 0 and reached <= capacity:
        number -= 1
        reached += classes[number]
    # The lowest class has no lower end.
    return max(bar, (number + lowest) << shift) if number > 0 else bar


@numba.njit(cache=True, nogil=True)
def _make_room(keys, others, bar, capacity, packed):
    """Drops what is below the bar, and where that is too little all but the best; returns the new count."""
    count = 0
    for place in range(len(keys)):
        keys[count], others[count] = keys[place], others[place]
        count += keys[count] >= bar
    if count > (len(keys) + capacity) // 2:
        _best_first(keys, others, count, capacity, packed)
        count = capacity
    return count


@numba.njit(cache=True, nogil=True)
def _trim(keys, others, count, capacity):
    packed = np.empty(keys.shape[1], np.int64)
    for own in range(len(count)):
        if count[own] > capacity:
            _best_first(keys[own], others[own], count[own], capacity, packed)
            count[own] = capacity


@numba.njit(cache=True, nogil=True)
def _best_first(keys, others, count, capacity, packed):
    """Brings the best `capacity` of `count` to the front; of equals the first by number is better."""
    for place in range(count):
        packed[place] = (~np.int64(keys[place]) << 32) | others[place]
    packed[:count].sort()
    for place in range(capacity):
        keys[place] = ~(packed[place] >> 32)
        others[place] = packed[place] & 0x7FFFFFFF
