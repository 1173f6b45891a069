"""Six means of predictions: the centre of several runs at equal index, sample by sample.

arithmetic, geometric (normalised), harmonic (normalised), square_root ((mean sqrt p)^2, normalised), bhattacharyya
(minimises the mean d_B; Nielsen and Boltz 2011), jeffreys (minimises the mean symmetrised KL; Nielsen 2013), as in
PAPER.md section 1, Averages. Zeros are exact: a class keeps probability 0 where the definition says so, and samples
for which a mean does not exist (no class that all runs allow) are refused. It does not choose which runs to average.
"""

import numpy as np
from scipy.special import logsumexp, wrightomega

from manifold_utils.geometry import as_predictions

METHODS = ("arithmetic", "geometric", "harmonic", "square_root", "bhattacharyya", "jeffreys")
CENTROID_TOLERANCE = 1e-13  # largest change of a probability in the last iteration
MAX_ITERATIONS = 500  # the Bhattacharyya iteration halves its error each time; Newton needs about ten


def average(log_probs, method="arithmetic"):
    """Mean over runs at equal index.

    Parameters
    ----------
    log_probs : array-like of shape (n_runs, n_points, n_samples, n_classes)
        Natural-log probabilities; zeros as -inf.
    method : str
        One of METHODS.

    Returns
    -------
    ndarray of shape (n_points, n_samples, n_classes), float64
        Normalised natural-log probabilities.

    Raises
    ------
    ValueError
        For an unknown method or shape; for geometric, harmonic and jeffreys where runs have disjoint supports.
    RuntimeError
        If an iteration does not converge (none is known that does not).

    Examples
    --------
    >>> log_probs = np.log([[[[0.9, 0.1]]], [[[0.5, 0.5]]]])
    >>> np.exp(average(log_probs, "arithmetic"))[0, 0].round(3).tolist()
    [0.7, 0.3]
    >>> np.exp(average(log_probs, "geometric"))[0, 0].round(3).tolist()
    [0.75, 0.25]
    """
    if method not in METHODS:
        raise ValueError(f"unknown average {method!r}: choose one of {', '.join(METHODS)}")
    if len(log_probs.shape) != 4 or not log_probs.shape[0]:
        raise ValueError(f"average needs (n_runs, n_points, n_samples, n_classes), got {tuple(log_probs.shape)}")
    means = np.empty(log_probs.shape[1:])
    for t in range(len(means)):  # one index at a time keeps the work arrays small
        means[t] = _MEANS[method](as_predictions(log_probs[:, t]).astype(np.float64), t)
    return means


def _arithmetic(runs, _t):
    return logsumexp(runs, axis=0) - np.log(len(runs))


def _geometric(runs, t):
    return _normalised(runs.mean(axis=0), t)


def _harmonic(runs, t):
    with np.errstate(invalid="ignore"):  # logsumexp meets inf - inf where a run has a zero; the answer there is zero
        mean = -logsumexp(-runs, axis=0)
    return _normalised(np.where(np.isneginf(runs).any(axis=0), -np.inf, mean), t)


def _square_root(runs, t):
    return _normalised(2.0 * logsumexp(0.5 * runs, axis=0), t)


def _bhattacharyya(runs, t):
    """c <- mean over runs of sqrt(c p_r) / sum sqrt(c p_r), the concave-convex step in expectation parameters."""
    shape = runs.shape[1:]
    roots = np.exp(0.5 * runs).reshape(len(runs), -1, shape[-1])
    centre = np.exp(_arithmetic(runs, t)).reshape(-1, shape[-1])
    active = np.arange(len(centre))  # samples still moving
    for _ in range(MAX_ITERATIONS):
        products = roots[:, active] * np.sqrt(centre[active])
        moved = (products / products.sum(axis=-1, keepdims=True)).mean(axis=0)
        change = np.abs(moved - centre[active]).max(axis=-1)
        centre[active] = moved
        active = active[change > CENTROID_TOLERANCE]
        if not len(active):
            with np.errstate(divide="ignore"):
                return np.log(centre / centre.sum(axis=-1, keepdims=True)).reshape(shape)
    raise RuntimeError(f"the Bhattacharyya centroid of index {t} did not converge for sample {active[0]}")


def _jeffreys(runs, t):
    """c = a / W(a/g e^(1 + mu)), a and g the arithmetic and geometric means, mu so that c sums to 1.

    W of an exponential is Wright's omega. A class that any run excludes has g = 0, an infinite W, and c = 0. The sum
    is convex and decreasing in mu, so Newton's iteration cannot miss.
    """
    log_a, log_g = _arithmetic(runs, t), runs.mean(axis=0)
    possible = ~np.isneginf(log_g)
    _refuse_empty(possible, t)
    log_a, ratio = np.where(possible, log_a, -np.inf), np.where(possible, log_a - np.where(possible, log_g, 0.0), 0.0)
    a = np.exp(log_a)
    mu = np.zeros(a.shape[:-1] + (1,))
    for _ in range(MAX_ITERATIONS):
        omega = wrightomega(ratio + 1.0 + mu)
        c = a / omega
        excess = c.sum(axis=-1, keepdims=True) - 1.0
        if np.abs(excess).max() <= CENTROID_TOLERANCE:
            return _normalised(log_a - np.log(omega), t)
        mu += excess / (c / (1.0 + omega)).sum(axis=-1, keepdims=True)
    raise RuntimeError(f"the Jeffreys centroid of index {t} did not converge")


_MEANS = {
    "arithmetic": _arithmetic,
    "geometric": _geometric,
    "harmonic": _harmonic,
    "square_root": _square_root,
    "bhattacharyya": _bhattacharyya,
    "jeffreys": _jeffreys,
}


def _normalised(log_weights, t):
    _refuse_empty(~np.isneginf(log_weights), t)
    return log_weights - logsumexp(log_weights, axis=-1, keepdims=True)


def _refuse_empty(possible, t):
    empty = np.flatnonzero(~possible.any(axis=-1))
    if len(empty):
        raise ValueError(
            f"at index {t} the runs share no possible class on sample {empty[0]} ({len(empty)} such samples): this "
            "mean does not exist there; use arithmetic, square_root or bhattacharyya"
        )
