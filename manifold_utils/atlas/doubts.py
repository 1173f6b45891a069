"""What no single file shows: runs whose samples or classes are in another order than those of the others.

Each run leaves a small testimony: its best accuracy, and which samples it finds hard. Classes that were exchanged are
refused; samples in another order are only warned of, because a run may have learned nothing. The measure is that of the
within-class null: what two runs share beyond their learning curves is which samples are hard (see `statistics`).
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

N_COMPARED = 2000  # samples, at most, on which runs are compared
N_SHUFFLES = 99  # of a run's samples within classes: the largest is the bound, p < 0.01
FEWEST = 3  # runs, below which nothing is said of one against the others
MAJORITY = 0.6  # of the samples of a class that have to be predicted as another one
DEVIATIONS = 4.0  # standard errors by which that share has to pass what chance gives


@dataclass(frozen=True)
class Testimony:
    """What one run says on one split.

    Attributes
    ----------
    run, split : str
    accuracy : float, best of all checkpoints
    hardness : ndarray of shape (n_compared,)
        Log-probability of the true class at the last checkpoint, on the samples that `compared` names.
    """

    run: str
    split: str
    accuracy: float
    hardness: np.ndarray


def compared(n_samples):
    """Indices of the samples on which runs are compared: all, or `N_COMPARED` of them, the same for every run."""
    if n_samples <= N_COMPARED:
        return np.arange(n_samples)
    return np.sort(np.random.default_rng(0).choice(n_samples, N_COMPARED, replace=False))


def testimony(run, split, log_probs, labels):
    """The `Testimony` of predictions (n_checkpoints, n_samples, n_classes)."""
    accuracy = max(float(np.mean(point.argmax(axis=1) == labels)) for point in log_probs)
    chosen = compared(len(labels))
    return Testimony(run, split, accuracy, log_probs[-1, chosen, labels[chosen]].astype(np.float64))


def exchanged(point, labels):
    """Classes that a prediction takes for another one each, as if columns had been exchanged: dict class -> column.

    Parameters
    ----------
    point : ndarray of shape (n_samples, n_classes)
    labels : ndarray of shape (n_samples,), int

    Returns
    -------
    dict
        Empty unless two classes or more are predicted as different others by a clear majority of their samples.

    Examples
    --------
    >>> labels = np.repeat([0, 1], 50)
    >>> exchanged(np.eye(2)[1 - labels], labels), exchanged(np.eye(2)[labels], labels)
    ({0: 1, 1: 0}, {})
    """
    predicted, found = point.argmax(axis=1), {}
    share = np.bincount(predicted, minlength=point.shape[1]) / len(labels)
    for label in np.unique(labels):
        columns, counts = np.unique(predicted[labels == label], return_counts=True)
        column, n = int(columns[counts.argmax()]), counts.sum()
        chance = share[column]
        bound = max(MAJORITY, chance + DEVIATIONS * np.sqrt(chance * (1 - chance) / n))
        if column != label and counts.max() / n >= bound:
            found[int(label)] = column
    return found if len(found) > 1 and len(set(found.values())) == len(found) else {}


def refuse_exchanged(log_probs, labels, where, classes=()):
    """ValueError if the columns of a run are in another order than the labels count them.

    An untrained network may take one class for another as well, but training then brings it nearer to truth: what is
    refused is a run that ends farther from truth than ignorance is, and than it began, on the classes it exchanges.

    Parameters
    ----------
    log_probs : ndarray of shape (n_checkpoints, n_samples, n_classes)
    labels : ndarray of shape (n_samples,), int
    where : str
    classes : sequence of str, for the message
    """
    found = exchanged(log_probs[-1], labels)
    if not found:
        return
    moved = np.flatnonzero(np.isin(labels, list(found)))
    losses = -log_probs[:, moved, labels[moved]].mean(axis=1, dtype=np.float64)
    if losses[-1] <= np.log(log_probs.shape[2]) or (len(losses) > 1 and losses[-1] <= losses[0]):
        return
    error, own = float(np.mean(log_probs[-1].argmax(axis=1) != labels)), dict(enumerate(classes))
    pairs = ", ".join(f"{own.get(a, a)} -> {own.get(b, b)}" for a, b in list(found.items())[:6])
    raise ValueError(
        f"{where}: the columns seem to be in another order than the classes: its error is {error:.2f}, and most "
        f"samples of {len(found)} classes are predicted as another one each ({pairs}): reorder the columns of this "
        "run, or say that it is right with trust=True (--trust)"
    )


def doubts(testimonies, labels):
    """Sentences about runs that stand apart from all others; none from fewer than 3 runs.

    Parameters
    ----------
    testimonies : list of Testimony, of one split
    labels : ndarray of shape (n_samples,), int

    Returns
    -------
    dict of run -> sentence, in the order of the runs; "" for what is said of all
    """
    if len(testimonies) < FEWEST:
        return {}
    learned = _learned(testimonies, labels)
    if not any(learned):
        best = max(t.accuracy for t in testimonies)
        said = f"no run is better than chance on {testimonies[0].split} samples (best accuracy {best:.2f})"
        return {"": f"{said}: are the labels in the order of the predictions?"}
    if sum(learned) < len(testimonies) / 2:
        return {}
    said = {
        t.run: (
            f"run {t.run!r} is never better than chance on {t.split} samples (best accuracy {t.accuracy:.2f}), while "
            f"{sum(learned)} of {len(testimonies)} runs are: are its samples in the order of the labels?"
        )
        for t, better in zip(testimonies, learned, strict=True)
        if not better
    }
    said |= _strangers([t for t, better in zip(testimonies, learned, strict=True) if better], labels)
    return {t.run: said[t.run] for t in testimonies if t.run in said}


def _learned(testimonies, labels):
    """Whether each run was better at some checkpoint than always saying the most frequent class."""
    chance = np.bincount(labels).max() / len(labels)
    bound = chance + DEVIATIONS * np.sqrt(chance * (1 - chance) / len(labels))
    return [t.accuracy > bound for t in testimonies]


def _strangers(testimonies, labels):
    """run -> sentence, of runs whose hard samples are not those of the others, where the others agree."""
    if len(testimonies) < FEWEST:
        return {}
    own = labels[compared(len(labels))]
    hard = np.array([_ranks_within(t.hardness, own) for t in testimonies])
    rest = hard.sum(axis=0) - hard
    agreement = np.array([_correlation(a, b) for a, b in zip(hard, rest, strict=True)])
    rng = np.random.default_rng(0)
    shuffles = [_shuffled_within(own, rng) for _ in range(N_SHUFFLES)]
    bounds = np.array([max(_correlation(a[s], b) for s in shuffles) for a, b in zip(hard, rest, strict=True)])
    usual = np.median(agreement)
    strange = (agreement <= bounds) & (usual > 2 * np.median(bounds)) & (hard.std(axis=1) > 0)
    return {
        t.run: (
            f"run {t.run!r} shares nothing with the others on {t.split} samples but its learning curve: which samples "
            f"of a class it finds hard correlates with theirs by {agreement[i]:.2f} (shuffled {bounds[i]:.2f}, the "
            f"median run {usual:.2f}): are its samples in the same order?"
        )
        for i, t in enumerate(testimonies)
        if strange[i]
    }


def _ranks_within(values, labels):
    """Ranks of values within their class, between -1/2 and 1/2: one extreme sample does not decide."""
    ranks = np.empty(len(values))
    for label in np.unique(labels):
        members = labels == label
        ranks[members] = rankdata(values[members]) / (members.sum() + 1) - 0.5
    return ranks


def _correlation(a, b):
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / scale) if scale > 0 else 0.0


def _shuffled_within(labels, rng):
    """An order of the samples that exchanges them within their classes."""
    order = np.argsort(labels, kind="stable")
    shuffled = np.lexsort((rng.random(len(labels)), labels))
    place = np.empty(len(labels), dtype=int)
    place[order] = shuffled
    return place
