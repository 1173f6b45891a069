"""From products to distances: one logarithm a pair, at the very end, written to both halves of the matrix.

What the accumulators hold of a pair is a product, the power of two that was taken out of it, and the logs of samples
that no product could hold. The logarithm is a series in vector code, as exact as float64; the library's, called entry
by entry, would cost as much as fifty samples. Nothing here knows how the products came about.
"""

import math
from concurrent.futures import ThreadPoolExecutor, wait

import numba
import numpy as np

from manifold_utils.distances.simd import LIMITS

LN2 = math.log(2.0)
SQRT2 = math.sqrt(2.0)
SERIES = np.array([2.0 / (2 * k + 1) for k in reversed(range(11))])  # of 2 artanh(s) / s, s^2 < .0295: to 1e-18 of it
MANTISSA = {np.dtype("f4"): (np.int32, 23, 127), np.dtype("f8"): (np.int64, 52, 1023)}  # integer, bits, bias
TALL = 8  # register tiles whose distances are written together: rows of their mirror image are then long enough
MIRROR_SIDE = 32  # side of the squares in which a triangle is copied to the other


def each(pool, work, items):
    """Results of `work` on all items. The calling thread works too: a scheduler that finds it asleep may put all
    others on its core, and move them only after milliseconds."""
    results, waiting = [None] * len(items), iter(range(len(items)))  # threads take the next number, one at a time

    def take():
        for k in waiting:
            results[k] = work(items[k])

    others = [pool.submit(take) for _ in range(min(pool._max_workers, len(items)) - 1)]
    try:
        take()
    finally:
        wait(others)  # also where one fails: the others must not write to memory that is handed on
    for other in others:
        other.result()
    return results


def write(block, out, *, factor, least, into, carried, with_extra, upper_only):
    """Write max(least, factor * log) of a block of pairs to `out`.

    Parameters
    ----------
    block : ((i, j), (product, exponent, extra)): its first pair, and its state (n_i, n_j, MR, NR)
    out : float64 array of all pairs
    factor, least : float
    into : (upright, turned), whether pair (i, j) goes to out[i, j] and to out[j, i]
    carried : bool, whether the entries of `out` are logs to be added first
    with_extra : bool; `extra` is left unread, and its memory untouched, where nothing was recomputed
    upper_only : bool, leave out pairs with j <= i
    """
    first, (product, exponent, extra) = block
    integer, bits, bias = MANTISSA[product.dtype]
    form = bits, 2.0**-bits, bias + LIMITS[product.dtype][0]
    words = product.view(integer), exponent
    rules = with_extra, carried, upper_only, into[0], into[1]
    _write(words, extra, form, first, (float(factor), float(least)), rules, out)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _logs_of(words, exponent, form, out):
    """Logs of products: 2 artanh of (m - 1) / (m + 1) for the mantissa m in [1/sqrt 2, sqrt 2], and powers of two."""
    bits, unit, bias = form
    mask = (np.int64(1) << bits) - 1
    for k in range(len(out)):
        word = np.int64(words[k])
        mantissa = 1.0 + np.float64(word & mask) * unit
        large = mantissa > SQRT2
        mantissa = 0.5 * mantissa if large else mantissa
        power = (word >> bits) + np.int64(exponent[k]) - bias + (1 if large else 0)
        s = (mantissa - 1.0) / (mantissa + 1.0)
        z = s * s
        total = 0.0
        for term in SERIES:
            total = total * z + term
        out[k] = s * total + np.float64(power) * LN2


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _write(state, extra, form, first, scale, rules, out):
    """See `write`. Columns of tiles from left to right, and down within each: turned writes then lie in order."""
    (words, exponent), (factor, least) = state, scale
    with_extra, carried, upper_only, upright, turned = rules
    n_i, n_j, n_rows, n_columns = words.shape
    values = np.empty((TALL * n_rows, n_columns))
    m, n = (out.shape[0], out.shape[1]) if upright else (out.shape[1], out.shape[0])
    for v in range(n_j):
        j = first[1] + v * n_columns
        last_k = min(n_columns, n - j)
        for top in range(0, n_i, TALL):
            i = first[0] + top * n_rows
            last_r = min(min(TALL, n_i - top) * n_rows, m - i)
            if upper_only:
                last_r = min(last_r, j + last_k - 1 - i)
            for r in range(last_r):
                row, u, w = values[r], top + r // n_rows, r % n_rows
                _logs_of(words[u, v, w], exponent[u, v, w], form, row)
                if with_extra:
                    for k in range(last_k):
                        row[k] += extra[u, v, w, k]
                start = max(0, i + r + 1 - j) if upper_only else 0
                if carried:
                    for k in range(start, last_k):
                        row[k] += out[i + r, j + k] if upright else out[j + k, i + r]
                for k in range(last_k):
                    row[k] = max(row[k] * factor, least)
                if upright:
                    for k in range(start, last_k):
                        out[i + r, j + k] = row[k]
            if turned:
                for k in range(last_k):
                    for r in range(min(last_r, j + k - i) if upper_only else last_r):
                        out[j + k, i + r] = values[r, k]


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
