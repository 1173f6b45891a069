"""Trajectories: resampling by hand, six means by their optimality, distances by brute force, lengths by geometry."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from manifold_utils import geometry, trajectories
from manifold_utils.statistics import between_configurations
from manifold_utils.trajectories import METHODS, average
from manifold_utils.trajectories.of_atlas import common_stations


def random_log_probs(seed, shape, spread=2.0):
    logits = spread * np.random.default_rng(seed).normal(size=shape)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def bhattacharyya(log_p, log_q):
    return -np.log(np.exp(0.5 * (log_p + log_q)).sum(-1)).mean(-1)


def half_symmetric_kl(log_p, log_q):
    return 0.5 * ((np.exp(log_p) - np.exp(log_q)) * (log_p - log_q)).sum(-1).mean(-1)


def test_resample_follows_first_crossings():
    run = random_log_probs(0, (5, 3, 4))
    progress = np.array([0.1, 0.4, 0.3, 0.8, 0.7])
    grid = [0.0, 0.1, 0.25, 0.35, 0.4, 0.6, 0.75, 0.8, 0.95]
    out = trajectories.resample(run, progress, grid)

    def between(i, s):
        t = (s - progress[i - 1]) / (progress[i] - progress[i - 1])
        return geometry.geodesic(run[i - 1], run[i], t)[0]

    assert np.array_equal(out[0], run[0]), "before the first checkpoint"
    assert np.allclose(out[1], run[0])
    assert np.allclose(out[2], between(1, 0.25)) and np.allclose(out[3], between(1, 0.35))
    # 0.4 is first exceeded by checkpoint 3, whose predecessor lies at 0.3
    assert np.allclose(out[4], between(3, 0.4)) and np.allclose(out[5], between(3, 0.6))
    assert np.allclose(out[6], between(3, 0.75))
    assert np.array_equal(out[7], run[-1]) and np.array_equal(out[8], run[-1]), "past the last crossing"
    assert trajectories.resample(run.astype(np.float32), progress, grid).dtype == np.float32


def test_resampling_the_geodesic_gives_the_geodesic():
    labels = np.arange(6) % 3
    ends = geometry.ignorance(6, 3), geometry.truth(labels, 3)
    s = np.linspace(0, 1, 8) ** 2
    run = geometry.geodesic(*ends, s)
    grid = np.linspace(0, 1, 11)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = trajectories.resample(run, geometry.progress(run, labels), grid)
    assert np.allclose(np.exp(out), np.exp(geometry.geodesic(*ends, grid)), atol=1e-6)


def test_resample_refuses_what_it_cannot_order():
    run = random_log_probs(1, (3, 2, 2))
    for progress, grid in (([0, 1], [0.5]), ([0, np.nan, 1], [0.5]), ([0, 0.5, 1], [0.5, 0.2])):
        with pytest.raises(ValueError, match="resample needs"):
            trajectories.resample(run, progress, grid)


def test_simple_means_by_definition():
    runs = random_log_probs(2, (5, 2, 3, 4))
    p = np.exp(runs)
    expected = {
        "arithmetic": p.mean(0),
        "geometric": np.prod(p, axis=0) ** (1 / 5),
        "harmonic": 1 / (1 / p).mean(0),
        "square_root": np.sqrt(p).mean(0) ** 2,
    }
    for method, weights in expected.items():
        assert np.allclose(np.exp(average(runs, method)), weights / weights.sum(-1, keepdims=True), atol=1e-13), method


@pytest.mark.parametrize("method, divergence", [("bhattacharyya", bhattacharyya), ("jeffreys", half_symmetric_kl)])
def test_centroids_minimise_their_divergence(method, divergence):
    runs = random_log_probs(3, (4, 1, 1, 3), 3.0)
    centre = average(runs, method)[0, 0]

    def cost(logits):
        log_c = logits - np.log(np.exp(logits).sum())
        return np.mean([divergence(log_c[None], run[0]) for run in runs])

    searches = [minimize(cost, start, method="BFGS", tol=1e-12) for start in (np.zeros(3), centre)]
    best = min(searches, key=lambda search: search.fun)
    assert cost(centre) <= best.fun + 1e-12
    weights = np.exp(best.x - best.x.max())
    assert np.allclose(np.exp(centre), weights / weights.sum(), atol=1e-5)
    steps = 1e-5 * np.eye(3)
    gradient = [(cost(centre + h) - cost(centre - h)) / 2e-5 for h in steps]
    assert np.abs(gradient).max() < 1e-9


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(METHODS), st.integers(1, 5))
def test_means_are_normalised_symmetric_and_idempotent(seed, method, n_runs):
    runs = random_log_probs(seed, (n_runs, 2, 3, 4), 4.0)
    mean = average(runs, method)
    assert np.allclose(np.exp(mean).sum(-1), 1, atol=1e-12)
    order = np.random.default_rng(seed).permutation(n_runs)
    classes = np.random.default_rng(seed + 1).permutation(4)
    assert np.allclose(np.exp(average(runs[order][..., classes], method)), np.exp(mean[..., classes]), atol=1e-11)
    same = average(np.repeat(runs[:1], 3, axis=0), method)
    assert np.allclose(np.exp(same), np.exp(runs[0]), atol=1e-11)


def test_two_point_means_of_two_classes_agree_with_the_great_circle_and_logits():
    p, q = random_log_probs(4, (2, 1, 1, 2))
    runs = np.stack([p, q])
    assert np.allclose(average(runs, "square_root"), geometry.geodesic(p[0], q[0], 0.5)[None, 0], atol=1e-12)
    logits = runs[..., 0] - runs[..., 1]
    geometric = average(runs, "geometric")
    assert np.allclose(geometric[..., 0] - geometric[..., 1], logits.mean(0))


def test_zeros_are_exact_and_silent():
    with np.errstate(divide="ignore"):
        runs = np.log(np.array([[[[0.5, 0.5, 0.0]]], [[[0.25, 0.5, 0.25]]]]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        means = {method: np.exp(average(runs, method))[0, 0] for method in METHODS}
    assert np.allclose(means["arithmetic"], [0.375, 0.5, 0.125])
    root = np.array([np.sqrt(0.5) + 0.5, 2 * np.sqrt(0.5), 0.5]) ** 2
    assert np.allclose(means["square_root"], root / root.sum())
    for method in ("geometric", "harmonic", "jeffreys"):
        assert means[method][2] == 0 and np.isclose(means[method].sum(), 1)
    c = means["bhattacharyya"]
    step = [np.sqrt(c * np.exp(run[0, 0])) for run in runs]
    assert c[2] > 0 and np.allclose(c, np.mean([s / s.sum() for s in step], axis=0), atol=1e-12)
    truths = np.concatenate([geometry.truth([0], 2), geometry.truth([1], 2)])[:, None]
    assert np.allclose(np.exp(average(truths, "bhattacharyya")), 0.5)
    for method in ("geometric", "harmonic", "jeffreys"):
        with pytest.raises(ValueError, match="share no possible class on sample 0"):
            average(truths, method)
    near = np.stack([runs[1], np.log([[[0.25, 0.75 - 1e-9, 1e-9]]])])
    assert np.allclose(np.exp(average(near, "jeffreys")).sum(), 1)


def test_confident_means_do_not_underflow():
    runs = np.array([[[[0.0, -900.0, -1100.0]]], [[[0.0, -1000.0, -800.0]]]])
    assert np.allclose(average(runs, "arithmetic")[0, 0, 1:], np.array([-900, -800]) - np.log(2))
    assert np.allclose(average(runs, "geometric")[0, 0, 1:], [-950, -950])
    assert np.allclose(average(runs, "harmonic")[0, 0, 1:], np.array([-1000, -1100]) + np.log(2))
    assert np.isfinite(average(runs, "jeffreys")).all()


def test_unknown_mean_and_shape_are_refused():
    with pytest.raises(ValueError, match="choose one of arithmetic"):
        average(np.zeros((1, 1, 1, 1)), "median")
    with pytest.raises(ValueError, match="n_runs"):
        average(np.zeros((2, 3, 4)))
    assert trajectories.average is average


def test_trajectory_distances_are_means_over_equal_index():
    runs = random_log_probs(5, (4, 3, 6, 5))
    D = trajectories.trajectory_distances(runs)
    brute = np.array([[np.mean([bhattacharyya(u[t], v[t]) for t in range(3)]) for v in runs] for u in runs])
    assert np.allclose(D, brute, atol=1e-9) and np.array_equal(np.diag(D), np.zeros(4)) and np.array_equal(D, D.T)
    E = trajectories.trajectory_distances(runs, metric="euclidean")
    assert E[0, 1] == pytest.approx(np.linalg.norm(np.exp(runs[0]) - np.exp(runs[1]), axis=-1).mean(), abs=1e-9)
    with pytest.raises(ValueError, match="n_runs"):
        trajectories.trajectory_distances(runs[0])


def test_between_configurations_by_loops():
    D = trajectories.trajectory_distances(random_log_probs(6, (6, 2, 3, 3)))
    labels = ["b", "a", "b", "c", "a", "b"]
    names, between, within = between_configurations(D, labels)
    assert names.tolist() == ["a", "b", "c"]
    a, b = [1, 4], [0, 2, 5]
    assert between[0, 1] == pytest.approx(np.mean([D[i, j] for i in a for j in b])) and between[0, 0] == 0
    assert within[:2] == pytest.approx([D[1, 4], np.mean([D[0, 2], D[0, 5], D[2, 5]])]) and np.isnan(within[2])
    with pytest.raises(ValueError, match="labels"):
        between_configurations(D, labels[:3])


def test_frechet_against_recursion():
    rng = np.random.default_rng(7)
    for shape in ((1, 1), (1, 4), (5, 3), (6, 6)):
        d = rng.uniform(size=shape)

        def leash(i, j, d=d):
            if i == 0 and j == 0:
                return d[0, 0]
            before = [leash(a, b) for a, b in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if a >= 0 and b >= 0]
            return max(d[i, j], min(before))

        assert trajectories.frechet_distance(d) == leash(shape[0] - 1, shape[1] - 1)
    with pytest.raises(ValueError, match="without NaN"):
        trajectories.frechet_distance([[np.nan]])


def test_point_to_trajectory_hard_and_soft():
    d = np.array([[3.0, 1.0, 2.0], [0.5, np.inf, 4.0], [np.inf, np.inf, np.inf]])
    assert trajectories.point_to_trajectory(d).tolist() == [1.0, 0.5, np.inf]
    assert np.allclose(trajectories.point_to_trajectory(d, 1e-4), [1.0, 0.5, np.inf])
    assert np.allclose(trajectories.point_to_trajectory(d, 1e9), [2.0, 2.25, np.inf])
    weights = np.exp(-d[0] / 0.7)
    assert trajectories.point_to_trajectory(d[0], 0.7) == pytest.approx((weights * d[0]).sum() / weights.sum())
    cross = np.array([[0.0, 3.0, 9.0], [1.0, 2.0, 9.0]])
    along_u, along_v = 0.5, (0 + 2 + 9) / 3
    for how, expected in (("mean", (along_u + along_v) / 2), ("min", along_u), ("shorter", along_u)):
        assert trajectories.trajectory_gap(cross, symmetrise=how) == pytest.approx(expected)
    with pytest.raises(ValueError, match="symmetrise"):
        trajectories.trajectory_gap(cross, symmetrise="max")
    with pytest.raises(ValueError, match="width"):
        trajectories.point_to_trajectory(d, 0.0)


def test_tube_width_per_configuration():
    runs = random_log_probs(8, (5, 3, 4, 3))
    labels = ["x", "y", "x", "x", "z"]
    width = trajectories.tube_width(runs, labels=labels)
    centre = average(runs[[0, 2, 3]])
    assert np.allclose(width[2], bhattacharyya(runs[2], centre), atol=1e-9)
    assert np.allclose(width[[1, 4]], 0, atol=1e-12)
    assert trajectories.tube_width(runs).shape == (5, 3)


def test_length_of_a_great_circle_and_of_a_detour():
    labels = np.array([0, 1, 2])
    ends = geometry.ignorance(3, 4), geometry.truth(labels, 4)
    path = geometry.geodesic(*ends, np.linspace(0, 1, 9))
    length = trajectories.riemann_length(path)
    assert length[0] == 0 and np.allclose(length, np.linspace(0, 1, 9) * np.pi / 3)
    detour = np.concatenate([ends[0], random_log_probs(9, (1, 3, 4)), ends[1]])
    assert trajectories.riemann_length(detour)[-1] > length[-1]
    near = np.concatenate([path[3:4], geometry.geodesic(*ends, [3 / 8 + 1e-4])])
    angle = trajectories.riemann_length(near)[-1]
    assert bhattacharyya(near[0], near[1]) == pytest.approx(angle**2 / 2, rel=1e-3)


def test_progress_weights_do_not_depend_on_how_densely_a_stretch_was_recorded():
    s = np.array([0.0, 0.5, 1.0])
    sparse = pd.DataFrame({"run": "a", "progress_test": s})
    dense = pd.DataFrame({"run": "a", "progress_test": np.sort(np.r_[s, np.linspace(0.001, 0.1, 50)])})
    for points in (sparse, dense):
        weights = trajectories.progress_weights(points, "test")
        assert weights.shape == (len(points),) and np.isclose(weights.sum(), 1)
        assert np.isclose(weights @ points.progress_test, 0.5), "the mean of s over the way, not over checkpoints"
    early = trajectories.progress_weights(dense, "test")[dense.progress_test <= 0.1].sum()
    assert early < 0.31 < (dense.progress_test <= 0.1).mean(), "51 of 53 points, but a tenth of the way and a gap"


def test_progress_weights_of_several_runs_are_those_of_each_by_the_length_of_its_way():
    one = pd.DataFrame({"run": "a", "progress_train": [0.0, 0.1, 0.4]}, index=[7, 8, 9])
    two = pd.DataFrame({"run": "b", "progress_train": [0.2, 1.0, 0.9]})
    both = trajectories.progress_weights(pd.concat([one, two]))
    assert np.allclose(both[:3] / both[:3].sum(), trajectories.progress_weights(one))
    assert np.allclose(both[3:] / both[3:].sum(), trajectories.progress_weights(two)), "progress may go back"
    assert np.isclose(both[:3].sum() / both[3:].sum(), 0.4 / (0.4 + 0.35 + 0.05))


def test_progress_weights_refuse_what_they_cannot_weigh():
    with pytest.raises(ValueError, match="no run moves in progress_train"):
        trajectories.progress_weights(pd.DataFrame({"run": ["a", "b"], "progress_train": [0.1, 0.9]}))
    with pytest.raises(ValueError, match="must be finite"):
        trajectories.progress_weights(pd.DataFrame({"run": ["a", "a"], "progress_train": [0.1, np.nan]}))


def test_a_run_that_stops_is_no_farther_than_the_road_it_shares():
    """Three runs on one road; the second stops half-way and repeats its end, which only d_traj calls far."""
    place = np.array([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.2, 0.2], [0.11, 0.21, 0.31, 0.41]]).T
    stack = np.abs(place[:, :, None] - place[:, None])
    reached = np.array([[True] * 4, [True, True, False, False], [True] * 4])
    found = trajectories.common_distance(stack, reached)
    assert found[0, 1] == 0.0 and np.isclose(found[0, 2], 0.01) and np.isclose(found[1, 2], 0.01)
    assert stack.mean(axis=0)[0, 1] > 5 * stack.mean(axis=0)[0, 2], "the repeated end is what d_traj measures"


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_common_distance_is_the_mean_where_both_are(seed):
    rng = np.random.default_rng(seed)
    stack, reached = rng.random((5, 4, 4)).astype(np.float32), rng.random((4, 5)) < 0.6
    found = trajectories.common_distance(stack, reached)
    for i, j in np.ndindex(4, 4):
        both = reached[i] & reached[j]
        expected = stack[both, i, j].mean() if both.any() else np.nan
        assert found[i, j] == pytest.approx(expected, nan_ok=True, abs=1e-6)


def test_both_walkers_may_step_at_once_and_a_crossing_lies_between_two_checkpoints():
    assert trajectories.frechet_distance([[0.0, 5.0], [5.0, 0.0]]) == 0.0
    assert trajectories.first_crossing([10, 20], [0.0, 1.0], [0.25]).tolist() == [12.5]


def test_stations_are_where_most_runs_get_and_the_runs_are_those_that_pass_all():
    ends = {"a": 0.99, "b": 0.97, "c": 0.96, "d": 0.5}
    rows = [(run, "main", step, step * end) for run, end in ends.items() for step in (0, 1)]
    points = pd.DataFrame(rows, columns=["run", "phase", "step", "progress_train"])
    stations, runs = common_stations(points, list(ends), n_stations=2, share=0.75)
    assert stations.tolist() == [0.05, 0.95] and runs == ["a", "b", "c"]
    assert common_stations(points, list(ends), n_stations=2, share=0.76)[0][-1] == 0.45
