"""Pyramid levels of many photos packed into tiles of one size, for a network of convolutions.

P-Net looks at 12 × 12 pixels at a time, every second pixel, so what it says of a window does not
depend on what lies around it. Levels of any size can therefore be cut into pieces that overlap by
10 pixels, and the pieces laid side by side into square tiles: the network then always sees full
batches of one shape, for which engines prepare their kernels once, whatever sizes photos have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

WINDOW, STRIDE = 12, 2
_OVERLAP = WINDOW - STRIDE


@dataclass(frozen=True)
class Piece:
    """A part of a level, `height` × `width` pixels (even) from (`y`, `x`) (even), and its place."""

    level: int
    y: int
    x: int
    height: int
    width: int
    tile: int = 0
    tile_y: int = 0
    tile_x: int = 0

    @property
    def part(self) -> tuple[int, int, int, int]:
        """Of its level: y, x, height, width."""
        return self.y, self.x, self.height, self.width

    @property
    def place(self) -> tuple[int, int, int]:
        """In the tiles: number, y, x."""
        return self.tile, self.tile_y, self.tile_x

    @property
    def outputs(self) -> tuple[slice, slice]:
        """Where the network's outputs for this piece lie in the tile's."""
        y, x = self.tile_y // STRIDE, self.tile_x // STRIDE
        return (
            slice(y, y + (self.height - _OVERLAP) // STRIDE),
            slice(x, x + (self.width - _OVERLAP) // STRIDE),
        )


def pack(levels: Sequence[tuple[int, int]], side: int) -> list[Piece]:
    """Cuts levels of (height, width), both even, into pieces and lays them into tiles of `side`.

    Every window of every level lies wholly in one piece. Levels too small for a window give none.
    Pieces are laid in rows, the highest first, each into the first row that has room for it.
    """
    pieces = [p for number, size in enumerate(levels) for p in _cut(number, size, side)]
    rows: list[list[int]] = []  # per row: tile, y, height, next free x
    free: list[int] = []  # per tile: next free y
    placed = []
    for piece in sorted(pieces, key=lambda p: (-p.height, -p.width)):
        row = next((r for r in rows if r[2] >= piece.height and r[3] + piece.width <= side), None)
        if row is None:
            tile = next((t for t, y in enumerate(free) if y + piece.height <= side), len(free))
            if tile == len(free):
                free.append(0)
            row = [tile, free[tile], piece.height, 0]
            rows.append(row)
            free[tile] += piece.height
        placed.append(Piece(piece.level, piece.y, piece.x, piece.height, piece.width, row[0], row[1], row[3]))
        row[3] += piece.width
    return placed


def empty_tiles(pieces: Sequence[Piece], side: int) -> np.ndarray:
    """float32[n, 3, side, side] zeros with room for all pieces."""
    return np.zeros((max((p.tile for p in pieces), default=-1) + 1, 3, side, side), np.float32)


def _cut(number: int, size: tuple[int, int], side: int) -> Iterator[Piece]:
    if min(size) < WINDOW:
        return
    step = side - _OVERLAP
    for y in range(0, size[0] - _OVERLAP, step):
        for x in range(0, size[1] - _OVERLAP, step):
            yield Piece(number, y, x, min(side, size[0] - y), min(side, size[1] - x))


def owners(pieces: Sequence[Piece], shape: tuple[int, int, int]) -> np.ndarray:
    """Which piece each of the network's outputs is about: int32 of `shape` (tiles, rows, columns), the
    piece's number or -1."""
    numbers = np.full(shape, -1, np.int32)
    for number, piece in enumerate(pieces):
        rows, columns = piece.outputs
        numbers[piece.tile, rows, columns] = number
    return numbers
