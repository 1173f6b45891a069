"""Distances by other routes: hand, analytic families, float64 log space, the usual way; and what must be refused."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp

from manifold_utils.distances import (
    METRICS,
    accumulator,
    bhattacharyya,
    check_points,
    finishing,
    gpu,
    other_metrics,
    pairwise,
    simd,
)
from manifold_utils.distances.bhattacharyya import BhattacharyyaSum
from manifold_utils.distances.memory import ZEROS, Memory
from manifold_utils.studies.usual_ways import best_chunk, usual_pairwise
from manifold_utils.workers import resolve_device, thread_limit

DTYPES = {"single": np.float32, "double": np.float64}


def points(m, n_samples=30, n_classes=5, spread=3.0, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return log_softmax(spread * rng.standard_normal((m, n_samples, n_classes)), axis=2).astype(dtype)


def one_hot(labels, n_classes, dtype=np.float64):
    with np.errstate(divide="ignore"):
        return np.log(np.eye(n_classes, dtype=dtype)[labels])


def terms(x, y, metric):
    """Per-sample terms by definition, (N,), float64."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    p, q = np.exp(x), np.exp(y)
    if metric == "bhattacharyya":
        return -logsumexp((x + y) / 2, axis=1)
    if metric == "hellinger":
        return 1 - np.sqrt(p * q).sum(axis=1)
    if metric == "geodesic":
        return 2 * np.arctan2(
            np.linalg.norm(np.sqrt(p) - np.sqrt(q), axis=1), np.linalg.norm(np.sqrt(p) + np.sqrt(q), axis=1)
        )
    if metric == "euclidean":
        return np.linalg.norm(p - q, axis=1)
    with np.errstate(invalid="ignore"):
        return 0.5 * np.where(p == q, 0, (p - q) * (x - y)).sum(axis=1)


def by_definition(log_p, log_q, metric, cap=math.inf):
    return np.array([[np.minimum(terms(x, y, metric), cap).mean() for y in log_q] for x in log_p])


def d_b(log_p, log_q=None, dtype=np.float32, threads=None, **options):
    """The fast kernel in a given dtype, whatever the size."""
    total = bhattacharyya.BhattacharyyaSum(
        len(log_p), None if log_q is None else len(log_q), log_p.shape[2], dtype=dtype, threads=threads, **options
    )
    total.add(log_p, log_q)
    return total.result()


# -- right by hand and by analysis ------------------------------------------------------------------------------------


def test_two_classes_by_hand():
    p, q = np.log([[[0.5, 0.5]]]), np.log([[[0.9, 0.1]]])
    bc = math.sqrt(0.45) + math.sqrt(0.05)
    expected = {
        "bhattacharyya": -math.log(bc),
        "hellinger": 1 - bc,
        "geodesic": math.acos(bc),
        "euclidean": math.sqrt(2) * 0.4,
        "symmetric_kl": 0.5 * 0.4 * math.log(9),
    }
    for metric in METRICS:
        assert pairwise(p, q, metric=metric)[0, 0] == pytest.approx(expected[metric], abs=1e-14), metric


def test_truth_and_ignorance():
    rng = np.random.default_rng(0)
    log_p, labels = points(20, 40, 10), rng.integers(10, size=40)
    truth, ignorance = one_hot(labels, 10)[None], np.full((1, 40, 10), -math.log(10))
    cross_entropy = -log_p[:, np.arange(40), labels].mean(axis=1)
    np.testing.assert_allclose(pairwise(log_p, truth)[:, 0], cross_entropy / 2, atol=1e-14)
    assert pairwise(ignorance, truth)[0, 0] == pytest.approx(math.log(10) / 2, abs=1e-14)
    assert pairwise(ignorance, truth, metric="geodesic")[0, 0] == pytest.approx(math.acos(10**-0.5), abs=1e-14)


def test_bernoulli_family():
    """P = (cos^2 a, sin^2 a): BC = cos(a - b), so all but KL follow from the angle."""
    a = np.linspace(0.05, 1.5, 40)
    log_p = np.log(np.stack([np.cos(a) ** 2, np.sin(a) ** 2], axis=1))[:, None]
    angle = np.abs(a[:, None] - a)
    np.testing.assert_allclose(pairwise(log_p, metric="geodesic"), angle, atol=1e-14)
    np.testing.assert_allclose(pairwise(log_p, metric="hellinger"), 1 - np.cos(angle), atol=1e-14)
    np.testing.assert_allclose(pairwise(log_p), -np.log(np.cos(angle)), atol=1e-13)


def test_binned_gaussians():
    """Equal variances: d_B = shift^2 / (8 sigma^2), symmetric KL = shift^2 / (2 sigma^2)."""
    grid, means, sigma = np.linspace(-14, 14, 2001), np.array([-2.0, -0.5, 0.0, 1.0, 2.5]), 1.3
    log_p = log_softmax(-((grid - means[:, None]) ** 2) / (2 * sigma**2), axis=1)[:, None]
    shift = (means[:, None] - means) ** 2 / sigma**2
    np.testing.assert_allclose(pairwise(log_p), shift / 8, atol=1e-9)
    np.testing.assert_allclose(pairwise(log_p, metric="symmetric_kl"), shift / 2, atol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spread", [0.1, 3.0, 40.0])
def test_equals_the_definition(metric, spread):
    log_p, log_q = points(31, 17, 6, spread), points(9, 17, 6, spread, seed=1)
    np.testing.assert_allclose(pairwise(log_p, metric=metric), by_definition(log_p, log_p, metric), atol=1e-12)
    np.testing.assert_allclose(pairwise(log_p, log_q, metric=metric), by_definition(log_p, log_q, metric), atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (2, 1, 2), (5, 3, 1), (25, 7, 2), (49, 33, 3), (64, 41, 10), (30, 5, 400)]
)
def test_odd_shapes_of_the_kernel(shape, dtype):
    m, n_samples, n_classes = shape
    log_p, log_q = points(*shape), points(m // 2 + 1, n_samples, n_classes, seed=1)
    tolerance = 1e-7 if dtype == np.float32 else 1e-13
    for given_dtype in (np.float32, np.float64):
        p, q = log_p.astype(given_dtype), log_q.astype(given_dtype)
        expected = by_definition(p, p, "bhattacharyya")
        np.fill_diagonal(expected, 0)
        scale = tolerance * np.sqrt(1 + 30 / n_samples)  # rounding averages out over samples
        np.testing.assert_allclose(d_b(p, dtype=dtype), expected, atol=3 * scale)
        np.testing.assert_allclose(d_b(p, q, dtype=dtype), by_definition(p, q, "bhattacharyya"), atol=3 * scale)


def test_agrees_with_the_usual_way_on_mild_input():
    log_p = points(60, 100, 10, spread=2.0, dtype=np.float32)
    np.testing.assert_allclose(usual_pairwise(log_p, best_chunk(log_p, (5, 50))), pairwise(log_p), atol=2e-6)
    kept = {}
    for _ in range(2):  # the second call finds the first one's arrays
        np.testing.assert_array_equal(usual_pairwise(log_p, 7, kept), usual_pairwise(log_p, 7))
    assert set(kept) == {"products", "sum"}


def test_typical_input_is_within_a_tenth_of_a_millionth():
    for spread in (1.0, 4.0, 12.0):
        log_p = points(80, 400, 10, spread, dtype=np.float32)
        assert np.abs(d_b(log_p) - pairwise(log_p, precision="double")).max() < 1e-7


# -- extreme input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES.values())
@pytest.mark.parametrize("size", [1e-5, 1e-20, 1e-38, 1e-60, 1e-150, 1e-300])
def test_tiny_coefficients(dtype, size):
    log_p = np.log([[[1 - size, size]] * 7, [[size, 1 - size]] * 7])
    assert d_b(log_p, dtype=dtype)[0, 1] == pytest.approx(-math.log(2) - 0.5 * math.log(size), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("precision", DTYPES)
def test_coefficients_below_every_float(precision):
    log_p = np.array([[[0.0, -4000.0]], [[-3000.0, 0.0]], [[-5.0e5, 0.0]]])
    D = pairwise(log_p, precision=precision)
    assert D[0, 1] == pytest.approx(1500, rel=1e-6) and D[0, 2] == pytest.approx(2000, rel=1e-6)
    assert D[1, 2] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dtype", DTYPES.values())
def test_one_hot_points(dtype):
    """All distances are 0 or inf; with a cap, the share of differing labels."""
    labels = np.random.default_rng(0).integers(3, size=(30, 8))
    labels[3] = labels[17]
    differ = (labels[:, None] != labels).mean(axis=2)
    log_p = one_hot(labels, 3, dtype)
    assert np.array_equal(d_b(log_p, dtype=dtype), np.where(differ > 0, np.inf, 0))
    for cap in (0.5, 10.0, 100.0, 1e4):
        np.testing.assert_allclose(d_b(log_p, dtype=dtype, cap=cap), cap * differ, rtol=1e-6)
    assert np.array_equal(pairwise(log_p, metric="symmetric_kl"), np.where(differ > 0, np.inf, 0))
    assert np.array_equal(pairwise(log_p, metric="hellinger"), differ)
    np.testing.assert_allclose(pairwise(log_p, metric="geodesic"), differ * math.pi / 2, atol=1e-14)
    np.testing.assert_allclose(pairwise(log_p, metric="euclidean"), differ * math.sqrt(2), atol=1e-14)


def test_one_zero_against_one_support_is_enough():
    certain, unsure = np.log([[[[1.0, 1e-300]]], [[[0.5, 0.5]]]])
    certain[..., 1] = -np.inf
    assert np.isinf([pairwise(*pair, metric="symmetric_kl") for pair in ((certain, unsure), (unsure, certain))]).all()


def test_one_disjoint_sample_among_many_is_enough():
    log_p = points(40, 300, 4, dtype=np.float32)
    log_p[7, 211], log_p[23, 211] = one_hot([0, 1], 4)
    D = d_b(log_p)
    assert np.isinf(D[7, 23]) and np.isinf(D).sum() == 2
    assert np.isinf(pairwise(log_p, metric="symmetric_kl")[7]).sum() == 39  # truth's zeros against everybody's support


def test_confident_and_wrong_goes_over_to_float64():
    """Many coefficients beyond float32: the accumulator changes its dtype on the way and the sum stays exact."""
    rng = np.random.default_rng(0)
    log_p = log_softmax(np.where(rng.random((50, 200, 6)) < 0.2, 0.0, -130.0), axis=2).astype(np.float32)
    total = bhattacharyya.BhattacharyyaSum(50, None, 6)
    total.add(log_p[:, :100])
    total.add(log_p[:, 100:])
    assert total.dtype == np.float64
    expected = by_definition(log_p, log_p, "bhattacharyya")
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(total.result(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("cap", [0.05, 0.7, 30.0])
def test_cap_clamps_each_sample(metric, cap):
    log_p = points(13, 25, 4, spread=20.0)
    expected = by_definition(log_p, log_p, metric, cap)
    np.testing.assert_allclose(pairwise(log_p, metric=metric, cap=cap), expected, atol=1e-12)


def test_near_points_keep_their_digits():
    """P and a step of 1e-7 along sqrt(p): the angle is the step, which arccos in float64 would lose."""
    root = np.sqrt(np.exp(points(1, 50, 10)))
    step = np.cross(root[0, :, :3], [0.3, -0.2, 0.9])
    across = np.zeros_like(root)
    across[0, :, :3] = 1e-7 * step / np.linalg.norm(step, axis=1, keepdims=True)
    log_q = 2 * np.log(root * np.cos(1e-7) + across)
    assert pairwise(2 * np.log(root), log_q, metric="geodesic")[0, 0] == pytest.approx(1e-7, rel=1e-6)


def test_the_gpu_route_on_the_cpu(monkeypatch):
    """The torch code that runs on a GPU, in many chunks: mild, extreme, one-hot and clamped input."""
    monkeypatch.setitem(gpu.CHUNK_ENTRIES, "cpu", 2**12)
    extreme = log_softmax(np.where(np.random.default_rng(0).random((9, 31, 4)) < 0.3, 0.0, -900.0), axis=2)
    mixed = np.concatenate([points(9, 31, 4, dtype=np.float32), extreme, one_hot(np.arange(31)[None] % 4, 4)])
    for metric in METRICS:
        for cap in (None, 0.3, 50.0):
            total = gpu.TorchSum(metric, len(mixed), None, 4, cap=cap, device="cpu")
            total.add(mixed[:, :20])
            total.add(mixed[:, 20:])
            expected = pairwise(mixed, metric=metric, cap=cap)
            np.testing.assert_allclose(total.result(), expected, rtol=1e-6, atol=1e-7, err_msg=f"{metric} {cap}")
            cross = gpu.TorchSum(metric, len(mixed), 9, 4, cap=cap, device="cpu")
            cross.add(mixed, mixed[:9])
            np.testing.assert_allclose(cross.result(), expected[:, :9], rtol=1e-6, atol=2e-7, err_msg=f"{metric} {cap}")
    with pytest.raises(bhattacharyya.NotNormalised):
        gpu.TorchSum("bhattacharyya", 1, None, 4, device="cpu").add(np.zeros((1, 3, 4)))


# -- properties -------------------------------------------------------------------------------------------------------

logits = st.tuples(
    st.integers(2, 7), st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**31), st.sampled_from([1, 30, 900])
)


@settings(max_examples=25)
@given(logits, st.sampled_from(METRICS), st.sampled_from([np.float32, np.float64]))
def test_a_distance_matrix(drawn, metric, dtype):
    m, n_samples, n_classes, seed, spread = drawn
    log_p = points(m, n_samples, n_classes, spread, seed, dtype)
    D = pairwise(log_p, metric=metric)
    assert np.array_equal(D, D.T) and np.all(np.diag(D) == 0) and np.all(D >= 0)
    cross = pairwise(log_p, log_p, metric=metric)
    np.testing.assert_allclose(cross, D, atol=1e-6)
    rng = np.random.default_rng(seed)
    shuffled = log_p[:, rng.permutation(n_samples)][:, :, rng.permutation(n_classes)]
    np.testing.assert_allclose(pairwise(shuffled, metric=metric), D, rtol=1e-6, atol=1e-7)
    order = rng.permutation(m)
    np.testing.assert_allclose(pairwise(log_p[order], metric=metric), D[np.ix_(order, order)], rtol=1e-6, atol=1e-7)
    doubled = np.concatenate([log_p, log_p], axis=1)
    np.testing.assert_allclose(pairwise(doubled, metric=metric), D, rtol=1e-6, atol=1e-7)


def test_chunks_threads_and_blocks_change_nothing():
    log_p = points(150, 90, 7, dtype=np.float32)
    whole = d_b(log_p, threads=1)
    parts = bhattacharyya.BhattacharyyaSum(150, None, 7, threads=3)
    for start, stop in ((0, 1), (1, 34), (34, 39), (39, 90)):
        parts.add(log_p[:, start:stop])
    assert len(parts.blocks) > 3
    np.testing.assert_allclose(parts.result(), whole, atol=5e-8)
    for kind in (other_metrics.GeodesicSum, other_metrics.SymmetricKLSum):
        parts, whole = kind(150, None, 7, threads=3), kind(150, None, 7, threads=1)
        parts.chunk_samples = 13
        parts.add(log_p)
        whole.add(log_p)
        np.testing.assert_allclose(parts.result(), whole.result(), rtol=1e-12, atol=1e-13)


def test_strided_input_and_torch():
    log_p = points(20, 12, 5)
    D = pairwise(log_p)
    layouts = (
        np.asfortranarray(log_p),
        log_p[::-1][::-1],
        np.repeat(log_p, 2, axis=1)[:, ::2],
        torch.from_numpy(log_p),
    )
    for values in (*layouts, torch.from_numpy(log_p).requires_grad_()):
        np.testing.assert_array_equal(pairwise(values), D)
    assert pairwise(torch.from_numpy(log_p), log_p).shape == (20, 20)
    assert pairwise(log_p[:0]).shape == (0, 0) and pairwise(log_p, log_p[:0]).shape == (20, 0)


@pytest.mark.parametrize("tile", [(8, 3, 16), (6, 3, 2)])
def test_register_tiles_of_other_processors(tile, tmp_path):
    """LLVM makes any vector width run, slowly, on any processor: here the shapes for AVX-512, NEON and SSE."""
    script = f"""
import numpy as np
from scipy.special import log_softmax, logsumexp
from manifold_utils.distances import bhattacharyya, simd
simd.register_tile = bhattacharyya.register_tile = lambda dtype: {tile}
x = log_softmax(4 * np.random.default_rng(0).standard_normal((55, 21, 3)), axis=2)
x[4, 5] = [-np.inf, 0, -np.inf]
x[9, 5] = [0, -900, -900]
for dtype in ({"np.float64" if tile[2] == 2 else "np.float32"},):
    total = bhattacharyya.BhattacharyyaSum(55, None, 3, dtype=dtype)
    total.add(x)
    expected = np.array([-logsumexp((y + x) / 2, axis=2).mean(axis=1) for y in x])
    assert np.isclose(expected[4, 9], 450 / 21, atol=1)
    assert np.abs(total.result() - expected).max() < 2e-7, np.abs(total.result() - expected).max()
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}  # the shared cache holds this processor's shape
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_second_process_compiles_nothing():
    """The cache of compiled kernels is found again by a new process."""
    d_b(points(3, 5, 2, dtype=np.float32))
    script = """
import numpy as np
from manifold_utils.distances import bhattacharyya, simd
total = bhattacharyya.BhattacharyyaSum(3, None, 2)
total.add(np.full((3, 5, 2), np.log(0.5), np.float32))
stats = simd.multiply_block.stats
assert sum(stats.cache_hits.values()) == 1 and not stats.cache_misses, stats
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


# -- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [(np.nan, "holds NaN"), (0.7, "positive log-probability"), (-0.01, "not normalised"), (np.inf, "positive")],
)
def test_the_first_offending_point_is_named(metric, spoil, message):
    for dtype in (np.float32, np.float64):
        log_p = points(30, 50, 4, dtype=dtype)
        log_p[11, 40, 2] = log_p[11, 44, 2] = log_p[12, 3, 1] = spoil
        with pytest.raises(ValueError, match=f"log_p: point 11, sample 40.*{message}"):
            pairwise(log_p, metric=metric)
        with pytest.raises(ValueError, match=f"log_q: point 11, sample 40.*{message}"):
            pairwise(points(2, 50, 4), log_p, metric=metric)


def test_large_input_is_checked_too():
    log_p = points(300, 60, 200, dtype=np.float32)
    log_p[250, 59, 100] = np.nan
    with pytest.raises(ValueError, match="point 250, sample 59 holds NaN"):
        pairwise(log_p)


def test_rounding_is_no_offence():
    """float32 log_softmax of large logits, a positive rounding error and -0.0 pass."""
    log_p = torch.log_softmax(1e3 * torch.randn(5, 20, 10, generator=torch.Generator().manual_seed(0)), dim=2)
    assert np.all(np.isfinite(pairwise(log_p)))
    tiny = np.array([[[1e-7, -np.inf]], [[-0.0, -np.inf]]])
    assert pairwise(tiny)[0, 1] == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"log_p": np.zeros((3, 4))}, "shape"),
        ({"log_p": np.zeros((3, 0, 4))}, "shape"),
        ({"log_p": np.zeros((3, 4, 1), np.int64)}, "float32 or float64"),
        ({"log_p": np.zeros((3, 4, 1)), "log_q": np.zeros((3, 5, 1))}, "same samples"),
        ({"log_p": np.zeros((3, 4, 1)), "metric": "cosine"}, "unknown metric"),
        ({"log_p": np.zeros((3, 4, 1)), "device": "tpu"}, "unknown device"),
        ({"log_p": np.zeros((3, 4, 1)), "precision": "half"}, "unknown precision"),
        ({"log_p": np.zeros((3, 4, 1)), "cap": 0}, "cap must be positive"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        pairwise(**arguments)


def test_a_missing_gpu_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"
    with pytest.raises(ValueError, match="no usable GPU"):
        pairwise(points(2), device="cuda")


def test_accumulators_take_float32_only_where_it_pays():
    assert accumulator("bhattacharyya", 100, None, (50, 10)).dtype == np.float64
    assert accumulator("bhattacharyya", 1000, None, (5000, 10)).dtype == np.float32
    assert accumulator("bhattacharyya", 1000, None, (5000, 10), precision="double").dtype == np.float64
    assert simd.GROUP * simd.LIMITS[np.dtype("f4")][2] < -200  # a group may hold very small products
    check_points(points(2), "log_p")


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("threads", [1, 2, 3, 4, 6])
def test_any_number_of_threads_gives_the_same(threads, precision):
    """Products of all sizes: mild, confident and one-hot points; few against many; less samples than a group."""
    parts = [points(12, 61, 10, spread, dtype=np.float32) for spread in (1.0, 8.0, 60.0, 400.0)]
    mixed = np.concatenate([*parts, one_hot(np.arange(61)[None] % 10, 10).astype(np.float32)])
    with thread_limit(1):
        alone = pairwise(mixed, precision="double"), pairwise(mixed, mixed[:7], precision="double")
    with thread_limit(threads):
        for _ in range(2):  # the second call finds the memory of the first
            found = pairwise(mixed, precision=precision), pairwise(mixed, mixed[:7], precision=precision)
            few = pairwise(mixed[:, :3], precision=precision)
            for ours, exact in zip(found, alone, strict=True):
                np.testing.assert_allclose(ours, exact, rtol=1e-6, atol=1e-7)
    with thread_limit(1):
        np.testing.assert_allclose(few, pairwise(mixed[:, :3], precision="double"), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n_few", [1, 20, 239, 250])
def test_few_points_against_many_from_both_sides(n_few, threads):
    """Few points are rows of the kernel and pack what they meet block by block; more of them do not."""
    many = np.concatenate([points(400, 70, 5, spread, dtype=np.float32) for spread in (1.0, 60.0)])
    few = many[:n_few]
    total = accumulator("bhattacharyya", len(many), n_few, many.shape, precision="single", threads=threads)
    assert total.narrow == (n_few in (1, 20))
    exact = by_definition(many[::50], few, "bhattacharyya")
    with thread_limit(threads):
        found, turned = pairwise(many, few, precision="single"), pairwise(few, many, precision="single")
    np.testing.assert_allclose(found[::50], exact, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(turned.T[::50], exact, rtol=1e-6, atol=1e-6)
    capped = pairwise(many, few, cap=0.7, precision="single")
    np.testing.assert_allclose(pairwise(few, many, cap=0.7, precision="double").T, capped, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("cap", [None, 2.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_samples", [1, 3, 10])
def test_many_classes_are_groups_of_one_sample(n_samples, dtype, cap):
    log_p = np.concatenate([points(7, n_samples, 300, spread) for spread in (1.0, 8.0, 60.0, 400.0)])
    log_p = np.concatenate([log_p, one_hot(np.arange(n_samples)[None], 300)])
    exact = by_definition(log_p, log_p, "bhattacharyya", cap or math.inf)
    np.fill_diagonal(exact, 0.0)
    for threads in (1, 2):
        np.testing.assert_allclose(d_b(log_p, dtype=dtype, cap=cap, threads=threads), exact, rtol=1e-6, atol=1e-6)
    few = d_b(log_p, log_p[:3], dtype=dtype, cap=cap, threads=2)
    np.testing.assert_allclose(
        few, by_definition(log_p, log_p[:3], "bhattacharyya", cap or math.inf), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("where", ["many", "few"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_wrong_point_among_few_or_many_is_named(where, turned):
    sides = {"many": points(700, 40, 3, dtype=np.float32), "few": points(9, 40, 3, dtype=np.float32)}
    place = {"many": (613, 37), "few": (4, 2)}[where]
    sides[where][place] = np.nan
    names = ("many", "few")[:: -1 if turned else 1]
    name = "log_p" if names[0] == where else "log_q"
    with pytest.raises(ValueError, match=f"{name}: point {place[0]}, sample {place[1]} holds NaN"):
        pairwise(*(sides[each] for each in names))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_logarithm_is_exact(dtype):
    """Of every mantissa near 1, where relative accuracy is hard, and of every size that a product may have."""
    rng, step = np.random.default_rng(0), np.finfo(dtype).eps
    near = 1 + step * np.arange(-200, 200)
    wide = np.exp(rng.uniform(-13, 0.69, 5000))
    product = np.concatenate([near, wide, [0.5, 1.0, np.sqrt(0.5), np.nextafter(np.sqrt(2), 0)]]).astype(dtype)
    power = simd.LIMITS[np.dtype(dtype)][0]
    integer = finishing.MANTISSA[np.dtype(dtype)][0]
    exponent = rng.integers(-5, 1, len(product)).astype(integer)
    exponent[:400] = 0
    state = (product * dtype(2.0**power), exponent, np.zeros(len(product)))
    shape = (1, len(product) // 4, 1, 4)
    state = tuple(values[: math.prod(shape)].reshape(shape) for values in state)
    out = np.empty((1, math.prod(shape)))
    rules = {"into": (True, False), "carried": False, "with_extra": False, "upper_only": False}
    finishing.write(((0, 0), state), out, factor=1.0, least=-np.inf, **rules)
    exact = np.log(state[0].ravel().astype(np.longdouble) * np.longdouble(2) ** -power)
    exact += state[1].ravel() * np.log(np.longdouble(2))
    error = np.abs(out[0] - exact) / np.maximum(np.abs(exact), np.finfo(np.float64).tiny)
    assert error[exact != 0].max() < 5e-16 and not out[0][exact == 0].any()


def test_work_arrays_that_must_be_zero_are_kept_only_if_they_are():
    mild, sure = points(30, 20, 4, dtype=np.float32), points(30, 20, 4, 400.0, dtype=np.float32)
    for log_p in (mild, sure, mild, sure):
        total = BhattacharyyaSum(30, None, 4)
        assert not total._zeros.any()
        total.add(log_p)
        np.testing.assert_allclose(total.result(), pairwise(log_p, precision="double"), rtol=1e-6, atol=1e-7)
    broken = np.concatenate([sure, np.full((1, 20, 4), np.nan, np.float32)])
    total = BhattacharyyaSum(31, None, 4, threads=2)
    with pytest.raises(bhattacharyya.NotNormalised):
        total.add(broken)
    total.close()
    assert not any(array.any() for arrays in ZEROS.kept.values() for array in arrays)


def test_work_arrays_are_kept_up_to_a_limit():
    memory = Memory(limit=100)
    first = memory.take(60)
    memory.give(first)
    assert memory.take(60) is first and memory.take(60) is not first
    memory.give(first)
    memory.give(np.empty(50, np.uint8))  # the two together are too much: the older one goes
    assert set(memory.kept) == {50}
    memory.give(np.empty(101, np.uint8))
    assert not memory.kept
