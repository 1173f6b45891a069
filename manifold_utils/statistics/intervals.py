"""Intervals and p-values: one bootstrap, one t interval with its jackknife, one permutation p.

An interval's unit is what its sentence generalises to: families, configurations or runs, never pairs. Few units
(families) are left out in turn and give a t interval of a logarithm; many are drawn with replacement, and a pair of two
drawn things counts as often as both its members. It measures no distance and no regression (`associations`).
"""

from zlib import crc32

import numpy as np
import pandas as pd
from scipy.stats import t as student

from manifold_utils.workers import check_choice

LEVEL = 0.95  # of every interval of the book, where nothing else is said


def interval(draws, level=LEVEL, *, method="linear"):
    """Percentile interval of draws, of one number or of each entry of an array.

    Parameters
    ----------
    draws : array-like of shape (n_draws, ...)
        NaN is left out: a draw that says nothing.
    level : float in (0, 1)
    method : str, of `numpy.quantile`; "nearest" where draws may be infinite

    Returns
    -------
    low, high : float, or ndarray of shape (...)
        NaN without draws.

    Examples
    --------
    >>> interval([0.0, 1.0, 2.0, float("nan")], level=0.5)
    (0.5, 1.5)
    >>> interval([[0.0, 10.0], [1.0, 10.0], [2.0, 10.0]], level=0.5)
    (array([ 0.5, 10. ]), array([ 1.5, 10. ]))
    """
    draws = np.asarray(draws, dtype=np.float64)
    if draws.ndim > 1:
        columns = draws.reshape(len(draws), -1).T
        low, high = np.array([interval(column, level, method=method) for column in columns]).T
        return low.reshape(draws.shape[1:]), high.reshape(draws.shape[1:])
    known, tail = draws[~np.isnan(draws)], (1 - level) / 2
    if not len(known):
        return np.nan, np.nan
    return tuple(float(q) for q in np.quantile(known, [tail, 1 - tail], method=method))


def resamples(n_units, n_resamples, rng):
    """The one bootstrap: how often each unit comes up when as many are drawn with replacement.

    Parameters
    ----------
    n_units : int, at least 1
    n_resamples : int
    rng : numpy Generator

    Returns
    -------
    ndarray of shape (n_resamples, n_units), int
        Each row sums to n_units.

    Examples
    --------
    >>> resamples(3, 2, np.random.default_rng(0)).sum(axis=1).tolist()
    [3, 3]
    """
    return rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_resamples)


def bootstrap_interval(values, statistic=np.mean, *, n_resamples=1000, level=LEVEL, rng=None):
    """Percentile bootstrap interval of a statistic of independent values.

    Parameters
    ----------
    values : (n, ...) ndarray; resampled along the first axis
    statistic : function of such an array giving a number
    rng : numpy Generator

    Returns
    -------
    low, high : float
    """
    values, rng = np.asarray(values), rng or np.random.default_rng(0)
    drawn = resamples(len(values), n_resamples, rng)
    return interval([statistic(np.repeat(values, count, axis=0)) for count in drawn], level)


def t_interval(values, level=LEVEL, *, centre=None):
    """Student's t interval of the mean of independent values; no draws.

    Parameters
    ----------
    values : array-like of shape (n,)
        One value for each unit that the sentence generalises to (families, say).
    level : float in (0, 1)
    centre : float, optional
        The middle of the interval; by default the mean.

    Returns
    -------
    low, high : float
        NaN for fewer than two values, and where one is not finite.

    Examples
    --------
    >>> low, high = t_interval([1.0, 2.0, 3.0])
    >>> round(low, 2), round(high, 2)  # 2 -+ 4.303 / sqrt(3): two degrees of freedom
    (-0.48, 4.48)
    """
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2 or not np.isfinite(values).all():
        return np.nan, np.nan
    middle = values.mean() if centre is None else centre
    half = student.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(middle - half), float(middle + half)


def jackknife_interval(whole, left_out, level=LEVEL):
    """t interval of a statistic from its values with each unit left out in turn (Tukey's jackknife).

    For a mean over units it is `t_interval` of the units.

    Parameters
    ----------
    whole : float
        The statistic of all n units, the middle of the interval.
    left_out : array-like of shape (n,)
        The statistic without each of the units.
    level : float in (0, 1)

    Returns
    -------
    low, high : float
        NaN for fewer than two units, and where the statistic does not exist without one of them.

    Examples
    --------
    >>> jackknife_interval(2.0, [2.5, 2.0, 1.5]) == t_interval([1.0, 2.0, 3.0])
    True
    """
    left_out = np.asarray(left_out, dtype=np.float64)
    return t_interval(len(left_out) * whole - (len(left_out) - 1) * left_out, level, centre=whole)


def mean_over_groups(values, groups, level=LEVEL):
    """Mean of values, and its t interval over groups, left out in turn: values of a group are no independent witnesses.

    Parameters
    ----------
    values : array-like of shape (n,), finite
    groups : sequence of length n
        What the sentence generalises to: families, or families with kinds of start.
    level : float in (0, 1)

    Returns
    -------
    value, low, high : float
        The interval is NaN for fewer than two groups, all three without values.

    Examples
    --------
    >>> value, low, high = mean_over_groups([1.0, 1.0, 3.0, 3.0], ["a", "a", "b", "b"])
    >>> value, round(low, 1), round(high, 1)  # 2 -+ 12.7: one degree of freedom
    (2.0, -10.7, 14.7)
    """
    values, groups = np.asarray(values, dtype=np.float64), np.asarray(groups)
    if not len(values):
        return np.nan, np.nan, np.nan
    names = np.unique(groups)
    left_out = [values[groups != name].mean() for name in names] if len(names) > 1 else []
    return float(values.mean()), *jackknife_interval(values.mean(), left_out, level)


def p_value(real, draws, *, side="low"):
    """The one permutation p: (1 + number of draws as extreme as `real`) / (1 + number of draws); never 0.

    Parameters
    ----------
    real : float
    draws : array-like of shape (n_draws,), what chance gave
    side : {"low", "high"}
        Which draws are as extreme: those at or below `real`, or those at or above it.

    Examples
    --------
    >>> p_value(1.0, [2.0, 3.0, 0.5]), p_value(1.0, [2.0, 3.0, 0.5], side="high")
    (0.5, 0.75)
    """
    check_choice("side", side, ("low", "high"))
    draws = np.asarray(draws)
    extreme = draws <= real if side == "low" else draws >= real
    return float((1 + np.sum(extreme)) / (1 + len(draws)))


def stream(seed, purpose):
    """A random generator for one purpose, so that one more interval elsewhere moves no other number.

    Parameters
    ----------
    seed : int
    purpose : str
        What is drawn; the same words give the same draws.

    Returns
    -------
    numpy Generator

    Examples
    --------
    >>> bool(stream(0, "gain of the road").random() == stream(0, "gain of the road").random())
    True
    >>> bool(stream(0, "gain of the road").random() == stream(0, "order of learning").random())
    False
    """
    return np.random.default_rng([seed, crc32(purpose.encode())])


def holm(p_values):
    """P-values corrected for their number: step-down Bonferroni (Holm 1979), valid whatever their dependence.

    Parameters
    ----------
    p_values : array-like of shape (n,), all tests of one question

    Returns
    -------
    ndarray of shape (n,), at least the p-values themselves and at most 1

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def drawn_pairs(pairs, n_resamples, rng):
    """How often each pair comes up when its members (configurations, or runs) are drawn with replacement: both count.

    Parameters
    ----------
    pairs : DataFrame with `first` and `second`, or list of such DataFrames on the same members

    Returns
    -------
    ndarray of shape (n_resamples, n_pairs), int; for a list, a list of arrays from the same draws
    """
    tables = [pairs] if isinstance(pairs, pd.DataFrame) else pairs
    ends = [t[["first", "second"]].to_numpy(dtype=int).reshape(-1, 2) for t in tables]
    names = np.unique(np.concatenate(ends))
    drawn = resamples(len(names), n_resamples, rng)
    weights = [drawn[:, np.searchsorted(names, e)].prod(axis=2) for e in ends]
    return weights[0] if isinstance(pairs, pd.DataFrame) else weights


def ratio_over_runs(above, below, *, n_resamples=1000, level=LEVEL, rng):
    """Ratio of two mean distances over pairs of runs, with an interval that draws *runs* again, not pairs.

    A run drawn twice counts twice in each of its pairs, so that pairs which share a run are not taken for independent.

    Parameters
    ----------
    above, below : DataFrames with first, second (numbers of runs) and value
        Pairs of the numerator and of the denominator; they may be the same pairs.
    n_resamples : int
    level : float
    rng : numpy Generator

    Returns
    -------
    value, low, high : float
        NaN without pairs on either side; draws of runs that contain no such pair are left out.

    Examples
    --------
    >>> one = pd.DataFrame({"first": [0, 0, 1], "second": [1, 2, 2], "value": [1.0, 1.0, 1.0]})
    >>> ratio_over_runs(one, one.assign(value=2.0), rng=np.random.default_rng(0))
    (0.5, 0.5, 0.5)
    """
    above, below = (t[np.isfinite(t.value.to_numpy(float))] for t in (above, below))
    if not len(above) or not len(below):
        return np.nan, np.nan, np.nan
    values = [t.value.to_numpy(float) for t in (above, below)]
    means = []
    for weight, x in zip(drawn_pairs([above, below], n_resamples, rng), values, strict=True):
        total = weight.sum(axis=1)
        means.append(np.divide(weight @ x, total, out=np.full(len(weight), np.nan), where=total > 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = means[0] / means[1]
    value = values[0].mean() / values[1].mean()
    return float(value), *interval(drawn[np.isfinite(drawn)], level)
