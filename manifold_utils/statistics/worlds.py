"""Worlds without the effect: each run of an atlas is changed so that its curves stay, and what runs share is lost.

A ladder from knowing least to knowing all. `curve`: each point lies on the geodesic at its progress. `class`: the
samples of each run are permuted within their true class, independently from run to run (PAPER.md section 5), so that
loss, error, progress and the distances to ignorance and truth stay. `difficulty`: only samples of one class and of
similar mean difficulty change places; `confusion`: only those that are, besides, taken for the same wrong class.
`real`: nothing is changed. What a number gains from one rung to the next is what that knowledge is worth. It computes
no distance and no spectrum (see `studies.null_spectra`).
"""

import numpy as np

from manifold_utils.geometry import as_predictions, geodesic, ignorance, labels_of, truth
from manifold_utils.statistics.nulls import permutations_within_class
from manifold_utils.workers import check_choice

WORLDS = ("curve", "class", "difficulty", "confusion", "real")  # the ladder, from the bottom
STRATUM = 10  # samples that change places with one another in `difficulty` and `confusion`, about


def strata(labels, world="class", mean_probabilities=None, size=STRATUM):
    """Which samples may change places in a world: those of one stratum.

    Parameters
    ----------
    labels : array-like of shape (n_samples,), int
        True classes.
    world : {"class", "difficulty", "confusion", "real"}
    mean_probabilities : ndarray of shape (n_samples, n_classes), optional
        Predictions averaged over runs and progress: they say how difficult a sample is (the probability of its class)
        and what it is taken for (the most probable wrong class). Not needed for "class" and "real".
    size : int
        Samples in a stratum of "difficulty" and "confusion", about; what remains of a small group stays together.

    Returns
    -------
    ndarray of shape (n_samples,), int64
        Number of the stratum of each sample. In "real" every sample is alone.

    Raises
    ------
    ValueError
        Unknown world, or the mean predictions are needed and missing.

    Examples
    --------
    >>> mean = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.6, 0.4]])
    >>> strata([0, 0, 0, 0], "difficulty", mean, size=2).tolist()
    [1, 0, 0, 1]
    """
    check_choice("world", world, WORLDS[1:])
    labels = np.asarray(labels)
    if world == "real":
        return np.arange(len(labels))
    if world == "class":
        return np.unique(labels, return_inverse=True)[1]
    if mean_probabilities is None:
        raise ValueError(f"the world {world!r} needs mean_probabilities: predictions averaged over runs and progress")
    mean = np.asarray(mean_probabilities, dtype=np.float64)
    own = mean[np.arange(len(labels)), labels]
    kind = labels
    if world == "confusion":
        wrong = mean.copy()
        wrong[np.arange(len(labels)), labels] = -np.inf
        kind = labels * mean.shape[1] + wrong.argmax(axis=1)
    number, n_so_far = np.empty(len(labels), dtype=np.int64), 0
    for value in np.unique(kind):
        members = np.flatnonzero(kind == value)
        members = members[np.argsort(own[members], kind="stable")]
        n_groups = max(1, round(len(members) / size))
        number[members] = n_so_far + np.arange(len(members)) * n_groups // len(members)
        n_so_far += n_groups
    return number


def null_world(log_probs, run, labels, world, *, progress=None, mean_probabilities=None, size=STRATUM, rng=None):
    """The points of many runs as they would be in a world that keeps every run's curves and loses what runs share.

    Parameters
    ----------
    log_probs : array-like of shape (n_points, n_samples, n_classes)
        Natural-log predictions of many runs.
    run : array-like of shape (n_points,)
        Run of each point. All points of a run are permuted alike, different runs independently.
    labels : array-like of shape (n_samples,), int
    world : str, one of WORLDS
    progress : array-like of shape (n_points,), optional
        Progress of each point, for "curve".
    mean_probabilities, size : as in `strata`
    rng : numpy Generator, for all worlds but "curve" and "real"

    Returns
    -------
    ndarray of the shape and dtype of log_probs; a copy, but for "real"

    Raises
    ------
    ValueError
        Unknown world, or what it needs is missing.

    Examples
    --------
    >>> points = np.log([[[0.9, 0.1], [0.6, 0.4]], [[0.8, 0.2], [0.5, 0.5]]])
    >>> moved = null_world(points, ["a", "a"], [0, 0], "class", rng=np.random.default_rng(3))
    >>> np.exp(moved)[:, :, 0].round(1).tolist()
    [[0.6, 0.9], [0.5, 0.8]]
    """
    check_choice("world", world, WORLDS)
    log_probs, labels, run = as_predictions(log_probs), labels_of(log_probs, labels), np.asarray(run)
    if world == "real":
        return log_probs
    if world == "curve":
        if progress is None:
            raise ValueError("the world 'curve' needs progress: one value a point")
        ends = ignorance(*log_probs.shape[1:]), truth(labels, log_probs.shape[2])
        return geodesic(*ends, np.asarray(progress, dtype=np.float64)).astype(log_probs.dtype)
    if rng is None:
        raise ValueError(f"the world {world!r} is drawn at random: give rng")
    if len(run) != len(log_probs):
        raise ValueError(f"there are {len(log_probs)} points, but {len(run)} entries of run")
    places = strata(labels, world, mean_probabilities, size)
    names, code = np.unique(run, return_inverse=True)
    order = permutations_within_class(places, len(names), rng)
    moved = np.empty_like(log_probs)
    for k in range(len(log_probs)):
        moved[k] = log_probs[k, order[code[k]]]
    return moved
