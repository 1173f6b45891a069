"""A symmetric matrix as tiles of its upper triangle on disk: opened lazily, read by rows, verified.

The array is zarr v3 with chunks of tile x tile, of which only those of the upper triangle are written; every reader
here mirrors, at half the disk. zarr writes a chunk under a temporary name and renames it, so a file that exists with
its full size is a finished tile; a crc32c checksum guards its content. Nothing is computed here (see `tiles`).
"""

from pathlib import Path

import numpy as np
import zarr

FORMAT = "manifold tiles 1"
CHECKSUM_BYTES = 4  # crc32c appends them to each chunk


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
            rows, columns = span(i, self.tile, len(self)), span(j, self.tile, len(self))
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
    missing = len(unfinished(tiles, path))
    if missing:
        raise ValueError(f"{path} is unfinished: {missing} tiles are missing; run chapter 20 again")
    return tiles


def verify_tiles(path, *, remove=False):
    """Read every tile against its checksum.

    Returns
    -------
    dict {file: reason} of damaged and missing tiles; with `remove` the damaged files are deleted, so that
    `write_tiles` computes them again.
    """
    array, damaged = zarr.open_array(path, mode="r"), {}
    incomplete = set(unfinished(array, path))
    for i, j in tile_numbers(array.shape[0], array.chunks[0]):
        file = tile_file(path, i, j)
        try:
            if (i, j) in incomplete:
                raise ValueError("cut short" if file.exists() else "missing")
            array.blocks[i, j]
        except ValueError as error:
            damaged[str(file)] = str(error)
            if remove:
                file.unlink(missing_ok=True)
    return damaged


def tile_numbers(m, tile):
    """(row, column) of every tile of the upper triangle, row by row: neighbours share the row's predictions."""
    n = -(-m // tile)
    return ((i, j) for i in range(n) for j in range(i, n))


def unfinished(array, path):
    """Numbers of the tiles that are not on disk in full size (a file is renamed into place when it is complete)."""
    n_bytes = array.chunks[0] * array.chunks[1] * array.dtype.itemsize + CHECKSUM_BYTES
    sizes = ((number, tile_file(path, *number)) for number in tile_numbers(array.shape[0], array.chunks[0]))
    return [number for number, file in sizes if not file.is_file() or file.stat().st_size != n_bytes]


def tile_file(path, i, j):
    """Path of the file that holds tile (i, j): zarr's own name for that chunk."""
    return Path(path) / "c" / str(i) / str(j)


def span(k, tile, m):
    """Slice of the rows (or columns) of tile number k of m."""
    return slice(k * tile, min((k + 1) * tile, m))
