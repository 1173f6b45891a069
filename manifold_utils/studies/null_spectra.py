"""How many axes the real runs need, beside what worlds without the effect need: at equal progress and over all points.

Explained stress alone proves little: runs that all go from ignorance to truth fill one long axis whatever else they
share. So every number stands beside the same number of the worlds of `statistics.worlds`, and at equal progress, where
the common road drops out: there runs that share nothing are equally far from each other and need an axis each.
Intervals leave out families in turn, since the sentence is about families. Chapter 32 stores the tables in the
atlas (nulls/); other chapters read them.
"""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from manifold_utils import outside
from manifold_utils.atlas.checked import read_table, write_table
from manifold_utils.distances import pairwise
from manifold_utils.inpca import InPCA
from manifold_utils.levels import sorted_levels
from manifold_utils.statistics import WORLDS, jackknife_interval, null_world

SHARE = 0.9  # of the stress that "axes for 90 %" explain
MIN_RUNS = 4  # for a spectrum at equal progress
EMPTY = pd.DataFrame(columns=["world", "left_out", "n_axes"])  # the table of too few runs
DEPTHS = (1, 3, 10, 20, 50)
COINCIDE = 1e-6  # nats: the accuracy of a distance; points that are no farther apart are one point


def explained(D, sample_weight=None):
    """Explained stress of 0, 1, 2, ... axes of the points of D, cumulative; all axes.

    Parameters
    ----------
    D : ndarray of shape (m, m), nats
    sample_weight : ndarray of shape (m,), optional
        Points of weight 0 are left out.

    Returns
    -------
    ndarray of shape (m',), float64, from 0 to 1, for m' points of positive weight
        All zero where the points coincide.

    Examples
    --------
    >>> D = 2.0 * (1 - np.eye(4))  # a regular simplex has three equal axes
    >>> explained(D).round(3).tolist()
    [0.0, 0.184, 0.423, 1.0]
    """
    D = np.asarray(D, dtype=np.float64)
    if sample_weight is not None:
        keep = np.asarray(sample_weight) > 0
        D, sample_weight = D[np.ix_(keep, keep)], np.asarray(sample_weight, dtype=np.float64)[keep]
    if D.max(initial=0.0) <= COINCIDE:
        return np.zeros(max(1, len(D)))
    fit = InPCA(n_components=len(D) - 1, solver="dense").fit(D, sample_weight=sample_weight)
    return np.concatenate([[0.0], fit.explained_stress_])


def axes_for(stress, share=SHARE):
    """Axes that explain a share of the stress, interpolated between whole numbers; 0 where there is no stress.

    Parameters
    ----------
    stress : ndarray, see `explained`
    share : float in (0, 1)

    Examples
    --------
    >>> axes_for(np.array([0.0, 0.5, 0.75, 1.0]), 0.875)
    2.5
    """
    stress = np.asarray(stress)
    if stress[-1] <= 0:
        return 0.0
    k = int(np.searchsorted(stress, share))
    return float(k - 1 + (share - stress[k - 1]) / (stress[k] - stress[k - 1]))


def at_depths(stress, depths=DEPTHS):
    """Explained stress of the first axes, dict depth -> value; all of it where there are fewer axes."""
    return {k: float(stress[min(k, len(stress) - 1)]) for k in depths}


def mean_probabilities(log_probs):
    """Predictions averaged over all points, ndarray (n_samples, n_classes): from (..., n_samples, n_classes)."""
    log_probs = np.asarray(log_probs)
    flat = log_probs.reshape(-1, *log_probs.shape[-2:])
    return np.mean([np.exp(point, dtype=np.float64) for point in flat], axis=0)


def left_out_in_turn(families):
    """What is left out of a table of worlds: "" for nothing, then each family; nothing but "" for two or fewer.

    Examples
    --------
    >>> left_out_in_turn(["fc", "vit", "fc"]), left_out_in_turn([4, 16, 8])
    ([''], ['', '4', '8', '16'])
    """
    names = sorted_levels(_words(families))
    return ["", *names] if len(names) > 2 else [""]


def _words(families):
    """Families as words, which one column of a table holds beside ""."""
    return np.array([str(f) for f in families], dtype=object)


def equal_progress(trajectories, labels, stations, families, *, worlds=WORLDS, n_draws=3, rng):
    """Axes for 90 % of the stress of runs *at equal progress*, in each world, with families left out in turn.

    Parameters
    ----------
    trajectories : ndarray of shape (n_runs, n_stations, n_samples, n_classes)
        Log-predictions at the stations, all of which every run should have reached.
    labels : array-like of shape (n_samples,)
    stations : array-like of shape (n_stations,), progress
    families : array-like of shape (n_runs,)
    worlds : sequence of str
    n_draws : int, random worlds of a kind, averaged
    rng : numpy Generator

    Returns
    -------
    DataFrame with columns world, left_out ("" for none, else a family), n_axes (a mean over stations and draws),
    distance (mean over pairs, stations and draws, nats)
    """
    n_runs, families, rows = len(trajectories), _words(families), []
    mean, names = mean_probabilities(trajectories), left_out_in_turn(families)
    for world in worlds:
        found = {name: [] for name in names}
        for _ in range(1 if world in ("curve", "real") else n_draws):
            order = rng.spawn(1)[0].bit_generator.seed_seq  # the same shuffle of a run at all stations
            for k, s in enumerate(stations):
                options = {"progress": np.full(n_runs, s), "mean_probabilities": mean}
                options["rng"] = np.random.default_rng(order)
                D = pairwise(null_world(trajectories[:, k], np.arange(n_runs), labels, world, **options))
                with threadpool_limits(1, user_api="blas"):  # small matrices: threads would only wait for one another
                    for name in names:
                        keep = families != name
                        part = D[np.ix_(keep, keep)]
                        n_pairs = keep.sum() * (keep.sum() - 1)
                        found[name].append((axes_for(explained(part)), part.sum() / n_pairs))
        for name, values in found.items():
            axes, distance = np.mean(values, axis=0)
            rows.append({"world": world, "left_out": name, "n_axes": axes, "distance": distance})
    return pd.DataFrame(rows)


def all_points(log_probs, run, labels, families, progress, weights, *, worlds=WORLDS, n_draws=1, rng):
    """Explained stress of all points, as they are and weighted by their step in progress, in each world.

    Parameters
    ----------
    log_probs : ndarray of shape (n_points, n_samples, n_classes)
    run, families, progress, weights : array-likes of shape (n_points,)
        `weights` as `trajectories.progress_weights` gives them.
    labels, worlds, n_draws, rng : as in `equal_progress`

    Returns
    -------
    DataFrame with columns world, view ("as it is" or "by progress"), left_out, n_axes, and stress_<k> for k in DEPTHS
    """
    families, mean, rows = _words(families), mean_probabilities(log_probs), []
    names = left_out_in_turn(families)
    views = {"as it is": np.ones(len(families)), "by progress": np.asarray(weights, dtype=np.float64)}
    for world in worlds:
        for draw in range(1 if world in ("curve", "real") else n_draws):
            options = {"progress": progress, "mean_probabilities": mean, "rng": rng}
            D = pairwise(null_world(log_probs, run, labels, world, **options))
            for view, weight in views.items():
                for name in names if world in ("class", "real") and draw == 0 else [""]:
                    stress = explained(D, np.where(families != name, weight, 0.0))
                    row = {f"stress_{k}": v for k, v in at_depths(stress).items()}
                    rows.append({"world": world, "view": view, "left_out": name, "n_axes": axes_for(stress), **row})
    keys = ["world", "view", "left_out"]
    return pd.DataFrame(rows).groupby(keys, sort=False).mean().reset_index()


def real_over_null(table, column="n_axes", null="class", *, ratio=True):
    """The real world's number over (or less) the null's, with an interval that leaves out families in turn.

    Parameters
    ----------
    table : DataFrame of one view with world, left_out and `column`
    column, null : str
    ratio : bool
        Real over null, its interval on the logarithm; else real less null.

    Returns
    -------
    value, low, high : float
        The ends are NaN with fewer than three families.

    Examples
    --------
    >>> t = pd.DataFrame({"world": ["real", "class"], "left_out": ["", ""], "n_axes": [2.0, 8.0]})
    >>> real_over_null(t)
    (0.25, nan, nan)
    """
    wide = table.pivot_table(index="left_out", columns="world", values=column, sort=False)
    real, chance = wide["real"], wide[null]
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.log(real / chance) if ratio else real - chance
    value, others = each[""], each.drop("").dropna().to_numpy()
    low, high = jackknife_interval(value, others)
    return tuple(float(x) for x in (np.exp([value, low, high]) if ratio else (value, low, high)))


def save(atlas, split, equal, every):
    """Store the tables of `equal_progress` and `all_points` as nulls/<split>_equal.parquet and <split>_all.parquet."""
    for name, table in {"equal": equal, "all": every}.items():
        write_table(atlas.folder("nulls") / f"{split}_{name}.parquet", table, preserve_index=False)


def in_words(worlds):
    """Sentences about a split's ladder: the stress of three axes, and the axes needed, beside the shuffled world's.

    Parameters
    ----------
    worlds : DataFrame, see `ladder`

    Returns
    -------
    list of str

    Examples
    --------
    >>> equal = pd.DataFrame({"world": ["real", "class"], "left_out": "", "n_axes": [2.0, 8.0]})
    >>> in_words(ladder(equal, equal.iloc[:0].assign(view="as it is")))
    ['At equal progress, 90 % of the stress needs 2.0 axes; shuffled within classes, it needs 8.0.']
    """
    told, weighting = [], {"as it is": "their points as recorded", "by progress": "their points weighted"}
    if ("equal progress", "n_axes") in worlds.index:
        needed = worlds.loc[("equal progress", "n_axes")]
        told.append(
            f"At equal progress, 90 % of the stress needs {needed['real']:.1f} axes; "
            f"shuffled within classes, it needs {needed['class']:.1f}."
        )
    for (view, quantity), row in worlds.iterrows():
        if quantity == "stress_3":
            real, null_share = 100 * row["real"], 100 * row["class"]
            told.append(
                f"For the same runs, with {weighting.get(view, view)}, 3 axes explain {real:.1f} % of the stress; "
                f"after the shuffle, {null_share:.1f} %."
            )
    return told or ["Too few runs share values of progress for a null world here."]


def load(atlas, split):
    """The two tables that chapter 32 stored, (equal, every); empty ones where there were too few runs.

    Raises
    ------
    FileNotFoundError
        Chapter 32 has not run; the message says what to call.
    """
    folder = next((out / "nulls" for out in (atlas.out, atlas.path) if (out / "nulls").is_dir()), atlas.path / "nulls")
    paths = [folder / f"{split}_{name}.parquet" for name in ("equal", "all")]
    absent = [str(path) for path in paths if not path.is_file()]
    if absent:
        raise FileNotFoundError(f"{absent[0]} is missing; {atlas.cure('32')}")
    return tuple(read_table(outside.inside(path, atlas.path), atlas.cure("32")) for path in paths)


def ladder(equal, every):
    """All numbers of all worlds side by side.

    Parameters
    ----------
    equal, every : DataFrames of `equal_progress` and `all_points`

    Returns
    -------
    DataFrame
        Index (view, quantity): views "as it is", "by progress" and "equal progress"; quantities n_axes, stress_<k>,
        distance. Columns WORLDS, NaN where a world was not made; no rows where there were too few runs.

    Examples
    --------
    >>> equal = pd.DataFrame({"world": ["real", "class"], "left_out": "", "n_axes": [2.0, 8.0], "distance": 0.1})
    >>> ladder(equal, equal.iloc[:0].assign(view="as it is")).loc[("equal progress", "n_axes"), "class"].item()
    8.0
    """
    both = pd.concat([every, equal.assign(view="equal progress")], ignore_index=True)
    whole = both[both.left_out == ""].drop(columns="left_out")
    long = whole.melt(["world", "view"], var_name="quantity").dropna(subset="value")
    wide = long.pivot_table(index=["view", "quantity"], columns="world", values="value", sort=False)
    return wide.reindex(columns=list(WORLDS))
