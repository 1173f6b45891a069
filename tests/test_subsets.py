"""Spectra of parts of a matrix of distances: against hand-made cases and repeated points."""

import numpy as np
import pytest

from manifold_utils.inpca import InPCA
from manifold_utils.inpca.embedding import first_time_like, spectrum, thinned
from manifold_utils.studies.subsets import (
    bootstrap_stress,
    spectrum_by_limit,
    spectrum_by_weight,
    stress_by_starts,
    stress_of_runs,
)


def squared_distances(points, signature=None):
    gap = points[:, None] - points[None]
    return (gap**2 * (np.ones(points.shape[1]) if signature is None else signature)).sum(axis=2)


@pytest.fixture
def runs():
    rng = np.random.default_rng(5)
    names = np.repeat([f"run{k}" for k in range(6)], 7)
    return names, squared_distances(rng.normal(size=(42, 5)))


def test_spectrum_of_a_part_is_inpca_of_the_block(runs):
    _, D = runs
    keep = np.arange(42) % 3 == 0
    expected = InPCA(n_components=4).fit(D[np.ix_(keep, keep)])
    assert np.allclose(spectrum(D, keep, n_components=4).eigenvalues_, expected.eigenvalues_)
    with pytest.raises(ValueError, match="at least 4 points, found 2"):
        spectrum(D, [0, 1])


def test_first_time_like():
    assert first_time_like([3.0, -2.0, 1.0]) == 2
    assert first_time_like([3.0, 2.0]) == 0


def test_thinned_keeps_the_ends_of_every_run(runs):
    names, _ = runs
    index = thinned(names, 20)
    assert set(np.arange(0, 42, 7)) | set(np.arange(6, 42, 7)) <= set(index)
    assert len(index) < 42 and (np.diff(index) > 0).all()
    assert np.array_equal(thinned(names, 100), np.arange(42))


def test_a_run_named_twice_counts_twice(runs):
    names, D = runs
    index = np.concatenate([np.flatnonzero(names == n) for n in ("run0", "run2", "run2")])
    expected = InPCA(n_components=3).fit(D[np.ix_(index, index)]).explained_stress_
    assert np.allclose(stress_of_runs(D, names, ["run0", "run2", "run2"], [1, 3]), expected[[0, 2]])


def test_bootstrap_stress_is_ordered_in_depth_and_repeatable(runs):
    names, D = runs
    draws = [bootstrap_stress(D, names, [1, 2, 5], n_draws=4, rng=np.random.default_rng(1)) for _ in range(2)]
    assert np.array_equal(*draws) and draws[0].shape == (4, 3)
    assert (np.diff(draws[0], axis=1) >= 0).all() and np.allclose(draws[0][:, 2], 1)
    one_run = bootstrap_stress(D, names, [5], n_draws=3, rng=np.random.default_rng(1), n_runs=1)
    each = [stress_of_runs(D, names, [name], [5])[0] for name in np.unique(names)]
    assert all(np.isclose(each, value).any() for value in one_run[:, 0])


def test_more_starts_need_more_axes_when_starts_lie_in_own_directions():
    rng = np.random.default_rng(0)
    start = np.repeat([0, 1, 2, 3], 4 * 6)
    names = np.repeat(np.arange(16), 6)
    points = np.zeros((96, 4))
    points[np.arange(96), start] = np.tile(np.linspace(1, 0, 6), 16) + 0.01 * rng.normal(size=96)
    table = stress_by_starts(squared_distances(points), names, start, depth=1, n_draws=5, rng=rng)
    mean = table.groupby("n_starts").stress.mean()
    assert list(mean.index) == [1, 2, 3, 4] and (np.diff(mean) < 0).all() and mean[1] > 0.95
    assert (table.n_runs == 4).all()


def test_a_time_like_axis_belongs_to_far_points_and_goes_with_them():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(40, 3)) * [3, 1, 0.0]
    points[:6, 2] = 8.0 * rng.normal(size=6)  # only the first six leave the space-like plane
    D = squared_distances(points, np.array([1.0, 1.0, -1.0]))
    to_truth = np.where(np.arange(40) < 6, 5.0, 0.1)
    table = spectrum_by_limit(D, to_truth, [1.0, 10.0], n_components=3)
    assert table.n_left_out.tolist() == [6, 0]
    assert table.loc[1.0, "lambda_2_over_1"] > 0
    assert table.loc[10.0, "first_time_like"] == first_time_like(InPCA(3).fit(D).eigenvalues_) > 0
    shares = spectrum_by_weight(D, to_truth > 2, [0.0, 6 / 40, 0.5], n_components=3)
    whole = InPCA(3).fit(D).eigenvalues_
    assert np.allclose(shares.loc[6 / 40, [1, 2, 3]].to_numpy(float), whole / abs(whole[0]))
    assert shares.loc[0.0, 2] > 0 and shares.first_time_like.iloc[2] > 0
