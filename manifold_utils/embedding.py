"""From an atlas' distances to its embedding: which points are fitted, which are placed, and where the geodesic lies.

The points of the grid `main` that are no outliers define the axes (PAPER's InPCA); all other points, and the geodesic
from ignorance to truth, are placed by `InPCA.transform`. The mathematics is in `inpca`; this room only brings the parts
together.
"""

import numpy as np
from tqdm import tqdm

from manifold_utils.distances import pairwise
from manifold_utils.geometry import geodesic, ignorance, truth
from manifold_utils.inpca import InPCA

OUTLIER_DISTANCE = 2.0  # nats to truth, the paper's limit
IN_MEMORY = 20_000  # points up to which the matrix is read whole (3.2 GB in float64)


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


def place(estimator, D_new):
    """Coordinates of new points; NaN for a point that is infinitely far, as truth is in symmetric KL.

    Parameters
    ----------
    estimator : fitted InPCA
    D_new : (n_new, m) ndarray, distances to the embedded points

    Returns
    -------
    (n_new, n_components) float64 ndarray
    """
    near = np.isfinite(D_new).all(axis=1)
    coordinates = np.full((len(D_new), estimator.embedding_.shape[1]), np.nan)
    if near.any():
        coordinates[near] = estimator.transform(D_new[near])
    return coordinates


def fitted_points(atlas, limit=OUTLIER_DISTANCE):
    """Boolean (n_points,): points of the grid `main` nearer to the train truth than `limit` (d_B = loss / 2, nats)."""
    table = atlas.table()
    return ((table.grid == "main") & (table.loss_train / 2 < limit)).to_numpy()


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
    point infinitely far; `reference` is lambda of the geodesic.
    Attributes: `trace` and `sum_of_squares` of the centred matrix when the estimator has them.
    """
    import xarray as xr

    fitted = fitted_points(atlas) if fitted is None else np.asarray(fitted)
    keep = np.flatnonzero(fitted)
    matrix = atlas.distances(split, metric)
    estimator = InPCA(n_components=min(n_components, len(keep) - 1))
    coordinates = np.empty((len(fitted), estimator.n_components))
    block = select(matrix, keep, in_memory)
    estimator.fit(block, client=None if isinstance(block, np.ndarray) else client)
    coordinates[keep] = estimator.embedding_
    for start in range(0, len(fitted), matrix.chunks[0]):  # a row of tiles at a time: each is read once
        rows = start + np.flatnonzero(~fitted[start : start + matrix.chunks[0]])
        if len(rows):
            panel = np.asarray(matrix[rows[0] : rows[-1] + 1])
            coordinates[rows] = place(estimator, panel[rows - rows[0]][:, keep])
    lambdas, reference = road(atlas, split, n_reference)
    placed = place(estimator, distances_to(atlas, split, reference, metric)[:, keep])
    per_component = {k: ("component", getattr(estimator, f"{k}_")) for k in PER_COMPONENT}
    variables = {"embedding": (("point", "component"), coordinates), "fitted": ("point", fitted)}
    return xr.Dataset(
        {**variables, **per_component, "reference_embedding": (("reference", "component"), placed)},
        coords={"reference": lambdas},
        attrs={"metric": metric, "split": split},
    )


PER_COMPONENT = ("eigenvalues", "signature", "explained_stress", "explained_distance")
