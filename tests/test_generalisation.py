"""Generalisation: orders of learning, dimensions, exchanges, held-out errors, and partial rank correlations."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from manifold_utils import claims
from manifold_utils.distances import pairwise
from manifold_utils.geometry import exchange_classes
from manifold_utils.statistics import (
    bootstrap_interval,
    exchanged,
    held_out_errors,
    holm,
    in_words,
    mean_over_groups,
    permutations_within_class,
    r2_interval,
    rank_association,
    seed_ceiling,
    stream,
    variance_share,
)
from manifold_utils.studies import by_heart, held_out
from manifold_utils.studies.by_heart import with_corners
from manifold_utils.studies.generalisation import dimension, learned_at, order_agreement
from manifold_utils.trajectories.of_atlas import own_clock, own_road


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 8))
def test_learned_at_is_the_first_checkpoint_from_which_a_sample_stays_right(seed, n_points, n_samples):
    rng = np.random.default_rng(seed)
    log_probs, labels = np.log(rng.dirichlet(np.ones(3), (n_points, n_samples))), rng.integers(3, size=n_samples)
    right = log_probs.argmax(axis=2) == labels
    for n, k in enumerate(learned_at(log_probs, labels)):
        assert right[k:, n].all()
        assert k == 0 or not right[k - 1, n]
        assert (k == n_points) == (not right[-1, n])


def test_agreement_is_spearmans_and_blind_to_how_time_is_told():
    rng = np.random.default_rng(0)
    orders = rng.integers(6, size=(3, 40))
    found = order_agreement(orders)
    assert np.allclose(np.diag(found), 1) and np.allclose(found, found.T)
    assert np.isclose(found[0, 1], spearmanr(orders[0], orders[1]).statistic)
    assert np.allclose(found, order_agreement(np.exp(orders)))


def test_agreement_by_class_is_the_mean_over_shuffles_within_classes():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], 15)
    orders = rng.integers(8, size=(2, 45)) + 3 * labels
    draws = [
        order_agreement([orders[0], orders[1][shuffle]])[0, 1]
        for shuffle in permutations_within_class(labels, 400, rng)
    ]
    exact = order_agreement(orders, labels)[0, 1]
    assert abs(np.mean(draws) - exact) < 5 * np.std(draws) / np.sqrt(len(draws))
    assert exact > 0.3, "the classes alone make an order"


def test_a_run_that_learns_all_at_once_agrees_with_none():
    assert np.isnan(order_agreement([[1, 1, 1], [1, 2, 3]])[0]).all()


@pytest.mark.parametrize("k", [1, 2, 5])
def test_dimension_of_a_regular_simplex_and_of_a_line(k):
    participation, n_axes = dimension(3.0 * (1 - np.eye(k + 1)), share=0.99)
    assert np.isclose(participation, k) and n_axes == k
    place = np.linspace(0, 1, 9)
    assert np.allclose(dimension(np.square(place[:, None] - place)), (1, 1))
    assert dimension(np.zeros((4, 4))) == (0.0, 0)


def test_dimension_does_not_change_when_classes_are_exchanged():
    rng = np.random.default_rng(2)
    run = np.log(rng.dirichlet(np.ones(4), (6, 20)))
    fitted, labels = rng.integers(4, size=(2, 20))
    turned = exchange_classes(run, fitted, labels)
    assert np.allclose(dimension(pairwise(run)), dimension(pairwise(turned)), atol=1e-5)


def test_corners_are_as_many_as_asked_and_the_rest_stays():
    clock = np.array([0.0, 0.15, 0.2, 0.25, 0.3, 0.35, 0.6, 0.9])
    keep = with_corners(clock, 0.1, 0.5, 3)
    assert keep.tolist() == [0, 1, 3, 5, 6, 7]
    assert len(with_corners(clock, 0.1, 0.5, 6)) == 0
    assert with_corners(clock, 0.1, 0.5, 5).tolist() == list(range(8))


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_exchanged_groups_stay_whole_and_in_their_stratum(seed, sizes):
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    strata = groups % 2
    rows = exchanged(groups, rng, strata)
    assert np.array_equal(strata[rows], strata)
    sources = [np.unique(groups[rows[groups == k]]) for k in range(len(sizes))]
    assert all(len(s) == 1 for s in sources), "the rows of a group come from one group"
    assert sorted(int(s[0]) for s in sources) == list(range(len(sizes))), "each group is given away once"


def table_of_runs(n_groups=30, seed=0):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), 3)
    signal = rng.normal(size=n_groups)[groups]
    return groups, signal, rng


def test_held_out_errors_find_a_signal_and_no_signal_in_the_name_of_a_group():
    groups, signal, rng = table_of_runs()
    model, guess = held_out_errors(signal[:, None], 2 * signal + 0.1, groups)
    value, low, high = r2_interval(model, guess, groups, rng=rng)
    assert low > 0.95 and low <= value <= high
    names = np.eye(groups.max() + 1)[groups]  # would tell all if seeds of one configuration could be on both sides
    model, guess = held_out_errors(names, signal, groups)
    assert r2_interval(model, guess, groups, rng=rng)[0] < 0.05


def test_the_regression_is_scikit_learns_ridge_on_standardised_features():
    groups, signal, rng = table_of_runs()
    features = np.column_stack([signal, 40 + 7 * rng.normal(size=(len(signal), 3)), np.full(len(signal), 3.3)])
    targets = np.column_stack([signal + rng.normal(size=len(signal)), 5 - signal])
    model, guess = held_out_errors(features, targets, groups, n_splits=4, seed=1)
    expected = np.empty_like(model)
    for train, test in GroupKFold(4, shuffle=True, random_state=1).split(features, groups=groups):
        fit = make_pipeline(StandardScaler(), Ridge(1.0)).fit(features[train], targets[train])
        expected[test] = np.square(fit.predict(features[test]) - targets[test])
    assert np.allclose(model, expected) and guess.shape == targets.shape


def test_many_targets_are_learned_as_one_by_one():
    groups, signal, rng = table_of_runs()
    targets = np.stack([signal, rng.normal(size=len(signal))], axis=1)
    together = held_out_errors(signal[:, None], targets, groups, seed=3)
    alone = held_out_errors(signal[:, None], targets[:, 1], groups, seed=3)
    assert np.allclose(together[0][:, 1], alone[0]) and np.allclose(together[1][:, 1], alone[1])
    with pytest.raises(ValueError, match="one group"):
        held_out_errors(targets, signal, np.zeros(len(signal)))


def test_gain_over_itself_is_nothing():
    groups, signal, rng = table_of_runs()
    model, guess = held_out_errors(signal[:, None], signal**3, groups)
    assert r2_interval(model, guess, groups, against=model, rng=rng) == (0.0, 0.0, 0.0)


def test_rank_association_is_spearmans_and_what_is_fixed_is_taken_out():
    groups, signal, rng = table_of_runs()
    x, y = (signal + 0.3 * rng.normal(size=len(signal)) for _ in range(2))
    plain = rank_association(x, y, groups, rng=rng)
    assert np.isclose(plain[0], spearmanr(x, y).statistic) and plain[1] <= plain[0] <= plain[2]
    fixed = rank_association(x, y, groups, given=pd.DataFrame({"signal": signal}), rng=rng)
    assert abs(fixed[0]) < 0.4 < plain[0]
    by_name = pd.DataFrame({"name": pd.Series(groups // 6).astype(str)})
    residual = [
        v - pd.Series(v).groupby(by_name.name).transform("mean") for v in (pd.Series(x).rank(), pd.Series(y).rank())
    ]
    assert np.isclose(rank_association(x, y, groups, given=by_name, rng=rng)[0], np.corrcoef(*residual)[0, 1])


def test_rank_association_says_when_there_is_not_enough():
    rng = np.random.default_rng(0)
    assert np.isnan(rank_association([1, 2, 3], [1, 2, 3], [0, 1, 2], rng=rng)).all()
    assert np.isnan(rank_association([], [], [], rng=rng)).all()
    constant = rank_association(np.ones(9), np.arange(9), np.arange(9), rng=rng)
    assert np.isnan(constant).all() and "not enough" in in_words(*constant)


def test_twelve_tests_without_effect_find_something_in_one_book_of_twenty_not_in_half_of_them():
    p_values = np.random.default_rng(0).random((2000, 12))
    assert np.mean(p_values.min(axis=1) <= 0.05) > 0.4, "uncorrected"
    corrected = np.array([holm(row) for row in p_values])
    assert np.mean(corrected.min(axis=1) <= 0.05) == pytest.approx(0.05, abs=0.015)
    assert (corrected >= p_values).all() and corrected.max() == 1


def test_holm_by_hand_keeps_the_order_and_finds_what_is_there():
    assert np.allclose(holm([0.2, 0.001, 0.01, 0.04]), [0.2, 0.004, 0.03, 0.08])
    assert holm([0.03]).tolist() == [0.03] and holm([]).shape == (0,)
    assert np.allclose(holm([0.02, 0.02, 0.5]), [0.06, 0.06, 0.5]), "equal ones stay equal"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_seed_ceiling_is_unbiased_whatever_the_number_of_seeds(share):
    rng, found = np.random.default_rng(1), []
    groups = np.repeat(np.arange(60), np.resize([1, 2, 3], 60))
    for _ in range(60):
        values = np.sqrt(share) * rng.normal(size=60)[groups] + np.sqrt(1 - share) * rng.normal(size=len(groups))
        found.append(seed_ceiling(values, groups, n_resamples=0, rng=rng)[0])
    assert abs(np.mean(found) - share) < 4 * np.std(found) / np.sqrt(len(found)) + 0.01
    if share == 0:
        eta = 1 - pd.Series(values).groupby(groups).var(ddof=0).fillna(0).mean() / values.var()
        assert eta > 0.4, "the plain share of variance between groups is far from 0 here"


def test_no_predictor_that_knows_only_the_configuration_beats_the_ceiling():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(200), 3)
    signal = rng.normal(size=200)[groups]
    values = signal + rng.normal(size=600)
    value, low, high = seed_ceiling(values, groups, rng=rng)
    assert low < value < high and low < 0.5 < high
    best = 1 - np.square(values - signal).sum() / np.square(values - values.mean()).sum()
    assert abs(value - best) < 0.1
    assert np.isnan(seed_ceiling(signal[::3], groups[::3], rng=rng)).all(), "one seed each says nothing"


def test_a_stream_depends_on_its_purpose_and_seed_alone():
    first = stream(3, "a").random(4)
    stream(3, "b").random(100)
    assert np.array_equal(stream(3, "a").random(4), first)
    assert not np.isclose(stream(4, "a").random(4), first).any()


class FakeAtlas:
    """One run of three checkpoints, the first in an earlier phase."""

    def __init__(self):
        self.predictions = np.log(np.array([[[0.5, 0.5]] * 2, [[0.6, 0.4], [0.7, 0.3]], [[0.9, 0.1], [0.8, 0.2]]]))
        self.points = pd.DataFrame(
            {
                "run": "a",
                "phase": ["pretrain", "main", "main"],
                "progress_train": [0.0, 0.1, 0.2],
                "error_train": [1.0, 0.5, 0.5],
            }
        )

    def run_log_probs(self, run, split):
        assert (run, split) == ("a", "train")
        return self.predictions

    def labels(self, split):
        return np.array([0, 1])


def test_a_run_is_put_on_the_clock_of_what_it_was_fitted_to():
    atlas = FakeAtlas()
    assert np.array_equal(own_road(atlas, "a"), atlas.predictions[1:])
    assert own_clock(atlas, "a").error.tolist() == [0.5, 0.5]
    assert own_clock(atlas, "a").progress.tolist() == [0.1, 0.2]  # of the checkpoints of `own_road`, and of no others
    clock = own_clock(atlas, "a", fitted=[0, 0])
    assert clock.error.tolist() == [0.0, 0.0] and clock.progress.is_monotonic_increasing
    assert np.allclose(own_road(atlas, "a", [0, 0])[:, 1], atlas.predictions[1:, 1, ::-1])


def plain_share(values, levels):
    """The share of variance that the book took before, of the values themselves."""
    values = pd.Series(values)
    return values.groupby(levels).transform("mean").var(ddof=0) / values.var(ddof=0)


def test_variance_share_is_that_of_logarithms():
    rng = np.random.default_rng(0)
    levels = np.repeat(list("abc"), 20)
    far = np.exp(np.repeat([0.0, 1.0, 2.0], 20)[:, None] + rng.normal(size=(60, 3)))
    expected = [plain_share(np.log(column), levels) for column in far.T]
    assert np.allclose(variance_share(far, levels), expected)
    for changed in (1e-3 * far, far**2, np.sqrt(far)):  # another unit, and d_B for a length or the other way round
        assert np.allclose(variance_share(changed, levels), expected)
    assert abs(plain_share(far[:, 0] ** 2, levels) - plain_share(far[:, 0], levels)) > 0.1


def test_one_far_run_does_not_own_the_variance():
    """A factor that trebles distances is seen; one run a hundred times as far hides it only without logs."""
    rng = np.random.default_rng(1)
    levels = np.repeat(["low", "high"], 40)
    far = np.where(levels == "low", 1.0, 3.0) * np.exp(0.1 * rng.normal(size=80))
    far[0] = 100.0
    assert plain_share(far, levels) < 0.1 and variance_share(far[:, None], levels)[0] > 0.4


def test_variance_share_leaves_out_what_is_missing_and_says_when_nothing_varies():
    far = np.array([[1.0, 2.0, np.nan], [2.0, 2.0, np.nan], [8.0, 2.0, 1.0], [np.nan, 2.0, np.nan]])
    found = variance_share(far, ["a", "a", "b", "b"])
    assert found[0] == pytest.approx(plain_share(np.log([1.0, 2.0, 8.0]), ["a", "a", "b"]))
    assert np.isnan(found[1:]).all()


def test_groups_are_the_witnesses_and_not_their_members():
    """Two families of fifty runs each, far apart: runs drawn again say .1, families say that two are too few."""
    rng = np.random.default_rng(2)
    groups = np.repeat(["fc", "vit"], 50)
    values = np.where(groups == "fc", 0.0, 1.0) + 0.01 * rng.normal(size=100)
    value, low, high = mean_over_groups(values, groups)
    drawn = bootstrap_interval(values, rng=rng)
    assert value == values.mean() and high - low > 10 * (drawn[1] - drawn[0])
    assert np.isnan(mean_over_groups(values, np.zeros(100))[1:]).all() and np.isnan(mean_over_groups([], [])).all()


def test_more_runs_of_a_group_do_not_move_the_interval_of_balanced_groups():
    once = mean_over_groups([1.0, 2.0, 4.0], list("abc"))
    assert np.allclose(mean_over_groups(np.repeat([1.0, 2.0, 4.0], 30), np.repeat(list("abc"), 30)), once)


def _runs(n=24, seed=0):
    """Outcomes that one set of numbers tells and another does not; configurations of two seeds, two families."""
    rng = np.random.default_rng(seed)
    told, noise = rng.normal(size=n), rng.normal(size=n)
    outcome = pd.DataFrame({"test error": told + 0.1 * rng.normal(size=n), "gap": rng.normal(size=n)})
    sets = {"told": pd.DataFrame({"x": told}), "noise": pd.DataFrame({"x": noise})}
    return sets, outcome, np.arange(n) // 2, np.repeat(["a", "b"], n // 2)


def test_a_set_of_numbers_more_moves_no_score_of_another():
    sets, outcome, configuration, families = _runs()
    rounds = held_out.rounds_of(families, configuration, "families")
    options = {"n_null": 19, "seed": 0, "stream": partial(stream, 0)}
    both = held_out.scores(sets, outcome, rounds, configuration, **options)
    alone = held_out.scores({"noise": sets["noise"]}, outcome, rounds, configuration, **options)
    assert both.loc[alone.index].equals(alone)
    assert both.R2["configurations", "told", "test error"] > 0.9 > 0.1 > alone.R2.max()
    assert both.p["configurations", "told", "test error"] == 1 / 20


def test_a_gain_is_judged_against_the_same_numbers_of_other_configurations():
    sets, outcome, configuration, families = _runs()
    rounds = held_out.rounds_of(families, configuration, "families")
    parts = {"nothing": sets["noise"]}, outcome, rounds, configuration, families
    options = {"n_null": 99, "seed": 0, "stream": partial(stream, 0)}
    gains = held_out.judged(held_out.gains(sets["told"], *parts, **options))
    clear = gains.loc["configurations", "nothing", "test error"]
    assert clear.verdict == claims.HOLDS and clear.number == in_words(clear.gain, clear.low, clear.high)
    assert gains.verdict["configurations", "nothing", "gap"] != claims.HOLDS
    assert (gains["p corrected"] >= gains.p).all()


def test_nothing_is_held_out_where_nothing_can_be():
    assert held_out.rounds_of(["a"] * 3, [0, 1, 2], "families") == {}
    assert list(held_out.rounds_of(["a"] * 9, range(9), "families")) == ["configurations"]


def test_stations_are_where_runs_on_random_labels_get_and_lend_them_no_corner():
    clock = {
        run: pd.DataFrame({"progress": np.linspace(0, top, n)}) for run, top, n in (("a", 1.0, 40), ("noise", 0.5, 4))
    }
    at = by_heart.common_stations(clock, ["a"], ["noise"], n_stations=4)
    assert np.isclose(at.values[-1], 0.49) and np.isclose(at.values[-1] / at.values[0], 4.0) and at.corners == 2
    few = pd.DataFrame({"progress": [0.0, 1.0]})
    assert by_heart.points_at(None, "few", few, at) is None, "its predictions are not even read"


def test_results_of_a_table_have_plain_names_and_what_each_row_says():
    rows = pd.DataFrame({"rho": [0.5], "low": [0.1], "high": [0.9], "runs": [7]}, index=["... bow, early: all"])
    found = claims.results_of(rows, "rank_{}", "rho", low="low", high="high", n="runs", note="Spearman")
    assert found == {"rank_bow_early_all": claims.result(0.5, low=0.1, high=0.9, n=7, note="Spearman")}


def test_the_guess_is_the_mean_of_the_others():
    target = np.array([1.0, 3.0, 10.0])
    guess = held_out_errors(np.zeros((3, 1)), target, ["a", "a", "b"], n_splits=2)[1]
    assert guess.tolist() == [81.0, 49.0, 64.0]
