"""InPCA of parts of an atlas: of some runs, of runs drawn again, of some starts, with and without far points.

Chapters 52 and 53 ask how a spectrum depends on which points are embedded. Everything here takes a matrix of distances
(nats for d_B) in memory and one label a point; the embedding is `inpca`'s, weighted where a run counts more than once
(PAPER.md section 1, InPCA, Weighted). It reads no atlas and draws nothing itself: random generators are passed in.
"""

import numpy as np
import pandas as pd

from manifold_utils.inpca.embedding import first_time_like, spectrum


def stress_of_runs(D, run, names, depths):
    """Explained stress of the points of some runs; a run named twice counts twice.

    Parameters
    ----------
    D : ndarray of shape (m, m)
    run : (m,) array, the run of each point
    names : sequence of runs
    depths : sequence of int, numbers of axes

    Returns
    -------
    ndarray of shape (len(depths),), values in [0, 1]
    """
    weight = pd.Series(list(names)).value_counts().reindex(np.asarray(run), fill_value=0).to_numpy(float)
    fit = spectrum(D, weight > 0, n_components=max(depths), sample_weight=weight)
    return fit.explained_stress_[np.minimum(depths, len(fit.explained_stress_)) - 1]


def bootstrap_stress(D, run, depths, *, n_draws, rng, n_runs=None):
    """Explained stress when runs are drawn with replacement.

    Parameters
    ----------
    D, run, depths : see `stress_of_runs`
    n_runs : int, optional
        Runs of a draw, by default as many as there are. Spectra of sets of different size are compared at one size.

    Returns
    -------
    ndarray of shape (n_draws, len(depths))
    """
    names = pd.unique(np.asarray(run))
    draws = [rng.choice(names, size=n_runs or len(names)) for _ in range(n_draws)]
    return np.array([stress_of_runs(D, run, drawn, depths) for drawn in draws])


def stress_by_starts(D, run, start, *, depth, n_draws, rng):
    """Explained stress of equally many runs that share one start, or come from two, three, ... different ones.

    The number of runs is the same in every draw (that of the rarest start), so that only the number of starts differs.

    Parameters
    ----------
    D : ndarray of shape (m, m)
    run, start : (m,) arrays, the run of each point and where that run started
    depth : int, number of axes
    n_draws : int, draws for each number of starts
    rng : numpy Generator

    Returns
    -------
    DataFrame with columns n_starts, n_runs, stress; one row a draw
    """
    starts = pd.Series(np.asarray(start), index=np.asarray(run)).groupby(level=0, sort=False).first()
    of_start = {s: starts.index[starts == s].to_numpy() for s in pd.unique(starts)}
    n_runs = min(len(names) for names in of_start.values())
    rows = []
    for n_starts in range(1, min(len(of_start), n_runs) + 1):
        share = np.full(n_starts, n_runs // n_starts) + (np.arange(n_starts) < n_runs % n_starts)
        for _ in range(n_draws):
            chosen = rng.permutation(list(of_start))[:n_starts]
            names = [n for s, k in zip(chosen, share, strict=True) for n in rng.permutation(of_start[s])[:k]]
            stress = stress_of_runs(D, run, names, [depth])[0]
            rows.append({"n_starts": n_starts, "n_runs": n_runs, "stress": stress})
    return pd.DataFrame(rows)


def spectrum_by_limit(D, to_truth, limits, *, n_components=10, sample_weight=None):
    """The spectrum of all points nearer to truth than a limit, for several limits.

    Parameters
    ----------
    D : ndarray of shape (m, m)
    to_truth : (m,) ndarray, d_B to truth in nats
    limits : sequence of float, nats
    sample_weight : ndarray of shape (m,), optional
        How many points each one stands for, where near ones were thinned and far ones were not.

    Returns
    -------
    DataFrame indexed by limit: n_points, n_left_out, first_time_like (axis from 1, 0: none among n_components),
    lambda_2_over_1 (signed), stress_3
    """
    rows = {}
    for limit in limits:
        keep = np.asarray(to_truth) < limit
        fit = spectrum(D, keep, n_components=n_components, sample_weight=sample_weight)
        rows[limit] = {
            "n_points": int(keep.sum()),
            "n_left_out": int((~keep).sum()),
            "first_time_like": first_time_like(fit.eigenvalues_),
            "lambda_2_over_1": fit.eigenvalues_[1] / fit.eigenvalues_[0],
            "stress_3": fit.explained_stress_[min(3, fit.n_components) - 1],
        }
    counts = dict.fromkeys(("n_points", "n_left_out", "first_time_like"), int)
    return pd.DataFrame(rows).T.rename_axis("limit").astype(counts)


def spectrum_by_weight(D, far, shares, *, n_components=10):
    """The spectrum when the far points carry given shares of the whole weight, the near ones the rest.

    Parameters
    ----------
    D : ndarray of shape (m, m)
    far : (m,) boolean ndarray
    shares : sequence of float in [0, 1)

    Returns
    -------
    DataFrame indexed by share: the first `n_components` signed eigenvalues over |lambda_1| in columns 1, 2, ..., and
    first_time_like
    """
    far = np.asarray(far)
    rows = {}
    for share in shares:
        weight = np.where(far, share / max(1, far.sum()), (1 - share) / max(1, (~far).sum())) * len(far)
        values = spectrum(D, weight > 0, n_components=n_components, sample_weight=weight).eigenvalues_
        scaled = dict(enumerate(values / np.abs(values[0]), start=1))
        rows[share] = {**scaled, "first_time_like": first_time_like(values)}
    return pd.DataFrame(rows).T.rename_axis("share").astype({"first_time_like": int})
