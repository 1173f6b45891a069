"""Whole figures of an embedding: its first three axes from three sides, and every level of a factor by itself.

They fill a figure that is given, and return it. Single panels are in `embeddings`.
"""

import numpy as np

from manifold_utils.levels import sorted_levels
from manifold_utils.plots.embeddings import as_series, label_embedding, plot_embedding, plot_reference
from manifold_utils.plots.style import figure_legend, style_of

GREY = "0.85"  # the other levels, behind one
MAX_PANELS = 12


def plot_views(fig, coordinates, levels, reference, eigenvalues, explained_stress):
    """The plane of the first two axes above, and the two planes with the third axis below, coloured by a factor.

    Parameters
    ----------
    fig : matplotlib Figure, empty, about 9 inches wide and 8 high
    coordinates : (n_points, n_axes) ndarray; with two axes only the first plane is drawn
    levels : (n_points,) sequence
    reference : (n, n_axes) ndarray, the geodesic from ignorance to truth
    eigenvalues, explained_stress : (n_axes,) ndarrays, see `embeddings.axis_label`

    Returns
    -------
    fig
    """
    n_rows = 2 if coordinates.shape[1] > 2 else 1
    ratios = {"width_ratios": [1.25, 1], "height_ratios": [1.15, 1][:n_rows]}
    axes = fig.subplot_mosaic("AA;BC"[: 3 * n_rows - 1].rstrip(";"), **ratios)
    for ax, pair in zip(axes.values(), [(0, 1), (0, 2), (1, 2)], strict=False):
        plot_embedding(ax, coordinates, levels, components=pair, legend=False)
        plot_reference(ax, reference, pair)
        label_embedding(ax, eigenvalues, explained_stress, pair)
    figure_legend(fig, axes["A"], ncols=5)
    return fig


def plot_levels_apart(fig, coordinates, levels, reference, *, components=(0, 1), columns=3):
    """One panel a level of a factor, in its colour and marker, over the points of all other levels in grey.

    Parameters
    ----------
    fig : matplotlib Figure, empty; its height is set to what the panels need
    coordinates, levels, reference : as in `plot_views`
    components : (int, int), numbers of the axes from 0
    columns : int
        Panels side by side; at most `MAX_PANELS` levels are drawn.

    Returns
    -------
    fig
    """
    levels = as_series(levels)
    shown = sorted_levels(levels)[:MAX_PANELS]
    points, road = (places[:, list(components)] for places in (coordinates, reference))
    columns = min(columns, len(shown))
    n_rows, (width, height) = -(-len(shown) // columns), np.ptp(np.concatenate([points, road]), axis=0)
    fig.set_figheight(0.5 + n_rows * (0.4 + 0.9 * fig.get_figwidth() / columns * height / width))
    axes = fig.subplots(n_rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax, level in zip(axes.flat, shown, strict=False):
        colour, marker, _ = style_of(level, levels)
        own = (levels == level).to_numpy()
        look = {"linewidths": 0, "rasterized": True, "snap": False}
        ax.scatter(*points[~own].T, s=2, color=GREY, **look)
        ax.scatter(*points[own].T, s=6, color=colour, marker=marker, alpha=0.7, **look)
        plot_reference(ax, reference, components, names=False)
        ax.set_title(f"{level} (n = {own.sum()})", fontsize=11)
        ax.set_aspect("equal", adjustable="box")
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    fig.supxlabel(f"InPC {components[0] + 1}", fontsize=11)
    fig.supylabel(f"InPC {components[1] + 1}", fontsize=11)
    return fig

