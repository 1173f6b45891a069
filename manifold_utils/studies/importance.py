"""Which factors a regressor of trajectory distances needs: permutation importance on held-out configurations.

The paper's importance of factors (PAPER.md section 1): d_traj of a pair of runs is learnt from its factors, and the
importance of a factor is the R^2 lost when its column is permuted. Learning and judging use different configurations;
for the null, call it on a table whose runs are permuted (Mantel's test). Effect sizes are in `statistics`.
"""

import numpy as np
import pandas as pd

from manifold_utils.profiles import CONFIGURATION
from manifold_utils.statistics import configurations

PAIR_FACTORS = ("architecture", "optimizer", "batch_size", "weight_decay", "augmentation")  # the paper's five
MIN_CONFIGURATIONS = 12  # fewer cannot be split into a part to learn from and a part to be judged on
MIN_PAIRS = 10  # pairs of different seeds, on each side of a split
REGRESSOR = {"max_iter": 60, "max_leaf_nodes": 12, "min_samples_leaf": 5, "learning_rate": 0.15}


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
    distances, runs, *, factors=PAIR_FACTORS, columns=CONFIGURATION, n_splits=5, held_out=0.3, max_pairs=20_000, rng
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
        If there are too few configurations, or pairs of different seeds among them, to hold some out.
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
        if min(len(train), len(test)) < MIN_PAIRS:
            raise ValueError(f"only {len(train)} and {len(test)} pairs of different seeds on the sides of a split")
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
