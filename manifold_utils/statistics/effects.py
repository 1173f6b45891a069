"""How much each factor moves trajectories: matched pairs of configurations, with seeds as the yardstick.

Two configurations that agree in all but one factor are compared on runs of *different* seeds, so that a factor without
effect has the ratio 1 to the distance between seeds of one configuration (PAPER.md section 1, Trajectory distance). It
computes no distances (see `trajectories.of_atlas`), no regression (see `studies.importance`) and draws nothing.
"""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from manifold_utils.profiles import CONFIGURATION, SEED
from manifold_utils.statistics.intervals import p_value, ratio_of_sums_interval

LINKED = {  # factors that a grid may only vary together with another: a rate belongs to its optimiser and batch size
    "architecture": ("scale",),
    "optimizer": ("learning_rate",),
    "batch_size": ("learning_rate",),
    "learning_rate": ("batch_size",),
}


def configurations(runs, columns=CONFIGURATION):
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


def matched_pairs(table, factor, *, linked=None, columns=CONFIGURATION):
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
    distances : ndarray of shape (..., n_runs, n_runs)
        d_traj, or a stack of distances at equal progress, nats; NaN for pairs that cannot be compared.
    number, seeds : ndarrays of shape (n_runs,)

    Returns
    -------
    ndarray of shape (..., n_configurations, n_configurations), float64
        NaN where no two runs of different seeds exist.

    Examples
    --------
    >>> d = np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 3.0], [5.0, 3.0, 0.0]])
    >>> seed_means(d, np.array([0, 0, 1]), np.array([1, 2, 2])).tolist()
    [[1.0, 5.0], [5.0, nan]]
    """
    distances, seeds = np.asarray(distances, dtype=np.float64), np.asarray(seeds)
    allowed = (seeds[:, None] != seeds) & np.isfinite(distances)
    member = np.zeros((n_configurations or number.max() + 1, len(number)))
    member[number, np.arange(len(number))] = 1.0
    sums, counts = member @ np.where(allowed, distances, 0.0) @ member.T, member @ allowed @ member.T
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


class _Comparison:
    """Which pairs of runs stand for which pairs of configurations; distances are looked up, for any order of runs."""

    def __init__(self, distances, runs, factor, linked, columns):
        self.number, table = configurations(runs, columns)
        self.seeds = runs[SEED].to_numpy()
        self.pairs = matched_pairs(table, factor, linked=linked, columns=columns)
        stack = np.reshape(distances, (-1, len(runs), len(runs)))
        # runs first, progress last: a look-up of one pair of runs reads one row
        self.values = np.ascontiguousarray(np.moveaxis(stack, 0, -1))
        self.members = [np.flatnonzero(self.number == k) for k in range(len(table))]
        ends = self.pairs[["first", "second"]].to_numpy(dtype=int)
        self.names, own = np.unique(ends, return_inverse=True)
        self.own = own.reshape(-1, 2)
        self.cells = self._cells(ends), self._cells(np.stack([self.names, self.names], axis=1))
        self.block = self._blocks(ends)

    def _cells(self, ends):
        grids = [np.meshgrid(self.members[a], self.members[b], indexing="ij") for a, b in ends]
        apart = [self.seeds[u] != self.seeds[v] for u, v in grids]
        owner = np.repeat(np.arange(len(ends)), [keep.sum() for keep in apart]).astype(int)
        u, v = (np.concatenate([g[k][keep] for g, keep in zip(grids, apart, strict=True)] or [[]]) for k in (0, 1))
        adder = csr_array((np.ones(len(owner)), (owner, np.arange(len(owner)))), shape=(len(ends), len(owner)))
        return u.astype(int), v.astype(int), adder

    def _means(self, cells, order):
        u, v, adder = cells
        found = self.values[order[u], order[v]].astype(np.float64)
        known = np.isfinite(found)
        sums, counts = adder @ np.where(known, found, 0.0), adder @ known.astype(np.float64)
        return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)

    def sums(self, order=None):
        """(n_pairs,) each: sums over comparable values of progress of between and of within, and their number."""
        order = np.arange(len(self.number)) if order is None else order
        between, seeds = (self._means(cells, order) for cells in self.cells)
        own = seeds[self.own]  # (n_pairs, 2, n_grid)
        n_own = np.isfinite(own).sum(axis=1)
        within = np.divide(np.nansum(own, axis=1), n_own, out=np.full(n_own.shape, np.nan), where=n_own > 0)
        both = np.isfinite(between) & np.isfinite(within)
        return *(np.where(both, x, 0.0).sum(axis=1) for x in (between, within)), both.sum(axis=1)

    def _blocks(self, ends):
        """(n_runs,) runs of one seed among configurations that pairs link: exchangeable if the factor does nothing."""
        graph = coo_array((np.ones(len(ends)), tuple(ends.T)), shape=(len(self.members),) * 2)
        component = connected_components(graph, directed=False)[1][self.number]
        return pd.MultiIndex.from_arrays([component, self.seeds]).factorize()[0]

    def shuffled(self, rng):
        """An order of runs in which the runs of each block have changed places."""
        order = np.empty(len(self.block), dtype=int)
        order[np.lexsort((rng.random(len(self.block)), self.block))] = np.argsort(self.block, kind="stable")
        return order


def effect_ratio(distances, runs, factor, *, linked=None, columns=CONFIGURATION):
    """Mean distance of matched pairs over the mean distance between their seeds: 1 for a factor without effect.

    Parameters as in `effect_size`.

    Returns
    -------
    float, NaN if no pair can be compared
    """
    between, within, _ = _Comparison(distances, runs, factor, linked, columns).sums()
    return float(between.sum() / within.sum()) if within.sum() > 0 else np.nan


def effect_size(
    distances, runs, factor, *, linked=None, columns=CONFIGURATION, n_resamples=1000, n_permutations=200, rng
):
    """How much farther apart runs are that differ in one factor than runs that differ in the seed alone.

    Parameters
    ----------
    distances : ndarray of shape (n_runs, n_runs) or (n_grid, n_runs, n_runs)
        d_traj, or distances at equal progress, nats. In a stack, NaN marks what cannot be compared (a run that never
        gets to that progress), and a pair is compared with its seeds on the same values of progress only.
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
    compared = _Comparison(distances, runs, factor, linked, columns)
    between, within, cells = compared.sums()
    usable = (cells > 0) & (within > 0)
    pairs, between, within = compared.pairs[usable], between[usable], within[usable]
    found = {"factor": factor, "n_pairs": len(pairs), "n_strict": int(pairs.strict.sum())}
    found["n_configurations"] = len(np.unique(pairs[["first", "second"]]))
    if not len(pairs):
        return found | dict.fromkeys(("value", "low", "high", "p_value", "null_high", "between", "within"), np.nan)
    value, n_cells = between.sum() / within.sum(), cells.sum()
    low, high = ratio_of_sums_interval(pairs, between, within, n_resamples=n_resamples, rng=rng)
    null = [compared.sums(compared.shuffled(rng)) for _ in range(n_permutations)]
    null = np.array([b.sum() / w.sum() for b, w, _ in null if w.sum() > 0])
    found |= {"value": value, "low": low, "high": high}
    found |= {"between": between.sum() / n_cells, "within": within.sum() / n_cells}
    # a hair of tolerance: shuffles that change nothing must count as reaching the value
    found["p_value"] = p_value(value * (1 - 1e-9), null, side="high") if len(null) else np.nan
    found["null_high"] = np.quantile(null, 0.95) if len(null) else np.nan
    return {k: float(v) if isinstance(v, np.floating) else v for k, v in found.items()}


def between_configurations(distances, labels):
    """Distances between configurations: the mean over all pairs of their seeds.

    Parameters
    ----------
    distances : ndarray of shape (n_runs, n_runs)
        See `trajectory_distances`.
    labels : sequence of length n_runs
        The configuration of each run, anything that sorts.

    Returns
    -------
    names : ndarray of shape (n_configurations,)
        Configurations, sorted.
    between : ndarray of shape (n_configurations, n_configurations)
        Zero on the diagonal.
    within : ndarray of shape (n_configurations,)
        The mean over pairs of different seeds of one configuration; NaN where there is one seed only.

    Examples
    --------
    >>> d = np.array([[0.0, 2.0, 4.0], [2.0, 0.0, 6.0], [4.0, 6.0, 0.0]])
    >>> names, between, within = between_configurations(d, ["a", "a", "b"])
    >>> between.tolist(), within.tolist()
    ([[0.0, 5.0], [5.0, 0.0]], [2.0, nan])
    """
    distances = np.asarray(distances)
    names, index, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if distances.shape != (len(index), len(index)):
        raise ValueError(f"distances are {distances.shape}, but there are {len(index)} labels")
    member = np.zeros((len(names), len(index)))
    member[index, np.arange(len(index))] = 1.0
    sums = member @ distances @ member.T
    pairs = counts * (counts - 1)
    within = np.where(pairs > 0, np.diag(sums) / np.maximum(pairs, 1), np.nan)
    between = sums / np.outer(counts, counts)
    np.fill_diagonal(between, 0.0)
    return names, between, within


def nearest_of_others(cross, row_names, column_names):
    """Least distance from each point to the points of *other* names (runs, or seeds).

    Parameters
    ----------
    cross : array-like of shape (n_rows, n_columns)
        Distances (nats for d_B).
    row_names, column_names : sequences of length n_rows and n_columns
        What each point belongs to; points of the same name are not compared.

    Returns
    -------
    ndarray of shape (n_rows,), float64
        NaN where no column has another name.

    Examples
    --------
    >>> nearest_of_others([[0.0, 2.0, 1.0]], ["a"], ["a", "b", "c"]).tolist()
    [1.0]
    """
    cross = np.asarray(cross, dtype=np.float64)
    row_names, column_names = np.asarray(row_names), np.asarray(column_names)
    if cross.shape != (len(row_names), len(column_names)):
        raise ValueError(f"cross is {cross.shape}, but there are {len(row_names)} and {len(column_names)} names")
    nearest = np.where(row_names[:, None] == column_names, np.inf, cross).min(axis=1, initial=np.inf)
    return np.where(np.isinf(nearest), np.nan, nearest)
