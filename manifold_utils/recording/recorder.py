"""The one way in which predictions are taken: for the book's own grids, and in anybody's training loop.

A point of the atlas is a network's log-probabilities on the recorded train and test samples (PAPER.md section 1:
eval mode, un-augmented samples). `Recorder` makes them from any PyTorch module, `log_probs_from_logits` from numbers
made elsewhere; `check_same_space` refuses what cannot be compared. It trains nothing, and it places nothing (see
`guests`).
"""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import torch

from manifold_utils.atlas.checks import log_probs_of
from manifold_utils.atlas.records import POINT_COLUMNS, SPLITS, RunRecord

EVALUATION_BATCH = {"cpu": 250, "cuda": 2000}  # what fits the caches, and what fills a card


class Diverged(ValueError):
    """A prediction is not finite: training has diverged. Nothing of that checkpoint is kept; `step` says which."""

    def __init__(self, message, step):
        super().__init__(message)
        self.step = step


class Recorder:
    """Collects a network's predictions on the recorded samples of a data set while it is trained.

    Parameters
    ----------
    data : Dataset
        Loaded with the profile's DatasetConfig, so that the samples are those of the atlas (`datasets.load_dataset`).
    name : str
    factors : dict, optional
        What made the run, for the tables of an atlas.
    batch_size : int, optional
        Samples evaluated at once; by default what suits the model's device.

    Examples
    --------
    >>> import torch
    >>> from manifold_utils.datasets import load_dataset
    >>> from manifold_utils.profiles import DatasetConfig
    >>> data = load_dataset(DatasetConfig(name="digits", n_train=100, n_test=50))
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> recorder = Recorder(data)
    >>> recorder.record(model, step=0, epoch=0.0)
    >>> recorder.run().log_probs["test"].shape
    (1, 50, 10)
    """

    def __init__(self, data, name="my run", *, factors=None, batch_size=None):
        self.data, self.name, self.factors, self.batch_size = data, name, factors or {}, batch_size
        self.index = {split: data.recorded(split) for split in SPLITS}
        self.truth = {split: data.labels(split).cpu()[self.index[split].cpu()].numpy() for split in SPLITS}
        self._rows, self._values = [], {split: [] for split in SPLITS}

    def record(self, model, step, epoch, phase="main"):
        """Keep one checkpoint: predictions in eval mode, log_softmax in float32. The model's modes are restored.

        Parameters
        ----------
        model : torch.nn.Module, from a batch of inputs to logits (n, n_classes)
        step : int
            Batches done so far; larger than at the checkpoint before.
        epoch : float
        phase : {"main", "pretrain"}
            "pretrain" for what comes before the training proper; its steps count up to 0.

        Raises
        ------
        ValueError
            If the outputs have another shape, or the step does not grow. Nothing is kept then, and the checkpoints
            before stay.
        Diverged
            Likewise, if they hold NaN or infinity.
        """
        self._check(step)
        with _evaluating(model):
            found = {split: self._predict(model, split, step) for split in SPLITS}
        self.add(found, step, epoch, phase)

    def add(self, log_probs, step, epoch, phase="main"):
        """Keep one checkpoint that was predicted elsewhere; its scores are computed here.

        Parameters
        ----------
        log_probs : dict of "train" and "test" -> ndarray (n_samples, n_classes), natural logs
        step, epoch, phase : as in `record`
        """
        self._check(step)
        row = {"step": int(step), "epoch": float(epoch), "phase": phase}
        for split, values in log_probs.items():
            row |= scores(values, self.truth[split], split)
            self._values[split].append(values)
        self._rows.append(row)

    def run(self, **facts):
        """What was recorded so far, as a `RunRecord`; ValueError if that is nothing.

        Parameters
        ----------
        facts
            Further fields of the record: status, seconds, info.
        """
        if not self._rows:
            raise ValueError("nothing is recorded yet: call record(model, step, epoch) in your training loop")
        log_probs = {split: np.stack(values) for split, values in self._values.items()}
        points = pd.DataFrame(self._rows)[list(POINT_COLUMNS)]
        return RunRecord(self.name, points, log_probs, self.data.fingerprint, self.factors, **facts)

    def save(self, path):
        """Write what was recorded so far to the folder `path`; see `RunRecord.save`. Call it as often as you like."""
        return self.run().save(path)

    def error_against(self, labels):
        """Error of the last checkpoint on other train labels than the true ones, tensor (n_train,): those fitted to."""
        fitted = labels.cpu()[self.index["train"].cpu()].numpy()
        return float(np.mean(self._values["train"][-1].argmax(axis=1) != fitted))

    def _check(self, step):
        if self._rows and step <= self._rows[-1]["step"]:
            raise ValueError(f"step {step} comes after step {self._rows[-1]['step']}: steps must grow")

    def _predict(self, model, split, step):
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        size = self.batch_size or EVALUATION_BATCH.get(device.type, EVALUATION_BATCH["cpu"])
        parts = []
        with torch.no_grad():
            for inputs, index in self.data.batches(split, self.index[split], size):
                logits = model(inputs.to(device))
                shape = tuple(getattr(logits, "shape", ()))
                if shape != (len(index), self.data.n_classes):
                    raise ValueError(
                        f"the model must return logits of shape ({len(index)}, {self.data.n_classes}) for a batch of "
                        f"{len(index)} samples of {self.data.name}; it returned {shape or type(logits).__name__}"
                    )
                parts.append(torch.log_softmax(logits.float(), dim=1))
        values = torch.cat(parts).cpu().numpy()
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(wrong):
            raise Diverged(
                f"step {step}: the model's output on {split} sample {wrong[0]} is not finite ({len(wrong)} such "
                "samples): training has diverged, so lower the learning rate or stop here",
                step,
            )
        return values


@contextmanager
def _evaluating(model):
    modes = [(module, module.training) for module in model.modules()]  # each its own: a part may be frozen
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def scores(log_probs, truth, split):
    """Loss (nats) and error (fraction) of one checkpoint on the true labels: a dict with loss_<split>, error_<split>.

    Examples
    --------
    >>> scores(np.log([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 1]), "test")["error_test"]
    0.0
    """
    loss = -np.mean(log_probs[np.arange(len(truth)), truth], dtype=np.float64)
    return {f"loss_{split}": float(loss), f"error_{split}": float(np.mean(log_probs.argmax(axis=1) != truth))}


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
    cure = "load the data with load_dataset(atlas.profile.dataset) and record again"
    known = set(atlas.runs.data.dropna())
    if run.data not in known:
        raise ValueError(
            f"run {run.name!r} was recorded on another data set (fingerprint {run.data}) than this atlas "
            f"({', '.join(sorted(known))}): distances would mean nothing; {cure}"
        )
    n_classes = atlas.log_probs("train", [atlas.points.run.iloc[0]]).shape[2]
    for split in SPLITS:
        found, expected = run.log_probs[split].shape[1:], (len(atlas.labels(split)), n_classes)
        if found != expected:
            raise ValueError(
                f"run {run.name!r} has {split} predictions of shape {found}, the atlas of {expected}: another part of "
                f"the samples was recorded; {cure}"
            )
