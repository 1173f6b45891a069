"""The exact answer on one GPU, which holds the whole matrix: 151,407 points need 108 GB of its memory (PAPER.md 1).

The matrix is `distances.on_device`'s, which `InPCA` takes as it is. torch is imported here: nothing else of the room
needs it.
"""

import time

import numpy as np
import torch

from manifold_utils.distances.on_device import DeviceMatrix
from manifold_utils.inpca import InPCA

COMPONENTS, TOLERANCE = 50, 1e-6  # as `scale`'s
CHECKED_PAIRS = 200
READ_POINTS = 6600  # of the array on disk at a time


def load(source, device="cuda"):
    """An array on disk (m, N, C) as a tensor on the device, read a part at a time."""
    out = torch.empty(tuple(source.shape), dtype=torch.float32, device=device)
    for start in range(0, source.shape[0], READ_POINTS):
        out[start : start + READ_POINTS] = torch.as_tensor(source[start : start + READ_POINTS])
    return out


def exact(log_probs):
    """The matrix and its embedding.

    Parameters
    ----------
    log_probs : tensor (m, N, C), float32, on the device

    Returns
    -------
    D : DeviceMatrix
    fit : InPCA of 50 components
    numbers : dict: matrix_seconds, eigen_seconds, passes, residual, relative_error (of random pairs, against float64),
        device_bytes (largest)
    """
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    D = DeviceMatrix(log_probs)
    torch.cuda.synchronize()
    computed = time.perf_counter()
    fit = InPCA(COMPONENTS, solver="krylov", tol=TOLERANCE).fit(D)
    solved = time.perf_counter()
    return D, fit, {
        "points": len(D), "matrix_seconds": computed - began, "eigen_seconds": solved - computed,
        "passes": fit.n_passes_, "residual": float(fit.residuals_.max()),
        "relative_error": relative_error(D, log_probs), "device_bytes": torch.cuda.max_memory_allocated(),
        "stress": fit.explained_stress_.tolist(),
        "eigenvalues": fit.eigenvalues_.tolist(),
    }  # fmt: skip


def relative_error(D, log_probs, seed=1):
    """Largest difference of random pairs from the formula in float64, relative to the largest of them."""
    i, j = torch.as_tensor(np.random.default_rng(seed).integers(len(D), size=(2, CHECKED_PAIRS))).to(log_probs.device)
    terms = -torch.logsumexp((log_probs[i].double() + log_probs[j].double()) / 2, dim=2)
    formula = torch.where(i == j, 0.0, terms.mean(dim=1))
    return float((D.values[i, j].double() - formula).abs().max() / formula.max())
