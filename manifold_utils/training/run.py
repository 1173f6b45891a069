"""One run: a RunConfig and a Dataset in, the predictions at its checkpoints out (PAPER.md section 2).

Data on the device as tensors, batched augmentation, cosine schedule stepped each batch, checkpoints by the paper's
schedule, the starts of PAPER.md's initialisation experiments, and divergence as a result rather than a crash. Read
it from `train_run` down. Predictions are taken by `recording`; it runs no grid (see `grid`) and stores nothing.
"""

import math
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from manifold_utils.datasets import balanced_subset
from manifold_utils.networks import make_network, n_parameters
from manifold_utils.recording import Diverged, Recorder
from manifold_utils.training.schedule import checkpoint_steps, learning_rate_at

OFFSET_SEED = 20240  # offset_<k> is the same shift for every run of one architecture and scale
STUDENT_OFFSET = 1.0  # N(0, 1) on every weight of a student (PAPER.md)
_RANDOM_STATE = threading.Lock()
OFFSET_GAIN = 2.0  # elsewhere N(0, gain^2 / fan-in): as far from the start at any width
MOMENTUM = 0.9  # of "nesterov"
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of adam and adamw: torch's defaults


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
    recorder = Recorder(data, config.run_id, factors=config.model_dump(mode="json"), kind="logits")
    diverged = None
    for phase in phases(config, data, generator):
        diverged = fit(network, data, phase, config, generator, recorder)
        if diverged is not None:
            break
    info = {
        "n_parameters": n_parameters(network),
        "device": device.type,
        "torch": torch.__version__,
        "n_batches": phase.n_batches,
        "diverged_step": diverged,
        "fitted_error": recorder.error_against(phase.labels),
    }
    status = "finished" if diverged is None else "diverged"
    return recorder.run(status=status, seconds=time.perf_counter() - started, info=info)


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

    def order(self, generator):
        """Samples of one epoch, shuffled: whole batches only."""
        shuffled = torch.randperm(len(self.index), generator=generator)
        return self.index[shuffled][: self.n_batches * self.batch_size]

    def record(self, recorder, network, step):
        """Record a checkpoint; the steps of a phase before the main one count up to 0. Diverged names the own step."""
        shift = 0 if self.name == "main" else self.n_steps
        try:
            recorder.record(network, step - shift, (step - shift) / self.n_batches, self.name)
        except Diverged as error:
            raise Diverged(str(error), step) from error


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
    # when to record, and how fast to learn at each step
    optimizer = Optimizer(network, config.optimizer, config.weight_decay)
    checkpoints = set(checkpoint_steps(phase.epochs, phase.n_batches))
    n_warmup = config.warmup_epochs * phase.n_batches if phase.name == "main" else 0
    augment = generator if config.augmentation == "simple" else None
    losses, step = LossWatch(), 0
    network.train()
    try:
        for _ in range(phase.epochs):
            for inputs, index in data.batches("train", phase.order(generator), phase.batch_size, augment):
                # a checkpoint is the network before this batch, on un-augmented samples
                if step in checkpoints:
                    losses.check()
                    phase.record(recorder, network, step)
                # one step: forward, gradients, update with the scheduled rate
                with _precision(inputs.device):
                    loss = F.cross_entropy(network(inputs), phase.labels[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step(learning_rate_at(step, phase.n_steps, config.learning_rate, n_warmup))
                losses.append(loss.detach())
                step += 1
            losses.check()
        # the last checkpoint is the trained network; the end of pretraining is step 0 of main
        if phase.name == "main":
            phase.record(recorder, network, step)
    except Diverged as error:
        return error.step
    return None


class LossWatch:
    """Collects losses on the device and looks at them seldom, so that a GPU need not wait for each step."""

    def __init__(self):
        self.n_seen, self.pending = 0, []

    def append(self, loss):
        self.pending.append(loss)

    def check(self):
        """Raise `Diverged` with the first step (from 0) whose loss was not finite."""
        if self.pending:
            wrong = (~torch.stack(self.pending).isfinite()).nonzero()
            if len(wrong):
                step = self.n_seen + int(wrong[0])
                raise Diverged(f"the loss of step {step} is not finite", step)
            self.n_seen += len(self.pending)
            self.pending.clear()


def _precision(device):
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


class Optimizer:
    """Update a network's parameters from their gradients.

    Parameters
    ----------
    network : torch.nn.Module
        On its final device: the state lives beside the parameters.
    name : {"sgd", "nesterov", "adam", "adamw"}
    weight_decay : float
        Factor of the parameters added to the gradient; for adamw, times the learning rate, taken off the parameters.

    Examples
    --------
    >>> layer = torch.nn.Linear(2, 1)
    >>> optimizer = Optimizer(layer, "sgd")
    >>> layer(torch.ones(1, 2)).sum().backward()
    >>> optimizer.step(0.1)
    """

    def __init__(self, network, name, weight_decay=0.0):
        if name not in ("sgd", "nesterov", "adam", "adamw"):
            raise ValueError(f"unknown optimizer {name!r}; known: sgd, nesterov, adam, adamw")
        self.name, self.weight_decay = name, weight_decay
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.buffers = [None] * len(self.parameters)
        if name.startswith("adam"):
            self.means, self.squares = ([torch.zeros_like(p) for p in self.parameters] for _ in range(2))
            self.counts = [torch.zeros((), device=p.device) for p in self.parameters]

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self, learning_rate):
        """One update with this learning rate, in place."""
        gradients = [p.grad for p in self.parameters]
        common = dict(lr=learning_rate, weight_decay=self.weight_decay, maximize=False, fused=True)
        if self.name.startswith("adam"):
            state = (self.means, self.squares, [], self.counts)
            settings = dict(amsgrad=False, beta1=BETAS[0], beta2=BETAS[1], eps=EPSILON)
            adam(self.parameters, gradients, *state, decoupled_weight_decay=self.name == "adamw", **settings, **common)
        else:
            nesterov = self.name == "nesterov"
            momentum = MOMENTUM if nesterov else 0.0
            sgd(self.parameters, gradients, self.buffers, dampening=0.0, momentum=momentum, nesterov=nesterov, **common)


def fitted_labels(config, data):
    """The labels of the recorded train samples that a run was fitted to; with label noise, not the true ones.

    Parameters
    ----------
    config : RunConfig
    data : Dataset

    Returns
    -------
    ndarray of shape (n_samples,), int64
        Redrawn as `training.train_run` draws them, from the run's seed.

    Examples
    --------
    >>> from manifold_utils.datasets import load_dataset
    >>> from manifold_utils.profiles import DatasetConfig, RunConfig
    >>> digits = DatasetConfig(name="digits", n_train=100, n_test=50)
    >>> data = load_dataset(digits)
    >>> config = RunConfig(dataset=digits, architecture="fc", epochs=1)
    >>> bool(np.array_equal(fitted_labels(config, data), data.y_train))
    True
    """
    main = phases(config, data, torch.Generator().manual_seed(config.seed))[-1]
    return main.labels.cpu()[data.recorded("train")].numpy()
