"""Place a run from outside in an atlas, and judge it: at equal progress, is it as near as an ordinary newcomer?

There are two yardsticks, both made from the runs of the atlas itself, each held out. The distance to the nearest run
(PAPER.md section 1, trajectory distance) says how near a guest is; the held-out run looks for its nearest neighbour
among other families, which is what a guest of a new kind should be measured by. The ratio of that distance to the
one with the guest's samples shuffled within classes says whether more than a learning curve is shared (`statistics`,
nulls). Predictions are taken by `recorder`; it fits no embedding.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from manifold_utils.claims import result
from manifold_utils.geometry import progress
from manifold_utils.inpca import embedding as stored
from manifold_utils.recording.spaces import check_same_space
from manifold_utils.recording.yardsticks import Yardstick, distances_at_progress, quantile_among
from manifold_utils.statistics import nearest_of_others
from manifold_utils.trajectories import resample
from manifold_utils.trajectories.of_atlas import resampled

LIMIT = 0.95  # quantile of held-out runs up to which a guest counts as ordinary


def place(run, atlas, split="train"):
    """Coordinates of a recorded run in the embedding that chapter 30 made; the axes stay as they are.

    Parameters
    ----------
    run : RunRecord
    atlas : Atlas with distances and embedding (chapters 20 and 30)
    split : {"train", "test"}

    Returns
    -------
    ndarray of shape (n_checkpoints, n_components), float64

    Raises
    ------
    ValueError
        If the run was recorded on other samples than the atlas.
    """
    check_same_space(run, atlas)
    return stored.place(atlas.embedding(split), stored.distances_to(atlas, split, run.log_probs[split]))


@dataclass(frozen=True)
class Verdict:
    """What `judge` says of one run.

    Attributes
    ----------
    name : str
    other : str, the stricter ruler, see `Yardstick`
    nearest : ndarray of shape (n_stations,), nats
        Distance to the nearest run of the atlas at each station of the yardstick.
    neighbours : DataFrame of the atlas' compared runs with their factors and `d_traj` (nats), nearest first
    quantiles : dict
        Share of held-out runs that are as near as this one, for each ruler; 0.5 is an ordinary run.
    ratio, p_value : float
        Distance to the nearest run over the mean distance with the samples shuffled within classes (1: nothing is
        shared but the learning curve), and the share of shuffles that come as near.
    ratio_quantile : float
        Share of held-out runs whose ratio is at most that.
    n_ratios : int, those held-out runs
    limit : float
    """

    name: str
    other: str
    nearest: np.ndarray
    neighbours: pd.DataFrame
    quantiles: dict
    ratio: float
    p_value: float
    ratio_quantile: float
    n_ratios: int
    limit: float = LIMIT

    @property
    def distance(self):
        """Mean over stations of the distance to the nearest run, nats."""
        return float(self.nearest.mean())

    @property
    def on_manifold(self):
        """Whether neither the distance (to runs of another family) nor the ratio is beyond the limit."""
        return bool(self.quantiles[self.other] <= self.limit and self.ratio_quantile <= self.limit)

    def __str__(self):
        where = "on" if self.on_manifold else "not on"
        by_distance = self.quantiles[self.other]
        return (
            f"{self.name}: {where} the manifold (quantiles {by_distance:.2f} by distance, {self.ratio_quantile:.2f} by "
            f"ratio; p = {self.p_value:.2g})"
        )

    def results(self):
        """Named numbers for a chapter's results, see `claims.result`."""
        key, among = self.name.replace(" ", "_"), {"n": len(self.neighbours), "note": "among held-out runs of main"}
        found = {f"nearest_{key}": result(self.distance, unit="nats", **among)}
        for ruler, quantile in self.quantiles.items():
            found[f"quantile_{key}_{ruler.replace(' ', '_')}"] = result(quantile, **among)
        note = f"to its nearest run, over the shuffled guest; p = {self.p_value:.2g}"
        found[f"ratio_{key}"] = result(self.ratio, n=len(self.nearest), note=note)
        found[f"quantile_{key}_ratio"] = result(self.ratio_quantile, **(among | {"n": self.n_ratios}))
        return found


def judge(run, atlas, yardstick=None, *, n_shuffles=199, limit=LIMIT, rng=None):
    """Judge whether a recorded run lies on the manifold of an atlas, by held-out runs and not by eye.

    Parameters
    ----------
    run : RunRecord
        With checkpoints from near ignorance on.
    atlas : Atlas with distances, progress and trajectories (chapters 20 and 31)
    yardstick : Yardstick, optional
        One for several runs saves time, and has them compared at the same values of progress.
    n_shuffles : int
        Shuffles of the run's samples for the p-value.
    limit : float
        Quantile of held-out runs up to which it counts as ordinary.
    rng : numpy Generator, optional
        Draws the shuffles.

    Returns
    -------
    Verdict

    Raises
    ------
    ValueError
        If the run was recorded on other samples, or shares no value of progress with most runs of the atlas.
    """
    check_same_space(run, atlas)
    yardstick, rng = yardstick or Yardstick(atlas, [run]), rng or np.random.default_rng(0)
    # the guest at equal progress, and its distance to every run there
    log_probs = run.log_probs[yardstick.split]
    own = resample(log_probs, progress(log_probs, yardstick.labels), yardstick.stations)
    names = tqdm(list(yardstick.runs.index), "runs", leave=False)
    others = ((name, resampled(atlas, yardstick.split, [name], yardstick.stations)[0]) for name in names)
    to_runs = distances_at_progress(own[None], others)[0]
    neighbours = yardstick.runs.assign(d_traj=to_runs.mean(axis=1)).sort_values("d_traj", kind="stable")
    # the first yardstick: how near is it
    nearest = to_runs.min(axis=0)
    held_out = {kind: values.mean(axis=1) for kind, values in yardstick.distances.items()}
    quantiles = {kind: quantile_among(nearest.mean(), values) for kind, values in held_out.items()}
    # the second: how much of that is more than a learning curve
    null = yardstick.compare(own, neighbours.index[0], n_shuffles, rng)
    among = quantile_among(null.ratio, yardstick.ratios)
    found = null.ratio, null.p_value, among, len(yardstick.ratios)
    return Verdict(run.name, yardstick.other, nearest, neighbours, quantiles, *found, limit=limit)


def judge_point(log_probs, atlas, *, n_ruler=100):
    """Judge a single point, which has no trajectory, by the checkpoints of about its progress.

    Parameters
    ----------
    log_probs : ndarray of shape (1, n_samples, n_classes)
        Natural-log predictions on the recorded samples of the atlas' first split, train where it has one.
    atlas : Atlas with distances and progress
    n_ruler : int
        Checkpoints of the grid `main` next to it in progress: each is measured by its nearest checkpoint of another
        family.

    Returns
    -------
    nearest : Series
        The nearest checkpoint: its columns of `Atlas.table`, `distance` in nats, and the numbers of checkpoints that it
        was found among (`n_compared`) and measured by (`n_ruler`).
    quantile : float
        Share of those checkpoints that are as near.
    """
    split, table = atlas.splits[0], atlas.table("main")
    matrix, distance = atlas.distances(split), stored.distances_to(atlas, split, log_probs)[0, table.index]
    gap = np.abs(table[f"progress_{split}"].to_numpy() - progress(log_probs, atlas.labels(split))[0])
    ruler = table.index[np.argsort(gap)[:n_ruler]]
    rows = np.concatenate([np.asarray(matrix[i : i + 1], dtype=float)[:, table.index] for i in ruler])
    held_out = nearest_of_others(rows, table[atlas.family][ruler], table[atlas.family])
    found = {"distance": distance.min(), "n_compared": len(table), "n_ruler": len(ruler)}
    return pd.concat([table.iloc[distance.argmin()], pd.Series(found)]), quantile_among(distance.min(), held_out)
