"""Does one number of a run tell another: regressions judged on held-out configurations, rank correlations, exchanges.

Configurations are held out, drawn and exchanged as a whole, since their seeds are no independent witnesses.
Association only: nothing here shows a cause.
"""

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from manifold_utils.statistics.intervals import LEVEL, interval, resamples

PENALTY = 1.0  # of the ridge regression, on standardised features
MIN_FREEDOM = 5  # configurations left over after what is held fixed; fewer say nothing about a correlation
ROUNDING = 1e-24  # variance of logs below which all values are the same
CONSTANT = 1e-12  # spread of a feature over its size below which it does not vary and is not scaled
EXPLAINED_AWAY = 1e-9  # share of the sum of squares of ranks below which nothing is left to correlate


def exchanged(groups, rng, strata=None):
    """Row numbers that give each group the rows of another group, drawn without replacement within each stratum.

    Seeds of one configuration stay together, so that a permutation test does not take them for independent. A group
    that receives fewer rows than it has repeats them.

    Parameters
    ----------
    groups : array-like of shape (n,), the configuration of each row
    rng : numpy Generator
    strata : array-like of shape (n,), optional
        Groups are exchanged only with groups of equal stratum (that of a group's first row).

    Returns
    -------
    ndarray of shape (n,), int

    Examples
    --------
    >>> exchanged([0, 0, 1, 1], np.random.default_rng(1), strata=["a", "a", "b", "b"]).tolist()
    [0, 1, 2, 3]
    """
    groups = pd.factorize(np.asarray(groups))[0]
    rows = [np.flatnonzero(groups == g) for g in range(groups.max() + 1)]
    stratum = np.zeros(len(rows), int) if strata is None else pd.factorize(np.asarray(strata)[[r[0] for r in rows]])[0]
    out = np.empty(len(groups), dtype=int)
    for s in np.unique(stratum):
        members = np.flatnonzero(stratum == s)
        for to, source in zip(members, rng.permutation(members), strict=True):
            out[rows[to]] = np.resize(rows[source], len(rows[to]))
    return out


def held_out_errors(features, target, groups, *, n_splits=5, seed=0):
    """Squared errors of a ridge regression on groups that it has not seen, beside those of guessing the mean.

    Parameters
    ----------
    features : ndarray of shape (n, n_features)
    target : ndarray of shape (n,) or (n, n_targets)
        Several targets are learned independently, on the same folds.
    groups : array-like of shape (n,)
    n_splits : int, at most the number of groups; with as many, each group is held out by itself
    seed : int, of the folds

    Returns
    -------
    model, guess : ndarrays of the shape of target
        `guess` is the mean over the runs that the regression learned from.

    Raises
    ------
    ValueError
        Fewer than two groups.
    """
    number = pd.factorize(np.asarray(groups))[0]
    n_groups = number.max() + 1
    if n_groups < 2:
        raise ValueError("one group cannot be held out from itself")
    target = np.asarray(target, dtype=np.float64)
    model, guess = np.empty_like(target), np.empty_like(target)
    folds = GroupKFold(min(n_splits, n_groups), shuffle=True, random_state=seed)
    for train, test in folds.split(features, groups=number):
        model[test] = _ridge(features[train], target[train], features[test]) - target[test]
        guess[test] = target[train].mean(axis=0) - target[test]
    return model**2, guess**2


def _ridge(features, target, new):
    """Predictions for `new` of a ridge regression on standardised features, in closed form: thousands of small fits."""
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > CONSTANT * np.abs(features).max(axis=0), scale, 1.0)
    x, mean = (features - centre) / scale, target.mean(axis=0)
    weights = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ (target - mean))
    return (new - centre) / scale @ weights + mean


def r2_interval(model, guess, groups, *, against=None, n_resamples=1000, level=LEVEL, rng):
    """Held-out R^2, 1 - sum(model) / sum(guess), or what it gains over another model, with an interval.

    Parameters
    ----------
    model, guess : ndarrays of shape (n,), see `held_out_errors`
    groups : array-like of shape (n,); they are drawn with replacement, the fits stay as they are
    against : ndarray of shape (n,), optional
        Squared errors of the other model on the same folds.

    Returns
    -------
    value, low, high : float
        0 is as good as guessing the mean; it can be negative.

    Examples
    --------
    >>> r2_interval(np.full(4, 0.25), np.ones(4), [0, 0, 1, 1], rng=np.random.default_rng(0))
    (0.75, 0.75, 0.75)
    """
    other = np.asarray(guess if against is None else against)
    sums = pd.DataFrame({"saved": other - model, "guess": guess}).groupby(np.asarray(groups)).sum().to_numpy()
    drawn = resamples(len(sums), n_resamples, rng) @ sums
    total = sums.sum(axis=0)
    return float(total[0] / total[1]), *interval(drawn[:, 0] / drawn[:, 1], level)


def seed_ceiling(values, groups, *, n_resamples=1000, level=LEVEL, rng):
    """The most that any predictor can explain which knows a run's configuration but not its seed.

    Seeds of one configuration differ, and no factor tells which of them is better. Their share is estimated
    without bias by one-way analysis of variance: with mean squares M_b between and M_w within configurations, the
    variance between them is (M_b - M_w) / n_0, n_0 = (n - sum n_k^2 / n) / (K - 1); the ceiling is its share.

    Parameters
    ----------
    values : array-like of shape (n,)
    groups : array-like of shape (n,), configurations; those with one seed count between, not within
    n_resamples : int
        Draws of configurations, with replacement, for the interval.

    Returns
    -------
    value, low, high : float
        At most 1; below 0 where configurations differ less than their seeds. NaN if no configuration has two seeds.

    Examples
    --------
    >>> seed_ceiling([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1], rng=np.random.default_rng(0))[0]
    1.0
    """
    values = np.asarray(values, dtype=np.float64)
    number = pd.factorize(np.asarray(groups))[0]
    of_group = pd.DataFrame({"value": values, "square": values**2}).groupby(number).sum()
    sums = np.column_stack([np.bincount(number), of_group])
    drawn = np.vstack([np.ones(len(sums), dtype=int), resamples(len(sums), n_resamples, rng)])
    found = _between_share(sums, drawn)
    return float(found[0]), *interval(found[1:], level)


def _between_share(sums, counts):
    """Variance between groups over the total, for each row of `counts` (how often each group was drawn)."""
    size, total, square = sums.T
    n, n_groups, of_mean = counts @ size, counts.sum(axis=1), total**2 / size
    within = counts @ (square - of_mean)
    between = counts @ of_mean - (counts @ total) ** 2 / n
    freedom = n - n_groups
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_within = np.where(freedom > 0, within / freedom, np.nan)
        typical_size = (n - counts @ size**2 / n) / (n_groups - 1)
        variance = (between / (n_groups - 1) - mean_within) / typical_size
        return variance / (variance + mean_within)


def rank_association(x, y, groups, *, given=None, n_resamples=1000, level=LEVEL, rng):
    """Spearman correlation of two numbers a run, with an interval that draws configurations.

    Parameters
    ----------
    x, y : array-like of shape (n,)
    groups : array-like of shape (n,), configurations
    given : DataFrame of n rows, optional
        What is held fixed: numbers by their rank, other columns as factors, both by least squares on the ranks.

    Returns
    -------
    value, low, high : float, in [-1, 1]; NaN where nothing varies or fewer than MIN_FREEDOM configurations are left

    Examples
    --------
    >>> x = np.arange(8)
    >>> rank_association(x, x**2, x, rng=np.random.default_rng(0))
    (1.0, 1.0, 1.0)
    """
    number = pd.factorize(np.asarray(groups))[0]
    n_groups = len(np.unique(number))
    if n_groups <= MIN_FREEDOM:
        return np.nan, np.nan, np.nan
    table = pd.DataFrame({"x": np.asarray(x, dtype=float), "y": np.asarray(y, dtype=float)}).rank()
    fixed = np.ones((len(table), 1))
    if given is not None:
        given = given.reset_index(drop=True)
        numbers = given.select_dtypes("number").rank()
        factors = given.drop(columns=numbers.columns)
        parts = [numbers, pd.get_dummies(factors, dtype=float)] if factors.shape[1] else [numbers]
        fixed = np.hstack([fixed, *(part.to_numpy(dtype=float) for part in parts)])
    if n_groups - np.linalg.matrix_rank(fixed) < MIN_FREEDOM:
        return np.nan, np.nan, np.nan
    drawn = resamples(n_groups, n_resamples, rng)
    columns = np.hstack([fixed, table.to_numpy()])
    found = _partial_correlation(columns, np.vstack([np.ones(len(columns)), drawn[:, number]]))
    return float(found[0]), *interval(found[1:], level)


def _partial_correlation(columns, weights):
    """Correlation of the last two columns given the others, for each row of weights; NaN where nothing is left."""
    columns = columns / np.maximum(np.abs(columns).max(axis=0), 1.0)
    products = (columns[:, :, None] * columns[:, None, :]).reshape(len(columns), -1)
    gram = (weights @ products).reshape(-1, columns.shape[1], columns.shape[1])
    cross = gram[:, :-2, -2:]
    left = gram[:, -2:, -2:] - cross.transpose(0, 2, 1) @ np.linalg.pinv(gram[:, :-2, :-2], hermitian=True) @ cross
    size = left[:, [0, 1], [0, 1]]
    alive = (size > EXPLAINED_AWAY * gram[:, [-2, -1], [-2, -1]]).all(axis=1)
    scale = np.sqrt(np.where(alive[:, None], size, 1.0).prod(axis=1))
    return np.where(alive, np.clip(left[:, 0, 1] / scale, -1.0, 1.0), np.nan)


def variance_share(distances, levels):
    """Share of the variance of log distances that lies between the levels of a factor (eta squared), column by column.

    Distances are positive and skewed: on their own scale a few far runs hold most of the variance, and a factor that
    multiplies them counts only where they are large. Their logarithms have neither fault, and no unit.

    Parameters
    ----------
    distances : ndarray of shape (n_runs, n_columns), nats; NaN, or not above 0, where there is none
    levels : sequence of length n_runs

    Returns
    -------
    ndarray of shape (n_columns,), float64, in [0, 1]
        NaN where fewer than two runs are known or all are equally far.

    Examples
    --------
    >>> far = np.array([[1.0, 1.0], [2.0, 1.0], [8.0, 4.0], [16.0, 4.0]])
    >>> variance_share(far, ["a", "a", "b", "b"]).round(3).tolist()
    [0.9, 1.0]
    """
    distances = np.asarray(distances, dtype=np.float64)
    known = distances > 0  # NaN is not
    logs = np.log(np.where(known, distances, 1.0))
    n = np.maximum(known.sum(axis=0), 1)
    logs = np.where(known, logs - logs.sum(axis=0) / n, 0.0)
    member = np.equal.outer(pd.unique(np.asarray(levels)), np.asarray(levels)).astype(np.float64)
    counts, sums = member @ known, member @ logs
    between = (sums**2 / np.maximum(counts, 1)).sum(axis=0)
    total = np.square(logs).sum(axis=0)
    spread = total > ROUNDING * n
    return np.divide(between, total, out=np.full(total.shape, np.nan), where=spread)
