"""Which factors a regressor of trajectory distances needs: permutation importance on held-out configurations.

The paper's importance of factors (PAPER.md section 1): d_traj of a pair of runs is learnt from its factors, and the
importance of a factor is the R^2 lost when its column is permuted. Learning and judging use different configurations;
for the null, call it on a table whose runs are permuted (Mantel's test). Effect sizes are in `statistics`.
"""

import numpy as np
import pandas as pd

from manifold_utils.levels import is_number, seeds_of
from manifold_utils.profiles import BOOK_DESIGN
from manifold_utils.statistics import PAPER_FACTORS, configurations, shown_factors

MIN_CONFIGURATIONS = 12  # fewer cannot be split into a part to learn from and a part to be judged on
MIN_PAIRS = 10  # pairs of different seeds, on each side of a split
MAX_TRIES = 100  # draws of a split until both sides have their pairs
MAX_CATEGORIES = 255  # that the regressor takes of one feature
REGRESSOR = {"max_iter": 60, "max_leaf_nodes": 12, "min_samples_leaf": 5, "learning_rate": 0.15}


def pair_features(runs, first, second, factors=PAPER_FACTORS):
    """For each pair of runs and each factor, the number of the unordered pair of levels.

    A factor with too many pairs of levels for categories (more than 22 levels) gives one number instead: how many
    levels the two are apart if the levels are numbers, else whether they differ.

    Returns
    -------
    features : ndarray of shape (n_pairs, n_factors), float64
    is_category : list of bool, one a factor

    Examples
    --------
    >>> runs = pd.DataFrame({"optimizer": ["sgd", "adam", "sgd"], "depth": [1, 2, 4]})
    >>> features, is_category = pair_features(runs, [0, 0, 1], [1, 2, 2], ["optimizer"])
    >>> features.ravel().tolist(), is_category
    ([0.0, 1.0, 0.0], [True])
    """
    columns, is_category = [], []
    for factor in factors:
        code, levels = runs[factor].factorize()
        is_category.append(len(levels) * (len(levels) + 1) // 2 <= MAX_CATEGORIES)
        if not is_category[-1]:
            ordered = all(map(is_number, levels))
            place = runs[factor].rank(method="dense").to_numpy() if ordered else code
            apart = np.abs(place[first] - place[second])
            columns.append(apart if ordered else apart > 0)
            continue
        low, high = np.sort([code[first], code[second]], axis=0)
        columns.append(pd.factorize(low * len(levels) + high)[0])
    return np.stack(columns, axis=1).astype(np.float64), is_category


def lacking(runs, design=BOOK_DESIGN):
    """What a table of runs lacks for `importance`, in words; "" if it lacks nothing.

    Examples
    --------
    >>> lacking(pd.DataFrame({"optimizer": ["sgd", "adam"], "seed": [1, 2]}))
    '2 configurations are too few to hold some out; 12 are needed'
    """
    table = configurations(runs, design)[1]
    if len(table) < MIN_CONFIGURATIONS:
        return f"{len(table)} configurations are too few to hold some out; {MIN_CONFIGURATIONS} are needed"
    if _Pairs(runs, design).split(np.random.default_rng(0), held_out=0.3) is None:
        return f"no division of {len(table)} configurations leaves {MIN_PAIRS} pairs of runs on both of its sides"
    return ""


class _Pairs:
    """Pairs of runs of different seeds (of all runs, where all have the same seed), and divisions of them."""

    def __init__(self, runs, design):
        self.number, self.table = configurations(runs, design)
        first, second = np.triu_indices(len(runs), 1)
        seeds = seeds_of(runs, design)
        apart = seeds[first] != seeds[second] if len(set(seeds)) > 1 else np.ones(len(first), dtype=bool)
        self.first, self.second = first[apart], second[apart]

    def split(self, rng, held_out, max_pairs=None):
        """Rows of the pairs to learn from and of those to judge on; None if no draw has enough of both."""
        n_held_out = max(3, round(held_out * len(self.table)))
        for _ in range(MAX_TRIES):
            unseen = (rng.permutation(len(self.table)) < n_held_out)[self.number]
            train = _some(np.flatnonzero(~unseen[self.first] & ~unseen[self.second]), max_pairs, rng)
            test = _some(np.flatnonzero(unseen[self.first] & unseen[self.second]), max_pairs, rng)
            if min(len(train), len(test)) >= MIN_PAIRS:
                return train, test
        return None


def importance(distances, runs, *, factors=None, design=BOOK_DESIGN, n_splits=5, held_out=0.3, max_pairs=20_000, rng):
    """Permutation importance of the pair's factors for d_traj, on pairs of held-out configurations.

    A gradient-boosted regressor learns d_traj of pairs of runs (different seeds) whose configurations are in one part;
    it is judged on pairs inside the other part. Importance of a factor is the R^2 lost when its column is permuted.

    Parameters
    ----------
    distances, runs, design : as in `effect_size`
    factors : sequence of str, by default the paper's five, or those that vary of a design of its own
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
        If there are too few configurations, or pairs of different seeds among them, to hold some out (see `lacking`).
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.inspection import permutation_importance
    from threadpoolctl import threadpool_limits

    missing = lacking(runs, design)
    if missing:
        raise ValueError(missing)
    if factors is None:
        factors = PAPER_FACTORS if design == BOOK_DESIGN else shown_factors(runs, design)
    pairs, rows = _Pairs(runs, design), []
    features, is_category = pair_features(runs, pairs.first, pairs.second, factors)
    target = np.asarray(distances)[pairs.first, pairs.second]
    for _ in range(n_splits):
        train, test = pairs.split(rng, held_out, max_pairs)
        seed = int(rng.integers(2**31))
        model = HistGradientBoostingRegressor(categorical_features=is_category, random_state=seed, **REGRESSOR)
        with threadpool_limits(1, user_api="openmp"):  # tables are small: threads would only wait for one another
            model.fit(features[train], target[train])
            lost = permutation_importance(model, features[test], target[test], n_repeats=5, random_state=seed)
            score = model.score(features[test], target[test])
        rows.append({**dict(zip(factors, lost.importances_mean, strict=True)), "r2": score})
    return pd.DataFrame(rows)


def _some(rows, limit, rng):
    return rows if limit is None or len(rows) <= limit else rng.choice(rows, size=limit, replace=False)
