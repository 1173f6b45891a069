"""Nulls: what a shuffle within classes keeps, exact means and variances, pairs of runs, runs fitted to other labels."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_utils.datasets import load_dataset
from manifold_utils.distances import pairwise
from manifold_utils.geometry import exchange_classes, geodesic, ignorance, progress, truth
from manifold_utils.profiles import FACTORS, DatasetConfig, RunConfig
from manifold_utils.statistics import (
    KINDS,
    METRICS,
    best_matching,
    compare_with_shuffled,
    null_distances,
    pairs_of_runs,
    permutations_within_class,
    ratio_over_runs,
    shuffle_within_class,
)
from manifold_utils.statistics.intervals import interval, resamples
from manifold_utils.training import fitted_labels, train_run

seeds = st.integers(0, 10**6)


def some_run(rng, n_points=3, n_samples=12, n_classes=3, sharpness=3.0):
    logits = sharpness * rng.standard_normal((n_points, n_samples, n_classes))
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def loss(run, labels):
    return -run[:, np.arange(len(labels)), labels].mean(axis=1)


@settings(max_examples=30)
@given(seeds, st.integers(1, 30), st.integers(2, 5))
def test_permutations_stay_within_their_class(seed, n_samples, n_classes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n_samples)
    orders = permutations_within_class(labels, 4, rng)
    assert np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(n_samples), (4, 1)))
    assert np.array_equal(labels[orders], np.tile(labels, (4, 1)))


@settings(max_examples=30)
@given(seeds)
def test_shuffling_keeps_curves_progress_and_distances_to_both_ends(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=12)
    run = some_run(rng)
    shuffled = shuffle_within_class(run, labels, rng)
    ends = geodesic(ignorance(12, 3), truth(labels, 3), [0, 0.3, 0.7, 1])  # the argmin over these points is progress
    assert np.allclose(loss(shuffled, labels), loss(run, labels), rtol=0, atol=1e-12)
    assert np.allclose(progress(shuffled, labels), progress(run, labels), rtol=0, atol=1e-9), "what its search resolves"
    for metric in ("bhattacharyya", "hellinger", "geodesic"):
        before, after = (pairwise(values, ends, metric=metric) for values in (run, shuffled))
        assert np.allclose(after, before, rtol=0, atol=1e-12)


def test_all_checkpoints_are_shuffled_alike_and_every_order_comes_up_equally_often():
    labels, rng = np.array([0, 0, 0, 1]), np.random.default_rng(0)
    run = some_run(rng, n_points=5, n_samples=4, n_classes=2)
    shuffled = shuffle_within_class(run, labels, rng)
    (order,) = [p for p in permutations(range(4)) if np.array_equal(shuffled[0], run[0, list(p)])]
    assert np.array_equal(shuffled, run[:, list(order)])
    drawn = permutations_within_class(labels, 6000, rng)
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert len(counts) == 6 and np.all(np.abs(counts - 1000) < 5 * np.sqrt(1000))


@settings(max_examples=20)
@given(seeds, st.sampled_from(METRICS))
def test_mean_variance_and_least_distance_are_those_of_all_permutations(seed, metric):
    rng = np.random.default_rng(seed)
    labels = np.array([0, 1, 0, 1, 0, 1, 0])  # 4! times 3! permutations, all of them tried
    p, q = some_run(rng, 2, 7), some_run(rng, 2, 7)
    found = null_distances(p, q, labels, metric=metric, n_shuffles=0)
    first, second = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    every = []
    for a in permutations(first):
        for b in permutations(second):
            order = np.arange(7)
            order[first], order[second] = a, b
            every.append(np.mean([pairwise(p[[t]], q[[t]][:, order], metric=metric)[0, 0] for t in range(2)]))
    assert np.isclose(found.real, every[0], rtol=1e-10)
    assert np.isclose(found.expected, np.mean(every), rtol=1e-10)
    assert np.isclose(found.spread, np.std(every), rtol=1e-8)
    assert np.isclose(best_matching(p, q, labels, metric=metric)[0], min(every), rtol=1e-10)


@settings(max_examples=15)
@given(seeds, st.sampled_from(METRICS))
def test_draws_are_distances_to_shuffled_runs(seed, metric):
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=9)
    p, q = some_run(rng, 2, 9, 2), some_run(rng, 2, 9, 2)
    found = null_distances(p, q, labels, metric=metric, n_shuffles=5, rng=np.random.default_rng(seed))
    same = np.random.default_rng(seed)
    order = np.tile(np.arange(9), (5, 1))
    for label in np.unique(labels):  # the same generator, class by class
        members = np.flatnonzero(labels == label)
        order[:, members] = members[same.permuted(np.tile(np.arange(len(members)), (5, 1)), axis=1)]
    by_hand = [np.mean([pairwise(p[[t]], q[[t]][:, o], metric=metric)[0, 0] for t in range(2)]) for o in order]
    assert np.allclose(found.draws, by_hand, atol=1e-12)


def test_a_case_by_hand():
    # P is sure on its first sample and ignorant on the second, Q the other way round: the swap makes them equal
    p = np.log([[[1.0, 0.0], [0.5, 0.5]]], where=[[[True, False], [True, True]]], out=np.full((1, 2, 2), -np.inf))
    q = p[:, ::-1]
    found = null_distances(p, q, [0, 0], n_shuffles=400, rng=np.random.default_rng(0))
    half = np.log(2) / 2  # -log sqrt(1/2) on both samples
    assert np.isclose(found.real, half) and np.isclose(found.expected, half / 2) and np.isclose(found.spread, half / 2)
    assert np.isclose(found.ratio, 2.0) and found.p_value == 1.0
    assert set(np.round(found.draws, 12)) == {0.0, round(half, 12)}
    assert best_matching(p, q, [0, 0])[1].tolist() == [1, 0]


def test_equal_runs_are_nearer_than_chance_and_unrelated_ones_are_not():
    rng, labels = np.random.default_rng(3), np.repeat(np.arange(3), 20)
    run = some_run(rng, 4, 60)
    near = null_distances(run, run + 0.0, labels, n_shuffles=99, rng=rng)
    assert near.real < 1e-12 < near.expected and near.p_value == 0.01
    p = [null_distances(some_run(rng, 4, 60), run, labels, n_shuffles=99, rng=rng).p_value for _ in range(60)]
    assert 0.3 < np.mean(p) < 0.7 and np.mean(np.array(p) <= 0.05) <= 0.2


def test_infinite_distances_stay_infinite():
    with np.errstate(divide="ignore"):
        p, q = np.log([[[1.0, 0.0], [1.0, 0.0]]]), np.log([[[0.0, 1.0], [0.5, 0.5]]])
    found = null_distances(p, q, [0, 0], n_shuffles=3, rng=np.random.default_rng(0))
    assert np.isinf(found.real) and np.isinf(found.expected) and np.isnan(found.spread)
    bounded = null_distances(p, q, [0, 0], metric="hellinger", n_shuffles=0)
    assert bounded.real <= 1 and np.isfinite(bounded.expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "euclidean"}, "unknown metric"),
        ({"log_q": np.zeros((1, 3, 2))}, "apply log_softmax"),
        ({"log_q": np.full((1, 4, 2), -np.log(2))}, "same points"),
        ({"labels": [0, 1]}, "2 labels for 3 samples"),
        ({"labels": [0, 1, 2]}, "outside"),
        ({"log_p": np.full((1, 3, 2), np.nan)}, "point 0, sample 0"),
        ({"n_shuffles": 9}, "give rng"),
        ({"log_p": np.zeros(3)}, "got shape"),
    ],
)
def test_wrong_input_is_refused(change, message):
    uniform = np.full((1, 3, 2), -np.log(2))
    given_ = {"log_p": uniform, "log_q": uniform, "labels": [0, 1, 0], "n_shuffles": 0} | change
    with pytest.raises(ValueError, match=message):
        null_distances(given_.pop("log_p"), given_.pop("log_q"), given_.pop("labels"), **given_)


def table_of_runs(**columns):
    n = len(next(iter(columns.values())))
    base = dict.fromkeys(FACTORS, 1.0) | {"architecture": "fc", "optimizer": "sgd"}
    return pd.DataFrame({**{k: [v] * n for k, v in base.items()}, **columns})


def test_pairs_differ_in_what_they_say_and_never_share_a_seed():
    runs = table_of_runs(architecture=["fc"] * 4 + ["vit"] * 2, optimizer=["sgd", "sgd", "adam", "adam"] + ["sgd"] * 2,
                         seed=[1, 2, 1, 2, 1, 2])  # fmt: skip
    pairs = pairs_of_runs(runs)
    assert pairs[pairs.kind == "seeds"][["first", "second"]].to_numpy().tolist() == [[0, 1], [2, 3], [4, 5]]
    assert pairs[pairs.kind == "optimisers"][["first", "second"]].to_numpy().tolist() == [[0, 3], [1, 2]]
    assert pairs[pairs.kind == "architectures"][["first", "second"]].to_numpy().tolist() == [[0, 5], [1, 4]]
    assert (runs.seed.to_numpy()[pairs["first"]] != runs.seed.to_numpy()[pairs["second"]]).all()
    few = pairs_of_runs(runs, 1, np.random.default_rng(0))
    assert few.kind.tolist() == list(KINDS)


def test_the_table_of_pairs_agrees_with_single_comparisons():
    rng, labels = np.random.default_rng(1), np.array([0, 0, 1, 1, 2, 2])
    runs = np.stack([some_run(rng, 2, 6) for _ in range(4)])
    pairs = pd.DataFrame({"first": [0, 2, 0], "second": [1, 3, 3]}, index=[5, 7, 9])
    table, draws = compare_with_shuffled(runs, labels, pairs, n_shuffles=7, rng=rng)
    assert table.index.tolist() == [5, 7, 9] and all(d.shape == (3, 7) for d in draws.values())
    for _, row in table.iterrows():
        for metric in METRICS:
            u, v = int(row["first"]), int(row["second"])
            one = null_distances(runs[u], runs[v], labels, metric=metric, n_shuffles=0)
            assert np.isclose(row[f"real_{metric}"], one.real) and np.isclose(row[f"shuffled_{metric}"], one.expected)
            assert np.isclose(row[f"ratio_{metric}"], one.ratio)


def test_a_ratio_over_runs_is_a_ratio_of_means_and_its_interval_holds_it():
    rng = np.random.default_rng(2)
    first, second = np.triu_indices(12, 1)
    effect = rng.random(12)  # of the runs, so that pairs depend on one another
    above = pd.DataFrame({"first": first, "second": second, "value": 1 + effect[first] + effect[second]})
    below = above.assign(value=2.0)
    value, low, high = ratio_over_runs(above, below, rng=rng)
    assert np.isclose(value, above.value.mean() / 2) and low < value < high
    over_pairs = np.std([rng.choice(above.value, size=len(above)).mean() / 2 for _ in range(500)])
    assert (high - low) / 3.92 > 1.5 * over_pairs, "an interval over pairs would be too narrow"
    assert np.isnan(ratio_over_runs(above.iloc[:0], below, rng=rng)).all()


def test_a_ratio_over_runs_by_loops_over_its_draws():
    """Every draw that holds a pair of each side counts, also one that holds a single pair once."""
    above = pd.DataFrame({"first": [0, 0, 1], "second": [1, 2, 2], "value": [1.0, 2.0, 4.0]})
    below = pd.DataFrame({"first": [0], "second": [1], "value": [2.0]})
    ratios = []
    for times in resamples(3, 200, np.random.default_rng(0)):
        sides = []
        for table in (above, below):
            weight = times[table["first"]] * times[table["second"]]
            sides.append((weight * table.value).sum() / weight.sum() if weight.sum() else np.nan)
        ratios.append(sides[0] / sides[1])
    found = ratio_over_runs(above, below, n_resamples=200, rng=np.random.default_rng(0))
    assert found == pytest.approx((7 / 6, *interval(ratios)))


@settings(max_examples=20)
@given(seeds)
def test_exchanged_classes_move_loss_and_progress_to_the_true_labels(seed):
    rng = np.random.default_rng(seed)
    labels, fitted = rng.integers(3, size=(2, 10))
    run = some_run(rng, 3, 10)
    moved = exchange_classes(run, fitted, labels)
    assert np.allclose(loss(moved, labels), loss(run, fitted), rtol=0, atol=1e-12)
    assert np.allclose(progress(moved, labels), progress(run, fitted), rtol=0, atol=1e-9)
    assert np.array_equal(exchange_classes(moved, fitted, labels), run)
    with pytest.raises(ValueError, match="labels for 10 samples"):
        exchange_classes(run, fitted[:-1], labels)


@pytest.mark.parametrize("initialisation", ["ordinary", "random_labels"])
def test_fitted_labels_are_those_that_training_used(initialisation):
    digits = DatasetConfig(name="digits", n_train=200, n_test=50, record_every=2)
    data = load_dataset(digits)
    start = {"initialisation": initialisation, "pretrain_epochs": 0 if initialisation == "ordinary" else 1}
    config = RunConfig(
        dataset=digits, architecture="fc", scale=0.0625, epochs=2, batch_size=20, label_noise=1.0, **start
    )
    record = train_run(config, data)
    fitted = fitted_labels(config, data)
    assert fitted.shape == (100,) and not np.array_equal(fitted, data.y_train[::2])
    assert np.isclose(np.mean(record.log_probs["train"][-1].argmax(1) != fitted), record.info["fitted_error"])
