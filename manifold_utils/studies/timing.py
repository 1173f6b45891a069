"""Timing for chapter 90: functions measured in turns, medians and ratios, growth exponents, memory, the sgemm roofline.

A ratio of two timings means something only if both were taken under the same load: `interleaved` runs the candidates
in turns and `compare` divides within each turn. The roofline of d_B is one multiplication and one addition a sample,
class and pair: 2 N C m^2 / 2 flops for a symmetric matrix of m points. It measures what it is given and knows no
kernel, no solver and no training loop.
"""

import math
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd

from manifold_utils.distances import pairwise
from manifold_utils.inpca import choices
from manifold_utils.inpca.landmarks import LandmarkInPCA
from manifold_utils.workers import thread_limit

GPU_CASES = ((2048, 1000, 10), (8192, 1000, 10), (8192, 1000, 2), (4096, 250, 100), (2048, 50, 1000))  # m, N, C
GPU_CHUNKS = (4, 16, 64)  # samples a chunk that the usual way tries there
GPU_SIDE, GPU_DIFFERENT = 8192, 512  # side of the product; points that are made, the others being copies of these
SETTLING = 5  # calls after a change of threads: the first ones still hand out memory of other sizes
SGEMM_SIDE = 1536  # three float32 matrices of 9 MB each: beyond the caches, as in real use
DECIDED = 12.0  # logit by which a finished network prefers the true class


def interleaved(functions, repeats=5, *, warm_up=True, clock=time.perf_counter):
    """Seconds of several functions, run in turns: a, b, c, a, b, c, ...

    Parameters
    ----------
    functions : dict of name -> function without arguments
    repeats : int, turns
    warm_up : bool
        Call each once before, unmeasured (compilation, caches, page faults).
    clock : function giving seconds

    Returns
    -------
    DataFrame (repeats, len(functions)) of seconds

    Examples
    --------
    >>> interleaved({"a": lambda: None, "b": lambda: None}, repeats=3).shape
    (3, 2)
    """
    if warm_up:
        for function in functions.values():
            function()
    rows = []
    for _ in range(repeats):
        row = {}
        for name, function in functions.items():
            start = clock()
            function()
            row[name] = clock() - start
        rows.append(row)
    return pd.DataFrame(rows, columns=list(functions)).rename_axis("turn")


def compare(seconds, reference):
    """Medians, and how many times faster than `reference` each one is.

    Parameters
    ----------
    seconds : DataFrame of `interleaved`
    reference : str, one of its columns

    Returns
    -------
    DataFrame indexed by name: seconds (median), low, high (fastest and slowest turn), times, times_low, times_high: the
    median, smallest and largest over turns of reference / this, taken within a turn
    """
    ratio = seconds[[reference]].to_numpy() / seconds
    columns = {
        "seconds": seconds.median(),
        "low": seconds.min(),
        "high": seconds.max(),
        "times": ratio.median(),
        "times_low": ratio.min(),
        "times_high": ratio.max(),
    }
    return pd.DataFrame(columns).loc[list(seconds.columns)].rename_axis("name")


def growth(sizes, values):
    """Fit values = factor * sizes^exponent by least squares in logarithms.

    Returns
    -------
    exponent, factor : float

    Examples
    --------
    >>> [round(v, 6) for v in growth([1, 2, 4], [3.0, 12.0, 48.0])]
    [2.0, 3.0]
    """
    if len(sizes) < 2:
        raise ValueError(f"a growth exponent needs two sizes at least, found {len(sizes)}")
    exponent, intercept = np.polyfit(np.log(np.asarray(sizes, float)), np.log(np.asarray(values, float)), 1)
    return float(exponent), float(math.exp(intercept))


def peak_memory(function):
    """Largest number of bytes that numpy and Python held at once during a call, beyond what they held before it.

    Memory of torch and of compiled code's own stack is not seen.
    """
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def sgemm_task(side=SGEMM_SIDE, dtype=np.float32):
    """A matrix product of this machine's BLAS to measure beside other work.

    Returns
    -------
    function without arguments
    flops : float, multiplications and additions of one call
    """
    rng = np.random.default_rng(0)
    a, b = (rng.random((side, side)).astype(dtype) for _ in range(2))
    out = np.empty((side, side), dtype)
    return lambda: np.matmul(a, b, out=out), 2.0 * side**3


def sgemm_rate(repeats=5, side=SGEMM_SIDE, dtype=np.float32):
    """Flops per second of a matrix product of this machine's BLAS, with as many threads as it has now (median)."""
    product, flops = sgemm_task(side, dtype)
    return flops / float(interleaved({"sgemm": product}, repeats).sgemm.median())


def pair_flops(m, n_samples, n_classes, m_other=None):
    """Flops that the coefficients of all pairs need: 2 N C m^2 / 2 among m points, 2 N C m m' between two sets."""
    pairs = m * m / 2 if m_other is None else m * m_other
    return 2.0 * n_samples * n_classes * pairs


def predictions(m, n_samples, n_classes, rng, dtype=np.float32, *, only=None, samples_rng=None):
    """Made-up predictions that spread from ignorance to truth as those of training networks do.

    Parameters
    ----------
    m, n_samples, n_classes : int
    rng : numpy Generator
    only : sequence of int, optional
        Numbers of the points to make, of m; all by default.
    samples_rng : numpy Generator, optional
        Draws labels and difficulties of the samples; `rng` by default. For calls that must share them.

    Returns
    -------
    log_probs : (m, n_samples, n_classes) ndarray of natural logs; the points go from ignorance to confident
    labels : (n_samples,) int64
    """
    samples_rng = samples_rng or rng
    labels = samples_rng.integers(n_classes, size=n_samples)
    difficulty = samples_rng.gamma(2.0, 0.5, size=n_samples)  # some samples are learnt late by every network
    times = np.linspace(0, 1, m)[slice(None) if only is None else np.asarray(only)]
    log_probs = np.empty((len(times), n_samples, n_classes), dtype)
    for k, t in enumerate(times):
        logits = 2 * np.sqrt(t) * rng.standard_normal((n_samples, n_classes))
        logits[np.arange(n_samples), labels] += DECIDED * t / (0.2 + difficulty)
        top = logits.max(axis=1, keepdims=True)
        log_probs[k] = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    return log_probs, labels


def distance_matrix(m, rng, decay=0.6, n_axes=600):
    """A made-up (m, m) float32 matrix of distances whose spectrum falls as that of trained networks does.

    Signed coordinates with |lambda_k| ~ k^(-1/decay), every fourth axis time-like, and the first large enough that no
    distance is negative.

    Parameters
    ----------
    m : int
    rng : numpy Generator
    decay : float
        Smaller is steeper.
    n_axes : int
        Far more than the eigenpairs that are asked for: a matrix of low rank would flatter a Krylov method.

    Returns
    -------
    D : (m, m) float32 ndarray, symmetric, zero diagonal
    """
    x = rng.standard_normal((m, n_axes)) * np.arange(1, n_axes + 1) ** (-0.5 / decay)
    sign = np.where(np.arange(n_axes) % 4 == 3, -1.0, 1.0)
    norm = (x * x * sign).sum(axis=1)
    D = np.empty((m, m), np.float32)
    step = max(1, 2**22 // m)
    for i in range(0, m, step):
        D[i : i + step] = norm[i : i + step, None] + norm - 2 * (x[i : i + step] * sign) @ x.T
    upper = np.triu(D, 1)
    return upper + upper.T


def full_size(rate, m, n_samples, n_classes):
    """Hours and bytes of the matrix of m points at a measured rate.

    Parameters
    ----------
    rate : float
        Flops per second of the pairwise kernel, counted by `pair_flops`.

    Returns
    -------
    dict: hours, bytes_matrix (float32), bytes_predictions (float32)
    """
    return {
        "hours": pair_flops(m, n_samples, n_classes) / rate / 3600,
        "bytes_matrix": 4 * m * m,
        "bytes_predictions": 4 * m * n_samples * n_classes,
    }


def roofline(turns, case, product_flops):
    """Share of the matrix product's rate that ours has, within each turn.

    Parameters
    ----------
    turns : DataFrame of seconds, with columns ours and sgemm
    case : arguments of `pair_flops`
    product_flops : float, of one product

    Returns
    -------
    Series
    """
    return pair_flops(*case) / turns.ours * turns.sgemm / product_flops


def with_threads(shape, threads, repeats, rng):
    """Seconds of `pairwise` with several numbers of threads, in turns, and of separate calls side by side.

    Separate calls in one thread each have nothing to share but the machine: no way of sharing one matrix gains more.

    Parameters
    ----------
    shape : (m, n_samples, n_classes, m_other), m_other None for all pairs of m points
    threads : sequence of int, the largest last
    repeats : int, turns
    rng : numpy Generator

    Returns
    -------
    DataFrame (repeats, len(threads) + 1) of seconds: a column for each number of threads, and `apart`, of the largest
    number of calls in one thread each, divided by that number
    """
    m, n_samples, n_classes, m_other = shape
    first, _ = predictions(m, n_samples, n_classes, rng)
    second = None if m_other is None else first[:: max(1, m // m_other)][:m_other].copy()
    work, most = partial(pairwise, first, second, precision="single"), threads[-1]

    rows = []
    for _ in range(repeats):
        row = {}
        for n in threads:
            with thread_limit(n):  # setting it takes milliseconds, and is no part of what is measured
                row[n] = interleaved({n: work}, SETTLING)[n].median()
        with thread_limit(1), ThreadPoolExecutor(most) as pool:

            def side_by_side():
                for done in [pool.submit(work) for _ in range(most)]:
                    done.result()

            row["apart"] = interleaved({"apart": side_by_side}, SETTLING).apart.median() / most
        rows.append(row)
    return pd.DataFrame(rows).rename_axis("turn")


def landmark_errors(log_probs, exact, n_landmarks, rng):
    """How far an embedding through landmarks is from the exact one, in its first three coordinates and their stress.

    Parameters
    ----------
    log_probs : ndarray of shape (m, n_samples, n_classes), natural logs
    exact : InPCA with three components, fitted to all distances
    n_landmarks : int
    rng : numpy Generator

    Returns
    -------
    dict: raw formula, second step (errors relative to the size of the cloud), stress error
    """
    few = choices.sketched_rows(lambda rows: pairwise(log_probs, log_probs[rows]), len(log_probs), n_landmarks, rng)
    to_few = pairwise(log_probs, log_probs[few])
    fitted = LandmarkInPCA(3).fit(to_few, few)
    placed = fitted.raw_.transform(to_few)[:, :3]
    found = choices.errors(fitted, exact)
    raw = float(choices.gap(placed - placed.mean(axis=0), exact.embedding_))
    return {"raw formula": raw, "second step": found["coordinates"], "stress error": found["stress_3"]}


def on_gpu(usual, cases=GPU_CASES, repeats=5):
    """Seconds and ratios of the usual way and of the fused kernel on the same GPU, in turns.

    Both get what lies on the device and leave their result there. The rate counts 2 N C flops a pair of the upper
    triangle, and stands over that of a float32 matrix product in the same turns, tensor cores aside.

    Parameters
    ----------
    usual : function (log_probs, chunk, kept), `usual_ways.usual_pairwise`
    cases : sequence of (points, samples, classes)
    repeats : int, turns

    Returns
    -------
    list of dict: m, N, C, chunk, usual (s), ours (s), times, low, high (of the ratio within turns), roofline
    """
    import torch  # where there is a GPU

    product = partial(torch.matmul, *torch.randn(2, GPU_SIDE, GPU_SIDE, device="cuda"))
    return [_gpu_case(torch, usual, product, case, repeats) for case in cases]


def _gpu_case(torch, usual, product, case, repeats):
    from manifold_utils.distances.fused import FusedSum  # torch: where there is a GPU

    m, n_samples, n_classes = case
    made = predictions(min(m, GPU_DIFFERENT), n_samples, n_classes, np.random.default_rng(0))[0]
    x = torch.as_tensor(made, device="cuda").repeat(m // len(made), 1, 1)

    def ours():
        total = FusedSum(m, None, n_classes)
        total.add(x)
        return total.mean()

    def waiting(work, *arguments):
        return lambda: (work(*arguments), torch.cuda.synchronize())

    trials = interleaved({chunk: waiting(usual, x, chunk, {}) for chunk in GPU_CHUNKS}, 2)
    chunk = int(trials.median().idxmin())
    ways = {"usual": waiting(usual, x, chunk, {}), "ours": waiting(ours), "sgemm": waiting(product)}
    turns = interleaved(ways, repeats)
    row = compare(turns, "usual").loc["ours"]
    found = {"usual (s)": turns.usual.median(), "ours (s)": row.seconds, "times": row.times, "low": row.times_low,
             "high": row.times_high, "roofline": roofline(turns, case, 2.0 * GPU_SIDE**3).median()}  # fmt: skip
    return {"m": m, "N": n_samples, "C": n_classes, "chunk": chunk} | {k: float(v) for k, v in found.items()}
