"""Progress against brute-force grids, where the objective is smooth, kinked, flat, or at its ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_utils import geometry
from manifold_utils.geometry import progress
from manifold_utils.geometry.progress import _roots


def random_log_probs(rng, shape, spread):
    logits = spread * rng.normal(size=shape)
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def distance_along(log_p, labels, grid):
    """d_G from one point to points of the geodesic, straight from the definition."""
    n_classes = log_p.shape[-1]
    ends = geometry.ignorance(len(labels), n_classes), geometry.truth(labels, n_classes)
    return np.array([geometry.great_circle_distance(log_p, g) for g in geometry.geodesic(*ends, grid)])


def fine_grid(log_p, labels, rounds=4):
    """The argmin on nested grids, to 1e-6, without any use of convexity beyond the first 2001 points."""
    low, high, n = 0.0, 1.0, 2001
    for _ in range(rounds):
        grid = np.linspace(low, high, n)
        best = np.argmin(distance_along(log_p, labels, grid))
        low, high, n = grid[max(best - 2, 0)], grid[min(best + 2, n - 1)], 41
    return grid[best]


@settings(max_examples=12)
@given(st.integers(0, 10**6), st.floats(0.01, 6), st.integers(2, 7), st.integers(1, 9))
def test_equals_a_fine_grid(seed, spread, n_classes, n_samples):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_samples)
    log_p = random_log_probs(rng, (1, n_samples, n_classes), spread)
    s, reference = progress(log_p, labels)[0], fine_grid(log_p[0], labels)
    values = distance_along(log_p[0], labels, [s, reference])
    assert values[0] <= values[1] + 1e-9  # the slope is at most 1
    if n_classes > 2:  # two classes lie on one great circle: the optimum is a median, which may be a stretch
        assert abs(s - reference) < 1e-5


def test_a_sample_on_the_geodesic_makes_a_kink_that_is_found():
    labels = np.array([0, 1, 2])
    on_it = geometry.geodesic(geometry.ignorance(3, 4), geometry.truth(labels, 4), [0.37])
    assert progress(on_it, labels)[0] == pytest.approx(0.37, abs=1e-9)
    mixed = np.concatenate([on_it[:, :2], random_log_probs(np.random.default_rng(0), (1, 1, 4), 2.0)], axis=1)
    assert progress(mixed, labels)[0] == pytest.approx(0.37, abs=1e-9)  # two kinks outweigh any smooth third sample


def test_middle_of_a_flat_stretch():
    labels = np.array([0, 1])
    ends = geometry.ignorance(2, 5), geometry.truth(labels, 5)
    low, high = geometry.geodesic(*ends, [0.2, 0.6])
    flat = np.stack([low[0], high[1]])[None]
    assert progress(flat, labels)[0] == pytest.approx(0.4, abs=1e-7)
    values = distance_along(flat[0], labels, [0.2, 0.4, 0.6])
    assert np.ptp(values) < 1e-14


def test_samples_on_the_geodesic_have_their_median_even_where_the_search_ends_at_the_edge_of_a_stretch():
    """At such an edge the slope is flat on one side alone. Rounding of the roots moves the middle by a little."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        n_classes, labels = int(rng.integers(2, 6)), rng.integers(0, 2, 4)
        ends = geometry.ignorance(4, n_classes), geometry.truth(labels, n_classes)
        places = rng.permutation([0.1, 0.3, 0.7, 0.8]) + rng.uniform(0, 0.1, 4)
        low, high = np.sort(places)[1:3]
        log_p = geometry.geodesic(*ends, places)[np.arange(4), np.arange(4)]
        assert progress(log_p[None], labels)[0] == pytest.approx((low + high) / 2, abs=0.1 * (high - low))


def test_nearly_flat_near_truth_and_confident_mistakes():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 10, 40)
    log_p = np.concatenate([random_log_probs(rng, (3, 40, 10), s) for s in (10, 40, 200)])
    log_p[:, :30] = np.roll(np.sort(log_p[:, :30], axis=-1), 1, axis=-1)
    for n in range(30):  # put the largest probability on the true class of 30 samples
        log_p[:, n] = np.roll(log_p[:, n], labels[n], axis=-1)
    found = progress(log_p, labels)
    for point, s in zip(log_p, found, strict=True):
        grid_best = fine_grid(point, labels)
        values = distance_along(point, labels, [s, grid_best])
        assert values[0] <= values[1] + 1e-9 and abs(s - grid_best) < 1e-5


def test_objective_is_convex():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 5, 3)
    for spread in (0.5, 3.0, 30.0):
        values = distance_along(random_log_probs(rng, (3, 5), spread), labels, np.linspace(0, 1, 301))
        assert np.diff(values, 2).min() > -1e-12


def test_ends_and_geodesic_points():
    labels = np.arange(20) % 10
    ends = geometry.ignorance(20, 10), geometry.truth(labels, 10)
    assert progress(ends[0], labels)[0] == pytest.approx(0, abs=1e-9)
    assert progress(ends[1], labels)[0] == pytest.approx(1, abs=1e-8)
    grid = np.linspace(0, 1, 21)
    assert np.allclose(progress(geometry.geodesic(*ends, grid), labels), grid, atol=1e-8)
    assert np.allclose(progress(geometry.geodesic(*ends, grid).astype(np.float32), labels), grid, atol=1e-6)
    wrong = geometry.truth((labels + 1) % 10, 10)
    assert progress(wrong, labels)[0] == 0


def test_vectorised_over_points_in_any_container():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 700)
    log_p = random_log_probs(rng, (9, 700, 3), 2.0)
    together = progress(log_p, labels)
    assert np.array_equal(together, np.concatenate([progress(log_p[i : i + 1], labels) for i in range(9)]))
    torch = pytest.importorskip("torch")
    assert np.array_equal(progress(torch.tensor(log_p), torch.tensor(labels)), together)
    order = rng.permutation(700)
    assert np.allclose(progress(log_p[:, order], labels[order]), together, atol=1e-8)


def test_vector_exponential_is_exact():
    log_p = np.concatenate([-np.logspace(-8, 3.15, 5001), [0.0, -0.0, 1e-7]])
    roots, scale = np.empty_like(log_p), np.empty_like(log_p)
    _roots(log_p, roots, scale)
    assert (np.abs(roots / np.exp(0.5 * log_p) - 1) < 1e-16 * (5 + np.abs(log_p))).all()
    _roots(np.array([-np.inf, np.nan, -1e6]), roots, scale)
    assert roots[0] < 1e-300 and np.isnan(roots[1]) and roots[2] < 1e-300


def test_bad_input_is_named():
    log_p = np.log(np.full((4, 2, 3), 1 / 3))
    with pytest.raises(ValueError, match="2 samples, labels 3"):
        progress(log_p, [0, 1, 2])
    with pytest.raises(ValueError, match="label 3 of sample 1"):
        progress(log_p, [0, 3])
    with pytest.raises(ValueError, match=r"\(n_points, n_samples, n_classes\)"):
        progress(log_p[0], [0, 1])
    broken = log_p.copy()
    broken[2, 1, 0] = np.nan
    with pytest.raises(ValueError, match="point 2 "):
        progress(broken, [0, 1])
    with pytest.raises(ValueError, match="point 0 "):
        progress(np.exp(log_p), [0, 1])


def test_predictions_that_are_read_in_several_chunks_give_the_same(monkeypatch):
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(4), (11, 6)))
    labels = np.arange(6) % 4
    whole = progress(log_probs, labels)
    monkeypatch.setitem(progress.__globals__, "CHUNK_BYTES", 8 * 6 * 4 * 3)  # three points at a time
    np.testing.assert_array_equal(progress(log_probs, labels), whole)
