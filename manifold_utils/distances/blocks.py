"""Blocks of pairs: how the matrix is cut, and which thread has what.

A block is (first row of register tiles, first panel of columns, state), state = (product, exponent, extra), each
(n_i, n_j, MR, NR), for the register tile (MR, NV, W) of `simd.register_tile`, NR = NV * W. Nothing here computes.
"""

import math
from typing import NamedTuple

import numpy as np

from manifold_utils.distances.simd import register_tile

BLOCK_POINTS = 480  # largest side of a block of pairs, so that its state and a slice of its rows stay in the caches
NARROW = 240  # points up to which those on the other side are packed block by block, and the side of such blocks


def padded(n_rows, n_columns, dtype):
    """Pairs that are computed: of whole register tiles."""
    rows, n_vectors, lanes = register_tile(np.dtype(dtype))
    width = n_vectors * lanes
    return -(-n_rows // rows) * rows * (-(-n_columns // width) * width)


def cut(sides, tile, *, symmetric, narrow, threads):
    """[(first row, first column, shape of the state)] of the blocks of n_p x n_q = `sides` points."""
    rows, width = tile[0], tile[1] * tile[2]
    n_sides = 1 if threads == 1 else 2 * math.ceil(math.sqrt(2 * threads))  # enough blocks to share
    side = max(1, min(NARROW if narrow else BLOCK_POINTS, max(sides) // n_sides) // width) * width
    return [
        (i, j, (-(-min(side, sides[0] - i) // rows), -(-min(side, sides[1] - j) // width), rows, width))
        for i in range(0, sides[0], side)
        for j in range(0, sides[1], side)
        if not (symmetric and j + side <= i)
    ]


class Group(NamedTuple):
    """Blocks of pairs of one thread, and runs (first, last) of the panels of rows and of columns that they need."""

    blocks: list
    rows: list
    columns: list

    @classmethod
    def of(cls, blocks, tile, symmetric):
        height, width = tile[0], tile[1] * tile[2]
        columns = {j + v for _, j, (product, _, _) in blocks for v in range(product.shape[1])}
        points = ((i * height, (i + product.shape[0]) * height) for i, _, (product, _, _) in blocks)
        rows = {panel for first, last in points for panel in range(first // width, -(-last // width))}
        return cls(blocks, *map(_runs, (rows | columns, ()) if symmetric else (rows, columns)))

    def n_panels(self, only_rows):
        return sum(last - first for first, last in self.rows + self.columns * (not only_rows))


def shared_out(blocks, tile, threads, symmetric):
    """A `Group` for each thread: blocks of about as many pairs in all, with the panels that they are made from."""

    def pairs(block):
        i, j, (product, _, _) = block
        return product.size // (2 if symmetric and i * tile[0] == j * tile[1] * tile[2] else 1)

    loads, shares = [0] * threads, [[] for _ in range(threads)]
    for block in sorted(blocks, key=pairs, reverse=True):
        least = loads.index(min(loads))
        loads[least] += pairs(block)
        shares[least].append(block)
    return [Group.of(share, tile, symmetric) for share in shares if share]


def _runs(numbers):
    """Runs (first, last) of consecutive numbers."""
    starts = sorted(n for n in numbers if n - 1 not in numbers)
    return list(zip(starts, sorted(n + 1 for n in numbers if n + 1 not in numbers), strict=True))
