"""Joining: nearest points of other runs, tables on a small atlas, when a curve joins, and the excess half-way."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_utils.geometry import progress
from manifold_utils.profiles import CONFIGURATION
from manifold_utils.statistics import nearest_of_others
from manifold_utils.studies.initialisations import (
    COLUMNS,
    candidates,
    excess,
    excess_table,
    joining_at_equal_progress,
    joining_table,
    joins_at,
    shuffled_ends,
    yardstick,
)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 8))
def test_nearest_is_the_brute_force_minimum(seed, n_rows, n_columns):
    rng = np.random.default_rng(seed)
    cross = rng.random((n_rows, n_columns))
    row_runs, column_runs = rng.integers(3, size=n_rows), rng.integers(3, size=n_columns)
    found = nearest_of_others(cross, row_runs, column_runs)
    for i in range(n_rows):
        allowed = [cross[i, j] for j in range(n_columns) if column_runs[j] != row_runs[i]]
        assert found[i] == min(allowed) if allowed else np.isnan(found[i])


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="2 and 1 names"):
        nearest_of_others(np.zeros((2, 2)), ["a", "b"], ["a"])


class FakeAtlas:
    """Three runs of two points each on a line: two ordinary ones and one that was fitted to random labels first."""

    def __init__(self, families=("fc", "fc", "fc")):
        place = np.array([0.0, 1.0, 0.1, 1.1, 5.0, 1.05])
        self.matrix = np.abs(place[:, None] - place)
        self.points = pd.DataFrame(
            {
                "run": np.repeat(["a", "b", "c"], 2),
                "grid": np.repeat(["main", "main", "initialisations"], 2),
                "architecture": np.repeat(families, 2),
                "scale": 1.0,
                "seed": np.repeat([1, 2, 3], 2),
                "initialisation": np.repeat(["ordinary", "ordinary", "random_labels"], 2),
                "phase": "main",
                "step": [0, 10] * 3,
                "epoch": [0.0, 1.0] * 3,
                "progress_train": [0.0, 0.9, 0.0, 0.95, 0.1, 0.9],
            }
        )
        self.points.loc[4, "phase"] = "pretrain"

    def table(self, grids):
        return self.points[self.points.grid.isin(grids)]

    def distances(self, split):
        return self.matrix


def test_table_compares_with_other_ordinary_runs_only():
    table = joining_table(FakeAtlas(), "train")
    assert list(table.columns) == COLUMNS and table.index.tolist() == list(range(6))
    assert np.allclose(table.distance, [0.1, 0.1, 0.1, 0.1, 3.9, 0.05])  # 5.0 to 1.1, and 1.05 to 1.0 or 1.1
    assert table.progress.tolist() == FakeAtlas().points.progress_train.tolist()


def test_runs_of_one_seed_are_not_compared():
    atlas = FakeAtlas()
    atlas.points.seed = np.repeat([1, 2, 1], 2)
    assert np.allclose(joining_table(atlas, "train").distance[4:], [3.9, 0.05])
    atlas.points.seed = 1
    assert joining_table(atlas, "train").distance.isna().all()


def test_other_architectures_are_left_out():
    table = joining_table(FakeAtlas(("fc", "vit", "fc")), "train")
    assert set(table.run) == {"a", "c"}
    assert np.isnan(table.distance[:2]).all(), "an ordinary run without a second one of its family has no yardstick"
    assert np.allclose(table.distance[2:], [4.0, 0.05])


def test_equal_progress_masks_what_a_run_did_not_travel():
    atlas = FakeAtlas()
    runs = atlas.points.groupby("run").first()
    s = np.array([0.05, 0.5, 0.93])
    values = np.broadcast_to(np.array([[0, 1, 3], [1, 0, 2], [3, 2, 0.0]]), (3, 3, 3))
    dataset = xr.Dataset({"distance": (("s", "run", "other"), values)}, coords={"s": s})
    found = joining_at_equal_progress(dataset, runs, atlas.points, "train")
    assert np.allclose(found[0], [1, 1, np.nan], equal_nan=True)  # ends at 0.9
    assert np.allclose(found[1], [1, 1, 1])
    assert np.isnan(found[2]).all(), "the main phase of c is one point, at 0.9"
    atlas.points.loc[4, "phase"] = "main"
    assert np.allclose(
        joining_at_equal_progress(dataset, runs, atlas.points, "train")[2], [np.nan, 2, np.nan], equal_nan=True
    )


@pytest.mark.parametrize(
    "distance, expected",
    [([0.5, 0.5], 0.0), ([2, 0.5], 1.0), ([0.5, 2], np.nan), ([2, np.nan], np.nan), ([np.nan, 0.5], 1.0)],
)
def test_joins_at(distance, expected):
    assert joins_at(distance, [1, 1], [0, 1]) == pytest.approx(expected, nan_ok=True)


class MadeUpAtlas:
    """Networks that learn each sample at a time of its own: two families, three seeds, two settings, one odd start.

    The times are the families' plus a little of each run's own. A run of the unusual grid has the `share` of its
    samples learned in an order of its own, within classes.
    """

    CLASSES, SAMPLES = 4, 160
    n_classes = CLASSES

    def __init__(self, share, n_seeds=3):
        rng = np.random.default_rng(7)
        self._labels = np.arange(self.SAMPLES) % self.CLASSES
        base, rows, self.predictions = rng.random(self.SAMPLES), [], {}
        for family in ("fc", "vit"):
            family_times = base + 0.1 * rng.normal(size=self.SAMPLES)
            for seed in range(n_seeds):
                for grid, batch_size in [("main", 50), ("main", 200), ("initialisations", 50)]:
                    times = family_times + 0.1 * rng.normal(size=self.SAMPLES)
                    odd = grid == "initialisations"
                    if odd:
                        times = self.reordered(times, share, rng)
                    run = f"{family}-{seed}-{grid}-{batch_size}"
                    self.predictions[run] = self.learned(times)
                    kind = "random_labels" if odd else "ordinary"
                    row = dict.fromkeys(CONFIGURATION, 0) | {"architecture": family, "scale": 1.0, "seed": seed}
                    rows.append(row | {"grid": grid, "batch_size": batch_size, "initialisation": kind, "run": run})
        self.runs = pd.DataFrame(rows).set_index("run").assign(status="finished")
        clocks = {run: progress(p, self._labels) for run, p in self.predictions.items()}
        tables = [pd.DataFrame({"run": r, "phase": "main", "step": range(len(c)), "progress_train": c})
                  for r, c in clocks.items()]  # fmt: skip
        self.points = pd.concat(tables, ignore_index=True)

    def reordered(self, times, share, rng):
        for label in range(self.CLASSES):
            mine = np.flatnonzero(self._labels == label)
            mine = mine[: round(share * len(mine))]
            times[mine] = times[rng.permutation(mine)]
        return times

    def learned(self, times):
        clock = np.linspace(-0.6, 1.6, 24)[:, None]
        right = 1 / self.CLASSES + (0.999 - 1 / self.CLASSES) / (1 + np.exp(-(clock - times) / 0.06))
        probs = np.repeat(((1 - right) / (self.CLASSES - 1))[..., None], self.CLASSES, axis=2)
        probs[:, np.arange(self.SAMPLES), self._labels] = right
        return np.log(probs).astype(np.float32)

    def labels(self, split):
        return self._labels

    def log_probs(self, split, runs=None):
        return np.concatenate([self.predictions[run] for run in runs])

    def run_log_probs(self, run, split):
        return self.predictions[run]


def half_way(share, of="distance"):
    table = excess_table(MadeUpAtlas(share), "train", np.random.default_rng(0))
    return excess(table[table.s == 0.5], of)


def test_runs_that_join_have_no_excess_and_their_shuffled_selves_are_far():
    joined, shuffled = half_way(0.0), half_way(0.0, "shuffled")
    assert 0.8 < joined["value"] < 1.25 and joined["low"] < joined["value"] < joined["high"] < 2.0
    assert (joined["n"], joined["n_cells"]) == (6, 2)
    assert shuffled["value"] > 4.0 > 2.0 > joined["high"], "they share no more than the curve with anybody"


def test_runs_that_keep_a_distance_exceed_the_bound_although_they_end_near_truth():
    apart = half_way(0.6)
    assert apart["low"] > 2.0
    atlas = MadeUpAtlas(0.6)
    assert min(atlas.points.groupby("run").progress_train.max()) > 0.9
    assert apart["value"] == pytest.approx(half_way(0.6)["value"]), "the same draws give the same number"


def test_even_shuffled_runs_end_nearer_than_they_start_away():
    """End over start is a tautology: it is small for runs that have nothing but the curve in common with others."""
    atlas = MadeUpAtlas(0.0)
    for run in atlas.runs.index[atlas.runs.grid == "initialisations"]:
        # these begin certain and wrong
        atlas.predictions[run] = np.concatenate(
            [np.roll(atlas.predictions[run][-1:], 1, axis=2), atlas.predictions[run]]
        )
        first = atlas.points[atlas.points.run == run].iloc[:1].assign(progress_train=0.0)
        atlas.points = pd.concat([first, atlas.points], ignore_index=True)
    ends = shuffled_ends(
        atlas, "train", atlas.runs.index[atlas.runs.grid == "initialisations"], np.random.default_rng(0)
    )
    assert len(ends) == 6 and (ends["last"] / ends["first"]).max() < 0.1


def test_candidates_are_of_the_family_and_of_other_seeds():
    runs = pd.DataFrame({"architecture": ["fc", "fc", "vit"], "scale": 1.0, "seed": [1, 2, 2]})
    assert candidates(runs, runs).tolist() == [[False, True, False], [True, False, False], [False, False, False]]


def test_a_run_and_its_yardstick_have_the_same_candidates():
    atlas = MadeUpAtlas(0.0)
    atlas.runs = atlas.runs.drop("fc-2-main-200")  # the third seed has fewer settings
    table = excess_table(atlas, "train", np.random.default_rng(0), stations=[0.5], n_shuffles=1).set_index("run")
    expected = {"fc-0-initialisations-50": 3, "fc-2-initialisations-50": 4, "vit-0-initialisations-50": 4}
    assert table.n_candidates[list(expected)].to_dict() == expected
    twin = atlas.runs.loc[["fc-0-main-50"]]
    assert candidates(twin, atlas.runs[atlas.runs.grid == "main"]).sum() == 3


def test_the_yardstick_prefers_the_same_settings_and_never_takes_another_seed():
    atlas = MadeUpAtlas(0.0)
    runs, others = (atlas.runs[atlas.runs.grid == grid] for grid in ("initialisations", "main"))
    distance = np.arange(1.0, len(others) + 1)[:, None]
    own = others.reset_index().run.str.endswith("-50").to_numpy()
    assert np.allclose(yardstick(runs, others, distance), distance[own])
    changed = runs.assign(batch_size=7)  # no ordinary run has this one: all settings of the seed stand for it
    pairs = distance.reshape(-1, 2)
    assert np.allclose(yardstick(changed, others, distance).ravel(), np.sqrt(pairs.prod(axis=1)))
    assert np.isnan(yardstick(runs.assign(seed=9), others, distance)).all()


def test_a_run_that_never_gets_there_has_no_number():
    atlas = MadeUpAtlas(0.0)
    name = "fc-0-initialisations-50"
    rows = atlas.points.run == name
    atlas.points.loc[rows, "progress_train"] = atlas.points.progress_train[rows].clip(upper=0.4)
    table = excess_table(atlas, "train", np.random.default_rng(0), n_shuffles=1)
    mine = table[table.run == name].set_index("s")
    assert mine.reached.tolist() == [True, False, False] and mine.distance.isna().tolist() == [False, True, True]
    assert excess(table[table.s == 0.5])["n"] == 5


def test_without_a_second_cell_there_is_a_value_and_no_interval():
    one = pd.DataFrame({"kind": ["a", "a"], "family": "fc", "distance": [2.0, 8.0], "held_out": 1.0})
    found = excess(one)
    assert found["value"] == 4.0 and np.isnan([found["low"], found["high"]]).all()
    assert np.isnan(excess(one[:0])["value"])
