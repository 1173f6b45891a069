"""W = -L D L / 2 as an operator: D is read, checked and multiplied, never centred or copied.

With weights n (counts of repeated points; M their sum, w = n/M) and J = 1 - 1 w', the operator is
B = sqrt(n) [-J D J'/2] sqrt(n), which for n = 1 is W itself (PAPER.md section 1: InPCA, Weighted). The first product
also checks D (finite, symmetric, zero diagonal; offending rows are named) and collects the norms, so nothing needs a
pass of its own. D is an array in memory, or anything on disk that slices by rows, read by panels here or on Dask
workers. It does not find eigenpairs: `solvers` does.
"""

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from manifold_utils.distances.sources import absolute
from manifold_utils.workers import n_cores, results

SYMMETRY_TOLERANCE = 1e-5  # largest |D_uv - D_vu| accepted, as a fraction of the largest entry
DIAGONAL_TOLERANCE = 1e-5  # largest |D_uu| accepted, as a fraction of the largest entry
PANEL_BYTES = 2**27  # of one row panel read from disk (two are alive at a time)
WORK_BYTES = 2**23  # of one float64 copy of rows, small enough for the last cache
TILE = 256  # side of the tiles in which symmetry is checked
SAMPLED_COLUMNS = 2  # columns of D sampled for each vector of the first block
RANDOM_SHARE = 1e-10  # of random vectors mixed into them
NAMED_ROWS = 5  # offending rows an error lists


class CentredGram:
    """B = sqrt(n) [-J D J'/2] sqrt(n) as an operator with statistics.

    Parameters
    ----------
    D : ndarray or array on disk of shape (m, m)
        Symmetric, zero diagonal, in the role of squared distances (nats for d_B).
    weights : ndarray of shape (m,), optional
        Counts of repeated points, >= 0; all 1 by default.
    client : distributed.Client, optional
        Sends row panels of a D on disk to its workers; D must then be readable from them.
    first : ndarray of shape (m, b), optional
        What is known of the leading eigenvectors: the first vectors of `guess`.

    Attributes
    ----------
    row_means : ndarray of shape (m,)
        D w, the weighted mean distance of every point (known after `start`).
    grand_mean : float
        w' D w.
    norm, distance_norm : float
        Frobenius norms of B, and of sqrt(n) D sqrt(n).
    diagonal : ndarray of shape (m,)
        Diagonal of -J D J'/2, the squared (Minkowski) distance of every point to the centroid.
    n_passes : int
        Passes over D so far.
    """

    def __init__(self, D, weights=None, client=None, first=None):
        if len(D.shape) != 2 or D.shape[0] != D.shape[1]:
            raise ValueError(f"D must be square, (m, m), got shape {tuple(D.shape)}")
        self.m = D.shape[0]
        if isinstance(D, np.ndarray) and D.flags.f_contiguous:
            D = D.T  # symmetric, so the same matrix; its rows are now contiguous
        self.D, self.client, self.first = D if client is None else absolute(D), client, first
        self.in_memory = isinstance(D, np.ndarray) and D.flags.c_contiguous
        if client is not None and isinstance(D, np.ndarray):
            raise ValueError("a Dask client needs D on disk (zarr), where its workers can read it")
        self.counts = np.ones(self.m) if weights is None else check_weights(weights, self.m)
        self.total = self.counts.sum()
        self.root, self.w = np.sqrt(self.counts), self.counts / self.total
        self.n_passes, self._rows = 0, None

    def guess(self, block, rng):
        """First vectors of a Krylov block, (m, block): the leading span of sampled columns of D, read from memory.

        They are worth one or two passes of a random block, which is what a D on disk gets: its rows come in panels.
        What the caller knows of the eigenvectors stands first.
        """
        random = rng.standard_normal((self.m, block))
        if self.first is not None:
            known = self.root[:, None] * self.first[:, :block]
            return np.column_stack([known, random[:, known.shape[1] :]])
        if not self.in_memory:
            return random
        self._inspect(None)
        rows = rng.choice(self.m, min(SAMPLED_COLUMNS * block, self.m), replace=False)
        columns = self.D[rows].T.astype(np.float64)
        columns = self.root[:, None] * (columns - self.w @ columns)
        Y = np.linalg.eigh(columns.T @ columns)[1][:, -block:]
        noise = RANDOM_SHARE * (np.linalg.norm(columns) or 1.0)  # keeps the rank where the columns lack it
        return noise * random + columns @ np.pad(Y, ((0, 0), (0, block - Y.shape[1])))

    def start(self, V):
        """B V, checking D and collecting its statistics in the same pass; V (m, b) may have no column."""
        X = np.column_stack([self._centre(V), self.w])
        Z = self._inspect(X)
        self.n_passes += 1
        squares, own = self._rows
        self.row_means = Z[:, -1].copy()
        self.grand_mean = float(self.w @ self.row_means)
        self.diagonal = self.row_means - 0.5 * (self.grand_mean + own)
        mean_square = self.w @ squares / self.total
        self.distance_norm = self.total * np.sqrt(mean_square)
        centred = mean_square - 2 * (self.w @ self.row_means**2) + self.grand_mean**2
        self.norm = 0.5 * self.total * np.sqrt(max(centred, 0.0))
        return self._close(Z[:, :-1])

    def _inspect(self, X):
        """Check D once; returns D X if there is an X. In memory the check is exact, on disk it shares the pass."""
        if self.in_memory:
            if self._rows is None:
                self._accept(_scan(self.D, 0, self.counts), _asymmetry(self.D), 1.0)
            return None if X is None else _multiply(self.D, X)
        probe = np.random.default_rng(self.m).uniform(0.5, 1.0, self.m)
        with np.errstate(invalid="ignore"):  # NaN and infinity are reported below, by row
            Z, scan, transposed = _sweep(self.D, np.column_stack([X, probe]), self.counts, probe, self.client)
            # D x and D' x differ in the rows where D and D' differ; one random x sees every such row
            self._accept(scan, np.abs(Z[:, -1] - transposed), np.sqrt(self.m))
        return Z[:, :-1]

    def _accept(self, scan, gap, slack):
        squares, largest, own = scan
        _check(squares, largest, own, gap, slack)
        self._rows = squares, own

    def __matmul__(self, V):
        """B V for V of shape (m, b), in one pass over D."""
        self.n_passes += 1
        X = self._centre(V)
        return self._close(_multiply(self.D, X) if self.in_memory else _sweep(self.D, X, None, None, self.client)[0])

    def dense(self):
        """B itself, (m, m) float64: the only copy this package ever makes of a matrix of distances."""
        B = np.array(self.D, dtype=np.float64)
        B -= self.row_means
        B -= self.row_means[:, None]
        B += self.grand_mean
        B *= -0.5 * self.root
        B *= self.root[:, None]
        return B

    def _centre(self, V):
        Y = self.root[:, None] * V
        return Y - self.w[:, None] * Y.sum(axis=0)  # J' v = v - w (1' v)

    def _close(self, Z):
        return (-0.5 * self.root)[:, None] * (Z - self.w @ Z)  # J z = z - 1 (w' z)


def check_weights(weights, m):
    """Weights as float64 (m,); ValueError unless finite, >= 0, and positive for two points at least."""
    weights = np.asarray(weights, dtype=np.float64)
    if weights.shape != (m,):
        raise ValueError(f"sample_weight must have shape ({m},), got {weights.shape}")
    wrong = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
    if len(wrong):
        raise ValueError(f"sample_weight must be finite and >= 0; it is {weights[wrong[0]]} for point {wrong[0]}")
    if np.count_nonzero(weights) < 2:
        raise ValueError(f"sample_weight is zero for {np.count_nonzero(weights == 0)} of {m} points; leave two or more")
    return weights


def check_finite(D, name, first=0):
    """ValueError naming the rows of an array in memory that hold NaN or infinity, counted from `first`."""
    rows = [first + start + i for start in range(0, len(D), TILE) for i in _bad_rows(D[start : start + TILE])]
    if rows:
        _refuse_non_finite(rows, name)


def _check(squares, largest, own, gap, slack):
    """The checks of D, from per-row sums of squares, largest entries, self-distances and asymmetries."""
    rows = np.flatnonzero(~np.isfinite(squares))
    if len(rows):
        _refuse_non_finite(rows, "D")
    scale = largest.max()
    rows = np.flatnonzero(gap > SYMMETRY_TOLERANCE * scale * slack)
    if len(rows):
        raise ValueError(
            f"D is not symmetric in rows {_listed(rows)}: D and its transpose differ by up to {gap[rows].max():.3g} "
            "there; pass (D + D.T) / 2 if that is rounding"
        )
    rows = np.flatnonzero(np.abs(own) > DIAGONAL_TOLERANCE * scale)
    if len(rows):
        raise ValueError(f"D must have zero self-distances; the diagonal is {own[rows[0]]:.3g} in rows {_listed(rows)}")


def _refuse_non_finite(rows, name):
    raise ValueError(
        f"{name} contains NaN or infinity in rows {_listed(rows)}: leave those points out, or give "
        "distances.pairwise a `cap` if they come from disjoint supports"
    )


def _listed(rows):
    text = ", ".join(str(row) for row in rows[:NAMED_ROWS])
    return text + (f" and {len(rows) - NAMED_ROWS} more" if len(rows) > NAMED_ROWS else "")


def _bad_rows(block):
    return np.flatnonzero(~np.isfinite(block).all(axis=1))


def _sweep(D, X, counts, probe, client):
    """One pass by panels: D X and, with `counts`, per-row (sum of n D^2, largest |D|, D_uu) and D' probe."""
    if hasattr(D, "sweep"):  # a matrix that is known by its products alone
        return D.sweep(X, counts, probe)
    m = D.shape[0]
    rows = _panel_rows(D)
    starts = range(0, m, rows)
    if client is None:
        panels = _local_panels(D, starts, rows, X, counts, probe)
    else:
        # one object for all panels, sent once: Dask makes tasks of large keyword arguments, and loses their names
        (shared,) = client.scatter([(X, counts, probe)], broadcast=True, hash=False)
        futures = client.map(_panel, starts, D=D, rows=rows, shared=shared, pure=False)
        panels = results(futures, client)
    Z, transposed = np.empty((m, X.shape[1])), np.zeros(m)
    scan = None if counts is None else np.empty((3, m))
    for start, (product, panel_scan, across) in zip(starts, panels, strict=True):
        Z[start : start + rows] = product
        if counts is not None:
            scan[:, start : start + rows] = panel_scan
            transposed += across
    return Z, scan, transposed


def _local_panels(D, starts, rows, X, counts, probe):
    """Panels in order, the next one being read while this one is multiplied."""
    with ThreadPoolExecutor(1) as reader:
        waiting = reader.submit(_read, D, 0, rows)
        for start in starts:
            panel = waiting.result()
            waiting = reader.submit(_read, D, start + rows, rows)
            yield _panel_work(panel, start, X, counts, probe)


def _panel(start, D, rows, shared):
    """The work of one panel on a Dask worker."""
    return _panel_work(_read(D, start, rows), start, *shared)


def _panel_work(panel, start, X, counts, probe):
    product = _multiply(panel, X)
    if counts is None:
        return product, None, None
    across = np.zeros(panel.shape[1])
    step = _work_rows(panel)
    for i in range(0, len(panel), step):
        across += probe[start + i : start + min(i + step, len(panel))] @ panel[i : i + step].astype(np.float64)
    return product, _scan(panel, start, counts), across


def _read(D, start, rows):
    return np.ascontiguousarray(D[start : min(start + rows, D.shape[0])])


def _panel_rows(D):
    """Rows of a panel: what PANEL_BYTES allow, in whole chunks of D where it has chunks."""
    rows = max(1, PANEL_BYTES // (D.shape[1] * np.dtype(D.dtype).itemsize))
    chunk = getattr(D, "chunks", None)
    return max(rows // chunk[0], 1) * chunk[0] if chunk else rows


def _work_rows(panel):
    return max(16, WORK_BYTES // (8 * panel.shape[1]))


def _multiply(panel, X):
    """panel @ X in float64; float32 rows are converted a few at a time."""
    if panel.dtype == np.float64:
        return panel @ X
    out, step = np.empty((len(panel), X.shape[1])), _work_rows(panel)
    for i in range(0, len(panel), step):
        np.matmul(panel[i : i + step].astype(np.float64), X, out=out[i : i + step])
    return out


def _scan(panel, start, counts):
    """Per row of a panel: sum_v n_v D_uv^2 (not finite if any entry is not), the largest |D_uv|, and D_uu."""
    out = np.empty((3, len(panel)))
    cuts = np.linspace(0, len(panel), n_cores() + 1).astype(int)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda i, j: _scan_rows(panel[i:j], start + i, counts, out[:, i:j]), cuts[:-1], cuts[1:]))
    return out


def _asymmetry(D):
    """max_v |D_uv - D_vu| of every row, exactly."""
    threads = n_cores()
    worst = np.zeros((threads, len(D)))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda t: _compare_tiles(D, t, threads, worst[t]), range(threads)))
    return worst.max(axis=0)


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _scan_rows(panel, start, counts, out):
    for i in range(panel.shape[0]):
        squares, largest = 0.0, 0.0
        for j in range(panel.shape[1]):
            entry = np.float64(panel[i, j])
            squares += counts[j] * (entry * entry)
            largest = max(largest, abs(entry))
        out[0, i], out[1, i], out[2, i] = squares, largest, panel[i, start + i]


@numba.njit(nogil=True, cache=True)
def _compare_tiles(D, first, step, worst):
    m = D.shape[0]
    for i0 in range(first * TILE, m, step * TILE):
        for j0 in range(i0, m, TILE):
            for i in range(i0, min(i0 + TILE, m)):
                for j in range(max(j0, i + 1), min(j0 + TILE, m)):
                    gap = abs(np.float64(D[i, j]) - np.float64(D[j, i]))
                    if gap > worst[i]:
                        worst[i] = gap
                    if gap > worst[j]:
                        worst[j] = gap
