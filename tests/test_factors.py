"""Matched pairs, effect sizes, importance and pace: on tables whose answer is known beforehand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_utils.statistics import (
    configurations,
    drawn_pairs,
    effect_ratio,
    effect_size,
    matched_pairs,
    median_interval,
    median_ratio,
    ratio_interval,
    seed_means,
    speed_ratios,
)
from manifold_utils.studies import importance
from manifold_utils.trajectories import common_progress, crossings, first_crossing

COLUMNS = ["architecture", "optimizer", "learning_rate", "augmentation"]


def make_runs(seeds=(42, 43, 44)):
    recipes = [("sgd", 0.1), ("nesterov", 0.1), ("adam", 0.001)]
    rows = [
        {"architecture": a, "optimizer": o, "learning_rate": rate, "augmentation": g, "seed": s}
        for a in ("fc", "allcnn", "vit")
        for o, rate in recipes
        for g in ("none", "simple")
        for s in seeds
    ]
    return pd.DataFrame(rows)


def distances_of(runs, rng, *, architecture=0.0, optimizer=0.0, augmentation=0.0, noise=1.0, n_dimensions=400):
    """Squared distances of points: a level moves along an axis of its own, and noise fills the other dimensions."""
    place = rng.normal(size=(len(runs), n_dimensions)) * noise / np.sqrt(2 * n_dimensions)
    shifts = np.zeros((len(runs), 12))
    sizes = {"architecture": architecture, "optimizer": optimizer, "augmentation": augmentation}
    for k, (factor, size) in enumerate(sizes.items()):
        shifts[np.arange(len(runs)), 4 * k + runs[factor].factorize()[0]] = np.sqrt(size / 2)
    points = np.concatenate([place, shifts], axis=1)
    return ((points[:, None] - points[None]) ** 2).sum(axis=2)


def effect(d, runs, factor, rng, **options):
    return effect_size(d, runs, factor, columns=COLUMNS, rng=rng, n_resamples=200, n_permutations=60, **options)


def test_configurations_ignore_the_seed_and_keep_order():
    runs = make_runs()
    number, table = configurations(runs, COLUMNS)
    assert len(table) == 18 and number.max() == 17
    assert np.array_equal(np.bincount(number), np.full(18, 3))
    pd.testing.assert_frame_equal(table.iloc[number].reset_index(drop=True), runs[COLUMNS])


def test_matched_pairs_differ_in_the_factor_alone():
    table = configurations(make_runs(), COLUMNS)[1]
    pairs = matched_pairs(table, "architecture", columns=COLUMNS)
    assert len(pairs) == 3 * 6 and pairs.strict.all()  # 3 pairs of families at each of 6 settings
    a, b = table.iloc[pairs["first"]].reset_index(drop=True), table.iloc[pairs["second"]].reset_index(drop=True)
    assert (a.architecture != b.architecture).all()
    assert (a.drop(columns="architecture") == b.drop(columns="architecture")).to_numpy().all()


def test_linked_factor_differs_only_where_it_must():
    table = configurations(make_runs(), COLUMNS)[1]
    pairs = matched_pairs(table, "optimizer", columns=COLUMNS)
    assert len(pairs) == 3 * 6 and pairs.strict.sum() == 6  # sgd and nesterov share a rate, adam has its own
    adam = (table.optimizer.to_numpy()[pairs[["first", "second"]]] == "adam").any(axis=1)
    assert np.array_equal(pairs.strict, ~adam)
    assert len(matched_pairs(table, "optimizer", linked=(), columns=COLUMNS)) == 6


def test_unknown_factor_is_named():
    with pytest.raises(ValueError, match="'colour' is no factor"):
        matched_pairs(make_runs()[COLUMNS], "colour", columns=COLUMNS)


def test_seed_means_against_brute_force():
    rng = np.random.default_rng(1)
    runs = make_runs().sample(30, random_state=1).reset_index(drop=True)
    d = distances_of(runs, rng, n_dimensions=5)
    d[3, 7] = d[7, 3] = np.nan
    number, table = configurations(runs, COLUMNS)
    means = seed_means(d, number, runs.seed)
    for a in range(len(table)):
        for b in range(len(table)):
            values = [
                d[u, v]
                for u in np.flatnonzero(number == a)
                for v in np.flatnonzero(number == b)
                if runs.seed[u] != runs.seed[v] and np.isfinite(d[u, v])
            ]
            assert np.isnan(means[a, b]) if not values else np.isclose(means[a, b], np.mean(values))


def test_effects_of_known_size_are_found():
    rng = np.random.default_rng(0)
    runs = make_runs()
    d = distances_of(runs, rng, architecture=2.0, optimizer=0.5)
    found = {f: effect(d, runs, f, rng) for f in ("architecture", "optimizer", "augmentation")}
    assert found["architecture"]["value"] == pytest.approx(3.0, rel=0.05)  # squared distances add: (1 + 2) / 1
    assert found["optimizer"]["value"] == pytest.approx(1.5, rel=0.05)
    assert found["augmentation"]["value"] == pytest.approx(1.0, rel=0.05)
    assert found["architecture"]["p_value"] < 0.05 and found["optimizer"]["p_value"] < 0.05
    assert found["augmentation"]["p_value"] > 0.02
    for result in found.values():
        assert result["low"] <= result["value"] <= result["high"]
    assert found["optimizer"]["n_pairs"] == 18 and found["optimizer"]["n_strict"] == 6


def test_effect_without_pairs_or_without_seeds_is_nan():
    rng = np.random.default_rng(0)
    one_seed = make_runs(seeds=(42,))
    alone = effect(distances_of(one_seed, rng), one_seed, "architecture", rng)
    one_level = make_runs()
    one_level["augmentation"] = "none"
    nothing = effect(distances_of(one_level, rng), one_level, "augmentation", rng)
    assert np.isnan([alone["value"], alone["low"], nothing["value"], nothing["p_value"]]).all()
    assert alone["n_pairs"] == nothing["n_pairs"] == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 100))
def test_effect_ratio_does_not_depend_on_order_or_unit(seed, unit):
    rng = np.random.default_rng(seed)
    runs = make_runs()
    d = distances_of(runs, rng, optimizer=1.0, n_dimensions=20)
    order = rng.permutation(len(runs))
    shuffled = runs.iloc[order].reset_index(drop=True)
    a = effect_ratio(d, runs, "optimizer", columns=COLUMNS)
    b = effect_ratio(unit * d[np.ix_(order, order)], shuffled, "optimizer", columns=COLUMNS)
    assert np.isclose(a, b)


def test_shuffles_without_effect_are_exchangeable():
    """p-values of a factor without effect are spread over (0, 1], not heaped near 0."""
    rng = np.random.default_rng(3)
    runs = make_runs(seeds=(1, 2))
    p = [effect(distances_of(runs, rng, n_dimensions=30), runs, "augmentation", rng)["p_value"] for _ in range(20)]
    assert 0.25 < np.mean(p) < 0.8


def test_pair_features_are_symmetric_and_know_equal_levels():
    runs = make_runs()
    i, j = np.array([0, 5, 9]), np.array([17, 2, 40])
    assert np.array_equal(importance.pair_features(runs, i, j, COLUMNS), importance.pair_features(runs, j, i, COLUMNS))


def test_importance_finds_the_factor_and_not_the_null():
    rng = np.random.default_rng(0)
    runs = make_runs()
    d = distances_of(runs, rng, architecture=3.0, augmentation=0.2)
    names = ["architecture", "optimizer", "augmentation"]
    options = {"factors": names, "columns": COLUMNS, "n_splits": 3, "rng": rng}
    found = importance.importance(d, runs, **options).mean()
    assert found.r2 > 0.8
    assert found.architecture > 0.5 and found.architecture > 5 * abs(found.augmentation)
    permuted = runs.iloc[rng.permutation(len(runs))].reset_index(drop=True)
    assert importance.importance(d, permuted, **options).mean().architecture < 0.1


def test_importance_needs_configurations_to_hold_out():
    runs = make_runs().query("architecture == 'fc' and augmentation == 'none'").reset_index(drop=True)
    with pytest.raises(ValueError, match="3 configurations are too few"):
        importance.importance(np.zeros((len(runs),) * 2), runs, columns=COLUMNS, rng=np.random.default_rng(0))


def test_first_crossing_of_a_run_that_turns_back():
    clock, progress = [0, 1, 2, 3], [0.0, 0.6, 0.3, 0.9]
    assert np.allclose(first_crossing(clock, progress, [0.3, 0.6, 0.8]), [0.5, 2.5, 2 + 0.5 / 0.6])


def test_crossings_count_from_the_main_phase():
    points = pd.DataFrame(
        {
            "run": ["a"] * 4,
            "phase": ["pretrain", "main", "main", "main"],
            "step": [-5, 0, 10, 20],
            "progress_train": [0.9, 0.0, 0.5, 1.0],
        }
    )
    assert crossings(points, [0.25, 0.75]).loc["a"].tolist() == [5.0, 15.0]


def test_stack_of_equal_distances_gives_the_effect_of_one():
    rng = np.random.default_rng(0)
    runs = make_runs()
    d = distances_of(runs, rng, optimizer=1.0)
    stack = np.stack([d, 3 * d])
    assert np.isclose(
        effect_ratio(stack, runs, "optimizer", columns=COLUMNS),
        effect_ratio(d, runs, "optimizer", columns=COLUMNS),
    )


def test_runs_that_stop_short_are_compared_where_they_are():
    """Seeds grow apart with progress and adam stops half-way: the effect must still be 1, not less."""
    rng = np.random.default_rng(0)
    runs = make_runs()
    layers = np.stack([distances_of(runs, rng, noise=k) for k in (1, 2, 3, 4)])
    reached = np.ones((len(runs), 4), dtype=bool)
    reached[(runs.optimizer == "adam").to_numpy(), 2:] = False
    stack = common_progress(layers, reached)
    assert np.isnan(stack).any() and np.isfinite(stack[:2]).all()
    assert effect_ratio(stack, runs, "optimizer", columns=COLUMNS) == pytest.approx(1, abs=0.02)


def test_speed_ratios_put_the_smaller_above_and_keep_laggards():
    steps = np.array([[8.0, np.inf], [12.0, np.inf], [2.0, 4.0], [np.nan, 3.0]])
    pairs = pd.DataFrame({"first": [0, 1], "second": [1, 2]})
    ratio = speed_ratios(steps, np.array([0, 0, 1, 2]), pairs, np.array([100, 10, 1]))
    assert np.array_equal(ratio[0], [0.25, 0.0])  # the larger never gets to the second value
    assert np.isnan(ratio[1, 0]) and ratio[1, 1] == 0.75
    assert median_ratio([np.inf, 0.0, 2.0, np.nan]) == 2.0
    assert np.isinf(median_ratio([np.inf, np.inf, 1.0])) and np.isnan(median_ratio([np.nan]))


def test_intervals_over_drawn_configurations_hold_the_value():
    rng = np.random.default_rng(0)
    first, second = np.triu_indices(8, 1)
    pairs = pd.DataFrame({"first": first, "second": second})
    place = rng.normal(size=8)
    d = np.abs(place[first] - place[second])[:, None] * np.ones(3)
    same = (first < 4) == (second < 4)
    value, low, high = ratio_interval(d[same], pairs[same], d[~same], pairs[~same], rng=rng)
    assert value == pytest.approx(d[same].mean() / d[~same].mean()) and low < value < high
    assert np.isnan(ratio_interval(d[:0], pairs[:0], d, pairs, rng=rng)).all()
    ratios = np.exp(rng.normal(size=(len(pairs), 5)))
    low, high = median_interval(ratios, pairs, n_resamples=200, rng=rng)
    assert low <= median_ratio(ratios) <= high
    assert np.isnan(median_interval(ratios[:0], pairs[:0], rng=rng)).all()


def test_drawn_pairs_count_both_members():
    pairs = pd.DataFrame({"first": [2, 2], "second": [5, 7]})
    weights = drawn_pairs(pairs, 500, np.random.default_rng(0))
    assert weights.shape == (500, 2) and weights.max() <= 2  # three draws: at most 1 * 2
    assert 0.3 < (weights > 0).mean() < 0.7
