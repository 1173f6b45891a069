"""Work arrays that are handed from one matrix to the next, at the boundaries that vector loads like.

Fresh memory costs a page fault every four kilobytes, which for a small matrix is as much as its arithmetic. Nothing
here knows what the arrays hold.
"""

import math
import threading
from contextlib import contextmanager

import numpy as np

ALIGNMENT = 64  # bytes, of a vector load
KEPT_BYTES = 2**28  # of arrays that are kept


class Memory:
    """A store of arrays of bytes, by their size.

    Threads may take and give at the same time; what one has taken belongs to it alone.

    make : np.empty, for arrays of any content, or np.zeros, where only arrays that are still zero are given back
    """

    def __init__(self, limit=KEPT_BYTES, make=np.empty):
        self.limit, self.make, self.kept, self.lock = limit, make, {}, threading.Lock()

    def take(self, n_bytes):
        """A uint8 array (n_bytes,)."""
        with self.lock:
            fitting = self.kept.get(n_bytes)
            if fitting:
                return fitting.pop()
        return self.make(n_bytes, np.uint8)

    def give(self, array):
        """Keep an array for later, unless there is enough: then everything kept is let go, as sizes have changed."""
        with self.lock:
            if sum(len(arrays) * size for size, arrays in self.kept.items()) + array.size > self.limit:
                self.kept.clear()
            if array.size <= self.limit:
                self.kept.setdefault(array.size, []).append(array)


MEMORY, ZEROS = Memory(), Memory(make=np.zeros)


@contextmanager
def borrowed(shape, dtype):
    """An array of any content at a 64-byte boundary, from the store of memory, which gets it back."""
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    buffer = MEMORY.take(n_bytes + ALIGNMENT)
    start = -buffer.ctypes.data % ALIGNMENT
    try:
        yield buffer[start : start + n_bytes].view(dtype).reshape(shape)
    finally:
        MEMORY.give(buffer)
