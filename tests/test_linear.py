"""Linear models: closed form against loops and an ODE solver, the oracle against exact and random ensembles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from manifold_utils.datasets import sloppy_samples
from manifold_utils.inpca import InPCA
from manifold_utils.studies import linear

seeds = st.integers(0, 10**6)
some = settings(max_examples=25, deadline=None)
STEPS = [0, 1, 2, 5, 13, 40]


def problem(seed, n=14, d=5, n_runs=3):
    """Inputs, targets out of reach of the weights, first weights, and a learning rate below the limit."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.exp(-rng.uniform(0, 1) * np.arange(d))
    limit = 2 / np.linalg.eigvalsh(X.T @ X / n)[-1]
    return X, rng.standard_normal(n), rng.standard_normal((n_runs, d)), rng.uniform(0.05, 0.95) * limit


def spectrum(seed, d=6):
    """Curvatures, target, scale of the weights and a learning rate."""
    rng = np.random.default_rng(seed)
    h = np.sort(rng.exponential(size=d))[::-1] + 0.01
    return h, rng.normal(size=d), rng.uniform(0.1, 3), rng.uniform(0.1, 1.9) / h[0]


def two_design(h, scale):
    """Starts with exactly the first two moments of N(0, scale^2): plus and minus scale sqrt(d) along each mode."""
    d = len(h)
    return np.concatenate([np.eye(d), -np.eye(d)]) * scale * np.sqrt(d)


@some
@given(seeds)
def test_closed_form_is_gradient_descent(seed):
    X, y, starts, rate = problem(seed)
    expected = linear.predictions(X, starts, y, STEPS, rate)
    weights, seen = starts.T.copy(), []
    for step in range(STEPS[-1] + 1):
        if step in STEPS:
            seen.append(X @ weights)
        weights -= rate * X.T @ (X @ weights - y[:, None]) / len(X)
    assert np.allclose(np.transpose(seen, (2, 0, 1)), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_flow_solves_its_differential_equation(seed):
    X, y, starts, _ = problem(seed, n_runs=1)
    times = np.array([0.0, 0.3, 1.0, 4.0])
    solved = solve_ivp(
        lambda _, w: -X.T @ (X @ w - y) / len(X), (0, 4), starts[0], t_eval=times, rtol=1e-10, atol=1e-12
    )
    assert np.allclose(linear.predictions(X, starts, y, times)[0], (X @ solved.y).T, rtol=0, atol=1e-7)


@some
@given(seeds)
def test_small_steps_approach_the_flow(seed):
    X, y, starts, rate = problem(seed)
    steps = np.array([0, 1, 3, 10])
    gaps = []
    for fine in (100, 200):
        descent = linear.predictions(X, starts, y, fine * steps, rate / fine)
        gaps.append(np.abs(descent - linear.predictions(X, starts, y, rate * steps)).max())
    assert gaps[1] < 0.6 * gaps[0] + 1e-13  # first order: half the step, half the gap


def test_fewer_samples_than_inputs_and_dead_inputs():
    X, y, starts, _ = problem(0, n=4, d=7)
    X[:, 2] = 0
    rate = 1 / np.linalg.eigvalsh(X.T @ X / 4)[-1]
    weights = starts.T.copy()
    for _ in range(30):
        weights -= rate * X.T @ (X @ weights - y[:, None]) / 4
    assert np.allclose(linear.predictions(X, starts, y, [30], rate)[:, 0], (X @ weights).T, atol=1e-10)


@some
@given(seeds)
def test_distances_of_coordinates_are_mean_squared_differences_of_predictions(seed):
    X, y, starts, rate = problem(seed)
    left, h, right = linear.modes(X)
    assert np.allclose(np.sqrt(len(X)) * left @ np.diag(np.sqrt(h)) @ right.T, X)
    target = np.linalg.lstsq(X, y, rcond=None)[0] @ right
    short = linear.coordinates(h, starts @ right, target, STEPS, rate).reshape(-1, len(h))
    full = linear.predictions(X, starts, y, STEPS, rate).reshape(-1, len(X))
    gap = ((short[:, None] - short) ** 2).sum(axis=2) - ((full[:, None] - full) ** 2).mean(axis=2)
    assert np.abs(gap).max() < 1e-10


@some
@given(seeds, st.booleans())
def test_oracle_is_the_inpca_of_an_ensemble_with_the_same_two_moments(seed, flow):
    h, target, scale, rate = spectrum(seed)
    rate = None if flow else rate
    points = linear.coordinates(h, two_design(h, scale), target, STEPS, rate).reshape(-1, len(h))
    D = ((points[:, None] - points) ** 2).sum(axis=2)
    fitted = InPCA(n_components=len(h), solver="dense").fit((D + D.T) / 2)
    oracle = linear.expected_eigenvalues(h, target, scale, STEPS, rate)
    assert np.allclose(fitted.eigenvalues_ / len(points), oracle, rtol=0, atol=1e-10 * oracle[0])
    assert np.allclose(fitted.explained_stress_, linear.explained(oracle), rtol=0, atol=1e-6)


def test_random_starts_agree_within_sampling_error():
    h, target, scale, rate = spectrum(1)
    rng, n_runs = np.random.default_rng(0), 400
    oracle = linear.expected_covariance(h, target, scale, STEPS, rate)
    mean_run = linear.coordinates(h, np.zeros((1, len(h))), target, STEPS, rate).mean(axis=(0, 1))
    found = []
    for _ in range(40):
        runs = linear.coordinates(h, scale * rng.standard_normal((n_runs, len(h))), target, STEPS, rate)
        points = (runs - mean_run).reshape(-1, len(h))
        found.append(points.T @ points / len(points))
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert np.all(np.abs(np.mean(found, axis=0) - oracle) < 5 * error)


@some
@given(seeds)
def test_without_targets_the_spectrum_is_that_of_the_inputs_still_remembered(seed):
    h, target, scale, rate = spectrum(seed)
    left = linear.memory(h, STEPS, rate)
    alone = np.sort(scale**2 * h * (left**2).mean(axis=0))[::-1]
    assert np.allclose(linear.expected_eigenvalues(h, 0 * target, scale, STEPS, rate), alone)


@some
@given(seeds, st.integers(2, 5))
def test_one_start_is_a_curve_of_few_dimensions(seed, n_times):
    h, target, _, rate = spectrum(seed, d=8)
    values = linear.expected_eigenvalues(h, target, 0.0, STEPS[:n_times], rate)
    assert np.all(values[n_times - 1 :] < 1e-12 * values[0])


@some
@given(seeds)
def test_isotropic_inputs_by_hand(seed):
    _, target, scale, _ = spectrum(seed)
    left = 0.5 ** np.array(STEPS)
    values = linear.expected_eigenvalues(np.ones(len(target)), target, scale, STEPS, 0.5)
    spread = scale**2 * (left**2).mean()
    assert np.allclose(values[1:], spread)
    assert np.isclose(values[0], spread + (target @ target) * left.var())


@some
@given(seeds, st.floats(0.1, 10))
def test_spectrum_keeps_its_shape(seed, factor):
    h, target, scale, rate = spectrum(seed)
    rng = np.random.default_rng(seed)
    values = linear.expected_eigenvalues(h, target, scale, STEPS, rate)
    signs, order = rng.choice([-1, 1], len(h)), rng.permutation(len(h))
    assert np.allclose(linear.expected_eigenvalues(h, signs * target, scale, STEPS, rate), values)
    assert np.allclose(linear.expected_eigenvalues(h[order], target[order], scale, STEPS, rate), values)
    larger = linear.expected_eigenvalues(h, factor * target, factor * scale, STEPS, rate)
    assert np.allclose(larger, factor**2 * values)
    stretched = linear.expected_eigenvalues(factor * h, target, scale, STEPS, rate / factor)
    assert np.allclose(stretched, factor * values), "only the products eta h matter to the shape"


@some
@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_explained_rises_to_one(values):
    values = np.sort(values)[::-1]
    for measure in ("stress", "variance"):
        curve = linear.explained(values, measure)
        assert np.all(np.diff(curve) >= -1e-12) and np.isclose(curve[-1], 1)


def test_curvatures_are_the_variances_of_sloppy_inputs():
    x = sloppy_samples(20_000, 0.1, np.random.default_rng(0))
    h = linear.sloppy_curvatures(0.1, x.shape[1])
    assert np.allclose(x.var(axis=0) / h, 1, atol=6 * np.sqrt(2 / len(x)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, -0.1], [0]), "negative"),
        (([1.0], [-1]), "negative"),
        (([1.0], [0.5], 0.1), "whole steps"),
        (([4.0], [1], 0.5), "between 0 and 2"),
        (([4.0], [1], 0.0), "between 0 and 2"),
    ],
)
def test_what_has_no_meaning_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        linear.memory(*arguments)


def test_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="distance"):
        linear.explained([1.0], "distance")
