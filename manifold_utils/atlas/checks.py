"""What every door checks before predictions come in: numbers, kind, shape, labels, steps, names.

One list for all doors (`Recorder.add`, `log_probs_from_logits`, `Atlas.from_runs`, `import`): each mistake that would
make a picture without meaning is one ValueError that says what is wrong, where, and the cure. A class masked at minus
infinity is no mistake; the rest of the book is exact on it. Comparisons between runs are in `doubts`.
"""

import re

import numpy as np

from manifold_utils.atlas.kinds import KINDS, another_kind

LONGEST_NAME = 120  # bytes; file systems allow 255
OFFENCES = r"[/\\\x00-\x1f\x7f]|\.\."


class NotFinite(ValueError):
    """A prediction is NaN or plus infinity."""


def as_points(values, where="the predictions"):
    """Predictions of one or several points as a real ndarray (n_points, n_samples, n_classes), not copied if it is one.

    Parameters
    ----------
    values : array-like of shape (n_samples, n_classes) or (n_points, n_samples, n_classes)
        numpy (memory-mapped too) or torch, of any real type.
    where : str
        What errors call it.

    Raises
    ------
    ValueError
        Not numbers, another number of axes, nothing in it, or a single column.

    Examples
    --------
    >>> as_points([[0.0, 1.0]]).shape
    (1, 1, 2)
    """
    if hasattr(values, "detach"):  # torch; numpy knows no bfloat16
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    values = np.asanyarray(values)
    if values.dtype.name == "bfloat16":
        values = values.astype(np.float32)
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{where}: these must be numbers, found dtype {values.dtype}")
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3 or 0 in values.shape:
        raise ValueError(
            f"{where}: shape {values.shape}; expected (n_samples, n_classes), or (n_checkpoints, n_samples, n_classes)"
        )
    if values.shape[2] == 1:
        raise ValueError(
            f"{where}: a single column a sample; give a column a class (for two classes: the logits [0, z], or the "
            "probabilities [1 - p, p])"
        )
    return values


def log_probs_of(values, kind="logits", *, shape=None, where="the predictions", trust=False):
    """Predictions from any door as normalised natural-log probabilities.

    Parameters
    ----------
    values : array-like, see `as_points`
    kind : {"logits", "log_probs", "probabilities"}
        Logits are unnormalised log-probabilities (natural logarithm). Minus infinity (a masked class) is allowed.
    shape : (n_samples, n_classes), optional
        What the space asks for.
    where : str
        What errors call it.
    trust : bool
        Believe `kind` where the numbers speak against it.

    Returns
    -------
    ndarray of shape (n_points, n_samples, n_classes), float32

    Raises
    ------
    ValueError
        Another shape, NaN or plus infinity, a sample without any class, or numbers of another kind.

    Examples
    --------
    >>> np.exp(log_probs_of([[0.0, 0.0], [-np.inf, 1.0]])).tolist()
    [[[0.5, 0.5], [0.0, 1.0]]]
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; found {kind!r}")
    values = as_points(values, where)
    if shape is not None and values.shape[1:] != tuple(shape):
        n_samples, n_classes = shape
        raise ValueError(
            f"{where}: shape {values.shape}; this space has {n_samples} samples and {n_classes} classes, so it must be "
            f"({n_samples}, {n_classes}), or (n_points, {n_samples}, {n_classes})"
        )
    for number, point in enumerate(values):
        _refuse_not_finite(point, number, where)
    if not trust:
        problem = another_kind(values, kind)
        if problem:
            raise ValueError(f"{where}: {problem}")
    out = np.empty(values.shape, dtype=np.float32)
    for number, point in enumerate(values):
        out[number] = _log_softmax(_logs(point, kind))
    return out


def _logs(point, kind):
    point = point.astype(np.float64)
    if kind != "probabilities":
        return point
    with np.errstate(divide="ignore"):  # a probability of 0 is minus infinity
        return np.log(np.maximum(point, 0.0))


def _log_softmax(point):
    shifted = point - point.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _refuse_not_finite(point, number, where):
    wrong = np.argwhere(np.isnan(point) | np.isposinf(point))
    if len(wrong):
        sample, column = wrong[0]
        raise NotFinite(
            f"{where}: checkpoint {number}, sample {sample}, class {column} is {point[sample, column]} ({len(wrong)} "
            "such numbers there): training has diverged, or the file is damaged; leave this checkpoint out"
        )
    empty = np.flatnonzero(np.isneginf(point).all(axis=1))
    if len(empty):
        raise ValueError(f"{where}: checkpoint {number}, sample {empty[0]}: every class is masked at minus infinity")


def diverged_from(values):
    """Number of the checkpoint from which on all predictions hold NaN or plus infinity; None if all are finite.

    Parameters
    ----------
    values : ndarray of shape (n_points, n_samples, n_classes)

    Examples
    --------
    >>> diverged_from(np.array([[[0.0, 1.0]], [[np.nan, 0.0]]])), diverged_from(np.zeros((2, 1, 2)))
    (1, None)
    """
    wrong = np.array([bool((np.isnan(point) | np.isposinf(point)).any()) for point in values])
    first = len(wrong) - int(np.argmin(wrong[::-1])) if not wrong.all() else 0
    return first if first < len(wrong) else None


def classes_of(labels, where, classes=()):
    """Labels as an int64 vector; texts are looked up in `classes`.

    Raises
    ------
    ValueError
        Not one whole number (or known text) a sample; says the cure.

    Examples
    --------
    >>> classes_of(["cat", "dog"], "labels", ["dog", "cat"]).tolist()
    [1, 0]
    """
    labels = np.asarray(labels.detach().cpu() if hasattr(labels, "detach") else labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not len(labels):
        one_hot = labels.ndim == 2 and labels.shape[1] > 1
        cure = "if they are one-hot vectors, pass labels.argmax(axis=1)" if one_hot else "one number a sample is needed"
        raise ValueError(f"{where}: labels have shape {labels.shape}; {cure}")
    if labels.dtype.kind in "OUS":
        names = [str(name) for name in classes]
        found = [name.decode() if isinstance(name, bytes) else str(name) for name in labels]
        strange = sorted(set(found) - set(names))
        if strange:
            known = f"the classes are {', '.join(names[:9])}" if names else "give the classes' names, in that order"
            raise ValueError(
                f"{where}: labels are texts ({strange[0]!r}), and which column of the predictions they mean is not "
                f"known: {known} (classes=..., --classes)"
            )
        return np.array([names.index(name) for name in found], dtype=np.int64)
    if labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.round(labels)).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iub":
        raise ValueError(f"{where}: labels must be whole numbers, found {labels.dtype} with {labels[:3].tolist()} ...")
    return labels.astype(np.int64)


def check_range(labels, n_classes, where):
    """ValueError if a label is no column of the predictions."""
    low, high = int(labels.min()), int(labels.max())
    if low >= 0 and high < n_classes:
        return
    cure = "a label is the number of its column"
    if low >= 1 and high == n_classes:
        cure = "they count from 1: subtract 1"
    elif low < 0:
        cure = "leave the samples without a label (such as -100) out of labels and predictions"
    raise ValueError(
        f"{where}: labels run from {low} to {high}, but the predictions have {n_classes} columns (0 to "
        f"{n_classes - 1}): {cure}"
    )


def check_same_labels(labels, expected, where, other="the other runs"):
    """ValueError if a run's samples are others than those of the other runs, or in another order."""
    if len(labels) != len(expected):
        raise ValueError(
            f"{where}: {len(labels)} samples, {other} have {len(expected)}; predictions can be compared on the same "
            "samples only"
        )
    wrong = np.flatnonzero(labels != expected)
    if not len(wrong):
        return
    if np.array_equal(np.sort(labels), np.sort(expected)):
        what = "the same labels in another order: sort this run's predictions and labels as those of the others are"
    else:
        what = "other labels: these are other samples, or other names of the classes"
    raise ValueError(
        f"{where}: {len(wrong)} of {len(labels)} labels differ from those of {other} (first at sample {wrong[0]}: "
        f"{labels[wrong[0]]} against {expected[wrong[0]]}); {what}"
    )


def check_steps(steps, where):
    """Steps as a list of int, ValueError if they do not grow or are no whole numbers.

    Examples
    --------
    >>> check_steps([0, 10.0], "run a")
    [0, 10]
    """
    whole = [int(step) for step in steps]
    if any(one != step for one, step in zip(whole, steps, strict=True)):
        raise ValueError(f"{where}: steps must be whole numbers, found {list(steps)[:5]} ...")
    for before, after in zip(whole[:-1], whole[1:], strict=True):
        if after <= before:
            raise ValueError(f"{where}: step {after} comes after step {before}: steps must grow")
    return whole


def check_run_name(name, where="the table of runs"):
    """The name as a text that can be a file's; ValueError if it could not."""
    name = str(name)
    if not name.strip() or name != name.strip():
        raise ValueError(f"{where}: a run needs a name without blanks at its ends, found {name!r}")
    if (
        re.search(OFFENCES, name)
        or not name.isprintable()
        or name.startswith((".", "~"))
        or len(name.encode()) > LONGEST_NAME
    ):
        raise ValueError(
            f"{where}: run {name[:LONGEST_NAME]!r} cannot be a file's name: no slashes, '..', line breaks, characters "
            f"that cannot be seen, a leading dot or tilde, nor more than {LONGEST_NAME} bytes; rename it"
        )
    return name


def check_run_names(names, where="the table of runs"):
    """List of names, all different; ValueError names the first two rows that share one."""
    checked, first = [], {}
    for row, name in enumerate(names):
        name = check_run_name(name, f"{where}, row {row + 1}")
        if name in first:
            rows = f"rows {first[name] + 1} and {row + 1}"
            raise ValueError(f"{where}: {rows} are both called {name!r}: names are unique")
        first[name] = row
        checked.append(name)
    return checked
