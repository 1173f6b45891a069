"""Train and test predictions in one space: pairings, their mean in closed form, and the gap beyond its cost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_utils.distances import METRICS, pairwise
from manifold_utils.geometry import ignorance, truth
from manifold_utils.studies import joint


def predictions(rng, labels, n_classes=3, spread=1.5):
    logits = spread * rng.normal(size=(len(labels), n_classes)) + 2.0 * np.eye(n_classes)[labels]
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.booleans())
def test_pairs_agree_in_class_and_use_each_sample_once(seed, by_rank):
    rng = np.random.default_rng(seed)
    y_train, y_test = rng.integers(4, size=30), rng.integers(4, size=17)
    difficulty = (rng.random(30), rng.random(17)) if by_rank else None
    train, test = joint.pair_samples(y_train, y_test, rng=None if by_rank else rng, difficulty=difficulty)
    assert np.array_equal(y_train[train], y_test[test])
    assert len(set(train)) == len(train) == len(set(test))
    assert len(train) == sum(min((y_train == c).sum(), (y_test == c).sum()) for c in range(4))
    for c in range(4) if by_rank else ():
        inside = y_train[train] == c
        assert np.all(np.diff(difficulty[0][train[inside]]) >= 0) and np.all(np.diff(difficulty[1][test[inside]]) >= 0)


def test_pairing_needs_one_rule_and_a_common_class():
    with pytest.raises(ValueError, match="either rng"):
        joint.pair_samples([0], [0])
    with pytest.raises(ValueError, match="no class"):
        joint.pair_samples([0], [1], rng=np.random.default_rng(0))


@pytest.mark.parametrize("metric", METRICS)
def test_expected_distance_is_the_mean_over_all_pairings(metric):
    rng = np.random.default_rng(1)
    y = np.array([0, 0, 0, 1, 1, 1])
    p, q = predictions(rng, y), predictions(rng, y)
    from itertools import permutations

    draws = []
    for first in permutations(range(3)):
        for second in permutations(range(3, 6)):
            draws.append(pairwise(p[None], q[None][:, list(first + second)], metric=metric)[0, 0])
    assert joint.expected_distance(p, y, q, y, metric=metric) == pytest.approx(np.mean(draws), rel=1e-9)


def test_random_pairings_scatter_around_the_closed_form():
    rng = np.random.default_rng(2)
    y_train, y_test = rng.integers(3, size=90), rng.integers(3, size=60)
    p, q = predictions(rng, y_train), predictions(rng, y_test)
    draws = []
    for _ in range(300):
        both = joint.joint_predictions(p[None], q[None], joint.pair_samples(y_train, y_test, rng=rng))
        draws.append(pairwise(both)[0, 1])
    standard_error = np.std(draws) / np.sqrt(len(draws))
    assert abs(np.mean(draws) - joint.expected_distance(p, y_train, q, y_test)) < 5 * standard_error


def test_gap_is_nothing_for_samples_alike_and_something_otherwise():
    rng = np.random.default_rng(3)
    y = np.repeat([0, 1, 2], 100)
    alike = [joint.split_gap(predictions(rng, y), y, predictions(rng, y), y)[0] for _ in range(10)]
    assert abs(np.mean(alike)) < 4 * np.std(alike) / np.sqrt(len(alike)) + 1e-4
    p, q = predictions(rng, y, spread=0.5), predictions(rng, y, spread=4.0)
    gap, cross, floor = joint.split_gap(p, y, q, y)
    assert gap == pytest.approx(cross - floor) and gap > 20 * abs(np.mean(alike))
    roots = [np.stack([np.exp(x[y == c] / 2).mean(axis=0) for c in range(3)]) for x in (p, q)]
    assert gap == pytest.approx(0.5 * ((roots[0] - roots[1]) ** 2).sum(axis=1).mean(), abs=6e-3)
    assert joint.split_gap(p, y, q, y, metric="bhattacharyya")[0] < 0, "d_B is no squared Euclidean distance"


def test_ends_are_one_point_for_both_splits():
    y_train, y_test = np.array([0, 1, 2, 2]), np.array([2, 1, 0])
    for train, test in ((truth(y_train, 3), truth(y_test, 3)), (ignorance(4, 3), ignorance(3, 3))):
        both = joint.joint_predictions(train, test, joint.pair_samples(y_train, y_test, rng=np.random.default_rng(0)))
        assert np.array_equal(both[0], both[1])
        assert joint.expected_distance(train[0], y_train, test[0], y_test) == pytest.approx(0, abs=1e-12)


def test_a_class_of_one_sample_cannot_be_its_own_yardstick():
    with pytest.raises(ValueError, match="no pair"):
        joint.expected_distance(np.log([[0.5, 0.5]]), [0])
