"""Linear models trained by gradient descent on squared error: their trajectories, and the spectrum of these, exactly.

Predictions f = X w, loss |X w - y|^2 / 2n, curvatures h_i (eigenvalues of X'X/n), minimum w*. Every mode of the inputs
learns alone: w_t - w* = exp(-tH) (w_0 - w*), or (1 - eta H)^k after k steps. For w_0 ~ N(0, sigma^2) the covariance of
all checkpoints of all runs follows without training anything (PAPER.md section 5, first item). Distances are mean
squared differences of predictions, for which InPCA is ordinary PCA. One output; it trains nothing and draws nothing.
"""

import numpy as np

from manifold_utils.inpca import explained_stress

VARIANCE_SCALE = 50.0  # l_i = 50 c exp(-c i), as in PAPER.md section 1


def sloppy_curvatures(sloppiness, n_dimensions=200):
    """Curvatures h_i = 50 c exp(-c i) / d, i = 0 ... d-1: the variances of sloppy inputs (`datasets.sloppy_samples`).

    Parameters
    ----------
    sloppiness : float
        c above 0, the decay of log variance a mode: 0.5 is sloppy, 0.001 nearly isotropic.
    n_dimensions : int
        d, the number of inputs.

    Returns
    -------
    ndarray of shape (d,), descending

    Examples
    --------
    >>> sloppy_curvatures(0.5, 3).round(3).tolist()
    [8.333, 5.054, 3.066]
    """
    modes = np.arange(n_dimensions)
    return VARIANCE_SCALE * sloppiness * np.exp(-sloppiness * modes) / n_dimensions


def modes(X):
    """Modes of the inputs: X = sqrt(n) U diag(sqrt h) V'.

    Parameters
    ----------
    X : array-like of shape (n, d)
        One row a sample. Not centred here.

    Returns
    -------
    U : ndarray of shape (n, r), orthonormal columns: directions of prediction space; r = min(n, d)
    curvatures : ndarray of shape (r,), h_i >= 0, descending
    V : ndarray of shape (d, r), orthonormal columns: directions of weight space

    Examples
    --------
    >>> modes([[3.0, 0.0], [0.0, 1.0]])[1].tolist()
    [4.5, 0.5]
    """
    X = np.asarray(X, dtype=float)
    left, singular, right = np.linalg.svd(X, full_matrices=False)
    return left, singular**2 / len(X), right.T


def memory(curvatures, times, learning_rate=None):
    """Share of the first error that is left in each mode: g_i(t) = exp(-h_i t), or (1 - eta h_i)^k after k steps.

    Parameters
    ----------
    curvatures : array-like of shape (d,)
        h_i >= 0.
    times : array-like of shape (T,)
        Times t >= 0 of gradient flow or, with a learning rate, whole numbers k of steps.
    learning_rate : float, optional
        eta of gradient descent; None is gradient flow.

    Returns
    -------
    ndarray of shape (T, d)

    Raises
    ------
    ValueError
        If a curvature or a time is negative, a number of steps is not whole, or eta h_1 >= 2: such a run diverges.

    Examples
    --------
    >>> memory([1.0, 0.1], [0, 1, 2], learning_rate=0.5).tolist()
    [[1.0, 1.0], [0.5, 0.95], [0.25, 0.9025]]
    """
    h, t = np.asarray(curvatures, dtype=float), np.asarray(times)[:, None]
    if np.any(h < 0) or np.any(t < 0):
        raise ValueError("curvatures and times must not be negative")
    if learning_rate is None:
        return np.exp(-h * t)
    if np.any(t != np.round(t)):
        raise ValueError("gradient descent takes whole steps; leave learning_rate out for gradient flow")
    if not 0 < learning_rate * h.max() < 2:
        raise ValueError(f"learning rate times largest curvature is {learning_rate * h.max():.3g}, not between 0 and 2")
    return (1.0 - learning_rate * h) ** t.astype(np.int64)


def coordinates(curvatures, starts, target, times, learning_rate=None):
    """Predictions of every run at every checkpoint, in the eigenbasis: a_i = sqrt(h_i) [g_i w_0i + (1 - g_i) w*_i].

    Parameters
    ----------
    curvatures : array-like of shape (d,)
    starts : array-like of shape (R, d)
        First weights w_0 of each run, along the modes (w V for weights w).
    target : array-like of shape (d,)
        Weights w* of least loss, along the modes.
    times, learning_rate
        As in `memory`.

    Returns
    -------
    ndarray of shape (R, T, d)
        Squared Euclidean distances between rows are mean squared differences of predictions; the predictions
        themselves are sqrt(n) times `coordinates` @ U' (see `modes`).

    Examples
    --------
    >>> coordinates([4.0], [[1.0]], [3.0], [0, 1], learning_rate=0.125).tolist()
    [[[2.0], [4.0]]]
    """
    left = memory(curvatures, times, learning_rate)
    starts, target = np.asarray(starts, dtype=float), np.asarray(target, dtype=float)
    return np.sqrt(curvatures) * (left * starts[:, None] + (1.0 - left) * target)


def predictions(X, starts, targets, times, learning_rate=None):
    """Outputs f_t = X w_t of runs of gradient descent (or flow) on |X w - y|^2 / 2n, in closed form.

    Parameters
    ----------
    X : array-like of shape (n, d)
    starts : array-like of shape (R, d)
        First weights of each run.
    targets : array-like of shape (n,)
        Wanted outputs y; what no weights can reach has no effect.
    times, learning_rate
        As in `memory`.

    Returns
    -------
    ndarray of shape (R, T, n)

    Examples
    --------
    >>> predictions(np.eye(2), [[0.0, 0.0]], [2.0, 4.0], [0, 1], learning_rate=1.0).tolist()
    [[[0.0, 0.0], [1.0, 2.0]]]
    """
    left, h, right = modes(X)
    n = len(left)
    reached = left.T @ np.asarray(targets, dtype=float) / np.sqrt(n)  # sqrt(h_i) w*_i
    alive = h > np.finfo(float).eps * n * h[0]
    target = np.where(alive, reached / np.sqrt(np.where(alive, h, 1.0)), 0.0)
    return np.sqrt(n) * coordinates(h, np.asarray(starts) @ right, target, times, learning_rate) @ left.T


def expected_covariance(curvatures, target, weight_scale, times, learning_rate=None):
    """Covariance of the points of all runs at all checkpoints, for w_0 ~ N(0, sigma^2) and one common target.

    C_ij = sqrt(h_i h_j) [ sigma^2 <g_i^2> delta_ij + w*_i w*_j cov_t(g_i, g_j) ], where <.> and cov_t are the mean
    and the covariance over checkpoints. The first term is what the starts spread, diagonal in the eigenbasis of the
    inputs; the second is the curve of the mean run.

    Parameters
    ----------
    curvatures, target, times, learning_rate
        As in `coordinates`.
    weight_scale : float
        sigma >= 0, standard deviation of every first weight.

    Returns
    -------
    ndarray of shape (d, d), symmetric, no negative eigenvalue

    Examples
    --------
    >>> expected_covariance([1.0, 0.5], [0.0, 0.0], 2.0, [0, 1], learning_rate=1.0).tolist()
    [[2.0, 0.0], [0.0, 1.25]]
    """
    left, h = memory(curvatures, times, learning_rate), np.asarray(curvatures, dtype=float)
    path = (left - left.mean(axis=0)) * np.sqrt(h) * np.asarray(target, dtype=float)
    covariance = path.T @ path / len(path)
    covariance[np.diag_indices(len(h))] += weight_scale**2 * h * np.mean(left**2, axis=0)
    return covariance


def expected_eigenvalues(curvatures, target, weight_scale, times, learning_rate=None):
    """Eigenvalues of `expected_covariance`, descending: those of InPCA, over the number of points, for many runs.

    Parameters
    ----------
    curvatures, target, weight_scale, times, learning_rate
        As in `expected_covariance`.

    Returns
    -------
    ndarray of shape (d,)

    Examples
    --------
    >>> expected_eigenvalues([1.0, 0.5], [0.0, 0.0], 2.0, [0, 1], learning_rate=1.0).tolist()
    [2.0, 1.25]
    """
    covariance = expected_covariance(curvatures, target, weight_scale, times, learning_rate)
    return np.maximum(np.linalg.eigvalsh(covariance)[::-1], 0.0)


def explained(eigenvalues, measure="stress"):
    """What the top 1, 2, ... axes explain of a whole spectrum without negative eigenvalues.

    Parameters
    ----------
    eigenvalues : array-like of shape (d,)
        All of them, descending.
    measure : {"stress", "variance"}
        1 - sqrt(1 - sum_{i<=k} lambda_i^2 / sum lambda_i^2), or sum_{i<=k} lambda_i / sum lambda_i.

    Returns
    -------
    ndarray of shape (d,), rising to 1

    Examples
    --------
    >>> explained([3.0, 1.0], "variance").tolist()
    [0.75, 1.0]
    >>> explained([4.0, 3.0]).round(3).tolist()
    [0.4, 1.0]
    """
    values = np.asarray(eigenvalues, dtype=float)
    if measure == "variance":
        return np.cumsum(values) / values.sum() if values.sum() > 0 else np.ones(len(values))
    if measure != "stress":
        raise ValueError(f"measure is 'stress' or 'variance', not {measure!r}")
    return explained_stress(values, np.linalg.norm(values))


def spectrum_of(points):
    """Eigenvalues of the covariance of a set of points, descending: those of InPCA, over the number of points.

    Parameters
    ----------
    points : array-like of shape (..., n_dimensions)

    Returns
    -------
    ndarray of shape (min(n_points, n_dimensions),), float64, not negative

    Examples
    --------
    >>> spectrum_of([[1.0, 0.0], [-1.0, 0.0]]).tolist()
    [1.0, 0.0]
    """
    points = np.asarray(points, dtype=np.float64)
    centred = points.reshape(-1, points.shape[-1]) - points.mean(axis=tuple(range(points.ndim - 1)))
    wide = len(centred) > centred.shape[1]
    gram = centred.T @ centred if wide else centred @ centred.T
    return np.maximum(np.linalg.eigvalsh(gram / len(centred))[::-1], 0)


def growth_of_logits(log_probs, first, last):
    """How much larger a network's centred log-probabilities are at the end than at its start.

    Parameters
    ----------
    log_probs : ndarray of shape (n_points, n_samples, n_classes), natural logs
    first, last : boolean ndarrays of shape (n_points,)
        The first and the last point of every run, in the same order of runs.

    Returns
    -------
    float, median over runs of the ratio of root mean squares

    Examples
    --------
    >>> run = np.log([[[0.5, 0.5]], [[0.6, 0.4]], [[0.9, 0.1]]])
    >>> round(growth_of_logits(run[1:], np.array([True, False]), np.array([False, True])), 2)
    5.42
    """
    centred = log_probs - log_probs.mean(axis=2, keepdims=True)
    size = np.sqrt(np.square(centred).mean(axis=(1, 2)))
    return float(np.median(size[last] / size[first]))
