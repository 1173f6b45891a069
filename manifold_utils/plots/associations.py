"""One number of a run against another, and how well sets of numbers predict: marks by family, held-out R^2 by set.

The numbers come from `statistics` and from the studies; nothing is computed here but places.
"""

import numpy as np

from manifold_utils.levels import sorted_levels
from manifold_utils.plots.embeddings import as_series
from manifold_utils.plots.style import FACTOR_STYLES, style_of

R2_EDGE = -0.75  # held-out R^2 at which the axis ends: worse is drawn there, as an arrow
STRIPE = "0.95"  # ground of every other row


def plot_marks(ax, x, y, levels, *, counts=False, styles=None, **look):
    """A mark for each run, coloured and shaped by the level of a factor.

    Parameters
    ----------
    x, y : array-like of shape (n_runs,)
    levels : Series of shape (n_runs,); its name is the factor
    counts : bool
        The legend says how many runs a level has.
    styles : dict of level -> (colour, marker, dash), optional; by default those of the house, see `style_of`
    look : of `Axes.plot`
    """
    levels = as_series(levels)
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    for level in sorted_levels(levels):
        rows = (levels == level).to_numpy()
        colour, marker, _ = (styles or {}).get(level) or style_of(level, levels)
        label = f"{level} (n = {rows.sum()})" if counts else str(level)
        style = {"color": colour, "marker": marker, "ms": 5, "alpha": 0.7, "mew": 0}
        ax.plot(x[rows], y[rows], ls="", label=label, **(style | look))
    return ax


def plot_r2(ax, scores, ceiling=np.nan):
    """Held-out R^2 of sets of numbers, one row a set, one colour a round, with intervals, chance and a ceiling.

    Parameters
    ----------
    scores : DataFrame with R2, low, high and chance; index (held out, numbers)
    ceiling : float
        The most that settings can explain; NaN is not drawn.
    """
    held_out, sets = (list(scores.index.unique(level)) for level in (0, 1))
    for row in range(0, len(sets), 2):
        ax.axhspan(row - 0.5, row + 0.5, color=STRIPE, lw=0, zorder=0)
    ax.axvline(0, color="black", lw=1)
    for (held, name), score in scores.iterrows():
        k = held_out.index(held)
        _plot_score(ax, score, sets.index(name) + 0.34 * (k - (len(held_out) - 1) / 2), FACTOR_STYLES[k], held)
    if np.isfinite(ceiling):
        ax.axvline(ceiling, color="black", ls="--", lw=1.2, label="ceiling from seeds")
    ax.set(xlim=(R2_EDGE - 0.05, 1.05), ylim=(len(sets) - 0.5, -0.5), xlabel="held-out $R^2$")
    ax.set_xticks([-0.5, 0, 0.5, 1], ["-0.5", "0", "0.5", "1"])
    ax.set_yticks(range(len(sets)), sets)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    return ax


def _plot_score(ax, score, place, style, held):
    """One R^2 with its interval; a mark beyond the left edge becomes an arrow there."""
    colour, marker, _ = style
    r2, low, high = np.clip([score.R2, score.low, score.high], R2_EDGE, 1)
    beyond = score.R2 < R2_EDGE
    look = {"color": colour, "capsize": 2.5, "ms": 5.5, "fmt": "<" if beyond else marker}
    ax.errorbar(r2, place, xerr=[[r2 - low], [high - r2]], label=None if beyond else f"{held} held out", **look)
    top = np.clip(score.chance, R2_EDGE, 1)
    ax.plot(top, place, marker="|", color="0.45", ms=9, mew=2, ls="", label="95 % of chance")
