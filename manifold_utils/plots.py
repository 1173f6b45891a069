"""The house style and the figure functions that several chapters share (2-D; see `plots_3d` for interactive figures).

Functions take `ax` and return `ax`; none of them shows or computes more than a picture needs. One colour and one
marker an architecture through the whole book; ignorance, truth and the geodesic are always black.
"""

from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from manifold_utils.store import atomic_path

# Okabe and Ito's colour-blind-safe palette, one colour, marker and dash an architecture.
ARCHITECTURE_STYLE = {
    "fc": ("#0072B2", "o", "-"),
    "allcnn": ("#E69F00", "s", "--"),
    "wr-10-4-8": ("#009E73", "^", "-."),
    "wr-16-4-64": ("#CC79A7", "v", ":"),
    "convmixer": ("#56B4E9", "D", (0, (5, 1))),
    "vit": ("#D55E00", "P", (0, (3, 1, 1, 1))),
    "resnet18": ("#009E73", "^", "-."),
    "resnet50": ("#CC79A7", "v", ":"),
    "vit-small": ("#D55E00", "P", (0, (3, 1, 1, 1))),
    "student-1": ("#0072B2", "o", "-"),
    "student-2": ("#E69F00", "s", "--"),
}
TIME_LIKE, SPACE_LIKE = "#C44E52", "#4C5C6C"
FACTOR_STYLES = [(c, m, d) for c, m, d in list(ARCHITECTURE_STYLE.values())[:6]] + [
    ("#999999", "X", "-"),
    ("#000000", "*", "--"),
]
VERDICT_COLOURS = {"reproduced": "#009E73", "not at this scale": "#999999", "contradicted": "#D55E00"}
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
DPI = 110


def use_house_style():
    """Set matplotlib's defaults for the book: readable at half size, no frame, white background."""
    mpl.rcParams.update(
        {
            "figure.dpi": DPI,
            "savefig.dpi": DPI,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "font.size": 12,
            "axes.titlesize": 13,
            "axes.labelsize": 12,
            "legend.fontsize": 10,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "image.cmap": SEQUENTIAL,
            "lines.linewidth": 1.6,
            "axes.axisbelow": True,
        }
    )


def style_of(value, all_values=None):
    """(colour, marker, dash) of an architecture, or of any other factor's level by its place in `all_values`."""
    if value in ARCHITECTURE_STYLE:
        return ARCHITECTURE_STYLE[value]
    levels = sorted(set(all_values if all_values is not None else [value]), key=str)
    return FACTOR_STYLES[levels.index(value) % len(FACTOR_STYLES)]


def save_figure(fig, path, alt):
    """Save `fig` as PNG (atomically, with `alt` inside), close it, and return it as an image that carries its alt text.

    Parameters
    ----------
    fig : matplotlib Figure
    path : path ending in .png
    alt : str
        One or two sentences for a reader who cannot see the figure.

    Returns
    -------
    IPython Image: the last expression of a cell displays it.
    """
    from IPython.display import Image

    if len(alt) < 20:
        raise ValueError(f"alt text of {Path(path).name} is too short to describe a figure: {alt!r}")
    buffer = BytesIO()
    fig.savefig(buffer, format="png", bbox_inches="tight", metadata={"Description": alt, "Software": None})
    plt.close(fig)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return Image(data=buffer.getvalue(), format="png", alt=alt)


def axis_label(component, eigenvalues, total=None):
    """Label of an InPCA axis: 'InPC 1 (lambda = +12.3, 71 %)'; the share is of sum lambda_i^2 (`total`, default of
    all given)."""
    value = eigenvalues[component]
    total = np.sum(np.square(eigenvalues)) if total is None else total
    kind = "" if value >= 0 else ", time-like"
    return f"InPC {component + 1} ($\\lambda$ = {value:+.3g}, {100 * value**2 / total:.0f} %{kind})"


def plot_embedding(
    ax,
    coordinates,
    levels=None,
    *,
    values=None,
    components=(0, 1),
    size=6,
    alpha=0.6,
    cmap=SEQUENTIAL,
    norm=None,
    legend=True,
):
    """Scatter points of an embedding, coloured by the levels of a factor or by a number.

    Parameters
    ----------
    ax : matplotlib Axes
    coordinates : (n_points, n_components) ndarray
    levels : (n_points,) sequence of str, optional
        A factor; each level gets its colour and marker, the rarest drawn last.
    values : (n_points,) ndarray, optional
        Numbers for a sequential colour map; used if `levels` is None.
    components : (int, int), numbers of the axes from 0

    Returns
    -------
    ax; with `values`, the scatter is `ax.collections[-1]`
    """
    i, j = components
    if levels is None:
        ax.scatter(
            coordinates[:, i],
            coordinates[:, j],
            c=values,
            s=size,
            alpha=alpha,
            cmap=cmap,
            norm=norm,
            linewidths=0,
            rasterized=True,
        )
    else:
        levels = pd.Series(np.asarray(levels))
        for level in levels.value_counts().index:
            colour, marker, _ = style_of(level, levels)
            rows = (levels == level).to_numpy()
            ax.scatter(
                coordinates[rows, i],
                coordinates[rows, j],
                s=size,
                alpha=alpha,
                color=colour,
                marker=marker,
                linewidths=0,
                label=str(level),
                rasterized=True,
            )
        if legend:
            ax.legend(markerscale=2.2, loc="best")
    return ax


def plot_reference(ax, reference, components=(0, 1), names=True):
    """Draw geodesic (line), ignorance (square) and truth (star) in black.

    Parameters
    ----------
    reference : (n, n_components) ndarray
        Embedded points of the geodesic in order: the first is ignorance, the last truth.
    """
    x, y = reference[:, components[0]], reference[:, components[1]]
    ax.plot(x, y, color="black", lw=1.8, zorder=5, label="geodesic" if names else None)
    ax.plot(x[0], y[0], "s", color="black", ms=8, zorder=6, label="ignorance $P_0$" if names else None)
    ax.plot(x[-1], y[-1], "*", color="black", ms=14, zorder=6, label="truth $P_*$" if names else None)
    return ax


def label_embedding(ax, eigenvalues, components=(0, 1), total=None):
    """Equal aspect, axes named with eigenvalue, share and signature."""
    i, j = components
    ax.set(xlabel=axis_label(i, eigenvalues, total), ylabel=axis_label(j, eigenvalues, total))
    ax.set_aspect("equal", adjustable="datalim")
    return ax


def plot_spectrum(ax, eigenvalues, explained_stress, marks=(1, 3, 10, 20, 50)):
    """Columns of |eigenvalues| (log scale), time-like ones hatched red, with the explained stress written at
    `marks`."""
    eigenvalues = np.asarray(eigenvalues)
    place = np.arange(1, len(eigenvalues) + 1)
    height = np.abs(eigenvalues)
    positive = eigenvalues >= 0
    ax.bar(place[positive], height[positive], color=SPACE_LIKE, label="space-like ($\\lambda > 0$)")
    ax.bar(
        place[~positive],
        height[~positive],
        color=TIME_LIKE,
        hatch="///",
        edgecolor="white",
        label="time-like ($\\lambda < 0$)",
    )
    for k in [k for k in marks if k <= len(place)]:
        ax.annotate(
            f"{100 * explained_stress[k - 1]:.0f} %",
            (k, height[k - 1]),
            xytext=(0, 14),
            textcoords="offset points",
            ha="center",
            fontsize=10,
            arrowprops={"arrowstyle": "-", "lw": 0.7},
        )
    ax.set_yscale("log")
    ax.set(xlabel="component", ylabel="|eigenvalue|", xlim=(0.2, len(place) + 0.8))
    ax.legend(loc="upper right")
    return ax


def plot_curves(ax, x, curves, levels, *, mean=True):
    """Thin lines of single runs and a thick mean for every level of a factor; n stands in the legend.

    Parameters
    ----------
    x : (n_x,) ndarray, common to all curves
    curves : (n_curves, n_x) ndarray
    levels : (n_curves,) sequence of str
    """
    levels, curves = pd.Series(np.asarray(levels)), np.asarray(curves)
    for level in sorted(levels.unique(), key=str):
        colour, _, dash = style_of(level, levels)
        rows = (levels == level).to_numpy()
        ax.plot(x, curves[rows].T, color=colour, lw=0.5, alpha=0.25)
        if mean:
            ax.plot(
                x, np.nanmean(curves[rows], axis=0), color=colour, ls=dash, lw=2.6, label=f"{level} (n = {rows.sum()})"
            )
    ax.legend()
    return ax


def plot_scorecard(ax, judged, limit=1.5):
    """One line a claim: the interval relative to its rule's limit, right of 0 where the rule holds.

    Parameters
    ----------
    judged : DataFrame with claim, ours, low, high, verdict, direction, reproduced (see `claims.scorecard`)
    limit : float
        Values farther from the limit than this, relatively, are drawn at the edge.
    """
    sign = np.where(judged.direction == "at_least", 1, -1)
    scale = np.abs(judged.reproduced.to_numpy(float))
    ours, low, high = (
        np.clip(sign * (judged[k].to_numpy(float) - judged.reproduced) / scale, -limit, limit)
        for k in ("ours", "low", "high")
    )
    colours = judged.verdict.map(VERDICT_COLOURS)
    place = np.arange(len(judged))[::-1]
    ax.hlines(place, np.minimum(low, high), np.maximum(low, high), color=colours, lw=5, alpha=0.5)
    ax.scatter(ours, place, c=colours, s=50, zorder=3)
    ax.axvline(0, color="black", lw=1)
    ax.set(yticks=place, yticklabels=judged.claim + "  " + judged.verdict, xlim=(-limit - 0.1, limit + 0.1))
    ax.set_xlabel("distance beyond the rule's limit, relative (right: the rule holds)")
    return ax


def contact_sheet(folder, path, columns=4, width=420):
    """All PNG figures of `folder` on one page, each under its name; returns their number."""
    from PIL import Image, ImageDraw

    files = sorted(p for p in Path(folder).glob("*.png") if p.resolve() != Path(path).resolve())
    if not files:
        raise FileNotFoundError(f"no figures in {folder}; run the chapters of this profile first")
    thumbs = []
    for file in files:
        with Image.open(file) as image:
            image = image.convert("RGB")
            image.thumbnail((width, width))
            thumbs.append(image.copy())
    cell = width + 28
    sheet = Image.new("RGB", (columns * cell, -(-len(files) // columns) * cell), "white")
    draw = ImageDraw.Draw(sheet)
    for k, (file, thumb) in enumerate(zip(files, thumbs, strict=True)):
        left, top = (k % columns) * cell + 10, (k // columns) * cell + 6
        draw.text((left, top), file.stem, fill="black")
        sheet.paste(thumb, (left, top + 16))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
    return len(files)
