"""Progress: the position of the geodesic from ignorance to truth that is nearest to a prediction.

s = argmin over lambda of (1/N) sum_n arccos BC(P_n, P_lambda,n) (PAPER.md section 1). With a = sqrt(p_true), b the sum
of the other roots over sqrt(C-1), and phi = (1 - lambda) theta_0, theta_0 = arccos(1/sqrt C), one term is the angle
atan2(sqrt(q + v^2), a cos phi + b sin phi), v = a sin phi - b cos phi, q = 1 - a^2 - b^2: three numbers a sample.
On the sphere the distance to a fixed point is convex along a great circle within a right angle, and predictions never
leave that range: the objective is convex, its slope monotone, so a bracketed root of the slope is the global optimum.
"""

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from manifold_utils.workers import n_cores

ROOT_TOLERANCE = 1e-9  # radians of phi; the half-width of the certified bracket
FLAT_SLOPE = 1e-12  # mean slope (of at most 1) that rounding cannot tell from 0
FLAT_PROBE = 1e-7  # radians; a slope still zero this far from the root means a flat stretch
SMALLEST_SQUARE = 1e-60  # of the sine of an angle; below it a sample sits at its kink
SMALLEST_EXPONENT = -1022.0  # of a square root of a probability, as a power of two; smaller ones are 0 to any sum
ROUND_TO_BITS = 2.0**52 + 1023
HALF_LOG2E, LN2 = 0.5 / np.log(2.0), np.log(2.0)
MAX_STEPS = 200  # bisection alone needs 31
NORMALISATION_TOLERANCE = 1e-4  # largest |sum of probabilities - 1| that is taken for rounding, everywhere
BLOCK_NUMBERS = 1024  # probabilities worked on at a time: two buffers of 8 KiB stay in the first cache
HALF_PRECISION = {"float16": 2.0**-10, "bfloat16": 2.0**-7}  # distance from 1 to the next number
CHUNK_BYTES = 2**26  # predictions read at a time when they come from disk
REASSOCIATE = {"reassoc", "contract", "nsz"}  # lets sums run in vector registers; infinities and NaN stay exact


def progress(log_probs, labels):
    """Progress of predictions along the geodesic from ignorance to truth.

    Parameters
    ----------
    log_probs : array-like of shape (n_points, n_samples, n_classes)
        Natural-log probabilities, float32, float64 or half precision (numpy, torch, or a disk array that slices along
        axis 0).
    labels : array-like of shape (n_samples,), int
        True classes.

    Returns
    -------
    ndarray of shape (n_points,), float64
        In [0, 1]: 0 at ignorance, 1 at truth; exact to about 1e-9 (1e-7 for float32 input). Where the optimum is a
        stretch (an even number of samples lying on the geodesic, say) its middle is returned.

    Raises
    ------
    ValueError
        If shapes do not fit, or a point is not a normalised prediction; the first one is named.

    Examples
    --------
    >>> import numpy as np
    >>> log_probs = np.log([[[0.5, 0.5]], [[0.25, 0.75]], [[1e-9, 1 - 1e-9]]])
    >>> progress(log_probs, [1]).round(3).tolist()
    [0.0, 0.333, 1.0]
    """
    if len(log_probs.shape) != 3:
        raise ValueError(f"log_probs must be (n_points, n_samples, n_classes), got shape {tuple(log_probs.shape)}")
    n_points, n_samples, n_classes = log_probs.shape
    labels = check_labels(labels, n_classes)
    if len(labels) != n_samples:
        raise ValueError(f"log_probs has {n_samples} samples, labels {len(labels)}")
    phi, excess = np.empty(n_points), np.empty(n_points)
    chunk = max(1, CHUNK_BYTES // (8 * n_samples * n_classes))
    workers = n_cores()
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, n_points, chunk):
            block = _floating(as_predictions(log_probs[start : start + chunk]))
            cuts = start + np.linspace(0, len(block), min(workers, len(block)) + 1).astype(int)
            jobs = [
                pool.submit(_solve_points, block[i - start : j - start], labels, phi[i:j], excess[i:j])
                for i, j in zip(cuts[:-1], cuts[1:], strict=True)
            ]
            for job in jobs:
                job.result()
    wrong = np.flatnonzero(~(excess <= NORMALISATION_TOLERANCE))  # written so that NaN is caught too
    if len(wrong):
        raise ValueError(
            f"log_probs of point {wrong[0]} are not normalised (largest |sum of probabilities - 1| is "
            f"{excess[wrong[0]]:.3g}; {len(wrong)} such points): pass natural logarithms of softmax outputs"
        )
    return np.clip(1.0 - phi / np.arccos(1.0 / np.sqrt(n_classes)), 0.0, 1.0)


def as_numpy(array):
    """A numpy view of numpy or torch input. Torch is moved to the CPU, and its bfloat16, which numpy lacks, is widened.

    Examples
    --------
    >>> import torch
    >>> as_numpy(torch.tensor([0.5], dtype=torch.bfloat16))
    array([0.5], dtype=float32)
    """
    if not hasattr(array, "detach"):
        return np.asarray(array)
    array = array.detach().cpu()
    try:
        return array.numpy()
    except TypeError:  # bfloat16 and the eight-bit kinds
        return array.float().numpy()


def as_predictions(log_probs):
    """`as_numpy` for log-probabilities: the door of every function that computes with predictions.

    Half precision (float16, bfloat16) is widened to float32 and normalised anew, because rounding a log-probability
    changes the sum of the probabilities by up to a hundredth. A sum that rounding does not explain stays as it is, so
    that whoever checks it finds it. Other kinds are not touched.

    Parameters
    ----------
    log_probs : array-like of shape (..., n_classes), natural logs

    Returns
    -------
    ndarray of the same shape

    Examples
    --------
    >>> halves = np.log([0.5, 0.3, 0.2]).astype(np.float16)
    >>> [round(float(np.exp(x.astype(float)).sum()), 6) for x in (halves, as_predictions(halves))]
    [0.999868, 1.0]
    """
    rounding = HALF_PRECISION.get(str(getattr(log_probs, "dtype", "")).removeprefix("torch."))
    log_probs = as_numpy(log_probs)
    if rounding is None or not log_probs.ndim:
        return log_probs
    values = log_probs.astype(np.float64)
    with np.errstate(over="ignore", divide="ignore"):
        excess = np.log(np.exp(values).sum(axis=-1, keepdims=True))
    explained = np.abs(excess) <= rounding * (1 + np.log(values.shape[-1]))  # |log p| rounded: on average the entropy
    return (values - np.where(explained, excess, 0.0)).astype(np.float32)


def check_labels(labels, n_classes):
    """Labels as an int64 vector in [0, n_classes); ValueError names the first offender."""
    labels = as_numpy(labels)
    if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be a vector of integers, got shape {labels.shape} and dtype {labels.dtype}")
    wrong = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if len(wrong):
        raise ValueError(f"label {labels[wrong[0]]} of sample {wrong[0]} is outside [0, {n_classes})")
    return labels.astype(np.int64)


def _floating(block):
    return np.ascontiguousarray(block, dtype=block.dtype if block.dtype in (np.float32, np.float64) else np.float64)


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _roots(log_p, roots, scale):
    """exp(log_p / 2) into `roots` (relative error 1e-16 (5 + |log_p|)), written for vector registers.

    2^y = 2^k 2^f with k the nearest integer: a polynomial for 2^f, and 2^k written straight into the exponent bits.
    Adding 2^52 + 1023 rounds y and leaves k + 1023 in the low bits, where the exponent wants it (shifted by 52).
    `scale` is a work array as long as `roots`. Values below 2^-1022 become 2^-1022.
    """
    for i in range(len(log_p)):
        y = np.float64(log_p[i]) * HALF_LOG2E
        y = SMALLEST_EXPONENT if y < SMALLEST_EXPONENT else y  # this order keeps NaN
        scale[i] = y + ROUND_TO_BITS
        f = (y - (scale[i] - ROUND_TO_BITS)) * LN2
        power = 1.0 / 39916800 + f * (1.0 / 479001600 + f * (1.0 / 6227020800))
        power = 1.0 / 40320 + f * (1.0 / 362880 + f * (1.0 / 3628800 + f * power))
        power = 1.0 / 120 + f * (1.0 / 720 + f * (1.0 / 5040 + f * power))
        roots[i] = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6 + f * (1.0 / 24 + f * power))))
    bits = scale.view(np.int64)
    for i in range(len(log_p)):
        bits[i] <<= 52
    for i in range(len(log_p)):
        roots[i] *= scale[i]


@numba.njit(nogil=True, cache=True, fastmath=REASSOCIATE)
def _reduce_point(log_p, labels, roots, scale, a, b, q):
    """Fill the three numbers of every sample, a block of samples at a time; returns the largest |sum p - 1|."""
    n_samples, n_classes = log_p.shape
    block = len(roots) // n_classes
    worst = 0.0
    for start in range(0, n_samples, block):
        stop = min(start + block, n_samples)
        _roots(log_p[start:stop].reshape(-1), roots, scale)
        for n in range(start, stop):
            first = (n - start) * n_classes
            own = roots[first + labels[n]]
            roots[first + labels[n]] = 0.0  # the others are summed apart: 1 - a^2 would lose their digits
            total, squares = 0.0, 0.0
            for c in range(first, first + n_classes):
                total += roots[c]
                squares += roots[c] * roots[c]
            a[n], b[n] = own, total / np.sqrt(n_classes - 1.0)
            q[n] = max(squares - b[n] * b[n], 0.0)
            gap = abs(own * own + squares - 1.0)
            if not gap <= worst:  # keeps NaN
                worst = gap
    return worst


@numba.njit(nogil=True, cache=True, fastmath=REASSOCIATE)
def _slope(phi, a, b, q):
    """Mean slope of the objective in phi, and its derivative; a term exactly at its kink counts 0."""
    cosine, sine = np.cos(phi), np.sin(phi)
    slope, curvature = 0.0, 0.0
    for n in range(len(a)):
        v = a[n] * sine - b[n] * cosine
        square = q[n] + v * v
        inverse = 1.0 / np.sqrt(max(square, SMALLEST_SQUARE))
        slope += v * inverse
        curvature += q[n] * (a[n] * cosine + b[n] * sine) * inverse * inverse * inverse
    return slope / len(a), curvature / len(a)


@numba.njit(nogil=True, cache=True)
def _root(level, low, high, phi, a, b, q):
    """Where the slope crosses `level`: Newton steps inside a bracket, halved whenever Newton does not help."""
    step_before, step, certified = high - low, high - low, False
    for _ in range(MAX_STEPS):
        if high - low <= ROOT_TOLERANCE:
            break
        slope, curvature = _slope(phi, a, b, q)
        slope -= level
        if slope < 0:
            low = phi
        else:
            high = phi
        newton = -slope / curvature if curvature > 0 else high - low
        guess = phi + newton
        if abs(newton) < ROOT_TOLERANCE / 4 and not certified:
            guess -= np.sign(slope) * ROOT_TOLERANCE / 2  # step over the root: pulls in the far end of the bracket
            certified = True
        elif 2 * abs(newton) > abs(step_before) or abs(newton) < ROOT_TOLERANCE / 4:
            guess = 0.5 * (low + high)  # slow, or stuck at a kink
            certified = False
        if not low < guess < high:
            guess = 0.5 * (low + high)
        step_before, step, phi = step, guess - phi, guess
    return 0.5 * (low + high)


@numba.njit(nogil=True, cache=True)
def _solve_point(right_angle, a, b, q):
    """The optimal phi in [0, theta_0] of one point; the middle of the optimal stretch if there is one."""
    if _slope(0.0, a, b, q)[0] > FLAT_SLOPE:
        return 0.0
    if _slope(right_angle, a, b, q)[0] < -FLAT_SLOPE:
        return right_angle
    start = min(max(np.arctan2(b.mean(), a.mean()), 0.0), right_angle)
    phi = _root(0.0, 0.0, right_angle, start, a, b, q)
    below = _slope(max(phi - FLAT_PROBE, 0.0), a, b, q)[0]
    above = _slope(min(phi + FLAT_PROBE, right_angle), a, b, q)[0]
    if below < -FLAT_SLOPE and above > FLAT_SLOPE:
        return phi
    return 0.5 * (
        _root(-FLAT_SLOPE, 0.0, right_angle, phi, a, b, q) + _root(FLAT_SLOPE, 0.0, right_angle, phi, a, b, q)
    )


@numba.njit(nogil=True, cache=True)
def _solve_points(log_probs, labels, phi, excess):
    n_points, n_samples, n_classes = log_probs.shape
    a, b, q = np.empty(n_samples), np.empty(n_samples), np.empty(n_samples)
    block = n_classes * max(1, BLOCK_NUMBERS // n_classes)
    roots, scale = np.empty(block), np.empty(block)
    right_angle = np.arccos(1.0 / np.sqrt(n_classes))
    for i in range(n_points):
        excess[i] = _reduce_point(log_probs[i], labels, roots, scale, a, b, q)
        phi[i] = _solve_point(right_angle, a, b, q) if excess[i] <= NORMALISATION_TOLERANCE else np.nan


def labels_of(log_probs, labels):
    """Labels as an int64 vector that fits predictions (..., n_samples, n_classes); ValueError if it does not."""
    n_samples, n_classes = np.shape(log_probs)[-2:]
    labels = check_labels(labels, n_classes)
    if len(labels) != n_samples:
        raise ValueError(f"{len(labels)} labels for {n_samples} samples")
    return labels
