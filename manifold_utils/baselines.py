"""The usual way to compute d_B between all pairs, written as one would write it first, for comparison (chapter 90).

Batched matrix products give the coefficients of a chunk of samples, then every entry's log is taken (PAPER.md section
1). It computes both halves of the matrix, in the dtype of the input, and clamps as public code does: that is the point.
Use `distances.pairwise` for anything but comparisons.
"""

import time

import numpy as np

USUAL_CAP = 100.0  # nats: what public code puts in place of an infinite term
CHUNKS = (1, 2, 5, 10, 25, 50, 100)  # samples a chunk that `best_chunk` tries
TRIAL_SAMPLES = 100  # samples that a trial reads at most


def usual_pairwise(log_probs, chunk=10):
    """d_B among all points: a batched product and a log for every entry, `chunk` samples at a time.

    Parameters
    ----------
    log_probs : (m, N, C) ndarray, float32 or float64, natural logs
    chunk : int

    Returns
    -------
    (m, m) ndarray of the same dtype. Each sample's term lies in [0, USUAL_CAP]: where coefficients underflow or the
    supports are disjoint, USUAL_CAP; the diagonal is zero up to rounding.

    Examples
    --------
    >>> import numpy as np
    >>> bool(np.isclose(usual_pairwise(np.log([[[0.5, 0.5]], [[1.0, 1e-30]]]))[0, 1], np.log(2) / 2))
    True
    """
    import torch

    root = torch.exp(torch.as_tensor(log_probs) / 2).transpose(0, 1).contiguous()  # (N, m, C)
    total = torch.zeros(root.shape[1], root.shape[1], dtype=root.dtype)
    for part in root.split(chunk):
        coefficients = torch.bmm(part, part.transpose(1, 2))
        total += coefficients.log_().neg_().clamp_(0, USUAL_CAP).sum(dim=0)
    return (total / len(root)).numpy()


def best_chunk(log_probs, candidates=CHUNKS):
    """The chunk with which `usual_pairwise` is fastest here: measured on the first samples, the better of two runs."""
    part = np.ascontiguousarray(log_probs[:, :TRIAL_SAMPLES])
    seconds = {chunk: [] for chunk in candidates if chunk <= part.shape[1]}
    for _ in range(2):
        for chunk, found in seconds.items():
            start = time.perf_counter()
            usual_pairwise(part, chunk)
            found.append(time.perf_counter() - start)
    return min(seconds, key=lambda chunk: min(seconds[chunk]))
