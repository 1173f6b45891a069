"""What chance would give: a run whose samples are shuffled within each true class, alone and over the runs of an atlas.

Permuting the samples of one run *within* each true class keeps its loss, its progress and its distances to ignorance
and truth (PAPER.md section 5); only which sample is learned when is lost. Two runs are nearer than chance if their
distance at equal progress is below that of one to the shuffled other. For a mean over samples the shuffled distance
needs no simulation: it is a sum over a matrix of sample-to-sample costs, with exact mean and variance (Hoeffding
1951). Which runs are compared is in `pairs`. Runs come resampled (see `trajectories.of_atlas`).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

from manifold_utils.geometry import NORMALISATION_TOLERANCE, as_predictions, labels_of
from manifold_utils.statistics.intervals import p_value
from manifold_utils.workers import check_choice

METRICS = ("bhattacharyya", "hellinger")  # means over samples of a function of one sample's coefficient


def permutations_within_class(labels, n, rng):
    """Random permutations of the samples that move each sample to a place of its own class.

    Parameters
    ----------
    labels : array-like of shape (n_samples,), int
        True classes.
    n : int
        Number of permutations.
    rng : numpy Generator

    Returns
    -------
    ndarray of shape (n, n_samples), int64
        Row k is a permutation; labels[row] equals labels.

    Examples
    --------
    >>> permutations_within_class([0, 1, 0, 2], 2, np.random.default_rng(3)).tolist()
    [[2, 1, 0, 3], [0, 1, 2, 3]]
    """
    labels = np.asarray(labels)
    order = np.tile(np.arange(len(labels)), (n, 1))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order[:, members] = rng.permuted(order[:, members], axis=1)
    return order


def shuffle_within_class(log_probs, labels, rng):
    """Give each sample the predictions of a random sample of its own class, the same one at every checkpoint.

    Parameters
    ----------
    log_probs : array-like of shape (..., n_samples, n_classes)
        Predictions of one run (numpy or torch), any number of checkpoints.
    labels : array-like of shape (n_samples,), int
        True classes.
    rng : numpy Generator

    Returns
    -------
    ndarray of the shape and dtype of log_probs
        A copy. Loss, error, progress, distances to ignorance and to truth are those of log_probs.

    Raises
    ------
    ValueError
        If there is not one label a sample, or a label is no class.

    Examples
    --------
    >>> run = np.log([[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]])
    >>> np.exp(shuffle_within_class(run, [0, 1, 0], np.random.default_rng(3)))[0, :, 0].round(1).tolist()
    [0.6, 0.2, 0.9]
    """
    log_probs, labels = as_predictions(log_probs), labels_of(log_probs, labels)
    return log_probs[..., permutations_within_class(labels, 1, rng)[0], :]


@dataclass(frozen=True)
class NullDistances:
    """A distance beside what it is when one of the two runs is shuffled within classes.

    Attributes
    ----------
    real : float
        Distance as it is, in the metric's unit.
    expected, spread : float
        Exact mean and standard deviation over all shuffles; spread is NaN where a cost is infinite.
    draws : ndarray of shape (n_shuffles,)
        Distances for random shuffles.
    """

    real: float
    expected: float
    spread: float
    draws: np.ndarray

    @property
    def ratio(self):
        """Real over expected: 1 says that nothing is shared but the curves, 0 that the runs agree on every sample."""
        return self.real / self.expected if self.expected > 0 else np.nan

    @property
    def p_value(self):
        """One-sided: the share of shuffles as near as the real run, itself counted among them."""
        return p_value(self.real, self.draws)


def null_distances(log_p, log_q, labels, *, metric="bhattacharyya", n_shuffles=199, rng=None):
    """Distance of two runs, and of one to the other shuffled within classes, at equal index.

    With the cost a_nm of predicting P's sample n as Q's sample m (a mean over checkpoints), the distance to a shuffled
    run is the mean of a_{n, pi(n)}: its mean over all pi is the mean of each class' block of a, its variance
    sum_class sum_nm b_nm^2 / (n_class - 1) / N^2 with b the doubly centred block.

    Parameters
    ----------
    log_p, log_q : array-like of shape (n_points, n_samples, n_classes), or (n_samples, n_classes) for one point
        Natural-log predictions of two runs at equal progress.
    labels : array-like of shape (n_samples,), int
        True classes.
    metric : {"bhattacharyya", "hellinger"}
        Mean of -log BC (nats) or of 1 - BC, as in `distances.pairwise`.
    n_shuffles : int
        Random shuffles; 0 leaves `draws` empty and needs no rng.
    rng : numpy Generator, optional

    Returns
    -------
    NullDistances

    Raises
    ------
    ValueError
        If shapes differ, there is not one label a sample, the metric is unknown, rng is missing, or an entry is no
        log-probability vector.

    Examples
    --------
    >>> run = np.log([[[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]])
    >>> found = null_distances(run, run, [0, 0, 1], n_shuffles=99, rng=np.random.default_rng(0))
    >>> found.real, round(found.expected, 4), found.draws.shape
    (0.0, 0.0225, (99,))
    """
    check_choice("metric", metric, METRICS)
    root_p, root_q = (unit_roots(values) for values in (log_p, log_q))
    if root_p.shape != root_q.shape:
        raise ValueError(f"both runs need the same points, samples and classes: {root_p.shape} and {root_q.shape}")
    if n_shuffles and rng is None:
        raise ValueError("random shuffles need a generator: give rng, or n_shuffles=0")
    labels = labels_of(root_p, labels)
    return against_shuffles(root_p, root_q, labels, (metric,), n_shuffles, rng)[metric]


def unit_roots(log_probs):
    """Square roots of probabilities as unit vectors: (n_points, n_samples, n_classes) float64, for one point too.

    ValueError names the first sample that is no log-probability vector.
    """
    log_probs = as_predictions(log_probs).astype(np.float64)
    if log_probs.ndim == 2:
        log_probs = log_probs[None]
    if log_probs.ndim != 3 or 0 in log_probs.shape:
        raise ValueError(f"a run must be (n_points, n_samples, n_classes), got shape {log_probs.shape}")
    with np.errstate(over="ignore"):
        root = np.exp(0.5 * log_probs)
        norm = np.linalg.norm(root, axis=-1, keepdims=True)
    wrong = np.argwhere(~(np.abs(norm[..., 0] - 1.0) <= NORMALISATION_TOLERANCE))
    if len(wrong):
        point, sample = wrong[0]
        raise ValueError(f"point {point}, sample {sample} is no log-probability vector: apply log_softmax")
    return root / norm


def class_costs(root_p, root_q, metric):
    """Cost of matching each sample of P with each of Q, mean over points: (n_p, n_q) float64.

    Parameters
    ----------
    root_p, root_q : ndarrays of shape (n_points, n_p, n_classes) and (n_points, n_q, n_classes)
        Unit vectors, see `unit_roots`.
    metric : str, one of METRICS

    Examples
    --------
    >>> class_costs(np.array([[[1.0, 0.0]]]), np.array([[[1.0, 0.0], [0.6, 0.8]]]), "hellinger").tolist()
    [[0.0, 0.4]]
    """
    if metric == "hellinger":  # linear in the products, so that points and classes are one axis
        n_points, _, n_classes = root_p.shape
        flat = [np.moveaxis(r, 0, 1).reshape(r.shape[1], n_points * n_classes) for r in (root_p, root_q)]
        return 1.0 - flat[0] @ flat[1].T / n_points
    with np.errstate(divide="ignore"):  # disjoint supports: infinitely far, as in `distances.pairwise`
        return -np.log(np.matmul(root_p, np.swapaxes(root_q, 1, 2))).mean(axis=0)


def against_shuffles(root_p, root_q, labels, metrics, n_shuffles, rng):
    """`null_distances` of two runs as unit roots, dict metric -> NullDistances.

    The same shuffles serve all metrics; the costs of one class are in memory at a time.
    """
    n_samples = len(labels)
    sums = {m: {"real": 0.0, "mean": 0.0, "variance": 0.0, "draws": np.zeros(n_shuffles)} for m in metrics}
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        n = len(members)
        order = rng.permuted(np.tile(np.arange(n), (n_shuffles, 1)), axis=1) if n_shuffles else None
        for metric, total in sums.items():
            cost = class_costs(root_p[:, members], root_q[:, members], metric)
            total["real"] += np.trace(cost)
            total["mean"] += cost.sum() / n
            with np.errstate(invalid="ignore"):  # infinite costs have no spread
                centred = cost - cost.mean(axis=0) - cost.mean(axis=1, keepdims=True) + cost.mean()
            total["variance"] += np.square(centred).sum() / max(n - 1, 1)
            if n_shuffles:
                total["draws"] += cost[np.arange(n), order].sum(axis=1)
    found = {}
    for m, t in sums.items():
        real, spread = max(float(t["real"]), 0.0), float(np.sqrt(t["variance"]))
        found[m] = NullDistances(*(x / n_samples for x in (real, float(t["mean"]), spread, t["draws"])))
    return found


def best_matching(log_p, log_q, labels, *, metric="bhattacharyya"):
    """The least distance that any permutation within classes can give: how near the two runs could have been.

    Parameters
    ----------
    log_p, log_q, labels, metric : as in `null_distances`

    Returns
    -------
    distance : float
        At most `null_distances(...).real`.
    order : ndarray of shape (n_samples,), int64
        The permutation of Q's samples that reaches it (Hungarian algorithm, cubic in the samples of a class).

    Examples
    --------
    >>> run = np.log([[[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]]])
    >>> distance, order = best_matching(run, run[:, [1, 0, 2]], [0, 0, 1])
    >>> round(distance, 9), order.tolist()
    (0.0, [1, 0, 2])
    """
    root_p, root_q = (unit_roots(values) for values in (log_p, log_q))
    labels = labels_of(root_p, labels)
    total, order = 0.0, np.arange(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        cost = class_costs(root_p[:, members], root_q[:, members], metric)
        row, column = linear_sum_assignment(cost)
        total, order[members] = total + cost[row, column].sum(), members[column]
    return max(float(total), 0.0) / len(labels), order


def compare_with_shuffled(trajectories, labels, pairs, *, metrics=METRICS, n_shuffles=199, rng=None):
    """`null_distances` of many pairs of runs.

    The shuffles of different pairs are independent. If each run were shuffled once instead, the relative permutations
    of two pairs would still be (pairwise) independent, so that a mean over pairs has the same mean and variance.

    Parameters
    ----------
    trajectories : array-like of shape (n_runs, n_points, n_samples, n_classes)
        Log-predictions at equal progress (`trajectories.of_atlas.resampled`); all runs should have reached every point.
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
