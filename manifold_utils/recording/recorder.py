"""The one way in which predictions are taken: for the book's own grids, and in anybody's training loop.

A point of the atlas is a network's log-probabilities on the recorded samples (PAPER.md section 1: eval mode,
un-augmented samples). `Recorder` keeps them: made from any network (`predicting`), or given in numbers by a learner
that is none. It trains nothing, and it places nothing (see `guests`).
"""

import math
import sys
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd

from manifold_utils.atlas.checks import NotFinite, check_range, check_run_name, log_probs_of
from manifold_utils.atlas.columns import plain_factors
from manifold_utils.atlas.kinds import KINDS, SUM_TOLERANCE, Look
from manifold_utils.atlas.records import POINT_COLUMNS, SPLITS, RunRecord
from manifold_utils.files import fingerprint
from manifold_utils.recording.errors import Diverged, Unfitting
from manifold_utils.recording.going_on import keep_what_would_be_lost, saved_run
from manifold_utils.recording.own_errors import Recorded, check_own, compare
from manifold_utils.recording.samples import all_samples, of_dataset

WARNED_FROM = 3  # checkpoints whose outputs all lie between 0 and 1
UNDECIDED = (
    "all outputs of {!r} lie between 0 and 1, like those of independent sigmoids, and were taken for logits: record "
    "what goes into the sigmoid, or say kind='logits' if that is right"
)


class Recorder:
    """Collects a network's predictions on the same samples while it is trained.

    Parameters
    ----------
    data : dict of "train" or "test" or both, or Dataset
        Anybody's samples: (x, y) of arrays or tensors, a DataLoader that does not shuffle, or rows such as a Hugging
        Face data set; see `samples.all_samples`. A Dataset of the book (`datasets.load_dataset`) with the profile's
        DatasetConfig gives the samples of its atlas.
    name : str
        Of the run; it becomes a file's name, so that slashes are refused.
    factors : dict, optional
        What made the run, for the tables of an atlas: {"model": "mlp", "dropout": 0.1, "seed": 3}. Texts and numbers;
        None where a run has no such setting.
    batch_size : int, optional
        Samples evaluated at once; by default what suits the model's device. A DataLoader has its own.
    inputs : callable, optional
        Applied to each batch of inputs before the network: the normalisation that your own loop does by hand.
    collate : callable, optional
        Makes a batch of a list of rows, such as transformers' DataCollatorWithPadding.
    classes : sequence, optional
        The values that labels take, in the order of the columns of predictions; by default 0, 1, 2, ...
    kind : {"logits", "log_probs", "probabilities"}, optional
        What the network returns. By default logits, and numbers that look like anything else are refused; logits that
        are named are believed.

    Attributes
    ----------
    splits : tuple of the splits that are recorded
    labels : dict of split -> ndarray (n_samples,) int64
    fingerprint : str, of the samples: runs can be compared where it agrees
    last_step : int or None, of the last checkpoint
    diverged_step : int or None, the step at which predictions were not finite and nothing was kept
    waits : bool, whether another process of a distributed training records

    Examples
    --------
    >>> import torch
    >>> x, y = torch.randn(60, 4), torch.arange(60) % 3
    >>> recorder = Recorder({"train": (x[:40], y[:40]), "test": (x[40:], y[40:])}, "mine", factors={"model": "linear"})
    >>> done = recorder.record(torch.nn.Linear(4, 3), step=0)
    >>> recorder.run().log_probs["test"].shape
    (1, 20, 3)
    """

    def __init__(
        self, data, name="my run", *, factors=None, batch_size=None, inputs=None, collate=None, classes=None, kind=None
    ):
        if kind is not None and kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; found {kind!r}")
        self.name, self.batch_size, self.inputs = check_run_name(name, "Recorder"), batch_size, inputs
        self.factors = plain_factors(factors or {}, "Recorder", own=not hasattr(data, "recorded"))
        self.data, self.kind, self.classes = data, kind, classes
        if hasattr(data, "recorded"):
            self.samples, self.fingerprint, self.n_classes = of_dataset(data), data.fingerprint, data.n_classes
        else:
            with _random_state_kept():
                self.samples = all_samples(data, collate, classes)
            self.fingerprint = fingerprint({split: found.fingerprint for split, found in self.samples.items()})
            self.n_classes = None if classes is None else len(classes)
        self.splits = tuple(split for split in SPLITS if split in self.samples)
        self.labels = {split: self.samples[split].labels for split in self.splits}
        self._rows, self._values = [], {split: [] for split in self.splits}
        self._decided = self._undecided = False  # whether outputs are seen to be no probabilities; whether some are not
        self.last_step, self.waits, self.diverged_step = None, False, None
        self._n_resumed, self._saved_at = 0, set()  # checkpoints of an earlier process; where this one has saved

    def resume(self, path, step=None):
        """Take back what an earlier process saved, so that a training that was interrupted is one run.

        Call it before the first checkpoint. Where nothing lies at `path`, nothing is done, so that a script may call it
        at every start.

        Parameters
        ----------
        path : str or Path
            The folder that was given to `save`.
        step : int, optional
            Step of the network that training goes on from: later checkpoints are left out, since they come again.

        Returns
        -------
        int or None
            The last step that is kept.

        Raises
        ------
        ValueError
            Something is recorded already, or `path` holds another run or one on other samples.
        """
        if self._rows:
            raise ValueError("resume comes before the first checkpoint: this recorder has some already")
        run = saved_run(path, name=self.name, factors=self.factors, fingerprint=self.fingerprint)
        if run is None:
            return None
        n = len(run.points) if step is None else int((run.points.step <= whole_step(step)).sum())
        self._rows = run.points[:n].to_dict(orient="records")
        self._values = {split: list(run.log_probs[split][:n]) for split in self.splits}
        self.n_classes = run.log_probs[self.splits[0]].shape[2]
        self._n_resumed, self.last_step = n, self._rows[-1]["step"] if n else None
        self._saved_at.add(Path(path).expanduser().resolve())
        return self.last_step

    def record(self, model, step, epoch=None, phase="main", *, error_train=None, error_test=None):
        """Keep one checkpoint of a network: predictions in eval mode, without gradients, log_softmax in float32.

        The modes of all its parts and the random states are restored, so that training goes on as if nothing had been.
        In distributed training call this in every process: the first one records, the others wait.

        Parameters
        ----------
        model : torch.nn.Module, or any callable, from a batch of inputs to logits (n, n_classes)
            Or to a tuple that starts with them, or a dictionary or object with `logits`. Logits of positions
            (n, T, n_classes) are recorded position by position where the label is not -100.
        step : int
            Batches done so far; larger than at the checkpoint before.
        epoch : float, optional
            By default the step.
        phase : {"main", "pretrain"}
            "pretrain" for what comes before the training proper; its steps count up to 0.
        error_train, error_test : float, optional
            Your own error, a fraction. A difference beyond what eval mode explains is warned of: a wrong normalisation
            shows there first.

        Returns
        -------
        Recorded, or None in a process that waits
            Prints as the recorded errors beside your own.

        Raises
        ------
        ValueError
            If the outputs have another shape, or the step does not grow or is a fraction. Nothing is kept then, and
            the checkpoints before stay.
        Diverged
            Likewise, if they hold NaN or infinity.
        """
        step, own = self._checked(step), {"train": error_train, "test": error_test}
        check_own(own)
        from manifold_utils.recording import undisturbed  # torch: not needed by who adds numbers

        with undisturbed.asked(model) as inner:
            try:
                found = undisturbed.on_one_process(
                    lambda: {s: self._predict(inner, s, step) for s in self.splits}, inner
                )
            except Diverged:
                self.diverged_step = step
                raise
        self._undecided = self.kind is None and not self._decided
        self.waits = found is None
        if self.waits:
            self.last_step = step
        return None if self.waits else self._keep(found, step, epoch, phase, own)

    def add(
        self, log_probs=None, step=None, epoch=None, phase="main", *, logits=None, probabilities=None, error_train=None,
        error_test=None,
    ):  # fmt: skip
        """Keep one checkpoint that was predicted elsewhere, by any framework or learner.

        Parameters
        ----------
        log_probs, logits, probabilities : dict of split -> array (n_samples, n_classes), or the array of the one split
            One of the three; what looks like another is refused.
        step, epoch, phase, error_train, error_test : as in `record`

        Returns
        -------
        Recorded

        Raises
        ------
        ValueError, Diverged
            As `record`.

        Examples
        --------
        >>> recorder = Recorder({"test": ([[0.0], [1.0]], [0, 1])})
        >>> recorder.add(probabilities=[[0.8, 0.2], [0.4, 0.6]], step=1)
        step 1: test error 0.000
        """
        given = {"log_probs": log_probs, "logits": logits, "probabilities": probabilities}
        given = {kind: values for kind, values in given.items() if values is not None}
        if len(given) != 1:
            raise ValueError(f"give one of log_probs, logits and probabilities; found {', '.join(given) or 'none'}")
        if step is None:
            raise ValueError("give the step: batches, trees or samples so far; it must grow")
        step, own = self._checked(step), {"train": error_train, "test": error_test}
        check_own(own)
        ((kind, values),) = given.items()
        values = values if isinstance(values, Mapping) else dict.fromkeys(self.splits[:1], values)
        if set(values) != set(self.splits):
            wanted = " and ".join(self.splits)
            raise ValueError(f"predictions on {wanted} are needed, as a dict; found {', '.join(values)}")
        try:
            found = {split: self._given(values[split], kind, split) for split in self.splits}
        except NotFinite as error:
            self.diverged_step = step
            raise Diverged(f"step {step}: {error}", step) from error
        return self._keep(found, step, epoch, phase, own)

    def run(self, **facts):
        """What was recorded so far, as a `RunRecord`; ValueError if that is nothing.

        Parameters
        ----------
        facts
            Further fields of the record: status ("diverged" if the last step was), seconds, info.
        """
        if self.diverged_step is not None:
            facts = {"status": "diverged", "info": {"diverged_step": self.diverged_step}} | facts
        if not self._rows or (self.waits and len(self._rows) == self._n_resumed):
            if self.waits:
                raise ValueError("this process only waited: call run() in process 0 of the distributed training")
            raise ValueError("nothing is recorded yet: call record(model, step, epoch) in your training loop")
        if self._undecided and len(self._rows) >= WARNED_FROM:
            warnings.warn(UNDECIDED.format(self.name), stacklevel=2)
        log_probs = {split: np.stack(values) for split, values in self._values.items()}
        points = pd.DataFrame(self._rows)
        points = points[[column for column in POINT_COLUMNS if column in points]]
        return RunRecord(self.name, points, log_probs, self.fingerprint, self.factors, **facts)

    def save(self, path):
        """Write what was recorded so far to the folder `path`; see `RunRecord.save`. Call it as often as you like.

        A run of somebody else there, or an earlier one with checkpoints that this one lacks, is kept beside it, with a
        warning. A process that only waits in distributed training writes nothing.
        """
        if self.waits and len(self._rows) == self._n_resumed:
            return Path(path)
        run, place = self.run(), Path(path).expanduser().resolve()
        if place not in self._saved_at:
            keep_what_would_be_lost(place, run)
        self._saved_at.add(place)
        return run.save(path)

    def error_against(self, labels):
        """Error of the last checkpoint on other train labels than the true ones, tensor (n_train,): those fitted to."""
        fitted = labels.cpu()[self.data.recorded("train").cpu()].numpy()
        return float(np.mean(self._values["train"][-1].argmax(axis=1) != fitted))

    def _checked(self, step):
        step = whole_step(step)
        if self.last_step is not None and step <= self.last_step:
            raise ValueError(f"step {step} comes after step {self.last_step}: steps must grow")
        return step

    def _predict(self, model, split, step):
        """log_probs (n_samples, n_classes) of a network."""
        from manifold_utils.recording import predicting  # torch: not needed by who adds numbers

        softmax = self.kind == "logits" or (self.kind is None and self._decided)  # else the numbers are looked at
        options = {"batch_size": self.batch_size, "inputs": self.inputs, "softmax": softmax}
        try:
            binary = 1.0 if self.kind == "probabilities" else None
            found = predicting.predictions(model, self.samples[split], binary=binary, **options)
        except Unfitting as error:
            raise ValueError(self._misfit(error, split)) from error
        self._check_classes(found.shape, split)
        values = found.numpy()
        wrong = np.flatnonzero(~((values < np.inf).all(axis=1) & (values > -np.inf).any(axis=1)))  # NaN is neither
        if len(wrong):
            raise Diverged(
                f"step {step}: the model's output on {split} sample {wrong[0]} is not finite ({len(wrong)} such "
                "samples): training has diverged, so lower the learning rate or stop here",
                step,
            )
        if softmax:
            return values
        where = f"the model's {split} outputs"
        if self.kind:
            return log_probs_of(values, self.kind, where=where)[0]
        look = Look.at(values[None])
        if (look.within_0_and_1 and look.sums_to(1, SUM_TOLERANCE)) or look.percentages:
            log_probs_of(values, "logits", where=where)  # raises, and says which
        self._decided = self._decided or not look.within_0_and_1  # of an untrained network even logits may lie there
        return predicting.log_softmax(found).numpy()

    def _misfit(self, error, split):
        n, classes = error.wanted[0], self.n_classes or "n_classes"
        positions = "" if len(error.wanted) == 1 else f" and labels of shape {error.wanted}"
        wanted = (*error.wanted, classes)
        return (
            f"the model must return logits of shape ({', '.join(map(str, wanted))}) for a batch of {n} {split} samples"
            f"{positions}; it returned {error.found}"
        )

    def _check_classes(self, shape, split):
        n_samples, n_classes = len(self.labels[split]), shape[-1]
        if n_classes != (self.n_classes or n_classes):
            raise ValueError(
                f"the model must return logits of shape ({n_samples}, {self.n_classes}) for {n_samples} {split} "
                f"samples; it returned {tuple(shape)}"
            )
        check_range(self.labels[split], n_classes, f"{split} labels")

    def _given(self, values, kind, split):
        shape = (len(self.labels[split]), self.n_classes) if self.n_classes else None
        found = log_probs_of(values, kind, shape=shape, where=f"{kind} of {split}")
        if len(found) != 1 or found.shape[1] != len(self.labels[split]):
            wanted = f"({len(self.labels[split])}, {self.n_classes or 'n_classes'})"
            raise ValueError(f"{kind} of {split} have shape {np.shape(values)}, and one checkpoint is {wanted}")
        self._check_classes(found.shape[1:], split)
        same = getattr(values, "dtype", None) == found.dtype and np.allclose(found[0], values, rtol=0, atol=1e-4)
        return values if kind == "log_probs" and same else found[0]

    def _keep(self, found, step, epoch, phase, own):
        epoch = float(step if epoch is None else epoch)
        if not math.isfinite(epoch):
            raise ValueError(f"epoch must be a finite number, found {epoch}")
        row = {"step": step, "epoch": epoch, "phase": phase}
        for split, values in found.items():
            row |= scores(values, self.labels[split], split)
        for split, values in found.items():
            self._values[split].append(values)
        self.n_classes = self.n_classes or values.shape[1]
        self._rows.append(row)
        self.last_step, self.diverged_step = step, None
        recorded = Recorded(row, {split: error for split, error in own.items() if error is not None})
        for split in recorded.own:
            if split in self.splits:
                compare(recorded, split, len(self.labels[split]))
        return recorded


def _random_state_kept():
    """A context in which loaders may draw; without torch there is none to draw from."""
    if "torch" not in sys.modules:
        return nullcontext()
    from manifold_utils.recording.undisturbed import random_state_kept  # torch: only where it is there already

    return random_state_kept()


def whole_step(step):
    """A step as int: Python's, numpy's and torch's numbers are understood.

    Raises
    ------
    ValueError
        A fraction, or no number: steps order the checkpoints and name them.

    Examples
    --------
    >>> whole_step(np.float64(30.0))
    30
    """
    try:
        number = step.item() if hasattr(step, "item") else step
        if isinstance(number, bool | str) or int(number) != number:
            raise ValueError
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # torch raises the last
        raise ValueError(
            f"step must be a whole number of batches, found {step!r}: count batches, and give epoch="
        ) from error
    return int(number)


def scores(log_probs, truth, split):
    """Loss (nats) and error (fraction) of one checkpoint on the true labels: a dict with loss_<split>, error_<split>.

    Examples
    --------
    >>> scores(np.log([[0.5, 0.5], [0.25, 0.75]]), np.array([0, 1]), "test")["error_test"]
    0.0
    """
    loss = -np.mean(log_probs[np.arange(len(truth)), truth], dtype=np.float64)
    return {f"loss_{split}": float(loss), f"error_{split}": float(np.mean(log_probs.argmax(axis=1) != truth))}
