"""Predictions in a table, a row a sample: .parquet or .csv, with or without a header, in any order of rows.

Columns are put in the order of the classes by their names or their numbers, rows in that of the samples.
"""

import re

import numpy as np
import pandas as pd

NUMBER = re.compile(r"\d+(?:\.\d+)?")
ROW_COLUMNS = ("step", "epoch", "sample")  # beside the classes
NO_CLASSES = re.compile(  # what other columns of such a table are called
    r"id|.*_id|index|idx|row|run|split|fold|seed|label|labels|target|truth|y|y_true|true_.*|.*_true|correct|class"
    r"|prediction|predicted.*|pred|y_pred|.*_pred|loss|iteration|checkpoint",
    re.IGNORECASE,
)
LEAVE_OUT = "leave out what is no class, or name the classes' columns in a file (--classes)"


def of_table(path, n_samples=None, classes=()):
    """Predictions of a table: a column a class, a row a sample, and perhaps columns step, epoch and sample.

    Parameters
    ----------
    path : Path of a .parquet or .csv file
    n_samples, classes : see `formats.read_predictions`

    Returns
    -------
    values : ndarray (n_checkpoints, n_samples, n_classes), or (n_samples, n_classes)
    steps, epochs : lists, or None where the table does not say
    """
    table = _read_table(path)
    columns = _columns_of(table, classes, path)
    key = next((c for c in ("step", "epoch") if c in table), None)
    if key is None:
        return _cut(table, columns, path, n_samples), None, None
    parts = [part for _, part in table.groupby(key, sort=True)]
    sizes = sorted({len(part) for part in parts})
    if len(sizes) > 1:
        raise ValueError(f"{path}: checkpoints have between {sizes[0]} and {sizes[-1]} rows; one a sample is needed")
    said = {f"{name}s": [part[name].iloc[0].item() for part in parts] for name in ("step", "epoch") if name in table}
    return np.stack([_in_order(part, columns, path) for part in parts]), said.get("steps"), said.get("epochs")


def _read_table(path):
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    table = pd.read_csv(path)
    named_by_numbers = [_is_number(column) for column in table.columns]
    counted = [str(i) for i in range(len(table.columns))]
    if all(named_by_numbers) and list(table.columns) != counted:  # numpy.savetxt writes no header
        table = pd.read_csv(path, header=None)
    unnamed = [c for c in table if str(c).startswith("Unnamed: ") and (table[c] == np.arange(len(table))).all()]
    return table.drop(columns=unnamed)  # the index that pandas writes


def _is_number(text):
    try:
        return np.isfinite(float(text))
    except (TypeError, ValueError):
        return False


def _cut(table, columns, path, n_samples):
    if not n_samples or len(table) == n_samples or len(table) % n_samples:
        return _in_order(table, columns, path)
    if "sample" in table:
        raise ValueError(f"{path}: samples come several times and no column says at which step: add a column 'step'")
    return table[columns].to_numpy().reshape(-1, n_samples, len(columns))


def _in_order(part, columns, path):
    if "sample" in part:
        part = part.sort_values("sample", kind="stable")
        if part["sample"].duplicated().any():
            raise ValueError(f"{path}: sample {part['sample'][part['sample'].duplicated()].iloc[0]} comes twice")
    return part[columns].to_numpy()


def class_names(path):
    """Names of the columns of classes of a table, in the order of the classes; empty where they are only numbered.

    ValueError if a column looks like no class.
    """
    return tuple(str(c) for c in _columns_of(_read_table(path), (), path) if not str(c).isdecimal())


def _columns_of(table, classes, path):
    """The columns of classes, in their order; ValueError, with the cure, if some column looks like none."""
    columns = _class_columns([c for c in table if c not in ROW_COLUMNS], classes, path)
    text = [c for c in columns if not pd.api.types.is_numeric_dtype(table[c])]
    if text:
        raise ValueError(
            f"{path}: column {text[0]!r} holds no numbers; beside step, epoch and sample all are classes: {LEAVE_OUT}"
        )
    if classes:
        return columns
    whole = [c for c in columns if _counts(table[c])]
    strange = [c for c in columns if NO_CLASSES.fullmatch(str(c)) or (c in whole and len(whole) < len(columns))]
    if strange:
        listed = ", ".join(map(repr, map(str, strange)))
        raise ValueError(f"{path}: column {listed} looks like no class, and every column would be one: {LEAVE_OUT}")
    return columns


def _counts(column):
    """Whether a column holds whole numbers that spread, as numbers of rows and true classes do."""
    values = column.to_numpy(dtype=float)
    return bool(np.isfinite(values).all() and (values == np.round(values)).all() and np.ptp(values) > 1)


def _class_columns(columns, classes, path):
    """Columns in the order of the classes: by their names, else by their numbers, else as they stand."""
    names = {str(c).strip(): c for c in columns}
    found = _named_after(names, [str(c) for c in classes])
    if found:
        return found
    numbers = [NUMBER.findall(name) for name in names]
    if all(len(found) == 1 for found in numbers):
        values = [float(found[0]) for found in numbers]
        if sorted(values) == list(range(len(values))) or sorted(values) == list(range(1, len(values) + 1)):
            return [columns[i] for i in np.argsort(values, kind="stable")]
    if classes and not all(name.isdecimal() for name in names):
        raise ValueError(
            f"{path}: the columns are {', '.join(names)}, and the classes {', '.join(map(str, classes))}: name the "
            "columns after the classes, so that their order is known"
        )
    return columns


def _named_after(names, classes):
    """Columns called as the classes are, perhaps all with the same text before or behind it; None if they are not."""
    if not classes:
        return None
    for name in names:
        for place in re.finditer(re.escape(classes[0]), name):
            wanted = [f"{name[: place.start()]}{one}{name[place.end() :]}" for one in classes]
            if all(one in names for one in wanted):
                return [names[one] for one in wanted]
    return None
