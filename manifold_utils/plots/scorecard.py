"""The scorecard as a picture: claims down, data sets across, a word and a colour in each cell.

It draws what `claims.scorecard` has judged, and judges nothing.
"""

from textwrap import fill

import numpy as np
from matplotlib.patches import Rectangle

VERDICT_COLOURS = {  # of the two columns of a claim
    "holds beyond the null": "#009E73",
    "the null does as well": "#E69F00",
    "not decided": "#BBBBBB",
    "contradicted": "#D55E00",
    "number: same": "#56B4E9",
    "number: different": "#CC79A7",
}
STATEMENT_WIDTH = 38  # characters of a line beside the scorecard


def plot_scorecard(ax, cards):
    """A table of claims and data sets: our number in a cell, coloured by its conclusion.

    Parameters
    ----------
    cards : dict profile -> DataFrame of `claims.scorecard`, on the same claims
    """
    first, names = next(iter(cards.values())), list(cards)
    for x, card in enumerate(cards.values()):
        for y, row in enumerate(card.itertuples()):
            shown = row.conclusion or (f"number: {row.number}" if row.number else "")
            colour = VERDICT_COLOURS.get(shown, "white")
            ax.add_patch(Rectangle((x, y), 0.97, 0.94, color=colour, alpha=0.55, lw=0))
            ours = "" if row.ours is None or np.isnan(row.ours) else f"{row.ours:.3g}\n"
            ax.text(x + 0.48, y + 0.47, f"{ours}{shown}", ha="center", va="center", fontsize=9)
    texts = [fill(f"{c}. {text}", STATEMENT_WIDTH) for c, text in zip(first.claim, first.statement, strict=True)]
    ax.set_yticks(np.arange(len(first)) + 0.47, texts, fontsize=9)
    ax.set_xticks(np.arange(len(names)) + 0.48, names)
    ax.set(xlim=(0, len(names)), ylim=(len(first), 0))
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return ax
