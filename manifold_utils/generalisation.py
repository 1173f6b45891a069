"""Does what a run does on train samples tell how it does on test samples: order of learning, dimension, held-out R^2.

The seed document's open question (PAPER.md section 3). When a sample is learned for good, and how well two runs agree
on the order (Spearman), with the exact mean under shuffles within classes; the effective dimension of a set of points
(explained stress and participation ratio, PAPER.md section 1, InPCA); predictions of one number a run on held-out
configurations, with an interval that draws configurations. Association only: nothing here shows a cause. Which runs
are compared is the chapter's affair.
"""

import numpy as np
import pandas as pd

from manifold_utils.geometry import progress
from manifold_utils.inpca import InPCA
from manifold_utils.null_pairs import exchange_classes
from manifold_utils.nulls import labels_of
from manifold_utils.progress import as_numpy

PENALTY = 1.0  # of the ridge regression, on standardised features
MIN_FREEDOM = 5  # configurations left over after what is held fixed; fewer say nothing about a correlation
EXPLAINED_AWAY = 1e-9  # share of the sum of squares of ranks below which nothing is left to correlate


def learned_at(log_probs, labels):
    """The first checkpoint from which each sample stays right to the end.

    Parameters
    ----------
    log_probs : array-like of shape (n_points, n_samples, n_classes), in training order
    labels : array-like of shape (n_samples,), int

    Returns
    -------
    ndarray of shape (n_samples,), int
        n_points for a sample that is wrong at the last checkpoint.

    Examples
    --------
    >>> run = np.log([[[0.9, 0.1], [0.6, 0.4]], [[0.4, 0.6], [0.3, 0.7]], [[0.8, 0.2], [0.7, 0.3]]])
    >>> learned_at(run, [0, 1]).tolist()
    [2, 3]
    """
    log_probs = as_numpy(log_probs)
    wrong = log_probs.argmax(axis=-1) != labels_of(log_probs, labels)
    return np.where(wrong.any(axis=0), len(wrong) - wrong[::-1].argmax(axis=0), 0)


def order_agreement(orders, labels=None):
    """Spearman correlation between runs of the order in which they learn the samples, ties at their mean rank.

    Parameters
    ----------
    orders : array-like of shape (n_runs, n_samples)
        See `learned_at`; only the ranks within a run count.
    labels : array-like of shape (n_samples,), optional
        If given, the exact mean of the correlation when the samples of one run are shuffled within each class: what
        easy and hard classes alone make.

    Returns
    -------
    ndarray of shape (n_runs, n_runs), in [-1, 1]
        NaN for a run that learns all samples at once.

    Examples
    --------
    >>> order_agreement([[1, 2, 3, 4], [1, 2, 4, 3]])[0, 1].round(6).item()
    0.8
    >>> order_agreement([[1, 2, 3, 4], [1, 2, 4, 3]], labels=[0, 0, 1, 1])[0, 1].round(6).item()
    0.8
    """
    ranks = pd.DataFrame(np.asarray(orders)).rank(axis=1).to_numpy()
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(ranks).sum(axis=1, keepdims=True))
    unit = np.divide(ranks, size, out=np.full_like(ranks, np.nan), where=size > 0)
    if labels is not None:
        unit = pd.DataFrame(unit).T.groupby(np.asarray(labels)).transform("mean").T.to_numpy()
    return unit @ unit.T


def own_road(atlas, run, fitted=None):
    """Train predictions of one run from the start of its last training phase, turned to what it was fitted to.

    Parameters
    ----------
    atlas : Atlas
    run : str
    fitted : array-like of shape (n_samples,), optional
        Labels it was fitted to, if they are not the true ones; two classes are then exchanged on every sample, so that
        these labels stand where truth does (see `null_pairs.exchange_classes`).

    Returns
    -------
    ndarray of shape (n_points, n_samples, n_classes)
    """
    main = (atlas.points.phase[atlas.points.run == run] == "main").to_numpy()
    log_probs = atlas.run_log_probs(run, "train")[main]
    return log_probs if fitted is None else exchange_classes(log_probs, fitted, atlas.labels("train"))


def own_clock(atlas, run, fitted=None):
    """Progress and error of one run on the labels that it was fitted to; reads predictions only if these are given.

    Returns
    -------
    DataFrame of n_points rows with columns progress and error, in step with `own_road`
    """
    if fitted is None:
        rows = atlas.points[(atlas.points.run == run) & (atlas.points.phase == "main")]
        return pd.DataFrame({"progress": rows.progress_train.to_numpy(), "error": rows.error_train.to_numpy()})
    turned, labels = own_road(atlas, run, fitted), atlas.labels("train")
    return pd.DataFrame({"progress": progress(turned, labels), "error": (turned.argmax(axis=2) != labels).mean(axis=1)})


def with_corners(clock, low, high, n_corners):
    """Checkpoints to keep so that a run has `n_corners` of them between two values of progress, evenly chosen.

    A run of few checkpoints is a polygon of few corners, and its dimension is low for that reason alone; so runs are
    compared with equally many.

    Parameters
    ----------
    clock : array-like of shape (n_points,), progress in training order
    low, high : float
    n_corners : int

    Returns
    -------
    ndarray of int, ascending: all checkpoints outside and the chosen ones inside; empty if there are too few inside

    Examples
    --------
    >>> with_corners([0.0, 0.2, 0.3, 0.4, 0.9], 0.1, 0.5, 2).tolist()
    [0, 1, 3, 4]
    """
    clock = np.asarray(clock)
    inside = (clock > low) & (clock < high)
    candidates = np.flatnonzero(inside)
    if len(candidates) < n_corners:
        return np.array([], dtype=int)
    chosen = candidates[np.linspace(0, len(candidates) - 1, n_corners).round().astype(int)]
    return np.sort(np.concatenate([np.flatnonzero(~inside), chosen]))


def dimension(D, share=0.9):
    """Effective dimensions of a set of points from their spectrum.

    Parameters
    ----------
    D : ndarray of shape (m, m), m >= 3, distances in nats
    share : float in (0, 1), of the stress

    Returns
    -------
    participation : float
        (sum |lambda|)^2 / sum lambda^2 over all axes: 1 for one axis, k for k equal ones.
    n_axes : int
        Axes that explain `share` of the stress.

    Examples
    --------
    >>> D = 2.0 * (1 - np.eye(4))  # a regular simplex has three equal axes
    >>> participation, n_axes = dimension(D)
    >>> round(participation, 6), n_axes
    (3.0, 3)
    """
    D = np.asarray(D, dtype=np.float64)
    fit = InPCA(n_components=len(D) - 1, solver="dense").fit(D)
    size = np.abs(fit.eigenvalues_)
    if not size.any():
        return 0.0, 0
    n_axes = int(np.searchsorted(fit.explained_stress_, share)) + 1
    return float(size.sum() ** 2 / np.square(size).sum()), min(n_axes, len(size))


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
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    number = pd.factorize(np.asarray(groups))[0]
    n_groups = number.max() + 1
    if n_groups < 2:
        raise ValueError("one group cannot be held out from itself")
    target = np.asarray(target, dtype=np.float64)
    model, guess = np.empty_like(target), np.empty_like(target)
    folds = GroupKFold(min(n_splits, n_groups), shuffle=True, random_state=seed)
    for train, test in folds.split(features, groups=number):
        fit = make_pipeline(StandardScaler(), Ridge(PENALTY)).fit(features[train], target[train])
        model[test] = fit.predict(features[test]) - target[test]
        guess[test] = target[train].mean(axis=0) - target[test]
    return model**2, guess**2


def r2_interval(model, guess, groups, *, against=None, n_resamples=1000, level=0.95, rng):
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
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=n_resamples) @ sums
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [(1 - level) / 2, (1 + level) / 2])
    total = sums.sum(axis=0)
    return float(total[0] / total[1]), float(low), float(high)


def rank_association(x, y, groups, *, given=None, n_resamples=1000, level=0.95, rng):
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
    drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_resamples)
    columns = np.hstack([fixed, table.to_numpy()])
    found = _partial_correlation(columns, np.vstack([np.ones(len(columns)), drawn[:, number]]))
    known, tail = found[1:][np.isfinite(found[1:])], (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (np.nan, np.nan)
    return float(found[0]), float(low), float(high)


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


def in_words(value, low, high):
    """'0.62 (0.47 to 0.71)', or that there is not enough to tell.

    Examples
    --------
    >>> in_words(0.621, 0.47, 0.71), in_words(np.nan, np.nan, np.nan)
    ('0.62 (0.47 to 0.71)', 'not enough configurations to tell')
    """
    return f"{value:.2f} ({low:.2f} to {high:.2f})" if np.isfinite(value) else "not enough configurations to tell"


def verdict(low, high, p=0.0):
    """In words, whether an effect is more than chance: by its interval and, if there is one, its p-value.

    Examples
    --------
    >>> verdict(0.2, 0.4, p=0.01), verdict(-0.1, 0.4, p=0.01), verdict(-0.3, -0.1, p=0.9), verdict(-0.1, 0.1)
    ('something', 'little, if anything', 'less than nothing', 'nothing that can be told from chance')
    """
    if low > 0:
        return "something" if p <= 0.05 else "something, but no more than the null gives"
    if high < 0:
        return "less than nothing"
    return "little, if anything" if 0 < p <= 0.05 else "nothing that can be told from chance"
