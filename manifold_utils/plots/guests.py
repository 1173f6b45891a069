"""Runs from outside in the picture: their paths over an atlas, and the two yardsticks that judge them.

Drawn from what `recording` returns, in the style of `style`. Functions take axes and return them.
"""

from manifold_utils.levels import sorted_levels
from manifold_utils.plots.embeddings import label_embedding, plot_reference
from manifold_utils.plots.style import FACTOR_STYLES, plain_log, short_legend, style_of

GREY = "0.82"  # the atlas behind its guests
OWN_MARKERS = "DXPHp"  # guests among held-out runs, in black; the star is truth everywhere


def plot_guests(ax, embedding, placed, components=(0, 1), *, legend=True):
    """Paths of guests over the fitted points of an atlas in grey, with the geodesic in black.

    Parameters
    ----------
    embedding : xarray Dataset, see `Atlas.embedding`
    placed : dict of name -> ndarray (n_checkpoints, n_components), see `recording.place`
    components : (int, int), numbers of the axes from 0
    """
    i, j = components
    grey = embedding.embedding.values[embedding.fitted.values]
    ax.scatter(grey[:, i], grey[:, j], s=3, color=GREY, linewidths=0, rasterized=True)
    for (name, path), (colour, marker, dash) in zip(placed.items(), FACTOR_STYLES, strict=False):
        ax.plot(path[:, i], path[:, j], ls=dash, color=colour, marker=marker, ms=4, label=name)
    plot_reference(ax, embedding.reference_embedding.values, components)
    label_embedding(ax, embedding.eigenvalues.values, embedding.explained_stress.values, components)
    if legend:
        ax.legend(fontsize=9)
    return ax


def plot_yardsticks(ax, yardstick, verdicts, kind=None):
    """Ratio of real to shuffled distance against the distance to the nearest run: held-out runs, and guests in black.

    Parameters
    ----------
    yardstick : recording.Yardstick
    verdicts : dict of name -> Verdict, see `recording.judge`
    kind : str, one of `yardstick.distances`, by default the distance to another family
    """
    ratios = yardstick.ratios
    distances = yardstick.distances[kind or yardstick.other].mean(axis=1).loc[ratios.index]
    family = yardstick.runs[yardstick.atlas.family].loc[ratios.index]
    for name in sorted_levels(family):
        colour, marker, _ = style_of(name, family)
        alike = family == name
        label = f"{name}, held out (n = {alike.sum()})"
        ax.plot(distances[alike], ratios[alike], marker, color=colour, alpha=0.45, ms=5, label=label)
    for (name, verdict), marker in zip(verdicts.items(), OWN_MARKERS, strict=False):
        ax.plot(verdict.distance, verdict.ratio, marker, color="black", ms=11, label=name)
    ax.axhline(1, color="black", lw=1)
    ax.set(xscale="log", xlabel="$d_B$ to the nearest run (nats, mean over progress)")
    plain_log(ax.xaxis)
    ax.set_ylabel("real / shuffled distance")
    short_legend(ax, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax
