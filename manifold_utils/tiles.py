"""The matrix of all pairs as tiles on disk: computed by this process or by Dask workers, resumable, checksummed.

The array is zarr v3 with chunks of tile x tile, of which only those of the upper triangle are written: half of the disk,
and every reader here mirrors. zarr writes a chunk under a temporary name and renames it, so a file that exists with its
full size is a finished tile; a crc32c checksum guards its content. Divergences are means over samples, so predictions
are read in chunks of samples, as a memory budget allows. The arithmetic is in `distances` and its kernels.
"""

import shutil
import uuid
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec

from manifold_utils.distances import METRICS, SMALL_WORK, accumulate, accumulator, check_choice
from manifold_utils.sources import as_source
from manifold_utils.store import TEMPORARY, atomic_path

FORMAT = "manifold tiles 1"
CHECKSUM_BYTES = 4  # crc32c appends them to each chunk
PAIR_BYTES = 48  # largest working memory a pair of a tile: accumulator, result, its converted and encoded copies
PROCESS_BYTES = 400 * 2**20  # a worker process before it computes: interpreter, libraries, fixed buffers
SAMPLE_COPIES = 4  # predictions of a chunk of samples: as read, decoded, converted, and one spare
SMALLEST_TILE, LARGEST_TILE = 48, 2048  # bounds of the tile that is chosen when none is given
WAVE = 3  # tasks in the scheduler for each worker thread; more would only wait there


class Tiles:
    """A symmetric matrix on disk, read lazily: `D[i:j]` gives rows, `np.asarray(D)` all of it.

    Attributes
    ----------
    shape : (m, m); dtype : dtype of the stored entries
    chunks : (tile, tile)
    attrs : dict of what it was made from: metric, cap, fingerprint, source (shape)

    A row panel D[i:j] reads the tiles of its row and, transposed, of its column: as much as if both triangles were
    stored. Panels of whole tile rows read each tile once.
    """

    def __init__(self, path):
        self.path = Path(path)
        self._array = zarr.open_array(self.path, mode="r")
        self.shape, self.dtype, self.chunks = self._array.shape, self._array.dtype, self._array.chunks
        self.tile, self.ndim, self.attrs = self.chunks[0], 2, dict(self._array.attrs)

    def __len__(self):
        return self.shape[0]

    def __repr__(self):
        return f"Tiles({str(self.path)!r}, shape={self.shape}, dtype={self.dtype}, tile={self.tile})"

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key):
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        if isinstance(rows, slice) and rows.step in (None, 1):
            start, stop, _ = rows.indices(len(self))
            return self._rows(start, max(start, stop))[:, columns]
        index = np.arange(len(self))[rows]
        picked = [self._rows(i, i + 1)[0] for i in np.atleast_1d(index)]
        if np.ndim(index) == 0:
            return picked[0][columns]
        return np.array(picked, dtype=self.dtype).reshape(len(picked), len(self))[:, columns]

    def upper_tiles(self):
        """Yield (first row, first column, block) for every stored tile; what lies below the diagonal is its mirror."""
        for i, j in tile_numbers(*self.shape[:1], self.tile):
            rows, columns = _span(i, self.tile, len(self)), _span(j, self.tile, len(self))
            yield rows.start, columns.start, self._read(rows, columns)

    def _rows(self, start, stop):
        out = np.empty((stop - start, len(self)), dtype=self.dtype)
        for low in range(start - start % self.tile, stop, self.tile):
            first, last = max(start, low), min(stop, low + self.tile)
            part = out[first - start : last - start]
            part[:, low:] = self._read(slice(first, last), slice(low, None))
            if low:
                part[:, :low] = self._read(slice(0, low), slice(first, last)).T
        return out

    def _read(self, rows, columns):
        try:
            block = self._array[rows, columns]
        except ValueError as error:
            raise OSError(
                f"{self.path} holds a damaged tile ({error}); `verify_tiles` names it, and with remove=True the next "
                "`write_tiles` computes it again"
            ) from error
        if np.isnan(block).any():  # what zarr reads where a chunk is missing
            raise OSError(f"{self.path} lacks tiles in rows {rows.start}:{rows.stop}; `write_tiles` goes on with it")
        return block


def write_tiles(
    source, path, *, metric="bhattacharyya", tile=None, client=None, memory_budget=None, dtype="float32", cap=None,
    fingerprint=None, rebuild=True, progress=True,
):  # fmt: skip
    """Compute the matrix of all pairs of `source` into `path`; tiles that are there already are kept.

    Parameters
    ----------
    source : array-like (m, N, C) of natural-log probabilities, float32 or float64
        numpy, torch, memory-mapped, zarr or dask array, or anything with shape, dtype and slices. Read lazily, a chunk
        of samples of two tiles at a time. With a client the workers read it: an array in memory is first spooled to a
        file beside `path`, which the workers must be able to open.
    path : path of the zarr array
    metric, cap : see `distances.pairwise`
    tile : int, optional
        Points a side of a tile; chosen from m, the budget and the number of workers if not given.
    client : distributed.Client, optional
        Its workers compute tiles, one thread each; without it, this process with all its threads.
    memory_budget : int, bytes, optional
        Of all computing processes together, their interpreters included; half of the free memory by default.
    dtype : {"float32", "float64"}, of the stored entries
    fingerprint : str, optional
        Names what the matrix is made from; by default a hash of the source's shape and of some of its entries.
    rebuild : bool
        What to do with a matrix at `path` that was made from something else: replace it, or raise.

    Returns
    -------
    Tiles

    Raises
    ------
    ValueError
        For bad input (as `pairwise`, naming the point), a budget that does not hold one sample of two tiles, or another
        matrix at `path` with rebuild=False.
    """
    check_choice("metric", metric, METRICS)
    check_choice("dtype", dtype, ("float32", "float64"))
    path, m = Path(path), source.shape[0]
    n_processes = 1 if client is None else max(1, sum(client.nthreads().values()))
    share = _share(memory_budget, n_processes)
    tile = int(min(m, tile or _choose_tile(m, share, n_processes)))
    with as_source(source, path, spool=client is not None) as reader:
        made_from = {
            "format": FORMAT,
            "metric": metric,
            "cap": cap,
            "source": list(reader.shape),
            "fingerprint": reader.fingerprint() if fingerprint is None else fingerprint,
        }
        _prepare(path, m, tile, dtype, made_from, rebuild)
        n_work = m * m * reader.shape[1] * reader.shape[2]
        settings = {
            "metric": metric,
            "cap": cap,
            "precision": "double" if n_work <= SMALL_WORK or cap is not None else "single",
            "samples": _chunk_samples(reader, tile, share),
            "threads": None if client is None else 1,
        }
        numbers = list(tile_numbers(m, tile))
        todo = [number for number in numbers if not is_done(path, *number)]
        with _bar(numbers, todo, metric, progress) as bar:
            for _ in _compute(reader, str(path), todo, settings, client, n_processes):
                bar.update()
    return Tiles(path)


def open_tiles(path, fingerprint=None):
    """Open a finished matrix.

    Raises
    ------
    ValueError
        If tiles are missing (`write_tiles` goes on where it stopped), or the matrix was made from something else.
    """
    tiles = Tiles(path)
    if fingerprint is not None and tiles.attrs.get("fingerprint") != fingerprint:
        raise ValueError(f"{path} belongs to other points than the table; run chapter 20 again")
    numbers = list(tile_numbers(len(tiles), tiles.tile))
    missing = sum(not is_done(path, *number) for number in numbers)
    if missing:
        raise ValueError(f"{path} is unfinished: {missing} of {len(numbers)} tiles are missing; run chapter 20 again")
    return tiles


def verify_tiles(path, *, remove=False):
    """Read every tile against its checksum.

    Returns
    -------
    dict {file: reason} of damaged and missing tiles; with `remove` the damaged files are deleted, so that
    `write_tiles` computes them again.
    """
    array, damaged = zarr.open_array(path, mode="r"), {}
    for i, j in tile_numbers(array.shape[0], array.chunks[0]):
        file = _file(path, i, j)
        try:
            if not is_done(path, i, j):
                raise ValueError(f"has {file.stat().st_size} bytes of {_file_bytes(array)}" if file.exists() else "missing")
            array.blocks[i, j]
        except ValueError as error:
            damaged[str(file)] = str(error)
            if remove:
                file.unlink(missing_ok=True)
    return damaged


@contextmanager
def engine(address):
    """The client that `write_tiles` takes, from a word: "threads" (None: this process), "local", or an address."""
    if address == "threads":
        yield None
        return
    from manifold_utils.parallel import client

    with client(address) as connected:
        yield connected


def tile_numbers(m, tile):
    """(row, column) of every tile of the upper triangle, row by row: neighbours share the row's predictions."""
    n = -(-m // tile)
    return ((i, j) for i in range(n) for j in range(i, n))


def is_done(path, i, j):
    """Whether a tile's file is there in its full size (it is renamed into place only when it is complete)."""
    try:
        return _file(path, i, j).stat().st_size == _file_bytes(zarr.open_array(path, mode="r"))
    except FileNotFoundError:
        return False


def _file(path, i, j):
    return Path(path) / "c" / str(i) / str(j)


def _file_bytes(array):
    return array.chunks[0] * array.chunks[1] * array.dtype.itemsize + CHECKSUM_BYTES


def _span(k, tile, m):
    return slice(k * tile, min((k + 1) * tile, m))
