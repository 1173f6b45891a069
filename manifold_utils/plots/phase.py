"""Phase diagrams over two positive quantities: shades or kinds of cells, with labelled contours of the stress."""

import numpy as np
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from manifold_utils.plots.style import FACTOR_STYLES, colour_map

CONTOURS = {0.5: ("--", "one half"), 0.9: ("-", "nine tenths")}  # of the stress: (dash, name)
NOTHING = "0.9"  # colour of the cells in which nothing decides


def plot_phase(ax, decays, ratios, stress, borders=()):
    """Explained stress as a shade, with its contours and the borders that theory gives.

    Parameters
    ----------
    decays : ndarray of shape (n_columns,), ascending
    ratios : ndarray of shape (n_rows,), ascending
    stress : ndarray of shape (n_rows, n_columns), in [0, 1]
    borders : (decay, ratio), optional, thin dotted lines

    Returns
    -------
    QuadMesh, for a colour bar
    """
    picture = ax.pcolormesh(decays, ratios, stress, vmin=0, vmax=1, shading="gouraud")
    _plot_contours(ax, decays, ratios, stress)
    for draw, place in zip((ax.axvline, ax.axhline), borders, strict=False):
        draw(place, color="white", ls=":", lw=1.6)
    return picture


def plot_deciders(ax, decays, ratios, decider, stress, n_factors):
    """Which factor decides in each cell, a colour each and pale grey for none, with the contours of the stress.

    Parameters
    ----------
    decider : ndarray of shape (n_rows, n_columns), int: the number of a factor, or `n_factors` for none
    decays, ratios, stress : see `plot_phase`
    """
    colours = colour_map(decider_colours(n_factors))
    ax.pcolormesh(decays, ratios, decider, vmin=-0.5, vmax=n_factors + 0.5, shading="nearest", cmap=colours)
    _plot_contours(ax, decays, ratios, stress)
    return ax


def decider_colours(n_factors):
    """Colours of the factors and, last, of nothing."""
    return [FACTOR_STYLES[k][0] for k in range(n_factors)] + [NOTHING]


def decider_legend(fig, names):
    """A legend of the colours of `names`, the last of which is nothing, below the panels."""
    colours = decider_colours(len(names) - 1)
    keys = [Patch(color=colour, label=name) for colour, name in zip(colours, names, strict=True)]
    return fig.legend(handles=keys, loc="outside lower center", ncols=2)


def _plot_contours(ax, decays, ratios, stress):
    """Black lines at `CONTOURS` that say what they are, with a white seam that keeps them off any ground."""
    ax.set(xscale="log", yscale="log")
    levels = [level for level in CONTOURS if stress.min() < level < stress.max()]
    dashes = [CONTOURS[level][0] for level in levels]
    if levels:
        lines = ax.contour(decays, ratios, stress, levels=levels, colors="black", linestyles=dashes, linewidths=1.6)
        lines.set_path_effects([withStroke(linewidth=3.2, foreground="white", alpha=0.6)])
        for text in ax.clabel(lines, fmt={level: f"{level:g}" for level in levels}, fontsize=10, inline_spacing=2):
            text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    ax.set(xlim=(np.min(decays), np.max(decays)), ylim=(np.min(ratios), np.max(ratios)))
    ax.grid(False)
