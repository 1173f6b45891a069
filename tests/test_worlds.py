"""Null worlds: what each keeps and loses, and the verdict on made-up worlds with and without the effect."""

import numpy as np
import pandas as pd
import pytest

from manifold_utils import geometry, statistics
from manifold_utils.claims import HOLDS, NULL, load_claims
from manifold_utils.distances import pairwise
from manifold_utils.studies import null_spectra
from manifold_utils.trajectories import progress_weights

N_SAMPLES, N_CLASSES, N_FAMILIES, N_SEEDS = 240, 4, 6, 5
LABELS = np.arange(N_SAMPLES) % N_CLASSES


def made_up(shared, seed=0, own=0.6):
    """Runs at two stations; a sample's margin has a part that runs share (three axes) and one of each run alone."""
    rng = np.random.default_rng(seed)
    n_runs = N_FAMILIES * N_SEEDS
    families = np.repeat([f"family {k}" for k in range(N_FAMILIES)], N_SEEDS)
    axes = rng.standard_normal((3, N_SAMPLES))
    weights = rng.standard_normal((N_FAMILIES, 3))[np.repeat(np.arange(N_FAMILIES), N_SEEDS)]
    weights[:, 0] += 1.5  # all families find the same samples easy
    weights = weights + 0.3 * rng.standard_normal((n_runs, 3))
    alone = rng.standard_normal((n_runs, N_SAMPLES))
    bend = shared * weights @ axes + own * alone
    logits = np.zeros((n_runs, 2, N_SAMPLES, N_CLASSES))
    for t, base in enumerate((0.8, 2.0)):
        logits[:, t, np.arange(N_SAMPLES), LABELS] = base + bend
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)), families


def judged(shared, seed=0):
    trajectories, families = made_up(shared, seed)
    rng = np.random.default_rng(seed)
    options = {"worlds": ("class", "real"), "n_draws": 2, "rng": rng}
    table = null_spectra.equal_progress(trajectories, LABELS, [0.3, 0.6], families, **options)
    value, low, high = null_spectra.real_over_null(table)
    (evidence, _) = next(c for c in load_claims() if c.id == "1").evidence
    return evidence.conclusion((low, high)), value


def test_a_world_without_the_effect_gets_the_null_does_as_well():
    for seed in range(3):
        conclusion, value = judged(shared=0.0, seed=seed)
        assert conclusion == NULL and 0.85 < value < 1.15


def test_a_world_with_the_effect_holds():
    for seed in range(3):
        conclusion, value = judged(shared=1.0, seed=seed)
        assert conclusion == HOLDS and value < 0.6


@pytest.mark.parametrize("world", ["class", "difficulty", "confusion"])
def test_shuffled_worlds_keep_every_curve_and_lose_the_order(world):
    trajectories, _ = made_up(shared=1.0)
    points, run = trajectories.reshape(-1, N_SAMPLES, N_CLASSES), np.repeat(np.arange(len(trajectories)), 2)
    mean = null_spectra.mean_probabilities(trajectories)
    moved = statistics.null_world(points, run, LABELS, world, mean_probabilities=mean, rng=np.random.default_rng(0))
    assert np.allclose(geometry.progress(moved, LABELS), geometry.progress(points, LABELS), atol=1e-9)
    own = np.arange(N_SAMPLES), LABELS
    assert np.allclose(moved[:, *own].mean(axis=1), points[:, *own].mean(axis=1))
    assert (moved != points).any(axis=(1, 2)).all(), "every point has moved"
    same_run = pairwise(points)[0, 1], pairwise(moved)[0, 1]
    assert np.isclose(*same_run), "the points of a run move alike"
    assert pairwise(moved)[0, 2] > pairwise(points)[0, 2], "two runs lose what they share"


def test_each_rung_of_the_ladder_keeps_more():
    trajectories, families = made_up(shared=1.0)
    table = null_spectra.equal_progress(
        trajectories, LABELS, [0.3, 0.6], families, n_draws=1, rng=np.random.default_rng(0)
    )
    whole = table[table.left_out == ""].set_index("world")
    assert whole.index.tolist() == list(statistics.WORLDS)
    assert whole.distance["curve"] < 1e-6 and whole.n_axes["curve"] == 0
    assert whole.distance["class"] > whole.distance["difficulty"]
    assert whole.n_axes["class"] > 1.1 * whole.n_axes["difficulty"] > 4 * whole.n_axes["real"]


def test_strata_are_of_one_class_and_alike_in_difficulty_and_confusion():
    trajectories, _ = made_up(shared=1.0)
    mean = null_spectra.mean_probabilities(trajectories)
    ease, wrong = mean[np.arange(N_SAMPLES), LABELS], mean.copy()
    wrong[np.arange(N_SAMPLES), LABELS] = -1
    for world in ("difficulty", "confusion"):
        groups = pd.DataFrame({"group": statistics.strata(LABELS, world, mean, size=6), "class": LABELS, "ease": ease})
        groups["taken for"] = wrong.argmax(axis=1)
        by_group = groups.groupby("group")
        assert by_group["class"].nunique().max() == 1
        assert (by_group.ease.std().mean() or 0) < 0.5 * groups.groupby("class").ease.std().mean()
        if world == "confusion":
            assert by_group["taken for"].nunique().max() == 1
    assert len(np.unique(statistics.strata(LABELS, "real"))) == N_SAMPLES


def test_strata_of_classes_of_different_sizes_stay_apart():
    labels = np.repeat([0, 1, 2], [4, 40, 12])
    mean = np.random.default_rng(0).dirichlet(np.ones(3), len(labels))
    for world in ("class", "difficulty", "confusion"):
        found = statistics.strata(labels, world, mean, size=4)
        assert found.min() == 0 and all(len(np.unique(labels[found == k])) == 1 for k in np.unique(found)), world
    assert len(np.unique(statistics.strata(labels, "difficulty", mean, size=4))) == 14


def test_what_a_world_needs_is_asked_for_by_name():
    points = made_up(0.0)[0][:, 0]
    with pytest.raises(ValueError, match="needs progress"):
        statistics.null_world(points, np.arange(len(points)), LABELS, "curve")
    with pytest.raises(ValueError, match="mean_probabilities"):
        statistics.strata(LABELS, "difficulty")
    with pytest.raises(ValueError, match="give rng"):
        statistics.null_world(points, np.arange(len(points)), LABELS, "class")
    with pytest.raises(ValueError, match="world"):
        statistics.null_world(points, np.arange(len(points)), LABELS, "shuffled")


def test_axes_for_a_share_of_the_stress():
    simplex = null_spectra.explained(2.0 * (1 - np.eye(30)))
    line = null_spectra.explained(np.square(np.subtract.outer(np.arange(9.0), np.arange(9.0))))
    assert null_spectra.axes_for(line) < 1 and 27 < null_spectra.axes_for(simplex) < 29
    assert null_spectra.axes_for(null_spectra.explained(np.zeros((5, 5)))) == 0
    assert null_spectra.axes_for(null_spectra.explained(np.full((5, 5), 1e-9))) == 0, "noise of rounding is no axis"


def test_the_jackknife_of_a_mean_is_the_t_interval():
    x = np.random.default_rng(0).normal(5, 2, 12)
    low, high = statistics.jackknife_interval(x.mean(), [np.delete(x, k).mean() for k in range(12)])
    half = 2.200985 * x.std(ddof=1) / np.sqrt(12)  # Student's t, 11 degrees of freedom, 97.5 %
    assert np.allclose([low, high], [x.mean() - half, x.mean() + half], rtol=1e-5)
    assert np.isnan(statistics.jackknife_interval(1.0, [1.0])).all()


def test_weights_by_step_in_progress_ignore_how_dense_checkpoints_are():
    sparse = pd.DataFrame({"run": "a", "progress_train": [0.0, 0.5, 1.0]})
    dense = pd.DataFrame({"run": "a", "progress_train": [0.0, *np.linspace(0.01, 0.1, 10), 0.5, 1.0]})
    low, high = (progress_weights(t)[t.progress_train < 0.26].sum() for t in (sparse, dense))
    assert abs(low - high) < 0.1
    both = pd.concat([dense, sparse.assign(run="b")])
    weights = progress_weights(both)
    assert np.isclose(weights[: len(dense)].sum(), 0.5) and np.isclose(weights.sum(), 1)
