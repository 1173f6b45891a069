"""What is known of a run from its train predictions, and what one wants to know of it on test samples.

The runs that get half-way to truth, numbers of the road that each of them took (lengths and distances, PAPER.md
section 1), and three outcomes on test samples. The chapters on generalisation set them against each other; nothing is
fitted here.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from manifold_utils import trajectories
from manifold_utils.claims import NotEnough
from manifold_utils.distances import pairwise
from manifold_utils.inpca import embedding
from manifold_utils.statistics import configurations
from manifold_utils.trajectories import of_atlas

N_AXES = 3  # of an InPCA of all runs at one value of progress
NUMERICAL_SLACK = 1e-9  # in comparisons of values of progress


class HalfWay(NamedTuple):
    """The runs that get half-way to truth on train samples.

    Attributes
    ----------
    everyone : DataFrame of all finished runs of the main grid
    runs : DataFrame of those that pass `station`
    station : float
        The last value of progress up to one half that enough runs pass.
    walked : ndarray of float
        All values of progress that enough runs pass.
    configuration : ndarray of shape (n_runs,), int, of `runs`
    """

    everyone: pd.DataFrame
    runs: pd.DataFrame
    station: float
    walked: np.ndarray
    configuration: np.ndarray


def half_way(atlas, at=0.5, *, share=0.75, least=2):
    """The runs of an atlas that get half-way to truth on train samples, and where that is.

    Parameters
    ----------
    atlas : Atlas with its trajectories on train samples
    at : float, progress that counts as half-way
    share : float
        Of the runs must pass a value of progress for it to be used.
    least : int
        Runs of at least this number are needed.

    Returns
    -------
    HalfWay

    Raises
    ------
    NotEnough
        Fewer than `least` runs pass one value of progress.
    """
    stored, _ = of_atlas.load_trajectories(atlas, "train")
    grid = stored.s.values
    everyone = atlas.runs[(atlas.runs.grid == "main") & (atlas.runs.status == "finished")]
    passed = of_atlas.reached(atlas.points, everyone.index, grid)
    often = passed.mean().to_numpy()
    usable = grid[(often >= share) & (grid <= at + NUMERICAL_SLACK)]
    station = float(usable[-1] if len(usable) else grid[often.argmax()])
    runs = everyone[passed[station].to_numpy()]
    if len(runs) < least:
        raise NotEnough(
            f"{len(runs)} of {len(everyone)} runs pass progress {station:.2f} on train samples; {least} are needed"
        )
    return HalfWay(everyone, runs, station, grid[often >= share], configurations(runs, atlas.design)[0])


def last_points(atlas, runs):
    """The last checkpoint of each run: its row of `Atlas.points`, with the index of `runs`."""
    return atlas.points.groupby("run").tail(1).set_index("run").loc[runs.index]


def log_errors(last, n_samples, split):
    """Natural logarithms of the last errors, half a sample added, so that an error of zero has one too."""
    return np.log(last[f"error_{split}"] + 0.5 / n_samples)


def outcomes(last, n_test):
    """Three outcomes of a run on test samples.

    Parameters
    ----------
    last : DataFrame, see `last_points`
    n_test : int, test samples

    Returns
    -------
    DataFrame with "test error" and "test distance" (natural logarithms, since they spread over decades) and "gap"
    (nats): the test distance to truth less the train distance. A distance to truth is half a loss.

    Examples
    --------
    >>> last = pd.DataFrame({"error_test": [0.15], "loss_test": [2.0], "loss_train": [1.0]})
    >>> outcomes(last, 10).round(2).to_dict("records")
    [{'test error': -1.61, 'test distance': 0.0, 'gap': 0.5}]
    """
    error, distance = log_errors(last, n_test, "test"), np.log(last.loss_test / 2)
    return pd.DataFrame({"test error": error, "test distance": distance, "gap": (last.loss_test - last.loss_train) / 2})


def numbers_of_road(atlas, runs, station):
    """Seven numbers of each run from its train predictions, see `ABOUT`.

    Parameters
    ----------
    atlas : Atlas with its trajectories on train samples
    runs : DataFrame of runs that pass `station`
    station : float, a value of progress of these trajectories

    Returns
    -------
    DataFrame (n_runs, 7), index that of `runs`; lengths and distances as natural logarithms
    """
    stored, rows = _stored(atlas, runs)
    k = int(np.argmin(np.abs(stored.s.values - station)))
    between = stored.distance.values[k][np.ix_(rows, rows)].astype(float)
    there = of_atlas.resampled(atlas, "train", list(runs.index), [station])
    mean = trajectories.average(there, "arithmetic")
    found = {
        "progress": last_points(atlas, runs).progress_train,
        "length": np.log([trajectories.riemann_length(of_atlas.own_road(atlas, run))[-1] for run in runs.index]),
        "bow": np.log(stored.to_geodesic.values[rows, k]),
        "to the mean": np.log(pairwise(there[:, 0], mean)[:, 0]),
    }
    axes = pd.DataFrame(embedding.spectrum(between, n_components=N_AXES).embedding_, index=runs.index)
    return pd.DataFrame(found, index=runs.index).join(axes.rename(columns=lambda k: f"axis {k + 1}"))


ABOUT = {  # the numbers of a road in words
    "progress": "at the end",
    "length": "of the whole way, in radians on the sphere",
    "bow": "distance to the geodesic half-way",
    "to the mean": "distance to the mean of all runs half-way",
    **{f"axis {k}": "coordinate in an InPCA of all runs half-way" for k in range(1, N_AXES + 1)},
}


def bows(atlas, runs, values):
    """Distance of each run to the geodesic (nats) at some values of progress: ndarray (n_runs, n_values)."""
    stored, rows = _stored(atlas, runs)
    columns = np.abs(np.subtract.outer(values, stored.s.values)).argmin(axis=1)
    return stored.to_geodesic.values[np.ix_(rows, columns)]


def _stored(atlas, runs):
    """The trajectories on train samples, and the row of each run in them."""
    stored, known = of_atlas.load_trajectories(atlas, "train")
    return stored, pd.Series(np.arange(len(known)), index=known.index)[runs.index].to_numpy()


def distances_at(atlas, runs, values):
    """Distance to train and to test truth (nats) when each run first passes some values of train progress.

    Parameters
    ----------
    atlas : Atlas
    runs : DataFrame
    values : ndarray of shape (n_values,), progress on train samples

    Returns
    -------
    dict of split -> ndarray of shape (n_runs, n_values); NaN where a run does not get so far
    """
    found = {split: np.full((len(runs), len(values)), np.nan) for split in ("train", "test")}
    for i, run in enumerate(runs.index):
        points = atlas.points[(atlas.points.run == run) & (atlas.points.phase == "main")]
        for split, curve in found.items():
            at = trajectories.first_crossing(points[f"loss_{split}"] / 2, points.progress_train, values)
            curve[i] = np.where(np.isinf(at), np.nan, at)
    return found
