"""Some columns of the matrix of all pairs, on disk: distances of all points to a few (landmarks, PAPER.md section 1).

A row of blocks is one task: it reads its points once and goes through the blocks of columns, whose predictions lie in
one file beside the array. Chunks, checksums, renaming and resuming are those of `tiles`. Which columns are worth
having, and what to do with them, is `inpca.landmarks`' business.
"""

import uuid
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zarr
from tqdm import tqdm

from manifold_utils.distances import METRICS
from manifold_utils.distances.sources import MappedSource, as_source
from manifold_utils.distances.tiles import (
    THIS_PROCESS,
    block_settings,
    compute_block,
    held,
    prepare,
    run_tasks,
    span,
    unfinished,
    write_block,
)
from manifold_utils.files import TEMPORARY, writing
from manifold_utils.workers import check_choice

FORMAT = "manifold columns 1"
TILE, BLOCK = 1024, 512  # largest number of points and of columns of a chunk


def write_columns(source, path, columns, *, metric="bhattacharyya", resources=THIS_PROCESS, fingerprint=None,
                  rebuild=True, show_progress=True):  # fmt: skip
    """Divergences of all points of `source` to some of them, into `path`; chunks that are there already are kept.

    Parameters
    ----------
    source : array-like (m, N, C) of natural-log probabilities, as of `tiles.write_tiles`
    path : path of the zarr array
    columns : array-like (l,) of int, row numbers of different points
    metric : see `distances.pairwise`
    resources, fingerprint, rebuild, show_progress : see `tiles.write_tiles`

    Returns
    -------
    zarr.Array (m, l), float32

    Raises
    ------
    ValueError
        For columns that are no row numbers of the source or named twice, and as `write_tiles`.
    """
    check_choice("metric", metric, METRICS)
    path, m, columns = Path(path).resolve(), source.shape[0], np.asarray(columns)
    if columns.ndim != 1 or not len(columns) or len(np.unique(columns)) != len(columns):
        raise ValueError("columns must be a list of different row numbers")
    if columns.min() < 0 or columns.max() >= m:
        raise ValueError(f"columns must be row numbers from 0 to {m - 1}, found {columns.min()} to {columns.max()}")
    tile, block = min(m, TILE), min(len(columns), BLOCK)
    with as_source(source, path, spool=resources.client is not None) as reader:
        made_from = {
            "format": FORMAT, "metric": metric, "source": list(reader.shape), "columns": columns.tolist(),
            "fingerprint": reader.fingerprint() if fingerprint is None else fingerprint,
        }  # fmt: skip
        prepare(path, (m, len(columns)), (tile, block), "float32", made_from, rebuild)
        array = zarr.open_array(path, mode="r", zarr_format=3)
        todo = _missing(array, path)
        settings = block_settings(reader, tile, resources, metric=metric)
        n_rows = -(-m // tile)
        bar = tqdm(total=n_rows, initial=n_rows - len(todo), desc=f"{metric} columns", unit="row of blocks",
                   disable=not show_progress)  # fmt: skip
        with bar, _gathered(reader, path, columns) as few:
            calls = ((reader.points(span(k, tile, m)), few, str(path), k, todo[k], settings) for k in todo)
            for _ in run_tasks(_write_row, calls, resources):
                bar.update()
    return zarr.open_array(path, mode="r", zarr_format=3)


def _missing(array, path):
    """{row of blocks: [numbers of its missing blocks]}."""
    todo = {}
    for i, j in unfinished(array, path, _numbers(array)):
        todo.setdefault(i, []).append(j)
    return todo


def _numbers(array):
    """(row, column) of every chunk."""
    n_rows, n_columns = (-(-n // chunk) for n, chunk in zip(array.shape, array.chunks, strict=True))
    return [(i, j) for i in range(n_rows) for j in range(n_columns)]


@contextmanager
def _gathered(reader, path, columns):
    """The predictions of the columns in one file that every worker maps; read in the order of the source."""
    file = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-columns.npy")
    try:
        with writing(file):
            shape = (len(columns), *reader.shape[1:])
            out = np.lib.format.open_memmap(file, mode="w+", dtype=reader.dtype, shape=shape)
            for k in np.argsort(columns, kind="stable"):
                i = int(columns[k])
                out[k] = reader.points(slice(i, i + 1)).read(slice(None))[0]
            out.flush()
            del out
        yield MappedSource.of(np.load(file, mmap_mode="r", allow_pickle=False))
    finally:
        file.unlink(missing_ok=True)


def _write_row(rows, few, path, k, blocks, settings):
    """Compute the missing blocks of row k and store them; runs on a worker."""
    array = zarr.open_array(path, mode="r+", zarr_format=3)
    tile, block = array.chunks
    rows = held(rows, settings)
    for j in blocks:
        spans = span(k, tile, array.shape[0]), span(j, block, array.shape[1])
        found = compute_block(rows, few.points(spans[1]), settings, offsets=(spans[0].start, spans[1].start))
        write_block(array, path, (k, j), spans, found, _numbers)
    return k
