"""Progress as a clock: when a run first exceeds a value of it, and how much each checkpoint moves it.

Runs that never get to a value of progress count as infinitely late. Progress itself is `geometry.progress`; this file
reads columns of tables and arrays, and no predictions.
"""

import numpy as np
import pandas as pd


def first_crossing(clock, progress, grid):
    """When a run first exceeds each value of progress.

    Parameters
    ----------
    clock : array-like of shape (n_points,)
        Steps or epochs, ascending.
    progress : array-like of shape (n_points,), in [0, 1]
    grid : array-like of shape (n_grid,)

    Returns
    -------
    ndarray of shape (n_grid,), float64
        In the clock's unit, linear in progress between the two checkpoints; NaN where the first checkpoint is already
        beyond, inf where no checkpoint is.

    Examples
    --------
    >>> first_crossing([0, 10, 20], [0.0, 0.5, 1.0], [-0.1, 0.25, 0.5, 1.0]).tolist()
    [nan, 5.0, 10.0, inf]
    """
    clock, progress = np.asarray(clock, dtype=np.float64), np.asarray(progress, dtype=np.float64)
    when = np.full(len(grid), np.inf)
    for k, s in enumerate(grid):
        beyond = np.flatnonzero(progress > s)
        if len(beyond) and beyond[0] == 0:
            when[k] = np.nan
        elif len(beyond):
            i = beyond[0]
            t = (s - progress[i - 1]) / (progress[i] - progress[i - 1])
            when[k] = clock[i - 1] + t * (clock[i] - clock[i - 1])
    return when


def crossings(points, grid, *, clock="step", split="train"):
    """`first_crossing` of every run, counted from the start of its training on true labels.

    Parameters
    ----------
    points : DataFrame with run, phase, `clock` and progress_<split>, in order
    grid : (n_grid,) ndarray
    clock : {"step", "epoch"}

    Returns
    -------
    DataFrame (n_runs, n_grid): index run, columns the values of `grid`
    """
    rows = {}
    for run, table in points[points.phase == "main"].groupby("run", sort=False):
        since = table[clock].to_numpy() - table[clock].iloc[0]
        rows[run] = first_crossing(since, table[f"progress_{split}"].to_numpy(), grid)
    return pd.DataFrame.from_dict(rows, orient="index", columns=grid)


def progress_weights(points, split="train"):
    """Weights of points by their step in progress, so that the many checkpoints of early training count less.

    The weight of a checkpoint is half the distance in progress between its two neighbours of the same run (trapezoid;
    at the ends of a run, half the distance to its one neighbour). All weights together sum to 1.

    Parameters
    ----------
    points : DataFrame with run and progress_<split>, the checkpoints of a run in training order
    split : {"train", "test"}

    Returns
    -------
    ndarray of shape (n_points,), float64
        For `InPCA.fit(D, sample_weight=...)`. A run that goes further weighs more; one checkpoint alone, nothing.

    Raises
    ------
    ValueError
        If progress is not finite, or no run moves at all.

    Examples
    --------
    >>> points = pd.DataFrame({"run": ["a", "a", "a", "a"], "progress_train": [0.0, 0.1, 0.2, 1.0]})
    >>> progress_weights(points).round(3).tolist()
    [0.05, 0.1, 0.45, 0.4]
    """
    progress = points[f"progress_{split}"].reset_index(drop=True).astype(float)
    if not np.isfinite(progress).all():
        raise ValueError(f"progress_{split} must be finite to weigh points by it")
    by_run = progress.groupby(points["run"].to_numpy(), sort=False)
    before, after = by_run.shift(1).fillna(progress), by_run.shift(-1).fillna(progress)
    step = (after - before).abs().to_numpy() / 2
    if not step.sum() > 0:
        raise ValueError(f"no run moves in progress_{split}: its points have no weights")
    return step / step.sum()
