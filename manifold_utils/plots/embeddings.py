"""Points of prediction space drawn: scatter plots of an embedding, its spectrum, and triangles of three classes.

Coordinates and spectra come from `inpca`; the sphere of square roots is in `geometry`. It computes nothing else.
"""

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from manifold_utils.levels import sorted_levels, with_missing_named
from manifold_utils.plots.style import (
    LEGEND_SIZE,
    REFERENCES,
    SEQUENTIAL,
    SPACE_LIKE,
    TIME_LIKE,
    short_legend,
    style_of,
)

TURNS, TURNS_STRIDE = 8, 3  # in which the levels of a scatter plot are drawn; the stride spreads a run over them
MOST, MUCH_LARGER = 0.95, 2.0  # of the points, which fill the frame where all of them would need so much more room

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])


def barycentric(probs):
    """Points of the plane for probabilities over three classes: (..., 3) -> (..., 2), corners at unit distance."""
    return np.asarray(probs) @ CORNERS


def plot_triangle(ax, title, names=("0", "1", "2")):
    """Draw an empty triangle of predictions; corner k, named `names[k]`, is a certain prediction of class k."""
    outline = np.vstack([CORNERS, CORNERS[:1]])
    ax.plot(*outline.T, color="black", lw=1)
    for corner, name, (dx, dy) in zip(CORNERS, names, [(-0.03, -0.05), (0.03, -0.05), (0, 0.02)], strict=True):
        ax.text(corner[0] + dx, corner[1] + dy, name, ha="center")
    ax.set_title(title, pad=18)
    ax.set_aspect("equal")
    ax.axis("off")
    return ax


def axis_label(component, eigenvalues, explained_stress):
    """Label of an InPCA axis: 'InPC 2 (lambda = +1.3, sum 84 %)', the sum written as a capital sigma.

    The percentage means the same in every figure: the explained stress of this axis *and all before it*, of the whole
    matrix (PAPER.md section 1, Explained stress); an axis' own part is what it adds to the axis before.

    Parameters
    ----------
    component : int, number of the axis from 0
    eigenvalues : (n_components,) array-like, signed; a negative one is written as time-like
    explained_stress : (n_components,) array-like in [0, 1]
        Cumulative, the `explained_stress_` of the `InPCA` that made the axes.

    Examples
    --------
    >>> axis_label(1, [3.0, -1.0], [0.5, 0.84])
    'InPC 2 ($\\\\lambda$ = -1, $\\\\Sigma$ 84 %, time-like)'
    """
    value, percent = eigenvalues[component], 100 * explained_stress[component]
    kind = "" if value >= 0 else ", time-like"
    written = f"{percent:.0f}" if 9.5 <= percent < 99.5 else f"{percent:.2g}" if percent < 9.5 else f"{percent:.1f}"
    return f"InPC {component + 1} ($\\lambda$ = {value:+.3g}, $\\Sigma$ {written} %{kind})"


def plot_embedding(ax, coordinates, levels, *, components=(0, 1), size=6, alpha=0.6, legend=True):
    """Scatter points of an embedding, coloured by the levels of a factor.

    Parameters
    ----------
    ax : matplotlib Axes
    coordinates : (n_points, n_components) ndarray
    levels : (n_points,) sequence of str
        A factor; a Series is known by its name (see `style_of`). Each level gets its colour and marker. The levels are
        drawn in turns, some points of each at a time, so that none of them hides the others.
    components : (int, int), numbers of the axes from 0
    size : float, area of a marker in square points; in the legend all markers are alike, opaque and large enough

    Returns
    -------
    ax
    """
    levels = as_series(levels)
    points = coordinates[:, list(components)]
    for level in sorted_levels(levels):  # what the legend shows, whatever is drawn
        colour, marker, _ = style_of(level, levels)
        ax.scatter([], [], s=max(size, LEGEND_SIZE), color=colour, marker=marker, linewidths=0, label=str(level))
    # small markers keep their shape
    look = {"s": size, "alpha": alpha, "linewidths": 0, "snap": False, "rasterized": True}
    turn = levels.groupby(levels).cumcount().to_numpy() * TURNS_STRIDE % TURNS
    for k in range(TURNS):
        for level in levels.value_counts().index:
            colour, marker, _ = style_of(level, levels)
            chosen = (levels == level).to_numpy() & (turn == k)
            if chosen.any():
                ax.scatter(*points[chosen].T, color=colour, marker=marker, **look)
    if legend:
        short_legend(ax, loc="best")
    return ax


def as_series(levels):
    """Levels as a Series with rows from 0; one that is a Series keeps its name, the factor. Missing ones are "none"."""
    name = getattr(levels, "name", None) or "level"
    return with_missing_named(pd.DataFrame({name: np.asarray(levels)}), [name])[name]


def plot_embedding_values(
    ax, coordinates, values, *, components=(0, 1), size=6, alpha=0.6, cmap=SEQUENTIAL, norm=None, marker="o"
):
    """Scatter points of an embedding, coloured by a number on a sequential map; other arguments as `plot_embedding`.

    Parameters
    ----------
    values : (n_points,) ndarray
    cmap, norm, marker : as in `matplotlib.axes.Axes.scatter`

    Returns
    -------
    ax; the scatter, for a colour bar, is `ax.collections[-1]`
    """
    points = coordinates[:, list(components)]
    look = {"s": size, "alpha": alpha, "linewidths": 0, "rasterized": True}
    ax.scatter(*points.T, c=values, cmap=cmap, norm=norm, marker=marker, **look)
    return ax


def plot_reference(ax, reference, components=(0, 1), names=True):
    """Draw geodesic (line), ignorance (square) and truth (star) in black.

    Parameters
    ----------
    reference : (n, n_components) ndarray
        Embedded points of the geodesic in order: the first is ignorance, the last truth.
    """
    x, y = reference[:, components[0]], reference[:, components[1]]
    ax.plot(x, y, color="black", lw=1.8, zorder=5, label=REFERENCES[0] if names else None)
    ax.plot(x[0], y[0], "s", color="black", ms=7, zorder=6, label=REFERENCES[1] if names else None)
    ax.plot(x[-1], y[-1], "*", color="black", ms=12, zorder=6, label=REFERENCES[2] if names else None)
    return ax


def label_embedding(ax, eigenvalues, explained_stress, components=(0, 1)):
    """Equal aspect, axes named with eigenvalue, cumulative explained stress and signature; see `axis_label`."""
    across, up = (axis_label(k, eigenvalues, explained_stress) for k in components)
    ax.set(xlabel=across, ylabel=up.replace(" (", "\n(", 1))  # upright, there is less room
    ax.set_aspect("equal", adjustable="datalim")
    return ax


def frame_on_most(ax, points, reference=None, keep=None):
    """Let most of the points fill the frame, with equal aspect, and say in a corner what lies outside.

    A few far points, or a far truth, would leave the others a small part of the figure. Nothing changes where all
    points and the whole `reference` fit into a frame that is not much larger.

    Parameters
    ----------
    ax : matplotlib Axes
    points : (n_points, 2) ndarray, as drawn
    reference : (n, 2) ndarray, optional
        The drawn geodesic, which ends at truth.
    keep : (n, 2) ndarray, optional
        Places that must be within the frame.

    Returns
    -------
    int, the number of points outside of the frame

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> places = np.random.default_rng(0).normal(size=(400, 2))
    >>> places[0] = 50.0
    >>> frame_on_most(plt.figure().add_subplot(), places) < 40
    True
    """
    points = np.asarray(points, dtype=float)
    reference = np.empty((0, 2)) if reference is None else np.asarray(reference, dtype=float)
    everything = np.concatenate([points, reference[np.isfinite(reference).all(axis=1)]])
    low, high = np.quantile(points, [(1 - MOST) / 2, (1 + MOST) / 2], axis=0)
    if keep is not None:
        low, high = np.minimum(low, keep.min(axis=0)), np.maximum(high, keep.max(axis=0))
    if (np.ptp(everything, axis=0) <= MUCH_LARGER * (high - low)).all():
        return 0
    low, high = low - 0.1 * (high - low), high + 0.1 * (high - low)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    ax.set_aspect("equal", adjustable="box")  # these limits, and no wider ones
    outside = ((everything < low) | (everything > high)).any(axis=1)
    n_outside, far_truth = int(outside[: len(points)].sum()), len(reference) > 0 and bool(outside[-1])
    said = [f"{n_outside} of {len(points)} points"] * (n_outside > 0) + ["truth"] * far_truth
    if said:
        ax.annotate(f"outside: {', '.join(said)}", (0.98, 0.98), xycoords="axes fraction", ha="right", va="top", size=9)
    return n_outside


def plot_spectrum(ax, eigenvalues, explained_stress, marks=(1, 3, 10, 20, 50)):
    """Columns of |eigenvalues| (log scale), time-like ones hatched red, with the explained stress written at
    `marks`."""
    eigenvalues = np.asarray(eigenvalues)
    place = np.arange(1, len(eigenvalues) + 1)
    height = np.abs(eigenvalues)
    positive = eigenvalues >= 0
    ax.bar(place[positive], height[positive], color=SPACE_LIKE, label="space-like ($\\lambda > 0$)")
    if not positive.all():
        red = {"color": TIME_LIKE, "hatch": "///", "edgecolor": "white", "label": "time-like ($\\lambda < 0$)"}
        ax.bar(place[~positive], height[~positive], **red)
    for k in [k for k in marks if k <= len(place)]:
        ax.annotate(
            f"{100 * explained_stress[k - 1]:.0f} %",
            (k, height[k - 1]),
            xytext=(0, 14),
            textcoords="offset points",
            ha="left" if k < len(place) else "center",  # to the right the columns are lower
            fontsize=10,
            arrowprops={"arrowstyle": "-", "lw": 0.7},
        )
    ax.set_yscale("log")
    ax.set(xlabel="component", ylabel="|eigenvalue|", xlim=(0.2, len(place) + 0.8))
    ax.set_ylim(top=height.max() * (height.max() / height.min()) ** 0.13)  # room for the first percentage
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    ax.legend(loc="upper right")
    return ax


def plot_ladder(ax, values, low=None, high=None):
    """One bar a world of the ladder of null models, the real world in black, each with its number.

    Parameters
    ----------
    values : Series indexed by world, from the bottom of the ladder to the real world
    low, high : Series, optional
        Ends of intervals, drawn as thin lines.
    """
    place = np.arange(len(values))
    colours = ["black" if world == "real" else "0.72" for world in values.index]
    ax.bar(place, values, color=colours, width=0.7)
    for x, value in zip(place, values, strict=True):
        ax.annotate(f"{value:.3g}", (x, value), (0, 3), textcoords="offset points", ha="center", fontsize=9)
    if low is not None:
        ax.vlines(place, low, high, color="tab:red", lw=1.6)
    ax.set_xticks(place, values.index, fontsize=10)
    ax.grid(axis="x", visible=False)
    return ax
