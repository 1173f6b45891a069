"""The house style: one colour and one marker a level of a factor through the whole book, legends, axes, saved figures.

Ignorance, truth and the geodesic are always black. Functions take `ax` and return `ax`; none of them shows.
"""

from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.font_manager import fontManager
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from manifold_utils.files import atomic_path
from manifold_utils.levels import is_number, sorted_levels

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
    ("#000000", "p", "--"),
]  # no star, which is truth in every figure
MARKERS = [marker for _, marker, _ in FACTOR_STYLES] + ["<", ">", "h"]  # 11: beyond 8 levels no pair comes twice
DASHES = [dash for _, _, dash in FACTOR_STYLES[:6]]
MAX_ENTRIES = 12  # of a legend; beyond, it says how many more there are
REFERENCES = ("geodesic", "ignorance $P_0$", "truth $P_*$")
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
LEGEND_SIZE = 30  # area of a marker in a legend, square points
DPI = 110
PADDING = 0.04  # inches around a saved figure: what is drawn 9 inches wide stays so
LABELLED_DECADES = 4  # of a logarithmic axis in plain numbers, at most
MORE_SCRIPTS = (  # fonts with letters that matplotlib's own font lacks; those installed are used
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "Microsoft YaHei", "PingFang SC",
    "Hiragino Sans", "Arial Unicode MS", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji",
)  # fmt: skip


_levels = {}  # of the atlas that is drawn: factor -> all its levels, sorted


def use_house_style(levels=None):
    """Set matplotlib's defaults for the book: readable at half size, no frame, white background.

    Parameters
    ----------
    levels : dict of factor -> list of all its levels, see `Atlas.levels`
        A level keeps its colour in every figure that follows, also in one that shows some of the levels only. Without
        it, colours go by the place among the levels of each figure.
    """
    _levels.clear()
    _levels.update(levels or {})
    installed = {font.name for font in fontManager.ttflist}
    mpl.rcParams.update(
        {
            "font.family": ["DejaVu Sans", *(name for name in MORE_SCRIPTS if name in installed)],
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


def style_of(value, all_values=None, factor=None):
    """(colour, marker, dash) of a level of a factor, stable by its name.

    Parameters
    ----------
    value : a level; an architecture of the book has its own style everywhere
    all_values : sequence, optional
        Levels of the figure. A Series knows its factor by its name.
    factor : str, optional
        The factor, whose levels `use_house_style` was told.
    """
    if value in ARCHITECTURE_STYLE:
        return ARCHITECTURE_STYLE[value]
    shown = [] if all_values is None else list(all_values)
    factor = factor or getattr(all_values, "name", None)
    known = _levels.get(factor, []) if isinstance(factor, str) else []
    levels = known if value in known else sorted_levels([*shown, value])
    if len(levels) > len(FACTOR_STYLES) and all(map(is_number, levels)):
        return _style_of_number(levels.index(value), len(levels))
    taken = {ARCHITECTURE_STYLE[v][0] for v in levels if v in ARCHITECTURE_STYLE}
    free = [k for k, (colour, _, _) in enumerate(FACTOR_STYLES) if colour not in taken]
    return numbered_style([v for v in levels if v not in ARCHITECTURE_STYLE].index(value), free)


def numbered_style(number, colours=tuple(range(8))):
    """(colour, marker, dash) number k of as many as are wanted; where the colours come again, marker and dash differ.

    Parameters
    ----------
    number : int from 0
    colours : sequence of int, the styles of `FACTOR_STYLES` to go round
    """
    turn, place = divmod(number, len(colours))
    colour, marker, dash = FACTOR_STYLES[colours[place]]
    if not turn:
        return colour, marker, dash
    k = colours[place] + len(FACTOR_STYLES) * turn
    return colour, MARKERS[k % len(MARKERS)], DASHES[(colours[place] + turn) % len(DASHES)]


def _style_of_number(place, n_levels):
    """Many levels that are numbers: from dark to light by size, markers in turn."""
    shade = mpl.colormaps[SEQUENTIAL](0.95 * place / (n_levels - 1))
    return mpl.colors.to_hex(shade), MARKERS[place % len(MARKERS)], "-"


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
    _no_formulas_in_names(fig)
    buffer = BytesIO()
    frame = {"bbox_inches": "tight", "pad_inches": PADDING}
    fig.savefig(buffer, format="png", **frame, metadata={"Description": alt, "Software": None})
    plt.close(fig)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return Image(data=buffer.getvalue(), format="png", alt=alt)


def _no_formulas_in_names(fig):
    """Draw names that come from outside (levels, classes) as they are: two dollars in one are no formula."""
    names = [str(level) for levels in _levels.values() for level in levels if "$" in str(level)]
    if not names:
        return
    for ax in fig.axes:
        ax.get_xticklabels(), ax.get_yticklabels()  # they get their text only when they are asked for
    for text in fig.findobj(Text):
        if any(name in text.get_text() for name in names):
            text.set_parse_math(False)


def panels(names, figsize, sharey=True, **options):
    """A figure with one panel a name side by side, narrower where there are fewer than two.

    Parameters
    ----------
    names : sequence, such as an atlas' splits
    figsize : (float, float), inches, for two panels

    Returns
    -------
    fig, axes : matplotlib Figure; list of Axes
    """
    width = figsize[0] * (1 if len(names) > 1 else 0.6)
    fig, axes = plt.subplots(1, len(names), figsize=(width, figsize[1]), sharey=sharey, squeeze=False, **options)
    return fig, list(axes[0])


def colour_map(colours):
    """A colour map of single colours, for numbers of kinds."""
    return ListedColormap(colours)


def short_legend(ax, source=None, **options):
    """The legend of `ax` (with the entries of `source`), shortened aloud; none where there is nothing to name."""
    handles, labels = shortened(*(source or ax).get_legend_handles_labels())
    return ax.legend(handles, labels, **options) if labels else None


def shortened(handles, labels, limit=MAX_ENTRIES):
    """Entries of a legend, `limit` at most: beyond, the last one says how many more there are.

    Numbers are thinned evenly from the first to the last; of words the first ones are kept. The geodesic and its ends
    (`REFERENCES`) are always named, last.

    Returns
    -------
    handles, labels : lists

    Examples
    --------
    >>> shortened([0, 1, 2, 3], ["a", "b", "c", "d"], limit=3)[1]
    ['a', 'b', 'and 2 more']
    >>> shortened(list(range(9)), [str(k) for k in range(9)], limit=4)[1]
    ['0', '4', '8', 'and 6 between']
    """
    if len(labels) <= limit:
        return list(handles), list(labels)
    black = [k for k, label in enumerate(labels) if label in REFERENCES]
    beside = [handles[k] for k in black], [labels[k] for k in black]
    handles, labels = ([x for k, x in enumerate(xs) if k not in black] for xs in (handles, labels))
    limit -= len(black)
    ordered = all(_starts_with_number(label) for label in labels)
    kept = np.arange(limit - 1)
    if ordered:
        kept = np.round(np.linspace(0, len(labels) - 1, limit - 1)).astype(int)
    said = f"and {len(labels) - len(kept)} {'between' if ordered else 'more'}"
    blank = Line2D([], [], ls="none")
    return [*(handles[k] for k in kept), blank, *beside[0]], [*(labels[k] for k in kept), said, *beside[1]]


def _starts_with_number(label):
    try:
        float(str(label).split(" ")[0])
    except ValueError:
        return False
    return True


def legend_below(ax, ncols=3, **options):
    """The legend of `ax` under its label, where it hides no data."""
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "columnspacing": 1.2, "handletextpad": 0.5}
    return short_legend(ax, ncols=ncols, **(place | options))


def figure_legend(fig, axes, ncols=3, **options):
    """One legend below all panels of a figure, with the entries of the panel or panels `axes`, each label once."""
    entries = {}
    for ax in np.atleast_1d(axes):
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    handles, labels = shortened(list(entries.values()), list(entries))
    return fig.legend(handles, labels, loc="outside lower center", ncols=ncols, **options) if labels else None


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
