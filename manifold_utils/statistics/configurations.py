"""Configurations, matched pairs of them, and distances between configurations and to the nearest of others.

A configuration is all factors of a run but its seed; distances between configurations are means over runs of different
seeds (PAPER.md section 1, Trajectory distance). What a factor does to them is in `effects`.
"""

import numpy as np
import pandas as pd

from manifold_utils.levels import seeds_of, varied
from manifold_utils.profiles import BOOK_DESIGN

LINKED = {  # of the book's own grids: a rate belongs to its optimiser and batch size, a scale to its architecture
    "architecture": ("scale",),
    "optimizer": ("learning_rate",),
    "batch_size": ("learning_rate",),
    "learning_rate": ("batch_size",),
}


PAPER_FACTORS = ("architecture", "optimizer", "batch_size", "weight_decay", "augmentation")


def shown_factors(runs, design=BOOK_DESIGN):
    """The factors that figures and regressions are about, as far as they vary: the paper's five, or a design's own.

    Parameters
    ----------
    runs : DataFrame with the design's factors
    design : profiles.Design

    Returns
    -------
    list of str, in the design's order; of the book's own design the paper's five in the paper's order

    Examples
    --------
    >>> shown_factors(pd.DataFrame({"optimizer": ["sgd", "adam"], "batch_size": 200, "epochs": [1, 2]}))
    ['optimizer']
    """
    return varied(runs, PAPER_FACTORS if design == BOOK_DESIGN else design.factors)


def configurations(runs, design=BOOK_DESIGN):
    """Number the configurations: all factors but the seed.

    Parameters
    ----------
    runs : DataFrame of n_runs rows with the design's factors; one that the table lacks is constant
    design : profiles.Design

    Returns
    -------
    number : ndarray of shape (n_runs,), int
        By first appearance.
    table : DataFrame of n_configurations rows

    Examples
    --------
    >>> number, table = configurations(pd.DataFrame({"optimizer": ["sgd", "adam", "sgd"]}))
    >>> number.tolist(), table.optimizer.tolist()
    ([0, 1, 0], ['sgd', 'adam'])
    """
    columns = [c for c in design.factors if c in runs]
    grouped = runs.groupby(columns, sort=False, dropna=False) if columns else None
    number = grouped.ngroup().to_numpy() if columns else np.zeros(len(runs), dtype=int)
    first = np.unique(number, return_index=True)[1]
    return number, runs[columns].iloc[first].reset_index(drop=True)


def has_repeats(runs, design=BOOK_DESIGN):
    """Whether some configuration has two runs of different seeds, the yardstick of all effects.

    Examples
    --------
    >>> has_repeats(pd.DataFrame({"optimizer": ["sgd", "sgd"], "seed": [1, 2]}))
    True
    """
    seeds = pd.Series(seeds_of(runs, design)).groupby(configurations(runs, design)[0]).nunique()
    return bool((seeds > 1).any())


def linked_factors(table, factor, design=BOOK_DESIGN):
    """The factors that a design varies only together with `factor`, between some of its levels at least.

    Those of the book's own grids are known (`LINKED`). In any other design the table says it: a factor is linked if two
    levels of `factor` have no level of it in common, so that no two configurations could differ in `factor` alone.

    Parameters
    ----------
    table : DataFrame of configurations, see `configurations`
    factor : str, a column of `table`
    design : profiles.Design

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> from manifold_utils.profiles import Design
    >>> rates = {"model": ["mlp", "mlp", "forest"], "rate": [0.1, 0.2, np.nan], "depth": [2, 4, 2]}
    >>> linked_factors(pd.DataFrame(rates), "model", Design(("model", "rate", "depth"), "model", None))
    ('rate',)
    """
    if design == BOOK_DESIGN:
        return LINKED.get(factor, ())
    code = table[factor].factorize(use_na_sentinel=False)[0]
    return tuple(c for c in table if c != factor and not _overlaps(code, table[c].factorize(use_na_sentinel=False)[0]))


def _overlaps(code, other):
    """Whether every two levels of one factor share a level of another; codes from 0."""
    together = np.zeros((code.max(initial=0) + 1, other.max(initial=0) + 1))
    together[code, other] = 1
    return bool((together @ together.T > 0).all())


def matched_pairs(table, factor, *, linked=None, design=BOOK_DESIGN):
    """Pairs of configurations that differ in one factor and agree in all others.

    Where a grid varies `factor` only together with a linked one (an optimiser with its learning rate), there is no
    strict match; there, and only there, pairs that differ in the linked factors too are taken.

    Parameters
    ----------
    table : DataFrame of configurations, see `configurations`
    factor : str, a column of `table`
    linked : sequence of str, by default `linked_factors`
    design : profiles.Design
        All its factors must agree, but for `factor` and where needed `linked`.

    Returns
    -------
    DataFrame with `first`, `second` (row numbers of `table`), `low`, `high` (codes of the two levels) and `strict`

    Examples
    --------
    >>> table = pd.DataFrame({"optimizer": ["sgd", "nesterov", "adam"], "learning_rate": [0.1, 0.1, 0.001]})
    >>> matched_pairs(table, "optimizer").strict.tolist()
    [True, False, False]
    """
    if factor not in table:
        raise ValueError(f"{factor!r} is no factor of these configurations; they have {', '.join(table)}")
    columns = [c for c in design.factors if c in table]
    linked = [c for c in (linked_factors(table, factor, design) if linked is None else linked) if c in columns]
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
