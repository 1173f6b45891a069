"""The data sets as tensors, loaded once: digits, Fashion-MNIST, CIFAR-10, streamed image folders, the synthetic
sloppy data.

What a data set can do is in `tensors`, how it is cut in `cutting`. Files are looked for where the error of a missing
data set says (`places`); nothing is downloaded unless asked. Readers of file formats are in `readers`; the synthetic
data are in `sloppy`. It trains nothing.
"""

import hashlib
import os
from dataclasses import replace

import numpy as np
import torch

from manifold_utils.datasets import readers
from manifold_utils.datasets.augmentation import crop_and_flip, padding_of
from manifold_utils.datasets.cutting import balanced_subset, pooled
from manifold_utils.datasets.pictures import digests
from manifold_utils.datasets.sloppy import N_CLASSES, sloppy_samples, teacher_labels
from manifold_utils.datasets.tensors import IMAGE_SIZE, Dataset, StreamedDataset
from manifold_utils.files import data_root
from manifold_utils.profiles import POOLED_FROM

__all__ = [
    "IMAGE_SIZE", "Dataset", "StreamedDataset", "balanced_subset", "crop_and_flip", "load_dataset", "padding_of",
    "pooled", "sloppy_samples", "teacher_labels",
]  # fmt: skip

N_SLOPPY = {"train": 5000, "test": 1000}
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)  # in units of 255, as are the next two lines
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FASHION_MEAN, FASHION_STD = (0.2860,), (0.3530,)
DIGITS_MEAN, DIGITS_STD = 4.884, 6.017  # of pixel values 0 to 16, over all 1,797 digits
DIGITS_CLASSES = tuple(str(digit) for digit in range(10))


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


def _sloppy(config, folder, download):
    n_train, n_test = config.n_train or N_SLOPPY["train"], config.n_test or N_SLOPPY["test"]
    inputs, weights = (np.random.default_rng([config.seed, k]) for k in range(2))
    x = sloppy_samples(n_train + n_test, config.sloppiness, inputs)
    x, y = torch.from_numpy(x).float(), torch.from_numpy(teacher_labels(x, weights))
    classes = tuple(f"class {k}" for k in range(N_CLASSES))
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
