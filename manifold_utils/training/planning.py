"""The dry run: how many runs, parameters, points, bytes and minutes a profile's grids will take, before anything
starts.

Sizes come from the profile alone, so that a plan needs no data set; those of an image folder from its files, if it is
there. Minutes are estimated from a few measured
training steps and evaluations of each network on this machine, on random inputs of the right shape, one thread a
worker. It trains and stores nothing.
"""

import time
from dataclasses import dataclass
from functools import cache

import pandas as pd
import torch
import torch.nn.functional as F

from manifold_utils.datasets import IMAGE_SIZE
from manifold_utils.datasets.readers import folder_sizes
from manifold_utils.files import data_root, in_words, size_in_words
from manifold_utils.networks import make_network, n_parameters
from manifold_utils.training.run import Optimizer
from manifold_utils.training.schedule import checkpoint_steps
from manifold_utils.workers import n_cores

PROBE_SAMPLES = 32  # a step is measured on at most this many samples, and taken to be proportional beyond
PROBE_STEPS = 3
BYTES = 4  # float32
COMMON_SIZES = {  # (train samples, test samples, input shape, classes) where the profile asks for all of them
    "fashion": (60_000, 10_000, (1, 28, 28), 10),
    "cifar10": (50_000, 10_000, (3, 32, 32), 10),
    "sloppy": (5_000, 1_000, (200,), 5),
    "imagefolder": (1_281_167, 50_000, (3, IMAGE_SIZE, IMAGE_SIZE), 1000),  # ImageNet's, for a folder that is not there
}
N_DIGITS = 1797


@dataclass(frozen=True)
class Plan:
    """`table` has a row a grid and a row `total`; `note` says how the minutes were estimated."""

    table: pd.DataFrame
    note: str

    def in_words(self):
        """The table with sizes and times in the units that fit, as a DataFrame of texts."""
        table = self.table.astype(object)
        for name in ("runs", "architectures", "parameters", "points"):
            table[name] = [f"{n:,}" for n in self.table[name]]
        table["predictions"] = [size_in_words(1e9 * n) for n in table.pop("gigabytes")]
        if "minutes" in table:
            table["time"] = [in_words(60 * n) for n in table.pop("minutes")]
        return table

    def __repr__(self):
        return f"{self.in_words().to_string()}\n{self.note}"


def plan(profile, *, measure=True, n_workers=None, data_dir=""):
    """What training the whole profile takes.

    Parameters
    ----------
    profile : Profile
    measure : bool
        Estimate minutes from a few measured steps of each network (seconds; a minute for the paper's); else leave
        them out.
    n_workers : int, optional
        Workers to divide the time by; by default one a core.
    data_dir : str
        Folder of the data sets, as in `load_dataset`: pictures and classes of an image folder are counted there.

    Returns
    -------
    Plan
        Columns: runs, architectures, parameters (of all runs together), points, gigabytes (predictions before
        compression), minutes.

    Examples
    --------
    >>> from manifold_utils.profiles import Profile
    >>> int(plan(Profile.load("paper"), measure=False).table.runs["total"]) >= 2880
    True
    """
    n_workers = n_workers or n_cores()
    seconds = _Stopwatch(data_dir) if measure else None
    rows = {}
    for grid in profile.grids:
        configs = [config for _, config in profile.configs(grid)]
        rows[grid] = {
            "runs": len(configs),
            "architectures": len({c.architecture for c in configs}),
            "parameters": sum(_n_parameters(c.architecture, c.scale, *shape_of(c.dataset, data_dir)) for c in configs),
            "points": sum(n_points(c, data_dir) for c in configs),
            "gigabytes": sum(n_bytes(c, data_dir) for c in configs) / 1e9,
        }
        if measure:
            rows[grid]["minutes"] = sum(seconds.of(c) for c in configs) / 60 / n_workers
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.loc["total"] = table.sum()
    table.loc["total", "architectures"] = len({c.architecture for _, c in profile.configs()})
    whole = {name: int for name in ("runs", "architectures", "parameters", "points")}
    note = (
        f"time: from {PROBE_STEPS} measured steps of each network on this CPU, one thread, over {n_workers} workers"
        if measure
        else "time: not measured"
    )
    absent = {c.dataset.folder or c.dataset.name for _, c in profile.configs() if _counted(c.dataset, data_dir) is None}
    if absent:
        note += f"\nno images in {', '.join(sorted(absent))} below {data_root(data_dir)}: counted as ImageNet's"
    return Plan(table.astype(whole), note)


def _counted(dataset, data_dir):
    """(n_train, n_test, input shape, n_classes) where all samples are asked for; None for images that are not there."""
    if dataset.name != "imagefolder":
        return COMMON_SIZES.get(dataset.name, (N_DIGITS, N_DIGITS, (1, 8, 8), 10))
    found = folder_sizes(data_root(data_dir) / (dataset.folder or dataset.name))
    return None if found is None else (*found[:2], COMMON_SIZES["imagefolder"][2], found[2])


def sizes_of(dataset, data_dir=""):
    """(n_train, n_test) of a DatasetConfig, without loading it; an image folder that is not there counts as ImageNet.

    Examples
    --------
    >>> from manifold_utils.profiles import DatasetConfig
    >>> sizes_of(DatasetConfig(name="digits", n_train=1000))
    (1000, 797)
    """
    if dataset.name == "digits":
        return dataset.n_train, dataset.n_test or N_DIGITS - dataset.n_train
    n_train, n_test, *_ = _counted(dataset, data_dir) or COMMON_SIZES["imagefolder"]
    return dataset.n_train or n_train, dataset.n_test or n_test


def shape_of(dataset, data_dir=""):
    """(input shape, n_classes) of a DatasetConfig, without loading it."""
    _, _, shape, n_classes = _counted(dataset, data_dir) or COMMON_SIZES["imagefolder"]
    if dataset.name == "imagefolder" and dataset.image_size:
        shape = (3, dataset.image_size, dataset.image_size)
    if dataset.side:
        shape = (shape[0], dataset.side, dataset.side)
    return shape, n_classes


def n_points(config, data_dir=""):
    """Checkpoints of one run, pretraining included."""
    n_train = sizes_of(config.dataset, data_dir)[0]
    points = len(checkpoint_steps(config.epochs, max(1, n_train // config.batch_size)))
    if config.pretrain_epochs and config.initialisation.startswith(("random", "subset")):
        points += (
            len(checkpoint_steps(config.pretrain_epochs, pretraining(config, n_train)[1])) - 1
        )  # the last is main's first
    return points


def n_bytes(config, data_dir=""):
    """Bytes of one run's predictions before compression."""
    n_train, n_test = sizes_of(config.dataset, data_dir)
    recorded = -(-n_train // config.dataset.record_every) + n_test
    return BYTES * n_points(config, data_dir) * recorded * shape_of(config.dataset, data_dir)[1]


def pretraining(config, n_train):
    """(samples, batches an epoch) of the phase before the main one: all samples, or a small subset."""
    n = int(config.initialisation.removeprefix("subset_")) if config.initialisation.startswith("subset") else n_train
    return n, max(1, n // config.batch_size)


class _Stopwatch:
    """Seconds of a run, from a few steps of its network; each network is measured once."""

    def __init__(self, data_dir=""):
        self.measured, self.data_dir = {}, data_dir

    def of(self, config):
        n_train, n_test = sizes_of(config.dataset, self.data_dir)
        recorded = -(-n_train // config.dataset.record_every) + n_test
        step, evaluation = self._probe(config)
        n_steps = config.epochs * max(1, n_train // config.batch_size)
        if config.pretrain_epochs:
            n_steps += config.pretrain_epochs * pretraining(config, n_train)[1]
        return n_steps * step(config.batch_size) + n_points(config, self.data_dir) * recorded * evaluation

    def _probe(self, config):
        """(seconds of a step as a function of the batch size, seconds to evaluate one sample)."""
        shape, n_classes = shape_of(config.dataset, self.data_dir)
        key = (
            config.architecture,
            config.scale,
            shape,
            n_classes,
            config.optimizer,
            min(config.batch_size, PROBE_SAMPLES),
        )
        if key not in self.measured:
            self.measured[key] = _measure(config, shape, n_classes, key[-1])
        per_step, evaluation = self.measured[key]
        return lambda batch: per_step * max(1.0, batch / key[-1]), evaluation


def _measure(config, shape, n_classes, batch):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            network = make_network(config.architecture, shape, n_classes, config.scale)
        if len(shape) == 3:
            network = network.to(memory_format=torch.channels_last)
        optimizer = Optimizer(network, config.optimizer)
        x, y = torch.randn(max(2, batch), *shape), torch.zeros(max(2, batch), dtype=torch.long)

        def step():
            optimizer.zero_grad()
            F.cross_entropy(network(x), y).backward()
            optimizer.step(config.learning_rate)

        def evaluate():
            with torch.inference_mode():
                network(x)

        seconds_step = _seconds(step)
        network.eval()
        return seconds_step, _seconds(evaluate) / len(x)
    finally:
        torch.set_num_threads(threads)


def _seconds(call):
    """Shortest of a few repeats; a call above a second is not repeated."""
    times = []
    for _repeat in range(1 + PROBE_STEPS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
        if times[-1] > 1:
            break
    return min(times)


@cache
def _n_parameters(architecture, scale, shape, n_classes):
    with torch.random.fork_rng(devices=[]):  # a plan must not change what is drawn after it
        return n_parameters(make_network(architecture, shape, n_classes, scale))
