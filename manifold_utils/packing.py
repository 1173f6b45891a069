"""Panels for the micro-kernel: sqrt(p) = exp(log p / 2), checked, transposed and packed in one pass over the input.

A panel holds one slice of samples of NR points, [sample][class][point], so that the kernel reads it in order.
exp is a polynomial in vector code: correctly rounded but for a few last places, and several times faster than a call.
This module does not multiply (`microkernel` does) and does not say which point is wrong: it only counts.
"""

import math

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from manifold_utils.microkernel import GROUP, SMALLEST_LOG, register_tile
from manifold_utils.vector_code import VectorCode

LARGEST_LOG = 16.0  # log p above it is packed as it, so that a sum of probabilities shows the error without overflow
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440054690582767e-4  # ln 2 in two parts: n * LN2_HIGH is exact
AHEAD_BYTES = 512  # read ahead in each row: it is left for its neighbours before a processor notices a pattern
TERMS = {4: 7, 8: 13}  # degree of exp's Taylor polynomial on |r| <= ln(2)/2: remainder 5e-9 and 4e-18


class _PanelCode(VectorCode):
    """Vector code of `_roots_of_rows` and `_panel_of_roots`."""

    def exp_half(self, x, smallest):
        """exp(x / 2), x taken into [smallest, LARGEST_LOG]; NaN stays NaN."""
        low, high = self.number(smallest), self.number(LARGEST_LOG)
        x = self.b.select(self.b.fcmp_ordered("<", x, low), low, x)
        x = self.b.select(self.b.fcmp_ordered(">", x, high), high, x)
        magic = self.number(1.5 * 2.0**self.mantissa_bits)  # adding it leaves the nearest integer in the low bits
        t = self.fma(x, self.number(0.5 / math.log(2)), magic)
        n = self.b.fsub(magic, t)  # minus the integer
        r = self.fma(n, self.number(2 * LN2_LOW), self.fma(n, self.number(2 * LN2_HIGH), x))
        degree = TERMS[self.dtype.itemsize]
        total = self.number(0.5**degree / math.factorial(degree))
        for k in reversed(range(degree)):
            total = self.fma(total, r, self.number(0.5**k / math.factorial(k)))
        power = self.b.shl(self.b.bitcast(t, self.vi), self.integer(self.mantissa_bits))
        return self.b.bitcast(self.b.add(self.b.bitcast(total, self.vi), power), self.vf)

    def transpose(self, rows):
        """Transposition of `lanes` vectors: interleaving within 16-byte parts, then exchange of parts."""
        rows, part = list(rows), 16 // self.dtype.itemsize
        step = 1
        while step < part:
            order = [
                k for s in range(0, self.lanes, part) for t in range(s, s + part // 2, step)
                for k in (*range(t, t + step), *range(self.lanes + t, self.lanes + t + step))
            ]  # fmt: skip
            pairs = [(base + i, base + step + i) for base in range(0, self.lanes, 2 * step) for i in range(step)]
            halves = order, [k + part // 2 for k in order]
            rows = [self.shuffle(rows[i], rows[j], half) for i, j in pairs for half in halves]
            step *= 2
        while step < self.lanes:
            low = [k if not k & step else self.lanes + k - step for k in range(self.lanes)]
            high = [k + step if not k & step else self.lanes + k for k in range(self.lanes)]
            for i in range(self.lanes):
                if not i & step:
                    x, y = rows[i], rows[i + step]
                    rows[i], rows[i + step] = self.shuffle(x, y, low), self.shuffle(x, y, high)
            step *= 2
        return rows


@intrinsic
def _roots_of_rows(typingctx, values, starts, n_columns, out, out_at, n_points):
    """W rows of log-probabilities, n_columns >= W long, to columns of sqrt(p): out[out_at + t * n_points + row].

    values : float32 or float64, read at starts[row] + t; exp is taken in the wider of the two dtypes
    """
    in_dtype, out_dtype = np.dtype(values.dtype.name), np.dtype(out.dtype.name)
    signature = types.void(values, starts, types.int64, out, types.int64, types.int64)

    def codegen(context, b, sig, args):
        data, offsets, target = (context.make_array(sig.args[k])(context, b, args[k]).data for k in (0, 1, 3))
        lanes = register_tile(out_dtype)[2]
        code = _PanelCode(b, max(in_dtype, out_dtype), lanes)
        turned = _PanelCode(b, out_dtype, lanes)
        narrow = [VectorCode(b, dtype, lanes).vf for dtype in (in_dtype, out_dtype)]
        bases = [code.at(data, b.load(code.at(offsets, r))) for r in range(lanes)]
        last = b.sub(args[2], code.i64(lanes))
        blocks = b.sdiv(b.add(args[2], code.i64(lanes - 1)), code.i64(lanes))
        with cgutils.for_range(b, blocks) as loop:
            t = b.mul(loop.index, code.i64(lanes))
            t = b.select(b.icmp_signed("<", t, last), t, last)  # the last block overlaps its neighbour
            rows = [code.load(base, t, narrow[0], align=in_dtype.itemsize) for base in bases]
            ahead = b.add(t, code.i64(AHEAD_BYTES // in_dtype.itemsize))
            for base in bases:
                code.prefetch(base, ahead)
            if in_dtype.itemsize < code.dtype.itemsize:
                rows = [b.fpext(x, code.vf) for x in rows]
            rows = [code.exp_half(x, SMALLEST_LOG[out_dtype]) for x in rows]
            if out_dtype.itemsize < code.dtype.itemsize:
                rows = [b.fptrunc(x, narrow[1]) for x in rows]
            target_row = b.add(args[4], b.mul(t, args[5]))
            for k, column in enumerate(turned.transpose(rows)):
                code.store(
                    column, target, b.add(target_row, b.mul(code.i64(k), args[5])), align=lanes * out_dtype.itemsize
                )
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _sums_are_wrong(typingctx, panel, at, n_samples, n_classes, tolerance):
    """1 where any |sum_c p - 1| of a packed panel of NR points from `at` is above the tolerance or NaN, else 0."""
    dtype = np.dtype(panel.dtype.name)
    signature = types.int64(panel, types.int64, types.int64, types.int64, panel.dtype)

    def codegen(context, b, sig, args):
        data = context.make_array(sig.args[0])(context, b, args[0]).data
        _, n_vectors, lanes = register_tile(dtype)
        code = VectorCode(b, dtype, lanes)
        sums = [cgutils.alloca_once(b, code.vf) for _ in range(n_vectors)]
        wrong = cgutils.alloca_once_value(b, ir.Constant(ir.VectorType(ir.IntType(1), lanes), [0] * lanes))
        with cgutils.for_range(b, args[2]) as samples:
            for s in sums:
                b.store(code.number(-1), s)
            with cgutils.for_range(b, args[3]) as classes:
                t = b.add(b.mul(samples.index, args[3]), classes.index)
                source = b.add(args[1], b.mul(t, code.i64(n_vectors * lanes)))
                for v, s in enumerate(sums):
                    x = code.load(data, b.add(source, code.i64(v * lanes)))
                    b.store(code.fma(x, x, b.load(s)), s)
            for excess in map(b.load, sums):
                size = b.select(b.fcmp_ordered("<", excess, code.number(0)), b.fneg(excess), excess)
                right = b.fcmp_ordered("<=", size, code.splat(args[4]))
                b.store(b.or_(b.load(wrong), b.not_(right)), wrong)
        return b.zext(code.any(b.load(wrong)), code.i64)

    return signature, codegen


@numba.njit(nogil=True, cache=True)
def pack_panels(values, stride, first, last, tile, slice_samples, panels, tolerance):
    """Pack panels first..last-1 of NR points each.

    Parameters
    ----------
    values : array (n, n_samples, C), natural logs; each point contiguous, points `stride` elements apart
    tile : (MR, NV, W); slice_samples : samples a slice, a multiple of GROUP
    panels : array (n_slices, n_panels, slice_samples * C * NR), 64-byte aligned
    tolerance : largest |sum of probabilities - 1|

    Returns
    -------
    int, the number of (slice, panel) with a sum of probabilities off by more (0: all is well)
    """
    n_points, n_samples, n_classes = values.shape
    _, n_vectors, n_lanes = tile
    width = n_vectors * n_lanes
    starts, target = np.empty(n_lanes, np.int64), panels.ravel()
    wrong = 0
    for panel in range(first, last):
        for s in range(panels.shape[0]):  # slices within: the rows are read on where they were left
            begin = s * slice_samples
            filled = min(slice_samples, n_samples - begin)
            padded = (filled + GROUP - 1) // GROUP * GROUP
            at = (s * panels.shape[1] + panel) * panels.shape[2]
            for v in range(n_vectors):
                row = panel * width + v * n_lanes
                for lane in range(n_lanes):  # rows beyond the last point repeat it: their results are not read
                    starts[lane] = min(row + lane, n_points - 1) * stride + begin * n_classes
                if filled * n_classes >= n_lanes:
                    _roots_of_rows(values, starts, filled * n_classes, target, at + v * n_lanes, width)
                else:
                    _short_rows(values, row, begin, filled, target, at + v * n_lanes, n_lanes, width)
            for t in range(filled * n_classes, padded * n_classes):  # missing samples of a group: coefficient 1
                target[at + t * width : at + (t + 1) * width] = 1.0 if t % n_classes == 0 else 0.0
            wrong += _sums_are_wrong(target, at, padded, n_classes, target.dtype.type(tolerance))
    return wrong


@numba.njit(nogil=True, cache=True)
def _short_rows(values, first_row, begin, filled, target, at, n_lanes, width):
    """`_roots_of_rows` for slices shorter than a vector, entry by entry."""
    smallest = -174.0 if target.itemsize == 4 else -1416.0
    for lane in range(n_lanes):
        point = min(first_row + lane, len(values) - 1)
        for n in range(filled):
            for c in range(values.shape[2]):
                x = np.float64(values[point, begin + n, c])
                root = 0.0 if x < smallest else math.exp(0.5 * min(x, LARGEST_LOG))
                target[at + (n * values.shape[2] + c) * width + lane] = root
