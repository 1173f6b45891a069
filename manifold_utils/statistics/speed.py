"""How fast networks of several sizes train: steps to equal progress, their ratios in pairs, and the trend with size.

A run's speed is one over the steps that it takes to a value of progress (see `trajectories.crossings`); a run that
never gets there is infinitely late. Which way networks go is in `effects`.
"""

import numpy as np
import pandas as pd

from manifold_utils.profiles import BOOK_DESIGN
from manifold_utils.statistics.intervals import drawn_pairs, interval, t_interval

MIN_FAMILIES = 3  # fewer give no interval over families worth the name: slopes of families and seeds are taken


def speed_ratios(steps, number, pairs, order):
    """Steps of the smaller over steps of the larger configuration, to each value of progress.

    Parameters
    ----------
    steps : ndarray of shape (n_runs, n_grid)
        See `crossings`; the median over seeds stands for a configuration.
    number : ndarray of shape (n_runs,), int configurations
    pairs : DataFrame with `first` and `second`, see `matched_pairs`
    order : ndarray of shape (n_configurations,)
        Size, for instance parameters; the smaller one of a pair is above the line.

    Returns
    -------
    ndarray of shape (n_pairs, n_grid), float64
        inf if only the larger gets there, 0 if only the smaller does, NaN if neither.

    Examples
    --------
    >>> pairs = pd.DataFrame({"first": [0], "second": [1]})
    >>> speed_ratios(np.array([[4.0, np.inf], [2.0, 5.0]]), np.array([0, 1]), pairs, np.array([10, 99])).tolist()
    [[2.0, inf]]
    """
    middle = np.stack([_median(steps[number == k]) for k in range(len(order))])
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    swap = order[first] > order[second]
    small, large = np.where(swap, second, first), np.where(swap, first, second)
    ratio = np.full((len(pairs), steps.shape[1]), np.nan)
    above, below = middle[small], middle[large]
    known = np.isfinite(above) & np.isfinite(below) & (below > 0)
    ratio[known] = above[known] / below[known]
    ratio[np.isinf(above) & np.isfinite(below)] = np.inf
    ratio[np.isfinite(above) & np.isinf(below)] = 0.0
    return ratio


def _median(values):
    """Median over runs, where inf is late and NaN (there from the start) is unknown."""
    ordered = np.sort(values, axis=0)  # NaN goes last, inf before it
    return np.where(np.isnan(values).any(axis=0), np.nan, ordered[(len(values) - 1) // 2])


def median_ratio(ratios):
    """Median of ratios that may be 0 or inf; NaN ones are left out.

    Returns
    -------
    float, NaN if nothing is known
    """
    known = np.sort(np.asarray(ratios)[~np.isnan(ratios)])
    if not len(known):
        return np.nan
    low, high = known[(len(known) - 1) // 2], known[len(known) // 2]
    return float(low if np.isinf(high) and np.isinf(low) else 0.5 * (low + high))


def median_interval(ratios, pairs, *, n_resamples=1000, rng):
    """95 % interval of `median_ratio` over drawn configurations.

    Parameters
    ----------
    ratios : ndarray of shape (n_pairs, n_grid), see `speed_ratios`
    pairs : DataFrame with `first` and `second`

    Returns
    -------
    low, high : float, inf where laggards prevail; NaN without pairs
    """
    if not len(pairs):
        return np.nan, np.nan
    draws = [median_ratio(np.repeat(ratios, w, axis=0)) for w in drawn_pairs(pairs, n_resamples, rng) if w.any()]
    return interval(draws, method="nearest")


def common_speed(steps, group):
    """Speed of every run, to the values of progress that all runs of its group have reached.

    Parameters
    ----------
    steps : ndarray of shape (n_runs, n_grid)
        See `crossings`: inf where a run never gets there, NaN where it was there from the start.
    group : array-like of shape (n_runs,)
        Runs that are compared: the sizes of one family and seed.

    Returns
    -------
    speed : ndarray of shape (n_runs,)
        Geometric mean of 1 / steps. NaN for a run that gets to no value at all, which the others do not wait for, and
        for a whole group without common values.
    n_common : ndarray of shape (n_runs,), int
        How many values of progress the group has in common.

    Examples
    --------
    >>> common_speed(np.array([[4.0, np.inf], [2.0, 3.0], [np.inf, np.inf]]), ["fc", "fc", "fc"])
    (array([0.25, 0.5 ,  nan]), array([1, 1, 1]))
    """
    known = np.isfinite(steps) & (np.asarray(steps) > 0)
    speed, n_common = np.full(len(known), np.nan), np.zeros(len(known), dtype=int)
    for rows in pd.Series(np.arange(len(known))).groupby(np.asarray(group)).groups.values():
        moving = rows[known[rows].any(axis=1)]
        common = known[moving].all(axis=0) & (len(moving) > 0)
        n_common[rows] = common.sum()
        if common.any():
            speed[moving] = np.exp(-np.log(steps[np.ix_(moving, common)]).mean(axis=1))
    return speed, n_common


def speed_slopes(steps, runs, design=BOOK_DESIGN):
    """For each family and seed, the slope of log speed against log parameters over the family's sizes.

    Parameters
    ----------
    steps : ndarray of shape (n_runs, n_grid), see `crossings`
    runs : DataFrame of n_runs rows with the design's factors and its seed, and `n_parameters`
    design : profiles.Design
        All its factors but `scale` must agree within a group.

    Returns
    -------
    slopes : DataFrame, a row a family and seed (and setting, where there are several) with at least two sizes
        family, seed, slope (NaN where fewer than two sizes have a value of progress in common), n_sizes, n_common (of
        the values of progress), n_left_out (sizes that get to none of them).
    speeds : ndarray of shape (n_runs,), see `common_speed`; NaN too where a family has one size

    Examples
    --------
    >>> runs = pd.DataFrame({"architecture": "fc", "scale": [1, 2], "seed": 0, "n_parameters": [100, 400]})
    >>> speed_slopes(np.array([[8.0], [4.0]]), runs)[0].slope.round(6).tolist()
    [0.5]
    """
    alike = [c for c in (*design.factors, design.seed) if c in runs and c != "scale"]
    group = runs.groupby(alike, sort=False, dropna=False).ngroup().to_numpy()
    n_sizes = runs.groupby(group).n_parameters.transform("nunique") if len(runs) else runs.n_parameters
    speed, n_common = common_speed(steps, group)
    table = pd.DataFrame({"family": runs[design.family], "seed": runs[design.seed]})
    table = table.assign(size=np.log(runs.n_parameters), speed=np.log(speed), n_common=n_common, group=group)
    several = (n_sizes > 1).to_numpy()
    rows = []
    for _, sizes in table[several].groupby("group"):
        known = sizes.dropna()
        slope = np.polyfit(known["size"], known.speed, 1)[0] if known["size"].nunique() > 1 else np.nan
        kept = {"slope": float(slope), "n_sizes": len(known), "n_common": int(sizes.n_common.iloc[0])}
        rows.append({**sizes.iloc[0][["family", "seed"]], **kept, "n_left_out": len(sizes) - len(known)})
    names = ["family", "seed", "slope", "n_sizes", "n_common", "n_left_out"]
    return pd.DataFrame(rows, columns=names), np.where(several, speed, np.nan)


def speed_trend(slopes):
    """Mean slope over families of their means over seeds, with a 95 % t interval over families.

    Parameters
    ----------
    slopes : DataFrame with family and slope, see `speed_slopes`; NaN ones are left out

    Returns
    -------
    dict: value, low, high, over ("families"; "families and seeds" with fewer than `MIN_FAMILIES` of them), n_units.
        NaN without slopes, and the interval with one.

    Examples
    --------
    >>> speed_trend(pd.DataFrame({"family": ["fc", "fc", "vit", "vit"], "slope": [0.1, 0.3, 0.3, 0.5]}))["over"]
    'families and seeds'
    """
    known = slopes.dropna(subset="slope")
    families = known.groupby("family").slope.mean()
    over, units = ("families", families) if len(families) >= MIN_FAMILIES else ("families and seeds", known.slope)
    value = float(families.mean())
    low, high = t_interval(units, centre=value)
    return {"value": value, "low": low, "high": high, "over": over, "n_units": len(units)}
