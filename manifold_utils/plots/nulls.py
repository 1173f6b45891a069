"""Figures of a null model: ratios of pairs by kind, one distance among shuffled ones, ways that leave.

The numbers come from `statistics` and from the studies; nothing is computed here but places.
"""

import numpy as np

from manifold_utils.plots.embeddings import label_embedding, plot_reference
from manifold_utils.plots.style import SPACE_LIKE, TIME_LIKE, numbered_style

BULK = (0.005, 0.995)  # quantiles of the ordinary points that a panel shows
NEAR = 0.01  # of the longest way: up to there a run has not left ignorance, and a share of its way says nothing


def plot_shuffled(ax, draws, *, mean, real, floor, p):
    """A histogram of distances to the shuffled run, with their mean, the real distance and the best matching (nats)."""
    ax.hist(draws, bins=30, color="0.75", label=f"shuffled ({len(draws)} draws)")
    ax.axvline(mean, color="black", ls="--", label="mean of all shuffles")
    ax.axvline(real, color=TIME_LIKE, lw=2.5, label=f"the two runs, p = {p:.2g}")
    ax.axvline(floor, color=SPACE_LIKE, ls=":", lw=2.5, label="best matching within classes")
    ax.set(xlabel="distance at equal progress (nats)", ylabel="draws", xlim=(0, None))
    return ax


def plot_pair_ratios(ax, ratios, kinds, verdicts, *, rng):
    """Ratios of real to shuffled distance: a mark a pair, a row a kind, and the ratio of means with its interval.

    Parameters
    ----------
    ratios, kinds : array-like of shape (n_pairs,)
    verdicts : DataFrame with ratio, low and high; its index has the kinds in the order of the rows
    rng : numpy Generator, spreads the marks
    """
    ratios, kinds = np.asarray(ratios), np.asarray(kinds)
    for k, (kind, row) in enumerate(verdicts.iterrows()):
        (colour, marker, _), every = numbered_style(k), ratios[kinds == kind]
        place = k + rng.uniform(-0.3, 0.3, len(every))
        ax.plot(every, place, marker, color=colour, ms=4, alpha=0.35, mew=0)
        bar = [[row.ratio - row.low], [row.high - row.ratio]]
        ax.errorbar(row.ratio, k, xerr=bar, fmt="D", color="black", capsize=5, ms=7)
    ax.axvline(1, color="black", lw=1.2)
    ax.set(xlabel="real / shuffled distance", xlim=(0, 1.15))
    ax.set_yticks(range(len(verdicts)), verdicts.index)
    return ax


def plot_leaving(left, right, embedding, ordinary, ways, looks):
    """Runs that may leave the ordinary ones: in their plane, and as the share of the way from ignorance.

    Parameters
    ----------
    left, right : matplotlib Axes
    embedding : Dataset of `Atlas.embedding`
    ordinary : sequence of int, rows of the ordinary points
    ways : DataFrame with run, gone (nats from ignorance) and share (nearest ordinary checkpoint over `gone`); its index
        are rows of the embedding
    looks : dict of run -> options of `Axes.plot`, of the runs that are drawn as lines; the others are grey
    """
    places, reference = embedding.embedding.values[:, :2], embedding.reference_embedding.values
    gone, is_line = ways.gone.where(ways.gone > NEAR * ways.gone.max()), ways.run.isin(looks)
    left.scatter(*_bulk(places[ordinary]).T, s=3, color="0.8", linewidths=0, rasterized=True)
    right.plot(gone[~is_line], ways.share[~is_line], ".", color="0.7", ms=4, label="ordinary, held out")
    for run, rows in ways[is_line].groupby("run", sort=False):
        left.plot(*places[rows.index].T, **looks[run])
        right.plot(gone[rows.index], rows.share, **looks[run])
    plot_reference(left, reference, names=False)
    label_embedding(left, embedding.eigenvalues.values, embedding.explained_stress.values)
    right.axhline(1, ls=":", color="black", label="no nearer than ignorance")
    right.set(xlabel="$d_B$ from ignorance (nats)", yscale="log")
    right.set_ylabel("nearest ordinary checkpoint\n(share of that distance)")
    return left, right


def _bulk(points):
    """The points whose coordinates all lie between the quantiles `BULK`: a few outliers would take most of a panel."""
    low, high = np.quantile(points, BULK, axis=0)
    return points[((points >= low) & (points <= high)).all(axis=1)]
