"""Predictions as they lie on disk, made anywhere: one file or folder a run (and split), never opened as code.

Read are .npy, .npz, .zarr (format 3), .safetensors, .parquet, .csv, and a folder with one such file a checkpoint. Files
with several arrays name them by split or by checkpoint. Steps and epochs are read from names (`step_100`, `epoch-3`),
from arrays `steps` and `epochs` beside the predictions, or from columns. It judges no numbers (see `atlas.checks`).
"""

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from manifold_utils.profiles import SPLITS
from manifold_utils.recording.long_tables import NUMBER, of_table
from manifold_utils.recording.reading import named

FORMATS = (".npy", ".npz", ".zarr", ".safetensors", ".parquet", ".csv")
PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib")
NAMED = re.compile(r"(global_?step|steps?|iter(?:ation)?s?|epochs?|ep)[-_=. ]?(\d+(?:\.\d+)?)", re.IGNORECASE)
TIMES = ("steps", "epochs")  # arrays beside predictions


@dataclass(frozen=True)
class Checkpoints:
    """Predictions of one run on one split, and what the files say of when they were made.

    Attributes
    ----------
    values : array (n_checkpoints, n_samples, n_classes), or (n_samples, n_classes)
    steps, epochs : lists, or None
    """

    values: object
    steps: list | None = None
    epochs: list | None = None


def read_predictions(path, split, *, n_samples=None, classes=()):
    """Read what lies at `path`.

    Parameters
    ----------
    path : Path of a file or a folder
    split : str, {"train", "test"}
        Chooses among several arrays of one file.
    n_samples : int, optional
        Cuts a table without a column `step` into checkpoints.
    classes : sequence of str, optional
        Orders the columns of a table that carry these names.

    Returns
    -------
    Checkpoints

    Raises
    ------
    ValueError
        A format that is not read, or arrays that cannot be told apart; names the file and the cure.
    OSError
        The file is damaged or missing.
    """
    path = Path(path)
    if is_folder_of_checkpoints(path):
        return _together([(file.stem, file) for file in _files(path)], path, split, n_samples, classes)
    with named(path):
        if path.suffix in (".parquet", ".csv"):
            return Checkpoints(*of_table(path, n_samples, classes))
        with opened(path) as members:
            return members if isinstance(members, Checkpoints) else _of_members(members, path, split)


def members_of(path):
    """Names of the arrays in a file that holds several; empty for other files."""
    if is_folder_of_checkpoints(path) or path.suffix not in (".npz", ".zarr", ".safetensors"):
        return []
    with named(path), opened(path) as members:
        return [] if isinstance(members, Checkpoints) else list(members)


def shape_of(path, split):
    """Shape of the predictions at `path` from headers alone; None where only reading would tell."""
    if is_folder_of_checkpoints(path) or path.suffix not in (".npy", ".zarr", ".safetensors"):
        return None
    with named(path), opened(path) as members:
        if isinstance(members, Checkpoints):
            return tuple(members.values.shape)
        wanted = _wanted(list(members), split)
        return tuple(members[wanted].shape) if wanted else None


def is_folder_of_checkpoints(path):
    """Whether `path` is a folder, and no Zarr store."""
    return path.is_dir() and path.suffix != ".zarr" and not any((path / n).exists() for n in ("zarr.json", ".zarray"))


def first_file(folder):
    """The first of the files in a folder of checkpoints; the folder itself if there is none."""
    return next(iter(_files(folder)), folder)


def check_format(path):
    """ValueError if a file is of no format that is read here."""
    if path.is_dir() or path.suffix in FORMATS:
        return
    if path.suffix in PICKLES:
        raise ValueError(
            f"{path}: such files are pickles, which run code when they are opened, so they are never opened here: "
            "write the predictions with numpy.save or safetensors"
        )
    raise ValueError(f"{path}: predictions are read from {', '.join(FORMATS)} or a folder of such files")


@contextmanager
def opened(path):
    """`Checkpoints` of a file with one array, or a mapping of names to arrays (which have a shape, and are lazy)."""
    check_format(path)
    if path.suffix == ".npy":
        yield Checkpoints(np.load(path, mmap_mode="r", allow_pickle=False))
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            yield archive
    elif path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as archive:  # torch knows bfloat16
            yield {name: _Tensor(archive, name) for name in archive.keys()}  # noqa: SIM118, it is no dict
    else:
        yield _zarr_members(path)


@dataclass(frozen=True)
class _Tensor:
    archive: object
    name: str

    @property
    def shape(self):
        return tuple(self.archive.get_slice(self.name).get_shape())

    def __array__(self, dtype=None, copy=None):
        tensor = self.archive.get_tensor(self.name)
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def _zarr_members(path):
    if any((path / name).exists() for name in (".zarray", ".zgroup")):
        raise ValueError(f"{path} is of Zarr format 2, whose codecs may run code: write it with zarr_format=3")
    node = zarr.open(path, mode="r", zarr_format=3)
    return Checkpoints(node[...]) if isinstance(node, zarr.Array) else dict(node.arrays())


def _of_members(members, path, split):
    """Of several named arrays: the split's, the only one, or one a checkpoint."""
    names = [name for name in members if name not in TIMES]
    times = {key: np.asarray(members[key]).tolist() for key in TIMES if key in members}
    wanted = _wanted(names, split)
    if wanted:
        return Checkpoints(np.asarray(members[wanted]), **times)
    ours = [name for name in names if split in name.lower()] or names
    return _together([(name, members[name]) for name in ours], path, split)


def _wanted(names, split):
    names = [name for name in names if name not in TIMES]
    return split if split in names else names[0] if len(names) == 1 else None


def _together(named, path, split, n_samples=None, classes=()):
    """One `Checkpoints` of one file or array a checkpoint, in the order of the numbers in their names."""
    if not named:
        raise ValueError(f"{path} holds no predictions ({', '.join(FORMATS)})")
    times = [_when(name, path) for name, _ in named]
    key = "step" if all("step" in one for one in times) else "epoch"
    if not all(key in one for one in times):
        raise ValueError(f"{path}: some names have a step and others an epoch: name them alike, such as step_100.npy")
    order = sorted(range(len(named)), key=lambda i: times[i][key])
    for a, b in zip(order[:-1], order[1:], strict=True):
        if times[a][key] == times[b][key]:
            raise ValueError(
                f"{path}: {named[a][0]!r} and {named[b][0]!r} are both {key} {times[a][key]:g}: if they are train and "
                "test, put {split} and {step} into the pattern"
            )
    values = None
    for place, i in enumerate(order):
        one = _one(named[i][1], split, n_samples, classes)
        if values is None:
            values = np.empty((len(order), *one.shape), dtype=one.dtype)
        if one.shape != values.shape[1:]:
            first = named[order[0]][0]
            raise ValueError(f"{path}: {named[i][0]!r} has shape {one.shape}, {first!r} has {values.shape[1:]}")
        values[place] = one
    said = {f"{name}s": [times[i][name] for i in order] for name in ("step", "epoch") if all(name in t for t in times)}
    return Checkpoints(values, **said)


def stacked(files, pattern, split, *, n_samples=None, classes=()):
    """`Checkpoints` of (path, name) pairs, one a checkpoint."""
    return _together([(name, path) for path, name in files], pattern, split, n_samples, classes)


def _one(source, split, n_samples, classes):
    """Predictions of one checkpoint, ndarray (n_samples, n_classes)."""
    one = source
    if isinstance(source, Path):
        one = read_predictions(source, split, n_samples=n_samples, classes=classes).values
    one = np.asarray(one)
    if one.ndim == 3 and len(one) == 1:
        one = one[0]
    if one.ndim != 2:
        name = source if isinstance(source, Path) else "one checkpoint"
        raise ValueError(f"{name} has shape {one.shape}; of one checkpoint it must be (n_samples, n_classes)")
    return one


def when(name):
    """What a name says of a checkpoint: dict with step, epoch, both or neither. A bare number is a step.

    Examples
    --------
    >>> when("step_100"), when("epoch-3"), when("ep2_iter40"), when("0010"), when("last")
    ({'step': 100.0}, {'epoch': 3.0}, {'epoch': 2.0, 'step': 40.0}, {'step': 10.0}, {})
    """
    found = {"epoch" if key.lower().startswith("ep") else "step": float(number) for key, number in NAMED.findall(name)}
    bare = NUMBER.findall(name)
    return found or ({"step": float(bare[-1])} if bare else {})


def _when(name, path):
    found = when(name)
    if not found:
        raise ValueError(
            f"{path}: the name {name!r} has no number of a step or an epoch: name the checkpoints step_100 or epoch-3"
        )
    return found


def _files(folder):
    return sorted(p for p in folder.iterdir() if p.suffix in FORMATS and not p.name.startswith("."))


def splits_in(names):
    """Splits that names of arrays speak of."""
    words = {word for name in names for word in re.split(r"[^a-z]+", name.lower())}
    return [split for split in SPLITS if split in words]
