"""A data set in memory or streamed: its splits, which samples are recorded, and normalised batches of it.

Images stay uint8 until a batch is normalised. Where the samples come from is the room's face's business.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from manifold_utils.datasets import readers
from manifold_utils.datasets.augmentation import crop_and_flip, padding_of

IMAGE_SIZE, PICTURES_AT_ONCE = 224, 500  # of streamed folders: pixels a side if none are given; decoded at once
CHUNK_BYTES = 32 * 2**20  # float32 bytes of inputs prepared at once: few operations a batch, little memory


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
