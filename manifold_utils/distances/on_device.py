"""The whole matrix of all pairs in the memory of one GPU: 92 GB in float32 for the paper's 151,407 points.

`DeviceMatrix` computes d_B with the fused kernel, a stripe of rows at a time, keeps both triangles, and multiplies in
float64; `InPCA.fit` takes it in place of D, as it takes `recomputed.Recomputed`. For what does not fit, there is that,
or `tiles`.
"""

import numpy as np
import torch

from manifold_utils.distances.fused import FusedSum

STRIPE = 2048  # rows computed, and multiplied, at a time


class DeviceMatrix:
    """Bhattacharyya distances of all pairs of points, held on a CUDA device.

    Parameters
    ----------
    log_probs : tensor (m, N, C), float32, on the device: natural-log probabilities

    Attributes
    ----------
    shape : (m, m); dtype : float32; chunks : (STRIPE, m)
    values : tensor (m, m), float32
    """

    def __init__(self, log_probs):
        m = log_probs.shape[0]
        self.shape, self.dtype, self.ndim, self.chunks = (m, m), np.dtype(np.float32), 2, (STRIPE, m)
        self.values = torch.zeros((m, m), dtype=torch.float32, device=log_probs.device)
        for start in range(0, m, STRIPE):
            rows = slice(start, min(start + STRIPE, m))
            total = FusedSum(rows.stop - start, m - start, log_probs.shape[2], device=log_probs.device)
            total.add(log_probs[rows], log_probs[start:])
            stripe = total.mean()
            own = stripe[:, : rows.stop - start]
            own.copy_(own.triu(1) + own.triu(1).T)  # symmetric to the last bit, and zero on the diagonal
            self.values[rows, start:] = stripe
            self.values[start:, rows] = stripe.T

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """Rows as a float32 ndarray."""
        return self.values[rows].cpu().numpy()

    def columns(self, which):
        """Distances of all points to some, (m, l) float32 ndarray."""
        return np.ascontiguousarray(self.values[torch.as_tensor(which, device=self.values.device)].T.cpu().numpy())

    def sweep(self, X, counts, probe):
        """D X and, with `counts`, per-row (sum of n D^2, largest |D|, D_uu) and D' probe, as `gram` asks of a pass."""
        device = self.values.device
        x = torch.as_tensor(np.ascontiguousarray(X), device=device)
        Z, scan = torch.empty_like(x), torch.zeros((3, len(self)), dtype=torch.float64, device=device)
        weights = None if counts is None else torch.as_tensor(counts, device=device)
        for start in range(0, len(self), STRIPE):
            rows = slice(start, start + STRIPE)
            panel = self.values[rows].double()
            Z[rows] = panel @ x
            if weights is not None:
                scan[1, rows] = panel.abs().amax(dim=1)
                scan[2, rows] = panel.diagonal(offset=start)
                scan[0, rows] = panel.square_() @ weights
        Z = Z.cpu().numpy()
        return Z, None if counts is None else scan.cpu().numpy(), None if counts is None else Z[:, -1].copy()
