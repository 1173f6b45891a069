"""The data sets as tensors, loaded once: digits, Fashion-MNIST, CIFAR-10, streamed image folders, the synthetic
sloppy data.

Images stay uint8 until a batch is normalised. Subsets are class-balanced and seeded. Files are looked for where the
error of a missing data set says (`places`); nothing is downloaded unless asked. Readers of file formats are in
`readers`; the synthetic data follow PAPER.md section 1. It trains nothing.
"""

import hashlib
import math
import os
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from manifold_utils.datasets import readers
from manifold_utils.datasets.augmentation import crop_and_flip, padding_of
from manifold_utils.datasets.pictures import digests
from manifold_utils.files import data_root
from manifold_utils.profiles import POOLED_FROM

IMAGE_SIZE, PICTURES_AT_ONCE = 224, 500  # of streamed folders: pixels a side if none are given; decoded at once
CHUNK_BYTES = 32 * 2**20  # float32 bytes of inputs prepared at once: few operations a batch, little memory
N_DIMENSIONS, N_SLOPPY_CLASSES, N_TEACHER = 200, 5, 50  # the synthetic data of PAPER.md
N_SLOPPY = {"train": 5000, "test": 1000}
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)  # in units of 255, as are the next two lines
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FASHION_MEAN, FASHION_STD = (0.2860,), (0.3530,)
DIGITS_MEAN, DIGITS_STD = 4.884, 6.017  # of pixel values 0 to 16, over all 1,797 digits
DIGITS_CLASSES = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class Dataset:
    """Train and test samples of one prediction space.

    Attributes
    ----------
    name : str
    x_train, x_test : tensor (n, channels, height, width) uint8, or (n, n_features) float32
    y_train, y_test : tensor (n,) int64, classes from 0
    classes : tuple of str
    mean, std : tuple of float, one entry a channel, in the units of x
    flip : bool, whether a mirrored image is still of its class
    fingerprint : str, hash of all samples and labels
    record_every : int, predictions are recorded on every n-th training sample (test: all)
    left_out : tuple of str, how many files of an image folder are not read, and why
    """

    name: str
    x_train: torch.Tensor
    y_train: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor
    classes: tuple
    mean: tuple = (0.0,)
    std: tuple = (1.0,)
    flip: bool = False
    fingerprint: str = ""
    record_every: int = 1
    left_out: tuple = ()

    @property
    def n_classes(self):
        return len(self.classes)

    @property
    def input_shape(self):
        return tuple(self.x_train.shape[1:])

    def recorded(self, split):
        """Indices (n,) of samples whose predictions make a point: every `record_every`-th of train, all of test."""
        step = self.record_every if split == "train" else 1
        return torch.arange(0, len(self.labels(split)), step)

    def images(self, split, index):
        """Raw values of some samples in memory: ndarray (n, *input_shape), uint8 for images.

        Parameters
        ----------
        split : {"train", "test"}
        index : array-like (n,) of int
        """
        return {"train": self.x_train, "test": self.x_test}[split][torch.as_tensor(index)].cpu().numpy()

    def labels(self, split):
        """Classes of all samples of a split, tensor (n,) int64."""
        return {"train": self.y_train, "test": self.y_test}[split]

    def to(self, device):
        """The same data on another device (all tensors move at once)."""
        names = ("x_train", "y_train", "x_test", "y_test")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def normalise(self, x):
        """(x - mean) / std a channel, float32."""
        shape = (1, -1, *[1] * (x.ndim - 2)) if x.ndim == 4 else (1, -1)
        mean, std = (torch.tensor(v, device=x.device).view(shape) for v in (self.mean, self.std))
        return (x.float() - mean) / std

    def batches(self, split, order, batch_size, augment=None):
        """Yield (inputs, indices): normalised float32 batches of the samples `order`, in that order.

        Parameters
        ----------
        split : {"train", "test"}
        order : tensor (n,) int64 of sample indices
        batch_size : int
            The last batch may be smaller. One of a single sample joins the batch before: BatchNorm cannot train on it.
        augment : torch.Generator, optional; crops and flips with its draws, before normalising
        """
        chunk = batch_size * max(1, CHUNK_BYTES // (4 * batch_size * math.prod(self.input_shape)))
        for raw, index in self._chunks(split, order, chunk):
            if augment is not None:
                raw = crop_and_flip(raw, padding_of(min(self.input_shape[1:])), self.flip, augment)
            sizes = _batch_sizes(len(index), batch_size)
            yield from zip(self.normalise(raw).split(sizes), index.split(sizes), strict=True)

    def _chunks(self, split, order, chunk):
        x = {"train": self.x_train, "test": self.x_test}[split]
        for index in order.to(x.device).split(_batch_sizes(len(order), chunk)):
            yield x[index], index


@dataclass(frozen=True)
class StreamedDataset(Dataset):
    """Images that stay on disk: `x_*` are arrays of paths; threads decode each chunk while the one before is used."""

    image_size: int = IMAGE_SIZE
    device: str = "cpu"
    folder: str = ""  # that the paths lie in

    @property
    def input_shape(self):
        return (3, self.image_size, self.image_size)

    def images(self, split, index):
        paths = {"train": self.x_train, "test": self.x_test}[split][np.asarray(index)]
        chunks = [paths[i : i + PICTURES_AT_ONCE] for i in range(0, len(paths), PICTURES_AT_ONCE)]
        return np.concatenate(list(readers.decoded(chunks, self.image_size)))

    def to(self, device):
        moved = {name: getattr(self, name).to(device) for name in ("y_train", "y_test")}
        return replace(self, device=str(device), **moved)

    def _chunks(self, split, order, chunk):
        paths = {"train": self.x_train, "test": self.x_test}[split]
        index = [i.cpu() for i in order.split(_batch_sizes(len(order), chunk))]
        for i, images in zip(index, readers.decoded([paths[i] for i in index], self.image_size), strict=True):
            yield torch.from_numpy(images).to(self.device), i.to(self.device)


def _batch_sizes(n, batch_size):
    """Sizes of consecutive batches of n samples; a single sample at the end joins the batch before it."""
    sizes = [min(batch_size, n - start) for start in range(0, n, batch_size)]
    return [*sizes[:-2], sizes[-2] + 1] if len(sizes) > 1 and sizes[-1] == 1 < batch_size else sizes


def load_dataset(config, data_dir="", *, download=False):
    """Load the data set of a profile.

    Parameters
    ----------
    config : DatasetConfig
    data_dir : str
        Folder of the data sets ("": $MANIFOLD_DATA, or the project's data/). The files are in `config.folder`
        there, or in a folder with the data set's name.
    download : bool
        Let torchvision download Fashion-MNIST or CIFAR-10 into that folder if it is not there.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        Data that are missing, or that lie there with gaps: what was looked for, where, and how to get it.
    ValueError
        More samples asked for than there are (names the class), images of another size, or a damaged file.

    Examples
    --------
    >>> from manifold_utils.profiles import DatasetConfig
    >>> data = load_dataset(DatasetConfig(name="digits", n_train=200, n_test=100))
    >>> data.x_train.shape, data.n_classes
    (torch.Size([200, 1, 8, 8]), 10)
    """
    folder = data_root(data_dir) / (config.folder or config.name)
    data = _LOADERS[config.name](config, folder, download)
    return replace(data, fingerprint=_fingerprint(data), record_every=config.record_every)


def balanced_subset(labels, n, seed, n_classes=None):
    """Indices of `n` samples, as many of each class as of any other (one more in the first n % n_classes), shuffled.

    Parameters
    ----------
    labels : array (n_samples,) of int
    n : int; 0 takes all samples, in their order
    seed : int

    Returns
    -------
    ndarray (n,) int64

    Raises
    ------
    ValueError
        A class has too few samples.

    Examples
    --------
    >>> sorted(np.bincount(np.array([0, 0, 0, 1, 1])[balanced_subset([0, 0, 0, 1, 1], 4, 0)]).tolist())
    [2, 2]
    """
    labels = np.asarray(labels)
    if n == 0:
        return np.arange(len(labels))
    generator = np.random.default_rng(seed)
    n_classes = n_classes or int(labels.max()) + 1
    chosen = []
    for label in range(n_classes):
        members, quota = np.flatnonzero(labels == label), n // n_classes + (label < n % n_classes)
        if len(members) < quota:
            raise ValueError(
                f"{quota} samples of class {label} are asked for, and there are {len(members)}; lower n_train or n_test"
            )
        chosen.append(generator.permutation(members)[:quota])
    return generator.permutation(np.concatenate(chosen))


def _digits(config, folder, download):
    from sklearn.datasets import load_digits

    source = load_digits()
    x, y = source.images.astype(np.uint8)[:, None], source.target.astype(np.int64)
    train, test = _own_split(config, y)
    return _images(
        config, (x[train], y[train]), (x[test], y[test]), DIGITS_CLASSES, (DIGITS_MEAN,), (DIGITS_STD,), flip=False
    )


def _own_split(config, labels):
    """Indices (n_train,) and (n_test,) that share no sample, of a data set that comes without a test split."""
    n = len(labels)
    if config.n_train == 0 or config.n_train >= n:
        raise ValueError(f"the {n} {config.name} have no test split of their own: give n_train between 10 and {n - 10}")
    train = balanced_subset(labels, config.n_train, config.seed)
    rest = np.setdiff1d(np.arange(n), train)
    return train, rest[balanced_subset(labels[rest], config.n_test, config.seed + 1)]


def _subsets(config, train, test, classes):
    """Cut both splits of a data set that comes with a test split; x may be an array of images or of paths."""
    cut = []
    for split, (x, y), n, seed in (
        ("train", train, config.n_train, config.seed),
        ("test", test, config.n_test, config.seed + 1),
    ):
        _check_enough(config.name, split, np.bincount(y, minlength=len(classes)), n, classes)
        index = balanced_subset(y, n, seed, len(classes))
        cut.append((x[index], y[index]))
    return cut


def _check_enough(name, split, counts, n, classes):
    """Refuse a subset that some classes are too small for, with their names and what to do."""
    quotas = [n // len(classes) + (k < n % len(classes)) for k in range(len(classes))]
    short = [f"{c} ({count})" for c, count, quota in zip(classes, counts, quotas, strict=True) if count < quota]
    if short:
        raise ValueError(
            f"n_{split} is {n}, which takes {max(quotas)} images of each of the {len(classes)} classes, and {name} has "
            f"fewer in {split} of: {', '.join(short)}. Add the missing images (`python -m manifold_utils data` says "
            f"what is there), or lower n_{split} to at most {len(classes) * min(counts)} in the profile"
        )


def _fashion(config, folder, download):
    train, test = _subsets(config, *readers.read_fashion(folder, download), readers.FASHION_CLASSES)
    border = (POOLED_FROM["fashion"] - readers.FASHION_SIDE) // 2
    train, test = ((pooled(x, config.side, border), y) for x, y in (train, test))
    return _images(config, train, test, readers.FASHION_CLASSES, _times255(FASHION_MEAN), _times255(FASHION_STD))


def _cifar10(config, folder, download):
    train, test, classes = readers.read_cifar10(folder, download)
    train, test = ((pooled(x, config.side), y) for x, y in _subsets(config, train, test, classes))
    return _images(config, train, test, classes, _times255(CIFAR_MEAN), _times255(CIFAR_STD))


def pooled(images, side, border=0):
    """Images of `side` pixels a side: each pixel is the rounded mean of a square of pixels (area pooling).

    Parameters
    ----------
    images : ndarray (n, channels, height, width) uint8, square
    side : int, a divisor of height + 2 border; 0 returns the images as they are
    border : int, black pixels added on every side before pooling

    Returns
    -------
    ndarray (n, channels, side, side) uint8; a mean that lies half-way is rounded to the even number

    Raises
    ------
    ValueError
        Images that are not square, or of a size that `side` does not divide.

    Examples
    --------
    >>> pooled(np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4), 2).tolist()
    [[[[2, 4], [10, 12]]]]
    """
    if side == 0:
        return images
    n, channels, height, width = images.shape
    step, left_over = divmod(height + 2 * border, side)
    if height != width or left_over:
        framed = f" with a border of {border}" if border else ""
        raise ValueError(f"images of {height}x{width} pixels{framed} cannot be pooled to {side}x{side}")
    images = np.pad(images, ((0, 0), (0, 0), (border, border), (border, border)))
    blocks = images.reshape(n, channels, side, step, side, step)
    return np.rint(blocks.mean(axis=(3, 5), dtype=np.float32)).astype(np.uint8)


def _imagefolder(config, folder, download):
    found = readers.list_image_folder(folder)
    train, test = ((np.array(found.files[s], dtype=object), found.labels[s]) for s in ("train", "test"))
    (x_train, y_train), (x_test, y_test) = _subsets(config, train, test, found.classes)
    return StreamedDataset(
        config.name,
        x_train,
        torch.from_numpy(y_train),
        x_test,
        torch.from_numpy(y_test),
        found.classes,
        _times255(IMAGENET_MEAN),
        _times255(IMAGENET_STD),
        flip=True,
        image_size=config.image_size or IMAGE_SIZE,
        folder=str(folder),
        left_out=found.left_out,
    )


def sloppy_samples(n, sloppiness, generator):
    """Inputs x = z diag(sqrt(l_i / d)), z ~ N(0, I), l_i = 50 c exp(-c i), i = 0 ... d-1 (PAPER.md section 1).

    Parameters
    ----------
    n : int
    sloppiness : float, c above 0: 0.5 is sloppy, 0.001 nearly isotropic
    generator : numpy Generator

    Returns
    -------
    ndarray (n, 200) float64
    """
    variances = 50 * sloppiness * np.exp(-sloppiness * np.arange(N_DIMENSIONS))
    return generator.standard_normal((n, N_DIMENSIONS)) * np.sqrt(variances / N_DIMENSIONS)


def teacher_labels(x, generator):
    """Class of each input under a random teacher 200-50-5 with tanh and no bias; weights N(0, 1 / fan-in)."""
    sizes = (x.shape[1], N_TEACHER, N_SLOPPY_CLASSES)
    first, last = (generator.standard_normal((a, b)) / math.sqrt(a) for a, b in pairwise(sizes))
    return np.argmax(np.tanh(x @ first) @ last, axis=1)


def _sloppy(config, folder, download):
    n_train, n_test = config.n_train or N_SLOPPY["train"], config.n_test or N_SLOPPY["test"]
    inputs, weights = (np.random.default_rng([config.seed, k]) for k in range(2))
    x = sloppy_samples(n_train + n_test, config.sloppiness, inputs)
    x, y = torch.from_numpy(x).float(), torch.from_numpy(teacher_labels(x, weights))
    classes = tuple(f"class {k}" for k in range(N_SLOPPY_CLASSES))
    return Dataset(config.name, x[:n_train], y[:n_train], x[n_train:], y[n_train:], classes)


def _images(config, train, test, classes, mean, std, flip=True):
    tensors = [torch.from_numpy(np.ascontiguousarray(a)) for pair in (train, test) for a in pair]
    return Dataset(config.name, *tensors, tuple(classes), mean, std, flip)


def _times255(values):
    return tuple(255 * v for v in values)


def _fingerprint(data):
    """Hash of all samples and labels; of streamed pictures their names in the folder, their bytes and their size."""
    digest = hashlib.sha256(repr((data.name, data.classes, data.mean, data.std)).encode())
    if isinstance(data, StreamedDataset):
        paths = [*data.x_train, *data.x_test]
        digest.update(str(data.image_size).encode() + b"".join(digests(paths, data.folder)))
        digest.update(b"\n".join(os.fsencode(os.path.relpath(path, data.folder)) for path in paths))
    for values in (data.x_train, data.y_train, data.x_test, data.y_test):
        digest.update(b"" if isinstance(values, np.ndarray) else values.numpy().tobytes())
    return digest.hexdigest()[:16]


_LOADERS = {
    "digits": _digits,
    "fashion": _fashion,
    "cifar10": _cifar10,
    "imagefolder": _imagefolder,
    "sloppy": _sloppy,
}
