"""How soon runs get to a given progress, and how far apart they are there.

Progress (PAPER.md section 1) as a function of steps or epochs is turned round: steps to progress s, by first crossing,
as in `trajectories.resample`. Runs that never get there count as infinitely late, so that medians stay honest. It
computes no progress (see `progress`) and no distances (see `reparametrise`).
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


def speed_ratios(steps, number, pairs, order):
    """Steps of the smaller over steps of the larger configuration, to each value of progress.

    Parameters
    ----------
    steps : ndarray of shape (n_runs, n_grid)
        See `crossings`; the median over seeds stands for a configuration.
    number : ndarray of shape (n_runs,), int configurations
    pairs : DataFrame with `first` and `second`, see `factors.matched_pairs`
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


def drawn_pairs(pairs, n_resamples, rng):
    """How often each pair comes up when configurations are drawn with replacement: both of its members count.

    Parameters
    ----------
    pairs : DataFrame with `first` and `second`, or list of such DataFrames on the same configurations

    Returns
    -------
    ndarray of shape (n_resamples, n_pairs), int; for a list, a list of arrays from the same draws
    """
    tables = [pairs] if isinstance(pairs, pd.DataFrame) else pairs
    ends = [t[["first", "second"]].to_numpy(dtype=int).reshape(-1, 2) for t in tables]
    names = np.unique(np.concatenate(ends))
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / max(1, len(names))), size=n_resamples)
    weights = [drawn[:, np.searchsorted(names, e)].prod(axis=2) for e in ends]
    return weights[0] if isinstance(pairs, pd.DataFrame) else weights


def ratio_interval(upper, upper_pairs, lower, lower_pairs, *, n_resamples=1000, rng):
    """Mean distance of one kind of pairs over that of another, at equal progress, with a 95 % interval.

    At each value of progress the mean over comparable pairs is taken; the ratio is that of their sums over the values
    where both kinds have some, so that neither kind is measured on another stretch of the road. The interval draws
    configurations with replacement.

    Parameters
    ----------
    upper, lower : ndarrays of shape (n_pairs, n_grid), nats; NaN where a pair cannot be compared
    upper_pairs, lower_pairs : DataFrames with `first` and `second`

    Returns
    -------
    value, low, high : float; NaN if there is nothing to compare

    Examples
    --------
    >>> pairs = pd.DataFrame({"first": [0, 0], "second": [1, 2]})
    >>> ratio_interval(np.full((2, 1), 3.0), pairs, np.full((2, 1), 2.0), pairs, rng=np.random.default_rng(0))
    (1.5, 1.5, 1.5)
    """
    if not np.isfinite(upper).any() or not np.isfinite(lower).any():
        return np.nan, np.nan, np.nan
    ones = [np.ones((1, len(upper))), np.ones((1, len(lower)))]
    value = float(_ratio_of_means(upper, ones[0], lower, ones[1])[0])
    above, below = drawn_pairs([upper_pairs, lower_pairs], n_resamples, rng)
    draws = _ratio_of_means(upper, above, lower, below)
    draws = draws[np.isfinite(draws)]
    return value, *(float(q) for q in (np.quantile(draws, [0.025, 0.975]) if len(draws) else (np.nan, np.nan)))


def _ratio_of_means(upper, above, lower, below):
    parts = []
    for values, weight in ((upper, above), (lower, below)):
        known = np.isfinite(values)
        counts = weight @ known
        sums = weight @ np.where(known, values, 0.0)
        parts.append(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))
    both = np.isfinite(parts[0]) & np.isfinite(parts[1])
    top, bottom = (np.where(both, part, 0.0).sum(axis=1) for part in parts)
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)


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
    known = np.array([d for d in draws if not np.isnan(d)])
    if not len(known):
        return np.nan, np.nan
    return tuple(float(q) for q in np.quantile(known, [0.025, 0.975], method="nearest"))
