"""Accumulators: chunks of samples in, the mean divergence of all pairs out (PAPER.md section 1).

Each metric is a sum over samples, so an accumulator takes the predictions of the same points chunk by chunk, in any
number of chunks, and holds state of the size of its result only. `distances.pairwise` and `tiles` drive the same
classes. Each thread has blocks of pairs of its own and packs what they need, some of it twice over: to wait for the
others at every chunk would cost more. Nothing here reads files; only the sums of probabilities are validated.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numba
import numpy as np

from manifold_utils.distances import finishing
from manifold_utils.distances.blocks import NARROW, cut, padded, shared_out
from manifold_utils.distances.finishing import each
from manifold_utils.distances.memory import ZEROS, borrowed
from manifold_utils.distances.simd import GROUP, LIMITS, multiply_block, pack_and_multiply, pack_panels, register_tile
from manifold_utils.geometry import NORMALISATION_TOLERANCE

SLICE_ENTRIES = 320  # samples * classes of one slice: a panel of NR points then fits in the first-level cache
CHUNK_BYTES = 2 * 2**20  # packed panels that a thread holds at a time: more would leave the caches
CHUNKS = 16  # chunks that each thread goes through before threads wait for each other
RECOMPUTED_LIMIT = 1e-3  # share of coefficients recomputed in log space from which float64 products are faster
MANY_CLASSES = 256  # from which a sample is a group of its own: panels of more would not fit the caches
TRIED = 2  # slices of samples up to which it is not worth while to try the first one alone


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
        # Columns come in vectors: where few points meet many, the few are rows, and less is computed for nothing.
        self.turned = not self.symmetric and padded(*self.shape[::-1], dtype) < padded(*self.shape, dtype)
        self.sides = self.shape[::-1] if self.turned else self.shape
        # Where few points meet many, each block packs its own columns when it needs them, in its nearest cache.
        self.narrow = not self.symmetric and self.sides[0] <= NARROW
        self.n_classes, self.n_samples, self.threads = n_classes, 0, threads or n_threads()
        self.cap = math.inf if cap is None else float(cap)
        self.carry = None  # logs of the samples multiplied before a change of dtype
        self.n_recomputed = 0  # coefficients that went to `extra` of the states
        self._overflows = False  # whether the last samples' coefficients were more than float32's products hold
        self._held, self.pool = ExitStack(), ThreadPoolExecutor(self.threads)
        self._setup(dtype)

    def _setup(self, dtype):
        self.dtype = np.dtype(dtype)
        # A floor of zero never binds: such a clamp is known to the exact route alone, which then takes every group.
        self.floor = None if self.cap == math.inf else self.dtype.type(math.exp(-self.cap))
        self.tile = register_tile(self.dtype)
        self.width = self.tile[1] * self.tile[2]
        self.alone = 1 if self.n_classes >= MANY_CLASSES else None
        self.group = 1 if self.alone else GROUP
        self.slice_samples = max(1, SLICE_ENTRIES // (self.n_classes * self.group)) * self.group
        self.blocks, self._buffers, self._fresh = self._make_blocks(), {}, True
        self.groups = shared_out(self.blocks, self.tile, self.threads, self.symmetric)

    def _make_blocks(self):
        """[(first row panel, first column panel, state)], state = product, exponent, extra of a block of pairs.

        Products and exponents have any content, until the block's thread begins with its first samples.
        """
        rules = {"symmetric": self.symmetric, "narrow": self.narrow, "threads": self.threads}
        places = cut(self.sides, self.tile, **rules)
        # one array for all blocks: fresh memory is given in large pages, and memory of an earlier matrix fits again
        ends = np.cumsum([math.prod(shape) for _, _, shape in places])
        integer = np.int32 if self.dtype.itemsize == 4 else np.int64
        product, exponent = (self._borrowed(ends[-1], dtype) for dtype in (self.dtype, integer))
        self._zeros = ZEROS.take(8 * int(ends[-1]))  # of what was recomputed, which is rare: mostly never written to
        extra = self._zeros.view(np.float64)
        blocks = []
        for (i, j, shape), end in zip(places, ends, strict=True):
            part = slice(end - math.prod(shape), end)
            state = tuple(values[part].reshape(shape) for values in (product, exponent, extra))
            blocks.append((i // self.tile[0], j // self.width, state))
        return blocks

    @property
    def _chunk(self):
        """Samples that a thread packs at a time, or nearly so."""
        most = max(group.n_panels(self.narrow) for group in self.groups) * self.width
        entries = CHUNK_BYTES // (self.dtype.itemsize * most)
        return max(1, entries // (self.n_classes * self.slice_samples)) * self.slice_samples

    @property
    def chunk_samples(self):
        """Samples that `add` wants at a time; it takes any number."""
        return CHUNKS * self._chunk

    def add(self, log_p, log_q=None):
        """Add samples: log_p (n_p, n, C) and, if not symmetric, log_q (n_q, n, C), float32 or float64 natural logs."""
        log_p = rows_contiguous(log_p)
        log_q = log_p if log_q is None else rows_contiguous(log_q)
        if self.turned:
            log_p, log_q = log_q, log_p
        start, n = 0, log_p.shape[1]
        while start < n:
            if self._overflows:
                self._widen()
            # What the products cannot hold is slow: a slice is tried first, and then threads go on without waiting.
            trial = not self.n_samples and n > TRIED * self.slice_samples
            part = slice(start, min(start + (self.slice_samples if trial else self.chunk_samples), n))
            try:
                recomputed = self._add_part(log_p[:, part], log_q[:, part])
            except NotNormalised:
                self._zeros = None  # some blocks may have written to it
                raise
            start = part.stop
            self.n_recomputed += recomputed
            self._overflows = recomputed > RECOMPUTED_LIMIT * math.prod(self.shape) * (part.stop - part.start)

    def _widen(self):
        """Go on in float64, whose products hold coefficients that float32's cannot."""
        if self.dtype == np.float64:
            return
        self.carry = np.zeros(self.shape) if self.carry is None else self.carry
        self._write(self.carry, factor=1.0, least=-math.inf, into=(not self.turned, self.turned), carried=True)
        self._give_back()
        self.n_recomputed = 0
        self._setup(np.float64)

    def _add_part(self, log_p, log_q):
        """Every thread multiplies some chunks of samples into its own blocks; returns the coefficients recomputed."""
        n = log_p.shape[1]
        n_chunks = max(1, round(n / self._chunk))
        step = math.ceil(n / n_chunks / self.slice_samples) * self.slice_samples
        fresh, self._fresh = self._fresh, False
        self.n_samples += n

        def work(k):
            group = self.groups[k]
            if fresh:
                for _, _, (product, exponent, _) in group.blocks:
                    product[...], exponent[...] = 2.0 ** LIMITS[self.dtype][0], 0
            parts = (slice(start, start + step) for start in range(0, n, step))
            return sum(self._add_chunk(group, (log_p[:, part], log_q[:, part]), k) for part in parts)

        return sum(each(self.pool, work, range(len(self.groups))))

    def _add_chunk(self, group, logs, k):
        """Multiply one chunk into the blocks of group k."""
        n, cells, size = logs[0].shape[1], self.tile[0] * self.tile[1], 2 * self.tile[0] * self.width
        panels = [self._pack(logs[0], group.rows, (k, 0))]
        if not self.narrow:
            panels.append(panels[0] if self.symmetric else self._pack(logs[1], group.columns, (k, 1)))
        work = self._buffer((k, "scratch"), (size,)), np.empty((self.slice_samples // self.group, 1 + cells), np.int64)
        rules, n_recomputed = (self.floor, self.cap, self.symmetric), 0
        for i, j, state in group.blocks:
            place = self.tile, (i, j), -(-n // self.group), self.alone
            if self.narrow:
                found = self._multiply_narrow(panels[0], logs, place, state, work, rules, k)
            else:
                found = multiply_block(tuple(panels), logs, place, state, work, rules)
            n_recomputed += found
        return n_recomputed

    def _multiply_narrow(self, panels, logs, place, state, work, rules, k):
        """`multiply_block` where columns are packed as they are needed."""
        n_j, j = state[0].shape[1], place[1][1]
        columns = logs[1][j * self.width : (j + n_j) * self.width]
        own = self._buffer((k, 1), (1, n_j, panels.shape[2]))
        packing = _stride(columns), (self.slice_samples, self.group), NORMALISATION_TOLERANCE
        found = pack_and_multiply((panels, own), (logs[0], columns), place, state, work, rules, packing)
        if found < 0:
            raise NotNormalised
        return found

    def _pack(self, values, runs, name):
        """Panels of a chunk, (n_slices, n_panels, entries), of which those in `runs` are filled."""
        n_panels, n_slices = -(-len(values) // self.width), -(-values.shape[1] // self.slice_samples)
        panels = self._buffer(name, (n_slices, n_panels, self.slice_samples * self.n_classes * self.width))
        packing = self.tile, (self.slice_samples, self.group), panels, NORMALISATION_TOLERANCE
        if any([pack_panels(values, _stride(values), *run, *packing) for run in runs]):
            raise NotNormalised
        return panels

    def _buffer(self, name, shape):
        """A work array that is kept from chunk to chunk: fresh memory costs more than packing."""
        if name not in self._buffers or self._buffers[name].size < math.prod(shape):
            self._buffers[name] = self._borrowed(math.prod(shape), self.dtype)
        return self._buffers[name][: math.prod(shape)].reshape(shape)

    def _borrowed(self, size, dtype):
        """A work array (size,) of any content, from the store of memory; `close` gives it back."""
        return self._held.enter_context(borrowed((int(size),), dtype))

    def close(self):
        """Give the work arrays and the threads back; the accumulator cannot be used any more."""
        self._give_back()
        self.pool.shutdown(wait=False)

    def _give_back(self):
        self.blocks, self._buffers = [], {}
        if self._zeros is not None and not self.n_recomputed:
            ZEROS.give(self._zeros)
        self._held.close()

    def _write(self, out, **options):
        """Write a function of the logs to `out` (n_p, n_q), as `finishing.write`; threads share the blocks."""

        def work(block):
            i, j, state = block
            finishing.write(((i * self.tile[0], j * self.width), state), out, **options)

        options |= {"with_extra": self.n_recomputed > 0, "upper_only": self.symmetric}
        each(self.pool, work, self.blocks)

    def result(self):
        """Mean of the terms, float64 (n_p, n_q); symmetric with an exactly zero diagonal where that was asked.

        Ends the accumulator: its memory is given back.
        """
        out = np.empty(self.shape) if self.carry is None else self.carry
        into = (True, True) if self.symmetric else (not self.turned, self.turned)
        self._write(out, factor=-1.0 / self.n_samples, least=0.0, into=into, carried=self.carry is not None)
        if self.symmetric:
            np.fill_diagonal(out, 0.0)
        self.close()
        return out


def _stride(values):
    """Elements from one point to the next."""
    return values.strides[0] // values.itemsize


def rows_contiguous(values):
    """`values` (n, N, C), copied only if the entries of one point do not lie in order."""
    _, _, n_classes = values.shape
    if values.strides[1:] == (n_classes * values.itemsize, values.itemsize) and values.strides[0] >= 0:
        return values
    return np.ascontiguousarray(values)
