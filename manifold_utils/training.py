"""One run: a RunConfig and a Dataset in, the predictions at its checkpoints out (PAPER.md section 2).

Data on the device as tensors, batched augmentation, cosine schedule stepped each batch, checkpoints by the paper's
schedule, the starts of PAPER.md's initialisation experiments, and divergence as a result rather than a crash. Read
it from `train_run` down. It runs no grid (see `grid`) and stores nothing (see `atlas`).
"""

import math
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from manifold_utils.datasets import balanced_subset
from manifold_utils.networks import make_network, n_parameters
from manifold_utils.optimizers import Optimizer
from manifold_utils.recorder import scores
from manifold_utils.records import POINT_COLUMNS, SPLITS, RunRecord

PAPER_EPOCHS = 200
THINNING = 0.4  # checkpoints of a short run: 67 (epochs / 200)^0.4
MIN_CHECKPOINTS = 6  # of a short run
EVALUATION_BATCH = {"cpu": 250, "cuda": 2000}  # what fits the caches, and what fills a card
OFFSET_SEED = 20240  # offset_<k> is the same shift for every run of one architecture and scale
STUDENT_OFFSET = 1.0  # N(0, 1) on every weight of a student (PAPER.md)
_RANDOM_STATE = threading.Lock()
OFFSET_GAIN = 2.0  # elsewhere N(0, gain^2 / fan-in): as far from the start at any width


def train_run(config, dataset, *, device="cpu"):
    """Train one network and record its predictions at the checkpoints.

    Parameters
    ----------
    config : RunConfig
    dataset : Dataset
    device : str or torch.device
        A GPU trains in bfloat16 mixed precision; predictions are always evaluated in float32.

    Returns
    -------
    RunRecord
        status "diverged" if a loss or a prediction became infinite or NaN: then info["diverged_step"] is the step,
        and only the finite checkpoints before it are kept. Losses (nats) and errors are those of the recorded
        predictions on the true labels, whatever the network was fitted to. Steps of phase "pretrain" are negative
        and count up to the start of "main".

    Notes
    -----
    The same seed on the same machine with the same number of threads gives bit-equal predictions on a CPU.

    Examples
    --------
    >>> from manifold_utils.datasets import load_dataset
    >>> from manifold_utils.profiles import DatasetConfig, RunConfig
    >>> digits = DatasetConfig(name="digits", n_train=100, n_test=50)
    >>> config = RunConfig(dataset=digits, architecture="fc", scale=0.0625, epochs=2, batch_size=20)
    >>> record = train_run(config, load_dataset(digits))
    >>> record.status, record.log_probs["test"].shape[1:]
    ('finished', (50, 10))
    """
    started = time.perf_counter()
    if config.augmentation != "none" and len(dataset.input_shape) != 3:
        raise ValueError(
            f"run {config.run_id}: augmentation {config.augmentation!r} needs images, not {dataset.name}: set none"
        )
    device = torch.device(device)
    data = dataset.to(device)
    generator = torch.Generator().manual_seed(config.seed)
    network = start_network(config, data).to(device)
    recorder = Recorder(data, device)
    diverged = None
    for phase in phases(config, data, generator):
        diverged = fit(network, data, phase, config, generator, recorder)
        if diverged is not None:
            break
    info = {
        "n_parameters": n_parameters(network),
        "device": device.type,
        "torch": torch.__version__,
        "data": dataset.fingerprint,
        "n_batches": phase.n_batches,
        "diverged_step": diverged,
        "fitted_error": recorder.error_against(phase.labels),
    }
    status = "finished" if diverged is None else "diverged"
    return RunRecord(config, status, recorder.points(), recorder.log_probs(), time.perf_counter() - started, info)


def checkpoint_steps(epochs, n_batches):
    """Steps (batches done) at which predictions are recorded: the paper's schedule, scaled for fewer than 200 epochs.

    From 200 epochs on (PAPER.md section 2; e and i count from 0): step 0; for e < 5 after batches i with i %
    (n_batches // 4) = 0; each epoch's end for 5 <= e <= 25; every 4th epoch up to 65; then every 15th; and the
    last. That is 67 checkpoints for 250 or 50 batches an epoch, 62 for 100. Below 200 epochs the same schedule is
    shrunk in time and thinned with its power 0.4: 27 checkpoints for 20 epochs, still dense early.

    Parameters
    ----------
    epochs, n_batches : int, at least 1

    Returns
    -------
    list of int, strictly increasing, from 0 to epochs * n_batches

    Examples
    --------
    >>> len(checkpoint_steps(200, 250)), len(checkpoint_steps(200, 100)), checkpoint_steps(3, 4)[-1]
    (67, 62, 12)
    """
    if epochs >= PAPER_EPOCHS:
        return _paper_schedule(epochs, n_batches)
    full, last = np.array(_paper_schedule(PAPER_EPOCHS, n_batches)), epochs * n_batches
    n = max(MIN_CHECKPOINTS, round(len(full) * (epochs / PAPER_EPOCHS) ** THINNING))
    n = min(n, last + 1)
    steps = np.round(full[np.round(np.linspace(0, len(full) - 1, n)).astype(int)] * (epochs / PAPER_EPOCHS)).astype(int)
    rank = np.arange(n)
    steps = np.maximum.accumulate(steps - rank) + rank  # no two alike: later ones move up
    return np.minimum(steps, last - rank[::-1]).tolist()  # and none beyond the end


def _paper_schedule(epochs, n_batches):
    quarter = max(1, n_batches // 4)
    steps = {0, epochs * n_batches}
    for e in range(epochs):
        if e < 5:
            steps |= {e * n_batches + i + 1 for i in range(0, n_batches, quarter)}
        elif e <= 25 or (e % 4 == 0 if e <= 65 else e % 15 == 0):
            steps.add((e + 1) * n_batches)
    return sorted(steps)


def learning_rate_at(step, n_steps, peak, n_warmup=0):
    """Learning rate of a step (from 0): linear to `peak` over `n_warmup` steps, then a half cosine to 0."""
    if step < n_warmup:
        return peak * (step + 1) / n_warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / (n_steps - n_warmup)))


@dataclass(frozen=True)
class Phase:
    """What is fitted for how long: training samples `index`, `labels` of all training samples, `epochs`."""

    name: str
    index: torch.Tensor
    labels: torch.Tensor
    epochs: int
    batch_size: int

    @property
    def n_batches(self):
        return len(self.index) // self.batch_size  # an epoch drops what does not fill a batch; the next one reshuffles

    @property
    def n_steps(self):
        return self.epochs * self.n_batches


def phases(config, data, generator):
    """The phases of a run: first fitted to random labels or to a small subset if its start says so."""
    labels, kind = data.labels("train"), config.initialisation
    everything = torch.arange(len(labels))
    listed = []
    if kind == "random_labels":
        listed.append(("pretrain", everything, noisy(labels, 1.0, data.n_classes, generator), config.pretrain_epochs))
    elif kind.startswith("subset"):
        n = int(kind.removeprefix("subset_"))
        index = torch.from_numpy(balanced_subset(labels.cpu(), n, config.seed, data.n_classes))
        listed.append(("pretrain", index, labels, config.pretrain_epochs))
    listed.append(("main", everything, noisy(labels, config.label_noise, data.n_classes, generator), config.epochs))
    return [Phase(*parts, min(config.batch_size, len(parts[1]))) for parts in listed]


def noisy(labels, fraction, n_classes, generator):
    """Labels of which a random `fraction` is replaced by uniformly random classes (the true one may come up again)."""
    if fraction == 0:
        return labels
    replaced = torch.rand(len(labels), generator=generator) < fraction
    random = torch.randint(0, n_classes, (len(labels),), generator=generator)
    return torch.where(replaced.to(labels.device), random.to(labels.device), labels)


def start_network(config, data):
    """The untrained network: default initialisation by the run's seed, plus the shared offset of offset_<k>."""
    with _RANDOM_STATE, torch.random.fork_rng(devices=[]):  # torch's layers draw from a state that all threads share
        torch.manual_seed(config.seed)
        network = make_network(config.architecture, data.input_shape, data.n_classes, config.scale)
    if config.initialisation.startswith("offset"):
        shift = torch.Generator().manual_seed(OFFSET_SEED + int(config.initialisation.removeprefix("offset_")))
        for layer in network.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                w = layer.weight.data
                std = (
                    STUDENT_OFFSET
                    if config.architecture.startswith("student")
                    else OFFSET_GAIN / math.sqrt(w[0].numel())
                )
                w += std * torch.randn(w.shape, generator=shift)
    is_image = len(data.input_shape) == 3
    return network.to(memory_format=torch.channels_last) if is_image else network


def fit(network, data, phase, config, generator, recorder):
    """Train through one phase, recording at its checkpoints; returns the step that diverged, or None."""
    optimizer = Optimizer(network, config.optimizer, config.weight_decay)
    checkpoints = set(checkpoint_steps(phase.epochs, phase.n_batches))
    n_warmup = config.warmup_epochs * phase.n_batches if phase.name == "main" else 0
    augment = generator if config.augmentation == "simple" else None
    losses = LossWatch()
    step, record = 0, recorder.in_phase(phase)
    network.train()
    for _ in range(phase.epochs):
        order = phase.index[torch.randperm(len(phase.index), generator=generator)][: phase.n_batches * phase.batch_size]
        for inputs, index in data.batches("train", order, phase.batch_size, augment):
            if step in checkpoints and (losses.bad_step() is not None or not record(network, step)):
                return step if losses.bad_step() is None else losses.bad_step()
            with _precision(inputs.device):
                loss = F.cross_entropy(network(inputs), phase.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step(learning_rate_at(step, phase.n_steps, config.learning_rate, n_warmup))
            losses.append(loss.detach())
            step += 1
        if losses.bad_step() is not None:
            return losses.bad_step()
    return None if phase.name != "main" or record(network, step) else step  # the end of pretraining is step 0 of main


class LossWatch:
    """Collects losses on the device and looks at them seldom, so that a GPU need not wait for each step."""

    def __init__(self):
        self.n_seen, self.pending, self.bad = 0, [], None

    def append(self, loss):
        self.pending.append(loss)

    def bad_step(self):
        """First step (from 0) whose loss was not finite, or None."""
        if self.pending and self.bad is None:
            wrong = (~torch.stack(self.pending).isfinite()).nonzero()
            self.bad = self.n_seen + int(wrong[0]) if len(wrong) else None
            self.n_seen += len(self.pending)
            self.pending.clear()
        return self.bad


def _precision(device):
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


class Recorder:
    """Keeps the predictions of the checkpoints, their losses and errors on the true labels."""

    def __init__(self, data, device):
        self.data, self.batch = data, EVALUATION_BATCH.get(device.type, EVALUATION_BATCH["cpu"])
        self.index = {split: data.recorded(split) for split in SPLITS}
        self.truth = {split: data.labels(split).cpu()[self.index[split]].numpy() for split in SPLITS}
        self.rows, self.values = [], {split: [] for split in SPLITS}

    def in_phase(self, phase):
        """A function (network, step) -> bool that records a checkpoint; False if a prediction was not finite."""
        shift = phase.n_steps if phase.name == "pretrain" else 0

        def record(network, step):
            found = {split: predict(network, self.data, split, self.index[split], self.batch) for split in SPLITS}
            if not all(np.isfinite(values).all() for values in found.values()):
                return False
            self.add(found, step - shift, (step - shift) / phase.n_batches, phase.name)
            return True

        return record

    def add(self, found, step, epoch, phase):
        """Keep one checkpoint: its predictions {split: (n_samples, n_classes)} and their scores."""
        row = {"step": step, "epoch": epoch, "phase": phase}
        for split, values in found.items():
            row |= scores(values, self.truth[split], split)
            self.values[split].append(values)
        self.rows.append(row)

    def points(self):
        return pd.DataFrame(self.rows)[list(POINT_COLUMNS)]

    def log_probs(self):
        return {split: np.stack(values) for split, values in self.values.items()}

    def error_against(self, labels):
        """Error of the last checkpoint on the labels fitted to: with label noise, not the true ones."""
        fitted = labels.cpu()[self.index["train"]].numpy()
        return float(np.mean(self.values["train"][-1].argmax(1) != fitted))


def predict(network, data, split, index, batch_size):
    """Log-probabilities of the samples `index`, in eval mode and float32, un-augmented; the network is left in
    train mode.

    Returns
    -------
    ndarray (len(index), n_classes) float32
    """
    network.eval()
    with torch.inference_mode():
        parts = [F.log_softmax(network(x).float(), dim=1) for x, _ in data.batches(split, index, batch_size)]
    network.train()
    return torch.cat(parts).cpu().numpy()
