"""Distances between two runs: at equal index, from points to a run, by the shortest leash, and over common progress.

d_traj is PAPER.md section 1, Trajectory distance; the others need no equal indices. Everything that compares two runs
point by point takes their cross-distance matrix, so it works for every metric. Distances between points come from
`distances`, in nats; runs come resampled (see the room's face).
"""

import numba
import numpy as np

from manifold_utils.distances import pairwise


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
