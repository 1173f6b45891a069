"""Panels for the micro-kernel: sqrt(p) = exp(log p / 2), checked, transposed and packed in one pass over the input.

A panel holds one slice of samples of NR (or MR) points, [sample][class][point], so that the kernel reads it in order.
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
TERMS = {4: 7, 8: 13}  # degree of exp's Taylor polynomial on |r| <= ln(2)/2: remainder 5e-9 and 4e-18


class _PanelCode(VectorCode):
    """Vector code of `_roots_of_rows` and `_panel_of_roots`."""

    def exp_half(self, x, smallest):
        """exp(x / 2), and 0 where x < smallest; NaN stays NaN."""
        low = self.b.fcmp_ordered("<", x, self.number(smallest))
        y = self.b.select(low, self.number(smallest), x)
        y = self.b.select(self.b.fcmp_ordered(">", y, self.number(LARGEST_LOG)), self.number(LARGEST_LOG), y)
        y = self.b.fmul(y, self.number(0.5))
        magic = self.number(1.5 * 2.0**self.mantissa_bits)  # adding it leaves the nearest integer in the low bits
        t = self.fma(y, self.number(1 / math.log(2)), magic)
        n = self.b.fsub(magic, t)  # minus the integer
        r = self.fma(n, self.number(LN2_LOW), self.fma(n, self.number(LN2_HIGH), y))
        degree = TERMS[self.dtype.itemsize]
        total = self.number(1 / math.factorial(degree))
        for k in reversed(range(degree)):
            total = self.fma(total, r, self.number(1 / math.factorial(k)))
        power = self.b.shl(self.b.bitcast(t, self.vi), self.integer(self.mantissa_bits))
        value = self.b.bitcast(self.b.add(self.b.bitcast(total, self.vi), power), self.vf)
        return self.b.select(low, self.number(0), value)

    def transpose(self, rows):
        """Square transposition by exchange of ever larger blocks."""
        rows, step = list(rows), 1
        while step < self.lanes:
            for i in range(self.lanes):
                if i & step:
                    continue
                x, y = rows[i], rows[i + step]
                low = [k if not k & step else self.lanes + k - step for k in range(self.lanes)]
                high = [k + step if not k & step else self.lanes + k for k in range(self.lanes)]
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
        narrow = [VectorCode(b, dtype, lanes).vf for dtype in (in_dtype, out_dtype)]
        bases = [code.at(data, b.load(code.at(offsets, r))) for r in range(lanes)]
        last = b.sub(args[2], code.i64(lanes))
        blocks = b.sdiv(b.add(args[2], code.i64(lanes - 1)), code.i64(lanes))
        with cgutils.for_range(b, blocks) as loop:
            t = b.mul(loop.index, code.i64(lanes))
            t = b.select(b.icmp_signed("<", t, last), t, last)  # the last block overlaps its neighbour
            rows = [code.load(base, t, narrow[0], align=in_dtype.itemsize) for base in bases]
            if in_dtype.itemsize < code.dtype.itemsize:
                rows = [b.fpext(x, code.vf) for x in rows]
            rows = [code.exp_half(x, SMALLEST_LOG[out_dtype]) for x in rows]
            if out_dtype.itemsize < code.dtype.itemsize:
                rows = [b.fptrunc(x, narrow[1]) for x in rows]
            target_row = b.add(args[4], b.mul(t, args[5]))
            for k, column in enumerate(code.transpose(rows)):
                code.store(
                    column, target, b.add(target_row, b.mul(code.i64(k), args[5])), align=lanes * out_dtype.itemsize
                )
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _split_and_check(typingctx, panel, at, n_samples, n_classes, out, out_at, out_step, split, tolerance):
    """Copy a packed panel of NR points into NR / MR panels of MR points and check its sums of probabilities.

    panel : [sample][class][NR] from `at`; out : panel k goes to out_at + k * out_step; split = 0 copies nothing
    Returns 1 where any |sum_c p - 1| > tolerance or is NaN, else 0.
    """
    dtype = np.dtype(panel.dtype.name)
    i64 = types.int64
    signature = i64(panel, i64, i64, i64, out, i64, i64, i64, panel.dtype)

    def codegen(context, b, sig, args):
        data, target = (context.make_array(sig.args[k])(context, b, args[k]).data for k in (0, 4))
        n_rows, n_vectors, lanes = register_tile(dtype)
        code = VectorCode(b, dtype, lanes)
        width = n_vectors * lanes
        sums = [cgutils.alloca_once(b, code.vf) for _ in range(n_vectors)]
        wrong = cgutils.alloca_once_value(b, ir.Constant(ir.VectorType(ir.IntType(1), lanes), [0] * lanes))
        piece = ir.VectorType(code.vf.element, n_rows)
        with cgutils.for_range(b, args[2]) as samples:
            for s in sums:
                b.store(code.number(-1), s)
            with cgutils.for_range(b, args[3]) as classes:
                t = b.add(b.mul(samples.index, args[3]), classes.index)
                source = b.add(args[1], b.mul(t, code.i64(width)))
                for v, s in enumerate(sums):
                    x = code.load(data, b.add(source, code.i64(v * lanes)))
                    b.store(code.fma(x, x, b.load(s)), s)
                with b.if_then(b.icmp_signed("!=", args[7], code.i64(0))):
                    place = b.add(args[5], b.mul(t, code.i64(n_rows)))
                    for k in range(width // n_rows):
                        values = code.load(data, b.add(source, code.i64(k * n_rows)), piece, align=dtype.itemsize)
                        code.store(values, target, b.add(place, b.mul(code.i64(k), args[6])), align=dtype.itemsize)
            limit = code.splat(args[8])
            for s in sums:
                excess = b.load(s)
                size = b.select(b.fcmp_ordered("<", excess, code.number(0)), b.fneg(excess), excess)
                b.store(b.or_(b.load(wrong), b.not_(b.fcmp_ordered("<=", size, limit))), wrong)
        return b.zext(code.any(b.load(wrong)), code.i64)

    return signature, codegen


@numba.njit(nogil=True, cache=True)
def pack_panels(values, stride, first, last, tile, slice_samples, a, b, scratch, tolerance):
    """Pack panels first..last-1 of NR points each.

    Parameters
    ----------
    values : array (n, n_samples, C), natural logs; each point contiguous, points `stride` elements apart
    tile : (MR, NV, W); slice_samples : samples a slice, a multiple of GROUP
    a, b : arrays (n_slices, n_panels, slice_samples * C * (MR or NR)), 64-byte aligned; either may be empty: not wanted
    scratch : array (slice_samples * C * NR,), used where b is not wanted
    tolerance : largest |sum of probabilities - 1|

    Returns
    -------
    int, the number of (slice, panel) with a sum of probabilities off by more (0: all is well)
    """
    n_points, n_samples, n_classes = values.shape
    n_rows, n_vectors, n_lanes = tile
    width = n_vectors * n_lanes
    starts = np.empty(n_lanes, np.int64)
    wrong = 0
    for s in range(max(a.shape[0], b.shape[0])):
        begin = s * slice_samples
        filled = min(slice_samples, n_samples - begin)
        padded = (filled + GROUP - 1) // GROUP * GROUP
        for panel in range(first, last):
            target, at = (b.ravel(), (s * b.shape[1] + panel) * b.shape[2]) if b.size else (scratch, 0)
            for v in range(n_vectors):
                for lane in range(n_lanes):  # rows beyond the last point repeat it: their results are not read
                    starts[lane] = min(panel * width + v * n_lanes + lane, n_points - 1) * stride + begin * n_classes
                if filled * n_classes >= n_lanes:
                    _roots_of_rows(values, starts, filled * n_classes, target, at + v * n_lanes, width)
                else:
                    first_row = panel * width + v * n_lanes
                    _short_rows(values, first_row, begin, filled, target, at + v * n_lanes, n_lanes, width)
            for t in range(filled * n_classes, padded * n_classes):  # missing samples of a group: coefficient 1
                target[at + t * width : at + (t + 1) * width] = 1.0 if t % n_classes == 0 else 0.0
            a_at = (s * a.shape[1] + panel * (width // n_rows)) * a.shape[2]
            wrong += _split_and_check(
                target, at, padded, n_classes, a, a_at, a.shape[2], a.size, target.dtype.type(tolerance)
            )
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
