"""Learners of scikit-learn as trajectories: stages, batches, trees, neighbours or samples stand for the steps.

A learner that is fitted at once has no steps of its own, so it is fitted again and again with more of something. Step 0
is ignorance: before it has seen anything, every class is as likely.
"""

import warnings

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from manifold_utils.geometry import as_numpy
from manifold_utils.recording.moments import Moments

SMOOTHING = 1e-3  # of ignorance in every prediction: trees and neighbours give true classes the probability 0
READ = 4096  # samples predicted at once


def record_estimator(
    recorder,
    estimator,
    x,
    y,
    *,
    grow=None,
    values=None,
    steps=None,
    epochs=20,
    batch_size=32,
    smoothing=SMOOTHING,
    seed=0,
):
    """Fit an estimator step by step, and record its predictions on the way.

    Parameters
    ----------
    recorder : Recorder
    estimator : scikit-learn classifier with `predict_proba`; it is fitted in place, or in clones
    x, y : training samples and their classes, as the recorder's labels are written
    grow : str, optional
        What there is more of at each step. "stages": of a boosted ensemble (`staged_predict_proba`). "batches":
        `partial_fit`. "samples": fitted anew on more and more of the training samples. Or a parameter of the estimator:
        "n_estimators" and "max_iter" go on from before (`warm_start`) where they can; others, such as "n_neighbors",
        are fitted anew, and count 1, 2, 3, ... unless their values are whole numbers that grow. By default the first of
        stages, batches, n_estimators, max_iter, samples that it has.
    values : sequence, optional
        Of that parameter, or numbers of samples, in the order of learning: [200, 100, 50, 20, 10, 5, 1] neighbours.
    steps : as of `moments.Moments`; which of the stages, batches or values are recorded, by default dense early
    epochs, batch_size : int, of batches
    smoothing : float, the part of ignorance that predictions are mixed with; 0 for none
    seed : int, of the order of samples

    Returns
    -------
    Recorder
        The same one, to go on with: `record_estimator(...).run()`.

    Raises
    ------
    ValueError
        The estimator gives no probabilities, cannot grow in that way, or has seen classes that the recorder lacks.

    Examples
    --------
    >>> from sklearn.linear_model import SGDClassifier
    >>> from manifold_utils.recording import Recorder
    >>> x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 3
    >>> done = record_estimator(Recorder({"test": (x, y)}), SGDClassifier(loss="log_loss"), x, y, epochs=2)
    >>> done.run().points.step.tolist()
    [0, 1, 2, 3, 4]
    """
    kind = type(estimator).__name__
    if not hasattr(estimator, "predict_proba"):
        cure = "choose its variant that does, such as loss='log_loss' or probability=True"
        raise ValueError(f"{kind} gives no probabilities (predict_proba): {cure}")
    grow = grow or _way(estimator)
    if grow not in _WAYS and grow not in estimator.get_params():
        raise ValueError(f"{kind} has no parameter {grow!r}; grow is one of {', '.join(_WAYS)}, or a parameter of it")
    if values is not None and grow in ("stages", "batches"):
        raise ValueError(f"values are of a parameter, or numbers of samples; {grow} are chosen by steps=...")
    order = np.random.default_rng(seed).permutation(len(y))
    task = _Task(recorder, estimator, as_rows(x, order), as_numpy(y)[order], Moments(steps), smoothing)
    options = {"epochs": epochs, "batch_size": batch_size, "seed": seed} if grow == "batches" else {"values": values}
    task.add(lambda rows: np.full((rows.shape[0], task.n_classes), 1.0 / task.n_classes), task.all_classes, 0, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped early on purpose
        _WAYS.get(grow, _by_parameter)(task, **({"name": grow} if grow not in _WAYS else {}), **options)
    return recorder


def as_rows(x, order):
    """Rows of arrays, tensors or tables, in another order.

    Examples
    --------
    >>> as_rows([[1], [2]], [1, 0]).tolist()
    [[2], [1]]
    """
    if hasattr(x, "iloc"):
        return x.iloc[order]
    return x[order] if hasattr(x, "tocsr") else as_numpy(x)[order]


def _way(estimator):
    if hasattr(estimator, "staged_predict_proba"):
        return "stages"
    if hasattr(estimator, "partial_fit"):
        return "batches"
    parameters = estimator.get_params()
    growing = (name for name in ("n_estimators", "max_iter") if "warm_start" in parameters and name in parameters)
    return next(growing, "samples")


class _Task:
    """An estimator, its training samples in random order, and the recorder that its predictions go to."""

    def __init__(self, recorder, estimator, x, y, moments, smoothing):
        self.recorder, self.estimator, self.x, self.y = recorder, estimator, x, y
        self.moments, self.smoothing = moments, smoothing
        n = 1 + max(labels.max() for labels in recorder.labels.values())
        if recorder.classes is not None:
            self.all_classes = as_numpy(recorder.classes).tolist()
        else:
            self.all_classes = list(range(max(n, 1 + int(max(y)), recorder.n_classes or 0)))
        self.n_classes = len(self.all_classes)

    def add(self, predict, classes, step, epoch):
        """Record what `predict` (rows -> probabilities, columns as `classes`) says of all recorded samples."""
        self.keep({s: [predict(rows) for rows, _ in self.rows(s)] for s in self.recorder.splits}, classes, step, epoch)

    def keep(self, found, classes, step, epoch):
        """Record probabilities, lists of blocks for each split."""
        columns = [self.all_classes.index(one) for one in as_numpy(classes).tolist()]
        probabilities = {}
        for split, blocks in found.items():
            kept = [b if keep is None else b[keep] for b, (_, keep) in zip(blocks, self.rows(split), strict=True)]
            full = np.zeros((sum(map(len, kept)), self.n_classes))
            full[:, columns] = np.concatenate(kept)
            full /= full.sum(axis=1, keepdims=True)
            probabilities[split] = (1 - self.smoothing) * full + self.smoothing / self.n_classes
        self.recorder.add(probabilities=probabilities, step=step, epoch=epoch)

    def rows(self, split):
        """(inputs, which are predicted) of the recorded samples, block by block."""
        for inputs, _, keep in self.recorder.samples[split].batches(READ):
            yield inputs if hasattr(inputs, "iloc") or hasattr(inputs, "tocsr") else as_numpy(inputs), keep

    def fitted(self, estimator, step, epoch=None):
        """Record a fitted estimator."""
        self.add(estimator.predict_proba, estimator.classes_, step, float(step if epoch is None else epoch))


def _by_stages(task, values=None):
    estimator = task.estimator.fit(task.x, task.y)
    staged = {s: [estimator.staged_predict_proba(rows) for rows, _ in task.rows(s)] for s in task.recorder.splits}
    waiting = None
    for stage, blocks in enumerate(zip(*(zip(*several, strict=True) for several in staged.values()), strict=True), 1):
        waiting = dict(zip(staged, blocks, strict=True)), estimator.classes_, stage, float(stage)
        if task.moments.due(stage):
            task.keep(*waiting)
            waiting = None
    if waiting is not None:  # the last stage
        task.keep(*waiting)


def _by_batches(task, epochs, batch_size, seed):
    n, step, rng = len(task.y), 0, np.random.default_rng(seed)
    last = epochs * -(-n // batch_size)
    classes = np.array(task.all_classes)
    for epoch in range(epochs):
        order = rng.permutation(n)
        for start in range(0, n, batch_size):
            part = order[start : start + batch_size]
            task.estimator.partial_fit(as_rows(task.x, part), task.y[part], classes=classes)
            step += 1
            if step == last or task.moments.due(step):
                task.fitted(task.estimator, step, epoch + (start + len(part)) / n)


def _by_samples(task, values=None):
    n, fewest = len(task.y), _fewest_with_two_classes(task.y)
    listed = [v for v in values or task.moments.up_to(n) if v >= fewest]
    for size in listed:
        task.fitted(clone(task.estimator).fit(task.x[:size], task.y[:size]), int(size), size / n)


def _fewest_with_two_classes(y):
    return 1 + int(np.argmax(y != y[0]))


def _by_parameter(task, name, values=None):
    last = task.estimator.get_params()[name]
    listed = list(values) if values is not None else task.moments.up_to(int(last))
    goes_on = "warm_start" in task.estimator.get_params() and name in ("n_estimators", "max_iter")
    whole = all(isinstance(value, int | np.integer) for value in listed) and listed[0] > 0
    growing = whole and all(a < b for a, b in zip(listed[:-1], listed[1:], strict=True))
    before = 0
    for k, value in enumerate(listed, 1):
        if goes_on and growing:
            more = value - before if name == "max_iter" else value
            task.estimator.set_params(**{name: more, "warm_start": True}).fit(task.x, task.y)
            before, fitted = value, task.estimator
        else:
            fitted = clone(task.estimator).set_params(**{name: value}).fit(task.x, task.y)
        task.fitted(fitted, int(value) if growing else k)


_WAYS = {"stages": _by_stages, "batches": _by_batches, "samples": _by_samples}
