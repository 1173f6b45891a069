"""Place a run from outside in an atlas: at equal progress, how near is it to the nearest run, and is that ordinary?

The yardstick is every run of the atlas itself, held out: its distance to the nearest other run, or to the nearest run
of another architecture, which is what a guest of a new kind should be measured by. Distances at equal progress are
those of PAPER.md section 1 (trajectory distance). Predictions are recorded by `recorder`; it fits no embedding (see
`embedding`).
"""

import numpy as np
import pandas as pd
from tqdm import tqdm

from manifold_utils.distances import pairwise
from manifold_utils.pace import crossings, first_crossing
from manifold_utils.trajectories import resample

DEAD_AXIS = 1e-12  # share of |lambda_1| below which an axis is rounding: its coordinates are 0
MIN_SHARE = 0.5  # of the atlas' runs must reach a value of progress for a guest to be judged there


def place_in(embedding, matrix, D_new, n_anchors=20):
    """Coordinates of new points in a stored embedding, without fitting it again: `InPCA.transform` in other words.

    With embedded points x_u and eigenvalues lambda, x_new = c - d_new @ (x / lambda) / 2: columns of x sum to zero, so
    that all other terms of the centring are one constant c, known from any embedded point and its distances.

    Parameters
    ----------
    embedding : xarray Dataset, see `Atlas.embedding`
    matrix : the distances it was made from, see `Atlas.distances`; single rows are read
    D_new : ndarray of shape (n_new, n_points)
        Distances to all points of the atlas (nats for d_B).
    n_anchors : int
        Embedded points whose constants are averaged, against the rounding of stored distances.

    Returns
    -------
    ndarray of shape (n_new, n_components), float64
    """
    keep = np.flatnonzero(embedding.fitted.values)
    x, eigenvalues = embedding.embedding.values[keep], embedding.eigenvalues.values
    alive = np.abs(eigenvalues) > DEAD_AXIS * np.abs(eigenvalues).max()
    weights = np.where(alive, x / np.where(alive, eigenvalues, 1.0), 0.0)
    anchors = keep[np.unique(np.linspace(0, len(keep) - 1, min(n_anchors, len(keep))).astype(int))]
    rows = np.concatenate([np.asarray(matrix[i : i + 1], dtype=np.float64)[:, keep] for i in anchors])
    constant = (embedding.embedding.values[anchors] + 0.5 * rows @ weights).mean(axis=0)
    return constant - 0.5 * np.asarray(D_new, dtype=np.float64)[:, keep] @ weights


def trajectories_of(atlas, split, runs, stations):
    """Predictions of single runs at values of progress, one run in memory at a time.

    Yields
    ------
    run : str
    log_probs : ndarray of shape (n_stations, n_samples, n_classes)
    """
    table = atlas.points
    for run in tqdm(list(runs), "runs", leave=False):
        rows = (table.run == run).to_numpy()
        main = (table.phase[rows] == "main").to_numpy()
        clock = table[f"progress_{split}"].to_numpy()[rows][main]
        yield run, resample(atlas.run_log_probs(run, split)[main], clock, stations)


def reached(points, runs, stations, split="train"):
    """Whether each run passes each value of progress: DataFrame (n_runs, n_stations) of bool, index run."""
    return np.isfinite(crossings(points, stations, split=split).loc[list(runs)])


def common_stations(progress, passed, *, share=MIN_SHARE):
    """The values of progress that a guest passes and enough runs of the atlas pass as well.

    Parameters
    ----------
    progress : array-like of shape (n_checkpoints,)
        Of the guest, in the order of its checkpoints.
    passed : DataFrame (n_runs, n_stations), see `reached`
    share : float, of the runs

    Returns
    -------
    ndarray of shape (n_common,), progress

    Raises
    ------
    ValueError
        If there is none: the guest learns too little, or starts beyond.

    Examples
    --------
    >>> passed = pd.DataFrame([[True, True], [True, False], [True, False]], columns=[0.2, 0.8])
    >>> common_stations([0.0, 0.5, 0.9], passed).tolist()
    [0.2]
    """
    stations = passed.columns.to_numpy(dtype=float)
    own = np.isfinite(first_crossing(np.arange(len(progress)), progress, stations))
    common = stations[own & (passed.mean().to_numpy() >= share)]
    if not len(common):
        ends = f"from {np.min(progress):.2f} to {np.max(progress):.2f}"
        raise ValueError(
            f"no value of progress is common to this run ({ends}) and to {100 * share:.0f} % of the atlas' runs: "
            "train it longer, or record more checkpoints"
        )
    return common


def distances_at_progress(guests, others):
    """Distances of guests to other runs at equal progress.

    Parameters
    ----------
    guests : ndarray of shape (n_guests, n_stations, n_samples, n_classes)
        Log-predictions at the stations, see `trajectories.resample`.
    others : iterable of (run, log_probs at the same stations), see `trajectories_of`

    Returns
    -------
    ndarray of shape (n_guests, n_runs, n_stations), float64
        d_B in nats, runs in the order of `others`.

    Examples
    --------
    >>> u, v = np.log([[[[0.5, 0.5]]]]), np.log([[[0.9, 0.1]]])
    >>> distances_at_progress(u, [("v", v)]).round(4).tolist()
    [[[0.1116]]]
    """
    rows = []
    for _, other in others:
        other = other.astype(guests.dtype)
        rows.append([pairwise(guests[:, k], other[k : k + 1])[:, 0] for k in range(guests.shape[1])])
    return np.transpose(rows, (2, 0, 1))


def held_out_distances(distance, runs, *, other=None):
    """Distance of every run to the nearest other one, at each value of progress.

    Parameters
    ----------
    distance : ndarray of shape (n_stations, n_runs, n_runs)
        Distances at equal progress (nats).
    runs : DataFrame of n_runs rows
    other : str, optional
        A column of `runs`, such as "architecture": only runs that differ in it count.

    Returns
    -------
    DataFrame (n_runs, n_stations), index as `runs`; NaN for a run without a counterpart

    Examples
    --------
    >>> d = np.array([[[0.0, 1.0, 3.0], [1.0, 0.0, 2.0], [3.0, 2.0, 0.0]]])
    >>> runs = pd.DataFrame({"architecture": ["fc", "fc", "vit"]})
    >>> held_out_distances(d, runs)[0].tolist(), held_out_distances(d, runs, other="architecture")[0].tolist()
    ([1.0, 1.0, 2.0], [3.0, 2.0, 2.0])
    """
    names = np.arange(len(runs)) if other is None else runs[other].to_numpy()
    allowed = names[:, None] != names[None, :]
    nearest = np.where(allowed, distance, np.inf).min(axis=2)
    return pd.DataFrame(np.where(np.isinf(nearest), np.nan, nearest).T, index=runs.index)


def quantile_among(value, values):
    """Share of `values` (NaN left out) that are at most `value`; in [0, 1], NaN if there are none.

    Examples
    --------
    >>> quantile_among(2.5, [1.0, 2.0, 3.0, float("nan"), 4.0])
    0.5
    """
    values = np.asarray(values, dtype=np.float64)
    known = values[~np.isnan(values)]
    return float(np.mean(known <= value)) if len(known) else np.nan
