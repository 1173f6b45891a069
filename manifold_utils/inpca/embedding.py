"""From an atlas' distances to its embedding: which points are fitted, which are placed, and where the geodesic lies.

The points of the grid `main` that are no outliers define the axes (PAPER's InPCA); all other points, and the geodesic
from ignorance to truth, are placed in it. The mathematics is in the room's face; this file brings the parts together,
for a whole atlas and for some of its points.
"""

import numpy as np
import pandas as pd
import xarray as xr
from tqdm import tqdm

from manifold_utils.distances import pairwise
from manifold_utils.geometry import geodesic, ignorance, truth
from manifold_utils.inpca import InPCA

OUTLIER_DISTANCE = 2.0  # nats to truth, the paper's limit, for the ten classes of its data
PAPER_CLASSES = 10
IN_MEMORY = 20_000  # points up to which the matrix is read whole (3.2 GB in float64)
PER_COMPONENT = ("eigenvalues", "signature", "explained_stress", "explained_distance", "offset")
DEAD_AXIS = 1e-12  # share of |lambda_1| below which an axis is rounding: its coordinates are 0
MIN_POINTS = 4  # fewer points have no third axis to speak of


class Submatrix:
    """The rows and columns `keep` of a square matrix on disk, read by row panels; never held in memory whole."""

    def __init__(self, matrix, keep):
        self.matrix, self.keep = matrix, np.asarray(keep)
        self.shape, self.dtype, self.chunks = (len(self.keep),) * 2, np.dtype(matrix.dtype), matrix.chunks

    def __getitem__(self, key):
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        wanted = np.atleast_1d(self.keep[rows])
        low, high = wanted.min(), wanted.max() + 1
        panel = np.asarray(self.matrix[low:high])
        return panel[wanted - low][:, self.keep[columns]]


def select(matrix, keep, in_memory=IN_MEMORY):
    """The square block `keep` x `keep`: an ndarray up to `in_memory` points, else a `Submatrix`."""
    if len(keep) > in_memory:
        return Submatrix(matrix, keep)
    whole = np.asarray(matrix[:])
    return whole if len(keep) == len(whole) else whole[np.ix_(keep, keep)]


def road(atlas, split, n=51):
    """The geodesic from ignorance to truth on the samples of an atlas.

    Returns
    -------
    lambdas : (n,) ndarray from 0 to 1
    log_probs : (n, n_samples, n_classes) ndarray
    """
    labels = atlas.labels(split)
    n_classes = atlas.log_probs(split).shape[2]
    lambdas = np.linspace(0, 1, n)
    return lambdas, geodesic(ignorance(len(labels), n_classes), truth(labels, n_classes), lambdas)


def distances_to(atlas, split, log_probs, metric="bhattacharyya"):
    """Distances of given predictions to all points of an atlas, run by run.

    Parameters
    ----------
    log_probs : (n, n_samples, n_classes) ndarray

    Returns
    -------
    (n, n_points) float64 ndarray
    """
    runs = list(dict.fromkeys(atlas.points.run))
    shown = tqdm(runs, "distances", leave=False)
    blocks = [pairwise(log_probs, atlas.run_log_probs(run, split), metric=metric) for run in shown]
    return np.concatenate(blocks, axis=1)


def place(embedding, D_new):
    """Coordinates of new points in a stored embedding, without fitting it again: `InPCA.transform` in other words.

    With embedded points x_u and eigenvalues lambda, x_new = c - d_new @ (x / lambda) / 2: columns of x sum to zero, so
    that all other terms of the centring are the constant c, which `embed` stores (PAPER.md section 1, New points).

    Parameters
    ----------
    embedding : xarray Dataset, see `embed` and `Atlas.embedding`
    D_new : array-like of shape (n_new, n_points)
        Distances to all points of the atlas (nats for d_B); those to points that were not fitted do not matter.

    Returns
    -------
    ndarray of shape (n_new, n_components), float64
        NaN for a point that is infinitely far, as truth is in symmetric KL.
    """
    keep = np.flatnonzero(embedding.fitted.values)
    D_new = np.asarray(D_new, dtype=np.float64)[:, keep]
    x, eigenvalues = embedding.embedding.values[keep], embedding.eigenvalues.values
    alive = np.abs(eigenvalues) > DEAD_AXIS * np.abs(eigenvalues).max()
    weights = np.where(alive, x / np.where(alive, eigenvalues, 1.0), 0.0)
    near = np.isfinite(D_new).all(axis=1)
    coordinates = np.full((len(D_new), len(eigenvalues)), np.nan)
    coordinates[near] = embedding.offset.values - 0.5 * D_new[near] @ weights
    return coordinates


def outlier_limit(n_classes, limit=OUTLIER_DISTANCE):
    """Distance to truth (nats) from which a point is an outlier; for more than ten classes, as far past ignorance.

    Ignorance is (log C)/2 from truth, so that with a hundred classes every run would begin beyond 2 nats.

    Examples
    --------
    >>> outlier_limit(10), round(outlier_limit(100), 6)
    (2.0, 4.0)
    """
    return limit * max(1.0, float(np.log(n_classes) / np.log(PAPER_CLASSES)))


def to_truth(atlas, table):
    """Distance of points to truth on the atlas' first split, half the loss: (n_points,) Series, nats."""
    return table[f"loss_{atlas.splits[0]}"] / 2


def fitted_points(atlas, limit=None):
    """Which points define the embedding: those of the grid `main` nearer to truth than `limit` (see `outlier_limit`).

    Returns
    -------
    ndarray of shape (n_points,), bool
    """
    table = atlas.table()
    limit = outlier_limit(atlas.n_classes) if limit is None else limit
    return ((table.grid == "main") & (to_truth(atlas, table) < limit)).to_numpy()


def embed(atlas, split, metric="bhattacharyya", n_components=50, *, fitted=None, n_reference=51, client=None,
          in_memory=IN_MEMORY):  # fmt: skip
    """Embed an atlas: InPCA of the fitted points, with all others and the geodesic placed in it.

    Parameters
    ----------
    fitted : (n_points,) boolean ndarray, default `fitted_points(atlas)`
    n_components : int, at most the number of fitted points less one
    client : distributed.Client, optional
        Its workers multiply the panels of a matrix that is too large to be held here.
    in_memory : int
        Points up to which the matrix is read whole.

    Returns
    -------
    xarray Dataset with embedding (point, component), fitted (point), eigenvalues, signature, explained_stress,
    explained_distance (component), reference_embedding (reference, component), NaN where the metric puts a reference
    point infinitely far; `reference` is lambda of the geodesic. `offset` (component) is what `place` needs beside.
    """
    fitted = fitted_points(atlas) if fitted is None else np.asarray(fitted)
    keep = np.flatnonzero(fitted)
    matrix = atlas.distances(split, metric)
    # fit the axes to the points that are no outliers
    estimator = InPCA(n_components=min(n_components, len(keep) - 1))
    block = select(matrix, keep, in_memory)
    estimator.fit(block, client=None if isinstance(block, np.ndarray) else client)
    coordinates = np.empty((len(fitted), estimator.n_components))
    coordinates[keep] = estimator.embedding_
    # store what placing needs: coordinates, eigenvalues and the constant of the centring
    per_component = {k: ("component", getattr(estimator, f"{k}_")) for k in PER_COMPONENT}
    variables = {"embedding": (("point", "component"), coordinates), "fitted": ("point", fitted)}
    dataset = xr.Dataset({**variables, **per_component}, attrs={"metric": metric, "split": split})
    # place all other points, a row of tiles at a time: each is read once
    for start in range(0, len(fitted), matrix.chunks[0]):
        rows = start + np.flatnonzero(~fitted[start : start + matrix.chunks[0]])
        if len(rows):
            panel = np.asarray(matrix[rows[0] : rows[-1] + 1])
            dataset.embedding.values[rows] = place(dataset, panel[rows - rows[0]])
    # place the geodesic
    lambdas, reference = road(atlas, split, n_reference)
    placed = place(dataset, distances_to(atlas, split, reference, metric))
    dataset["reference_embedding"] = (("reference", "component"), placed)
    return dataset.assign_coords(reference=lambdas)


def spectrum(D, keep=None, *, n_components=10, sample_weight=None):
    """A fitted `InPCA` of the points `keep`.

    Parameters
    ----------
    D : ndarray of shape (m, m)
        Distances in nats.
    keep : boolean or index array, optional
        Points to embed; all by default.
    n_components : int
        Fewer if there are fewer points.
    sample_weight : ndarray of shape (m,), optional
        Counts of all m points; those of `keep` are used.

    Returns
    -------
    InPCA

    Raises
    ------
    ValueError
        Fewer than four points.

    Examples
    --------
    >>> D = np.square(np.arange(5.0)[:, None] - np.arange(5.0))  # points on a line
    >>> float(spectrum(D, n_components=1).explained_stress_[0].round(6))
    1.0
    """
    keep = np.arange(len(D)) if keep is None else np.arange(len(D))[keep]
    if len(keep) < MIN_POINTS:
        raise ValueError(f"a spectrum needs at least {MIN_POINTS} points, found {len(keep)}")
    weights = None if sample_weight is None else np.asarray(sample_weight, dtype=float)[keep]
    estimator = InPCA(n_components=int(min(n_components, len(keep) - 1)))
    return estimator.fit(np.asarray(D[np.ix_(keep, keep)], dtype=np.float64), sample_weight=weights)


def first_time_like(eigenvalues):
    """Number (from 1) of the first axis with a negative eigenvalue; 0 if there is none."""
    negative = np.asarray(eigenvalues) < 0
    return int(negative.argmax()) + 1 if negative.any() else 0


def thinned(run, n_points):
    """Indices of about `n_points` points: every k-th checkpoint of each run, its first and last always among them.

    Parameters
    ----------
    run : (m,) array of run names, points of a run in order
    n_points : int

    Returns
    -------
    ndarray of int, ascending
    """
    step = max(1, int(np.ceil(len(run) / max(1, n_points))))
    place = pd.Series(np.asarray(run))
    rank = place.groupby(place, sort=False).cumcount().to_numpy()
    last = place.map(place.value_counts()).to_numpy() - 1
    return np.flatnonzero((rank % step == 0) | (rank == last))
