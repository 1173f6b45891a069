"""The nulls over the runs of an atlas: which pairs are compared, their ratios, and runs fitted to other labels.

Pairs differ in nothing but the seed, in the optimiser, or in the architecture (`factors` matches them). A run that was
fitted to random labels is the second null: with two classes exchanged on every sample it can be compared with ordinary
runs at equal progress. The shuffles themselves are in `nulls`; it draws nothing.
"""

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from manifold_utils.factors import configurations, matched_pairs
from manifold_utils.nulls import METRICS, against_shuffles, labels_of, unit_roots
from manifold_utils.progress import as_numpy

KINDS = {"seeds": None, "optimisers": "optimizer", "architectures": "architecture"}  # what the two runs differ in


def pairs_of_runs(runs, max_pairs=None, rng=None):
    """Pairs of runs of different seeds that differ in nothing else, in their optimiser, or in their architecture.

    Parameters
    ----------
    runs : DataFrame of n_runs rows with the factors, see `factors.configurations`
    max_pairs : int, optional
        At most so many pairs of a kind, drawn by `rng`; by default all.
    rng : numpy Generator, needed with `max_pairs`

    Returns
    -------
    DataFrame with kind (one of KINDS), first and second (row numbers of `runs`)

    Examples
    --------
    >>> runs = pd.DataFrame({"optimizer": ["sgd", "sgd", "adam"], "seed": [1, 2, 2]})
    >>> runs = runs.assign(architecture="fc", **dict.fromkeys(("scale", "batch_size", "learning_rate"), 1))
    >>> runs = runs.assign(**dict.fromkeys(("weight_decay", "augmentation", "label_noise", "epochs"), 0))
    >>> pairs_of_runs(runs.assign(initialisation="ordinary")).to_numpy().tolist()
    [['seeds', 0, 1], ['optimisers', 0, 2]]
    """
    number, table = configurations(runs)
    seeds = runs.seed.to_numpy()
    rows = []
    for kind, factor in KINDS.items():
        if factor is None:
            between = [(k, k) for k in range(len(table))]
        else:
            between = matched_pairs(table, factor)[["first", "second"]].itertuples(index=False, name=None)
        found = [
            (kind, u, v)
            for a, b in between
            for u in np.flatnonzero(number == a)
            for v in np.flatnonzero(number == b)
            if seeds[u] != seeds[v] and (a != b or u < v)
        ]
        if max_pairs is not None and len(found) > max_pairs:
            found = [found[k] for k in np.sort(rng.choice(len(found), size=max_pairs, replace=False))]
        rows += found
    return pd.DataFrame(rows, columns=["kind", "first", "second"])


def compare_with_shuffled(trajectories, labels, pairs, *, metrics=METRICS, n_shuffles=199, rng=None):
    """`null_distances` of many pairs of runs.

    The shuffles of different pairs are independent. If each run were shuffled once instead, the relative permutations
    of two pairs would still be (pairwise) independent, so that a mean over pairs has the same mean and variance.

    Parameters
    ----------
    trajectories : array-like of shape (n_runs, n_points, n_samples, n_classes)
        Log-predictions at equal progress, see `reparametrise.resampled`. All runs should have reached every point.
    labels : array-like of shape (n_samples,), int
    pairs : DataFrame with first and second (row numbers of `trajectories`)
    metrics, n_shuffles, rng : as in `null_distances`

    Returns
    -------
    table : DataFrame
        `pairs` with real_, shuffled_, spread_, ratio_ and p_<metric> for each metric.
    draws : dict metric -> ndarray of shape (n_pairs, n_shuffles)

    Examples
    --------
    >>> runs = np.log([[[[0.9, 0.1], [0.6, 0.4]]], [[[0.9, 0.1], [0.6, 0.4]]]])
    >>> pairs = pd.DataFrame({"first": [0], "second": [1]})
    >>> table, _ = compare_with_shuffled(runs, [0, 0], pairs, n_shuffles=0)
    >>> table.ratio_hellinger.tolist()
    [0.0]
    """
    labels = labels_of(trajectories[0], labels)
    draws = {m: np.empty((len(pairs), n_shuffles)) for m in metrics}
    ends = pairs[["first", "second"]].to_numpy()
    last_use = {run: k for k, pair in enumerate(ends) for run in pair}
    roots, rows = {}, []
    for k, (u, v) in enumerate(ends):
        roots |= {run: unit_roots(trajectories[run]) for run in {u, v} - roots.keys()}
        with threadpool_limits(1, user_api="blas"):  # blocks are small: threads would only wait for one another
            found = against_shuffles(roots[u], roots[v], labels, metrics, n_shuffles, rng)
        row = {}
        for m, one in found.items():
            row |= {f"real_{m}": one.real, f"shuffled_{m}": one.expected, f"spread_{m}": one.spread}
            row |= {f"ratio_{m}": one.ratio, f"p_{m}": one.p_value if n_shuffles else np.nan}
            draws[m][k] = one.draws
        rows.append(row)
        roots = {run: values for run, values in roots.items() if last_use[run] > k}  # held while a later pair needs it
    return pairs.join(pd.DataFrame(rows, index=pairs.index)), draws


def ratio_over_runs(above, below, *, n_resamples=1000, level=0.95, rng):
    """Ratio of two mean distances over pairs of runs, with an interval that draws *runs* again, not pairs.

    A run drawn twice counts twice in each of its pairs, so that pairs which share a run are not taken for independent.

    Parameters
    ----------
    above, below : DataFrames with first, second (numbers of runs) and value
        Pairs of the numerator and of the denominator; they may be the same pairs.
    n_resamples : int
    level : float
    rng : numpy Generator

    Returns
    -------
    value, low, high : float
        NaN without pairs on either side; draws of runs that contain no such pair are left out.

    Examples
    --------
    >>> one = pd.DataFrame({"first": [0, 0, 1], "second": [1, 2, 2], "value": [1.0, 1.0, 1.0]})
    >>> ratio_over_runs(one, one.assign(value=2.0), rng=np.random.default_rng(0))
    (0.5, 0.5, 0.5)
    """
    above, below = (t[np.isfinite(t.value.to_numpy(float))] for t in (above, below))
    if not len(above) or not len(below):
        return np.nan, np.nan, np.nan
    used = np.unique(np.concatenate([t[c].to_numpy() for t in (above, below) for c in ("first", "second")]))
    ends = [[np.searchsorted(used, t[c].to_numpy()) for c in ("first", "second")] for t in (above, below)]
    values = [t.value.to_numpy(float) for t in (above, below)]
    drawn = np.empty(n_resamples)
    for k in range(n_resamples):
        count = np.bincount(rng.integers(len(used), size=len(used)), minlength=len(used))
        weights = [count[first] * count[second] for first, second in ends]
        means = [w @ x / w.sum() if w.any() else np.nan for w, x in zip(weights, values, strict=True)]
        drawn[k] = means[0] / means[1]
    known = drawn[np.isfinite(drawn)]
    tail = (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (np.nan, np.nan)
    return float(values[0].mean() / values[1].mean()), float(low), float(high)


def fitted_labels(config, data):
    """The labels of the recorded train samples that a run was fitted to; with label noise, not the true ones.

    Parameters
    ----------
    config : RunConfig
    data : Dataset

    Returns
    -------
    ndarray of shape (n_samples,), int64
        Redrawn as `training.train_run` draws them, from the run's seed.

    Examples
    --------
    >>> from manifold_utils.datasets import load_dataset
    >>> from manifold_utils.profiles import DatasetConfig, RunConfig
    >>> digits = DatasetConfig(name="digits", n_train=100, n_test=50)
    >>> data = load_dataset(digits)
    >>> config = RunConfig(dataset=digits, architecture="fc", epochs=1)
    >>> bool(np.array_equal(fitted_labels(config, data), data.y_train))
    True
    """
    import torch

    from manifold_utils.training import phases

    main = phases(config, data, torch.Generator().manual_seed(config.seed))[-1]
    return main.labels.cpu()[data.recorded("train")].numpy()


def exchange_classes(log_probs, fitted, labels):
    """Predictions with two classes exchanged on every sample, so that the label fitted to stands where truth does.

    Loss, error and progress of the result on the true labels are those of log_probs on the fitted ones: runs that
    learned other labels can be compared with ordinary ones in one space.

    Parameters
    ----------
    log_probs : array-like of shape (..., n_samples, n_classes)
    fitted, labels : array-like of shape (n_samples,), int

    Returns
    -------
    ndarray of the shape and dtype of log_probs
        A copy; applied twice it gives back log_probs.

    Raises
    ------
    ValueError
        If there is not one label a sample, or a label is no class.

    Examples
    --------
    >>> exchange_classes(np.log([[[0.7, 0.2, 0.1]]]), [0], [2]).round(2).tolist() == np.log(
    ...     [[[0.1, 0.2, 0.7]]]).round(2).tolist()
    True
    """
    log_probs = as_numpy(log_probs)
    fitted, labels = (labels_of(log_probs, given) for given in (fitted, labels))
    out, sample = log_probs.copy(), np.arange(len(labels))
    out[..., sample, labels] = log_probs[..., sample, fitted]
    out[..., sample, fitted] = log_probs[..., sample, labels]
    return out
