"""Train and test predictions in one space: which test sample stands beside which train sample, and what that costs.

Distances need the same samples on both sides. Here each train sample is paired with a test sample of the same class, so
that ignorance and truth are the same points for both splits. Pairings differ (random draws, or by difficulty), and
`expected_distance` is the mean over all of them in closed form. PAPER.md says only that the figure exists.
"""

import numpy as np

from manifold_utils.distances import pairwise


def pair_samples(labels_train, labels_test, *, rng=None, difficulty=None):
    """Pair train with test samples of the same class, as many as the smaller split has of it.

    Parameters
    ----------
    labels_train, labels_test : array-like of shape (n_train,) and (n_test,), int
    rng : numpy Generator, optional
        A random pairing: both sides in random order within each class.
    difficulty : (ndarray, ndarray), optional
        One number for each train and each test sample: paired by rank within each class, the easiest with the easiest
        (quantiles where one split has more samples). Give `rng` or `difficulty`, not both.

    Returns
    -------
    train, test : ndarrays of shape (n_pairs,), int
        Sample numbers; labels_train[train] equals labels_test[test].

    Examples
    --------
    >>> pair_samples([0, 1, 1], [1, 0], difficulty=(np.array([3.0, 2.0, 1.0]), np.array([0.0, 0.0])))
    (array([0, 2]), array([1, 0]))
    """
    if (rng is None) == (difficulty is None):
        raise ValueError("pair_samples needs either rng (random pairs) or difficulty (pairs of equal rank)")
    labels, pairs = [np.asarray(labels_train), np.asarray(labels_test)], []
    for name in np.union1d(*labels):
        sides = [np.flatnonzero(y == name) for y in labels]
        n = min(len(side) for side in sides)
        if rng is not None:
            pairs.append([rng.permutation(side)[:n] for side in sides])
        elif n:
            ordered = [side[np.argsort(d[side], kind="stable")] for side, d in zip(sides, difficulty, strict=True)]
            pairs.append([side[(np.arange(n) * len(side)) // n] for side in ordered])
    if not sum(len(p[0]) for p in pairs):
        raise ValueError("train and test samples share no class: nothing can be paired")
    return tuple(np.concatenate(side) for side in zip(*pairs, strict=True))


def joint_predictions(train, test, pairs):
    """Train and test predictions on paired samples, one below the other.

    Parameters
    ----------
    train, test : ndarrays of shape (m, n_train, n_classes) and (m, n_test, n_classes)
        Natural-log probabilities of the same m networks.
    pairs : (ndarray, ndarray) from `pair_samples`

    Returns
    -------
    ndarray of shape (2 m, n_pairs, n_classes)
        Rows 0 to m-1 are train predictions, rows m to 2m-1 test predictions.
    """
    return np.concatenate([np.asarray(train)[:, pairs[0]], np.asarray(test)[:, pairs[1]]])


def expected_distance(log_p, labels_p, log_q=None, labels_q=None, *, metric="bhattacharyya"):
    """Mean distance between two sets of predictions over all pairings within classes, in closed form.

    Each class counts by its share of the pairs that `pair_samples` makes. With one set only, the set is compared with
    itself on *different* samples: what a random pairing costs if there is nothing to be found.

    Parameters
    ----------
    log_p, log_q : ndarrays of shape (n_p, n_classes) and (n_q, n_classes)
        One network's predictions (natural logs).
    labels_p, labels_q : ndarrays of shape (n_p,) and (n_q,), int

    Returns
    -------
    float
        In the metric's unit, nats for d_B.

    Examples
    --------
    >>> p = np.log([[0.5, 0.5], [0.9, 0.1]])
    >>> bool(np.isclose(expected_distance(p, [0, 0]), expected_distance(p[:1], [0], p[1:], [0])))
    True
    """
    alone = log_q is None
    log_q, labels_q = (log_p, labels_p) if alone else (log_q, labels_q)
    labels_p, labels_q = np.asarray(labels_p), np.asarray(labels_q)
    total, n_pairs = 0.0, 0
    for name in np.intersect1d(labels_p, labels_q):
        a, b = log_p[labels_p == name], log_q[labels_q == name]
        if alone and len(a) < 2:
            continue  # a class with one sample has no second one to be compared with
        n = min(len(a), len(b))
        mean = _mean_over_pairs(a, None if alone else b, metric)
        total, n_pairs = total + n * mean, n_pairs + n
    if not n_pairs:
        raise ValueError("the two sets share no class (or one set has one sample a class): no pair to compare")
    return total / n_pairs


def _mean_over_pairs(a, b, metric):
    """Mean divergence of all pairs of samples, or of all pairs of different samples of one set (b is None)."""
    if metric == "hellinger":  # 1 - <root a, root b> is linear in both: the means suffice
        roots = [np.exp(0.5 * np.asarray(x, dtype=np.float64)).sum(axis=0) for x in (a, a if b is None else b)]
        product = roots[0] @ roots[1]
        n = len(a)
        return 1.0 - ((product - n) / (n * (n - 1)) if b is None else product / (n * len(b)))
    # each sample as a point of its own, with one sample: then `pairwise` gives the terms of all pairs
    terms = pairwise(a[:, None], None if b is None else b[:, None], metric=metric)
    return terms.mean() if b is not None else terms.sum() / (len(a) * (len(a) - 1))


def split_gap(log_p, labels_p, log_q, labels_q, *, metric="hellinger"):
    """How far a network's test predictions lie from its train predictions, beyond what the pairing itself costs.

    E(train, test) - (E(train, train') + E(test, test')) / 2, with E of `expected_distance`: an energy distance. It is
    about 0 if, within each class, train and test samples are predicted alike, and it depends on no draw. For
    `hellinger` it is half the squared difference of the classes' mean roots, up to sampling noise: never negative.
    d_B has no such guarantee, since it is not a squared Euclidean distance: there the gap may be negative.

    Returns
    -------
    gap, cross, floor : floats
        gap = cross - floor; without unit, at most 1, for `hellinger`.
    """
    cross = expected_distance(log_p, labels_p, log_q, labels_q, metric=metric)
    alone = [expected_distance(values, y, metric=metric) for values, y in ((log_p, labels_p), (log_q, labels_q))]
    floor = 0.5 * sum(alone)
    return cross - floor, cross, floor
