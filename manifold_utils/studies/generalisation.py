"""In which order a run learns the samples, and how many dimensions a set of points has.

When a sample is learned for good, and how well two runs agree on the order (Spearman), with the exact mean under
shuffles within classes; the effective dimension of a set of points (explained stress and participation ratio, PAPER.md
section 1, InPCA). Which runs are compared is the chapter's affair.
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
