"""Threads that share the samples instead of the pairs: each has sums of its own, which are added at the very end.

Threads that share blocks of pairs wait for each other at the end of every chunk of samples, and pack what the others
need; for a few thousand points that costs as much as it gains. Samples are independent, so every thread runs the
one-threaded accumulator of `bhattacharyya` on a part of them, and nobody waits. The price is one state of 16 bytes a
pair for each; where that is too much, fewer parts are made and threads share blocks within each.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numba
import numpy as np

from manifold_utils.distances.bhattacharyya import BhattacharyyaSum, add_logs, each, mirrored
from manifold_utils.distances.simd import GROUP, LIMITS

STATE_BYTES = 16  # of a pair: product, exponent and the logs of what was recomputed
ALL_STATES = 2**29  # bytes of the states of all parts together
CHUNKS = 16  # of a part's own chunks of samples, that one call of `add` should bring to each part


def n_parts(n_pairs, threads):
    """Parts into which the samples are divided: one a thread, as far as the states may be held; a divisor of threads.

    Examples
    --------
    >>> n_parts(10**6, 4), n_parts(2 * 10**7, 4), n_parts(10**9, 4)
    (4, 1, 1)
    """
    fits = max(1, ALL_STATES // (STATE_BYTES * n_pairs))
    return max(n for n in range(1, threads + 1) if threads % n == 0 and n <= fits)


class SharedSum:
    """Sum over samples of -log BC for all pairs, threads sharing samples; the protocol of `BhattacharyyaSum`.

    Parameters
    ----------
    n_p, n_q, n_classes, dtype, cap : as of `BhattacharyyaSum`
    threads : int
    parts : int, at most `threads` and a divisor of it
    """

    def __init__(self, n_p, n_q, n_classes, *, dtype=np.float32, cap=None, threads, parts):
        options = {"dtype": dtype, "cap": cap, "threads": threads // parts}
        self.threads, self.dtype = threads, np.dtype(dtype)
        self.parts = [BhattacharyyaSum(n_p, n_q, n_classes, **options) for _ in range(parts)]
        self.symmetric, self.shape = self.parts[0].symmetric, self.parts[0].shape

    @property
    def chunk_samples(self):
        """Samples that `add` wants at a time; it takes any number."""
        return CHUNKS * len(self.parts) * self.parts[0].chunk_samples

    def add(self, log_p, log_q=None):
        """Add samples, a stretch of them to each part: log_p (n_p, n, C) and, if not symmetric, log_q (n_q, n, C)."""
        n = log_p.shape[1]
        stretch = -(-n // (GROUP * len(self.parts))) * GROUP  # equal shares; only groups must stay whole
        shares = [(part, slice(k * stretch, (k + 1) * stretch)) for k, part in enumerate(self.parts) if k * stretch < n]

        def work(share):
            part, samples = share
            part.add(log_p[:, samples], None if log_q is None else log_q[:, samples])

        with ThreadPoolExecutor(len(self.parts)) as pool:
            each(pool, work, shares)

    def result(self):
        """Mean of the terms, float64 (n_p, n_q), as of `BhattacharyyaSum`."""
        carried = [part.carry for part in self.parts if part.carry is not None]
        out = sum(carried[1:], carried[0]) if carried else np.zeros(self.shape)
        alike = [[part for part in self.parts if part.dtype == dtype] for dtype in LIMITS]
        for first, *others in filter(None, alike):
            first.n_recomputed = sum(part.n_recomputed for part in (first, *others))
        with ThreadPoolExecutor(self.threads) as pool:
            for first, *others in filter(None, alike):  # within a part no two blocks write to the same entries
                each(pool, partial(_finish, first, others, out), range(len(first.blocks)))
        for part in self.parts:
            part.close()
        factor = -1.0 / sum(part.n_samples for part in self.parts)
        if self.symmetric:
            return mirrored(out, factor, self.threads)
        np.multiply(out, factor, out=out)
        return np.maximum(out, 0.0, out=out)


def _finish(first, others, out, k):
    """Add the logs of block k of some parts to `out`: products are multiplied, so that one log a pair is enough."""
    state = first.blocks[k][2]
    restart = first.dtype.type(2.0 ** LIMITS[first.dtype][0])
    for part in others:
        merge(*state[:2], *part.blocks[k][2][:2], restart, LIMITS[first.dtype][0])
        if part.n_recomputed:
            np.add(state[2], part.blocks[k][2][2], out=state[2])
    add_logs(first.blocks[k], first, out)


@numba.njit(nogil=True, cache=True)
def merge(product, exponent, other_product, other_exponent, restart, power):
    """Multiply another state into one, in place; a product holds 2^power times its value, between 2^-power and 2."""
    product, exponent = product.ravel(), exponent.ravel()
    other_product, other_exponent = other_product.ravel(), other_exponent.ravel()
    one, unit = restart / restart, restart / restart / restart
    for k in range(product.size):
        factor, moved = other_product[k], other_exponent[k]
        if factor < one:  # else the two together might leave the range of the dtype
            factor *= restart
            moved -= power
        both = (product[k] * unit) * factor
        if both < one:
            both *= restart
            moved -= power
        product[k] = both
        exponent[k] += moved
