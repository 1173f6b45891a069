"""The sphere of square roots: end points, angles, additivity, round trips, exact zeros."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from manifold_utils import geometry


def random_log_probs(seed, shape, spread=3.0):
    logits = spread * np.random.default_rng(seed).normal(size=shape)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_known_values_from_ignorance_to_truth():
    points = geometry.geodesic(geometry.ignorance(1, 10), geometry.truth([4], 10), [0, 0.25, 0.5, 0.75, 1])
    probability = np.exp(points[:, 0, 4])
    assert np.allclose(probability, [0.1, 0.351, 0.658, 0.906, 1], atol=5e-4)
    assert np.allclose(-0.5 * points[:, 0, 4], [1.151, 0.524, 0.209, 0.050, 0], atol=1e-3)  # d_B to truth
    assert geometry.great_circle_distance(points[0], points[-1]) == pytest.approx(np.arccos(1 / np.sqrt(10)), abs=1e-15)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(2, 6))
def test_geodesic_is_normalised_and_additive(seed, t, n_classes):
    p, q = random_log_probs(seed, (2, 4, n_classes), 5.0)
    middle = geometry.geodesic(p, q, t)[0]
    assert np.allclose(np.exp(middle).sum(-1), 1, atol=1e-12)
    theta = geometry.angles(p, q)
    assert np.allclose(geometry.angles(p, middle), t * theta, atol=1e-9)
    assert np.allclose(geometry.angles(middle, q), (1 - t) * theta, atol=1e-9)


def test_ends_are_exact_and_zeros_stay_zero_without_warnings():
    p = np.array([[0.0, -np.inf, -np.inf], [np.log(0.5), np.log(0.5), -np.inf]])
    q = np.array([[-np.inf, 0.0, -np.inf], [-np.inf, 0.0, -np.inf]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = geometry.geodesic(p, q, [0, 0.5, 1])
        same = geometry.geodesic(p, p, [0.3])
    assert np.array_equal(points[0], p) and np.array_equal(points[2], q)
    assert np.allclose(np.exp(points[1, 0]), [0.5, 0.5, 0]) and points[1, 0, 2] == -np.inf
    assert np.allclose(np.exp(same[0]), np.exp(p), atol=1e-15)


def test_probabilities_far_below_the_smallest_float_survive():
    p = np.array([[0.0, -2000.0]])
    q = np.array([[0.0, -4000.0]])
    assert geometry.geodesic(p, q, 0.5)[0, 0, 1] == pytest.approx(-2000 + 2 * np.log(0.5), abs=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(-8, 0))
def test_angles_keep_their_digits_near_zero(seed, exponent):
    rng = np.random.default_rng(seed)
    tangent = rng.normal(size=(3, 5))
    p = random_log_probs(seed, (3, 5), 0.5)
    root = np.exp(p / 2)
    tangent -= (tangent * root).sum(-1, keepdims=True) * root
    tangent *= 0.2 * 10**exponent / np.linalg.norm(tangent, axis=-1, keepdims=True)
    assume((root + 1.1 * tangent > 0).all())  # a great circle that leaves the simplex comes back as another point
    q = geometry.exp_map(p, tangent)
    assert np.allclose(geometry.angles(p, q), 0.2 * 10**exponent, rtol=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 6))
def test_log_and_exp_maps_undo_each_other(seed, n_classes):
    p, q = random_log_probs(seed, (2, 4, n_classes))
    v = geometry.log_map(p, q)
    assert np.allclose((v * np.exp(p / 2)).sum(-1), 0, atol=1e-14)
    assert np.allclose(np.linalg.norm(v, axis=-1), geometry.angles(p, q), atol=1e-12)
    assert np.allclose(np.exp(geometry.exp_map(p, v)), np.exp(q), atol=1e-13)
    assert np.allclose(np.exp(geometry.exp_map(p, 0.3 * v)), np.exp(geometry.geodesic(p, q, 0.3)[0]), atol=1e-13)


def test_log_map_reaches_truth_and_is_zero_at_home():
    p, q = geometry.ignorance(3, 4), geometry.truth([0, 1, 3], 4)
    assert np.allclose(np.exp(geometry.exp_map(p, geometry.log_map(p, q))), np.exp(q), atol=1e-15)
    assert not geometry.log_map(q, q).any()
    assert np.array_equal(geometry.exp_map(q, np.zeros_like(q)), q)


def test_half_bhattacharyya_identities():
    p = random_log_probs(3, (1, 50, 10))
    labels = np.arange(50) % 10
    star = geometry.truth(labels, 10)
    coefficient = np.cos(geometry.angles(p, star))
    cross_entropy = -p[0, np.arange(50), labels].mean()
    assert np.allclose(-np.log(coefficient).mean(), cross_entropy / 2)
    coefficient = np.cos(geometry.angles(geometry.ignorance(50, 10), star))
    assert np.allclose(-np.log(coefficient), np.log(10) / 2)


def test_torch_and_float32_are_accepted():
    torch = pytest.importorskip("torch")
    p, q = random_log_probs(5, (2, 3, 4)).astype(np.float32)
    expected = geometry.geodesic(p, q, [0.2, 0.9])
    assert expected.dtype == np.float32
    assert np.array_equal(geometry.geodesic(torch.tensor(p), torch.tensor(q), [0.2, 0.9]), expected)
    assert np.allclose(expected, geometry.geodesic(p.astype(float), q.astype(float), [0.2, 0.9]), atol=1e-5)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: geometry.truth([0, 5], 3), "label 5 of sample 1"),
        (lambda: geometry.truth([0.5], 3), "integers"),
        (lambda: geometry.ignorance(3, 1), "n_classes >= 2"),
        (lambda: geometry.geodesic(np.zeros((2, 3, 4)), np.zeros((3, 4)), 0.5), "one point"),
        (lambda: geometry.geodesic(np.zeros((3, 4)), np.zeros((3, 5)), 0.5), "same samples and classes"),
        (lambda: geometry.geodesic(np.zeros((3, 4)), np.zeros((3, 4)), [1.5]), r"\[0, 1\]"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_distance_is_a_mean_over_the_samples_of_each_point():
    rng = np.random.default_rng(5)
    p, q = (rng.dirichlet(np.ones(4), size=(2, 3)) for _ in range(2))
    found = geometry.great_circle_distance(np.log(p), np.log(q))
    each = [[np.arccos(np.sqrt(a * b).sum()) for a, b in zip(x, y, strict=True)] for x, y in zip(p, q, strict=True)]
    assert found == pytest.approx([np.mean(row) for row in each], abs=1e-12) and found.shape == (2,)
