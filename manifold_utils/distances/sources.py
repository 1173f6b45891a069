"""Predictions that may lie anywhere, read a chunk of samples of a few points at a time, here or on a worker.

A source has shape (m, N, C), dtype and slices: numpy, torch, a memory-mapped file, zarr, dask, or one's own object.
Each is wrapped so that it travels to workers as a name or a small graph, never as the numbers; nothing is computed.
"""

import hashlib
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from manifold_utils.files import TEMPORARY, writing
from manifold_utils.geometry import as_predictions

PROBED_POINTS, PROBED_SAMPLES = 5, 16  # entries that a fingerprint looks at: spread over the points, first samples


@dataclass
class Source:
    """Points start:stop of an array with slices; pickled with the array, which should be small or a handle."""

    array: object
    start: int
    stop: int

    @property
    def shape(self):
        return (self.stop - self.start, *self.array.shape[1:])

    @property
    def dtype(self):
        return np.dtype(self.array.dtype)

    def points(self, rows):
        """The source of some of the points."""
        return Source(self.array, self.start + rows.start, self.start + rows.stop)

    def read(self, samples):
        """(n, samples, C) ndarray."""
        return np.asarray(self.array[self.start : self.stop, samples])

    def fingerprint(self):
        """Hash of shape, dtype and a few entries: cheap, and different for other runs, though not for every change."""
        digest = hashlib.sha256(f"{self.shape} {self.dtype}".encode())
        for i in np.unique(np.linspace(0, self.shape[0] - 1, PROBED_POINTS).astype(int)):
            digest.update(np.ascontiguousarray(self.points(slice(i, i + 1)).read(slice(0, PROBED_SAMPLES))).tobytes())
        return digest.hexdigest()[:16]


@dataclass
class DaskSource(Source):
    """A dask array: only the part of its graph that these points need travels."""

    def points(self, rows):
        import dask

        (part,) = dask.optimize(self.array[self.start + rows.start : self.start + rows.stop])
        return DaskSource(part, 0, rows.stop - rows.start)

    def read(self, samples):
        # On a worker, dask's default would send the reading back to the cluster and wait for it.
        return self.array[self.start : self.stop, samples].compute(scheduler="synchronous")


@dataclass
class MappedSource(Source):
    """A memory-mapped file: `array` holds what np.memmap needs to open it again."""

    def __post_init__(self):
        self._map = None

    @classmethod
    def of(cls, array):
        handle = _Handle(str(array.filename), array.offset, array.shape, array.dtype.str)
        return cls(handle, 0, array.shape[0])

    def points(self, rows):
        return MappedSource(self.array, self.start + rows.start, self.start + rows.stop)

    def read(self, samples):
        if self._map is None:
            self._map = self.array.open()
        return np.array(self._map[self.start : self.stop, samples])

    def __getstate__(self):
        return {"array": self.array, "start": self.start, "stop": self.stop, "_map": None}


@dataclass
class _Handle:
    filename: str
    offset: int
    shape: tuple
    dtype: str

    def open(self):
        return np.memmap(self.filename, mode="r", dtype=self.dtype, shape=self.shape, offset=self.offset)


def absolute(array):
    """A zarr array that was opened by a relative path, opened by its whole path: workers may live in other folders."""
    root = getattr(getattr(array, "store", None), "root", None)
    if root is None or Path(root).is_absolute() or not hasattr(array, "metadata"):
        return array
    return zarr.open_array(Path(root).resolve() / array.path, mode="r", zarr_format=array.metadata.zarr_format)


@contextmanager
def as_source(source, path, *, spool):
    """Yield a `Source` of anything array-like.

    Parameters
    ----------
    source : array-like (m, N, C)
    path : pathlib.Path; an array in memory is written beside it if `spool`, and removed at the end
    spool : whether other processes will read it

    Raises
    ------
    ValueError
        If it is not of that shape, or not float32 or float64.
    """
    if hasattr(source, "detach"):
        source = as_predictions(source)
    shape = tuple(getattr(source, "shape", ()))
    if len(shape) != 3 or 0 in shape:
        raise ValueError(f"source must have shape (n_points, n_samples, n_classes), not {shape}")
    if np.dtype(source.dtype) not in (np.float32, np.float64):
        raise ValueError(f"source must hold float32 or float64 log-probabilities, not {source.dtype}")
    source = absolute(source)
    if hasattr(source, "__dask_graph__"):
        yield DaskSource(source, 0, shape[0])
    elif isinstance(source, np.memmap) and _is_whole_file(source):
        yield MappedSource.of(source)
    elif isinstance(source, np.ndarray) and spool:
        file = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-source.npy")
        try:
            with writing(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                np.save(file, source)
            yield MappedSource.of(np.load(file, mmap_mode="r"))
        finally:
            Path(file).unlink(missing_ok=True)
    else:
        yield Source(source, 0, shape[0])


def _is_whole_file(array):
    """Whether a memory map is one as it was opened, not a view of one (which keeps the attributes of the whole)."""
    return array.flags.c_contiguous and not isinstance(array.base, np.ndarray)
