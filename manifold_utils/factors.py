"""Which factors make trajectories differ: matched pairs of configurations, effect sizes, importance.

The yardstick is the distance between seeds of one configuration (PAPER.md section 1, Trajectory distance): two
configurations that agree in all but one factor are compared on runs of *different* seeds, so that a factor without
effect has the ratio 1. Importance is the permutation importance of a regressor of d_traj on the pair's factors, on
held-out configurations. It computes no distances (see `reparametrise`) and draws nothing (see `plots_runs`).
"""

import numpy as np
import pandas as pd

COLUMNS = (
    "architecture",
    "scale",
    "optimizer",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "augmentation",
    "initialisation",
    "label_noise",
    "epochs",
)
PAIR_FACTORS = ("architecture", "optimizer", "batch_size", "weight_decay", "augmentation")  # the paper's five
LINKED = {  # factors that a grid may only vary together with another: a rate belongs to its optimiser and batch size
    "architecture": ("scale",),
    "optimizer": ("learning_rate",),
    "batch_size": ("learning_rate",),
    "learning_rate": ("batch_size",),
}
MIN_CONFIGURATIONS = 6  # fewer cannot be split into a part to learn from and a part to be judged on
REGRESSOR = {"max_iter": 60, "max_leaf_nodes": 12, "min_samples_leaf": 5, "learning_rate": 0.15}


def configurations(runs, columns=COLUMNS):
    """Number the configurations: all factors but the seed.

    Parameters
    ----------
    runs : DataFrame of n_runs rows with `columns`
    columns : sequence of str

    Returns
    -------
    number : ndarray of shape (n_runs,), int
        By first appearance.
    table : DataFrame of n_configurations rows

    Examples
    --------
    >>> number, table = configurations(pd.DataFrame({"optimizer": ["sgd", "adam", "sgd"]}), ["optimizer"])
    >>> number.tolist(), table.optimizer.tolist()
    ([0, 1, 0], ['sgd', 'adam'])
    """
    number = runs.groupby(list(columns), sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(number, return_index=True)[1]
    return number, runs[list(columns)].iloc[first].reset_index(drop=True)


def matched_pairs(table, factor, *, linked=None, columns=COLUMNS):
    """Pairs of configurations that differ in one factor and agree in all others.

    Where a grid varies `factor` only together with a linked one (an optimiser with its learning rate), there is no
    strict match; there, and only there, pairs that differ in the linked factors too are taken.

    Parameters
    ----------
    table : DataFrame of configurations, see `configurations`
    factor : str, a column of `table`
    linked : sequence of str, default `LINKED[factor]`
    columns : sequence of str
        What must agree, but for `factor` and where needed `linked`.

    Returns
    -------
    DataFrame with `first`, `second` (row numbers of `table`), `low`, `high` (codes of the two levels) and `strict`

    Examples
    --------
    >>> table = pd.DataFrame({"optimizer": ["sgd", "nesterov", "adam"], "learning_rate": [0.1, 0.1, 0.001]})
    >>> matched_pairs(table, "optimizer", columns=table.columns).strict.tolist()
    [True, False, False]
    """
    linked = [c for c in (LINKED.get(factor, ()) if linked is None else linked) if c in columns]
    if factor not in table:
        raise ValueError(f"{factor!r} is no factor of these configurations; they have {', '.join(table)}")
    others = [c for c in columns if c != factor and c not in linked]
    group = table.groupby(others, sort=False, dropna=False).ngroup().to_numpy() if others else np.zeros(len(table), int)
    levels = table[factor].factorize()[0]
    first, second = np.triu_indices(len(table), 1)
    keep = (group[first] == group[second]) & (levels[first] != levels[second])
    first, second = first[keep], second[keep]
    strict = np.ones(len(first), dtype=bool)
    for column in linked:
        value = table[column].to_numpy()
        strict &= value[first] == value[second]
    ends = np.sort([levels[first], levels[second]], axis=0)
    pairs = pd.DataFrame({"first": first, "second": second, "low": ends[0], "high": ends[1], "strict": strict})
    has_strict = pairs.groupby([group[first], "low", "high"]).strict.transform("any") if len(pairs) else pairs.strict
    return pairs[pairs.strict | ~has_strict.astype(bool)].reset_index(drop=True)


def seed_means(distances, number, seeds, n_configurations=None):
    """Mean distance between configurations over pairs of runs of different seeds; on the diagonal, between seeds.

    Parameters
    ----------
    distances : ndarray of shape (n_runs, n_runs)
        d_traj, nats; NaN for pairs that cannot be compared.
    number, seeds : ndarrays of shape (n_runs,)

    Returns
    -------
    ndarray of shape (n_configurations, n_configurations), float64
        NaN where no two runs of different seeds exist.

    Examples
    --------
    >>> d = np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 3.0], [5.0, 3.0, 0.0]])
    >>> seed_means(d, np.array([0, 0, 1]), np.array([1, 2, 2])).tolist()
    [[1.0, 5.0], [5.0, nan]]
    """
    distances, seeds = np.asarray(distances, dtype=np.float64), np.asarray(seeds)
    member = np.zeros((n_configurations or number.max() + 1, len(number)))
    member[number, np.arange(len(number))] = 1.0
    allowed = (seeds[:, None] != seeds) & np.isfinite(distances)
    sums = member @ np.where(allowed, distances, 0.0) @ member.T
    counts = member @ allowed @ member.T
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _between_within(means, pairs):
    """For each pair: the distance between its configurations, and the mean of their distances between seeds."""
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    own = np.stack([np.diag(means)[first], np.diag(means)[second]])
    n_own = np.isfinite(own).sum(axis=0)
    within = np.divide(np.nansum(own, axis=0), n_own, out=np.full(len(first), np.nan), where=n_own > 0)
    between = means[first, second]
    usable = np.isfinite(between) & np.isfinite(within) & (within > 0)
    return between, within, usable


def effect_ratio(distances, runs, factor, *, linked=None, columns=COLUMNS):
    """Mean distance of matched pairs over the mean distance between their seeds: 1 for a factor without effect.

    Parameters as in `effect_size`.

    Returns
    -------
    float, NaN if no pair can be compared
    """
    number, table = configurations(runs, columns)
    pairs = matched_pairs(table, factor, linked=linked, columns=columns)
    means = seed_means(distances, number, runs.seed.to_numpy())
    between, within, usable = _between_within(means, pairs)
    return float(between[usable].mean() / within[usable].mean()) if usable.any() else np.nan


def effect_size(distances, runs, factor, *, linked=None, columns=COLUMNS, n_resamples=1000, n_permutations=200, rng):
    """How much farther apart runs are that differ in one factor than runs that differ in the seed alone.

    Parameters
    ----------
    distances : ndarray of shape (n_runs, n_runs)
        d_traj, nats.
    runs : DataFrame of n_runs rows with `columns` and `seed`
    factor : str
    linked, columns : see `matched_pairs`
    n_resamples : int
        Draws of configurations, with replacement, for the 95 % interval; a pair counts as often as both its members.
    n_permutations : int
        Shuffles of the runs of equal seed among the matched configurations, for the p-value.
    rng : numpy Generator

    Returns
    -------
    dict: factor, value (ratio), low, high, p_value, null_high (95 % quantile of the shuffled ratios), between, within
        (nats), n_pairs, n_strict, n_configurations. Numbers are NaN if no pair can be compared.

    Examples
    --------
    >>> runs = pd.DataFrame({"optimizer": ["sgd", "sgd", "adam", "adam"], "seed": [1, 2, 1, 2]})
    >>> d = np.abs(np.subtract.outer([0.0, 1.0, 3.0, 4.0], [0.0, 1.0, 3.0, 4.0]))
    >>> effect_size(d, runs, "optimizer", linked=(), columns=["optimizer"], rng=np.random.default_rng(0))["value"]
    3.0
    """
    number, table = configurations(runs, columns)
    pairs = matched_pairs(table, factor, linked=linked, columns=columns)
    seeds = runs.seed.to_numpy()
    means = seed_means(distances, number, seeds)
    between, within, usable = _between_within(means, pairs)
    pairs, between, within = pairs[usable].reset_index(drop=True), between[usable], within[usable]
    found = {"factor": factor, "n_pairs": len(pairs), "n_strict": int(pairs.strict.sum())}
    found["n_configurations"] = len(np.unique(pairs[["first", "second"]]))
    if not len(pairs):
        return found | dict.fromkeys(("value", "low", "high", "p_value", "null_high", "between", "within"), np.nan)
    value = between.mean() / within.mean()
    low, high = _interval(pairs, between, within, n_resamples, rng)
    null = _shuffled_ratios(distances, number, seeds, pairs, n_permutations, rng)
    found |= {"value": value, "low": low, "high": high, "between": between.mean(), "within": within.mean()}
    # a hair of tolerance: shuffles that change nothing must count as reaching the value
    found["p_value"] = (1 + (null >= value * (1 - 1e-9)).sum()) / (1 + len(null)) if len(null) else np.nan
    found["null_high"] = np.quantile(null, 0.95) if len(null) else np.nan
    return {k: float(v) if isinstance(v, np.floating) else v for k, v in found.items()}


def _interval(pairs, between, within, n_resamples, rng):
    """95 % percentile interval of the ratio over drawn configurations; NaN if no draw holds a pair."""
    names, ends = np.unique(pairs[["first", "second"]].to_numpy(), return_inverse=True)
    ends = ends.reshape(-1, 2)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_resamples)
    weight = drawn[:, ends[:, 0]] * drawn[:, ends[:, 1]]
    weight = weight[weight.sum(axis=1) > 0]
    if not len(weight):
        return np.nan, np.nan
    return np.quantile((weight @ between) / (weight @ within), [0.025, 0.975])


def _shuffled_ratios(distances, number, seeds, pairs, n_permutations, rng):
    """Ratios after shuffling, among configurations linked by pairs, which run of a seed belongs to which of them."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = number.max() + 1
    graph = coo_array((np.ones(len(pairs)), (pairs["first"], pairs["second"])), shape=(n, n))
    component = connected_components(graph, directed=False)[1][number]
    block = pd.MultiIndex.from_arrays([component, seeds]).factorize()[0]
    ordered, ratios = np.argsort(block, kind="stable"), []
    for _ in range(n_permutations):
        shuffled = np.empty_like(number)
        shuffled[np.lexsort((rng.random(len(number)), block))] = number[ordered]
        between, within, usable = _between_within(seed_means(distances, shuffled, seeds, n), pairs)
        if usable.any():
            ratios.append(between[usable].mean() / within[usable].mean())
    return np.array(ratios)


def pair_features(runs, first, second, factors=PAIR_FACTORS):
    """For each pair of runs and each factor, the number of the unordered pair of levels.

    Returns
    -------
    ndarray of shape (n_pairs, n_factors), float64 categories from 0

    Examples
    --------
    >>> runs = pd.DataFrame({"optimizer": ["sgd", "adam", "sgd"]})
    >>> pair_features(runs, [0, 0, 1], [1, 2, 2], ["optimizer"]).ravel().tolist()
    [0.0, 1.0, 0.0]
    """
    columns = []
    for factor in factors:
        code, levels = runs[factor].factorize()
        low, high = np.sort([code[first], code[second]], axis=0)
        columns.append(pd.factorize(low * len(levels) + high)[0])
    return np.stack(columns, axis=1).astype(np.float64)


def importance(
    distances, runs, *, factors=PAIR_FACTORS, columns=COLUMNS, n_splits=5, held_out=0.3, max_pairs=20_000, rng
):
    """Permutation importance of the pair's factors for d_traj, on pairs of held-out configurations.

    A gradient-boosted regressor learns d_traj of pairs of runs (different seeds) whose configurations are in one part;
    it is judged on pairs inside the other part. Importance of a factor is the R^2 lost when its column is permuted.

    Parameters
    ----------
    distances, runs, columns : as in `effect_size`
    factors : sequence of str
    n_splits : int, random splits of the configurations
    held_out : float, share of the configurations that the regressor does not see
    max_pairs : int, pairs used at most on each side of a split
    rng : numpy Generator

    Returns
    -------
    DataFrame (n_splits rows): one column of importance a factor, and `r2` on the held-out pairs

    Raises
    ------
    ValueError
        If there are too few configurations to hold some out.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.inspection import permutation_importance
    from threadpoolctl import threadpool_limits

    number, table = configurations(runs, columns)
    if len(table) < MIN_CONFIGURATIONS:
        raise ValueError(f"{len(table)} configurations are too few to hold some out; {MIN_CONFIGURATIONS} are needed")
    first, second = np.triu_indices(len(runs), 1)
    apart = runs.seed.to_numpy()[first] != runs.seed.to_numpy()[second]
    first, second = first[apart], second[apart]
    features, target = pair_features(runs, first, second, factors), np.asarray(distances)[first, second]
    n_held_out, rows = max(3, round(held_out * len(table))), []
    for _ in range(n_splits):
        unseen = (rng.permutation(len(table)) < n_held_out)[number]
        train = _some(np.flatnonzero(~unseen[first] & ~unseen[second]), max_pairs, rng)
        test = _some(np.flatnonzero(unseen[first] & unseen[second]), max_pairs, rng)
        seed = int(rng.integers(2**31))
        categories = list(range(len(factors)))
        model = HistGradientBoostingRegressor(categorical_features=categories, random_state=seed, **REGRESSOR)
        with threadpool_limits(1, user_api="openmp"):  # tables are small: threads would only wait for one another
            model.fit(features[train], target[train])
            lost = permutation_importance(model, features[test], target[test], n_repeats=5, random_state=seed)
            score = model.score(features[test], target[test])
        rows.append({**dict(zip(factors, lost.importances_mean, strict=True)), "r2": score})
    return pd.DataFrame(rows)


def _some(rows, limit, rng):
    return rows if len(rows) <= limit else rng.choice(rows, size=limit, replace=False)
