"""The matrix of all pairs that is never stored: each product computes its tiles anew (PAPER.md section 1).

For the paper's 151,407 points the matrix takes 92 GB and a pass over it hours of kernel time, but a few passes of a
block Krylov method are all that its top eigenpairs need. `Recomputed` has the shape of a matrix, and `sweep`, which
`inpca.gram` calls instead of reading rows: D X, together with what the check of D wants to know. Tiles of the upper
triangle serve both halves. Nothing is written, so an interrupted pass starts anew.
"""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from manifold_utils.distances.sources import as_source
from manifold_utils.distances.tiles import (
    THIS_PROCESS,
    block_settings,
    compute_block,
    held,
    run_tasks,
    span,
)

TILE = 1024  # points a side of a tile
TASK_TILES = 8  # tiles of a row that one task computes: the row is read and its product sent once


class Recomputed:
    """A symmetric matrix of divergences by its products; give it to `InPCA.fit` in place of D.

    Parameters
    ----------
    reader : `sources.Source` of (m, N, C) natural-log probabilities; see `recomputed` for anything array-like
    metric : see `distances.pairwise`
    resources : workers.Resources
    show_progress : bool

    Attributes
    ----------
    shape : (m, m); dtype : float64; chunks : (tile, tile)
    """

    def __init__(self, reader, *, metric="bhattacharyya", resources=THIS_PROCESS, show_progress=True):
        m = reader.shape[0]
        self.reader, self.resources, self.show_progress = reader, resources, show_progress
        self.shape, self.dtype, self.ndim = (m, m), np.dtype(np.float64), 2
        self.tile = min(m, TILE)
        self.chunks = (self.tile, self.tile)
        self.settings = block_settings(reader, self.tile, resources, metric=metric)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Rows of the matrix, computed: (n, m) for a slice."""
        start, stop, _ = rows.indices(len(self))
        part = self.reader.points(slice(start, stop))
        blocks = [compute_block(part, self.reader.points(columns), self.settings) for columns in self._spans()]
        out = np.concatenate(blocks, axis=1)
        out[np.arange(stop - start), np.arange(start, stop)] = 0.0
        return out

    def sweep(self, X, counts, probe):
        """D X and, with `counts`, per-row (sum of n D^2, largest |D|, D_uu) and D' probe: what `gram` asks of a pass.

        X : (m, b) float64, its last column being `probe` where there are counts
        """
        Z, scan = np.zeros_like(X), None if counts is None else np.zeros((3, len(X)))
        shared = (X, counts)
        if self.resources.client is not None:
            (shared,) = self.resources.client.scatter([shared], broadcast=True, hash=False)
        tasks = list(self._tasks())
        calls = ((self.reader, columns, self.tile, shared, self.settings) for columns in tasks)
        with tqdm(total=sum(map(len, tasks)), desc="tiles of a pass", unit="tile",
                  disable=not self.show_progress, leave=False) as bar:  # fmt: skip
            for n_tiles, parts in run_tasks(_multiply_tiles, calls, self.resources):
                for k, product, seen in parts:
                    rows = span(k, self.tile, len(self))
                    Z[rows] += product
                    if scan is not None:
                        scan[0, rows] += seen[0]
                        np.maximum(scan[1, rows], seen[1], out=scan[1, rows])
                bar.update(n_tiles)
        # tiles serve both triangles, so that the matrix is symmetric by construction, and its diagonal is zero
        return Z, scan, None if scan is None else Z[:, -1].copy()

    def _spans(self):
        return (span(k, self.tile, len(self)) for k in range(-(-len(self) // self.tile)))

    def _tasks(self):
        """Lists of (row, column) of tiles of the upper triangle, each within a row."""
        n = -(-len(self) // self.tile)
        for i in range(n):
            row = [(i, j) for j in range(i, n)]
            yield from (row[k : k + TASK_TILES] for k in range(0, len(row), TASK_TILES))


@contextmanager
def recomputed(source, path, **options):
    """Yield the `Recomputed` of anything array-like; what is in memory is spooled beside `path` if there are workers.

    Examples
    --------
    >>> from manifold_utils.inpca import InPCA
    >>> log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(3), size=(40, 5)))
    >>> with recomputed(log_probs, "unused", show_progress=False) as D:
    ...     fit = InPCA(n_components=2, solver="krylov").fit(D)
    >>> fit.embedding_.shape
    (40, 2)
    """
    client = options.get("resources", THIS_PROCESS).client
    with as_source(source, Path(path), spool=client is not None) as reader:
        yield Recomputed(reader, **options)


def _multiply_tiles(reader, numbers, tile, shared, settings):
    """Products of some tiles of one row with X, for the row and for each column; runs on a worker.

    Returns the number of tiles, and [(row, its product, its scan), (column, ...), ...].
    """
    (X, counts), m, i = shared, reader.shape[0], numbers[0][0]
    rows = span(i, tile, m)
    whole, seen, out = np.zeros((rows.stop - rows.start, X.shape[1])), np.zeros((2, rows.stop - rows.start)), []
    part = held(reader.points(rows), settings)
    for _, j in numbers:
        columns = span(j, tile, m)
        block = compute_block(part, None if j == i else reader.points(columns), settings, (rows.start, columns.start))
        whole += block @ X[columns]
        if counts is not None:
            squares = block * block
            seen[0] += squares @ counts[columns]
            np.maximum(seen[1], block.max(axis=1), out=seen[1])
        if j == i:
            continue
        across = None if counts is None else (counts[rows] @ squares, block.max(axis=0))
        out.append((j, block.T @ X[rows], across))
    return len(numbers), [(i, whole, seen), *out]
