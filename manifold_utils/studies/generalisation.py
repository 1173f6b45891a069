"""Does what a run does on train samples tell how it does on test samples: order of learning, dimension, held-out R^2.

The seed document's open question (PAPER.md section 3). When a sample is learned for good, and how well two runs agree
on the order (Spearman), with the exact mean under shuffles within classes; the effective dimension of a set of points
(explained stress and participation ratio, PAPER.md section 1, InPCA); predictions of one number a run on held-out
configurations, with an interval that draws configurations. Association only: nothing here shows a cause. Which runs
are compared is the chapter's affair.
"""

import numpy as np
import pandas as pd

from manifold_utils.geometry import as_predictions, labels_of
from manifold_utils.inpca import InPCA


def learned_at(log_probs, labels):
    """The first checkpoint from which each sample stays right to the end.

    Parameters
    ----------
    log_probs : array-like of shape (n_points, n_samples, n_classes), in training order
    labels : array-like of shape (n_samples,), int

    Returns
    -------
    ndarray of shape (n_samples,), int
        n_points for a sample that is wrong at the last checkpoint.

    Examples
    --------
    >>> run = np.log([[[0.9, 0.1], [0.6, 0.4]], [[0.4, 0.6], [0.3, 0.7]], [[0.8, 0.2], [0.7, 0.3]]])
    >>> learned_at(run, [0, 1]).tolist()
    [2, 3]
    """
    log_probs = as_predictions(log_probs)
    wrong = log_probs.argmax(axis=-1) != labels_of(log_probs, labels)
    return np.where(wrong.any(axis=0), len(wrong) - wrong[::-1].argmax(axis=0), 0)


def order_agreement(orders, labels=None):
    """Spearman correlation between runs of the order in which they learn the samples, ties at their mean rank.

    Parameters
    ----------
    orders : array-like of shape (n_runs, n_samples)
        See `learned_at`; only the ranks within a run count.
    labels : array-like of shape (n_samples,), optional
        If given, the exact mean of the correlation when the samples of one run are shuffled within each class: what
        easy and hard classes alone make.

    Returns
    -------
    ndarray of shape (n_runs, n_runs), in [-1, 1]
        NaN for a run that learns all samples at once.

    Examples
    --------
    >>> order_agreement([[1, 2, 3, 4], [1, 2, 4, 3]])[0, 1].round(6).item()
    0.8
    >>> order_agreement([[1, 2, 3, 4], [1, 2, 4, 3]], labels=[0, 0, 1, 1])[0, 1].round(6).item()
    0.8
    """
    ranks = pd.DataFrame(np.asarray(orders)).rank(axis=1).to_numpy()
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(ranks).sum(axis=1, keepdims=True))
    unit = np.divide(ranks, size, out=np.full_like(ranks, np.nan), where=size > 0)
    if labels is not None:
        unit = pd.DataFrame(unit).T.groupby(np.asarray(labels)).transform("mean").T.to_numpy()
    return unit @ unit.T


def with_corners(clock, low, high, n_corners):
    """Checkpoints to keep so that a run has `n_corners` of them between two values of progress, evenly chosen.

    A run of few checkpoints is a polygon of few corners, and its dimension is low for that reason alone; so runs are
    compared with equally many.

    Parameters
    ----------
    clock : array-like of shape (n_points,), progress in training order
    low, high : float
    n_corners : int

    Returns
    -------
    ndarray of int, ascending: all checkpoints outside and the chosen ones inside; empty if there are too few inside

    Examples
    --------
    >>> with_corners([0.0, 0.2, 0.3, 0.4, 0.9], 0.1, 0.5, 2).tolist()
    [0, 1, 3, 4]
    """
    clock = np.asarray(clock)
    inside = (clock > low) & (clock < high)
    candidates = np.flatnonzero(inside)
    if len(candidates) < n_corners:
        return np.array([], dtype=int)
    chosen = candidates[np.linspace(0, len(candidates) - 1, n_corners).round().astype(int)]
    return np.sort(np.concatenate([np.flatnonzero(~inside), chosen]))


def dimension(D, share=0.9):
    """Effective dimensions of a set of points from their spectrum.

    Parameters
    ----------
    D : ndarray of shape (m, m), m >= 3, distances in nats
    share : float in (0, 1), of the stress

    Returns
    -------
    participation : float
        (sum |lambda|)^2 / sum lambda^2 over all axes: 1 for one axis, k for k equal ones.
    n_axes : int
        Axes that explain `share` of the stress.

    Examples
    --------
    >>> D = 2.0 * (1 - np.eye(4))  # a regular simplex has three equal axes
    >>> participation, n_axes = dimension(D)
    >>> round(participation, 6), n_axes
    (3.0, 3)
    """
    D = np.asarray(D, dtype=np.float64)
    fit = InPCA(n_components=len(D) - 1, solver="dense").fit(D)
    size = np.abs(fit.eigenvalues_)
    if not size.any():
        return 0.0, 0
    n_axes = int(np.searchsorted(fit.explained_stress_, share)) + 1
    return float(size.sum() ** 2 / np.square(size).sum()), min(n_axes, len(size))


def in_words(value, low, high):
    """'0.62 (0.47 to 0.71)', or that there is not enough to tell.

    Examples
    --------
    >>> in_words(0.621, 0.47, 0.71), in_words(np.nan, np.nan, np.nan)
    ('0.62 (0.47 to 0.71)', 'not enough configurations to tell')
    """
    return f"{value:.2f} ({low:.2f} to {high:.2f})" if np.isfinite(value) else "not enough configurations to tell"


def verdict(low, high, p=0.0):
    """In words, whether an effect is more than chance: by its interval and, if there is one, its p-value.

    Examples
    --------
    >>> verdict(0.2, 0.4, p=0.01), verdict(-0.1, 0.4, p=0.01), verdict(-0.3, -0.1, p=0.9), verdict(-0.1, 0.1)
    ('something', 'little, if anything', 'less than nothing', 'nothing that can be told from chance')
    """
    if low > 0:
        return "something" if p <= 0.05 else "something, but no more than the null gives"
    if high < 0:
        return "less than nothing"
    return "little, if anything" if 0 < p <= 0.05 else "nothing that can be told from chance"
