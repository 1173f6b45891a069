"""Runs that were fitted to labels without meaning, or start from an unusual place, on a clock of their own.

Which kind a run is, the labels that it was fitted to, its way past the checkpoints of ordinary runs, and its points at
equal stations of its own progress, cut down to equally many corners so that dimensions can be compared (those are
`generalisation.dimension`).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from manifold_utils import statistics, training, trajectories
from manifold_utils.datasets import load_dataset
from manifold_utils.distances import pairwise
from manifold_utils.trajectories import of_atlas

ORDINARY, NOISE = "ordinary", "random labels"
SHORT = 0.98  # of the progress that all reach: interpolation then never meets a last checkpoint


def kinds(runs):
    """What each run is: 'ordinary', 'random labels', or 'start: ...' for one from an unusual start; index of `runs`.

    Examples
    --------
    >>> runs = pd.DataFrame({"grid": ["main", "initialisations"], "initialisation": ["ordinary", "offset_0"]})
    >>> kinds(runs.assign(status="finished")).tolist()
    ['ordinary', 'start: offset 0']
    """
    names = {"main": ORDINARY, "random_labels": NOISE}
    kept = runs[(runs.status == "finished") & runs.grid.isin([*names, "initialisations"])]
    starts = "start: " + kept.initialisation.str.replace("_", " ")
    return kept.grid.map(names).fillna(starts).astype(object)


def fitted_labels(atlas, runs, data_dir=""):
    """The random labels that runs were fitted to, drawn again from each run's seed.

    Parameters
    ----------
    atlas : Atlas of trained runs
    runs : sequence of run names
    data_dir : str, see `load_dataset`; the data are read only if there are runs

    Returns
    -------
    dict of run -> ndarray of shape (n_train,), int
    """
    data = load_dataset(atlas.profile.dataset, data_dir) if len(runs) else None
    configs = {config.run_id: config for _, config in atlas.profile.configs()}
    return {run: training.fitted_labels(configs[run], data) for run in runs}


def way_past(atlas, runs, clock, ordinary, split="train"):
    """How far each checkpoint of some runs is from the nearest checkpoint of an ordinary run of another seed.

    Parameters
    ----------
    atlas : Atlas with its distances on `split`
    runs : sequence of run names
    clock : dict of run -> DataFrame of the run's checkpoints in its last phase, such as `of_atlas.own_clock`
    ordinary : sequence of the names of ordinary runs
    split : {"train", "test"}

    Returns
    -------
    DataFrame with the columns of the clocks, run, and nearest (nats); rows of `Atlas.table`, which is its index
    """
    table, matrix = atlas.table(), atlas.distances(split)
    seeds, is_other = statistics.seeds_of(table, atlas.design), table.run.isin(ordinary).to_numpy()
    found = []
    for run in runs:
        own = ((table.run == run) & (table.phase == "main")).to_numpy()
        rows = table.index[own]
        cross = np.asarray(matrix[rows[0] : rows[-1] + 1])[:, is_other]
        nearest = statistics.nearest_of_others(cross, seeds[own], seeds[is_other])
        found.append(clock[run].assign(run=run, nearest=nearest).set_axis(rows))
    return pd.concat(found).dropna()


def against_ordinary(turned, ordinary, labels, *, n_shuffles, rng):
    """One run, turned to its own labels, against ordinary runs at equal progress: real, over chance, over theirs.

    Parameters
    ----------
    turned : array-like of shape (n_stations, n_samples, n_classes)
    ordinary : array-like of shape (n_runs, n_stations, n_samples, n_classes)
    labels : array-like of shape (n_samples,)
    n_shuffles : int, within classes
    rng : numpy Generator

    Returns
    -------
    dict with real (nats, mean over ordinary runs), ratio (over shuffled), p, and "over ordinary": over the mean
    distance of two ordinary runs, NaN if there are no two
    """
    stack = np.concatenate([np.asarray(turned)[None], ordinary])
    ends = pd.DataFrame({"first": 0, "second": np.arange(1, len(stack))})
    options = {"metrics": ("bhattacharyya",), "n_shuffles": n_shuffles, "rng": rng}
    found, heaps = statistics.compare_with_shuffled(stack, labels, ends, **options)
    real, chance = found.real_bhattacharyya.mean(), found.shuffled_bhattacharyya.mean()
    p = statistics.p_value(real, heaps["bhattacharyya"].mean(axis=0))
    sums = [pairwise(stack[1:, k]).sum() for k in range(stack.shape[1])]
    theirs = np.mean(sums) / (len(ordinary) * (len(ordinary) - 1)) if np.any(sums) else np.nan
    return {"real": real, "ratio": real / chance, "p": p, "over ordinary": real / theirs}


class Stations(NamedTuple):
    """Values of progress that runs are compared at, and checkpoints between the first and the last, equal for all."""

    values: np.ndarray
    corners: int


def common_stations(clock, ordinary, noise, *, share=0.75, span=4.0, n_stations=12, n_corners=3):
    """Stations on the runs' own clocks that runs on random labels reach, and `share` of the ordinary ones.

    Parameters
    ----------
    clock : dict of run -> DataFrame with progress
    ordinary, noise : sequences of run names
    span : float, last station over the first
    n_stations, n_corners : int; fewer corners where runs on random labels have fewer checkpoints there

    Returns
    -------
    Stations
    """
    furthest = pd.Series({run: c.progress.max() for run, c in clock.items()})
    last = SHORT * min([furthest[ordinary].quantile(1 - share), *furthest[noise]])
    values = np.linspace(last / span, last, n_stations)
    inside = [((clock[run].progress > values[0]) & (clock[run].progress < last)).sum() for run in noise]
    return Stations(values, max(1, min([n_corners, *inside])))


def points_at(atlas, run, clock, at, fitted=None):
    """Predictions of one run at stations of its own progress, after it is cut down to the common number of corners.

    Parameters
    ----------
    atlas : Atlas that holds the run
    run : str
    clock : DataFrame of the run, see `of_atlas.own_clock`
    at : Stations
    fitted : array-like of shape (n_train,), optional, see `of_atlas.own_road`

    Returns
    -------
    ndarray of shape (n_stations, n_samples, n_classes), or None for a run that lacks checkpoints or does not get there:
    its predictions are not read
    """
    progress = clock.progress.to_numpy()
    keep = with_corners(progress, at.values[0], at.values[-1], at.corners)
    passed = trajectories.first_crossing(np.arange(len(progress)), progress, at.values)
    if not len(keep) or not np.isfinite(passed).all():
        return None
    return trajectories.resample(of_atlas.own_road(atlas, run, fitted)[keep], progress[keep], at.values)


def with_corners(clock, low, high, n_corners):
    """Checkpoints to keep so that a run has `n_corners` of them between two values of progress, evenly chosen.

    A run of few checkpoints is a polygon of few corners, and its dimension is low for that reason alone; so runs are
    compared with equally many.

    Parameters
    ----------
    clock : array-like of shape (n_points,), progress in training order
    low, high : float
    n_corners : int

    Returns
    -------
    ndarray of int, ascending: all checkpoints outside and the chosen ones inside; empty if there are too few inside

    Examples
    --------
    >>> with_corners([0.0, 0.2, 0.3, 0.4, 0.9], 0.1, 0.5, 2).tolist()
    [0, 1, 3, 4]
    """
    clock = np.asarray(clock)
    inside = (clock > low) & (clock < high)
    candidates = np.flatnonzero(inside)
    if len(candidates) < n_corners:
        return np.array([], dtype=int)
    chosen = candidates[np.linspace(0, len(candidates) - 1, n_corners).round().astype(int)]
    return np.sort(np.concatenate([np.flatnonzero(~inside), chosen]))
