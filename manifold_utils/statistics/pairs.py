"""Pairs of runs that are compared with what chance gives: they differ in nothing but the seed, or in one factor.

Both runs of a pair have different seeds, so that a pair of one configuration is not one run twice. Which configurations
are matched is in `configurations`; distances of pairs are in `nulls`.
"""

import numpy as np
import pandas as pd

from manifold_utils.levels import seeds_of
from manifold_utils.profiles import BOOK_DESIGN
from manifold_utils.statistics.configurations import configurations, matched_pairs, shown_factors

KINDS = {"seeds": None, "optimisers": "optimizer", "architectures": "architecture"}  # of pairs of the book's own runs


def kinds_of_pairs(runs, design=BOOK_DESIGN):
    """What two runs may differ in: nothing but the seed, or one factor; the family comes last.

    Returns
    -------
    dict of name -> factor, None for the seed; `KINDS` for the book's own design

    Examples
    --------
    >>> from manifold_utils.profiles import Design
    >>> kinds_of_pairs(pd.DataFrame({"model": ["a", "b"], "depth": [1, 2]}), Design(("model", "depth"), "model", None))
    {'seeds': None, 'depth': 'depth', 'model': 'model'}
    """
    if design == BOOK_DESIGN:
        return KINDS
    factors = sorted(shown_factors(runs, design), key=lambda f: f == design.family)
    return {"seeds": None, **{f: f for f in factors}}


def pairs_of_runs(runs, max_pairs=None, rng=None, design=BOOK_DESIGN):
    """Pairs of runs of different seeds that differ in nothing else, or in one factor.

    Parameters
    ----------
    runs : DataFrame of n_runs rows with the factors, see `configurations`
    max_pairs : int, optional
        At most so many pairs of a kind, drawn by `rng`; by default all.
    rng : numpy Generator, needed with `max_pairs`
    design : profiles.Design

    Returns
    -------
    DataFrame with kind (see `kinds_of_pairs`), first and second (row numbers of `runs`)

    Examples
    --------
    >>> from manifold_utils.profiles import CONFIGURATION
    >>> runs = pd.DataFrame(dict.fromkeys(CONFIGURATION, 0), index=range(3))
    >>> runs = runs.assign(optimizer=["sgd", "sgd", "adam"], seed=[1, 2, 2])
    >>> pairs_of_runs(runs).to_numpy().tolist()
    [['seeds', 0, 1], ['optimisers', 0, 2]]
    """
    number, table = configurations(runs, design)
    seeds = seeds_of(runs, design)
    rows = []
    for kind, factor in kinds_of_pairs(runs, design).items():
        between = [(k, k) for k in range(len(table))]
        if factor is not None:
            matched = matched_pairs(table, factor, design=design)
            between = matched[["first", "second"]].itertuples(index=False, name=None)
        found = [
            (kind, u, v)
            for a, b in between
            for u in np.flatnonzero(number == a)
            for v in np.flatnonzero(number == b)
            if seeds[u] != seeds[v] and (a != b or u < v)
        ]
        if max_pairs is not None and len(found) > max_pairs:
            found = [found[k] for k in np.sort(rng.choice(len(found), size=max_pairs, replace=False))]
        rows += found
    return pd.DataFrame(rows, columns=["kind", "first", "second"])
