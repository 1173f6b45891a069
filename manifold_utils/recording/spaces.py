"""One space: predictions made elsewhere are brought into it, and runs recorded on other samples are refused.

A space is samples in an order and classes in an order; distances mean something within one only. It records nothing
(see `recorder`).
"""

import numpy as np

from manifold_utils.atlas.checks import log_probs_of


def log_probs_from_logits(logits, n_samples, n_classes):
    """One point, or several, from predictions that were made elsewhere.

    Parameters
    ----------
    logits : array-like of shape (n_samples, n_classes) or (n_points, n_samples, n_classes)
        Unnormalised log-probabilities, natural logarithm, on the recorded samples in their order. Log-probabilities
        are logits too; probabilities are not: take their logarithm first.
    n_samples, n_classes : int
        What the space asks for.

    Returns
    -------
    ndarray of shape (n_points, n_samples, n_classes), float32
        log_softmax of the logits.

    Raises
    ------
    ValueError
        If the shape is another one, a number is NaN or plus infinity, or they look like probabilities: see
        `atlas.checks`. A class masked at minus infinity is allowed.

    Examples
    --------
    >>> log_probs_from_logits([[0.0, 0.0], [3.0, 1.0]], 2, 2).shape
    (1, 2, 2)
    """
    return log_probs_of(logits, "logits", shape=(n_samples, n_classes), where="the logits")


def check_same_space(run, atlas):
    """Refuse a run that was not recorded on the samples of an atlas.

    Parameters
    ----------
    run : RunRecord
    atlas : Atlas

    Raises
    ------
    ValueError
        If the data set's fingerprint, the number of samples or the number of classes differs; says how to mend it.
    """
    known = set(atlas.runs.data.dropna())
    if run.data not in known:
        raise ValueError(
            f"run {run.name!r} was recorded on another data set (fingerprint {run.data}) than this atlas "
            f"({', '.join(sorted(known))}): distances would mean nothing; {_same_samples(atlas)}"
        )
    n_classes = atlas.log_probs(atlas.splits[0], [atlas.points.run.iloc[0]]).shape[2]
    for split in atlas.splits:
        found, expected = np.shape(run.log_probs.get(split))[1:], (len(atlas.labels(split)), n_classes)
        if found != expected:
            raise ValueError(
                f"run {run.name!r} has {split} predictions of shape {found}, the atlas of {expected}: another part of "
                f"the samples was recorded; {_same_samples(atlas)}"
            )


def _same_samples(atlas):
    """How to record on the samples of an atlas: of the book's own data, or of anybody's."""
    if getattr(atlas.profile, "dataset", None) is None:
        return "give Recorder the samples that the runs of the atlas were recorded on, in the same order"
    return "load the data with load_dataset(atlas.profile.dataset) and record again"
