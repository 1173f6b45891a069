"""What is done to whole runs: resampling by progress, widths, lengths; `averages`, distances `between` runs, `clocks`.

A trajectory is (n_points, n_samples, n_classes) natural-log probabilities in training order (PAPER.md section 1:
Reparametrisation by progress, Tube width). Distances between points come from `distances`, in nats. It reads no atlas
(see `of_atlas`).
"""

import numpy as np

from manifold_utils.distances import pairwise
from manifold_utils.geometry import angles, as_predictions, interpolate
from manifold_utils.trajectories.averages import METHODS, average
from manifold_utils.trajectories.between import (
    common_distance,
    common_progress,
    frechet_distance,
    point_to_trajectory,
    trajectory_distances,
    trajectory_gap,
)
from manifold_utils.trajectories.clocks import crossings, first_crossing, progress_weights

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
