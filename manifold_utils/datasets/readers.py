"""Readers of the data sets' files: idx, CIFAR-10's binary and Python batches, folders of images (cached or streamed).

Where the files may lie is listed in the constants and in the errors. Opening data never runs code: CIFAR-10's
Python batches are pickles, and are read by an unpickler that can make arrays and nothing else. It cuts no subsets
and normalises nothing.
"""

import gzip
import hashlib
import os
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from manifold_utils.compat import import_torchvision
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
FASHION_SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
FASHION_FILES = {
    split: (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
    for split, stem in (("train", "train"), ("test", "t10k"))
}
CIFAR_BINARY, CIFAR_PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_BATCHES = {"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]}
CIFAR_ROW = 3 * 32 * 32
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
N_DECODERS = 4  # threads; decoding leaves the interpreter's lock
CACHE_PREFIX = "cache-"


def read_fashion(folder, download=False):
    """Fashion-MNIST from idx files, plain or .gz.

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : x uint8 (n, 1, 28, 28), y int64 (n,)
    """
    places = [
        folder,
        folder / "raw",
        folder / "FashionMNIST" / "raw",
        folder.parent / "FashionMNIST" / "raw",
        FASHION_SYSTEM_FOLDER,
    ]
    found = _first_complete(places)
    if found is None and download:
        _torchvision_download("FashionMNIST", folder)
        found = _first_complete(places)
    if found is None:
        names = ", ".join(name for pair in FASHION_FILES.values() for name in pair)
        raise FileNotFoundError(
            f"Fashion-MNIST is missing. Looked for {names} (plain or .gz) in: {', '.join(map(str, places))}. "
            f"Put the four files into {folder}, or install Debian's package dataset-fashion-mnist, or call "
            "load_dataset(config, download=True), which lets torchvision fetch them"
        )
    splits = [tuple(read_idx(path) for path in pair) for pair in found]
    return [(x[:, None], y.astype(np.int64)) for x, y in splits]


def _first_complete(places):
    for place in places:
        options = [
            [[place / (name + end) for end in ("", ".gz")] for name in FASHION_FILES[s]] for s in ("train", "test")
        ]
        existing = [[next((p for p in either if p.is_file()), None) for either in pair] for pair in options]
        if all(path for pair in existing for path in pair):
            return existing
    return None


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
    """
    found = _find_cifar10(folder)
    if found is None and download:
        _torchvision_download("CIFAR10", folder)
        found = _find_cifar10(folder)
    if found is None:
        raise FileNotFoundError(
            f"CIFAR-10 is missing. Looked in {folder} for: {CIFAR_BINARY}/ (data_batch_1.bin ...), {CIFAR_PYTHON}/ "
            "(data_batch_1 ..., as torchvision keeps it), or train/<class>/*.jpg|png with test/<class>/*.jpg|png. "
            "Unpack any of them there, or call load_dataset(config, download=True), which lets torchvision fetch it"
        )
    kind, place = found
    if kind == "folder":
        return read_image_folder(place)
    read = _binary_batch if kind == CIFAR_BINARY else _python_batch
    splits = []
    for split in ("train", "test"):
        parts = [read(place / name) for name in CIFAR_BATCHES[split]]
        x, y = (np.concatenate([part[k] for part in parts]) for k in range(2))
        splits.append((x.reshape(-1, 3, 32, 32), y.astype(np.int64)))
    return *splits, CIFAR_CLASSES


def _find_cifar10(folder):
    for kind in (CIFAR_BINARY, CIFAR_PYTHON):
        if (folder / kind).is_dir():
            return kind, folder / kind
    return ("folder", folder) if (folder / "train").is_dir() and (folder / "test").is_dir() else None


def _binary_batch(path):
    path = path.with_suffix(".bin")
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
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything: name the file for all of it
        raise ValueError(f"{path} is not a CIFAR-10 batch ({type(error).__name__}: {error}); get it again") from error


def list_image_folder(folder):
    """Paths and classes of train/<class>/* and test/<class>/* (or val/<class>/*).

    Returns
    -------
    (paths_train, y_train), (paths_test, y_test), classes
        paths: ndarray of str, sorted by class and name; y int64; classes: sorted folder names of train.

    Raises
    ------
    FileNotFoundError
        A split is missing or empty. ValueError if test has a class that train has not.
    """
    splits, classes = [], None
    for names in (("train",), ("test", "val")):
        place = next((folder / name for name in names if (folder / name).is_dir()), None)
        files = _images_below(place) if place else []
        if not files:
            raise FileNotFoundError(
                f"no images in {folder}: looked for {' or '.join(names)}/<class>/*.jpg|jpeg|png. "
                "Put one folder a class there"
            )
        labels = [os.path.basename(os.path.dirname(path)) for path in files]
        classes = classes or sorted(set(labels))
        number = {name: k for k, name in enumerate(classes)}
        strange = sorted(set(labels) - set(classes))
        if strange:
            raise ValueError(f"{place} has classes that train has not: {strange}")
        splits.append((np.array(files, dtype=object), np.array([number[label] for label in labels])))
    return *splits, tuple(classes)


def _images_below(place):
    """Paths of the images in the folders of `place`, by class and name; os.scandir, since there may be millions."""
    found = []
    for folder in sorted(entry.path for entry in os.scandir(place) if entry.is_dir()):
        found += sorted(e.path for e in os.scandir(folder) if e.name.lower().endswith(IMAGE_SUFFIXES))
    return found


def read_image_folder(folder):
    """All images of a folder as arrays, decoded once: a cache beside them makes the second call quick.

    The cache (cache-<hash>.npz) belongs to the names, sizes and times of the files: a changed folder
    makes a new one.
    """
    train, test, classes = list_image_folder(folder)
    root = len(str(folder))
    stamps = [(path[root:], (s := os.stat(path)).st_size, s.st_mtime_ns) for path in (*train[0], *test[0])]
    cache = folder / f"{CACHE_PREFIX}{hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]}.npz"
    if not cache.is_file():
        arrays = {
            f"x_{split}": np.concatenate(list(decoded(np.array_split(paths, 1 + len(paths) // 1000))))
            for split, (paths, _) in (("train", train), ("test", test))
        }
        _write_cache(cache, arrays)
    else:
        with np.load(cache, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("x_train", "x_test")}
    return (arrays["x_train"], train[1]), (arrays["x_test"], test[1]), classes


def _write_cache(cache, arrays):
    try:
        with atomic_path(cache) as temporary, open(temporary, "wb") as handle:
            np.savez(handle, **arrays)
    except OSError as error:
        warnings.warn(f"cannot write {cache} ({error}): the images will be decoded again next time", stacklevel=2)
        return
    for old in cache.parent.glob(f"{CACHE_PREFIX}*.npz"):
        if old != cache:
            old.unlink(missing_ok=True)


def decoded(chunks, image_size=0):
    """Yield uint8 (n, 3, height, width) for each array of paths; threads decode the next chunk in the meantime.

    `image_size` above 0: the shorter side is resized to it and the middle cut out. 0: the files' own size, which
    must agree.
    """
    with ThreadPoolExecutor(N_DECODERS) as pool:
        ahead = None
        for paths in [*chunks, None]:
            behind, ahead = ahead, None if paths is None else [pool.submit(_decode, p, image_size) for p in paths]
            if behind:
                yield _stack([future.result() for future in behind])


def _decode(path, image_size):
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image_size:
                image.draft("RGB", (image_size, image_size))
                image = ImageOps.fit(image.convert("RGB"), (image_size, image_size), Image.Resampling.BILINEAR)
            return path, np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is not a readable image ({error}); replace or delete it") from error


def _stack(images):
    first_path, first = images[0]
    for path, image in images:
        if image.shape != first.shape:
            raise ValueError(f"images differ in size: {first_path} is {first.shape[1:]}, {path} is {image.shape[1:]}")
    return np.stack([image for _, image in images])


def _torchvision_download(name, folder):
    import_torchvision()
    from torchvision import datasets

    folder.mkdir(parents=True, exist_ok=True)
    getattr(datasets, name)(root=str(folder), download=True)
