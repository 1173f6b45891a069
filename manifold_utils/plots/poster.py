"""One picture of a whole atlas: every run a thin line from ignorance towards truth, seen from the side."""

import numpy as np

from manifold_utils.plots.runs import level_colour
from manifold_utils.plots.style import short_legend

VIEW = np.deg2rad([20.0, -35.0])  # elevation and azimuth of the eye
POSTER_SIZE = (9.0, 4.2)  # inches


def turned(coordinates, view=VIEW):
    """Places on paper of points in three dimensions, seen from `view`: (n, 3) -> (n, 2).

    The first axis goes to the right, the third up; the second gives depth.

    Examples
    --------
    >>> turned(np.array([[1.0, 0.0, 0.0]]), (0.0, 0.0)).tolist()
    [[1.0, 0.0]]
    """
    elevation, azimuth = view
    x, y, z = np.asarray(coordinates, dtype=float).T
    across = x * np.cos(azimuth) - y * np.sin(azimuth)
    depth = x * np.sin(azimuth) + y * np.cos(azimuth)
    return np.stack([across, z * np.cos(elevation) + depth * np.sin(elevation)], axis=1)


def plot_poster(ax, coordinates, reference, runs, levels, factor):
    """Draw every run as a line coloured by a factor, and the geodesic in black; no axes.

    Parameters
    ----------
    ax : matplotlib Axes
    coordinates : (n_points, 3) ndarray, in order of time within each run
    reference : (n, 3) ndarray, the geodesic from ignorance to truth
    runs, levels : (n_points,) sequences
    factor : str, the column that `levels` come from

    Returns
    -------
    ax
    """
    flat, runs, levels = turned(coordinates), np.asarray(runs), np.asarray(levels)
    labelled = set()
    for run in dict.fromkeys(runs):
        line, level = flat[runs == run], levels[runs == run][0]
        label = None if level in labelled else str(level)
        labelled.add(level)
        ax.plot(*line.T, color=level_colour(factor, level, levels), lw=0.7, alpha=0.55, label=label)
    road = turned(reference)
    ax.plot(*road.T, color="black", lw=2.4, label="geodesic", zorder=5)
    ax.plot(*road[0], "s", color="black", ms=8, zorder=6)
    ax.plot(*road[-1], "*", color="black", ms=15, zorder=6)
    for place, name, shift in ((road[0], "ignorance", (-8, -16)), (road[-1], "truth", (10, -4))):
        ax.annotate(name, place, shift, textcoords="offset points", ha="right" if shift[0] < 0 else "left")
    ax.set_aspect("equal", adjustable="datalim")
    ax.axis("off")
    for handle in short_legend(ax, loc="upper right", fontsize=9, ncols=2).get_lines():
        handle.set(lw=2.4, alpha=1)
    return ax
