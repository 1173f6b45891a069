"""Accumulators: chunks of samples in, the mean divergence of all pairs out (PAPER.md section 1).

Each metric is a sum over samples, so an accumulator takes the predictions of the same points chunk by chunk, in any
number of chunks, and holds state of the size of its result only. `distances.pairwise` and `tiles` drive the same
classes. Threads share the blocks of pairs. Nothing here reads files; only the sums of probabilities are validated.
"""

import math
import threading
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from manifold_utils.distances.simd import GROUP, LIMITS, multiply_block, pack_panels, register_tile
from manifold_utils.geometry import NORMALISATION_TOLERANCE

SLICE_ENTRIES = 320  # samples * classes of one slice: a panel of NR points then fits in the first-level cache
BLOCK_POINTS = 480  # largest side of a block of pairs, so that its state and a slice of its rows stay in the caches
CHUNK_BYTES = 2 * 2**20  # packed panels held at a time: more would be fresh memory more often, and leave the caches
SHARED_CHUNK_BYTES = 8 * 2**20  # the same with several threads, which wait for the slowest at the end of every chunk
MIRROR_SIDE = 32  # side of the squares in which a triangle is copied to the other
RECOMPUTED_LIMIT = 1e-3  # share of coefficients recomputed in log space from which float64 products are faster
LN2 = math.log(2.0)
ALIGNMENT = 64  # bytes, of a vector load
KEPT_BYTES = 2**28  # of work arrays that are kept for the next matrix of the same size


class Memory:
    """Work arrays that are kept from matrix to matrix: page faults of fresh ones cost as much as a small matrix.

    Threads may take and give at the same time; what one has taken belongs to it alone.
    """

    def __init__(self, limit=KEPT_BYTES):
        self.limit, self.kept, self.lock = limit, {}, threading.Lock()

    def take(self, n_bytes):
        """A uint8 array (n_bytes,) of any content."""
        with self.lock:
            fitting = self.kept.get(n_bytes)
            if fitting:
                return fitting.pop()
        return np.empty(n_bytes, np.uint8)

    def give(self, array):
        """Keep an array for later, unless there is enough: then everything kept is let go, as sizes have changed."""
        with self.lock:
            if sum(len(arrays) * size for size, arrays in self.kept.items()) + array.size > self.limit:
                self.kept.clear()
            if array.size <= self.limit:
                self.kept.setdefault(array.size, []).append(array)


MEMORY = Memory()


def n_threads():
    """Threads of one process: numba's setting, which NUMBA_NUM_THREADS and the affinity of the process decide."""
    return numba.config.NUMBA_NUM_THREADS


class NotNormalised(ValueError):
    """A chunk holds a vector that is no log-probability; the caller knows which points they are."""


class BhattacharyyaSum:
    """Sum over samples of -log BC for all pairs, exact for every input.

    Parameters
    ----------
    n_p, n_q : int; n_q None for the distances of n_p points among themselves (only half of them is computed)
    n_classes : int
    dtype : float32 or float64, of the products: float32 is twice as fast, with an error near 1e-8 in a mean of 100
    cap : float, nats, or None; each sample's term is clamped to it
    threads : int, optional
    """

    def __init__(self, n_p, n_q, n_classes, *, dtype=np.float32, cap=None, threads=None):
        self.symmetric, self.shape = n_q is None, (n_p, n_p if n_q is None else n_q)
        self.n_classes, self.n_samples, self.threads = n_classes, 0, threads or n_threads()
        self.cap = math.inf if cap is None else float(cap)
        self.carry = None  # logs of the samples multiplied before a change of dtype
        self.n_recomputed = 0  # coefficients that went to `extra` of the states
        self._held = []
        self._setup(dtype)

    def _setup(self, dtype):
        self.dtype = np.dtype(dtype)
        # A floor of zero never binds: such a clamp is known to the exact route alone, which then takes every group.
        self.floor = None if self.cap == math.inf else self.dtype.type(math.exp(-self.cap))
        self.tile = register_tile(self.dtype)
        self.width = self.tile[1] * self.tile[2]
        self.slice_samples = max(1, SLICE_ENTRIES // (self.n_classes * GROUP)) * GROUP
        self.blocks, self._buffers = self._make_blocks(), {}

    def _make_blocks(self):
        """[(first row panel, first column panel, state)], state = product, exponent, extra of a block of pairs."""
        rows, width = self.tile[0], self.width
        n_sides = 1 if self.threads == 1 else 2 * math.ceil(math.sqrt(2 * self.threads))  # enough blocks to share
        side = max(1, min(BLOCK_POINTS, max(self.shape) // n_sides) // width) * width
        places = [
            (i, j, (-(-min(side, self.shape[0] - i) // rows), -(-min(side, self.shape[1] - j) // width), rows, width))
            for i in range(0, self.shape[0], side)
            for j in range(0, self.shape[1], side)
            if not (self.symmetric and j + side <= i)
        ]
        # one array for all blocks: fresh memory is given in large pages, and memory of an earlier matrix fits again
        ends = np.cumsum([math.prod(shape) for _, _, shape in places])
        integer = np.int32 if self.dtype.itemsize == 4 else np.int64
        product, exponent = (self._borrowed(ends[-1], dtype) for dtype in (self.dtype, integer))
        product[...], exponent[...] = 2.0 ** LIMITS[self.dtype][0], 0
        extra = np.zeros(ends[-1])  # of what was recomputed, which is rare: these pages may never be written to
        blocks = []
        for (i, j, shape), end in zip(places, ends, strict=True):
            part = slice(end - math.prod(shape), end)
            state = tuple(values[part].reshape(shape) for values in (product, exponent, extra))
            blocks.append((i // rows, j // width, state))
        return sorted(blocks, key=lambda block: -block[2][0].size)

    @property
    def chunk_samples(self):
        """Samples that `add` packs at a time."""
        n_points = self.shape[0] if self.symmetric else sum(self.shape)
        n_bytes = CHUNK_BYTES if self.threads == 1 else SHARED_CHUNK_BYTES
        entries = n_bytes // (self.dtype.itemsize * n_points)
        return max(1, entries // (self.n_classes * self.slice_samples)) * self.slice_samples

    def add(self, log_p, log_q=None):
        """Add samples: log_p (n_p, n, C) and, if not symmetric, log_q (n_q, n, C), float32 or float64 natural logs."""
        log_p = rows_contiguous(log_p)
        log_q = log_p if log_q is None else rows_contiguous(log_q)
        start, n = 0, log_p.shape[1]
        with ThreadPoolExecutor(self.threads) as pool:
            while start < n:
                # The first samples only try whether the products hold: what they cannot hold is slow.
                size = self.chunk_samples if self.n_samples else min(self.slice_samples, self.chunk_samples)
                part = slice(start, min(start + size, n))
                recomputed = self._add_chunk(pool, log_p[:, part], log_q[:, part])
                start = part.stop
                self.n_recomputed += recomputed
                if recomputed > RECOMPUTED_LIMIT * math.prod(self.shape) * (part.stop - part.start):
                    self._widen()

    def _widen(self):
        """Go on in float64, whose products hold coefficients that float32's cannot."""
        if self.dtype == np.float64:
            return
        self.carry = self._logs()
        self.close()
        self.n_recomputed = 0
        self._setup(np.float64)

    def _add_chunk(self, pool, log_p, log_q):
        """Multiply one chunk into all blocks; returns the number of coefficients recomputed in log space."""
        n = log_p.shape[1]
        a = self._pack(pool, log_p, "a")
        b = a if self.symmetric else self._pack(pool, log_q, "b")
        size, cells = self.tile[0] * self.width, self.tile[0] * self.tile[1]

        def work(block):
            i, j, state = block
            records = np.empty((self.slice_samples // GROUP, 1 + cells), np.int64)
            buffers = aligned((2 * size,), self.dtype), records
            place, rules = (self.tile, (i, j), -(-n // GROUP)), (self.floor, self.cap, self.symmetric)
            return multiply_block((a, b), (log_p, log_q), place, state, buffers, rules)

        self.n_samples += n
        return sum(each(pool, work, self.blocks))

    def _pack(self, pool, values, name):
        """Panels of a chunk, (n_slices, n_panels, entries)."""
        n_panels, n_slices = -(-len(values) // self.width), -(-values.shape[1] // self.slice_samples)
        panels = self._buffer(name, (n_slices, n_panels, self.slice_samples * self.n_classes * self.width))
        stride = values.strides[0] // values.itemsize

        def work(part):
            return pack_panels(values, stride, *part, self.tile, self.slice_samples, panels, NORMALISATION_TOLERANCE)

        step = -(-n_panels // (4 * self.threads))
        if any(each(pool, work, [(k, min(k + step, n_panels)) for k in range(0, n_panels, step)])):
            raise NotNormalised
        return panels

    def _buffer(self, name, shape):
        """A work array that is kept from chunk to chunk: fresh memory costs more than packing."""
        if name not in self._buffers or self._buffers[name].size < math.prod(shape):
            self._buffers[name] = self._borrowed(math.prod(shape), self.dtype)
        return self._buffers[name][: math.prod(shape)].reshape(shape)

    def _borrowed(self, size, dtype):
        """A work array (size,) of any content, from the store of memory; `close` gives it back."""
        n_bytes = int(size) * np.dtype(dtype).itemsize
        buffer = MEMORY.take(n_bytes + ALIGNMENT)
        self._held.append(buffer)
        start = -buffer.ctypes.data % ALIGNMENT
        return buffer[start : start + n_bytes].view(dtype)

    def close(self):
        """Give the work arrays back; the accumulator cannot be used any more."""
        self.blocks, self._buffers = [], {}
        while self._held:
            MEMORY.give(self._held.pop())

    def _logs(self):
        """Sum over samples of log BC so far, float64 (n_p, n_q); only j > i where symmetric."""
        out = np.zeros(self.shape) if self.carry is None else self.carry
        with ThreadPoolExecutor(self.threads) as pool:
            each(pool, lambda block: add_logs(block, self, out), self.blocks)
        return out

    def result(self):
        """Mean of the terms, float64 (n_p, n_q); symmetric with an exactly zero diagonal where that was asked.

        Ends the accumulator: its memory is given back.
        """
        out = self._logs()
        self.close()
        if self.symmetric:
            return mirrored(out, -1.0 / self.n_samples, self.threads)
        np.multiply(out, -1.0 / self.n_samples, out=out)
        return np.maximum(out, 0.0, out=out)


def add_logs(block, total, out):
    """Add the logs of one block of an accumulator to `out` (n_p, n_q)."""
    i, j, state = block
    unit = 2.0 ** -LIMITS[total.dtype][0]
    rules = total.symmetric, total.n_recomputed > 0
    _add_logs(*state, unit, (i * total.tile[0], j * total.width), rules, out)


@numba.njit(nogil=True, cache=True)
def _add_logs(product, exponent, extra, unit, first, rules, out):
    """Add the logs of a block of pairs to `out`, from first = (i, j) on: one log a pair, at the very end.

    rules : (upper_only, with_extra); `extra` is left unread, and its memory untouched, where nothing was recomputed
    """
    n_i, n_j, n_rows, n_columns = product.shape
    upper_only, with_extra = rules
    for u in range(n_i):
        for r in range(min(n_rows, out.shape[0] - first[0] - u * n_rows)):
            i = first[0] + u * n_rows + r
            for v in range(n_j):
                j = first[1] + v * n_columns
                for k in range(max(0, i + 1 - j) if upper_only else 0, min(n_columns, out.shape[1] - j)):
                    log = math.log(product[u, v, r, k] * unit) + exponent[u, v, r, k] * LN2
                    out[i, j + k] += log + extra[u, v, r, k] if with_extra else log


def aligned(shape, dtype):
    """Zeros at a 64-byte boundary, given by the system only when touched."""
    dtype = np.dtype(dtype)
    n_bytes = math.prod(shape) * dtype.itemsize
    buffer = np.zeros(n_bytes + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    return buffer[start : start + n_bytes].view(dtype).reshape(shape)


def rows_contiguous(values):
    """`values` (n, N, C), copied only if the entries of one point do not lie in order."""
    _, _, n_classes = values.shape
    if values.strides[1:] == (n_classes * values.itemsize, values.itemsize) and values.strides[0] >= 0:
        return values
    return np.ascontiguousarray(values)


def mirrored(upper, factor=1.0, threads=1):
    """The upper triangle times `factor`, no less than 0, copied to the lower one, in place; zero on the diagonal.

    Rounding may leave -1e-9 between points that agree, hence the bound.
    """
    with ThreadPoolExecutor(threads) as pool:
        each(pool, lambda k: _mirror(upper, float(factor), k, threads), range(threads))
    return upper


@numba.njit(nogil=True, cache=True)
def _mirror(upper, factor, thread, threads):
    """The squares of every `threads`-th row of squares: upper part, its mirror image, and the diagonal."""
    n = len(upper)
    for i in range(thread * MIRROR_SIDE, n, threads * MIRROR_SIDE):
        last_row = min(i + MIRROR_SIDE, n)
        for j in range(i, n, MIRROR_SIDE):
            last_column = min(j + MIRROR_SIDE, n)
            for u in range(i, last_row):
                for v in range(max(j, u + 1), last_column):
                    upper[u, v] = max(upper[u, v] * factor, 0.0)
            for v in range(j, last_column):  # by columns of the upper part: what is written lies in order
                for u in range(i, min(last_row, v)):
                    upper[v, u] = upper[u, v]
        for u in range(i, last_row):
            upper[u, u] = 0.0


def each(pool, work, items):
    """Results of `work` on all items, in this thread if the pool has only one."""
    if pool._max_workers == 1 or len(items) == 1:
        return [work(item) for item in items]
    return list(pool.map(work, items))
