"""One manifold seen through several divergences: the same short list of conclusions for any distance matrix.

Each conclusion of the book's figures becomes a number (chapter 51 lays them side by side): stress, signature, first
axis and progress, architecture of the neighbours, architecture against the rest. It computes no distances.
"""

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from manifold_utils.inpca import InPCA
from manifold_utils.profiles import FAMILY
from manifold_utils.statistics import exchanged

UNDER_WAY = 0.1  # progress up to which all runs are still near ignorance, and so near each other
BLOCK_ROWS = 500  # rows of D searched at once

CONCLUSIONS = {
    "stress_3": "explained stress of 3 axes",
    "stress_10": "explained stress of 10 axes",
    "time_like_10": "time-like among the first 10 axes",
    "axis_1_progress": "rank correlation of the first axis with progress",
    "same_architecture": "neighbours of other seeds with the same architecture, over chance",
    "architecture_ratio": "distance between architectures over distance within, at equal progress",
}


def neighbour_share(D, levels, seeds, clock, *, n_neighbours=10, after=UNDER_WAY, n_permutations=200, rng):
    """How often the nearest points of other seeds have the same level of a factor, and how often by chance.

    Runs of one family and seed start as the very same network, and all runs start near ignorance: neither says that a
    family has a place of its own. So neighbours come from *other* seeds only, and points up to `after` are left out.
    Chance relabels whole sets of runs that share level and seed, among those of the same seed: all points of a run stay
    together, and so do the twins that start alike.

    Parameters
    ----------
    D : array-like of shape (m, m)
        Distances; one that is not in memory is read by row panels (see `embedding.select`).
    levels, seeds : sequences of length m
        Factor level and seed of the run of each point.
    clock : sequence of length m
        Progress on the samples that D is about.
    n_neighbours : int
        Neighbours of each point; fewer where other seeds have fewer points.
    after : float
        Points with more progress than this are compared.
    n_permutations : int
    rng : numpy Generator

    Returns
    -------
    share : float in [0, 1]
        NaN if no point has a neighbour of another seed.
    chance : ndarray of shape (n_permutations,)
        The share after each relabelling, for `statistics.p_value(share, chance, side="high")`.

    Examples
    --------
    >>> place = np.array([0.0, 1, 2, 10, 11, 12])
    >>> D, levels, seeds = np.abs(place[:, None] - place), ["a"] * 3 + ["b"] * 3, [1, 2, 3] * 2
    >>> share, chance = neighbour_share(D, levels, seeds, np.ones(6), n_neighbours=2, rng=np.random.default_rng(0))
    >>> share, bool(chance.mean() < 0.7)
    (1.0, True)
    """
    late = np.flatnonzero(np.asarray(clock) > after)
    table = pd.DataFrame({"level": np.asarray(levels)[late], "seed": np.asarray(seeds)[late]})
    near, known = _nearest_of_other_seeds(D, late, table.seed.to_numpy(), n_neighbours)
    if not known.any():
        return float("nan"), np.full(n_permutations, np.nan)
    twins = table.groupby(["level", "seed"], sort=False)
    unit, units = twins.ngroup().to_numpy(), twins.first().index.to_frame(index=False)

    def share(level_of_unit):
        level = level_of_unit[unit]
        return float((level[near] == level[:, None])[known].mean())

    level, names = pd.factorize(units.level)[0], np.arange(len(units))
    strata = units.seed if units.seed.duplicated().any() else None  # no seed is shared: all may change places
    orders = [exchanged(names, rng, strata=strata) for _ in range(n_permutations)]
    return share(level), np.array([share(level[order]) for order in orders])


def _nearest_of_other_seeds(D, rows, seeds, n_neighbours):
    """Places within `rows` of the nearest points of other seeds, and which of them exist: (n, n_neighbours) each."""
    n_neighbours = min(n_neighbours, len(rows))
    near, known = np.empty((len(rows), n_neighbours), dtype=int), np.empty((len(rows), n_neighbours), dtype=bool)
    for start in range(0, len(rows), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        other = seeds[block, None] != seeds
        far = np.where(other, np.asarray(D[rows[block]])[:, rows], np.inf)
        near[block] = np.argsort(far, axis=1, kind="stable")[:, :n_neighbours]
        known[block] = np.take_along_axis(other, near[block], axis=1)
    return near, known


def distance_ratio(D, runs, levels, clock, tolerance=0.05):
    """Mean distance between levels of a factor over that within a level, for points of other runs at equal progress.

    Parameters
    ----------
    D : ndarray of shape (m, m)
    runs, levels : sequences of length m
    clock : ndarray of shape (m,)
        Progress; pairs that differ by more than `tolerance` are left out.

    Returns
    -------
    float
        NaN if there is no pair of one of the two kinds.
    """
    runs, levels, clock = np.asarray(runs), np.asarray(levels), np.asarray(clock)
    pairs = (runs[:, None] != runs) & (np.abs(clock[:, None] - clock) <= tolerance)
    alike = levels[:, None] == levels
    if not (pairs & alike).any() or not (pairs & ~alike).any():
        return float("nan")
    return float(D[pairs & ~alike].mean() / D[pairs & alike].mean())


def conclusions_about(family):
    """`CONCLUSIONS` in the words of an atlas' own family, and under its name.

    Parameters
    ----------
    family : str, a factor

    Examples
    --------
    >>> list(conclusions_about("model"))[-2:]
    ['same_model', 'model_ratio']
    """
    if family == FAMILY:
        return CONCLUSIONS
    words = family.replace("_", " ")
    general = {name: said for name, said in CONCLUSIONS.items() if FAMILY not in name}
    return general | {
        f"same_{family}": f"neighbours of other seeds with the same {words}, over chance",
        f"{family}_ratio": f"distance between levels of {words} over distance within, at equal progress",
    }


def conclusions(D, runs, families, seeds, progress, *, family=FAMILY, n_permutations=50, rng):
    """The numbers of `conclusions_about` for one distance matrix, and the embedding they come from.

    Parameters
    ----------
    D : ndarray of shape (m, m), finite
    runs, families, seeds : sequences of length m
    progress : ndarray of shape (m,)
    n_permutations : int
        Relabellings whose mean is the chance of `same_<family>`, see `neighbour_share`.
    family : str, the factor that `families` are levels of; it names two of the numbers
    rng : numpy Generator

    Returns
    -------
    dict of float
    estimator : InPCA with up to 10 axes, fitted to D

    Raises
    ------
    ValueError
        From InPCA, if D is not finite: the rows are named.
    """
    estimator = InPCA(n_components=min(10, len(D) - 1)).fit(D)
    stress = estimator.explained_stress_
    share, chance = neighbour_share(D, families, seeds, progress, n_permutations=n_permutations, rng=rng)
    found = {
        "stress_3": stress[min(3, len(stress)) - 1],
        "stress_10": stress[-1],
        "time_like_10": (estimator.eigenvalues_ < 0).sum(),
        "axis_1_progress": abs(spearmanr(estimator.embedding_[:, 0], progress).statistic),
        f"same_{family}": share / chance.mean() if chance.any() else np.nan,
        f"{family}_ratio": distance_ratio(D, runs, families, progress),
    }
    return {name: float(value) for name, value in found.items()}, estimator
