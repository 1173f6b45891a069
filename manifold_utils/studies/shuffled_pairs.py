"""Pairs of runs against the same pairs after shuffling within classes: ratios by kind, by family, and their floor.

`statistics.compare_with_shuffled` gives one row a pair; here the pairs of a kind or of two families are put together.
The intervals draw runs, since pairs that share a run are not independent.
"""

import numpy as np
import pandas as pd

from manifold_utils import statistics


def judge(compared, draws, *, rng):
    """Ratio of real to shuffled distance for each measure and kind of pairs, with interval, p-value and verdict.

    Parameters
    ----------
    compared, draws : see `statistics.compare_with_shuffled`
    rng : numpy Generator

    Returns
    -------
    DataFrame with pairs, ratio (of the means), low, high, p (of the mean over pairs) and nearer (share of single pairs
    with p of at most .05); index (metric, kind)
    """
    rows = {}
    for metric in draws:
        for kind in compared.kind.unique():
            member = (compared.kind == kind).to_numpy()
            of_kind = compared[member]
            ends = of_kind[["first", "second"]]
            real, chance = (ends.assign(value=of_kind[f"{what}_{metric}"]) for what in ("real", "shuffled"))
            found = statistics.ratio_over_runs(real, chance, rng=rng)
            p = statistics.p_value(real.value.mean(), draws[metric][member].mean(axis=0))
            rows[metric, kind] = (len(of_kind), *found, p, (of_kind[f"p_{metric}"] <= 0.05).mean())
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["pairs", "ratio", "low", "high", "p", "nearer"])
    return table.set_axis(pd.MultiIndex.from_tuples(rows, names=["metric", "kind"]))


def share_of_order(compared, trajectories, labels):
    """How far each pair goes from chance (0) to the best matching of samples within classes (1).

    Parameters
    ----------
    compared : DataFrame, rows of `statistics.compare_with_shuffled` by the Bhattacharyya distance
    trajectories : array-like of shape (n_runs, n_points, n_samples, n_classes)
    labels : array-like of shape (n_samples,)

    Returns
    -------
    Series with the index of `compared`
    """
    ends = compared[["first", "second"]].to_numpy()
    floors = [statistics.best_matching(trajectories[u], trajectories[v], labels)[0] for u, v in ends]
    chance = compared.shuffled_bhattacharyya
    return (chance - compared.real_bhattacharyya) / (chance - np.array(floors))


def ratios_of_families(compared, families):
    """Ratio of real to shuffled distance for every two families, and for the repeats of one.

    Parameters
    ----------
    compared : DataFrame, rows of `statistics.compare_with_shuffled` whose two runs differ in family or seed alone
    families : array-like of shape (n_runs,)

    Returns
    -------
    ratios : DataFrame, symmetric, families named; NaN where there is no pair
    apart : ndarray of the ratios of different families, each pair of them once
    """
    names = statistics.sorted_levels(families)
    rank = {level: k for k, level in enumerate(names)}
    number = np.array([rank[level] for level in families])
    ends = np.sort(number[compared[["first", "second"]].to_numpy(dtype=int).reshape(-1, 2)], axis=1)
    distances = compared[["real_bhattacharyya", "shuffled_bhattacharyya"]]
    sums = distances.assign(a=ends[:, 0], b=ends[:, 1]).groupby(["a", "b"]).sum()
    each = sums.real_bhattacharyya / sums.shuffled_bhattacharyya
    present = np.unique(ends)
    table = each.unstack().reindex(index=present, columns=present)
    table = table.combine_first(table.T)
    shown = [names[k] for k in present]
    different = each.index.get_level_values("a") != each.index.get_level_values("b")
    return table.set_axis(shown, axis=0).set_axis(shown, axis=1), each[different].to_numpy()
