"""Record the predictions of your own network in your own training loop, and keep them on disk.

A point of the atlas is a network's log-probabilities on the recorded train and test samples (PAPER.md section 1:
eval mode, un-augmented samples). `Recorder` makes them from any PyTorch module, `log_probs_from_logits` from numbers
made elsewhere; `check_same_space` refuses what cannot be compared. It trains nothing, and it places nothing (see
`guests`).
"""

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from manifold_utils.predictions import read_predictions, write_predictions
from manifold_utils.records import SPLITS
from manifold_utils.store import atomic_path, read_json, write_json

FORMAT = 1
EVALUATION_BATCH = 500
COLUMNS = ("step", "epoch", "loss_train", "error_train", "loss_test", "error_test")


@dataclass(frozen=True)
class RecordedRun:
    """Predictions of one run at its checkpoints, and where they belong.

    Attributes
    ----------
    name : str
    points : DataFrame with `COLUMNS`, one row a checkpoint
        Steps (int), epochs (float), losses (nats) and errors (fractions) on the true labels.
    log_probs : dict of "train" and "test" -> ndarray (n_checkpoints, n_samples, n_classes) float32
    data : str
        Fingerprint of the data set.
    """

    name: str
    points: pd.DataFrame
    log_probs: dict
    data: str

    def __post_init__(self):
        for split in SPLITS:
            shape = np.shape(self.log_probs[split])
            if len(shape) != 3 or shape[0] != len(self.points):
                raise ValueError(
                    f"log_probs[{split!r}] has shape {shape}, but there are {len(self.points)} checkpoints"
                )

    def save(self, path):
        """Write the folder `path` (Zarr, Parquet, JSON), whole or not at all; an older one is replaced.

        Returns
        -------
        Path
        """
        path = Path(path)
        with atomic_path(path) as temporary:
            write_predictions(temporary / "predictions.zarr", self.log_probs)
            self.points.to_parquet(temporary / "points.parquet")
            write_json(temporary / "run.json", {"format": FORMAT, "name": self.name, "data": self.data})
        return path


def load_run(path):
    """Read a run that `RecordedRun.save` wrote. Opening a stranger's run never executes code.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    RecordedRun

    Raises
    ------
    FileNotFoundError
        If there is no such run.
    OSError
        If a part is missing or damaged; it is named.
    ValueError
        If another version of this code wrote it.
    """
    path = Path(path)
    if not (path / "run.json").is_file():
        raise FileNotFoundError(f"no recorded run at {path}: make one with Recorder(data) and its save(path)")
    about = read_json(path / "run.json")
    if about.get("format") != FORMAT:
        raise ValueError(f"{path} has format {about.get('format')}; this code reads format {FORMAT}")
    log_probs = {split: read_predictions(path / "predictions.zarr", split, "record the run again") for split in SPLITS}
    try:
        points = pd.read_parquet(path / "points.parquet")
    except Exception as error:  # and so does pyarrow
        raise OSError(f"{path / 'points.parquet'} is damaged ({error}); record the run again") from error
    return RecordedRun(about["name"], points, log_probs, about["data"])


class Recorder:
    """Collects a network's predictions on the recorded samples of a data set while you train it.

    Parameters
    ----------
    data : Dataset
        Loaded with the profile's DatasetConfig, so that the samples are those of the atlas (`datasets.load_dataset`).
    name : str
    batch_size : int
        Samples evaluated at once.

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

    def __init__(self, data, name="my run", *, batch_size=EVALUATION_BATCH):
        self.data, self.name, self.batch_size = data, name, batch_size
        self.index = {split: data.recorded(split) for split in SPLITS}
        self.truth = {split: data.labels(split).cpu()[self.index[split].cpu()].numpy() for split in SPLITS}
        self._rows, self._values = [], {split: [] for split in SPLITS}

    def record(self, model, step, epoch):
        """Keep one checkpoint: predictions in eval mode, log_softmax in float32. The model's modes are restored.

        Parameters
        ----------
        model : torch.nn.Module, from a batch of inputs to logits (n, n_classes)
        step : int
            Batches done so far; larger than at the checkpoint before.
        epoch : float

        Raises
        ------
        ValueError
            If the outputs have another shape or hold NaN or infinity, or the step does not grow. Nothing is kept then,
            and the checkpoints before stay.
        """
        if self._rows and step <= self._rows[-1]["step"]:
            raise ValueError(f"step {step} comes after step {self._rows[-1]['step']}: steps must grow")
        row = {"step": int(step), "epoch": float(epoch)}
        found = {}
        with _evaluating(model):
            for split in SPLITS:
                found[split] = self._predict(model, split, step)
                row |= scores(found[split], self.truth[split], split)
        for split, values in found.items():
            self._values[split].append(values)
        self._rows.append(row)

    def run(self):
        """What was recorded so far, as a `RecordedRun`; ValueError if that is nothing."""
        if not self._rows:
            raise ValueError("nothing is recorded yet: call record(model, step, epoch) in your training loop")
        log_probs = {split: np.stack(values) for split, values in self._values.items()}
        return RecordedRun(self.name, pd.DataFrame(self._rows)[list(COLUMNS)], log_probs, self.data.fingerprint)

    def save(self, path):
        """Write what was recorded so far to the folder `path`; see `RecordedRun.save`. Call it as often as you like."""
        return self.run().save(path)

    def _predict(self, model, split, step):
        import torch

        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        parts = []
        with torch.no_grad():
            for inputs, index in self.data.batches(split, self.index[split], self.batch_size):
                logits = model(inputs.to(device))
                shape = tuple(getattr(logits, "shape", ()))
                if shape != (len(index), self.data.n_classes):
                    raise ValueError(
                        f"the model must return logits of shape ({len(index)}, {self.data.n_classes}) for a batch of "
                        f"{len(index)} samples of {self.data.name}; it returned {shape or type(logits).__name__}"
                    )
                parts.append(torch.log_softmax(logits.float(), dim=1).cpu())
        values = torch.cat(parts).numpy()
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(wrong):
            raise ValueError(
                f"step {step}: the model's output on {split} sample {wrong[0]} is not finite ({len(wrong)} such "
                "samples): training has diverged, so lower the learning rate or stop here"
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
        If the shape is another one, a number is NaN or infinite, or all of them look like probabilities.

    Examples
    --------
    >>> log_probs_from_logits([[0.0, 0.0], [3.0, 1.0]], 2, 2).shape
    (1, 2, 2)
    """
    logits = np.asarray(logits)
    if logits.dtype.kind not in "fiu":
        raise ValueError(f"logits must be numbers, found dtype {logits.dtype}")
    logits = logits.astype(np.float64)
    if logits.ndim == 2:
        logits = logits[None]
    if logits.ndim != 3 or logits.shape[1:] != (n_samples, n_classes) or not len(logits):
        raise ValueError(
            f"logits have shape {logits.shape}; this space has {n_samples} samples and {n_classes} classes, so they "
            f"must be ({n_samples}, {n_classes}), or (n_points, {n_samples}, {n_classes})"
        )
    wrong = np.argwhere(~np.isfinite(logits))
    if len(wrong):
        point, sample, _ = wrong[0]
        raise ValueError(f"the logits of point {point}, sample {sample} hold NaN or infinity ({len(wrong)} in all)")
    if (logits >= 0).all() and np.allclose(logits.sum(axis=-1), 1, rtol=0, atol=1e-3):
        raise ValueError("these are probabilities (each row sums to 1), not logits: pass their natural logarithm")
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))).astype(np.float32)


def check_same_space(run, atlas):
    """Refuse a run that was not recorded on the samples of an atlas.

    Parameters
    ----------
    run : RecordedRun
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
