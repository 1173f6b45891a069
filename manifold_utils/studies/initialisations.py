"""How runs from unusual starts come to the ordinary ones: distance to the nearest of them, also at equal progress.

The yardstick is an ordinary run that is left out of the set it is compared with: every trained network ends near truth,
so a small distance at the end means nothing by itself (PAPER.md section 1: Initialisation at different parts). Works
on distances that chapters 20 and 31 stored; it computes none, and it does not read predictions.
"""

import numpy as np

from manifold_utils.statistics import nearest_of_others

COLUMNS = ["run", "initialisation", "architecture", "grid", "phase", "step", "epoch", "progress", "distance"]


def joining_table(atlas, split, grid="initialisations", ordinary="main"):
    """Distance of every checkpoint of `grid` and of `ordinary` to the nearest checkpoint of other ordinary runs.

    Only runs of the same architecture and scale are compared, and never two of the same seed: these begin as the very
    same network, so that an ordinary run would be at distance 0 from its sisters at the start.

    Parameters
    ----------
    atlas : Atlas with distances and progress (chapters 20 and 31)
    split : {"train", "test"}
    grid, ordinary : str
        Names of grids.

    Returns
    -------
    DataFrame with the columns `COLUMNS`, indexed by the row number of the point
        `progress` is over the same split; `distance` in nats, NaN without an ordinary run of another seed; `grid`
        tells the two kinds apart.
    """
    table = atlas.table([grid, ordinary])
    table = table.assign(progress=table[f"progress_{split}"], distance=np.nan)
    family = table.architecture + "@" + table.scale.astype(str)
    matrix = atlas.distances(split)
    for name in family[table.grid == grid].unique():
        member = table[family == name]
        columns = member[(member.grid == ordinary) & (member.phase == "main")]
        for _, rows in member.groupby("run", sort=False):
            first, last = rows.index[0], rows.index[-1] + 1  # the points of a run lie together in every array
            cross = np.asarray(matrix[first:last])[:, columns.index]
            table.loc[rows.index, "distance"] = nearest_of_others(cross[rows.index - first], rows.seed, columns.seed)
    compared = family.isin(family[table.grid == grid].unique())
    return table.loc[compared, COLUMNS]


def joining_at_equal_progress(dataset, runs, points, split, grid="initialisations", ordinary="main"):
    """Distance of each run to the nearest ordinary run of another seed at the same progress.

    Parameters
    ----------
    dataset : xarray Dataset with `distance` (s, run, other), from `trajectories.of_atlas.load_trajectories`
    runs : DataFrame of the same runs in the same order
    points : DataFrame
        The points of the atlas: they say where each run begins and ends.
    split : {"train", "test"}

    Returns
    -------
    ndarray of shape (n_runs, n_s), float64
        NaN for runs of other grids, for architectures without ordinary runs, and wherever s lies before a run's first
        or after its largest progress: there the resampled run only repeats itself.
    """
    grids, family = runs.grid.to_numpy(), (runs.architecture + "@" + runs.scale.astype(str)).to_numpy()
    seeds = runs.seed.to_numpy()
    clock = points[points.phase == "main"].groupby("run", sort=False)[f"progress_{split}"]
    begin, end = clock.first().reindex(runs.index).to_numpy(), clock.max().reindex(runs.index).to_numpy()
    s, values = dataset.s.values, dataset.distance.values
    out = np.full((len(runs), len(s)), np.nan)
    for i in np.flatnonzero(np.isin(grids, [grid, ordinary])):
        others = np.flatnonzero((grids == ordinary) & (family == family[i]) & (seeds != seeds[i]))
        if len(others):
            inside = (s >= begin[i]) & (s <= end[i])
            out[i] = np.where(inside, values[:, i, others].min(axis=1), np.nan)
    return out


def joins_at(distance, limit, clock):
    """The clock's value from which on a distance stays at or below its limit; NaN if it ends above.

    Parameters
    ----------
    distance, limit, clock : array-like of shape (n,)
        In the order of the clock; entries that are NaN are left out.

    Examples
    --------
    >>> joins_at([3.0, 0.5, 2.0, 0.5], [1.0, 1.0, 1.0, 1.0], [0, 1, 2, 3])
    3.0
    """
    distance, limit, clock = (np.asarray(x, dtype=np.float64) for x in (distance, limit, clock))
    known = ~np.isnan(distance) & ~np.isnan(limit)
    outside = np.flatnonzero(distance[known] > limit[known])
    first = outside[-1] + 1 if len(outside) else 0
    return float(clock[known][first]) if first < known.sum() else np.nan
