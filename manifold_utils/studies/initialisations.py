"""How runs from unusual starts come to the ordinary ones: distance to the nearest of them, also at equal progress.

The yardstick is an ordinary run that is left out of the set it is compared with: every trained network ends near truth,
so a small distance at the end means nothing by itself (PAPER.md section 1: Initialisation at different parts). At a few
values of progress the same is asked of the runs shuffled within classes, which share no more than their curves with
anybody. It trains nothing and draws nothing.
"""

import numpy as np
import pandas as pd

from manifold_utils.distances import pairwise
from manifold_utils.profiles import CONFIGURATION
from manifold_utils.statistics import mean_over_groups, nearest_of_others, shuffle_within_class
from manifold_utils.trajectories.of_atlas import reached, resampled

COLUMNS = ["run", "initialisation", "architecture", "grid", "phase", "step", "epoch", "progress", "distance"]
STATIONS = (0.25, 0.5, 0.75)  # progress at which a run has left its start and is not yet at the end
SETTINGS = [name for name in CONFIGURATION if name not in ("initialisation", "pretrain_epochs")]


def family_of(runs):
    """Architecture and width as one name, 'fc@0.25': a Series with the index of `runs`."""
    return runs.architecture + "@" + runs.scale.astype(str)


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
    family = family_of(table)
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
    grids, family = runs.grid.to_numpy(), family_of(runs).to_numpy()
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


def candidates(runs, others):
    """Which ordinary runs a run may be compared with: those of its family and of another seed.

    Runs of one seed begin as the very same network.

    Parameters
    ----------
    runs, others : DataFrames of n_runs and n_others rows with architecture, scale and seed

    Returns
    -------
    ndarray of shape (n_runs, n_others), bool
    """
    alike = np.equal.outer(family_of(runs).to_numpy(), family_of(others).to_numpy())
    return alike & np.not_equal.outer(runs.seed.to_numpy(), others.seed.to_numpy())


def nearest(log_probs, others, allowed):
    """Least distance of each run to the allowed ones at equal index.

    Parameters
    ----------
    log_probs, others : arrays of shape (n_runs, n_stations, n_samples, n_classes) and (n_others, n_stations, ...)
    allowed : ndarray of shape (n_runs, n_others, n_stations), bool

    Returns
    -------
    ndarray of shape (n_runs, n_stations), float64
        Nats; NaN where none is allowed.

    Examples
    --------
    >>> runs = np.log([[[[0.5, 0.5]]], [[[0.8, 0.2]]]])
    >>> nearest(runs, runs, ~np.eye(2, dtype=bool)[..., None]).round(4).tolist()
    [[0.0527], [0.0527]]
    """
    found = np.empty(log_probs.shape[:2])
    for k in range(found.shape[1]):
        cross = np.where(allowed[..., k], pairwise(log_probs[:, k], others[:, k]), np.inf)
        found[:, k] = cross.min(axis=1, initial=np.inf)
    return np.where(np.isinf(found), np.nan, found)


def yardstick(runs, others, distance):
    """What an ordinary run scores in the place of each run: the geometric mean over those that stand for it.

    These have its family and its seed, so that they are compared with the very same candidates; among them those of
    its settings (optimiser, batch size, ...) are taken if there are any.

    Parameters
    ----------
    runs, others : DataFrames of n_runs and n_others rows with the factors
    distance : ndarray of shape (n_others, n_stations)
        Of each ordinary run, held out; NaN where there is none.

    Returns
    -------
    ndarray of shape (n_runs, n_stations), float64
        NaN where no ordinary run of its family and seed has a distance.

    Examples
    --------
    >>> factors = dict.fromkeys(SETTINGS, 0) | {"architecture": "fc", "scale": 1.0, "seed": 1}
    >>> ordinary = pd.DataFrame([factors, factors | {"batch_size": 5}, factors | {"seed": 2}])
    >>> yardstick(ordinary[:1], ordinary, np.array([[2.0, np.nan], [8.0, 3.0], [1.0, 1.0]])).round(6).tolist()
    [[2.0, 3.0]]
    """
    same_seed = np.equal.outer(runs.seed.to_numpy(), others.seed.to_numpy())
    keys = pd.concat([runs, others])
    number = keys.groupby(SETTINGS, sort=False, dropna=False).ngroup().to_numpy()
    own = np.equal.outer(family_of(runs).to_numpy(), family_of(others).to_numpy()) & same_seed
    twins = own & np.equal.outer(number[: len(runs)], number[len(runs) :])
    found = np.full((len(runs), distance.shape[1]), np.nan)
    known = np.isfinite(distance)
    logs = np.log(np.where(known, distance, 1.0))
    for pool in (own, twins):  # twins last: they replace what all settings gave
        n = pool @ known.astype(int)
        found = np.where(n > 0, np.exp(pool @ logs / np.maximum(n, 1)), found)
    return found


def excess_table(atlas, split, rng, *, stations=STATIONS, n_shuffles=4, grid="initialisations", ordinary="main"):
    """Distance of unusual runs to the nearest ordinary one at equal progress, beside both that it is compared with.

    Parameters
    ----------
    atlas : Atlas with progress columns in its points (chapter 31)
    split : {"train", "test"}
    rng : numpy Generator, for the shuffles
    stations : sequence of float, values of progress, ascending
    n_shuffles : int
        Shuffles within true classes of each run.
    grid, ordinary : str
        Names of grids.

    Returns
    -------
    DataFrame with one row a run and station, in nats: run, kind, family, s, reached, n_candidates,
        distance (to the nearest ordinary run of its family and another seed), held_out (the same for ordinary runs, see
        `yardstick`), shuffled (the same for the run with its samples shuffled, geometric mean over the shuffles); NaN
        where the run passes s never, or has passed it before its training on the true labels
    """
    runs = atlas.runs[(atlas.runs.status == "finished") & atlas.runs.grid.isin([grid, ordinary])]
    others = runs[(runs.grid == ordinary) & family_of(runs).isin(family_of(runs)[runs.grid == grid])]
    runs, labels = runs[runs.grid == grid], atlas.labels(split)
    values, known = (resampled(atlas, split, table.index, stations) for table in (runs, others))
    there, others_there = (
        reached(atlas.points, table.index, stations, split).to_numpy(bool) for table in (runs, others)
    )
    allowed = candidates(runs, others)[..., None] & there[:, None] & others_there
    held_out = candidates(others, others)[..., None] & others_there[:, None] & others_there
    shuffled = [
        np.log(nearest(np.stack([shuffle_within_class(v, labels, rng) for v in values]), known, allowed))
        for _ in range(n_shuffles)
    ]
    columns = {"distance": nearest(values, known, allowed), "shuffled": np.exp(np.mean(shuffled, axis=0))}
    columns |= {"held_out": yardstick(runs, others, nearest(known, known, held_out))}
    columns |= {"reached": there, "n_candidates": allowed.sum(axis=1)}
    named = pd.DataFrame({"run": runs.index, "kind": runs.initialisation.values, "family": family_of(runs).values})
    table = named.loc[named.index.repeat(len(stations))].reset_index(drop=True)
    return table.assign(s=np.tile(stations, len(runs)), **{name: v.ravel() for name, v in columns.items()})


def excess(table, of="distance"):
    """How many times farther from the nearest ordinary run than a held-out ordinary run: geometric mean over runs.

    Parameters
    ----------
    table : DataFrame, rows of `excess_table`, of one value of progress
    of : {"distance", "shuffled"}

    Returns
    -------
    dict: value, low, high, n (runs), n_cells
        The 95 % t interval of the mean log ratio leaves out cells, a family with a kind of start, in turn: its sentence
        is about other families and starts. NaN for fewer than two cells.

    Examples
    --------
    >>> table = pd.DataFrame({"kind": ["a", "b"], "family": "fc", "distance": [2.0, 8.0], "held_out": [1.0, 1.0]})
    >>> found = excess(table)
    >>> found["value"], found["n"], found["n_cells"]
    (4.0, 2, 2)
    """
    logs = np.log(table[of].to_numpy() / table.held_out.to_numpy())
    known = np.isfinite(logs)
    logs, cell = logs[known], (table.family + " " + table.kind).to_numpy()[known]
    ends = np.exp(mean_over_groups(logs, cell)).round(12).tolist()
    return dict(zip(("value", "low", "high"), ends, strict=True)) | {"n": len(logs), "n_cells": len(np.unique(cell))}


def excess_in_words(found):
    """An excess for readers, with its interval or with what is missing for one.

    Examples
    --------
    >>> excess_in_words({"value": 1.2, "low": 1.0, "high": 1.5, "n": 6, "n_cells": 3})
    '1.20 times (1.00 to 1.50)'
    >>> excess_in_words({"value": 1.2, "low": np.nan, "high": np.nan, "n": 6, "n_cells": 1})
    '1.20 times (no interval from one family and start)'
    """
    if not found["n"]:
        return "an unknown number of times (no run can be compared)"
    bounds = f"{found['low']:.2f} to {found['high']:.2f}"
    return f"{found['value']:.2f} times ({bounds if found['n_cells'] > 1 else 'no interval from one family and start'})"


def shuffled_ends(atlas, split, run_names, rng, ordinary="main"):
    """Distance to the nearest ordinary checkpoint at the start and at the end of training on the true labels, shuffled.

    Each run's samples are shuffled within true classes: what it has in common with others is its curve alone.

    Parameters
    ----------
    atlas, split, rng, ordinary : as in `excess_table`
    run_names : sequence of str

    Returns
    -------
    DataFrame with index run and columns first, last (nats); NaN without an ordinary run of another seed
    """
    runs, labels, points = atlas.runs.loc[list(run_names)], atlas.labels(split), atlas.points
    others = atlas.runs[(atlas.runs.grid == ordinary) & family_of(atlas.runs).isin(family_of(runs))]
    allowed = candidates(runs, others)
    main = {run: (rows == "main").to_numpy() for run, rows in points.groupby("run", sort=False).phase}
    ends = [atlas.run_log_probs(run, split)[main[run]][[0, -1]] for run in runs.index]
    ends = np.concatenate([shuffle_within_class(pair, labels, rng) for pair in ends])
    found = np.full((len(runs), 2), np.inf)
    for k, other in enumerate(others.index):
        there = pairwise(ends, atlas.run_log_probs(other, split)[main[other]]).min(axis=1).reshape(-1, 2)
        found = np.where(allowed[:, k, None], np.minimum(found, there), found)
    return pd.DataFrame(np.where(np.isinf(found), np.nan, found), index=runs.index, columns=["first", "last"])
