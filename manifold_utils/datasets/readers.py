"""Readers of the data sets' files: idx, CIFAR-10's binary and Python batches, folders of images (cached or streamed).

Where the files may lie is the business of `places`. Opening data never runs code: CIFAR-10's
Python batches are pickles, and are read by an unpickler that can make arrays and nothing else. It cuts no subsets
and normalises nothing.
"""

import gzip
import hashlib
import os
import pickle
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from tqdm import tqdm

from manifold_utils.compat import import_torchvision
from manifold_utils.datasets.pictures import N_DECODERS, decode
from manifold_utils.datasets.places import (
    CIFAR_BINARY,
    CIFAR_CLASSES,
    CIFAR_ROW,
    find_cifar10,
    find_fashion,
    find_image_folder,
)
from manifold_utils.files import atomic_path

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
FASHION_SIDE, CIFAR_SIDE = 28, 32  # pixels of the images as they are published
DOWNLOADS = {"fashion": ("FashionMNIST", 31), "cifar10": ("CIFAR10", 170)}  # torchvision's name, megabytes
CACHE_PREFIX = "cache-"
OWN_CACHE = re.compile(rf"{CACHE_PREFIX}[0-9a-f]{{16}}\.npz")
CHUNK_IMAGES = 1000  # decoded at once


def read_fashion(folder, download=False):
    """Fashion-MNIST from idx files, plain or .gz.

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : x uint8 (n, 1, 28, 28), y int64 (n,)

    Raises
    ------
    FileNotFoundError, ValueError
        Files are missing, damaged, of another size, or images and labels do not belong together.
    """
    found, splits = _found("fashion", find_fashion, folder, download), []
    for images, labels in found.files.values():
        x, y = read_idx(images), read_idx(labels)
        if x.shape[1:] != (FASHION_SIDE, FASHION_SIDE):
            size = "x".join(map(str, x.shape[1:]))
            raise ValueError(f"{images} has images of {size} pixels, and Fashion-MNIST's are 28x28; get it again")
        if y.shape != (len(x),) or y.max(initial=0) >= len(FASHION_CLASSES):
            raise ValueError(f"{labels} does not hold a class for each image of {images}; get both again")
        splits.append((x[:, None], y.astype(np.int64)))
    return splits


def _found(name, find, folder, download):
    try:
        return find(folder)
    except FileNotFoundError:
        if not download:
            raise
    fetch(name, folder)
    return find(folder)


def fetch(name, folder):
    """Let torchvision download a data set of `DOWNLOADS` into `folder`, with its checksums verified.

    Raises
    ------
    OSError
        There is no network, or the server does not answer; says what to do instead.
    """
    import_torchvision()
    from torchvision import datasets

    folder.mkdir(parents=True, exist_ok=True)
    try:
        getattr(datasets, DOWNLOADS[name][0])(root=str(folder), download=True)
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"{name} could not be downloaded ({error}): fetch it on another machine and copy its files to {folder}; "
            "`python -m manifold_utils data` says which"
        ) from error


def read_idx(path):
    """Read one idx file of bytes (plain or .gz): ndarray uint8 of the shape in its header.

    Raises
    ------
    ValueError
        Not an idx file of bytes, or cut short; names the file.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}); get it again") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an idx file of bytes (it starts with {raw[:4]!r}); get it again")
    n_axes = raw[3]
    shape = np.frombuffer(raw, ">u4", n_axes, offset=4)
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * n_axes)
    if values.size != np.prod(shape):
        raise ValueError(
            f"{path} is cut short: {values.size} values, expected {'x'.join(map(str, shape))}; get it again"
        )
    return values.reshape(shape)


def read_cifar10(folder, download=False):
    """CIFAR-10 from its binary version, its Python version (torchvision's layout), or a folder of images.

    Returns
    -------
    (x_train, y_train), (x_test, y_test), classes : x uint8 (n, 3, 32, 32), y int64 (n,)

    Raises
    ------
    FileNotFoundError, ValueError
        Files are missing, damaged, or of another size.
    """
    found = _found("cifar10", find_cifar10, folder, download)
    if found.labels:
        return read_image_folder(found, CIFAR_SIDE)
    read = _binary_batch if found.layout == CIFAR_BINARY else _python_batch
    splits = []
    for paths in found.files.values():
        parts = [_checked_batch(path, *read(path)) for path in paths]
        x, y = (np.concatenate([part[k] for part in parts]) for k in range(2))
        splits.append((x.reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE), y.astype(np.int64)))
    return *splits, CIFAR_CLASSES


def _checked_batch(path, x, y):
    if len(x) != len(y) or not len(y) or not 0 <= y.min() <= y.max() < len(CIFAR_CLASSES):
        raise ValueError(f"{path} does not hold a class from 0 to 9 for each of its {len(x)} images; get it again")
    return x, y


def _binary_batch(path):
    rows = np.fromfile(path, np.uint8)
    if rows.size == 0 or rows.size % (1 + CIFAR_ROW):
        raise ValueError(f"{path} is damaged: {rows.size} bytes are not whole rows of {1 + CIFAR_ROW}; get it again")
    rows = rows.reshape(-1, 1 + CIFAR_ROW)
    return rows[:, 1:], rows[:, 0]


class _ArraysOnly(pickle.Unpickler):
    """Unpickles containers, numbers, bytes and numpy arrays; anything else in the file is refused, not imported."""

    def find_class(self, module, name):
        if (module, name) == ("_codecs", "encode"):
            return lambda text, encoding: text.encode(encoding)
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np._core.multiarray._reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR-10 batch needs")


def _python_batch(path):
    try:
        with open(path, "rb") as handle:
            batch = _ArraysOnly(handle, encoding="bytes").load()
        x, y = np.asarray(batch[b"data"], dtype=np.uint8), np.asarray(batch[b"labels"], dtype=np.int64)
        return x.reshape(-1, CIFAR_ROW), y
    except Exception as error:  # a damaged pickle can raise nearly anything: name the file for all of it
        raise ValueError(f"{path} is not a CIFAR-10 batch ({type(error).__name__}: {error}); get it again") from error


def list_image_folder(folder):
    """Paths and classes of train/<class>/* and test/<class>/* (or val/<class>/*).

    Returns
    -------
    Found
        Files and labels of the splits, sorted by class and name, and the classes: sorted folder names of train. What
        was left out is said in a warning.

    Raises
    ------
    FileNotFoundError
        A split, or a class of one, is missing or empty. ValueError if test has a class that train has not.
    """
    found = find_image_folder(folder)
    if found.left_out:
        warnings.warn("left out: " + "; ".join(found.left_out), stacklevel=2)
    return found


@lru_cache(maxsize=16)
def folder_sizes(folder):
    """(pictures of train, pictures of test, classes) of an image folder; None if it is not there, or incomplete."""
    try:
        found = find_image_folder(folder)
    except (FileNotFoundError, ValueError):
        return None
    return len(found.files["train"]), len(found.files["test"]), len(found.classes)


def read_image_folder(found, side):
    """All images of a `Found` folder as arrays, decoded once: a cache beside them makes the second call quick.

    The cache (cache-<hash>.npz) belongs to the names, sizes and times of the files: a changed folder
    makes a new one. An image that is not `side` x `side` pixels is refused by name.
    """
    root, paths = len(str(found.place)), [*found.files["train"], *found.files["test"]]
    stamps = [(path[root:], (s := os.stat(path)).st_size, s.st_mtime_ns, s.st_ctime_ns) for path in paths]
    cache = found.place / f"{CACHE_PREFIX}{hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]}.npz"
    counts = {"x_train": len(found.files["train"]), "x_test": len(found.files["test"])}
    arrays = _cached(cache, {name: (n, 3, side, side) for name, n in counts.items()})
    if arrays is None:
        images = np.empty((len(paths), 3, side, side), dtype=np.uint8)
        chunks = np.array_split(np.array(paths, dtype=object), 1 + len(paths) // CHUNK_IMAGES)
        done = 0
        with tqdm(total=len(paths), desc="decoding images", unit="image") as bar:
            for part in decoded(chunks, expected=side):
                images[done : done + len(part)] = part
                done += len(part)
                bar.update(len(part))
        n_train = counts["x_train"]
        arrays = {"x_train": images[:n_train], "x_test": images[n_train:]}
        _write_cache(cache, arrays)
    return (arrays["x_train"], found.labels["train"]), (arrays["x_test"], found.labels["test"]), found.classes


def _cached(cache, shapes):
    """Arrays of a cache; None if there is none, or it is damaged or another's: then the images are decoded again."""
    if not cache.is_file():
        return None
    try:
        with np.load(cache, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in shapes}
    except Exception:  # a damaged archive can raise nearly anything
        return None
    fits = all(x.dtype == np.uint8 and x.shape == shapes[name] for name, x in arrays.items())
    return arrays if fits else None


def _write_cache(cache, arrays):
    try:
        with atomic_path(cache) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, **arrays)
    except OSError as error:
        warnings.warn(f"cannot write {cache} ({error}): the images will be decoded again next time", stacklevel=2)
        return
    for old in cache.parent.glob(f"{CACHE_PREFIX}*.npz"):
        if old != cache and OWN_CACHE.fullmatch(old.name):  # of an earlier state of the folder; others are not ours
            old.unlink(missing_ok=True)


def decoded(chunks, image_size=0, expected=0):
    """Yield uint8 (n, 3, height, width) for each array of paths; threads decode the next chunk in the meantime.

    `image_size` above 0: the shorter side is resized to it and the middle cut out. 0: the files' own size, which must
    be `expected` pixels a side.
    """
    with ThreadPoolExecutor(N_DECODERS) as pool:
        ahead, size = None, {"image_size": image_size, "expected": expected}
        for paths in [*chunks, None]:
            behind, ahead = ahead, None if paths is None else [pool.submit(decode, p, **size) for p in paths]
            if behind:
                yield np.stack([future.result() for future in behind])
