"""The product of spheres on which predictions live: end points, geodesics, angles, log and exp maps.

Square roots of the probabilities of one sample form a unit vector, so N samples are a point on a product of N
spheres (PAPER.md section 1: geodesic, tangents). All work is in float64, with weights applied to log-probabilities,
so that exact zeros (-inf) and probabilities far below 1e-300 survive. Angles use the atan2 form, which keeps its
digits near 0, where arccos loses half of them. Pairwise distances are in `distances`, whole runs in `trajectories`.
"""

import numpy as np

from manifold_utils.geometry.progress import (
    NORMALISATION_TOLERANCE,
    as_numpy,
    as_predictions,
    check_labels,
    labels_of,
    progress,
)

__all__ = [
    "NORMALISATION_TOLERANCE", "angles", "as_numpy", "as_predictions", "check_labels", "exchange_classes", "exp_map",
    "geodesic", "great_circle_distance", "ignorance", "interpolate", "labels_of", "log_map", "progress", "truth",
]  # fmt: skip

SMALL_ANGLE = 1e-150  # radians; below it sin(t theta)/sin(theta) is t to the last digit, and theta^2 underflows


def ignorance(n_samples, n_classes):
    """The uniform prediction P0, p = 1/C on every sample.

    Parameters
    ----------
    n_samples, n_classes : int

    Returns
    -------
    ndarray of shape (1, n_samples, n_classes), float64
        Natural-log probabilities, all -ln C.

    Examples
    --------
    >>> ignorance(2, 4).shape
    (1, 2, 4)
    """
    if n_samples < 1 or n_classes < 2:
        raise ValueError(f"ignorance needs n_samples >= 1 and n_classes >= 2, got {n_samples} and {n_classes}")
    return np.full((1, n_samples, n_classes), -np.log(n_classes))


def truth(labels, n_classes):
    """The certain and correct prediction P*, one-hot labels.

    Parameters
    ----------
    labels : array-like of shape (n_samples,), int
        True classes, in [0, n_classes).
    n_classes : int

    Returns
    -------
    ndarray of shape (1, n_samples, n_classes), float64
        0 at the true class, -inf elsewhere.

    Raises
    ------
    ValueError
        If labels are not a vector of integers in range; the first offender is named.

    Examples
    --------
    >>> truth([1, 0], 2)[0].tolist()
    [[-inf, 0.0], [0.0, -inf]]
    """
    labels = check_labels(labels, n_classes)
    log_probs = np.full((1, len(labels), n_classes), -np.inf)
    log_probs[0, np.arange(len(labels)), labels] = 0.0
    return log_probs


def angles(log_p, log_q):
    """Per-sample great-circle angles theta_n = arccos sum_c sqrt(p_c q_c), broadcasting over leading axes.

    Parameters
    ----------
    log_p, log_q : array-like of shape (..., n_samples, n_classes)
        Natural-log probabilities (numpy or torch).

    Returns
    -------
    ndarray of shape (..., n_samples), float64
        Radians in [0, pi/2].

    Examples
    --------
    >>> angles(ignorance(1, 4), truth([0], 4)).round(6).tolist()
    [[1.047198]]
    """
    p, q = _roots(log_p), _roots(log_q)
    _check_pair(p, q)
    return _angle_between(p, q)


def great_circle_distance(log_p, log_q):
    """d_G, the mean of `angles` over samples, in radians; shape of the broadcast leading axes."""
    return angles(log_p, log_q).mean(axis=-1)


def geodesic(log_p, log_q, t):
    """Points of the great circle from P to Q, sample by sample.

    sqrt(p_t) = [sin((1-t) theta) sqrt(p) + sin(t theta) sqrt(q)] / sin(theta), and p where theta is 0.

    Parameters
    ----------
    log_p, log_q : array-like of shape (1, n_samples, n_classes) or (n_samples, n_classes)
        Natural-log probabilities of the two ends; zeros as -inf.
    t : float or array-like of shape (n_t,)
        Positions, 0 at P and 1 at Q.

    Returns
    -------
    ndarray of shape (n_t, n_samples, n_classes)
        Natural-log probabilities; float32 if both ends are, else float64.

    Raises
    ------
    ValueError
        If the ends differ in shape, or t leaves [0, 1] (beyond it probabilities may stop being monotone in t).

    Examples
    --------
    >>> points = geodesic(ignorance(1, 10), truth([3], 10), [0.25, 0.5, 0.75])
    >>> np.exp(points[:, 0, 3]).round(3).tolist()
    [0.351, 0.658, 0.906]
    """
    log_p, log_q = _single(log_p, "log_p"), _single(log_q, "log_q")
    _check_pair(log_p, log_q)
    t = np.atleast_1d(np.asarray(t, dtype=np.float64))
    if t.ndim != 1 or not ((t >= 0) & (t <= 1)).all():
        raise ValueError("geodesic: t must be one number or a vector of numbers in [0, 1]")
    theta = _angle_between(_roots(log_p), _roots(log_q))
    out = np.empty((len(t), *log_p.shape), dtype=np.result_type(log_p, log_q))
    for i, position in enumerate(t):
        out[i] = interpolate(log_p, log_q, theta, position)
    return out


def interpolate(log_p, log_q, theta, t):
    """One position t of the great circle between P and Q at known angles; the inner step of `geodesic`.

    Parameters
    ----------
    log_p, log_q : ndarray of shape (..., n_samples, n_classes)
    theta : ndarray of shape (..., n_samples)
        Their angles in radians.
    t : float
        Position in [0, 1].

    Returns
    -------
    ndarray of shape (..., n_samples, n_classes), float64
    """
    if t == 0 or t == 1:  # the ends come back bit for bit
        return np.asarray(log_q if t else log_p, dtype=np.float64)
    flat = theta < SMALL_ANGLE
    sine = np.where(flat, 1.0, np.sin(theta))
    weight_p = np.where(flat, 1.0 - t, np.sin((1 - t) * theta) / sine)
    weight_q = np.where(flat, t, np.sin(t * theta) / sine)
    half_p = 0.5 * np.asarray(log_p, dtype=np.float64) + np.log(weight_p)[..., None]
    half_q = 0.5 * np.asarray(log_q, dtype=np.float64) + np.log(weight_q)[..., None]
    return 2.0 * np.logaddexp(half_p, half_q)  # the sum of the two roots, squared, without leaving the logarithm


def log_map(log_p, log_q):
    """Tangent vector at P that points to Q: v = theta / sin(theta) (sqrt q - cos(theta) sqrt p).

    Parameters
    ----------
    log_p, log_q : array-like of shape (..., n_samples, n_classes)
        Natural-log probabilities; leading axes broadcast.

    Returns
    -------
    ndarray of shape (..., n_samples, n_classes), float64
        Per sample orthogonal to sqrt p, of length theta (radians).

    Examples
    --------
    >>> v = log_map(ignorance(1, 4), truth([0], 4))
    >>> float(np.linalg.norm(v).round(6))
    1.047198
    """
    p, q = _roots(log_p), _roots(log_q)
    _check_pair(p, q)
    theta = _angle_between(p, q)
    # q - cos(theta) p, written through q - p: for near points the difference keeps its digits
    difference = q - p
    along = np.sum(difference * p, axis=-1, keepdims=True)
    direction = difference - along * p
    length = np.linalg.norm(direction, axis=-1)
    scale = np.where(length > 0, theta / np.where(length > 0, length, 1.0), 1.0)
    return direction * scale[..., None]


def exp_map(log_p, tangent):
    """The prediction reached from P along a tangent vector; inverse of `log_map`.

    Parameters
    ----------
    log_p : array-like of shape (..., n_samples, n_classes)
        Natural-log probabilities.
    tangent : array-like of the same (or a broadcastable) shape
        Per sample orthogonal to sqrt p; its length is the angle in radians.

    Returns
    -------
    ndarray, float64
        Natural-log probabilities. A vector that leaves the positive orthant is followed on the sphere and squared:
        the result is a prediction, but no longer the only one with that tangent.

    Examples
    --------
    >>> p, q = ignorance(1, 3), np.log([[[0.5, 0.3, 0.2]]])
    >>> bool(np.allclose(exp_map(p, log_map(p, q)), q))
    True
    """
    p, tangent = _roots(log_p), np.asarray(as_numpy(tangent), dtype=np.float64)
    theta = np.linalg.norm(tangent, axis=-1, keepdims=True)
    root = np.cos(theta) * p + np.sinc(theta / np.pi) * tangent
    root /= np.linalg.norm(root, axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):  # log 0 = -inf is the right answer here
        return 2.0 * np.log(np.abs(root))


def _roots(log_p):
    return np.exp(0.5 * as_predictions(log_p).astype(np.float64))


def _single(log_p, name):
    log_p = as_predictions(log_p)
    if not np.issubdtype(log_p.dtype, np.floating):
        log_p = log_p.astype(np.float64)
    if log_p.ndim == 3 and len(log_p) == 1:
        log_p = log_p[0]
    if log_p.ndim != 2:
        raise ValueError(f"geodesic: {name} must be one point, (n_samples, n_classes) or (1, ...); got {log_p.shape}")
    return log_p


def _check_pair(p, q):
    if p.ndim < 2 or q.ndim < 2 or p.shape[-2:] != q.shape[-2:]:
        raise ValueError(f"both predictions need the same samples and classes on their last axes: {p.shape}, {q.shape}")


def _angle_between(p, q):
    """Angle of unit vectors as 2 atan2(|p - q|, |p + q|): full precision from 0 to pi/2, and no clipping."""
    return 2.0 * np.arctan2(np.linalg.norm(p - q, axis=-1), np.linalg.norm(p + q, axis=-1))


def exchange_classes(log_probs, fitted, labels):
    """Predictions with two classes exchanged on every sample, so that the label fitted to stands where truth does.

    Loss, error and progress of the result on the true labels are those of log_probs on the fitted ones: runs that
    learned other labels can be compared with ordinary ones in one space.

    Parameters
    ----------
    log_probs : array-like of shape (..., n_samples, n_classes)
    fitted, labels : array-like of shape (n_samples,), int

    Returns
    -------
    ndarray of the shape and dtype of log_probs
        A copy; applied twice it gives back log_probs.

    Raises
    ------
    ValueError
        If there is not one label a sample, or a label is no class.

    Examples
    --------
    >>> exchange_classes(np.log([[[0.7, 0.2, 0.1]]]), [0], [2]).round(2).tolist() == np.log(
    ...     [[[0.1, 0.2, 0.7]]]).round(2).tolist()
    True
    """
    log_probs = as_predictions(log_probs)
    fitted, labels = (labels_of(log_probs, given) for given in (fitted, labels))
    out, sample = log_probs.copy(), np.arange(len(labels))
    out[..., sample, labels] = log_probs[..., sample, fitted]
    out[..., sample, fitted] = log_probs[..., sample, labels]
    return out
