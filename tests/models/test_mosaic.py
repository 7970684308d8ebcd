from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import mosaic
from models.mtcnn_torch import network

EVEN = st.integers(1, 60).map(lambda n: 2 * n)
SIDES = st.sampled_from([24, 36, 52])


@given(levels=st.lists(st.tuples(EVEN, EVEN), max_size=6), side=SIDES)
def test_pieces_lie_in_their_tiles_side_by_side(levels: list[tuple[int, int]], side: int) -> None:
    pieces = mosaic.pack(levels, side)
    taken = np.zeros((1 + max((p.tile for p in pieces), default=0), side, side), int)
    for p in pieces:
        assert p.tile_y + p.height <= side and p.tile_x + p.width <= side
        assert not any(v % 2 for v in (p.y, p.x, p.tile_y, p.tile_x, p.height, p.width))
        taken[p.tile, p.tile_y : p.tile_y + p.height, p.tile_x : p.tile_x + p.width] += 1
    assert taken.max() <= 1


@given(levels=st.lists(st.tuples(EVEN, EVEN), max_size=4), side=SIDES)
def test_every_window_of_every_level_lies_in_one_piece(levels: list[tuple[int, int]], side: int) -> None:
    seen = [np.zeros((max(0, (h - 10) // 2), max(0, (w - 10) // 2)), int) for h, w in levels]
    for p in mosaic.pack(levels, side):
        rows, columns = p.outputs
        y, x = p.y // 2, p.x // 2
        seen[p.level][y : y + rows.stop - rows.start, x : x + columns.stop - columns.start] += 1
    for count in seen:
        assert (count == 1).all()


@settings(deadline=None, max_examples=20)
@given(sizes=st.lists(st.tuples(EVEN, EVEN), min_size=1, max_size=4), side=SIDES, seed=st.integers(0, 9))
def test_pnet_says_of_tiles_what_it_says_of_whole_levels(
    sizes: list[tuple[int, int]], side: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    levels = [generator.uniform(-1, 1, (3, *size)).astype(np.float32) for size in sizes]
    pieces = mosaic.pack(sizes, side)
    pnet = network("pnet")
    with torch.inference_mode():
        tiles = mosaic.empty_tiles(pieces, side)
        for p in pieces:
            y, x, height, width = p.part
            tile, top, left = p.place
            part = levels[p.level][:, y : y + height, x : x + width]
            tiles[tile, :, top : top + height, left : left + width] = part
        tiled = pnet(torch.from_numpy(tiles))[1].numpy() if pieces else np.zeros((0, 2, 1, 1))
        owners = mosaic.owners(pieces, tiled[:, 0].shape)
        for number, p in enumerate(pieces):
            assert (owners[p.tile][p.outputs] == number).all()
            whole = pnet(torch.from_numpy(levels[p.level])[None])[1][0].numpy()
            rows, columns = p.outputs
            part = tiled[p.tile][:, rows, columns]
            y, x = p.y // 2, p.x // 2
            expected = whole[:, y : y + part.shape[1], x : x + part.shape[2]]
            np.testing.assert_allclose(part, expected, atol=1e-5)
