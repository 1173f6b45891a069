"""The accumulator of every metric on a GPU: batched products in torch, exact for every input (PAPER.md section 1).

Coefficients of a chunk of samples come from one batched product. Those of a group of samples are multiplied, and the
product's exponent is taken off by frexp: one log a pair. Coefficients that float32 cannot hold are found and computed
again in float64 logs. Plain torch, so that it is tested on the CPU; it writes coefficients to memory once, which is
what bounds its speed. For d_B `fused` writes nothing, and is taken where torch can compile it.
"""

import math

import numpy as np

from manifold_utils.distances.bhattacharyya import NotNormalised
from manifold_utils.distances.finishing import mirrored
from manifold_utils.geometry import NORMALISATION_TOLERANCE

GROUP = 4  # samples whose coefficients are multiplied before the exponent is taken off
TRUSTED = 2.0**-30  # smallest coefficient that is multiplied in float32: a group of four stays a normal number
CHUNK_ENTRIES = {"cuda": 2**27, "cpu": 2**22}  # coefficients that are in memory at a time
EXACT_ENTRIES = 2**20  # coefficients recomputed at a time


class TorchSum:
    """Mean divergence of all pairs on a torch device; the protocol of `bhattacharyya.BhattacharyyaSum`.

    Parameters
    ----------
    metric : one of `distances.METRICS`; all but bhattacharyya are computed in float64
    n_p, n_q : int; n_q None for distances among the n_p points (both halves are computed: the device has the flops)
    n_classes : int
    cap : float or None, clamp of each sample's term
    device : torch device
    """

    def __init__(self, metric, n_p, n_q, n_classes, *, cap=None, device="cuda"):
        import torch

        self.torch, self.device = torch, torch.device(device)
        self.metric, self.cap = metric, math.inf if cap is None else float(cap)
        self.symmetric, self.shape = n_q is None, (n_p, n_p if n_q is None else n_q)
        entries = CHUNK_ENTRIES[self.device.type] // (self.shape[0] * self.shape[1])
        self.chunk_samples = max(1, entries // GROUP) * GROUP
        self.n_samples = 0
        self.total = torch.zeros(self.shape, dtype=torch.float64, device=self.device)

    def add(self, log_p, log_q=None):
        """Add samples: log_p (n_p, n, C) and, if not symmetric, log_q (n_q, n, C), natural logs, numpy."""
        for start in range(0, log_p.shape[1], self.chunk_samples):
            part = slice(start, start + self.chunk_samples)
            x = self._moved(log_p[:, part])
            y = x if log_q is None else self._moved(log_q[:, part])
            self._add_chunk(x, y)
            self.n_samples += min(self.chunk_samples, log_p.shape[1] - start)

    def result(self):
        """Mean of the terms, float64 ndarray (n_p, n_q)."""
        mean = self.mean().cpu().numpy()
        return mirrored(mean) if self.symmetric else mean

    def mean(self):
        """Mean of the terms as a tensor on the device; of the kernel of `fused` only j > i is right where symmetric."""
        return (self.total / self.n_samples).clamp_(min=0)

    def _add_chunk(self, x, y):
        self.total += self._logs(x, y) if self.metric == "bhattacharyya" else self._sum_of_terms(x, y)

    def _moved(self, values):
        """(n, points, C) float64 on the device, checked."""
        x = self.torch.as_tensor(np.ascontiguousarray(values)).to(self.device, self.torch.float64).transpose(0, 1)
        wrong = ~((x.exp().sum(dim=2) - 1).abs() <= NORMALISATION_TOLERANCE)
        if bool(wrong.any()):
            raise NotNormalised
        return x

    def _product(self, p, q):
        """p q' of each sample in full float32: the reduced precision of tensor cores would cost three digits."""
        before = self.torch.get_float32_matmul_precision()
        self.torch.set_float32_matmul_precision("highest")
        try:
            return self.torch.bmm(p, q.transpose(1, 2))
        finally:
            self.torch.set_float32_matmul_precision(before)

    def _logs(self, x, y):
        """Sum over the chunk of -log BC, exact."""
        torch = self.torch
        coefficients = self._product((x / 2).exp().float(), (y / 2).exp().float())
        exact = torch.zeros(self.shape, dtype=torch.float64, device=self.device)
        small = coefficients < max(TRUSTED, math.exp(-self.cap))
        if bool(small.any()):
            coefficients.masked_fill_(small, 1.0)
            self._add_exact(x, y, small & torch.isfinite(self.total), exact)  # an infinite pair stays so
        missing = -len(coefficients) % GROUP
        if missing:
            coefficients = torch.cat([coefficients, coefficients.new_ones(missing, *self.shape)])
        mantissa, exponent = torch.frexp(coefficients.view(-1, GROUP, *self.shape).prod(dim=1))
        powers = exponent.sum(dim=0, dtype=torch.float64)
        logs = self._log_of_product(mantissa) + powers * math.log(2)
        return exact - logs

    def _log_of_product(self, mantissa):
        """Log of the product over the first axis of numbers in [0.5, 1), halving the axis; float64 (n_p, n_q)."""
        powers = self.torch.zeros(self.shape, dtype=self.torch.float64, device=self.device)
        while len(mantissa) > 1:
            half = len(mantissa) // 2
            rest = mantissa[2 * half :]
            mantissa, exponent = self.torch.frexp(mantissa[:half] * mantissa[half : 2 * half])
            powers += exponent.sum(dim=0, dtype=self.torch.float64)
            mantissa = self.torch.cat([mantissa, rest])
        return mantissa[0].double().log() + powers * math.log(2)

    def _add_exact(self, x, y, small, exact):
        """Terms of the pairs and samples where `small`, by logsumexp in float64, added to `exact`."""
        for part in small.nonzero().split(EXACT_ENTRIES):
            n, i, j = part.unbind(dim=1)
            term = -self.torch.logsumexp((x[n, i] + y[n, j]) / 2, dim=1)
            exact.index_put_((i, j), term.clamp_(max=self.cap), accumulate=True)

    def _sum_of_terms(self, x, y):
        """Sum over the chunk of any other metric's terms, float64, a sample at a time."""
        return sum(_term(self.torch, self.metric, a, b).clamp_(max=self.cap) for a, b in zip(x, y, strict=True))


def _term(torch, metric, a, b):
    """One sample's terms (n_p, n_q) from log-probabilities a (n_p, C), b (n_q, C)."""
    p, q = a.exp(), b.exp()
    if metric == "hellinger":
        return 1 - p.sqrt() @ q.sqrt().T
    if metric == "euclidean":
        return torch.cdist(p, q, compute_mode="donot_use_mm_for_euclid_dist")
    if metric == "geodesic":
        chord = torch.cdist(p.sqrt(), q.sqrt(), compute_mode="donot_use_mm_for_euclid_dist")
        return 2 * torch.asin((chord / 2).clamp_(max=1))
    difference = (p[:, None] - q) * (a[:, None] - b)
    # NaN is 0 * inf here: one side is zero and the other one too small for a float, but not zero
    difference = torch.where(a[:, None] == b, 0.0, difference).nan_to_num(nan=math.inf, posinf=math.inf)
    return 0.5 * difference.sum(dim=2)
