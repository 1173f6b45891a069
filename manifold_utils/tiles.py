"""The matrix of all pairs computed tile by tile onto disk, here or on Dask workers, resumable.

Divergences are means over samples (PAPER.md section 1), so a tile reads its points' predictions in chunks of samples,
as a memory budget allows, and the size of a tile alone decides what is held: one path for 200 points and 151,407.
The arithmetic is in `distances` and its kernels; what the files look like is in `tiled`.
"""

import shutil
import uuid
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import zarr
from tqdm import tqdm
from zarr.codecs import BytesCodec, Crc32cCodec

from manifold_utils.distances import METRICS, SMALL_WORK, accumulate, accumulator, check_choice, resolve_device
from manifold_utils.sources import as_source
from manifold_utils.store import TEMPORARY, atomic_path
from manifold_utils.tiled import FORMAT, Tiles, open_tiles, span, tile_file, tile_numbers, unfinished, verify_tiles

__all__ = ["Tiles", "engine", "open_tiles", "verify_tiles", "write_tiles"]

PAIR_BYTES = 48  # largest working memory a pair of a tile: accumulator, result, its converted and encoded copies
PROCESS_BYTES = 400 * 2**20  # a worker process before it computes: interpreter, libraries, fixed buffers
SAMPLE_COPIES = 4  # predictions of a chunk of samples: as read, decoded, converted, and one spare
SMALLEST_TILE, LARGEST_TILE = 48, 2048  # bounds of the tile that is chosen when none is given
WAVE = 3  # tasks in the scheduler for each worker thread; more would only wait there


def write_tiles(
    source, path, *, metric="bhattacharyya", tile=None, client=None, memory_budget=None, dtype="float32", cap=None,
    device="auto", fingerprint=None, rebuild=True, progress=True,
):  # fmt: skip
    """Compute the matrix of all pairs of `source` into `path`; tiles that are there already are kept.

    Parameters
    ----------
    source : array-like (m, N, C) of natural-log probabilities, float32 or float64
        numpy, torch, memory-mapped, zarr or dask array, or anything with shape, dtype and slices. Read lazily, a chunk
        of samples of two tiles at a time. With a client the workers read it: an array in memory is first spooled to a
        file beside `path`, which the workers must be able to open.
    path : path of the zarr array
    metric, cap, device : see `distances.pairwise`
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
            "device": device,
        }
        todo = unfinished(zarr.open_array(path, mode="r"), path)
        n_tiles = len(list(tile_numbers(m, tile)))
        bar = tqdm(
            total=n_tiles, initial=n_tiles - len(todo), desc=f"{metric} tiles", unit="tile", disable=not progress
        )
        with bar:
            for _ in _compute(reader, str(path), todo, settings, client, n_processes):
                bar.update()
    return open_tiles(path)


@contextmanager
def engine(address):
    """The client that `write_tiles` takes, from a word: "threads" (None: this process), "local", or an address."""
    if address == "threads":
        yield None
        return
    from manifold_utils.parallel import client

    with client(address) as connected:
        yield connected


def _share(memory_budget, n_processes):
    """Bytes of arrays that one process may hold."""
    import psutil  # a dependency of distributed

    budget = psutil.virtual_memory().available // 2 if memory_budget is None else memory_budget
    share = budget // n_processes - PROCESS_BYTES
    if share <= 0:
        raise ValueError(
            f"memory_budget of {budget / 1e6:.0f} MB does not hold {n_processes} processes, which take "
            f"{PROCESS_BYTES / 1e6:.0f} MB each before they compute; raise it or take fewer workers"
        )
    return int(share)


def _choose_tile(m, share, n_processes):
    """The largest tile that leaves half of the share to predictions and gives each process a few tiles."""
    fits = int((share / 2 / PAIR_BYTES) ** 0.5)
    shared = m if n_processes == 1 else -(-m // int(3 * n_processes**0.5 + 1))
    return max(SMALLEST_TILE, min(fits, shared, LARGEST_TILE))


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


def _prepare(path, m, tile, dtype, made_from, rebuild):
    """Make the zarr array at `path`, or leave it there if it was made from the same."""
    if path.exists():
        try:
            found = zarr.open_array(path, mode="r")
            attributes = dict(found.attrs)
        except Exception as error:  # zarr raises several kinds for what is not an array
            raise FileExistsError(
                f"{path} is there and is no matrix of tiles ({error}); choose another path"
            ) from error
        if attributes.get("format") != FORMAT:
            raise FileExistsError(f"{path} is there and is no matrix of tiles; choose another path")
        same_layout = (found.shape, found.chunks, str(found.dtype)) == ((m, m), (tile, tile), dtype)
        if same_layout and attributes == made_from:
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
            temporary, shape=(m, m), chunks=(tile, tile), dtype=dtype, serializer=BytesCodec(),
            compressors=[Crc32cCodec()], fill_value=np.nan, zarr_format=3, attributes=made_from,
        )  # fmt: skip


def _compute(reader, path, todo, settings, client, n_processes):
    """Yield the number of each tile when it is on disk; a few tasks a worker are in flight at a time."""
    if client is None:
        for number in todo:
            yield _write_tile(*_parts(reader, path, number), path, number, settings)
        return
    from distributed import as_completed

    waiting = iter(todo)

    def submit(number):
        parts = _parts(reader, path, number)
        return client.submit(_write_tile, *parts, path, number, settings, pure=False, key=f"tile-{uuid.uuid4().hex}")

    running = as_completed([submit(number) for number in islice(waiting, WAVE * n_processes)])
    try:
        for future in running:
            yield future.result()
            number = next(waiting, None)
            if number is not None:
                running.add(submit(number))
    finally:
        client.cancel(list(running.futures))


def _parts(reader, path, number):
    """Readers of a tile's rows and of its columns (None on the diagonal), small enough to travel."""
    m, tile = reader.shape[0], zarr.open_array(path, mode="r").chunks[0]
    rows, columns = (span(k, tile, m) for k in number)
    return reader.points(rows), None if rows == columns else reader.points(columns)


def _write_tile(rows, columns, path, number, settings):
    """Compute one tile and store it; runs on a worker."""
    array = zarr.open_array(path, mode="r+")
    tile, m = array.chunks[0], array.shape[0]
    first, second = span(number[0], tile, m), span(number[1], tile, m)
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
        offsets = (first.start, start), (second.start, start)
        accumulate(total, p, q, names=("source", "source"), offsets=offsets)
    tile_file(path, *number).unlink(missing_ok=True)  # what a damaged disk left; zarr would try to read it
    array[first, second] = total.result().astype(array.dtype)
    return number
