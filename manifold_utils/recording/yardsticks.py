"""What a guest is measured by: the runs of an atlas, each held out, at values of progress that all have passed.

Two numbers of each run: its distance to the nearest other run, or to the nearest run of another family, and the
ratio of that distance to the one with shuffled samples. Distances at equal progress are those of PAPER.md section 1
(trajectory distance). It judges nobody (see `guests`).
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from manifold_utils.claims import NotEnough
from manifold_utils.distances import pairwise
from manifold_utils.geometry import progress
from manifold_utils.recording.spaces import check_same_space
from manifold_utils.statistics import nearest_of_others, null_distances
from manifold_utils.trajectories import first_crossing
from manifold_utils.trajectories.of_atlas import load_trajectories, reached, resampled

MIN_SHARE = 0.5  # of the atlas' runs must reach a value of progress for a guest to be judged there
ENDS = 3  # values of progress at either end of the grid where no guest is judged: all runs are alike there


@dataclass
class Yardstick:
    """The runs of an atlas, each held out and measured like a guest, at values of progress that all guests pass.

    Parameters
    ----------
    atlas : Atlas with distances, progress and trajectories (chapters 20 and 31)
    guests : list of RunRecord
        The stations are values of progress that all of them pass, and at least half of the atlas' runs.
    n_stations : int, at most
    n_ruler : int
        Held-out runs for the ratio, at most; drawn by `rng`.
    rng : numpy Generator, optional

    Attributes
    ----------
    stations : ndarray of shape (n_stations,), progress
    runs : DataFrame of the compared runs: those of the grid `main` that pass all stations
    split : str, the atlas' train split or, where it has none, its test split
    other : str
        The stricter ruler: "another " and the name of the atlas' family, "another architecture" in the book's own.
    distances : dict of "any other run" and `other` -> DataFrame (n_runs, n_stations), nats
        Distance of each run to the nearest other one; NaN without a counterpart.
    ratios : Series, index run
        Real over shuffled distance to the nearest run of another family.
    """

    atlas: object
    guests: list
    n_stations: int = 16
    n_ruler: int = 60
    rng: object = field(default_factory=lambda: np.random.default_rng(0))

    def __post_init__(self):
        for guest in self.guests:
            check_same_space(guest, self.atlas)
        self.split, self.other = self.atlas.splits[0], f"another {self.atlas.family.replace('_', ' ')}"
        self.labels = self.atlas.labels(self.split)
        runs = self.atlas.runs
        main = runs[(runs.grid == "main") & (runs.status == "finished")]
        trajectories, known = load_trajectories(self.atlas, self.split)
        s = trajectories.s.values
        self.stations = s[np.unique(np.linspace(ENDS, len(s) - ENDS, self.n_stations).astype(int))]
        for guest in self.guests:
            passed = reached(self.atlas.points, main.index, self.stations, self.split)
            self.stations = common_stations(progress(guest.log_probs[self.split], self.labels), passed)
        self.runs = main[reached(self.atlas.points, main.index, self.stations, self.split).all(axis=1)]
        places = pd.Series(np.arange(len(known)), index=known.index).loc[self.runs.index].to_numpy()
        layers = [int(np.argmin(np.abs(s - station))) for station in self.stations]
        between = trajectories.distance.values[layers][:, places][:, :, places].astype(float)
        self.distances = {
            "any other run": held_out_distances(between, self.runs),
            self.other: held_out_distances(between, self.runs, other=self.atlas.family),
        }
        self.ratios = self._ratios(between.mean(axis=0))

    def _ratios(self, d_traj):
        family = self.runs[self.atlas.family].to_numpy()
        other = family[:, None] != family
        nearest = np.where(other, d_traj, np.inf).argmin(axis=1)
        drawn = self.rng.permutation(np.flatnonzero(other.any(axis=1)))[: self.n_ruler]
        names = self.runs.index
        return pd.Series({names[i]: self.compare(self._at_stations(names[i]), names[nearest[i]]).ratio for i in drawn})

    def _at_stations(self, name):
        return resampled(self.atlas, self.split, [name], self.stations)[0]

    def compare(self, own, run, n_shuffles=0, rng=None):
        """`statistics.null_distances` between predictions at the stations and a run of the atlas."""
        return null_distances(own, self._at_stations(run), self.labels, n_shuffles=n_shuffles, rng=rng)


def common_stations(progress, passed, *, share=MIN_SHARE):
    """The values of progress that a guest passes and enough runs of the atlas pass as well.

    Parameters
    ----------
    progress : array-like of shape (n_checkpoints,)
        Of the guest, in the order of its checkpoints.
    passed : DataFrame (n_runs, n_stations), see `trajectories.of_atlas.reached`
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
        raise NotEnough(
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
    others : iterable of (run, log_probs at the same stations), see `trajectories.of_atlas.resampled`

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
    return pd.DataFrame(np.transpose([nearest_of_others(layer, names, names) for layer in distance]), index=runs.index)


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
