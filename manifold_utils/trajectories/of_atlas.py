"""All runs of an atlas on the clock of progress: distances at equal progress, to the geodesic, to the seeds' mean.

The analyses of whole runs (chapters 43 to 47) read what is made here. Works in passes over the progress grid, so that
memory stays within a budget whatever the number of runs. The mathematics is in `trajectories`, `distances` and
`geometry`.
"""

import numpy as np
import pandas as pd
import xarray as xr
from tqdm import tqdm

from manifold_utils.atlas.checked import write_arrays
from manifold_utils.distances import pairwise
from manifold_utils.geometry import exchange_classes, geodesic, ignorance, progress, truth
from manifold_utils.statistics import configurations
from manifold_utils.trajectories import crossings, resample, tube_width

MEMORY = 2 * 2**30  # bytes of resampled predictions held at once


def resampled(atlas, split, runs, grid, advance=None):
    """Predictions of `runs` at the progress values `grid`: (n_runs, n_grid, n_samples, n_classes) float32 log-probs.

    The clock is the progress over the *same* split, of checkpoints on the true labels (phase `main`). `advance`, if
    given, is called after each run (a bar's `update`).
    """
    table = atlas.points
    shape = len(atlas.labels(split)), atlas.n_classes
    values = np.empty((len(runs), len(grid), *shape), dtype=np.float32)
    for k, run in enumerate(runs):
        rows = (table.run == run).to_numpy()
        phase = (table.phase[rows] == "main").to_numpy()
        clock = table[f"progress_{split}"].to_numpy()[rows][phase]
        values[k] = resample(atlas.run_log_probs(run, split)[phase], clock, grid)
        if advance:
            advance()
    return values


def compare_trajectories(atlas, split, grid, *, memory=MEMORY, show_progress=True):
    """Distances between all runs at equal progress, to the geodesic, and to the mean of each configuration's seeds.

    Parameters
    ----------
    atlas : Atlas with progress columns in its points (chapter 31)
    split : {"train", "test"}
    grid : (n_grid,) ndarray of progress values in [0, 1], ascending
    memory : int
        Bytes of resampled predictions held at once; more passes over the runs if it is small.
    show_progress : bool
        Show a bar. It counts runs read and stations compared, so it moves within a pass too.

    Returns
    -------
    xarray Dataset on run, other, s with (nats)
        distance (s, run, other): d_B(P_u(s), P_v(s)); d_traj of the paper is its mean over s
        to_geodesic (run, s): d_B from P_u(s) to the point lambda = s of the geodesic
        tube_width (run, s): d_B to the arithmetic mean over the seeds of the run's configuration; NaN for a single seed
    """
    table = atlas.runs[atlas.runs.status == "finished"]
    runs, configuration = list(table.index), configurations(table, atlas.design)[0]
    labels = atlas.labels(split)
    shape = len(labels), atlas.n_classes
    ends = ignorance(*shape), truth(labels, shape[1])
    per_pass = max(1, int(memory // (len(runs) * np.prod(shape) * 4)))
    distance = np.empty((len(grid), len(runs), len(runs)), dtype=np.float32)
    to_geodesic = np.empty((len(runs), len(grid)))
    width = np.empty((len(runs), len(grid)))
    starts = range(0, len(grid), per_pass)
    n_steps = len(starts) * len(runs) + len(grid)
    with tqdm(total=n_steps, desc=f"{split} trajectories", disable=not show_progress, leave=False) as bar:
        for start in starts:
            part = slice(start, min(start + per_pass, len(grid)))
            values = resampled(atlas, split, runs, grid[part], bar.update)
            for k, s in enumerate(grid[part]):
                distance[start + k] = pairwise(values[:, k])
                to_geodesic[:, start + k] = pairwise(values[:, k], geodesic(*ends, [s]))[:, 0]
                bar.update()
            width[:, part] = tube_width(values, labels=configuration)
    alone = np.bincount(configuration)[configuration] == 1
    width[alone] = np.nan  # the spread of one seed is unknown, not zero
    return xr.Dataset(
        {
            "distance": (("s", "run", "other"), distance),
            "to_geodesic": (("run", "s"), to_geodesic),
            "tube_width": (("run", "s"), width),
            "configuration": ("run", configuration),
        },
        coords={"run": np.array(runs, dtype=object), "other": np.array(runs, dtype=object), "s": np.asarray(grid)},
    )


def save_trajectories(atlas, dataset, split):
    """Store the Dataset as trajectories/<split>.zarr, stamped with the atlas' points."""
    stamped = dataset.assign_attrs(points=atlas.points_fingerprint())
    write_arrays(atlas.path / "trajectories" / f"{split}.zarr", stamped)


def load_trajectories(atlas, split):
    """The Dataset of `compare_trajectories` that chapter 31 stored, with the runs' factors as a DataFrame.

    Returns
    -------
    dataset : xarray Dataset
    runs : DataFrame, the rows of `atlas.runs` in the Dataset's order

    Raises
    ------
    FileNotFoundError, ValueError
        If it is missing or belongs to other points; the message says what to run. OSError, naming the file, if it is
        damaged.
    """
    n_runs = atlas.points.run.nunique()
    path = atlas.path / "trajectories" / f"{split}.zarr"
    dataset = atlas.dataset(path, {"distance": (None, n_runs, n_runs)}, "31")
    return dataset, atlas.runs.loc[dataset.run.values]


def reached(points, runs, stations, split="train"):
    """Whether each run passes each value of progress: DataFrame (n_runs, n_stations) of bool, index run."""
    return np.isfinite(crossings(points, stations, split=split).loc[list(runs)])


def common_stations(points, runs, split="train", *, n_stations=8, share=0.75):
    """Values of progress that most runs pass, and the runs that pass all of them.

    Parameters
    ----------
    points : DataFrame of the atlas' points, with progress
    runs : sequence of run names
    split : {"train", "test"}
    n_stations : int
        Values at most, spread evenly over those of .05, .10, ... .95 that qualify.
    share : float
        Of the runs must pass a value for it to qualify.

    Returns
    -------
    stations : ndarray of shape (n,), float64
        Empty if no value qualifies.
    kept : list of run names
    """
    candidates = np.round(np.linspace(0.05, 0.95, 19), 2)
    passed = reached(points, runs, candidates, split).to_numpy()
    usable = np.flatnonzero(passed.mean(axis=0) >= share)
    if not len(usable):
        return candidates[:0], []
    usable = usable[np.unique(np.linspace(0, len(usable) - 1, min(n_stations, len(usable))).astype(int))]
    far_enough = passed[:, usable].all(axis=1)
    return candidates[usable], [run for run, keep in zip(runs, far_enough, strict=True) if keep]


def own_road(atlas, run, fitted=None):
    """Train predictions of one run from the start of its last training phase, turned to what it was fitted to.

    Parameters
    ----------
    atlas : Atlas
    run : str
    fitted : array-like of shape (n_samples,), optional
        Labels it was fitted to, if they are not the true ones; two classes are then exchanged on every sample, so that
        these labels stand where truth does (see `geometry.exchange_classes`).

    Returns
    -------
    ndarray of shape (n_points, n_samples, n_classes)
    """
    main = (atlas.points.phase[atlas.points.run == run] == "main").to_numpy()
    log_probs = atlas.run_log_probs(run, "train")[main]
    return log_probs if fitted is None else exchange_classes(log_probs, fitted, atlas.labels("train"))


def own_clock(atlas, run, fitted=None):
    """Progress and error of one run on the labels that it was fitted to; reads predictions only if these are given.

    Returns
    -------
    DataFrame of n_points rows with columns progress and error, in step with `own_road`
    """
    if fitted is None:
        rows = atlas.points[(atlas.points.run == run) & (atlas.points.phase == "main")]
        return pd.DataFrame({"progress": rows.progress_train.to_numpy(), "error": rows.error_train.to_numpy()})
    turned, labels = own_road(atlas, run, fitted), atlas.labels("train")
    return pd.DataFrame({"progress": progress(turned, labels), "error": (turned.argmax(axis=2) != labels).mean(axis=1)})
