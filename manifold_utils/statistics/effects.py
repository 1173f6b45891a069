"""How much each factor moves trajectories: matched pairs of configurations, with seeds as the yardstick.

Two configurations that agree in all but one factor are compared on runs of *different* seeds, so that a factor without
effect has the ratio 1 to the distance between seeds of one configuration (PAPER.md section 1, Trajectory distance).
Effects are geometric means, since single configurations would move a ratio of sums; their interval leaves out families
in turn. Distances are computed in `trajectories.of_atlas`, regressions in `studies.importance`.
"""

import numpy as np
import pandas as pd
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from manifold_utils.levels import seeds_of
from manifold_utils.profiles import BOOK_DESIGN
from manifold_utils.statistics.configurations import configurations, matched_pairs
from manifold_utils.statistics.intervals import jackknife_interval, p_value

UNITS = {"families": ["family_first", "family_second"], "configurations": ["first", "second"]}  # what is left out


class _Comparison:
    """Which pairs of runs stand for which pairs of configurations; distances are looked up, for any order of runs."""

    def __init__(self, distances, runs, factor, linked, design):
        self.number, table = configurations(runs, design)
        self.seeds = seeds_of(runs, design)
        self.pairs = matched_pairs(table, factor, linked=linked, design=design)
        stack = np.reshape(distances, (-1, len(runs), len(runs)))
        # runs first, progress last: a look-up of one pair of runs reads one row
        self.values = np.ascontiguousarray(np.moveaxis(stack, 0, -1))
        self.members = [np.flatnonzero(self.number == k) for k in range(len(table))]
        ends = self.pairs[["first", "second"]].to_numpy(dtype=int)
        one = pd.Series(0, index=table.index)  # the family where the runs are of one
        family = table.get(design.family, one).factorize(sort=True)[0]
        self.pairs[UNITS["families"]] = np.sort(family[ends], axis=1)
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

    def _between_and_within(self, order):
        """(n_pairs,) each: means over the values of progress that a pair and its seeds have in common, nats."""
        between, seeds = (self._means(cells, order) for cells in self.cells)
        own = seeds[self.own]  # (n_pairs, 2, n_grid)
        n_own = np.isfinite(own).sum(axis=1)
        within = np.divide(np.nansum(own, axis=1), n_own, out=np.full(n_own.shape, np.nan), where=n_own > 0)
        both = np.isfinite(between) & np.isfinite(within)
        n = both.sum(axis=1)
        return (
            np.divide(np.where(both, x, 0.0).sum(axis=1), n, out=np.full(len(n), np.nan), where=n > 0)
            for x in (between, within)
        )

    def compared(self, order=None):
        """Pairs with a distance, also between and within (nats), log_ratio; those at distance 0 have no logarithm."""
        between, within = self._between_and_within(np.arange(len(self.number)) if order is None else order)
        known = (between > 0) & (within > 0)
        found = self.pairs[known].assign(between=between[known], within=within[known])
        return found.assign(log_ratio=np.log(found.between / found.within))

    def _blocks(self, ends):
        """(n_runs,) runs of one seed among configurations that pairs link: exchangeable if the factor does nothing.

        Where none of these runs share a seed, all of them are.
        """
        graph = coo_array((np.ones(len(ends)), tuple(ends.T)), shape=(len(self.members),) * 2)
        component = connected_components(graph, directed=False)[1][self.number]
        shared = pd.DataFrame({"component": component, "seed": self.seeds}).duplicated(keep=False)
        seeds = np.where(shared.groupby(component).transform("any"), self.seeds, 0)
        return pd.MultiIndex.from_arrays([component, seeds]).factorize()[0]

    def shuffled(self, rng):
        """An order of runs in which the runs of each block have changed places."""
        order = np.empty(len(self.block), dtype=int)
        order[np.lexsort((rng.random(len(self.block)), self.block))] = np.argsort(self.block, kind="stable")
        return order


def _family_mean(pairs, column="log_ratio"):
    """Mean over pairs within each family (or, of the family itself, pair of families), then over these; NaN if none."""
    return pairs.groupby(UNITS["families"])[column].mean().mean()


def _leaving_out(statistic, tables):
    """Interval of a statistic of tables of pairs, families left out in turn; where that cannot be, configurations.

    Returns
    -------
    low, high : float
    over : {"families", "configurations", "nothing"}, what was left out
    n_units : int
    """
    whole = statistic(*tables)
    for over, ends in UNITS.items():
        units = np.unique(np.concatenate([table[ends].to_numpy().ravel() for table in tables]))
        left_out = [statistic(*(t[(t[ends] != unit).all(axis=1)] for t in tables)) for unit in units]
        low, high = jackknife_interval(whole, left_out)
        if np.isfinite([low, high]).all():
            return low, high, over, len(units)
    return np.nan, np.nan, "nothing", 0


def effect_ratio(distances, runs, factor, *, linked=None, design=BOOK_DESIGN):
    """Distance of matched pairs over that between their seeds, geometric mean: 1 for a factor without effect.

    Parameters as in `effect_size`, whose `value` this is, without its interval.

    Returns
    -------
    float, NaN if no pair can be compared
    """
    return float(np.exp(_family_mean(_Comparison(distances, runs, factor, linked, design).compared())))


def effect_size(distances, runs, factor, *, linked=None, design=BOOK_DESIGN, n_permutations=200, rng):
    """How much farther apart runs are that differ in one factor than runs that differ in the seed alone.

    The estimand is the factor's ratio in a family like these: exp of the mean over families of the mean over a family's
    matched pairs of log(between / within). Between is the distance of the pair's runs of different seeds and within
    that of two seeds of its configurations, both at equal progress. Families are levels of the design's family; if the
    factor is the family itself, a pair belongs to two of them and the means are first over each pair. The 95 %
    interval leaves out families in turn, with all their pairs (jackknife), and is a t interval of the log ratio with
    n_families - 1 degrees of freedom: more seeds or configurations cannot shrink it to nothing. Where nothing is left
    without one of the families (there is one; or two, and the factor is the family), configurations are left out
    instead, and `over` says so.

    Parameters
    ----------
    distances : ndarray of shape (n_runs, n_runs) or (n_grid, n_runs, n_runs)
        d_traj, or distances at equal progress, nats. In a stack, NaN marks what cannot be compared (a run that never
        gets to that progress), and a pair is compared with its seeds on the same values of progress only.
    runs : DataFrame of n_runs rows with the design's factors and its seed, if it has one
    factor : str
    linked, design : see `matched_pairs`
    n_permutations : int
        Shuffles of the runs of equal seed (of all runs, where none share a seed) among the matched configurations, for
        the p-value of the same ratio.
    rng : numpy Generator

    Returns
    -------
    dict: factor, value (ratio), low, high, over ("families", "configurations" or "nothing": what was left out), n_units
        (of these), p_value, null_high (95 % quantile of the shuffled ratios), between, within (nats, geometric means,
        of ratio `value`), n_pairs, n_strict, n_configurations. Numbers are NaN if no pair can be compared.

    Examples
    --------
    >>> runs = pd.DataFrame({"optimizer": ["sgd", "sgd", "adam", "adam"], "seed": [1, 2, 1, 2]})
    >>> d = np.abs(np.subtract.outer([0.0, 1.0, 3.0, 4.0], [0.0, 1.0, 3.0, 4.0]))
    >>> found = effect_size(d, runs, "optimizer", linked=(), rng=np.random.default_rng(0))
    >>> round(found["value"], 6), found["over"]  # with one pair, nothing can be left out
    (3.0, 'nothing')
    """
    comparison = _Comparison(distances, runs, factor, linked, design)
    pairs = comparison.compared()
    low, high, over, n_units = _leaving_out(_family_mean, [pairs])
    value, n_shuffles = np.exp(_family_mean(pairs)), n_permutations if len(pairs) else 0
    null = [_family_mean(comparison.compared(comparison.shuffled(rng))) for _ in range(n_shuffles)]
    null = np.exp([x for x in null if np.isfinite(x)])
    found = {"value": value, "low": np.exp(low), "high": np.exp(high)}
    # a hair of tolerance: shuffles that change nothing must count as reaching the value
    found["p_value"] = p_value(value * (1 - 1e-9), null, side="high") if len(null) else np.nan
    found["null_high"] = np.quantile(null, 0.95) if len(null) else np.nan
    for name in ("between", "within"):
        found[name] = np.exp(_family_mean(pairs.assign(log=np.log(pairs[name])), "log"))
    counts = {"n_pairs": len(pairs), "n_strict": int(pairs.strict.sum())}
    counts["n_configurations"] = len(np.unique(pairs[UNITS["configurations"]]))
    return {"factor": factor, **{k: float(v) for k, v in found.items()}, "over": over, "n_units": n_units, **counts}


def effect_over_effect(distances, runs, factor, other, *, design=BOOK_DESIGN):
    """Effect of one factor over the effect of another, with an interval of this ratio that leaves out families in turn.

    The two effects share families and runs, so the interval is that of their difference in logarithms: a family is left
    out of both at once. See `effect_size`, also for what happens with few families.

    Parameters
    ----------
    distances, runs, design : as in `effect_size`
    factor, other : str

    Returns
    -------
    dict: value, low, high, over, n_units. NaN if one of the factors has no pair that can be compared.

    Examples
    --------
    >>> places = {("fc", "sgd"): 0.0, ("fc", "adam"): 2.0, ("vit", "sgd"): 7.0, ("vit", "adam"): 9.0}
    >>> rows = [(*names, seed, x + seed) for names, x in places.items() for seed in (0, 1)]
    >>> runs = pd.DataFrame(rows, columns=["architecture", "optimizer", "seed", "place"])
    >>> d = np.abs(np.subtract.outer(runs.place.to_numpy(), runs.place.to_numpy()))
    >>> found = effect_over_effect(d, runs, "architecture", "optimizer")
    >>> round(found["value"], 6), found["over"]  # 7 seeds' distances over 2; without fc there is no pair of families
    (3.5, 'configurations')
    """
    tables = [_Comparison(distances, runs, f, None, design).compared() for f in (factor, other)]

    def contrast(above, below):
        return _family_mean(above) - _family_mean(below)

    low, high, over, n_units = _leaving_out(contrast, tables)
    ends = {"value": contrast(*tables), "low": low, "high": high}
    return {**{k: float(np.exp(v)) for k, v in ends.items()}, "over": over, "n_units": n_units}
