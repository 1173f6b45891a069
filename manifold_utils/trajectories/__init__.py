"""What is done to whole runs: resampling by progress, means, distances between runs, widths, lengths, crossing times.

A trajectory is (n_points, n_samples, n_classes) natural-log probabilities in training order (PAPER.md section 1:
Reparametrisation by progress, Trajectory distance, Tube width). Distances between points come from `distances`, in
nats; everything that compares two runs point by point takes their cross-distance matrix, so it works for every metric.
Runs that never get to a value of progress count as infinitely late. It reads no atlas (see `of_atlas`).
"""

import numba
import numpy as np
import pandas as pd

from manifold_utils.distances import pairwise
from manifold_utils.geometry import angles, as_predictions, interpolate
from manifold_utils.trajectories.averages import METHODS, average

__all__ = [
    "METHODS", "average", "common_distance", "common_progress", "crossings", "first_crossing", "frechet_distance",
    "point_to_trajectory", "progress_weights", "resample", "riemann_length", "trajectory_distances", "trajectory_gap",
    "tube_width",
]  # fmt: skip


def resample(log_probs, progress, grid):
    """A trajectory at given values of progress.

    At each value s take the first checkpoint whose progress exceeds s and the one before it, and go between them along
    the per-sample geodesic, in proportion to progress. Before the first checkpoint's progress: the first checkpoint.
    Past the last crossing: the last checkpoint. Progress need not be monotone.

    Parameters
    ----------
    log_probs : array-like of shape (n_points, n_samples, n_classes)
    progress : array-like of shape (n_points,)
        See `geometry.progress`.
    grid : array-like of shape (n_grid,)
        Values of progress, ascending.

    Returns
    -------
    ndarray of shape (n_grid, n_samples, n_classes)
        float32 if log_probs are, else float64.

    Raises
    ------
    ValueError
        If lengths differ, progress is not finite, or the grid does not ascend.

    Examples
    --------
    >>> run = np.log([[[0.5, 0.5]], [[0.75, 0.25]], [[0.9, 0.1]]])
    >>> np.exp(resample(run, [0.0, 0.3, 0.6], [0.0, 0.3, 0.7]))[:, 0, 0].round(3).tolist()
    [0.5, 0.75, 0.9]
    """
    log_probs = as_predictions(log_probs)
    progress, grid = np.asarray(progress, dtype=np.float64), np.asarray(grid, dtype=np.float64)
    if log_probs.ndim != 3 or progress.shape != (len(log_probs),) or not len(progress):
        raise ValueError(
            f"resample needs (n_points, n_samples, n_classes) and one progress a point, got shapes {log_probs.shape} "
            f"and {progress.shape}"
        )
    if not np.isfinite(progress).all() or grid.ndim != 1 or not (np.diff(grid) >= 0).all():
        raise ValueError("resample needs finite progress and an ascending grid")
    crossed = progress > grid[:, None]
    after = np.where(crossed.any(axis=1), crossed.argmax(axis=1), len(progress))
    out = np.empty((len(grid), *log_probs.shape[1:]), dtype=np.result_type(log_probs.dtype, np.float32))
    for row, (s, i) in enumerate(zip(grid, after, strict=True)):
        if i == 0 or i == len(progress):
            out[row] = log_probs[min(i, len(progress) - 1)]
        else:
            t = (s - progress[i - 1]) / (progress[i] - progress[i - 1])
            theta = angles(log_probs[i - 1], log_probs[i])
            out[row] = interpolate(log_probs[i - 1], log_probs[i], theta, t)
    return out


def trajectory_distances(log_probs, *, metric="bhattacharyya", device="auto"):
    """d_traj between runs: the mean over indices of the distance of points of equal index.

    Parameters
    ----------
    log_probs : array-like of shape (n_runs, n_points, n_samples, n_classes)
        Resampled trajectories (numpy, torch, or an array on disk that slices along its second axis).
    metric, device : str
        As in `distances.pairwise`.

    Returns
    -------
    ndarray of shape (n_runs, n_runs), float64
        In the metric's unit, nats for d_B.

    Examples
    --------
    >>> runs = np.log([[[[0.5, 0.5]], [[0.8, 0.2]]], [[[0.5, 0.5]], [[0.2, 0.8]]]])
    >>> trajectory_distances(runs).round(6).tolist()
    [[0.0, 0.111572], [0.111572, 0.0]]
    """
    if len(log_probs.shape) != 4 or not log_probs.shape[1]:
        raise ValueError(
            f"trajectory_distances needs (n_runs, n_points, n_samples, n_classes), got {tuple(log_probs.shape)}"
        )
    total = sum(pairwise(log_probs[:, t], metric=metric, device=device) for t in range(log_probs.shape[1]))
    return total / log_probs.shape[1]


def point_to_trajectory(cross, width=None):
    """Distance from points to a trajectory.

    Parameters
    ----------
    cross : array-like of shape (..., n_points)
        Distances from each point to the points of the trajectory.
    width : float, optional
        If given, the soft minimum sum_t w_t d_t, w = softmax(-d / width): the minimum as width goes to 0, the mean as
        it grows. By default the minimum itself.

    Returns
    -------
    ndarray of shape (...,)

    Examples
    --------
    >>> float(point_to_trajectory(np.array([3.0, 1.0, 2.0])))
    1.0
    """
    cross = np.asarray(cross, dtype=np.float64)
    nearest = cross.min(axis=-1)
    if width is None:
        return nearest
    if not width > 0:
        raise ValueError(f"width must be positive, got {width}")
    base = np.where(np.isinf(nearest), 0.0, nearest)[..., None]
    finite = np.where(np.isinf(cross), base, cross)  # inf has weight 0; 0 times inf would be NaN
    weights = np.exp((base - finite) / width) * ~np.isinf(cross)
    total = weights.sum(axis=-1)
    return np.where(np.isinf(nearest), np.inf, (weights * finite).sum(axis=-1) / np.where(total > 0, total, 1.0))


def trajectory_gap(cross, *, width=None, symmetrise="mean"):
    """Distance between two trajectories without matching indices: point-to-trajectory, averaged along the other.

    Parameters
    ----------
    cross : array-like of shape (n_points_u, n_points_v)
        Distances between the points of two runs.
    width : float, optional
        As in `point_to_trajectory`.
    symmetrise : {"mean", "min", "shorter"}
        How the two directions become one: their mean, their minimum, or only that along the run with fewer points.

    Returns
    -------
    float

    Examples
    --------
    >>> trajectory_gap(np.array([[0.0, 3.0], [1.0, 3.0]]))
    1.0
    """
    along_u = float(point_to_trajectory(cross, width).mean())
    along_v = float(point_to_trajectory(np.transpose(cross), width).mean())
    choices = {
        "mean": 0.5 * (along_u + along_v),
        "min": min(along_u, along_v),
        "shorter": along_u if len(cross) <= len(cross[0]) else along_v,
    }
    if symmetrise not in choices:
        raise ValueError(f"symmetrise must be one of {', '.join(choices)}, got {symmetrise!r}")
    return choices[symmetrise]


def frechet_distance(cross):
    """Discrete Frechet distance: the shortest leash with which both runs can be walked, never turning back.

    Parameters
    ----------
    cross : array-like of shape (n_points_u, n_points_v)
        Distances between the points of two runs.

    Returns
    -------
    float

    Examples
    --------
    >>> frechet_distance([[0.0, 2.0], [1.0, 0.5]])
    0.5
    """
    cross = np.ascontiguousarray(cross, dtype=np.float64)
    if cross.ndim != 2 or not cross.size or np.isnan(cross).any():
        raise ValueError(f"frechet_distance needs a matrix of distances without NaN, got shape {cross.shape}")
    return float(_leash(cross))


@numba.njit(cache=True)
def _leash(cross):
    rows, columns = cross.shape
    best = np.empty(columns)
    for i in range(rows):
        diagonal = np.inf
        for j in range(columns):
            above = best[j] if i else np.inf
            left = best[j - 1] if j else np.inf
            reach = min(above, left, diagonal) if i or j else 0.0
            diagonal = above
            best[j] = max(cross[i, j], reach)
    return best[-1]


def tube_width(log_probs, *, labels=None, method="arithmetic", metric="bhattacharyya"):
    """Distance of each run to the mean of its configuration's seeds, at equal index.

    Parameters
    ----------
    log_probs : array-like of shape (n_runs, n_points, n_samples, n_classes)
        Resampled trajectories.
    labels : sequence of length n_runs, optional
        Configuration of each run; by default all runs are seeds of one.
    method : str
        Which mean, see `average`.
    metric : str
        See `distances.pairwise`.

    Returns
    -------
    ndarray of shape (n_runs, n_points), float64
        In the metric's unit; 0 for a configuration with one seed.

    Examples
    --------
    >>> runs = np.log([[[[0.5, 0.5]]], [[[0.5, 0.5]]]])
    >>> tube_width(runs).tolist()
    [[0.0], [0.0]]
    """
    log_probs = as_predictions(log_probs)
    labels = np.zeros(len(log_probs), dtype=int) if labels is None else np.asarray(labels)
    if len(labels) != len(log_probs):
        raise ValueError(f"{len(labels)} labels for {len(log_probs)} runs")
    width = np.empty(log_probs.shape[:2])
    for name in np.unique(labels):
        runs = np.flatnonzero(labels == name)
        centre = average(log_probs[runs], method)
        for t in range(len(centre)):
            width[runs, t] = pairwise(log_probs[runs, t], centre[t : t + 1], metric=metric)[:, 0]
    return width


def riemann_length(log_probs):
    """Length of a trajectory so far: the sum of per-sample great-circle steps, mean over samples.

    Parameters
    ----------
    log_probs : array-like of shape (n_points, n_samples, n_classes)

    Returns
    -------
    ndarray of shape (n_points,), float64
        Cumulative, from 0; radians on the sphere of square roots. The Fisher metric's length is twice that (its ds is
        twice the angle), and d_B of near points is the mean of half the squared angle.

    Examples
    --------
    >>> from manifold_utils.geometry import geodesic, ignorance, truth
    >>> path = geodesic(ignorance(1, 4), truth([0], 4), np.linspace(0, 1, 50))
    >>> float(riemann_length(path)[-1].round(6))
    1.047198
    """
    log_probs = as_predictions(log_probs)
    steps = [angles(before, after).mean() for before, after in zip(log_probs[:-1], log_probs[1:], strict=True)]
    return np.concatenate([[0.0], np.cumsum(steps)])


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


def common_progress(distance, reached):
    """Distances at equal progress, NaN where one of the two runs never gets to that progress.

    d_traj proper goes on with the last checkpoint past a run's end; this compares only what is there.

    Parameters
    ----------
    distance : ndarray of shape (n_grid, n_runs, n_runs), nats
    reached : ndarray of shape (n_runs, n_grid), bool

    Returns
    -------
    ndarray of shape (n_grid, n_runs, n_runs), the dtype of distance

    Examples
    --------
    >>> common_progress(np.ones((1, 2, 2)), np.array([[True], [False]]))[0].tolist()
    [[1.0, nan], [nan, nan]]
    """
    there = np.asarray(reached).T
    return np.where(there[:, :, None] & there[:, None, :], distance, np.nan)


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


def common_distance(distance, reached):
    """Mean distance of two runs over the progress that *both* reach: what a run did not travel says nothing of its way.

    Parameters
    ----------
    distance : ndarray of shape (n_grid, n_runs, n_runs), nats
    reached : ndarray of shape (n_runs, n_grid), bool

    Returns
    -------
    ndarray of shape (n_runs, n_runs), float64
        NaN for two runs without a common value.

    Examples
    --------
    >>> stack = np.array([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 9.0], [9.0, 0.0]]])
    >>> common_distance(stack, np.array([[True, True], [True, False]])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    there = np.asarray(reached, dtype=np.float64).T
    both = np.einsum("gi,gj->ij", there, there)
    sums = np.nansum(common_progress(distance, reached), axis=0, dtype=np.float64)
    return np.divide(sums, both, out=np.full(both.shape, np.nan), where=both > 0)
