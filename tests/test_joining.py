"""Joining: nearest points of other runs, tables on a small atlas, and when a curve joins."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_utils.statistics import nearest_of_others
from manifold_utils.studies.initialisations import COLUMNS, joining_at_equal_progress, joining_table, joins_at


@settings(max_examples=30, deadline=None)
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
