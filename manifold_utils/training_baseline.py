"""The usual training loop, re-implemented honestly for comparison (chapter 90): DataLoaders with per-sample transforms.

The same networks, optimisers, schedule, checkpoints and records as `training.train_run`, written as most public
code is: a Dataset whose items are transformed one by one, torch.optim with a scheduler stepped each batch,
evaluation through a second DataLoader. Equal in distribution, not bit by bit. Ordinary starts only; use it for
nothing but measuring.
"""

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from manifold_utils.augmentation import padding_of
from manifold_utils.networks import n_parameters
from manifold_utils.optimizers import MOMENTUM
from manifold_utils.records import SPLITS, RunRecord
from manifold_utils.training import Recorder, checkpoint_steps, start_network

EVALUATION_BATCH = 256


class TransformedSamples(torch.utils.data.Dataset):
    """One sample at a time: to float, perhaps pad, crop and flip, then normalise, as torchvision's transforms do."""

    def __init__(self, data, split, augment=False):
        self.x, self.y = {"train": (data.x_train, data.y_train), "test": (data.x_test, data.y_test)}[split]
        self.flip, self.augment = data.flip, augment
        self.mean, self.std = (torch.tensor(v).view(-1, *[1] * (self.x.ndim - 2)) for v in (data.mean, data.std))

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        x = self.x[index].float()
        if self.augment:
            padding = padding_of(x.shape[-1])
            top, left = torch.randint(0, 2 * padding + 1, (2,)).tolist()
            x = F.pad(x, (padding,) * 4)[:, top : top + self.x.shape[-2], left : left + self.x.shape[-1]]
            if self.flip and torch.rand(()) < 0.5:
                x = x.flip(-1)
        return (x - self.mean) / self.std, int(self.y[index])


def train_run_usual(config, dataset):
    """Train one run the usual way, on the CPU.

    Parameters
    ----------
    config : RunConfig with the initialisation "ordinary" and no label noise
    dataset : Dataset

    Returns
    -------
    RunRecord, as `training.train_run`'s; divergence is not looked for.

    Raises
    ------
    ValueError
        For other starts or label noise: the comparison is of the ordinary loop.
    """
    if config.initialisation != "ordinary" or config.label_noise or config.warmup_epochs:
        raise ValueError(
            f"run {config.run_id}: the usual loop is written for ordinary starts, true labels and no warm-up"
        )
    started = time.perf_counter()
    network = start_network(config, dataset).to(memory_format=torch.contiguous_format)
    order = torch.Generator().manual_seed(config.seed)
    train = DataLoader(
        TransformedSamples(dataset, "train", config.augmentation == "simple"),
        config.batch_size,
        shuffle=True,
        drop_last=True,
        generator=order,
    )
    optimizer = _optimizer(network, config)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs * len(train))
    checkpoints = set(checkpoint_steps(config.epochs, len(train)))
    recorder, step = UsualRecorder(dataset), 0
    for _ in range(config.epochs):
        for x, y in train:
            if step in checkpoints:
                recorder.record(network, step, len(train))
            optimizer.zero_grad()
            loss = F.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            step += 1
    recorder.record(network, step, len(train))
    info = {"n_parameters": n_parameters(network), "device": "cpu", "torch": torch.__version__, "diverged_step": None}
    return RunRecord(config, "finished", recorder.points(), recorder.log_probs(), time.perf_counter() - started, info)


def _optimizer(network, config):
    settings = dict(lr=config.learning_rate, weight_decay=config.weight_decay)
    if config.optimizer.startswith("adam"):
        return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer](
            network.parameters(), **settings
        )
    nesterov = config.optimizer == "nesterov"
    return torch.optim.SGD(network.parameters(), momentum=MOMENTUM if nesterov else 0.0, nesterov=nesterov, **settings)


class UsualRecorder(Recorder):
    """Evaluates through DataLoaders; bookkeeping as in `training.Recorder`."""

    def __init__(self, data):
        super().__init__(data, torch.device("cpu"))
        self.loaders = {
            split: DataLoader(
                torch.utils.data.Subset(TransformedSamples(data, split), self.index[split].tolist()), EVALUATION_BATCH
            )
            for split in SPLITS
        }

    def record(self, network, step, n_batches):
        network.eval()
        with torch.no_grad():
            found = {
                s: np.concatenate([F.log_softmax(network(x), 1).numpy() for x, _ in self.loaders[s]]) for s in SPLITS
            }
        network.train()
        self.add(found, step, step / n_batches, "main")


def train_only(config):
    """Train a run on a worker as `grid.train_one` does, but store nothing: for timing. Returns its status."""
    import torch

    from manifold_utils.grid import cached_dataset
    from manifold_utils.parallel import keep_memory
    from manifold_utils.training import train_run

    torch.set_num_threads(1)
    keep_memory()
    return train_run(config, cached_dataset(config.dataset, "")).status
