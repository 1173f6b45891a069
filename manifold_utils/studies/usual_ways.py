"""The usual ways, written as one would write them first, for comparison (chapter 90): all-pairs d_B, a training loop.

`usual_pairwise` multiplies batches of samples and takes the log of every entry (PAPER.md section 1), both halves of
the matrix, in the dtype of the input, clamped as public code does. `train_run_usual` trains the networks of
`training.train_run` with a Dataset whose items are transformed one by one, torch.optim with a scheduler stepped each
batch, and evaluation through a second DataLoader; equal in distribution, not bit by bit. Use them for nothing else.
"""

import time

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch.utils.data import DataLoader

from manifold_utils.atlas.records import SPLITS
from manifold_utils.datasets import load_dataset, padding_of
from manifold_utils.networks import n_parameters
from manifold_utils.profiles import DatasetConfig, RunConfig
from manifold_utils.recording import Recorder
from manifold_utils.training import MOMENTUM, checkpoint_steps, start_network, train_run
from manifold_utils.training.grid import cached_dataset
from manifold_utils.workers import keep_memory

USUAL_CAP = 100.0  # nats: what public code puts in place of an infinite term
CHUNKS = (1, 2, 5, 10, 25, 50, 100)  # samples a chunk that `best_chunk` tries
TRIAL_SAMPLES = 100  # samples that a trial reads at most
EVALUATION_BATCH = 256


def usual_pairwise(log_probs, chunk=10, kept=None):
    """d_B among all points: a batched product and a log for every entry, `chunk` samples at a time.

    Parameters
    ----------
    log_probs : (m, N, C) ndarray or tensor (on any device), float32 or float64, natural logs
    chunk : int
    kept : dict, optional
        Holds the work arrays from call to call: without page faults the same arithmetic is up to twice as fast.

    Returns
    -------
    (m, m) ndarray of the same dtype (of a tensor: a tensor). Each sample's term lies in [0, USUAL_CAP]: where
    coefficients underflow or the supports are disjoint, USUAL_CAP; the diagonal is zero up to rounding.

    Examples
    --------
    >>> import numpy as np
    >>> bool(np.isclose(usual_pairwise(np.log([[[0.5, 0.5]], [[1.0, 1e-30]]]))[0, 1], np.log(2) / 2))
    True
    """
    root = torch.exp(torch.as_tensor(log_probs) / 2).transpose(0, 1).contiguous()  # (N, m, C)
    m = root.shape[1]
    total = torch.zeros(m, m, dtype=root.dtype, device=root.device)
    if kept is not None and "products" not in kept:
        kept |= {"products": total.new_empty(chunk, m, m), "sum": torch.empty_like(total)}
    for part in root.split(chunk):
        out = None if kept is None else kept["products"][: len(part)]
        coefficients = torch.bmm(part, part.transpose(1, 2), out=out)
        terms = coefficients.log_().neg_().clamp_(0, USUAL_CAP)
        total += terms.sum(dim=0) if kept is None else torch.sum(terms, dim=0, out=kept["sum"])
    mean = total / len(root)
    return mean if isinstance(log_probs, torch.Tensor) else mean.numpy()


def best_chunk(log_probs, candidates=CHUNKS):
    """The chunk with which `usual_pairwise` is fastest here: measured on the first samples, the better of two runs."""
    part = np.ascontiguousarray(log_probs[:, :TRIAL_SAMPLES])
    seconds = {chunk: [] for chunk in candidates if chunk <= part.shape[1]}
    for _ in range(2):
        for chunk, found in seconds.items():
            start = time.perf_counter()
            usual_pairwise(part, chunk)
            found.append(time.perf_counter() - start)
    return min(seconds, key=lambda chunk: min(seconds[chunk]))


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
    recorder, step = UsualRecorder(dataset, config.run_id), 0
    for _ in range(config.epochs):
        for x, y in train:
            if step in checkpoints:
                recorder.record(network, step, step / len(train))
            optimizer.zero_grad()
            loss = F.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            step += 1
    recorder.record(network, step, step / len(train))
    info = {"n_parameters": n_parameters(network), "device": "cpu", "torch": torch.__version__, "diverged_step": None}
    return recorder.run(seconds=time.perf_counter() - started, info=info)


def _optimizer(network, config):
    settings = dict(lr=config.learning_rate, weight_decay=config.weight_decay)
    if config.optimizer.startswith("adam"):
        return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer](
            network.parameters(), **settings
        )
    nesterov = config.optimizer == "nesterov"
    return torch.optim.SGD(network.parameters(), momentum=MOMENTUM if nesterov else 0.0, nesterov=nesterov, **settings)


class UsualRecorder(Recorder):
    """Evaluates through DataLoaders; the bookkeeping is `recording.Recorder`'s."""

    def __init__(self, data, name):
        super().__init__(data, name)
        kept = {split: data.recorded(split).tolist() for split in SPLITS}
        self.loaders = {
            split: DataLoader(torch.utils.data.Subset(TransformedSamples(data, split), kept[split]), EVALUATION_BATCH)
            for split in SPLITS
        }

    def _predict(self, model, split, step):
        with torch.no_grad():
            return np.concatenate([F.log_softmax(model(x), 1).numpy() for x, _ in self.loaders[split]])


def usual_progress(log_probs, labels):
    """Progress by a scalar minimiser, point by point; the objective needs three numbers a sample.

    Parameters
    ----------
    log_probs : ndarray of shape (n_points, n_samples, n_classes), natural logs
    labels : ndarray of shape (n_samples,), int

    Returns
    -------
    ndarray of shape (n_points,), float64
        As `geometry.progress`, to 1e-6.
    """
    root_c = np.sqrt(log_probs.shape[2])
    right_angle, every = np.arccos(1 / root_c), np.arange(len(labels))
    options = {"bounds": (0, 1), "method": "bounded", "options": {"xatol": 1e-6}}
    found = []
    for point in log_probs:
        root = np.exp(point.astype(float) / 2)
        own, mean = root[every, labels], root.sum(axis=1) / root_c

        def angle(s, own=own, mean=mean):
            sines = np.sin((1 - s) * right_angle) * mean + np.sin(s * right_angle) * own
            return np.arccos(np.minimum(sines / np.sin(right_angle), 1)).mean()

        found.append(minimize_scalar(angle, **options).x)
    return np.array(found)


def digit_runs(quick, *, n_seeds=1, augmentations=("none",), architectures=("fc", "allcnn")):
    """A few small runs on the digits to time a training loop on: (Dataset, list of RunConfig)."""
    n_train, n_test, epochs = (200, 100, 2) if quick else (1000, 500, 4)
    digits = DatasetConfig(name="digits", n_train=n_train, n_test=n_test)
    setting = {"dataset": digits, "scale": 0.25, "batch_size": 50, "epochs": epochs}
    product = [(s, g, a) for s in range(n_seeds) for g in augmentations for a in architectures]
    runs = [RunConfig(seed=s, augmentation=g, architecture=a, **setting) for s, g, a in product]
    return load_dataset(digits), runs


def train_all_usual(configs, dataset):
    """Train runs one after another, the usual way."""
    return [train_run_usual(config, dataset) for config in configs]


def train_all_on(client, configs):
    """Train runs on the workers of a Dask client, side by side."""
    return client.gather(client.map(train_only, configs, pure=False))


def warm_up(client, config):
    """Train one run on each worker of a Dask client, so that all have loaded their data."""
    tasks = [client.submit(train_only, config, workers=[worker], pure=False) for worker in client.nthreads()]
    client.gather(tasks)


def train_only(config):
    """Train a run on a worker as `training.grid.train_one` does, but store nothing: for timing. Returns its status."""
    torch.set_num_threads(1)
    keep_memory()
    return train_run(config, cached_dataset(config.dataset, "")).status
