"""The matrix of all pairs as tiles on disk: computed here or on Dask workers, resumable, opened lazily, verified.

Divergences are means over samples (PAPER.md section 1), so a tile reads its points' predictions in chunks of samples,
as a memory budget allows, and the size of a tile alone decides what is held: one path for 200 points and 151,407.

The array is zarr v3 with chunks of tile x tile, of which only those of the upper triangle are written; every reader
here mirrors, at half the disk. zarr writes a chunk under a temporary name and renames it, so a file that exists with
its full size is a finished tile; a crc32c checksum guards its content. The arithmetic is in the room's other files.
"""

import shutil
import uuid
from itertools import islice
from pathlib import Path

import numpy as np
import zarr
from tqdm import tqdm
from zarr.codecs import BytesCodec, Crc32cCodec

from manifold_utils.distances import METRICS, SMALL_WORK, accumulate, accumulator
from manifold_utils.distances.sources import as_source
from manifold_utils.files import TEMPORARY, atomic_path, writing
from manifold_utils.workers import Resources, check_choice, ended, resolve_device

PAIR_BYTES = 48  # largest working memory a pair of a tile: accumulator, result, its converted and encoded copies
PROCESS_BYTES = 400 * 2**20  # a worker process before it computes: interpreter, libraries, fixed buffers
SAMPLE_COPIES = 4  # predictions of a chunk of samples: as read, decoded, converted, and one spare
SMALLEST_TILE, LARGEST_TILE = 48, 2048  # bounds of the tile that is chosen when none is given
WAVE = 3  # tasks in the scheduler for each worker thread; more would only wait there
FORMAT = "manifold tiles 1"
THIS_PROCESS = Resources()  # with all its threads and half of the free memory
AGAIN = "run chapter 20 again (run --force 20)"
CURE = f"and {AGAIN}, which computes what is missing"
CHECKSUM_BYTES = 4  # crc32c appends them to each chunk


def write_tiles(
    source, path, *, metric="bhattacharyya", cap=None, tile=None, dtype="float32", resources=THIS_PROCESS,
    fingerprint=None, rebuild=True, show_progress=True,
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
        Points a side of a tile; chosen from m, the memory and the number of workers if not given.
    dtype : {"float32", "float64"}, of the stored entries
    resources : workers.Resources
        The Dask client whose workers compute tiles, one thread each (without it, this process with all its threads);
        the memory that they share, in bytes; the device.
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
    path, m, client = Path(path).resolve(), source.shape[0], resources.client  # workers may live in other folders
    n_processes = resources.n_processes()
    share = resources.share(PROCESS_BYTES)
    tile = int(min(m, tile or _choose_tile(m, share, n_processes)))
    with as_source(source, path, spool=client is not None) as reader:
        made_from = {
            "format": FORMAT,
            "metric": metric,
            "cap": cap,
            "source": list(reader.shape),
            "fingerprint": reader.fingerprint() if fingerprint is None else fingerprint,
        }
        prepare(path, (m, m), (tile, tile), dtype, made_from, rebuild)
        n_work = m * m * reader.shape[1] * reader.shape[2]
        precision = "double" if n_work <= SMALL_WORK or cap is not None else "single"
        settings = block_settings(reader, tile, resources, metric=metric, cap=cap, precision=precision)
        todo = unfinished(zarr.open_array(path, mode="r", zarr_format=3), path)
        n_tiles = len(list(tile_numbers(m, tile)))
        bar = tqdm(
            total=n_tiles, initial=n_tiles - len(todo), desc=f"{metric} tiles", unit="tile", disable=not show_progress
        )
        with bar:
            calls = ((*_parts(reader, tile, number), str(path), number, settings) for number in todo)
            for _ in run_tasks(_write_tile, calls, resources):
                bar.update()
    return open_tiles(path)


def _choose_tile(m, share, n_processes):
    """The largest tile that leaves half of the share to predictions and gives each process a few tiles."""
    fits = int((share / 2 / PAIR_BYTES) ** 0.5)
    shared = m if n_processes == 1 else -(-m // int(3 * n_processes**0.5 + 1))
    return max(SMALLEST_TILE, min(fits, shared, LARGEST_TILE))


def block_settings(reader, tile, resources, *, metric, cap=None, precision="single"):
    """What `compute_block` is told about blocks of `tile` points a side, on whatever computes them."""
    return {
        "metric": metric,
        "cap": cap,
        "precision": precision,
        "samples": _chunk_samples(reader, tile, resources.share(PROCESS_BYTES)),
        "threads": None if resources.client is None else 1,
        "device": resources.device,
    }


def _chunk_samples(reader, tile, share):
    """Samples to read at a time."""
    left = share - PAIR_BYTES * tile * tile
    a_sample = SAMPLE_COPIES * 2 * tile * reader.shape[2] * np.dtype(reader.dtype).itemsize
    if left < a_sample:
        raise ValueError(
            f"the memory budget leaves {share / 1e6:.0f} MB a process, which does not hold one sample of two tiles of "
            f"{tile} points; raise memory_budget, take fewer workers or a smaller tile"
        )
    return int(min(left // a_sample, reader.shape[1]))


def prepare(path, shape, chunks, dtype, made_from, rebuild):
    """Make the zarr array at `path`, or leave it there if it was made from the same."""
    if path.exists():
        try:
            found = zarr.open_array(path, mode="r", zarr_format=3)
            attributes = dict(found.attrs)
        except Exception as error:  # zarr raises several kinds for what is not an array
            raise FileExistsError(
                f"{path} is there and is no matrix of tiles ({error}); move it away, or choose another path"
            ) from error
        if attributes.get("format") != made_from["format"]:
            raise FileExistsError(f"{path} is there and is no matrix of tiles; move it away, or choose another path")
        same_layout = (found.shape, found.chunks, str(found.dtype)) == (tuple(shape), tuple(chunks), dtype)
        if same_layout and attributes == made_from:
            for unfinished_file in path.glob("c/*/*.partial"):  # of zarr, when it was killed
                unfinished_file.unlink(missing_ok=True)
            return
        if not rebuild:
            differs = [key for key, value in made_from.items() if attributes.get(key) != value] or ["layout"]
            raise ValueError(
                f"{path} was made from something else ({', '.join(differs)}); pass rebuild=True to replace it"
            )
        aside = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{path.name}")
        path.rename(aside)  # at once: a half-deleted matrix would look like an unfinished one
        shutil.rmtree(aside)
    with atomic_path(path) as temporary:
        zarr.create_array(
            temporary, shape=shape, chunks=chunks, dtype=dtype, serializer=BytesCodec(),
            compressors=[Crc32cCodec()], fill_value=np.nan, zarr_format=3, attributes=made_from,
        )  # fmt: skip


def run_tasks(work, calls, resources):
    """Yield work(*call) for every call, in any order; with a client a few tasks a worker are in flight at a time."""
    if resources.client is None:
        for call in calls:
            yield work(*call)
        return
    from distributed import as_completed

    client, waiting = resources.client, iter(calls)

    def submit(call):
        return client.submit(work, *call, pure=False, key=f"{work.__name__.strip('_')}-{uuid.uuid4().hex}")

    running = as_completed([submit(call) for call in islice(waiting, WAVE * resources.n_processes())])
    try:
        for future in ended(running, client):
            yield future.result()
            future.release()
            call = next(waiting, None)
            if call is not None:
                running.add(submit(call))
    finally:
        if client.status == "running":  # a scheduler that is gone has nothing to cancel
            client.cancel(list(running.futures))


def _parts(reader, tile, number):
    """Readers of a tile's rows and of its columns (None on the diagonal), small enough to travel."""
    rows, columns = (span(k, tile, reader.shape[0]) for k in number)
    return reader.points(rows), None if rows == columns else reader.points(columns)


def _write_tile(rows, columns, path, number, settings):
    """Compute one tile and store it; runs on a worker."""
    array = zarr.open_array(path, mode="r+", zarr_format=3)
    tile, m = array.chunks[0], array.shape[0]
    spans = span(number[0], tile, m), span(number[1], tile, m)
    block = compute_block(rows, columns, settings, offsets=(spans[0].start, spans[1].start))
    write_block(array, path, number, spans, block)
    return number


def compute_block(rows, columns, settings, offsets=(0, 0)):
    """Divergences of the points of two sources (columns None: of one among themselves), read by chunks of samples.

    settings : dict of `block_settings`
    offsets : numbers of the first points, for messages
    """
    n_samples = rows.shape[1]
    total = accumulator(
        settings["metric"], rows.shape[0], None if columns is None else columns.shape[0], rows.shape,
        cap=settings["cap"], precision=settings["precision"], threads=settings["threads"],
        device=resolve_device(settings["device"]),
    )  # fmt: skip
    for start in range(0, n_samples, settings["samples"]):
        part = slice(start, min(start + settings["samples"], n_samples))
        p = rows.read(part)
        q = None if columns is None else columns.read(part)
        accumulate(total, p, q, names=("source", "source"), offsets=tuple((first, start) for first in offsets))
    return total.result()


class _Held:
    """Points that were read once, with the protocol of a source."""

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def read(self, samples):
        return self.values[:, samples]


def held(rows, settings):
    """`rows` read once for several blocks, where the memory is enough for all samples; else as they are."""
    return _Held(rows.read(slice(None))) if settings["samples"] >= rows.shape[1] else rows


def write_block(array, path, number, spans, block, numbers=None):
    """Store one chunk of an array; what a damaged disk left there goes first, since zarr would try to read it.

    numbers : function of the array giving those of all chunks that are wanted, by default of the upper triangle; asked
        only where the disk is full, to say how much is needed
    """

    def needed():
        return len(unfinished(array, path, numbers and numbers(array))) * _tile_bytes(array)

    with writing(tile_file(path, *number), needed=needed):
        tile_file(path, *number).unlink(missing_ok=True)
        array[spans] = block.astype(array.dtype)


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
        self.path = Path(path).resolve()
        try:
            self._array = zarr.open_array(self.path, mode="r", zarr_format=3)
        except Exception as error:  # zarr raises several kinds for damaged metadata: name the file for all of them
            named = self.path / "zarr.json"
            raise OSError(f"{named} is missing or damaged ({error}); delete {self.path}, {CURE}") from error
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
        except (ValueError, RuntimeError) as error:
            named = next(iter(verify_tiles(self.path)), self.path)
            raise OSError(f"{named} is a damaged tile ({error}); delete it, {CURE}") from error
        if np.isnan(block).any():  # what zarr reads where a chunk is missing
            raise OSError(f"{self.path} lacks tiles in rows {rows.start}:{rows.stop}: go on {CURE}")
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
        raise ValueError(f"{path} belongs to other points than the table; {AGAIN}")
    missing = len(unfinished(tiles, path))
    if missing:
        raise ValueError(f"{path} is unfinished: {missing} tiles are missing; {AGAIN}")
    return tiles


def verify_tiles(path, *, remove=False):
    """Read every tile against its checksum.

    Returns
    -------
    dict {file: reason} of damaged and missing tiles; with `remove` the damaged files are deleted, so that
    `write_tiles` computes them again.

    Raises
    ------
    ValueError
        `remove` is asked for in an array that `write_tiles` did not make.
    """
    array, damaged = zarr.open_array(path, mode="r", zarr_format=3), {}
    if remove and array.attrs.get("format") != FORMAT:
        raise ValueError(f"{path} is no matrix of tiles, so nothing is removed from it")
    incomplete = set(unfinished(array, path))
    for i, j in tile_numbers(array.shape[0], array.chunks[0]):
        file = tile_file(path, i, j)
        try:
            if (i, j) in incomplete:
                raise ValueError("cut short" if file.exists() else "missing")
            array.blocks[i, j]
        except (ValueError, RuntimeError, OSError) as error:
            damaged[str(file)] = str(error)
            if remove and file.is_file() and not isinstance(error, OSError):  # what cannot be read may be whole
                file.unlink()
    return damaged


def tile_numbers(m, tile):
    """(row, column) of every tile of the upper triangle, row by row: neighbours share the row's predictions."""
    n = -(-m // tile)
    return ((i, j) for i in range(n) for j in range(i, n))


def unfinished(array, path, numbers=None):
    """Numbers of the tiles that are not on disk in full size (a file is renamed into place when it is complete)."""
    numbers = tile_numbers(array.shape[0], array.chunks[0]) if numbers is None else numbers
    n_bytes = _tile_bytes(array)
    sizes = ((number, tile_file(path, *number)) for number in numbers)
    return [number for number, file in sizes if not file.is_file() or file.stat().st_size != n_bytes]


def _tile_bytes(array):
    """Size of a tile's file."""
    return array.chunks[0] * array.chunks[1] * array.dtype.itemsize + CHECKSUM_BYTES


def tile_file(path, i, j):
    """Path of the file that holds tile (i, j): zarr's own name for that chunk."""
    return Path(path) / "c" / str(i) / str(j)


def span(k, tile, m):
    """Slice of the rows (or columns) of tile number k of m."""
    return slice(k * tile, min((k + 1) * tile, m))
