"""The house style: one colour and one marker an architecture through the whole book, legends, axes, saved figures.

Ignorance, truth and the geodesic are always black. Functions take `ax` and return `ax`; none of them shows.
"""

from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from manifold_utils.files import atomic_path

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
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
LEGEND_SIZE = 30  # area of a marker in a legend, square points
DPI = 110
LABELLED_DECADES = 4  # of a logarithmic axis in plain numbers, at most


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


def colour_map(colours):
    """A colour map of single colours, for numbers of kinds."""
    return ListedColormap(colours)


def legend_below(ax, ncols=3, **options):
    """The legend of `ax` under its label, where it hides no data."""
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "columnspacing": 1.2, "handletextpad": 0.5}
    return ax.legend(ncols=ncols, **(place | options))


def figure_legend(fig, axes, ncols=3, **options):
    """One legend below all panels of a figure, with the entries of the panel or panels `axes`, each label once."""
    entries = {}
    for ax in np.atleast_1d(axes):
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    labels, handles = list(entries), list(entries.values())
    return fig.legend(handles, labels, loc="outside lower center", ncols=ncols, **options)


def plain_log(axis):
    """Numbers that can be read (0.5, 1, 2) on a logarithmic x- or y-axis, also where it spans less than a decade.

    Where it spans many decades, every second or third one is labelled, so that labels stay apart in a narrow panel.
    """
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    dense = {0.5: (1, 1.5, 2, 3, 5, 7), 1.0: (1, 2, 3, 5), 1.6: (1, 2, 5), 2.5: (1, 3)}
    steps = next((subs for limit, subs in dense.items() if decades < limit), (1,))
    axis.set_major_locator(LogLocator(10.0 ** max(1, np.ceil(decades / LABELLED_DECADES)), subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    return axis
