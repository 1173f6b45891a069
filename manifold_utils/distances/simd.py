"""The vector code of d_B: square roots packed in panels, products of coefficients in registers (PAPER.md section 1).

-log BC summed over samples is -log of a product, so one log per *pair* is enough. The product is a float; each time it
falls below a limit its exponent moves to an integer by bit operations. A group of samples whose product is too small
to be trusted is left out and recomputed exactly in float64 log space. A panel holds one slice of samples of NR points,
[sample][class][point], so that the kernel reads it in order; sqrt(p) = exp(log p / 2) is a polynomial in vector code.

The code is LLVM IR because no compiler keeps 12 accumulators in registers across this loop by itself. All of it is in
one file, since numba keys its cache by the file of the compiled function. It knows no metric but this one; which
points are compared, and what a wrong vector means, is the business of `bhattacharyya`.
"""

import math
from functools import cache

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

GROUP = 4  # samples whose coefficients are multiplied before the product is looked at; 1 where classes are many
# Per dtype: exponent at which a product restarts, below which it restarts, and below which a group is not trusted.
# Float32: a coefficient of 2**-100 still holds 26 bits above the smallest normal float, and 2**(-20 - 100) is normal.
LIMITS = {np.dtype("f4"): (100, -20, -100), np.dtype("f8"): (900, -100, -900)}
NEGLIGIBLE = -100.0  # a term exp(-50) times the largest one changes no digit of float64
SMALLEST_LOG = {np.dtype("f4"): -174.0, np.dtype("f8"): -1416.0}  # below, sqrt(p) is not a normal float: packed as 0
LARGEST_LOG = 16.0  # log p above it is packed as it, so that a sum of probabilities shows the error without overflow
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440054690582767e-4  # ln 2 in two parts: n * LN2_HIGH is exact
AHEAD_BYTES = 512  # read ahead in each row: it is left for its neighbours before a processor notices a pattern
TERMS = {4: 7, 8: 13}  # degree of exp's Taylor polynomial on |r| <= ln(2)/2: remainder 5e-9 and 4e-18
LOCALITY = 3  # of a prefetch: into the nearest cache


class VectorCode:
    """Words of vector code: every method appends LLVM instructions to `builder`."""

    def __init__(self, builder, dtype, lanes):
        self.b, self.lanes, self.dtype = builder, lanes, np.dtype(dtype)
        self.mantissa_bits, self.bias = (23, 127) if self.dtype.itemsize == 4 else (52, 1023)
        self.i64, self.align = ir.IntType(64), lanes * self.dtype.itemsize
        self.vf = ir.VectorType(ir.FloatType() if self.dtype.itemsize == 4 else ir.DoubleType(), lanes)
        self.vi = ir.VectorType(ir.IntType(8 * self.dtype.itemsize), lanes)
        name = f"llvm.fmuladd.v{lanes}f{8 * self.dtype.itemsize}"
        self._fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(self.vf, [self.vf] * 3), name)

    def at(self, base, k):
        return self.b.gep(base, [k if isinstance(k, ir.Value) else self.i64(k)])

    def load(self, base, k, kind=None, align=None):
        kind = kind or self.vf
        return self.b.load(self.b.bitcast(self.at(base, k), kind.as_pointer()), align=align or self.align)

    def store(self, value, base, k, align=None):
        self.b.store(value, self.b.bitcast(self.at(base, k), value.type.as_pointer()), align=align or self.align)

    def prefetch(self, base, k):
        """Ask for the cache line of base[k] ahead of its use; any address is allowed."""
        word = ir.IntType(32)
        pointer = self.b.bitcast(self.at(base, k), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
        function = cgutils.get_or_insert_function(self.b.module, kind, "llvm.prefetch.p0i8")
        self.b.call(function, [pointer, word(0), word(LOCALITY), word(1)])

    def fma(self, x, y, z):
        return self.b.call(self._fma, [x, y, z])

    def splat(self, scalar):
        empty = ir.Constant(self.vf, ir.Undefined)
        return self.shuffle(self.b.insert_element(empty, scalar, ir.IntType(32)(0)), empty, [0] * self.lanes)

    def shuffle(self, x, y, lanes):
        return self.b.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))

    def number(self, value):
        return ir.Constant(self.vf, [float(value)] * self.lanes)

    def integer(self, value):
        return ir.Constant(self.vi, [value] * self.lanes)

    def power_bits(self, power):
        """Bit pattern of 2**power, as a vector of integers."""
        return self.integer((power + self.bias) << self.mantissa_bits)

    def any(self, mask):
        word = ir.IntType(self.lanes)
        return self.b.icmp_unsigned("!=", self.b.bitcast(mask, word), word(0))

    def barrier(self):
        # Without it LLVM forwards what was just stored into registers that it does not have, and spills twice.
        self.b.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], True)


@cache
def register_tile(dtype):
    """Rows, vectors and lanes of the block of pairs that this processor's registers hold: (MR, NV, W).

    MR broadcasts times NV vectors of W lanes; NR = NV * W columns, a multiple of MR.
    """
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        rows, n_bytes = 8, 64
    elif features.get("avx"):
        rows, n_bytes = 4, 32
    else:  # 16-byte vectors: SSE has 16 registers, NEON 32
        rows, n_bytes = (6 if "neon" in features else 4), 16
    return rows, 3, n_bytes // np.dtype(dtype).itemsize


@intrinsic
def _multiply_tile(typingctx, panels, state, starts, size, work, floor, alone):
    """Multiply the coefficients of some groups of samples into one register tile of pairs.

    panels : (a, b), packed square roots of probabilities, [sample][class][NR], of which MR rows and NR columns
    state : (product, exponent) of the tile, MR * NR each, in place
    starts : (in a, in b, in the state), indices to begin at; size : (groups of samples, classes)
    work : (scratch of 2 * MR * NR floats, int64 rows (group, one lane mask a vector)); a row is filled for each group
        with lanes that were left out
    floor : None, or the least value that a coefficient may take (the clamp of `cap`)
    alone : None for groups of GROUP samples, anything else for groups of one
    Returns the number of rows filled.
    """
    dtype = np.dtype(panels[0].dtype.name)
    signature = types.int64(panels, state, starts, size, work, floor, alone)

    def codegen(context, builder, sig, args):
        def pointers(k):
            arrays = zip(sig.args[k], cgutils.unpack_tuple(builder, args[k]), strict=True)
            return [context.make_array(kind)(context, builder, value).data for kind, value in arrays]

        group = GROUP if isinstance(alone, types.NoneType) else 1
        code = _TileCode(builder, dtype, *register_tile(dtype), group)
        clamp = None if isinstance(floor, types.NoneType) else code.splat(args[5])
        (a, b), (product, exponent), (scratch, records) = pointers(0), pointers(1), pointers(4)
        a_at, b_at, at = cgutils.unpack_tuple(builder, args[2])
        n_groups, n_classes = cgutils.unpack_tuple(builder, args[3])
        points = [builder.gep(base, [start]) for base, start in ((a, a_at), (b, b_at), (product, at), (exponent, at))]
        return code.tile(*points[:2], n_groups, n_classes, *points[2:], scratch, records, clamp)

    return signature, codegen


class _TileCode(VectorCode):
    """The register tile of `_multiply_tile`."""

    def __init__(self, builder, dtype, rows, vectors, lanes, group):
        super().__init__(builder, dtype, lanes)
        self.rows, self.vectors, self.group = rows, vectors, group
        self.cells = [(r, v) for r in range(rows) for v in range(vectors)]
        self.restart, self.low, self.trusted = LIMITS[self.dtype]

    def tile(self, a, b, n_groups, n_classes, product, exponent, scratch, records, clamp):
        """All groups; returns the number of records. `scratch` holds the group product and the second state."""
        size = self.rows * self.vectors * self.lanes
        current, other = (cgutils.alloca_once_value(self.b, p) for p in (product, self.at(scratch, size)))
        count = cgutils.alloca_once_value(self.b, self.i64(0))
        with cgutils.for_range(self.b, n_groups) as loop:
            skip = self.b.mul(self.b.mul(loop.index, n_classes), self.i64(self.group * self.vectors * self.lanes))
            a_group, b_group = self.at(a, skip), self.at(b, skip)
            for sample in range(self.group):
                coefficient, a_group, b_group = self.coefficients(a_group, b_group, n_classes)
                if clamp is not None:
                    for cell, x in coefficient.items():
                        coefficient[cell] = self.b.select(self.b.fcmp_ordered(">", x, clamp), x, clamp)
                self.barrier()
                if sample < self.group - 1:
                    self.multiply_into(scratch, coefficient, first=sample == 0)
            old, new = self.b.load(current), self.b.load(other)
            trouble = self.finish_group(coefficient, scratch, old, new)
            self.barrier()
            with self.b.if_then(trouble, likely=False):
                self.restart_lanes(loop.index, old, new, exponent, records, count)
            self.b.store(new, current)
            self.b.store(old, other)
        last = self.b.load(current)
        with self.b.if_then(self.b.icmp_unsigned("!=", last, product)):
            for cell in self.cells:
                self.store(self.load(last, self.offset(cell)), product, self.offset(cell))
        return self.b.load(count)

    def offset(self, cell):
        return (cell[0] * self.vectors + cell[1]) * self.lanes

    def coefficients(self, a, b, n_classes):
        """sum_c a_c b_c of one sample for every pair of the tile: rows * vectors accumulators in registers."""
        before, body, after = self.b.block, self.b.append_basic_block("classes"), self.b.append_basic_block("sample")
        self.b.branch(body)
        self.b.position_at_end(body)
        left, pa, pb = self.b.phi(self.i64), self.b.phi(a.type), self.b.phi(b.type)
        sums = {cell: self.b.phi(self.vf) for cell in self.cells}
        columns = [self.load(pb, v * self.lanes) for v in range(self.vectors)]
        new = {}
        for r in range(self.rows):
            row = self.splat(self.b.load(self.at(pa, r)))
            for v in range(self.vectors):
                new[r, v] = self.fma(row, columns[v], sums[r, v])
        width = self.vectors * self.lanes
        onwards = [self.b.sub(left, self.i64(1)), self.at(pa, width), self.at(pb, width)]
        starts = [n_classes, a, b, *[self.number(0)] * len(self.cells)]
        phis = [left, pa, pb, *sums.values()]
        for phi, start, following in zip(phis, starts, [*onwards, *(new[c] for c in self.cells)], strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(following, body)
        self.b.cbranch(self.b.icmp_signed(">", onwards[0], self.i64(0)), body, after)
        self.b.position_at_end(after)
        return new, onwards[1], onwards[2]

    def multiply_into(self, scratch, coefficient, first):
        for cell, x in coefficient.items():
            k = self.offset(cell)
            self.store(x if first else self.b.fmul(x, self.load(scratch, k)), scratch, k)

    def finish_group(self, coefficient, scratch, old, new):
        """new = old * group product; returns whether any lane needs a restart or is not to be trusted.

        Least values are compared as integers (positive floats sort alike): those units are idle here.
        """
        least_group = least_product = None
        for cell, x in coefficient.items():
            k = self.offset(cell)
            group = x if self.group == 1 else self.b.fmul(x, self.load(scratch, k))
            product = self.b.fmul(group, self.load(old, k))
            self.store(product, new, k)
            least_group = self.least(least_group, group)
            least_product = self.least(least_product, product)
        small = self.b.icmp_signed("<", least_group, self.power_bits(self.trusted))
        low = self.b.icmp_signed("<", least_product, self.power_bits(self.low))
        return self.any(self.b.or_(small, low))

    def least(self, best, x):
        x = self.b.bitcast(x, self.vi)
        return x if best is None else self.b.select(self.b.icmp_signed("<", x, best), x, best)

    def restart_lanes(self, group, old, new, exponent, records, count):
        """Move all exponents to integers; lanes whose group is not trusted keep their old product and are recorded."""
        shift = self.integer(self.mantissa_bits)
        start = self.b.mul(self.b.load(count), self.i64(1 + len(self.cells)))
        self.b.store(group, self.at(records, start))
        left_out = None
        for i, cell in enumerate(self.cells):
            k = self.offset(cell)
            before, product = self.load(old, k), self.load(new, k)
            least = self.b.fmul(before, self.number(2.0**self.trusted))
            bad = self.b.fcmp_ordered("<", product, least)
            left_out = bad if left_out is None else self.b.or_(left_out, bad)
            word = self.b.bitcast(self.b.select(bad, before, product), self.vi)
            power = self.b.sub(self.b.lshr(word, shift), self.integer(self.restart + self.bias))
            self.store(self.b.add(self.load(exponent, k, self.vi), power), exponent, k)
            mantissa = self.b.and_(word, self.integer((1 << self.mantissa_bits) - 1))
            self.store(self.b.bitcast(self.b.or_(mantissa, self.power_bits(self.restart)), self.vf), new, k)
            lanes = self.b.zext(self.b.bitcast(bad, ir.IntType(self.lanes)), self.i64)
            self.b.store(lanes, self.at(records, self.b.add(start, self.i64(1 + i))))
        self.b.store(self.b.add(self.b.load(count), self.b.zext(self.any(left_out), self.i64)), count)


@numba.njit(nogil=True, cache=True)
def log_coefficient(x, y):
    """Log of one Bhattacharyya coefficient from log-probabilities x, y (C,), exact: -inf for disjoint supports."""
    top = -math.inf
    for c in range(len(x)):
        top = max(top, np.float64(x[c]) + np.float64(y[c]))
    if top == -math.inf:
        return top
    total = 0.0
    for c in range(len(x)):
        below = np.float64(x[c]) + np.float64(y[c]) - top
        if below > NEGLIGIBLE:
            total += math.exp(0.5 * below)
    return 0.5 * top + math.log(total)


@numba.njit(nogil=True, cache=True)
def _recompute(records, first, tile, logs, extra, rules):
    """Add the exact logs of recorded lanes and groups to `extra` (MR, NR), -inf being final; return their number."""
    (first_sample, i0, j0, group), (log_p, log_q), (_, cap, upper_only) = first, logs, rules
    n_rows, n_vectors, n_lanes = tile
    n_recomputed = 0
    for record in records:
        start = first_sample + group * record[0]
        stop = min(start + group, log_p.shape[1])
        for cell in range(n_rows * n_vectors):
            for lane in range(n_lanes):
                if not (record[1 + cell] >> lane) & 1:
                    continue
                r, column = cell // n_vectors, (cell % n_vectors) * n_lanes + lane
                i, j = i0 + r, j0 + column
                if i >= len(log_p) or j >= len(log_q) or (upper_only and j <= i):
                    continue
                for n in range(start, stop):
                    if extra[r, column] == -math.inf:
                        break
                    extra[r, column] += max(log_coefficient(log_p[i, n], log_q[j, n]), -cap)
                    n_recomputed += 1
    return n_recomputed


@numba.njit(nogil=True, cache=True)
def multiply_block(panels, logs, place, state, work, rules):
    """Multiply one chunk of samples into a block of pairs.

    Parameters
    ----------
    panels : (a, b), arrays (n_slices, n_panels, n_slice_samples * C * NR): packed sqrt(p), sqrt(q), 64-byte aligned
    logs : (log_p, log_q), (n, n_samples, C) natural logs of the chunk, read only where the product cannot hold a group
    place : ((MR, NV, W), (i, j), n_groups, alone), the register tile; the block's first register tile of rows and first
        panel of columns; the chunk's groups of samples (the last slice may be partly filled), of GROUP samples if
        `alone` is None, else of one
    state : (product, exponent, extra), each (n_i, n_j, MR, NR), updated in place; extra holds float64 logs
    work : (scratch, records) of `_multiply_tile`
    rules : (floor, cap, upper_only), floor None or float and cap a float (inf for none), both applied to each
        coefficient; upper_only skips pairs with j <= i

    Returns
    -------
    int, the number of coefficients that were recomputed in log space
    """
    (a, b), (product, exponent, extra), (tile, origin, n_groups, alone) = panels, state, place
    group = GROUP if alone is None else 1
    n_rows, n_columns = product.shape[2], product.shape[3]
    n_classes = logs[0].shape[2]
    n_recomputed = 0
    slice_groups = a.shape[2] // (n_classes * n_columns * group)
    per_panel = n_columns // n_rows
    for s in range(a.shape[0]):
        groups = min(slice_groups, n_groups - s * slice_groups)
        for v in range(product.shape[1]):
            j = origin[1] + v
            for u in range(product.shape[0]):
                i = origin[0] + u
                if rules[2] and (j + 1) * n_columns - 1 <= i * n_rows:
                    continue
                a_at = (s * a.shape[1] + i // per_panel) * a.shape[2] + i % per_panel * n_rows
                b_at = (s * b.shape[1] + j) * b.shape[2]
                at = (u * product.shape[1] + v) * n_rows * n_columns
                starts, size = (a_at, b_at, at), (groups, n_classes)
                n = _multiply_tile(panels, (product, exponent), starts, size, work, rules[0], alone)
                if n:
                    first = s * slice_groups * group, i * n_rows, j * n_columns, group
                    n_recomputed += _recompute(work[1][:n], first, tile, logs, extra[u, v], rules)
    return n_recomputed


class _PanelCode(VectorCode):
    """Vector code of `_roots_of_rows`."""

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
def pack_panels(values, stride, first, last, tile, slices, panels, tolerance):
    """Pack panels first..last-1 of NR points each.

    Parameters
    ----------
    values : array (n, n_samples, C), natural logs; each point contiguous, points `stride` elements apart
    tile : (MR, NV, W); slices : (samples a slice, samples a group), the first a multiple of the second
    panels : array (n_slices, n_panels, slice_samples * C * NR), 64-byte aligned
    tolerance : largest |sum of probabilities - 1|

    Returns
    -------
    int, the number of (slice, panel) with a sum of probabilities off by more (0: all is well)
    """
    n_points, n_samples, n_classes = values.shape
    (_, n_vectors, n_lanes), (slice_samples, group) = tile, slices
    width = n_vectors * n_lanes
    starts, target = np.empty(n_lanes, np.int64), panels.ravel()
    wrong = 0
    for panel in range(first, last):
        for s in range(panels.shape[0]):  # slices within: the rows are read on where they were left
            begin = s * slice_samples
            filled = min(slice_samples, n_samples - begin)
            padded = (filled + group - 1) // group * group
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
def pack_and_multiply(panels, logs, place, state, work, rules, packing):
    """`multiply_block` for columns that are packed here, slice by slice, so that they are used while they are near.

    Parameters
    ----------
    panels : (a, b), a as in `multiply_block`; b, (1, n_j, n_slice_samples * C * NR), is written over
    logs : (log_p, log_q), log_q of the block's columns alone, each point contiguous
    place, state, work, rules : as in `multiply_block`
    packing : (stride, slices, tolerance) as in `pack_panels`, of log_q

    Returns
    -------
    int, the number of coefficients that were recomputed, or -1 where a sum of probabilities of log_q is wrong
    """
    (a, b), (log_p, log_q), (tile, origin, n_groups, alone) = panels, logs, place
    stride, (slice_samples, group), tolerance = packing
    slice_groups, n_recomputed = slice_samples // group, 0
    for s in range(a.shape[0]):
        samples = slice(s * slice_samples, min((s + 1) * slice_samples, log_q.shape[1]))
        columns = log_q[:, samples]
        if pack_panels(columns, stride, 0, b.shape[1], tile, (slice_samples, group), b, tolerance):
            return -1
        where = tile, (origin[0], 0), min(slice_groups, n_groups - s * slice_groups), alone
        n_recomputed += multiply_block((a[s : s + 1], b), (log_p[:, samples], columns), where, state, work, rules)
    return n_recomputed


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
