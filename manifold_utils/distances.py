"""Divergences between all pairs of points in prediction space.

A point is one network's natural-log probabilities on N samples and C classes. Every metric is a mean over samples
(intensive, PAPER.md section 1), so values do not depend on how many samples are used.
Exact for every input: nothing is clamped unless `cap` is given, and disjoint supports give inf.
This module does not read files and does not tile: `tiles` does, with the same kernels.
"""

import numpy as np

METRICS = ("bhattacharyya", "hellinger", "geodesic", "euclidean", "symmetric_kl")
NORMALISATION_TOLERANCE = 1e-4  # largest |sum_c p - 1| that is taken for rounding
TINY_COEFFICIENT = 2.0**-900  # below it a coefficient is recomputed in log space (float64 ends near 2**-1022)
CHUNK_ENTRIES = 2**22  # entries of one float64 work array of this simple route (32 MiB)


def pairwise(log_p, log_q=None, *, metric="bhattacharyya", device="auto", cap=None, progress=False):
    """Mean per-sample divergence of every pair of points (see module docstring)."""
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: choose one of {', '.join(METRICS)}")
    log_p = _as_log_probs(log_p, "log_p")
    symmetric = log_q is None
    log_q = log_p if symmetric else _as_log_probs(log_q, "log_q")
    if log_p.shape[1:] != log_q.shape[1:]:
        raise ValueError(
            f"log_p has {log_p.shape[1]} samples and {log_p.shape[2]} classes, log_q {log_q.shape[1]} and "
            f"{log_q.shape[2]}: both must be predictions on the same samples"
        )
    result = np.empty((len(log_p), len(log_q)))
    step = max(1, CHUNK_ENTRIES // max(1, log_p.shape[1] * log_p.shape[2]))
    for i, point in enumerate(log_p):
        for j in range(i + 1 if symmetric else 0, len(log_q), step):
            block = log_q[j : j + step].astype(np.float64)
            terms = _terms(point.astype(np.float64), block, metric)
            if cap is not None:
                terms = np.minimum(terms, cap)
            result[i, j : j + step] = np.maximum(terms.mean(axis=1), 0.0)
    if symmetric:
        upper = np.triu(result, 1) if len(result) else result
        upper[np.tril_indices(len(upper))] = 0.0
        result = upper + upper.T
    return result


def _terms(x, y, metric):
    """Per-sample terms (n, N) between one point x (N, C) and points y (n, N, C), float64 log-probabilities."""
    if metric == "euclidean":
        return np.linalg.norm(np.exp(x) - np.exp(y), axis=2)
    if metric == "symmetric_kl":
        p, q = np.exp(x), np.exp(y)
        both_zero = np.isneginf(x) & np.isneginf(y)
        ratio = np.where(both_zero, 0.0, x - np.where(both_zero, 0.0, y))
        return 0.5 * np.where(both_zero, 0.0, (p - q) * np.where(both_zero, 0.0, ratio)).sum(axis=2)
    if metric == "geodesic":
        root_p, root_q = np.exp(x / 2), np.exp(y / 2)
        return 2 * np.arctan2(np.linalg.norm(root_p - root_q, axis=2), np.linalg.norm(root_p + root_q, axis=2))
    coefficient = np.einsum("nc,jnc->jn", np.exp(x / 2), np.exp(y / 2))
    if metric == "hellinger":
        return 1.0 - coefficient
    with np.errstate(divide="ignore"):
        terms = -np.log(coefficient)
    for j, n in zip(*np.nonzero(coefficient < TINY_COEFFICIENT), strict=True):
        terms[j, n] = -np.logaddexp.reduce((x[n] + y[j, n]) / 2)
    return terms


def _as_log_probs(values, name):
    """Check (n, N, C) natural-log probabilities and return them as a float32 or float64 array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    values = np.asarray(values)
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise ValueError(f"{name} must have shape (points, samples, classes), not {values.shape}")
    if values.dtype not in (np.float32, np.float64):
        raise ValueError(f"{name} must be float32 or float64, not {values.dtype}")
    for i, point in enumerate(values):
        total = np.exp(point, dtype=np.float64).sum(axis=1)
        bad = ~(np.abs(total - 1.0) <= NORMALISATION_TOLERANCE)
        if bad.any():
            n = int(bad.argmax())
            raise ValueError(f"{name}: point {i}, sample {n} is not a log-probability vector (sum of p = {total[n]})")
    return values
