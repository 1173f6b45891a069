"""From one run as it is offered to its record: checked, scored, hashed.

A `Door` holds what every run of an atlas is held against: labels, classes, the design, and how predictions are meant.
All it knows of mistakes is in `checks` and `doubts`. It writes nothing (see `recorded`).
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from manifold_utils.atlas import checks
from manifold_utils.atlas.columns import CHECKPOINTS, NESTED, clean_row, listed
from manifold_utils.atlas.doubts import refuse_exchanged
from manifold_utils.atlas.records import RunRecord, load_run, read_facts
from manifold_utils.files import fingerprint
from manifold_utils.profiles import Design


@dataclass
class Door:
    """What every run of an atlas of recorded runs is held against.

    Attributes
    ----------
    folder : Path of the stored runs
    labels : dict of split -> ndarray (n_samples,) int64
    classes : list of str, or empty
    kind, smoothing, trust : see `recorded.record_runs`
    design : Design, once it is known
    n_classes : int; 0 until the first run says
    content : str, fingerprint of the samples that recorders saw; "" until the first of their runs says
    columns : tuple of the columns that rows may have beside factors; empty for any
    """

    folder: object
    labels: dict
    classes: list
    kind: str = "logits"
    smoothing: float = 0.0
    trust: bool = False
    design: Design | None = None
    n_classes: int = 0
    content: str = ""
    columns: tuple = ()

    def __post_init__(self):
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing is a part of 1, such as 0.001; found {self.smoothing}")
        if self.kind not in checks.KINDS:
            raise ValueError(f"kind must be one of {', '.join(checks.KINDS)}; found {self.kind!r}")
        self.n_classes = self.n_classes or len(self.classes)
        self.data = fingerprint([[split, one.tolist()] for split, one in self.labels.items()])

    def path(self, name):
        """Where a run is stored."""
        return self.folder / f"{name}.zarr"

    def record(self, offer):
        """The `RunRecord` of an offer; ValueError names the run and the mistake."""
        name = checks.check_run_name(offer.row.get("run", ""))
        where = f"run {name!r} ({offer.source})" if offer.source else f"run {name!r}"
        missing = [column for column in self.design.columns if column not in offer.row]
        if missing:
            raise ValueError(f"{where} has no {', '.join(map(repr, missing))}, which are factors of this atlas")
        new = [c for c in offer.row if self.columns and c not in (*self.columns, *CHECKPOINTS)]
        if new:
            raise ValueError(
                f"{where} has {', '.join(map(repr, new))}, which the first run has not: runs that differ in nothing "
                "else would count as repeats; give all runs the same columns, or name the factors (factors=[...])"
            )
        self._check_content(offer.facts.get("data"), where)
        given, said = offer.taken()
        values = self._values(given, where)
        self._check_labels(offer, where)
        row, extra = clean_row(offer.row, self.design.columns, where)
        steps, epochs = _times(said, len(next(iter(values.values()))), where)
        kind, facts = offer.kind or self.kind, dict(offer.facts)
        content = self._content(values, kind, [row, steps, epochs, facts.get("status"), facts.get("data")])
        stored = self.path(name)
        if stored.exists() and read_facts(stored).get("content") == content:
            return load_run(stored)
        good = [checks.diverged_from(one) for one in values.values()]
        n = min([len(steps), *(one for one in good if one is not None)])
        if n == 0:
            raise ValueError(f"{where}: its first checkpoint holds NaN or infinity already: the file is damaged")
        status = "diverged" if n < len(steps) else facts.pop("status", "finished")
        info = {**extra, **facts.pop("info", {})}
        if n < len(steps):
            info["diverged_step"] = steps[n]
        points, log_probs = {"step": steps[:n], "epoch": epochs[:n], "phase": "main"}, {}
        for split, one in values.items():
            log_probs[split] = self._predictions(one[:n], kind, split, f"{where}, {split}")
            points |= self._scores(log_probs[split], self.labels[split], split, f"{where}, {split}", steps)
            self._check_scores(points, offer.scores, split, f"{where}, {split}")
        facts = {"data": self.data, **{k: v for k, v in facts.items() if v and k != "status"}}
        made = {"factors": row, "status": status, "info": info, "content": content}
        return RunRecord(name, pd.DataFrame(points), log_probs, **made, **facts)

    def _values(self, values, where):
        """dict of split -> array-like (n_checkpoints, n_samples, n_classes), as it was given."""
        if not isinstance(values, dict):
            if len(self.labels) > 1:
                raise ValueError(f"{where}: one array, but labels of train and test: give a dict of split -> array")
            values = {next(iter(self.labels)): values}
        if set(values) != set(self.labels):
            raise ValueError(
                f"{where} has predictions on {', '.join(map(str, values)) or 'nothing'}, and there are labels of "
                f"{', '.join(self.labels)}: every run needs predictions on the same splits, and labels of these"
            )
        values = {split: checks.as_points(values[split], f"{where}, {split}") for split in self.labels}
        shapes = {split: one.shape for split, one in values.items()}
        lengths = {shape[0] for shape in shapes.values()}
        if len(lengths) > 1:
            raise ValueError(f"{where}: train and test have another number of checkpoints: {shapes}")
        for split, shape in shapes.items():
            self._check_shape(shape, split, where)
        return values

    def _check_shape(self, shape, split, where):
        n_samples, n_classes = len(self.labels[split]), self.n_classes or shape[2]
        if shape[1:] == (n_classes, n_samples) and n_samples != n_classes:
            raise ValueError(f"{where}, {split}: shape {shape} has classes before samples: exchange the last two axes")
        if shape[1] != n_samples:
            raise ValueError(f"{where}, {split}: shape {shape}, but there are {n_samples} labels of {split}")
        if shape[2] != n_classes:
            whose = f"{len(self.classes)} names of classes" if self.classes else f"{n_classes} in the other runs"
            raise ValueError(f"{where}, {split}: {shape[2]} classes, but {whose}: every run needs the same classes")
        checks.check_range(self.labels[split], n_classes, f"labels of {split}")
        self.n_classes = n_classes

    def _check_content(self, data, where):
        """Files say nothing of their samples but the labels; a `Recorder` has seen them, all runs the same ones."""
        if not data or data == self.data:
            return
        self.content = self.content or data
        if data != self.content:
            raise ValueError(
                f"{where} was recorded on other samples than the other runs, or in another order (their fingerprints "
                f"are {data} and {self.content}): record all runs on the same ones"
            )

    def _check_labels(self, offer, where):
        for split, labels in offer.labels.items():
            own = checks.classes_of(labels, f"{where}, labels of {split}", self.classes)
            checks.check_same_labels(own, self.labels[split], f"{where}, {split}")

    def _content(self, values, kind, facts):
        digest = hashlib.sha256(fingerprint([facts, kind, self.smoothing, self.data]).encode())
        for split, one in values.items():
            digest.update(f"{split} {one.dtype} {one.shape}".encode())
            for point in one:
                digest.update(np.ascontiguousarray(point))
        return digest.hexdigest()[:32]

    def _predictions(self, values, kind, split, where):
        log_probs = checks.log_probs_of(values, kind, where=where, trust=self.trust)
        if self.smoothing:
            log_probs += np.float32(np.log1p(-self.smoothing))
            log_probs = np.logaddexp(log_probs, np.float32(np.log(self.smoothing / log_probs.shape[2])))
        if not self.trust:
            refuse_exchanged(log_probs, self.labels[split], where, self.classes)
        return log_probs

    def _scores(self, log_probs, labels, split, where, steps):
        of_truth = log_probs[:, np.arange(len(labels)), labels]
        wrong = np.argwhere(np.isneginf(of_truth))
        if len(wrong):
            point, sample = wrong[0]
            raise ValueError(
                f"{where}: at step {steps[point]}, sample {sample} has probability 0 for its true class ({len(wrong)} "
                "such predictions), so it is infinitely far from truth: mix all predictions with a little ignorance "
                "(smoothing=0.001, --smoothing 0.001), or let the learner count more softly"
            )
        errors = [float(np.mean(point.argmax(axis=1) != labels)) for point in log_probs]
        losses = [float(-np.mean(point, dtype=np.float64)) for point in of_truth]
        return {f"loss_{split}": losses, f"error_{split}": errors}

    def _check_scores(self, points, recorded, split, where):
        """A recorder has seen the true classes, too: with others the same predictions would have other errors."""
        found, seen = points[f"error_{split}"], recorded.get(f"error_{split}")
        if seen is not None and not self.smoothing and not np.allclose(found, seen[: len(found)], atol=1e-6):
            raise ValueError(
                f"{where}: with these labels its last error is {found[-1]:.3f}, and it was {seen[-1]:.3f} when it was "
                "recorded: give the labels of its samples, in their order (`recorder.labels`)"
            )


def _times(row, n, where):
    """(steps, epochs) of n checkpoints, from the lists of a row or by counting."""
    given = {key: row.get(key) for key in CHECKPOINTS}
    lists = {key: listed(value) if isinstance(value, (*NESTED, str)) else None for key, value in given.items()}
    for key, values in lists.items():
        if values is not None and len(values) != n:
            raise ValueError(f"{where}: {len(values)} {key} for {n} checkpoints")
    epochs = None if lists["epochs"] is None else [float(epoch) for epoch in lists["epochs"]]
    if lists["steps"] is None and epochs is not None and all(epoch.is_integer() for epoch in epochs):
        lists["steps"] = epochs
    steps = checks.check_steps(range(n) if lists["steps"] is None else lists["steps"], where)
    return steps, [float(step) for step in steps] if epochs is None else epochs
