"""The samples that a run predicts: anybody's arrays, batches or rows, and the proof that they stay the same.

Whatever was given becomes `Samples`: batches of inputs with their labels, the labels in a vector, and a fingerprint of
the content. Samples that come in another order, or changed, at a second look are refused, because a point is compared
with another sample by sample. It calls no network (see `predicting`), and it needs torch only for what is torch's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from manifold_utils.atlas.records import SPLITS
from manifold_utils.geometry import as_numpy
from manifold_utils.recording.contents import Content, leaves, mapped, once, refuse_changed

IGNORED = -100  # the label of what is not to be predicted, as in torch's cross_entropy
LABEL_KEYS = ("labels", "label", "label_ids", "targets", "target", "y")  # where a batch is a dictionary
LOOKED_AT_TWICE = 256  # samples; one batch at least
SCAN = 512  # samples read at once at the first look
SHUFFLERS = ("RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler", "DistributedSampler")


@dataclass(frozen=True)
class Samples:
    """The samples of one split, which were looked at once.

    Attributes
    ----------
    source : object with batches(size, wanted) -> iterable of (inputs, labels)
        Inputs are an array, or a dictionary or tuple of arrays, one row a sample. Arrays are not read for batches at
        which `wanted()` is false.
    labels : ndarray of shape (n_kept,), int64
        True classes of all that is predicted; positions of label -100 are left out.
    fingerprint : str
        Hash of the inputs (the first 256 MiB of each array), the labels and their order.
    shift : bool
        Labels repeat the input tokens, so position t predicts label t + 1, as in Hugging Face's causal models.
    """

    source: object
    labels: np.ndarray
    fingerprint: str
    shift: bool = False

    def batches(self, size):
        """Yield (inputs, labels, keep): labels in the order of logits, and which of them are predicted, or None."""
        for inputs, labels in self.source.batches(size):
            labels = self.source.classes(labels)
            labels = labels[:, 1:] if self.shift else labels
            keep = labels != IGNORED
            yield inputs, labels, None if keep.all() else keep


def all_samples(data, collate=None, classes=None):
    """Samples of each split of a user's data.

    Parameters
    ----------
    data : dict of "train" or "test", or both
        Each is (x, y) of arrays or tensors, or a dictionary of them; a DataLoader, or another iterable of batches that
        can be read again and again; or rows with a length, such as a Hugging Face data set.
    collate : callable, optional
        Makes a batch of a list of rows; by default torch's.
    classes : sequence, optional
        The values that labels take, in the order of the columns of predictions; by default 0, 1, 2, ...

    Returns
    -------
    dict of split -> Samples

    Raises
    ------
    ValueError, TypeError
        Names the split, what is wrong and how to mend it.

    Examples
    --------
    >>> found = all_samples({"test": (np.eye(3), ["b", "a", "b"])}, classes=["a", "b"])
    >>> found["test"].labels.tolist()
    [1, 0, 1]
    """
    if not isinstance(data, Mapping) or not data or set(data) - set(SPLITS):
        found = list(data) if isinstance(data, Mapping) else type(data).__name__
        raise ValueError(f'data must be {{"train": ..., "test": ...}}, or one of the two; found {found}')
    found = {}
    for split in (split for split in SPLITS if split in data):
        try:
            found[split] = look_at(_source(data[split], collate, classes))
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{split}: {error}") from error
    return found


def of_dataset(data):
    """Samples of both splits of a `Dataset` of the book: the recorded ones, normalised, as the atlas has them."""
    found = {}
    for split in SPLITS:
        index = data.recorded(split)
        labels = data.labels(split).cpu()[index.cpu()].numpy()
        found[split] = Samples(_Recorded(data, labels=labels, split=split, index=index), labels, data.fingerprint)
    return found


def look_at(source):
    """Read a source once, and its first samples twice; see `Samples`. ValueError if these differ."""
    labels, shift, first, content = [], None, [], Content()
    for inputs, raw in source.batches(SCAN, content.wants_more):
        given = source.classes(raw)
        shift = _repeats_inputs(inputs, given) if shift is None else shift
        labels.append((given[:, 1:] if shift else given).ravel())
        if sum(map(len, labels)) <= LOOKED_AT_TWICE or not first:
            first.append(once(inputs, given))
        content.add(inputs, given)
    if not labels:
        raise ValueError("there are no samples")
    again = [once(inputs, source.classes(raw)) for (inputs, raw), _ in zip(source.batches(SCAN), first, strict=False)]
    refuse_changed(first, again, source.cure)
    labels = np.concatenate(labels)
    kept = labels[labels != IGNORED]
    if not len(kept):
        raise ValueError(f"every label is {IGNORED}, which says that nothing is to be predicted")
    return Samples(source, kept, content.fingerprint(), bool(shift))


def _source(given, collate, classes):
    if isinstance(given, tuple) or (isinstance(given, list) and len(given) == 2 and hasattr(given[0], "shape")):
        return _Arrays(given, classes)
    if isinstance(given, Mapping):
        return _Arrays(inputs_and_labels(given), classes)
    if hasattr(given, "batch_sampler") and hasattr(given, "collate_fn"):
        return _Batches(_ordered(given), classes)
    if hasattr(given, "__getitem__") and hasattr(given, "__len__") and not isinstance(given, list | np.ndarray):
        return _Rows(given, classes, collate)
    if isinstance(given, Iterable) and iter(given) is not given and not hasattr(given, "shape"):
        return _Batches(given, classes)
    raise TypeError(
        f"expected (x, y), a DataLoader, a list of batches or a data set of rows; found {type(given).__name__}"
        + (", which can be read only once: give a list of its batches" if hasattr(given, "__next__") else "")
    )


def _ordered(loader):
    """The loader itself, if what it says of itself promises each sample once, in one order."""
    cure = "give DataLoader(dataset, batch_size=..., shuffle=False), made for recording"
    samplers = [loader.sampler, getattr(loader.batch_sampler, "sampler", None)]
    names = [base.__name__ for sampler in samplers for base in type(sampler).__mro__]
    shuffler = next((name for name in names if name in SHUFFLERS), None)
    if shuffler == "DistributedSampler":
        raise ValueError(f"this DataLoader gives each process a part of the samples (DistributedSampler): {cure}")
    if shuffler:
        raise ValueError(f"this DataLoader shuffles ({shuffler}), and points are compared sample by sample: {cure}")
    if loader.drop_last or getattr(loader.batch_sampler, "drop_last", False):
        raise ValueError(f"this DataLoader leaves out the last samples (drop_last=True): {cure}")
    return loader


@dataclass
class _Source:
    """What the kinds of sources share: `given` by the user, and the values that her labels take."""

    given: object
    values: object = None
    cure = "give samples that come in the same order, unchanged, each time"

    def classes(self, labels):
        return label_numbers(labels, self.values)


@dataclass
class _Arrays(_Source):
    def __post_init__(self):
        if len(self.given) != 2:
            raise ValueError(f"(x, y) is expected, two arrays; found {len(self.given)}")
        x, y = self.given
        self.x, self.y = mapped(_sliceable, x), _sliceable(y)
        lengths = {leaf.shape[0] for _, leaf in leaves(self.x)} | {len(self.y)}
        if len(lengths) != 1:
            raise ValueError(f"x and y have different lengths: {', '.join(map(str, sorted(lengths)))}")

    def batches(self, size, wanted=lambda: True):
        for start in range(0, len(self.y), size):
            part = slice(start, start + size)
            yield mapped(lambda leaf, part=part: _rows(leaf, part), self.x) if wanted() else (), _rows(self.y, part)


class _Batches(_Source):
    cure = "give DataLoader(dataset, batch_size=..., shuffle=False) over the un-augmented samples"

    def batches(self, size, wanted=None):
        return (inputs_and_labels(batch) for batch in self.given)


@dataclass
class _Rows(_Source):
    collate: object = None

    def batches(self, size, wanted=None):
        from torch.utils.data import DataLoader  # torch: only for rows that are to be put together

        for batch in DataLoader(self.given, size, shuffle=False, collate_fn=self.collate):
            yield inputs_and_labels(batch)


@dataclass
class _Recorded(_Source):
    labels: object = None
    split: str = ""
    index: object = None

    def classes(self, labels):
        return labels

    def batches(self, size):
        start = 0
        for inputs, index in self.given.batches(self.split, self.index, size):
            yield inputs, self.labels[start : start + len(index)]
            start += len(index)


def inputs_and_labels(batch):
    """Inputs and labels of a batch: a dictionary with labels, or a tuple whose last entry they are.

    Examples
    --------
    >>> inputs_and_labels({"input_ids": [[5, 6]], "label": [1]})
    ({'input_ids': [[5, 6]]}, [1])
    """
    if isinstance(batch, Mapping):
        key = next((key for key in LABEL_KEYS if key in batch), None)
        if key is None:
            raise ValueError(f"a batch has {', '.join(batch)}, and no labels under any of {', '.join(LABEL_KEYS)}")
        return {name: batch[name] for name in batch if name != key}, batch[key]
    if isinstance(batch, tuple | list) and len(batch) >= 2:
        return batch[0] if len(batch) == 2 else tuple(batch[:-1]), batch[-1]
    raise TypeError(f"a batch must be (inputs, labels), or a dictionary with labels; found {type(batch).__name__}")


def label_numbers(labels, values=None):
    """Labels as int64 of classes from 0, whatever they were given as.

    Parameters
    ----------
    labels : array-like (n, ...) of classes; whole floats, a column (n, 1) and one-hot rows of floats are understood
    values : sequence, optional
        What the classes are called in `labels`, in the order of their numbers.

    Raises
    ------
    ValueError
        Text without `values`, a value that is none of them, broken numbers, or negative ones other than -100.

    Examples
    --------
    >>> label_numbers([[2.0], [0.0]]).tolist(), label_numbers(["cat", "dog"], ["dog", "cat"]).tolist()
    ([2, 0], [1, 0])
    """
    labels = as_numpy(labels)
    if values is not None:
        return _looked_up(labels, values)
    if labels.dtype.kind not in "iufb":
        raise ValueError(f"labels are {labels.dtype}, not numbers: give classes=[...], their values in order")
    if labels.ndim == 2 and labels.dtype.kind == "f" and labels.shape[1] > 1:
        if (
            not ((labels == labels.max(axis=1, keepdims=True)).sum(axis=1) == 1).all()
            or (labels.sum(axis=1) != 1).any()
        ):
            raise ValueError("labels are rows of numbers that are not one-hot: give one class a sample")
        labels = labels.argmax(axis=1)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    numbers = labels.astype(np.int64)
    if not labels.ndim or (numbers != labels).any():
        raise ValueError("labels must be whole numbers, one a sample (or one a position)")
    if ((numbers < 0) & (numbers != IGNORED)).any():
        raise ValueError(f"label {numbers[(numbers < 0) & (numbers != IGNORED)][0]}: classes count from 0")
    return numbers


def _looked_up(labels, values):
    place = {value: k for k, value in enumerate(as_numpy(values).tolist())}
    flat = labels.ravel().tolist()
    strange = next((value for value in flat if value not in place and value != IGNORED), None)
    if strange is not None:
        raise ValueError(f"label {strange!r} is none of the classes {', '.join(map(str, place))}")
    return np.array([place.get(value, IGNORED) for value in flat], dtype=np.int64).reshape(labels.shape)


def _sliceable(values):
    return values if hasattr(values, "shape") else np.asarray(values)


def _rows(values, part):
    return values.iloc[part] if hasattr(values, "iloc") else values[part]


def _repeats_inputs(inputs, labels):
    """Whether labels of positions are the input tokens themselves, wherever they are not ignored."""
    if labels.ndim != 2:
        return False
    kept = labels != IGNORED
    tokens = (as_numpy(leaf) for _, leaf in leaves(inputs) if getattr(leaf, "shape", None) == labels.shape)
    return any(ids.dtype.kind in "iu" and kept.any() and (ids[kept] == labels[kept]).all() for ids in tokens)
