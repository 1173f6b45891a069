"""What every door checks before predictions come in: numbers, kind, shape, labels, steps, names.

One list for all doors (`Recorder.add`, `log_probs_from_logits`, `Atlas.from_runs`, `import`): each mistake that would
make a picture without meaning is one ValueError that says what is wrong, where, and the cure. A class masked at minus
infinity is no mistake; the rest of the book is exact on it. Comparisons between runs are in `doubts`.
"""

import re
from dataclasses import dataclass

import numpy as np

KINDS = ("logits", "log_probs", "probabilities")
SUM_TOLERANCE = 0.02  # of the sum of probabilities, which half precision leaves; more is no rounding
ROUNDED_TOLERANCE = 2e-3  # of that sum, beyond which numbers of two decimals were rounded after the softmax
HUNDREDTH_TOLERANCE = 0.02  # of a hundredth: what half precision leaves of a number of two decimals
PERCENT_TOLERANCE = 5.0  # of the sum of percentages
TINY_SAMPLE = 30  # numbers; fewer of them may lie between 0 and 1 by chance
SIGMOID_SPREAD = 0.5  # between the smallest and the largest output of sigmoids that have learnt something
LONGEST_NAME = 120  # characters; file systems allow 255 bytes
OFFENCES = r"[/\\\x00-\x1f\x7f]|\.\."


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
        look = Look.at(values)
        problem = {"logits": _not_logits, "log_probs": _not_log_probs, "probabilities": _not_probabilities}[kind](look)
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
        raise ValueError(
            f"{where}: checkpoint {number}, sample {sample}, class {column} is {point[sample, column]} ({len(wrong)} "
            "such numbers there): training has diverged, or the file is damaged; leave this checkpoint out"
        )
    empty = np.flatnonzero(np.isneginf(point).all(axis=1))
    if len(empty):
        raise ValueError(f"{where}: checkpoint {number}, sample {empty[0]}: every class is masked at minus infinity")


@dataclass
class Look:
    """What the kind of predictions is judged by: extremes of all numbers, and of their sums over classes."""

    values: np.ndarray
    low: float
    high: float
    sums: tuple  # smallest and largest sum of a row
    constant: bool  # every row has one value in all columns

    @classmethod
    def at(cls, values):
        with np.errstate(invalid="ignore", over="ignore"):
            sums = np.concatenate([np.asarray(point, dtype=np.float64).sum(axis=1) for point in values])
            constant = all(bool((point.max(axis=1) == point.min(axis=1)).all()) for point in values)
        ends = float(sums.min()), float(sums.max())
        return cls(values, float(values.min()), float(values.max()), ends, constant)

    def sums_to(self, total, tolerance):
        return abs(self.sums[0] - total) <= tolerance and abs(self.sums[1] - total) <= tolerance

    def sums_of_powers(self, base):
        """Smallest and largest sum over classes of base ** value."""
        with np.errstate(over="ignore"):
            sums = [np.exp(np.log(base) * np.asarray(point, dtype=np.float64)).sum(axis=1) for point in self.values]
        return float(np.min(sums)), float(np.max(sums))

    def powers_sum_to_1(self, base):
        return all(abs(end - 1) <= SUM_TOLERANCE for end in self.sums_of_powers(base))

    @property
    def within_0_and_1(self):
        return self.low >= 0 and self.high <= 1 + SUM_TOLERANCE

    @property
    def nearly_probabilities(self):
        """Between 0 and 1, and rows sum to 1 but for rounding to two decimals."""
        return self.within_0_and_1 and self.sums_to(1, max(SUM_TOLERANCE, 0.005 * self.values.shape[2]))

    @property
    def percentages(self):
        return self.low >= 0 and self.high > 1 + SUM_TOLERANCE and self.sums_to(100, PERCENT_TOLERANCE)

    @property
    def hundredths(self):
        """All numbers have two decimals at most (in half precision, too)."""
        hundred = 100 * np.asarray(self.values, dtype=np.float64)
        return bool((np.abs(hundred - np.round(hundred)) < HUNDREDTH_TOLERANCE).all())


def _between(ends):
    return f"between {ends[0]:.4g} and {ends[1]:.4g}"


def _not_logits(look):
    if look.nearly_probabilities:
        return (
            "these are probabilities (all lie between 0 and 1 and each row sums to 1), not logits: pass "
            "kind='probabilities' (--kind probabilities), or their natural logarithm"
        )
    if look.percentages:
        return (
            "these are percentages (each row sums to 100), not logits: divide by 100 and pass kind='probabilities' "
            "(--kind probabilities)"
        )
    # an untrained network's logits may all be small and positive: only a wide spread speaks of sigmoids
    if look.within_0_and_1 and look.high - look.low > SIGMOID_SPREAD and look.values.size >= TINY_SAMPLE:
        return (
            f"all numbers lie between 0 and 1 and rows sum to {_between(look.sums)}, like the outputs of independent "
            "sigmoids, not like logits: record what goes into the sigmoid, if one class a sample is right; predictions "
            "of several labels a sample have no distribution over classes"
        )
    return ""


def _not_log_probs(look):
    if look.powers_sum_to_1(np.e):
        return ""
    if look.nearly_probabilities:
        return "these are probabilities, not their logarithm: pass kind='probabilities' (--kind probabilities)"
    for base in (2, 10):
        if look.powers_sum_to_1(base):
            return f"these are logarithms to base {base}, not natural ones: multiply by {np.log(base):.7f}"
    return (
        f"these are no log-probabilities: their exponentials sum to {_between(look.sums_of_powers(np.e))}, not "
        "1; pass kind='logits' (--kind logits) if they are not normalised"
    )


def _not_probabilities(look):
    if look.low < 0:
        what = "log-probabilities" if look.powers_sum_to_1(np.e) else "logits"
        kind = what.replace("log-probabilities", "log_probs")
        return f"there are negative numbers: these are {what}; pass kind='{kind}' (--kind {kind})"
    if look.percentages:
        return "these are percentages (each row sums to 100): divide by 100"
    if look.high > 1 + SUM_TOLERANCE:
        return f"the largest number is {look.high:.4g}: these are no probabilities; pass kind='logits' (--kind logits)"
    if not look.sums_to(1, ROUNDED_TOLERANCE) and look.nearly_probabilities and look.hundredths:
        return (
            f"these are probabilities that were rounded to two decimals (rows sum to {_between(look.sums)}): small "
            "ones are lost, and the distances with them; write them unrounded"
        )
    if not look.sums_to(1, SUM_TOLERANCE):
        return (
            f"rows sum to {_between(look.sums)}, not to 1, as the outputs of independent sigmoids do: record the "
            "softmax over classes, or what goes into it with kind='logits' (--kind logits)"
        )
    return ""


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
    cure = "they count from 1: subtract 1" if low >= 1 and high == n_classes else "a label is the number of its column"
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
    if re.search(OFFENCES, name) or name.startswith((".", "~")) or len(name.encode()) > LONGEST_NAME:
        raise ValueError(
            f"{where}: run {name[:LONGEST_NAME]!r} cannot be a file's name: no slashes, '..', line breaks, a leading "
            f"dot or tilde, nor more than {LONGEST_NAME} bytes; rename it"
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
