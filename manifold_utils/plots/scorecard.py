"""Verdicts as a picture, a word and a colour in each cell: the scorecard (claims down, data sets across), or any table.

It draws what `claims.scorecard` or a chapter has judged, and judges nothing.
"""

from textwrap import fill

import numpy as np
import pandas as pd
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
    first = next(iter(cards.values()))
    names = [f"{c}. {text}" for c, text in zip(first.claim, first.statement, strict=True)]
    shown = {name: [_conclusion(row) for row in card.itertuples()] for name, card in cards.items()}
    ours = {name: [_number(value) for value in card.ours] for name, card in cards.items()}
    return plot_verdicts(ax, pd.DataFrame(shown, index=names), pd.DataFrame(ours, index=names))


def plot_verdicts(ax, verdicts, numbers):
    """A table whose cells hold a number and a word, coloured by the word: a verdict a cell, not a printed wall.

    Parameters
    ----------
    verdicts : DataFrame of str, see VERDICT_COLOURS; other words are on white
    numbers : DataFrame of str of the same shape, above the words; "" for none

    Returns
    -------
    ax : `verdicts`' index is at its left, the columns are on top
    """
    for (y, x), word in np.ndenumerate(verdicts.to_numpy()):
        colour, above = VERDICT_COLOURS.get(word, "white"), numbers.iat[y, x]
        ax.add_patch(Rectangle((x, y), 0.97, 0.94, color=colour, alpha=0.55, lw=0))
        text = f"{above}\n{word}" if above else word
        ax.text(x + 0.48, y + 0.47, text, ha="center", va="center", fontsize=9)
    rows, columns = ([str(name) for name in names] for names in (verdicts.index, verdicts.columns))
    ax.set_yticks(np.arange(len(rows)) + 0.47, [fill(name, STATEMENT_WIDTH) for name in rows], fontsize=9)
    ax.set_xticks(np.arange(len(columns)) + 0.48, columns)
    ax.set_axis_on()
    ax.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return ax


def _conclusion(row):
    return row.conclusion or (f"number: {row.number}" if row.number else "")


def _number(value):
    return "" if value is None or np.isnan(value) else f"{value:.3g}"
