"""Neighbours of other seeds (chapters 40 and 51) and further conclusions, in worlds with and without an effect."""

import numpy as np
import pandas as pd
import pytest

from manifold_utils import statistics
from manifold_utils.studies import robustness

FAMILIES, SEEDS, N_SETTINGS, N_POINTS = list("abcdef"), (1, 2, 3), 3, 12


def world(rng, *, family, twin):
    """Runs on a common road: `family` moves all runs of a family aside, `twin` those of one family and seed together.

    Half of the points lie below progress .1, where a twin has not left the place of its initial network.
    """
    clock = np.r_[np.linspace(0, 0.09, N_POINTS // 2), np.linspace(0.15, 1, N_POINTS // 2)]
    tables, places = [], []
    aside = {a: family * rng.normal(size=4) for a in FAMILIES}
    for a in FAMILIES:
        for seed in SEEDS:
            start = twin * rng.normal(size=4)
            for k in range(N_SETTINGS):
                tables.append(pd.DataFrame({"run": f"{a}{seed}{k}", "level": a, "seed": seed, "clock": clock}))
                road = np.zeros((N_POINTS, 5))
                road[:, 0] = 3 * clock
                road[:, 1:] = np.sin(np.pi * clock)[:, None] * (aside[a] + 0.02 * rng.normal(size=4)) + start
                places.append(road)
    place = np.concatenate(places)
    return ((place[:, None] - place) ** 2).sum(-1), pd.concat(tables, ignore_index=True)


def old_excess(D, table, n_neighbours=10):
    """What chapters 40 and 51 counted before: any other run, any progress."""
    runs, levels = table.run.to_numpy(), table.level.to_numpy()
    other = runs[:, None] != runs
    order = np.argsort(np.where(other, D, np.inf), axis=1)[:, :n_neighbours]
    alike = levels[order] == levels[:, None]
    return alike.mean() / ((levels[:, None] == levels) & other).sum(axis=1).mean() * other.sum(axis=1).mean()


def judged(D, table, **options):
    about = table.level, table.seed, table.clock
    share, chance = robustness.neighbour_share(D, *about, rng=np.random.default_rng(0), **options)
    return share / chance.mean(), statistics.p_value(share, chance, side="high")


def test_twins_and_early_points_no_longer_make_an_effect():
    old, new, p = [], [], []
    for k in range(20):
        D, table = world(np.random.default_rng(k), family=0.0, twin=0.5)
        old.append(old_excess(D, table))
        excess, p_value = judged(D, table)
        new.append(excess)
        p.append(p_value)
    assert np.min(old) > 2.5, "the old count finds architectures in every one of these worlds, where there are none"
    assert abs(np.mean(new) - 1) < 0.15
    assert np.mean(np.array(p) <= 0.05) <= 0.15 and np.median(p) > 0.25


def test_an_architecture_with_a_place_of_its_own_is_found_among_other_seeds():
    for k in range(5):
        D, table = world(np.random.default_rng(k), family=0.5, twin=0.05)
        excess, p_value = judged(D, table)
        assert excess > 2 and p_value <= 0.01


def test_points_of_the_same_seed_and_early_points_do_not_count_whatever_they_are(monkeypatch):
    D, table = world(np.random.default_rng(0), family=0.2, twin=0.2)
    expected = judged(D, table)
    same = (table.seed.to_numpy()[:, None] == table.seed.to_numpy()).astype(float)
    early = (table.clock < 0.1).to_numpy()
    moved = np.where(same > 0, np.random.default_rng(1).random(D.shape), D)
    moved[early], moved[:, early] = 0.0, 0.0
    assert judged(moved, table) == expected
    blocks = judged(D, table, n_neighbours=3)
    monkeypatch.setattr(robustness, "BLOCK_ROWS", 7)
    assert judged(D, table, n_neighbours=3) == blocks


def test_one_seed_has_no_neighbours_of_others():
    share, chance = robustness.neighbour_share(
        np.ones((4, 4)), list("aabb"), [1] * 4, np.ones(4), n_permutations=3, rng=np.random.default_rng(0)
    )
    assert np.isnan(share) and chance.shape == (3,) and np.isnan(chance).all()


def test_distance_ratio_on_two_clusters():
    rng = np.random.default_rng(4)
    level = np.repeat(["a", "b"], 20)
    place = rng.normal(size=(40, 2)) + 50 * (level == "b")[:, None]
    D = ((place[:, None] - place) ** 2).sum(-1)
    runs = np.repeat(np.arange(10), 4)
    assert robustness.distance_ratio(D, runs, level, np.zeros(40)) > 100
    mixed = rng.permutation(level.reshape(10, 4)[:, 0]).repeat(4)
    assert robustness.distance_ratio(D, runs, mixed, np.zeros(40)) < 100
    assert np.isnan(robustness.distance_ratio(D, runs, np.repeat("a", 40), np.zeros(40)))


def test_conclusions_of_a_curve():
    s = np.repeat(np.linspace(0, 1, 12), 4)
    runs, level = np.tile(np.arange(4), 12), np.tile(["a", "a", "b", "b"], 12)
    place = np.stack([3 * s, 0.2 * np.sin(np.pi * s) * np.where(level == "b", 1, -1), 0.01 * runs * s], axis=1)
    D = ((place[:, None] - place) ** 2).sum(-1)
    found, fit = robustness.conclusions(D, runs, level, runs % 2, s, rng=np.random.default_rng(0))
    assert set(found) == set(robustness.CONCLUSIONS) and fit.embedding_.shape == (48, 10)
    assert found["stress_3"] == pytest.approx(1) and found["axis_1_progress"] > 0.99
    assert found["architecture_ratio"] > 1
