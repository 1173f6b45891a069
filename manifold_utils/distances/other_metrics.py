"""Accumulators of the metrics other than d_B: Hellinger, geodesic, Euclidean, symmetric KL (PAPER.md section 1).

Same protocol as `bhattacharyya.BhattacharyyaSum`: `add` chunks of samples, then `result`. All in float64. Hellinger and
KL are matrix products; the great circle and the Euclidean distance sum differences, so that near points keep their
digits. One slower route clamps each sample's term, for every metric. The fast d_B is not here.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np

from manifold_utils.distances.bhattacharyya import NotNormalised, n_threads
from manifold_utils.distances.finishing import each, mirrored
from manifold_utils.geometry import NORMALISATION_TOLERANCE

CHUNK_BYTES = 32 * 2**20  # float64 work arrays of one chunk of samples
LANES = 32  # columns that the difference kernel carries together
CAPPED = {"hellinger": 0, "geodesic": 1, "euclidean": 2, "symmetric_kl": 3}  # in `_sum_capped`; others clamp themselves


class _Sum:
    """Shared part: chunks, the check of the sums of probabilities, the mean at the end."""

    def __init__(self, n_p, n_q, n_classes, *, cap=None, threads=None):
        self.symmetric, self.shape = n_q is None, (n_p, n_p if n_q is None else n_q)
        self.cap = math.inf if cap is None else float(cap)
        self.threads, self.n_samples, self.total = threads or n_threads(), 0, np.zeros(self.shape)
        self.chunk_samples = max(1, CHUNK_BYTES // (8 * n_classes * sum(self.shape)))

    def add(self, log_p, log_q=None):
        """Add samples: log_p (n_p, n, C) and, if not symmetric, log_q (n_q, n, C), natural logs."""
        for start in range(0, log_p.shape[1], self.chunk_samples):
            part = slice(start, start + self.chunk_samples)
            x = _checked(log_p[:, part])
            y = x if log_q is None else _checked(log_q[:, part])
            self._add_chunk(x, y)
            self.n_samples += x.shape[1]

    def result(self):
        """Mean of the terms, float64 (n_p, n_q); symmetric with an exactly zero diagonal where that was asked."""
        terms = self._terms()
        if self.symmetric:
            return mirrored(terms, 1.0 / self.n_samples, self.threads)
        return np.maximum(terms / self.n_samples, 0.0)

    def _terms(self):
        return self.total


class HellingerSum(_Sum):
    """1 - BC, a plain matrix product of square roots."""

    def _add_chunk(self, x, y):
        p, q = np.exp(x / 2), np.exp(y / 2)
        self.total += p.reshape(len(p), -1) @ q.reshape(len(q), -1).T

    def _terms(self):
        return self.n_samples - self.total


class SymmetricKLSum(_Sum):
    """sum_c (p - q)(log p - log q) / 2, multiplied out into matrix products; infinite unless supports agree."""

    def _add_chunk(self, x, y):
        (p, log_p, own_p, zero_p), (q, log_q, own_q, zero_q) = _kl_parts(x), _kl_parts(y)
        self.total += 0.5 * (own_p[:, None] + own_q - p @ log_q.T - log_p @ q.T)
        if zero_p.any() or zero_q.any():
            outside = zero_p.astype(np.float32) @ (~zero_q).astype(np.float32).T
            outside += (~zero_p).astype(np.float32) @ zero_q.astype(np.float32).T
            self.total[outside > 0] = np.inf


class DifferenceSum(_Sum):
    """Great-circle angle (from chords of sqrt p) or Euclidean norm (of p), sample by sample."""

    angle = False

    def _add_chunk(self, x, y):
        scale = 0.5 if self.angle else 1.0
        p, panels = np.exp(scale * x), _panels(np.exp(scale * y))

        def work(rows):
            _sum_differences(p, panels, *rows, self.angle, self.symmetric, self.total)

        with ThreadPoolExecutor(self.threads) as pool:
            step = max(1, len(p) // (8 * self.threads))
            each(pool, work, [(i, min(i + step, len(p))) for i in range(0, len(p), step)])


class GeodesicSum(DifferenceSum):
    """arccos BC = 2 arcsin(chord / 2): exact for near points, where arccos loses half of the digits."""

    angle = True


class CappedSum(_Sum):
    """Any metric with each sample's term clamped to `cap`, entry by entry in float64."""

    def __init__(self, kind, *args, **options):
        super().__init__(*args, **options)
        self.kind = CAPPED[kind]

    def _add_chunk(self, x, y):
        def work(rows):
            _sum_capped(self.kind, x, y, *rows, self.cap, self.symmetric, self.total)

        with ThreadPoolExecutor(self.threads) as pool:
            step = max(1, len(x) // (8 * self.threads))
            each(pool, work, [(i, min(i + step, len(x))) for i in range(0, len(x), step)])


# THE list of metrics beside d_B: name -> accumulator.
SUMS = {
    "hellinger": HellingerSum,
    "geodesic": GeodesicSum,
    "euclidean": DifferenceSum,
    "symmetric_kl": SymmetricKLSum,
}


def _checked(chunk):
    chunk = np.ascontiguousarray(chunk, dtype=np.float64)
    with np.errstate(over="ignore"):
        wrong = ~(np.abs(np.exp(chunk).sum(axis=2) - 1.0) <= NORMALISATION_TOLERANCE)
    if wrong.any():
        raise NotNormalised
    return chunk


def _kl_parts(x):
    """p, log p with 0 in place of -inf, sum p log p, and where p = 0; rows are points."""
    x = x.reshape(len(x), -1)
    zero = np.isneginf(x)
    log, p = np.where(zero, 0.0, x), np.exp(x)
    return p, log, np.einsum("ij,ij->i", p, log), zero


def _panels(values):
    """(n, N, C) to (panels, N, C, LANES), the last panel filled up with zeros."""
    n, n_samples, n_classes = values.shape
    out = np.zeros((-(-n // LANES), n_samples, n_classes, LANES))
    for k in range(len(out)):
        part = values[k * LANES : (k + 1) * LANES]
        out[k, :, :, : len(part)] = part.transpose(1, 2, 0)
    return out


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _sum_differences(p, panels, first, last, angle, upper_only, total):
    """total[i, j] += sum over samples of |p_i - q_j|, or of the angle 2 arcsin(|p_i - q_j| / 2).

    Half angles are added as rotations of (x, y), with whole quarter turns counted: one arctangent a pair.
    """
    square, x, y, turns = np.empty(LANES), np.empty(LANES), np.empty(LANES), np.empty(LANES)
    for i in range(first, last):
        for k in range(i // LANES if upper_only else 0, len(panels)):
            x[:], y[:], turns[:] = 1.0, 0.0, 0.0
            for n in range(p.shape[1]):
                square[:] = 0.0
                for c in range(p.shape[2]):
                    value = p[i, n, c]
                    for lane in range(LANES):
                        difference = value - panels[k, n, c, lane]
                        square[lane] += difference * difference
                for lane in range(LANES):
                    if not angle:
                        y[lane] += math.sqrt(square[lane])
                        continue
                    sine2 = min(0.25 * square[lane], 1.0)
                    sine, cosine = math.sqrt(sine2), math.sqrt(1.0 - sine2)
                    u, v = x[lane] * cosine - y[lane] * sine, x[lane] * sine + y[lane] * cosine
                    over = u < 0.0
                    x[lane], y[lane] = (v, -u) if over else (u, v)
                    turns[lane] += 1.0 if over else 0.0
            for lane in range(min(LANES, total.shape[1] - k * LANES)):
                term = 2.0 * (math.atan2(y[lane], x[lane]) + turns[lane] * math.pi / 2) if angle else y[lane]
                total[i, k * LANES + lane] += term


@numba.njit(nogil=True, cache=True)
def _sum_capped(kind, log_p, log_q, first, last, cap, upper_only, total):
    """total[i, j] += sum over samples of min(term, cap), the term by its definition."""
    for i in range(first, last):
        for j in range(i + 1 if upper_only else 0, len(log_q)):
            for n in range(log_p.shape[1]):
                product, square, chord, kl = 0.0, 0.0, 0.0, 0.0
                for c in range(log_p.shape[2]):
                    a, b = log_p[i, n, c], log_q[j, n, c]
                    root_a, root_b = math.exp(0.5 * a), math.exp(0.5 * b)
                    product += root_a * root_b
                    chord += (root_a - root_b) ** 2
                    square += (root_a**2 - root_b**2) ** 2
                    if a == -math.inf != b or b == -math.inf != a:  # also where exp underflows to 0
                        kl = math.inf
                    elif a != b:
                        kl += 0.5 * (math.exp(a) - math.exp(b)) * (a - b)
                if kind == 0:
                    term = 1.0 - product
                elif kind == 1:
                    term = 2.0 * math.asin(min(1.0, 0.5 * math.sqrt(chord)))
                elif kind == 2:
                    term = math.sqrt(square)
                else:
                    term = kl
                total[i, j] += min(term, cap)
