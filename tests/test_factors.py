"""Matched pairs, effect sizes, their intervals, importance: on made-up worlds whose answer is known beforehand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_utils.profiles import Design
from manifold_utils.statistics import (
    configurations,
    drawn_pairs,
    effect_over_effect,
    effect_ratio,
    effect_size,
    jackknife_interval,
    matched_pairs,
    seed_means,
    t_interval,
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


def plain_world(factor_ratios, *, seeds=(42, 43, 44), families=("fc", "allcnn", "vit"), optimizers=("sgd", "adam")):
    """Runs and distances set by hand: 1 between seeds, and for augmentation the given ratio of each family.

    `factor_ratios` maps a family, or (family, optimizer), to the distance with against without augmentation.
    """
    names = ["architecture", "optimizer", "augmentation", "seed"]
    rows = [(a, o, g, s) for a in families for o in optimizers for g in ("none", "simple") for s in seeds]
    runs = pd.DataFrame(rows, columns=names).assign(learning_rate=0.1)
    d = np.ones((len(runs), len(runs)))
    for i, u in runs.iterrows():
        same = (runs.architecture == u.architecture) & (runs.optimizer == u.optimizer)
        ratio = factor_ratios.get((u.architecture, u.optimizer), factor_ratios.get(u.architecture, 1.0))
        d[i, (same & (runs.augmentation != u.augmentation)).to_numpy()] = ratio
    np.fill_diagonal(d, 0.0)
    return runs, d


def ratio_of_sums(d, runs, factor):
    """The estimator of before: mean distance of all matched pairs over the mean of their seeds'."""
    number, table = configurations(runs)
    pairs, means = matched_pairs(table, factor), seed_means(d, number, runs.seed)
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    return means[first, second].sum() / (0.5 * (means[first, first] + means[second, second])).sum()


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
    return effect_size(d, runs, factor, rng=rng, n_permutations=60, **options)


def test_configurations_ignore_the_seed_and_keep_order():
    runs = make_runs()
    number, table = configurations(runs)
    assert len(table) == 18 and number.max() == 17
    assert np.array_equal(np.bincount(number), np.full(18, 3))
    pd.testing.assert_frame_equal(table.iloc[number].reset_index(drop=True), runs[COLUMNS])


def test_matched_pairs_differ_in_the_factor_alone():
    table = configurations(make_runs())[1]
    pairs = matched_pairs(table, "architecture")
    assert len(pairs) == 3 * 6 and pairs.strict.all()  # 3 pairs of families at each of 6 settings
    a, b = table.iloc[pairs["first"]].reset_index(drop=True), table.iloc[pairs["second"]].reset_index(drop=True)
    assert (a.architecture != b.architecture).all()
    assert (a.drop(columns="architecture") == b.drop(columns="architecture")).to_numpy().all()


def test_linked_factor_differs_only_where_it_must():
    table = configurations(make_runs())[1]
    pairs = matched_pairs(table, "optimizer")
    assert len(pairs) == 3 * 6 and pairs.strict.sum() == 6  # sgd and nesterov share a rate, adam has its own
    adam = (table.optimizer.to_numpy()[pairs[["first", "second"]]] == "adam").any(axis=1)
    assert np.array_equal(pairs.strict, ~adam)
    assert len(matched_pairs(table, "optimizer", linked=())) == 6


def test_unknown_factor_is_named():
    with pytest.raises(ValueError, match="'colour' is no factor"):
        matched_pairs(make_runs()[COLUMNS], "colour")


def test_seed_means_against_brute_force():
    rng = np.random.default_rng(1)
    runs = make_runs().sample(30, random_state=1).reset_index(drop=True)
    d = distances_of(runs, rng, n_dimensions=5)
    d[3, 7] = d[7, 3] = np.nan
    number, table = configurations(runs)
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


def test_with_equal_yardsticks_the_effect_is_the_mean_logarithm_by_hand():
    ratios = {("fc", "sgd"): 2.0, ("fc", "adam"): 3.0, ("allcnn", "sgd"): 1.5, ("vit", "adam"): 0.5}
    runs, d = plain_world(ratios)
    logs = np.log([2.0, 3.0, 1.5, 1.0, 1.0, 0.5])
    assert effect_ratio(d, runs, "augmentation") == pytest.approx(np.exp(logs.mean()))
    found = effect(d, runs, "augmentation", np.random.default_rng(0))
    per_family = logs.reshape(3, 2).mean(axis=1)
    half = 4.302653 * per_family.std(ddof=1) / np.sqrt(3)  # the t quantile of two degrees of freedom, from a table
    assert np.allclose(np.log([found["low"], found["high"]]), logs.mean() + np.array([-half, half]))
    assert found["over"] == "families" and found["n_units"] == 3
    assert found["between"] / found["within"] == pytest.approx(found["value"]) and found["within"] == pytest.approx(1)


def test_every_family_has_one_vote_however_many_pairs_it_has():
    runs, d = plain_world({"fc": 4.0})
    keep = ~((runs.architecture != "fc") & (runs.optimizer == "adam")).to_numpy()
    value = effect_ratio(d[np.ix_(keep, keep)], runs[keep], "augmentation")
    assert value == pytest.approx(4 ** (1 / 3))


def test_one_far_configuration_moves_a_ratio_of_sums_and_not_the_effect():
    """An erratic configuration: its seeds are 100 times as far apart as others', and augmentation doubles that."""
    optimizers = ("sgd", "nesterov", "adam")
    runs, d = plain_world({}, optimizers=optimizers)
    erratic = ((runs.architecture == "vit") & (runs.optimizer == "adam")).to_numpy()
    assert ratio_of_sums(d, runs, "augmentation") == pytest.approx(1)
    block = np.ix_(erratic, erratic)
    d[block] *= np.where(np.equal.outer(*[runs.augmentation[erratic].to_numpy()] * 2), 100.0, 200.0)
    found = effect(d, runs, "augmentation", np.random.default_rng(0))
    assert ratio_of_sums(d, runs, "augmentation") > 1.25
    assert found["value"] == pytest.approx(2 ** (1 / 9)) and found["value"] < 1.1
    assert found["low"] < 1 < found["high"]


def test_interval_covers_one_where_a_factor_does_nothing():
    rng = np.random.default_rng(4)
    runs = make_runs()
    found = [effect_size(distances_of(runs, rng, architecture=1.0, n_dimensions=40), runs, "augmentation",
                         n_permutations=0, rng=rng) for _ in range(40)]  # fmt: skip
    covers = np.mean([f["low"] <= 1 <= f["high"] for f in found])
    assert covers >= 0.85  # .95, less three standard errors of 40 worlds
    assert all(f["over"] == "families" for f in found)


def test_interval_of_the_architecture_lies_above_one_where_it_has_an_effect_and_not_where_it_has_none():
    rng = np.random.default_rng(5)
    runs = make_runs()
    real = effect(distances_of(runs, rng, architecture=1.0), runs, "architecture", rng)
    none = effect(distances_of(runs, rng, optimizer=1.0), runs, "architecture", rng)
    assert real["over"] == none["over"] == "families" and real["n_units"] == 3
    assert 1 < real["low"] < real["value"] < real["high"]
    assert none["low"] < 1 < none["high"] and none["p_value"] > 0.02


def test_architectures_are_left_out_with_all_their_pairs():
    """Three families at distances 2, 4, 8: without one of them, one distance is left."""
    runs = plain_world({})[0]
    a = runs.architecture.to_numpy()
    far = {frozenset(("fc", "allcnn")): 2.0, frozenset(("fc", "vit")): 4.0, frozenset(("allcnn", "vit")): 8.0}
    d = np.array([[far.get(frozenset((u, v)), 1.0) for v in a] for u in a])
    found = effect(d, runs, "architecture", np.random.default_rng(0))
    ends = jackknife_interval(np.log(4.0), np.log([8.0, 4.0, 2.0]))
    assert found["value"] == pytest.approx(4.0) and np.allclose(np.log([found["low"], found["high"]]), ends)


@pytest.mark.parametrize("more", [{"seeds": range(8)}, {"optimizers": [f"optimizer {k}" for k in range(12)]}])
def test_more_seeds_or_configurations_do_not_narrow_the_interval_over_families(more):
    """Families differ in their effect: an interval over pairs, or configurations, would shrink with their number."""
    ratios = {"fc": 1.0, "allcnn": 2.0, "vit": 4.0}
    few, many = (effect(d, runs, "augmentation", np.random.default_rng(0)) for runs, d in (
        plain_world(ratios), plain_world(ratios, **more)))  # fmt: skip
    assert many["n_pairs"] >= few["n_pairs"]
    assert many["low"] == pytest.approx(few["low"]) and many["high"] == pytest.approx(few["high"])
    assert few["high"] / few["low"] == pytest.approx(np.exp(2 * 4.302653 * np.log(2.0) / np.sqrt(3)))


def test_with_one_family_configurations_are_left_out_and_not_pairs():
    """Pairs that share a configuration are not independent: one erratic configuration takes all its pairs with it."""
    optimizers = [f"optimizer {k}" for k in range(6)]
    runs, _ = plain_world({}, families=("fc",), optimizers=optimizers)
    runs = runs[runs.augmentation == "none"].reset_index(drop=True)
    odd = (runs.optimizer == "optimizer 0").to_numpy()
    d = np.where(odd[:, None] != odd, 3.0, 1.0)
    found = effect(d, runs, "optimizer", np.random.default_rng(0))
    logs = np.repeat(np.log([3.0, 1.0]), [5, 10])
    left_out = np.r_[0.0, np.full(5, np.log(3.0) * 4 / 10)]
    assert found["over"] == "configurations" and found["n_units"] == 6
    assert np.allclose(np.log([found["low"], found["high"]]), jackknife_interval(logs.mean(), left_out))
    over_pairs = t_interval(logs)
    assert np.log(found["high"] / found["low"]) > 1.5 * (over_pairs[1] - over_pairs[0])


def test_two_families_give_no_interval_over_families_for_the_architecture_itself():
    runs, d = plain_world({}, families=("fc", "vit"), optimizers=("sgd", "nesterov", "adam"))
    assert effect(d, runs, "architecture", np.random.default_rng(0))["over"] == "configurations"
    assert effect(d, runs, "augmentation", np.random.default_rng(0))["over"] == "families"
    alone = effect_over_effect(d, runs, "architecture", "augmentation")
    assert alone["over"] == "configurations" and alone["value"] == pytest.approx(1)


def test_architecture_over_optimizer_leaves_a_family_out_of_both():
    rng = np.random.default_rng(0)
    runs = make_runs()
    d = distances_of(runs, rng, architecture=3.0, optimizer=0.5)
    found = effect_over_effect(d, runs, "architecture", "optimizer")
    logs, left = [], []
    for kept in (runs.architecture != "none", *(runs.architecture != a for a in ("fc", "allcnn", "vit"))):
        k = kept.to_numpy()
        ratios = [effect_ratio(d[np.ix_(k, k)], runs[k], f) for f in ("architecture", "optimizer")]
        (left if len(logs) else logs).append(np.log(ratios[0] / ratios[1]))
    assert found["value"] == pytest.approx(np.exp(logs[0])) and found["value"] == pytest.approx(4 / 1.5, rel=0.06)
    assert np.allclose(np.log([found["low"], found["high"]]), jackknife_interval(logs[0], left))
    assert found["over"] == "families" and found["low"] > 1
    swapped = effect_over_effect(d, runs, "optimizer", "architecture")
    assert swapped["low"] == pytest.approx(1 / found["high"])


def test_jackknife_of_a_mean_is_the_t_interval_and_nothing_else_is_invented():
    values = np.random.default_rng(0).normal(size=7)
    left_out = [np.delete(values, k).mean() for k in range(7)]
    assert np.allclose(jackknife_interval(values.mean(), left_out), t_interval(values))
    assert np.isnan([t_interval([1.0]), t_interval([]), t_interval([1.0, np.nan]), jackknife_interval(1.0, [])]).all()
    low, high = t_interval(values, centre=2.0)
    assert low + high == pytest.approx(4.0)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.floats(0.1, 100))
def test_effect_ratio_does_not_depend_on_order_or_unit(seed, unit):
    rng = np.random.default_rng(seed)
    runs = make_runs()
    d = distances_of(runs, rng, optimizer=1.0, n_dimensions=20)
    order = rng.permutation(len(runs))
    shuffled = runs.iloc[order].reset_index(drop=True)
    a = effect_ratio(d, runs, "optimizer")
    b = effect_ratio(unit * d[np.ix_(order, order)], shuffled, "optimizer")
    assert np.isclose(a, b)


def test_shuffles_without_effect_are_exchangeable():
    """p-values of a factor without effect are spread over (0, 1], not heaped near 0."""
    rng = np.random.default_rng(3)
    runs = make_runs(seeds=(1, 2))
    found = [effect(distances_of(runs, rng, n_dimensions=30), runs, "augmentation", rng) for _ in range(20)]
    assert 0.25 < np.mean([one["p_value"] for one in found]) < 0.8
    assert np.mean([one["value"] > one["null_high"] for one in found]) < 0.25, "one in twenty is beyond the null"


def test_pair_features_are_symmetric_and_know_equal_levels():
    runs = make_runs()
    i, j = np.array([0, 5, 9]), np.array([17, 2, 40])
    there, back = (importance.pair_features(runs, *ends, COLUMNS)[0] for ends in ((i, j), (j, i)))
    assert np.array_equal(there, back)


def test_importance_finds_the_factor_and_not_the_null():
    rng = np.random.default_rng(0)
    runs = make_runs()
    d = distances_of(runs, rng, architecture=3.0, augmentation=0.2)
    names = ["architecture", "optimizer", "augmentation"]
    options = {"factors": names, "n_splits": 3, "rng": rng}
    found = importance.importance(d, runs, **options).mean()
    assert found.r2 > 0.8
    assert found.architecture > 0.5 and found.architecture > 5 * abs(found.augmentation)
    permuted = runs.iloc[rng.permutation(len(runs))].reset_index(drop=True)
    assert importance.importance(d, permuted, **options).mean().architecture < 0.1


def test_importance_needs_configurations_to_hold_out():
    runs = make_runs().query("architecture == 'fc' and augmentation == 'none'").reset_index(drop=True)
    with pytest.raises(ValueError, match="3 configurations are too few"):
        importance.importance(np.zeros((len(runs),) * 2), runs, rng=np.random.default_rng(0))


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
        effect_ratio(stack, runs, "optimizer"),
        effect_ratio(d, runs, "optimizer"),
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
    assert effect_ratio(stack, runs, "optimizer") == pytest.approx(1, abs=0.02)


def test_drawn_pairs_count_both_members():
    pairs = pd.DataFrame({"first": [2, 2], "second": [5, 7]})
    weights = drawn_pairs(pairs, 500, np.random.default_rng(0))
    assert weights.shape == (500, 2) and weights.max() <= 2  # three draws: at most 1 * 2
    assert 0.3 < (weights > 0).mean() < 0.7


def test_where_one_seed_stops_short_the_means_are_over_those_that_are_there():
    """By loops, with unknown distances beside known ones in every mean of the second value of progress."""
    runs = pd.DataFrame({"optimizer": ["sgd"] * 3 + ["adam"] * 3, "seed": [1, 2, 3] * 2})
    rng = np.random.default_rng(0)
    stack = np.abs(rng.normal(1, 0.3, (2, 6, 6)))
    stack = stack + stack.transpose(0, 2, 1)
    stack[1, [2, 5]] = stack[1, :, [2, 5]] = np.nan  # the third seeds do not get there

    def mean(s, first, second):
        found = [stack[s, u, v] for u in first for v in second if runs.seed[u] != runs.seed[v]]
        return np.mean([x for x in found if np.isfinite(x)])

    sgd, adam = range(3), range(3, 6)
    between = np.mean([mean(s, sgd, adam) for s in range(2)])
    within = np.mean([(mean(s, sgd, sgd) + mean(s, adam, adam)) / 2 for s in range(2)])
    found = effect_ratio(stack, runs, "optimizer", linked=(), design=Design(("optimizer",), "optimizer"))
    assert found == pytest.approx(between / within, rel=1e-12)
