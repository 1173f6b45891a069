"""The words of vector code: a thin layer over LLVM's instruction builder for the two modules that write it.

`microkernel` and `packing` subclass `VectorCode` inside numba intrinsics. It knows no equation and emits no loop.
numba keys its cache by the file of the compiled function: after a change here, touch those two files.
"""

import numpy as np
from llvmlite import ir
from numba.core import cgutils

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
