"""Figures about whole runs: the dendrogram with its factors, effect sizes, importances, and curves along progress.

Drawn from what `statistics` and `trajectories` compute, in the style of `style`. Functions take axes and return them.
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.pyplot import get_cmap
from matplotlib.ticker import NullFormatter

from manifold_utils.levels import sorted_levels
from manifold_utils.plots.embeddings import as_series
from manifold_utils.plots.style import (
    DIVERGING,
    FACTOR_STYLES,
    SEQUENTIAL,
    SPACE_LIKE,
    TIME_LIKE,
    legend_below,
    numbered_style,
    plain_log,
    short_legend,
    shortened,
    style_of,
)

MOST_RUNS = 0.75  # share of the runs of a line that must be left for it to be thick
NAMES = {
    "optimizer": "optimiser",
    "batch_size": "batch size",
    "learning_rate": "learning rate",
    "weight_decay": "weight decay",
}


def factor_name(factor):
    """A factor's name for readers: 'batch size' for the column 'batch_size'."""
    return NAMES.get(factor, str(factor).replace("_", " "))


def level_colour(factor, level, levels):
    """Colour of a factor's level, see `style_of`."""
    return style_of(level, levels, factor)[0]


def plot_dendrogram(ax, strips, linkage, table, factors):
    """A tree of configurations above, and below it one strip a factor, coloured by level.

    Heights are drawn on a square-root scale: d_B is like a squared length, and a linear scale would hide the low forks.

    Parameters
    ----------
    ax, strips : matplotlib Axes, one above the other, sharing their width
    linkage : ndarray of shape (n - 1, 4), see `scipy.cluster.hierarchy.linkage`; heights in nats
    table : DataFrame of the n configurations
    factors : sequence of str, columns of `table`

    Returns
    -------
    ax, strips
    """
    from scipy.cluster.hierarchy import dendrogram

    tree = dendrogram(linkage, ax=ax, color_threshold=0, above_threshold_color=SPACE_LIKE, no_labels=True)
    ordered = table.iloc[tree["leaves"]]
    picture = np.array([[to_rgb(level_colour(f, v, table[f])) for v in ordered[f]] for f in factors])
    strips.imshow(picture, aspect="auto", interpolation="none", extent=(0, 10 * len(table), len(factors), 0))
    strips.set(yticks=np.arange(len(factors)) + 0.5, xticks=[], xlim=ax.get_xlim())
    strips.set_yticklabels([factor_name(f) for f in factors])
    strips.hlines(np.arange(1, len(factors)), *ax.get_xlim(), color="white", lw=4)
    for place in strips.spines.values():
        place.set_visible(False)
    strips.grid(False)
    ax.set_yscale("function", functions=(lambda d: np.sqrt(np.maximum(d, 0)), np.square))
    ax.set(ylabel="$d_{traj}$ (nats)", ylim=(0, None))
    ax.grid(axis="x", visible=False)
    return ax, strips


def level_legend(fig, table, factors, **options):
    """One legend of all levels of all factors, a column a factor, below the figure."""
    from matplotlib.patches import Patch

    columns = [[(factor_name(f), "none")] for f in factors]
    for column, factor in zip(columns, factors, strict=True):
        levels = sorted_levels(table[factor])
        colours = [level_colour(factor, v, table[factor]) for v in levels]
        colours, levels = shortened(colours, [str(v) for v in levels])
        column += [(v, c if isinstance(c, str) else "none") for v, c in zip(levels, colours, strict=True)]
    depth = max(len(c) for c in columns)
    handles = [
        Patch(color=colour, label=name) for c in columns for name, colour in c + [("", "none")] * (depth - len(c))
    ]
    legend = fig.legend(handles=handles, loc="outside lower center", ncols=len(factors), **options)
    for text in legend.get_texts():
        text.set_fontweight("bold" if text.get_text() in {factor_name(f) for f in factors} else "normal")
    return legend


def plot_effects(ax, effects):
    """Effect sizes as dots with intervals, one line a factor; the band from 1 is what shuffled runs reach.

    Parameters
    ----------
    effects : DataFrame with factor, value, low, high, null_high, n_pairs, largest first
    """
    place = np.arange(len(effects))[::-1]
    value = effects.value.to_numpy()
    spread = np.abs(effects[["low", "high"]].to_numpy(dtype=float) - value[:, None])
    ax.barh(place, effects.null_high - 1, left=1, height=0.5, color="0.85", label="95 % of shuffled runs")
    ax.errorbar(value, place, xerr=np.nan_to_num(spread).T, fmt="o", color=SPACE_LIKE, capsize=4, ms=7, zorder=3)
    ax.axvline(1, color="black", lw=1.2, label="seeds of one configuration")
    names = [f"{factor_name(f)}\n(n = {n})" for f, n in zip(effects.factor, effects.n_pairs, strict=True)]
    ax.set_yticks(place, names)
    ax.set(xlabel="distance between levels / distance between seeds", ylim=(-0.6, len(effects) - 0.4))
    legend_below(ax, ncols=2)
    return ax


def plot_ratio_map(ax, ratios, label):
    """Ratios as a table of colours, centred on 1 (no effect), each with its number; NaN is a dash on white.

    The scale is logarithmic: twice as far and half as far are equally dark.

    Parameters
    ----------
    ratios : DataFrame, rows and columns named
    label : str, of the colour bar
    """
    values = ratios.to_numpy(dtype=float)
    known = values[np.isfinite(values)]
    top = float(np.exp(np.abs(np.log(np.r_[2.0, known])).max()))
    bar = {"label": label, "ticks": 2.0 ** np.arange(-3, 4), "format": "%g"}
    options = {"annot": True, "fmt": ".2f", "annot_kws": {"size": "medium"}, "cbar_kws": bar}
    sns.heatmap(ratios.astype(float), cmap=DIVERGING, norm=LogNorm(1 / top, top), ax=ax, **options)
    ax.collections[0].colorbar.minorticks_off()
    for i, j in np.argwhere(~np.isfinite(values)):
        ax.text(j + 0.5, i + 0.5, "-", ha="center", va="center")
    ax.set(xlabel="", ylabel="")
    ax.set_xticklabels([factor_name(c).replace(" ", "\n") for c in ratios.columns], rotation=0)
    ax.set_yticklabels(ratios.index, rotation=0)
    ax.grid(False)
    return ax


def plot_importance(ax, importance, null):
    """Importance of each factor (bars, mean over splits, dots for the splits) with the null's 95 % mark.

    Parameters
    ----------
    importance : DataFrame (n_splits, n_factors)
    null : DataFrame (n_null, n_factors)
    """
    bars = {"errorbar": None, "color": SPACE_LIKE, "saturation": 1, "width": 0.55}
    sns.barplot(importance, ax=ax, label="held-out configurations", **bars)
    sns.stripplot(importance, color="black", size=3.5, alpha=0.6, jitter=False, ax=ax)
    for k, mark in enumerate(null[importance.columns].quantile(0.95)):
        name = None if k else "95 % of permuted runs"
        ax.hlines(mark, k - 0.38, k + 0.38, color=TIME_LIKE, ls="--", lw=2, label=name)
    names = [factor_name(c).replace(" ", "\n") for c in importance.columns]
    ax.set_xticks(range(len(names)), names)
    ax.set(ylabel="$R^2$ lost when permuted")
    ax.axhline(0, color="black", lw=0.8)
    short_legend(ax)
    return ax


def plot_quantiles(ax, x, curves, levels, *, legend=True, mark_stops=False):
    """Median and middle half of curves by level of a factor; values of x where half the curves are NaN are left out.

    Parameters
    ----------
    x : (n_x,) ndarray
    curves : (n_curves, n_x) ndarray
    levels : (n_curves,) sequence
    mark_stops : bool
        A ring on each median where the first of its curves has stopped (all later values NaN): from there on it is the
        median of those that are left. The line is thin where fewer than `MOST_RUNS` of its curves are left.
    """
    levels, curves = as_series(levels), np.asarray(curves, dtype=float)
    for level in sorted_levels(levels):
        rows = curves[(levels == level).to_numpy()]
        kept = np.isfinite(rows).mean(axis=0) >= 0.5
        if not kept.any():
            continue
        colour, _, dash = style_of(level, levels)
        middle, low, high = np.nanquantile(rows[:, kept], [0.5, 0.25, 0.75], axis=0)
        stopped = np.logical_and.accumulate(np.isnan(rows[:, ::-1]), axis=1)[:, ::-1].any(axis=0)[kept]
        thin = stopped & (np.isfinite(rows[:, kept]).mean(axis=0) < MOST_RUNS)
        whole = int(thin.argmax()) if mark_stops and thin.any() else kept.sum()
        look = {"color": colour, "ls": dash}
        ax.fill_between(x[kept], low, high, color=colour, alpha=0.15, lw=0)
        ax.plot(x[kept][: whole + 1], middle[: whole + 1], lw=2.4, label=f"{level} (n = {len(rows)})", **look)
        if whole < kept.sum():
            ax.plot(x[kept][whole:], middle[whole:], lw=1, **look)
        if mark_stops and stopped.any():
            first = stopped.argmax()
            ax.plot(x[kept][first], middle[first], "o", color=colour, mfc="white", mew=1.8, ms=7, zorder=4)
    if mark_stops:
        ax.scatter([], [], s=45, color="white", edgecolor="0.3", linewidths=1.8, label="first run stops")
    if legend:
        legend_below(ax, ncols=2)
    return ax


def plot_excess(ax, table, mean, shuffled, bound):
    """Excess of unusual runs over held-out ordinary ones at a few values of progress: runs small, means large.

    Parameters
    ----------
    table : DataFrame with one row a run and value of progress: kind, s, distance, held_out
    mean, shuffled : DataFrames with index (kind, s) and value, and in `mean` low and high
        Of the runs, and of the runs shuffled within classes.
    bound : float, drawn as a dotted line

    Notes
    -----
    The axis spans runs and means; an interval from two families that is longer runs out of the frame.
    """
    kinds, stations = sorted(table.kind.unique()), sorted(table.s.unique())
    for k, kind in enumerate(kinds):
        colour, marker, _ = numbered_style(k)
        x = np.array(stations) + 0.12 * ((k + 0.5) / len(kinds) - 0.5)  # kinds side by side
        look, found = {"color": colour, "marker": marker, "ls": ""}, mean.loc[kind].loc[stations]
        one = table[table.kind == kind]
        ax.plot(one.s.map(dict(zip(stations, x, strict=True))), one.distance / one.held_out, **look, ms=3, alpha=0.5)
        ax.plot(x, found.value, **look, ms=9, label=kind.replace("_", " "))
        ax.vlines(x, found.low, found.high, color=colour, lw=2)
        name = None if k else "shuffled within classes"
        ax.plot(x, shuffled.loc[kind].loc[stations].value, "_", color="0.5", ms=14, mew=2, label=name)
    ax.axhline(1, color="black", lw=1.2, label="held-out ordinary runs")
    ax.axhline(bound, color="black", lw=1, ls=":", label=f"{bound:g} times")
    spanned = np.r_[table.distance / table.held_out, mean.value, shuffled.value, bound, 1.0]
    spanned = spanned[np.isfinite(spanned) & (spanned > 0)]
    ax.set(yscale="log", xlabel="progress s", xticks=stations, ylim=(spanned.min() / 1.4, 1.4 * spanned.max()))
    plain_log(ax.yaxis)
    return ax


def plot_progress_by_size(ax, points, runs, clock="epoch", column="progress_train", *, legend=True):
    """Progress of single runs against a clock, dark for the smallest network and light for the largest.

    Parameters
    ----------
    points : DataFrame with run, `clock` and `column`, in order
    runs : DataFrame of the runs to draw, with n_parameters
    clock : {"epoch", "step"}; steps are drawn on a logarithmic axis
    """
    sizes = sorted(runs.n_parameters.unique())
    shades = get_cmap(SEQUENTIAL)(np.linspace(0, 0.9, len(sizes)))
    for size, shade in zip(sizes, shades, strict=True):
        for k, run in enumerate(runs.index[runs.n_parameters == size]):
            line = points[points.run == run]
            label = None if k else f"{int(size):,}"
            ax.plot(line[clock], line[column], color=shade, lw=1.5, label=label)
    ax.set(xlabel=f"{clock}s", xscale="symlog" if clock == "step" else "linear")
    if legend:
        frame = {"frameon": True, "edgecolor": "white"}
        short_legend(ax, loc="lower right", fontsize=8, title="parameters", title_fontsize=8, **frame)
    return ax


def plot_steps_by_size(ax, n_parameters, steps, stations, targets=(0.25, 0.5, 0.75)):
    """Mean steps to some values of progress against the number of parameters; runs that never get there are left out.

    Parameters
    ----------
    n_parameters : (n_runs,) ndarray
    steps : (n_runs, n_stations) ndarray, see `trajectories.crossings`
    stations : (n_stations,) ndarray, progress
    """
    for (colour, marker, dash), target in zip(FACTOR_STYLES, targets, strict=False):
        when = steps[:, np.argmin(np.abs(np.asarray(stations) - target))]
        seen = pd.Series(np.where(np.isfinite(when), when, np.nan)).groupby(np.asarray(n_parameters)).mean()
        ax.plot(seen.index, seen, color=colour, marker=marker, ls=dash, label=f"to progress {target}")
    ax.set(xscale="log", yscale="log", xlabel="parameters")
    plain_log(ax.yaxis)
    ax.xaxis.set_minor_formatter(NullFormatter())
    return ax


def plot_curves(ax, x, curves, levels, *, mean=True):
    """Thin lines of single runs and a thick mean for every level of a factor; n stands in the legend.

    Parameters
    ----------
    x : (n_x,) ndarray, common to all curves
    curves : (n_curves, n_x) ndarray
    levels : (n_curves,) sequence of str
    """
    levels, curves = as_series(levels), np.asarray(curves)
    for level in sorted_levels(levels):
        colour, _, dash = style_of(level, levels)
        rows = (levels == level).to_numpy()
        ax.plot(x, curves[rows].T, color=colour, lw=0.5, alpha=0.25)
        if mean:
            ax.plot(
                x, np.nanmean(curves[rows], axis=0), color=colour, ls=dash, lw=2.6, label=f"{level} (n = {rows.sum()})"
            )
    legend_below(ax)
    return ax
