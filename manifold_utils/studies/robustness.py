"""One manifold seen through several divergences: the same short list of conclusions for any distance matrix.

Each conclusion of the book's figures becomes a number (chapter 51 lays them side by side): stress, signature, first
axis and progress, architecture of the neighbours, architecture against the rest. It computes no distances.
"""

import numpy as np
from scipy.stats import spearmanr

from manifold_utils.inpca import InPCA

CONCLUSIONS = {
    "stress_3": "explained stress of 3 axes",
    "stress_10": "explained stress of 10 axes",
    "time_like_10": "time-like among the first 10 axes",
    "axis_1_progress": "rank correlation of the first axis with progress",
    "same_architecture": "neighbours of other runs with the same architecture, over chance",
    "architecture_ratio": "distance between architectures over distance within, at equal progress",
}


def neighbour_excess(D, runs, levels, n_neighbours=10):
    """Share of the nearest points of other runs with the same level of a factor, over the share expected by chance.

    Parameters
    ----------
    D : ndarray of shape (m, m)
    runs, levels : sequences of length m
        Run and factor level of each point.
    n_neighbours : int

    Returns
    -------
    float
        1: levels mix as if dealt at random; chance is the share of the level among points of other runs.

    Examples
    --------
    >>> D = np.array([[0, 1, 5, 5], [1, 0, 5, 5], [5, 5, 0, 1], [5, 5, 1, 0.0]])
    >>> neighbour_excess(D, [0, 1, 2, 3], ["a", "a", "b", "b"], n_neighbours=1)
    3.0
    """
    runs, levels = np.asarray(runs), np.asarray(levels)
    other = runs[:, None] != runs
    alike = levels[:, None] == levels
    order = np.argsort(np.where(other, D, np.inf), axis=1, kind="stable")[:, :n_neighbours]
    valid = np.take_along_axis(other, order, axis=1)
    found = (np.take_along_axis(alike, order, axis=1) & valid).sum() / valid.sum()
    chance = ((alike & other).sum(axis=1) / np.maximum(other.sum(axis=1), 1)).mean()
    return float(found / chance)


def distance_ratio(D, runs, levels, clock, tolerance=0.05):
    """Mean distance between levels of a factor over that within a level, for points of other runs at equal progress.

    Parameters
    ----------
    D : ndarray of shape (m, m)
    runs, levels : sequences of length m
    clock : ndarray of shape (m,)
        Progress; pairs that differ by more than `tolerance` are left out.

    Returns
    -------
    float
        NaN if there is no pair of one of the two kinds.
    """
    runs, levels, clock = np.asarray(runs), np.asarray(levels), np.asarray(clock)
    pairs = (runs[:, None] != runs) & (np.abs(clock[:, None] - clock) <= tolerance)
    alike = levels[:, None] == levels
    if not (pairs & alike).any() or not (pairs & ~alike).any():
        return float("nan")
    return float(D[pairs & ~alike].mean() / D[pairs & alike].mean())


def conclusions(D, runs, architectures, progress):
    """The numbers of `CONCLUSIONS` for one distance matrix, and the embedding they come from.

    Parameters
    ----------
    D : ndarray of shape (m, m), finite
    runs, architectures : sequences of length m
    progress : ndarray of shape (m,)

    Returns
    -------
    dict of float
    estimator : InPCA with up to 10 axes, fitted to D

    Raises
    ------
    ValueError
        From InPCA, if D is not finite: the rows are named.
    """
    estimator = InPCA(n_components=min(10, len(D) - 1)).fit(D)
    stress = estimator.explained_stress_
    found = {
        "stress_3": stress[min(3, len(stress)) - 1],
        "stress_10": stress[-1],
        "time_like_10": (estimator.eigenvalues_ < 0).sum(),
        "axis_1_progress": abs(spearmanr(estimator.embedding_[:, 0], progress).statistic),
        "same_architecture": neighbour_excess(D, runs, architectures),
        "architecture_ratio": distance_ratio(D, runs, architectures, progress),
    }
    return {name: float(value) for name, value in found.items()}, estimator
