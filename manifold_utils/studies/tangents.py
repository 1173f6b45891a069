"""Directions of the manifold near its ends, and an embedding built from four points only.

Tangent vectors are log maps on the product of spheres (PAPER.md section 1, Tangents): at ignorance P0 of early points,
at truth P* of late ones. "Three bases": InPCA of P0, P* and two weighted averages of all models, then all models as new
points. Judged against ordinary InPCA by the L1 explained distance. Trajectories come resampled.
"""

import numpy as np

from manifold_utils.distances import pairwise
from manifold_utils.geometry import ignorance, log_map, truth
from manifold_utils.inpca import InPCA, minkowski_distances
from manifold_utils.statistics import shuffle_within_class

KERNEL_WIDTH = 0.05  # of progress, in the weights of the two averages (PAPER.md)
BLOCK_ROWS = 500  # rows of D compared at once
TINY = 1e-300  # length below which a tangent vector has no direction


def explained_distance_l1(D, coordinates, signature):
    """1 - sum |D_k - D| / sum D, D_k the distances that signed coordinates stand for.

    Parameters
    ----------
    D : array-like of shape (m, m)
        Distances; an array on disk is read by row panels.
    coordinates : ndarray of shape (m, k)
    signature : ndarray of shape (k,)
        +1 or -1.

    Returns
    -------
    float
        1 if the coordinates rebuild D; negative if they are worse than all points in one place.

    Examples
    --------
    >>> explained_distance_l1(np.array([[0.0, 4.0], [4.0, 0.0]]), np.array([[0.0], [2.0]]), np.array([1]))
    1.0
    """
    error = total = 0.0
    for start in range(0, len(coordinates), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        exact = np.asarray(D[rows], dtype=np.float64)
        error += np.abs(minkowski_distances(coordinates[rows], signature, coordinates) - exact).sum()
        total += exact.sum()
    return float(1.0 - error / total)


def weighted_average(blocks, progress, centre, width=KERNEL_WIDTH):
    """Arithmetic mean of predictions with weights exp(-(s - centre)^2 / (2 width^2)) on their progress.

    Parameters
    ----------
    blocks : iterable of ndarrays of shape (n, n_samples, n_classes)
        Natural-log predictions, for instance run by run.
    progress : ndarray of shape (n_points,)
        Progress of all points, in the order of the blocks.
    centre, width : float

    Returns
    -------
    ndarray of shape (1, n_samples, n_classes), float64
        Natural-log probabilities.

    Raises
    ------
    ValueError
        If no point lies near the centre (all weights vanish), or the lengths differ.

    Examples
    --------
    >>> points = np.log([[[0.2, 0.8]], [[0.6, 0.4]]])
    >>> np.exp(weighted_average([points], np.array([0.3, 0.3]), 0.3)).round(6).tolist()
    [[[0.4, 0.6]]]
    """
    weights = np.exp(-((np.asarray(progress, dtype=np.float64) - centre) ** 2) / (2 * width**2))
    if not weights.sum() > 0:
        raise ValueError(f"no point has a progress near {centre} (width {width}): nothing to average")
    total, start = 0.0, 0
    for block in blocks:
        part = weights[start : start + len(block)]
        if part.any():
            total = total + np.tensordot(part, np.exp(np.asarray(block, dtype=np.float64)), axes=1)
        start += len(block)
    if start != len(weights):
        raise ValueError(f"{start} predictions, but {len(weights)} values of progress")
    return np.log(total / weights.sum())[None]


def three_bases(blocks, labels, progress, centres=(0.3, 0.7), width=KERNEL_WIDTH):
    """InPCA of four points: ignorance, truth, and the averages of all models near two values of progress.

    Parameters
    ----------
    blocks : callable giving an iterable of ndarrays (n, n_samples, n_classes)
        Called once for each centre.
    labels : ndarray of shape (n_samples,), int
    progress : ndarray of shape (n_points,)
        As in `weighted_average`.
    centres : (float, float)

    Returns
    -------
    estimator : InPCA with three axes, fitted to the four points
    anchors : ndarray of shape (4, n_samples, n_classes)
        Natural-log predictions of P0, P* and the two averages, in that order.
    """
    averages = [weighted_average(blocks(), progress, centre, width) for centre in centres]
    n_samples, n_classes = averages[0].shape[1:]
    anchors = np.concatenate([ignorance(n_samples, n_classes), truth(labels, n_classes), *averages])
    return InPCA(n_components=3).fit(pairwise(anchors)), anchors


def tangent_vectors(log_probs, base):
    """Log maps of predictions at a base point, flattened and scaled so that a squared length is a mean over samples.

    Parameters
    ----------
    log_probs : array-like of shape (n, n_samples, n_classes)
    base : ndarray of shape (1, n_samples, n_classes)
        Natural logs; ignorance or truth.

    Returns
    -------
    ndarray of shape (n, n_samples * n_classes), float32
        Squared length: mean over samples of the squared angle to the base point (radians^2).

    Examples
    --------
    >>> base, point = ignorance(2, 4), truth([0, 1], 4)
    >>> length = np.linalg.norm(tangent_vectors(point, base)[0])
    >>> bool(np.isclose(length, np.pi / 3))  # the angle from ignorance to truth, four classes
    True
    """
    n, n_samples = len(log_probs), base.shape[1]
    out = np.empty((n, base[0].size), dtype=np.float32)
    for i in range(n):  # one point at a time: the float64 work arrays stay small
        out[i] = log_map(base, np.asarray(log_probs[i : i + 1])).ravel() / np.sqrt(n_samples)
    return out


def off_the_road(log_probs, base, other_end):
    """Tangent vectors at `base` without their part along the geodesic to `other_end`.

    Parameters
    ----------
    log_probs : array-like of shape (n, n_samples, n_classes)
    base, other_end : ndarrays of shape (1, n_samples, n_classes)
        Ignorance and truth, or truth and ignorance.

    Returns
    -------
    ndarray of shape (n, n_samples * n_classes), float32
        See `tangent_vectors`; each is orthogonal to the geodesic.
    """
    vectors, along = tangent_vectors(log_probs, base), tangent_vectors(other_end, base)[0]
    unit = along / np.linalg.norm(along)
    return vectors - np.outer(vectors @ unit, unit)


def shared_directions(early_and_late, labels, *, n_null, rng):
    """Directions off the geodesic of early points seen from ignorance and of late ones seen from truth, with a null.

    The null shuffles the samples of each run within their classes: loss, progress and distances to both ends stay; what
    is lost is which samples a run has learned.

    Parameters
    ----------
    early_and_late : ndarray of shape (n_runs, 2, n_samples, n_classes)
        Natural-log predictions of each run at an early and at a late progress.
    labels : ndarray of shape (n_samples,), int
    n_null : int
        Shuffled copies of all runs.
    rng : numpy Generator

    Returns
    -------
    real : dict of "ignorance" and "truth" to ndarray of shape (n_runs, n_samples * n_classes)
    null : dict of the same to ndarray of shape (n_null, n_runs, n_samples * n_classes)

    Examples
    --------
    >>> runs = np.log([[[[0.5, 0.3, 0.2]] * 2, [[0.8, 0.1, 0.1]] * 2]] * 3)
    >>> real, null = shared_directions(runs, [0, 0], n_null=2, rng=np.random.default_rng(0))
    >>> real["truth"].shape, null["truth"].shape
    ((3, 6), (2, 3, 6))
    """
    n_samples, n_classes = early_and_late.shape[2:]
    start, end = ignorance(n_samples, n_classes), truth(labels, n_classes)
    between = {"ignorance": (start, end), "truth": (end, start)}
    copies = [np.stack([shuffle_within_class(run, labels, rng) for run in early_and_late]) for _ in range(n_null)]
    real, null = {}, {}
    for k, (name, ends) in enumerate(between.items()):
        real[name] = off_the_road(early_and_late[:, k], *ends)
        null[name] = np.array([off_the_road(copy[:, k], *ends) for copy in copies])
    return real, null


def cosines(vectors):
    """Cosines between all pairs of vectors: ndarray (n, n); NaN for a vector of length 0."""
    length = np.linalg.norm(vectors, axis=1)
    unit = vectors / np.where(length > TINY, length, np.nan)[:, None]
    return np.clip(unit @ unit.T, -1.0, 1.0)


def direction_spectrum(vectors):
    """Share of squared length that the first k common directions hold (no centring: the mean direction counts).

    Parameters
    ----------
    vectors : ndarray of shape (n, d)

    Returns
    -------
    ndarray of shape (n,), float64
        Cumulative, ending at 1: the share of sum ||v||^2 in the best k-dimensional subspace.

    Examples
    --------
    >>> direction_spectrum(np.array([[3.0, 0.0], [0.0, 1.0]])).round(3).tolist()
    [0.9, 1.0]
    """
    gram = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    values = np.maximum(np.linalg.eigvalsh(gram)[::-1], 0.0)
    return np.cumsum(values) / values.sum()
