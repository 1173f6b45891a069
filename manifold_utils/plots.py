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
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

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
LEGEND_SIZE = 30  # area of a marker in a legend, square points
DPI = 110
SHEET_FONT = 16  # pixels of the names on a contact sheet


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
    share = 100 * value**2 / total
    written = f"{share:.0f}" if share >= 9.5 else f"{share:.1g}"  # a thin axis has a share, if a small one
    return f"InPC {component + 1} ($\\lambda$ = {value:+.3g}, {written} %{kind})"


def legend_below(ax, ncols=3, **options):
    """The legend of `ax` under its label, where it hides no data."""
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "columnspacing": 1.2, "handletextpad": 0.5}
    return ax.legend(ncols=ncols, **(place | options))


def plain_log(axis):
    """Numbers that can be read (0.5, 1, 2) on a logarithmic x- or y-axis, also where it spans less than a decade."""
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    steps = (1, 1.5, 2, 3, 4, 6) if decades < 1 else (1, 2, 5) if decades < 2.5 else (1,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    return axis


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
    size : float, area of a marker in square points; in the legend all markers are alike, opaque and large enough

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
        for level in sorted(levels.unique(), key=str):  # what the legend shows, whatever is drawn
            colour, marker, _ = style_of(level, levels)
            ax.scatter([], [], s=max(size, LEGEND_SIZE), color=colour, marker=marker, linewidths=0, label=str(level))
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
                snap=False,  # small markers keep their shape
                rasterized=True,
            )
        if legend:
            ax.legend(loc="best")
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
    ax.plot(x[0], y[0], "s", color="black", ms=7, zorder=6, label="ignorance $P_0$" if names else None)
    ax.plot(x[-1], y[-1], "*", color="black", ms=12, zorder=6, label="truth $P_*$" if names else None)
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
    legend_below(ax)
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


def contact_sheet(folder, path, columns=6, width=420):
    """All PNG figures of `folder` on one page, in the order of their names, each under its name.

    Parameters
    ----------
    folder : path
    path : path of the page, ending in .png; left out if it lies in `folder`
    columns : int
    width : int
        Pixels of a column. Figures are scaled to it, and a row is as high as its highest figure.

    Returns
    -------
    int, the number of figures
    """
    from PIL import Image, ImageDraw, ImageFont

    files = sorted(p for p in Path(folder).glob("*.png") if p.resolve() != Path(path).resolve())
    if not files:
        raise FileNotFoundError(f"no figures in {folder}; run the chapters of this profile first")
    gap, font = 12, ImageFont.load_default(size=SHEET_FONT)
    thumbs = []
    for file in files:
        with Image.open(file) as image:
            thumbs.append(image.convert("RGB").resize((width, max(1, round(image.height * width / image.width)))))
    rows = [range(k, min(k + columns, len(files))) for k in range(0, len(files), columns)]
    heights = [SHEET_FONT + 2 * gap + max(thumbs[k].height for k in row) for row in rows]
    sheet = Image.new("RGB", (min(columns, len(files)) * (width + gap) + gap, sum(heights) + gap), "white")
    draw, top = ImageDraw.Draw(sheet), gap
    for row, height in zip(rows, heights, strict=True):
        for place, k in enumerate(row):
            left = gap + place * (width + gap)
            draw.text((left, top), files[k].stem, fill="black", font=font)
            sheet.paste(thumbs[k], (left, top + SHEET_FONT + gap // 2))
        top += height
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
    return len(files)
