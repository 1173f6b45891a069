"""Divergences between all pairs of points in prediction space.

A point is one network's natural-log probabilities on N samples and C classes. Every metric is a mean over samples
(intensive, PAPER.md section 1), so values do not depend on how many samples are used. Exact for every input: nothing is
clamped unless `cap` is given, and disjoint supports give inf. The result is held in memory; `tiles` writes matrices
that do not fit, through the same accumulators (`bhattacharyya`, `other_metrics`, `fused`, `gpu`).
"""

import math

import numpy as np

from manifold_utils.distances.bhattacharyya import BhattacharyyaSum, NotNormalised
from manifold_utils.distances.other_metrics import CAPPED, SUMS, CappedSum
from manifold_utils.geometry import NORMALISATION_TOLERANCE, as_predictions
from manifold_utils.workers import check_choice, resolve_device

METRICS = ("bhattacharyya", *SUMS)
SMALL_WORK = 2e9  # multiply-adds up to which float64 products cost nothing that one would notice
BOUNDS = {"hellinger": 1.0, "geodesic": math.pi / 2, "euclidean": math.sqrt(2.0)}  # largest term of one sample


def pairwise(
    log_p, log_q=None, *, metric="bhattacharyya", device="auto", cap=None, show_progress=False, precision="auto"
):
    """Mean per-sample divergence of every pair of points.

    ========================  ================================================  =========
    metric                    mean over samples of                              range
    ========================  ================================================  =========
    bhattacharyya             -log BC, BC = sum_c sqrt(p_c q_c)                 [0, inf], nats
    hellinger                 1 - BC                                            [0, 1]
    geodesic                  arccos BC                                         [0, pi/2], radians
    euclidean                 sqrt(sum_c (p_c - q_c)^2)                         [0, sqrt 2]
    symmetric_kl              sum_c (p_c - q_c)(log p_c - log q_c) / 2          [0, inf], nats
    ========================  ================================================  =========

    Parameters
    ----------
    log_p : array (n_p, N, C), float32, float64 or half precision (computed in float32), numpy or torch
        Natural-log probabilities; -inf stands for probability 0. Each (point, sample) sums to 1 within
        `geometry.NORMALISATION_TOLERANCE`.
    log_q : array (n_q, N, C), optional
        A second set on the same samples. Without it: the distances among `log_p`, of which half are computed.
    metric : one of METRICS
    device : {"auto", "cpu", "cuda"}
        auto takes the GPU where torch finds one.
    cap : float > 0, optional
        Clamp for each sample's term, in the metric's unit. None: exact, infinite for disjoint supports.
    show_progress : bool
        Show a progress bar over chunks of samples.
    precision : {"auto", "single", "double"}
        Of the products behind d_B on the CPU. single: errors near 1e-8 (always below 1e-6 relative), twice as fast.
        auto: double while it costs less than a moment. The other metrics are always computed in double.

    Returns
    -------
    ndarray (n_p, n_q), float64. Without `log_q` exactly symmetric with an exactly zero diagonal.

    Raises
    ------
    ValueError
        For a wrong shape or dtype, other samples or classes, and anything that is not a log-probability vector (NaN,
        positive logs, sum not 1): the first offending point and sample are named.

    Examples
    --------
    >>> import numpy as np
    >>> ignorance, truth = np.full((1, 1, 10), -np.log(10)), np.log(np.eye(10)[None, :1])
    >>> bool(np.isclose(pairwise(ignorance, truth), np.log(10) / 2))
    True
    """
    check_choice("metric", metric, METRICS)
    check_choice("precision", precision, ("auto", "single", "double"))
    if cap is not None and not cap > 0:
        raise ValueError(f"cap must be positive, not {cap}")
    log_p = as_log_probs(log_p, "log_p")
    log_q = None if log_q is None else as_log_probs(log_q, "log_q")
    if log_q is not None and log_p.shape[1:] != log_q.shape[1:]:
        raise ValueError(
            f"log_p is on {log_p.shape[1]} samples and {log_p.shape[2]} classes, log_q on {log_q.shape[1]} and "
            f"{log_q.shape[2]}: both must be predictions on the same samples"
        )
    n_q = len(log_p if log_q is None else log_q)
    if 0 in (len(log_p), n_q):
        return np.zeros((len(log_p), n_q))
    options = {"cap": cap, "precision": precision, "device": resolve_device(device)}
    total = accumulator(metric, len(log_p), None if log_q is None else n_q, log_p.shape, **options)
    accumulate(total, log_p, log_q, show_progress=show_progress)
    return total.result()


def accumulator(metric, n_p, n_q, shape, *, cap=None, precision="auto", threads=None, device="cpu"):
    """The accumulator of a metric, from `bhattacharyya`, `other_metrics`, `fused` or `gpu`.

    n_p, n_q : numbers of points; n_q None for distances of n_p points among themselves
    shape : (..., N, C) of the whole input, which decides what `precision` auto means.
    """
    n_samples, n_classes = shape[-2:]
    if device == "cuda" and metric == "bhattacharyya":
        from manifold_utils.distances import fused  # torch: only where there is a GPU

        if fused.usable():
            return fused.FusedSum(n_p, n_q, n_classes, cap=cap, device=device)
    if device == "cuda" and metric in ("bhattacharyya", *CAPPED):
        from manifold_utils.distances.gpu import TorchSum  # torch: only where there is a GPU

        return TorchSum(metric, n_p, n_q, n_classes, cap=cap, device=device)
    if metric == "bhattacharyya":
        small = n_p * (n_q or n_p) * n_samples * n_classes <= SMALL_WORK
        double = precision == "double" or (precision == "auto" and (small or cap is not None))
        dtype = np.float64 if double else np.float32
        return BhattacharyyaSum(n_p, n_q, n_classes, dtype=dtype, cap=cap, threads=threads)
    if cap is not None and metric in CAPPED and cap < BOUNDS.get(metric, math.inf):
        return CappedSum(metric, n_p, n_q, n_classes, cap=cap, threads=threads)
    return SUMS[metric](n_p, n_q, n_classes, cap=cap, threads=threads)


def accumulate(total, log_p, log_q=None, *, names=("log_p", "log_q"), offsets=((0, 0), (0, 0)), show_progress=False):
    """Add all samples to an accumulator, chunk by chunk.

    A bad vector is reported under names[k], counted from offsets[k] = (point, sample).
    """
    n, step = log_p.shape[1], max(1, total.chunk_samples)
    starts = range(0, n, step)
    if show_progress:
        from tqdm import tqdm

        starts = tqdm(starts, desc="distances", unit="chunk")
    for start in starts:
        part = slice(start, start + step)
        try:
            total.add(log_p[:, part], None if log_q is None else log_q[:, part])
        except NotNormalised:
            check_points(log_p, names[0], *offsets[0])
            if log_q is not None:
                check_points(log_q, names[1], *offsets[1])
            raise


def as_log_probs(values, name):
    """`values` as a numpy array (n, N, C) of float32 or float64; the entries are checked later, where they are read."""
    values = as_predictions(values)
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise ValueError(f"{name} must have shape (n_points, n_samples, n_classes), not {values.shape}")
    if values.dtype not in (np.float32, np.float64):
        raise ValueError(f"{name} must be float32 or float64 log-probabilities, not {values.dtype}")
    return values


def check_points(values, name, first_point=0, first_sample=0):
    """Raise ValueError for the first (point, sample) of (n, N, C) that is not a log-probability vector."""
    for i, point in enumerate(values):
        point = np.asarray(point, dtype=np.float64)
        with np.errstate(over="ignore"):
            total = np.exp(point).sum(axis=1)
        wrong = ~(np.abs(total - 1.0) <= NORMALISATION_TOLERANCE)
        if not wrong.any():
            continue
        n = int(wrong.argmax())
        if np.isnan(point[n]).any():
            what = "holds NaN"
        elif (point[n] > 0).any():
            what = (
                f"has a positive log-probability ({point[n].max():.6g}): pass natural logs, not logits or probabilities"
            )
        else:
            what = f"is not normalised (sum of p = {total[n]:.6g}): apply log_softmax over the last axis"
        raise ValueError(f"{name}: point {first_point + i}, sample {first_sample + n} {what}")
