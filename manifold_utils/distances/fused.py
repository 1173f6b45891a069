"""d_B of all pairs on a GPU in one fused CUDA kernel (PAPER.md section 1): nothing but sums over samples is written.

A block of pairs stays in registers while the samples go by (fused.cu): coefficients of a group of samples are
multiplied, and the exponent of the product moves to an integer by bit operations, as in `simd`. So a pair costs 2 N C
flops, one log at the end and no memory traffic, where a batched product followed by a log (`gpu`) is bound by memory.
Pairs with a group of samples too small for float32 are flagged and computed again: by the same kernel in float64 if
they are many, else one by one in logs. Only d_B is here; the other metrics are `gpu`'s.
"""

import math
import warnings
from functools import cache
from pathlib import Path

import torch

from manifold_utils.distances.bhattacharyya import NotNormalised
from manifold_utils.distances.gpu import GROUP, TorchSum
from manifold_utils.geometry import NORMALISATION_TOLERANCE

BLOCKS = {torch.float32: (128, 64, 8, 4), torch.float64: (64, 64, 4, 4)}  # tile of a block and of a thread
PAD = 128  # points are padded to a multiple of the largest block
SHARED_BYTES = 98_304  # of shared memory that a block takes at most: what every GPU since Ampere's data centre card has
STAGE_ROWS = 32  # classes of a sample that are in shared memory at a time, at most
CHUNK_BYTES = 2**31  # square roots of a chunk of samples on the device, both sides together
EXACT_ENTRIES = 2**24  # log-probabilities gathered at a time for pairs that are computed one by one
MANY = 1e-3  # share of flagged pairs from which the float64 kernel takes all of them first


class FusedSum(TorchSum):
    """Sum over samples of -log BC for all pairs on a CUDA device; the protocol of `bhattacharyya.BhattacharyyaSum`.

    Parameters
    ----------
    n_p, n_q : int; n_q None for the distances of n_p points among themselves (half of them are computed)
    n_classes : int
    cap : float, nats, or None; each sample's term is clamped to it
    device : torch device
    """

    def __init__(self, n_p, n_q, n_classes, *, cap=None, device="cuda"):
        super().__init__("bhattacharyya", n_p, n_q, n_classes, cap=cap, device=device)
        n_points = self.shape[0] if self.symmetric else sum(self.shape)
        self.chunk_samples = max(1, CHUNK_BYTES // (12 * n_points * n_classes * GROUP)) * GROUP

    def _moved(self, values):
        """(points, n, C) log-probabilities on the device, checked."""
        x = torch.as_tensor(values).to(self.device)
        wrong = ~((torch.logsumexp(x.double(), dim=2).exp() - 1).abs() <= NORMALISATION_TOLERANCE)
        if bool(wrong.any()):
            raise NotNormalised
        return x

    def _add_chunk(self, x, y):
        before = self.total.clone() if self.n_samples else None
        self._launch(x, y, torch.float32, self.total)
        flagged = self._flagged()
        if flagged.sum() > MANY * flagged.numel():
            again = torch.zeros_like(self.total) if before is None else before.clone()
            self._launch(x, y, torch.float64, again)
            self.total = torch.where(flagged, again, self.total)
            flagged = self._flagged()
        for pairs in flagged.nonzero().split(max(1, EXACT_ENTRIES // (x.shape[1] * x.shape[2]))):
            i, j = pairs.unbind(dim=1)
            terms = -torch.logsumexp((x[i].double() + y[j].double()) / 2, dim=2)
            exact = terms.clamp_(max=self.cap).sum(dim=1)
            self.total[i, j] = exact if before is None else exact + before[i, j]

    def _flagged(self):
        """Pairs that the kernel could not hold: NaN, of the upper triangle where only that is wanted."""
        flagged = torch.isnan(self.total)
        return flagged.triu(1) if self.symmetric else flagged

    def _launch(self, x, y, dtype, out):
        """Subtract the logs of a chunk's coefficients from `out`; NaN for pairs that `dtype` cannot hold."""
        stage = stage_of(x.shape[2], dtype)
        p = _roots(x, dtype, stage)
        q = p if y is x else _roots(y, dtype, stage)
        kernel, shared = _kernel(dtype, stage, self.symmetric, self.cap < math.inf)
        floor = torch.tensor([math.exp(-self.cap)], dtype=dtype, device=x.device)
        rows, columns, of_thread, across = BLOCKS[dtype]
        (n_p, n_q), n_groups = self.shape, p.shape[0] // GROUP
        kernel(
            grid=(-(-n_q // columns), -(-n_p // rows), 1),
            block=(rows // of_thread * (columns // across), 1, 1),
            args=[p, q, out, n_groups, n_p, n_q, p.stride(1), q.stride(1), out.stride(0), floor],
            shared_mem=shared,
        )


def stage_of(n_classes, dtype):
    """(samples, rows, pieces): what lies in shared memory at a time, and the pieces into which many classes are cut.

    Examples
    --------
    >>> stage_of(10, torch.float32), stage_of(100, torch.float32)
    ((4, 10, 1), (1, 25, 4))
    """
    pieces = -(-n_classes // STAGE_ROWS)
    rows = -(-n_classes // pieces)
    fits = [n for n in (GROUP, 2, 1) if n == 1 or (pieces == 1 and _shared_bytes((n, rows), dtype) <= SHARED_BYTES)]
    return fits[0], rows, pieces


def _shared_bytes(stage, dtype):
    """Bytes of the two buffers of a block."""
    return 2 * stage[0] * stage[1] * sum(BLOCKS[dtype][:2]) * dtype.itemsize


@cache
def usable():
    """Whether torch can compile the kernel for this GPU; where it cannot, a warning says why, once."""
    try:
        _kernel(torch.float32, stage_of(2, torch.float32), True, False)
    except (AttributeError, OSError, RuntimeError) as error:
        warnings.warn(
            f"the fused kernel cannot be compiled on this machine ({error}): distances on the GPU take batched "
            "products, which are exact too, but about ten times slower",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


@cache
def _kernel(dtype, stage, upper_only, capped):
    """The compiled kernel for one case, and the shared memory that it takes."""
    names = ("BM", "BN", "TM", "TN", "SAMPLES", "ROWS", "PIECES", "UPPER", "CAPPED", "DOUBLE", "BLOCKS")
    values = (*BLOCKS[dtype], *stage, int(upper_only), int(capped), int(dtype == torch.float64), 2)
    source = Path(__file__).with_name("fused.cu").read_text(encoding="utf-8")
    options = [f"-D{name}={value}" for name, value in zip(names, values, strict=True)]
    kernel = torch.cuda._compile_kernel(source, "add_logs", nvcc_options=options)
    shared = _shared_bytes(stage, dtype)
    kernel.set_shared_memory_config(shared)
    return kernel, shared


def _roots(logs, dtype, stage):
    """Square roots of probabilities (n, C, points), padded: points and classes of zeros, samples of coefficient 1."""
    n_points, n_samples, n_classes = logs.shape
    shape = (-(-n_samples // GROUP) * GROUP, stage[1] * stage[2], -(-n_points // PAD) * PAD)
    roots = torch.zeros(shape, dtype=dtype, device=logs.device)
    roots[:n_samples, :n_classes, :n_points] = (logs.to(dtype) / 2).exp().permute(1, 2, 0)
    roots[n_samples:, 0] = 1.0
    return roots
