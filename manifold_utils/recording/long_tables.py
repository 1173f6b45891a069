"""Predictions in a table, a row a sample: .parquet or .csv, with or without a header, in any order of rows.

Columns are put in the order of the classes by their names or their numbers, rows in that of the samples.
"""

import re

import numpy as np
import pandas as pd

NUMBER = re.compile(r"\d+(?:\.\d+)?")
ROW_COLUMNS = ("step", "epoch", "sample")  # beside the classes


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
    columns = _class_columns([c for c in table if c not in ROW_COLUMNS], classes)
    text = [c for c in columns if not pd.api.types.is_numeric_dtype(table[c])]
    if text:
        raise ValueError(f"{path}: column {text[0]!r} holds no numbers; beside step, epoch and sample all are classes")
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


def _class_columns(columns, classes):
    """Columns of classes in the order of the classes: by their names, else by their numbers, else as they stand."""
    names = {str(c): c for c in columns}
    if classes and set(names) == set(map(str, classes)):
        return [names[str(c)] for c in classes]
    numbers = [NUMBER.findall(name) for name in names]
    if all(len(found) == 1 for found in numbers):
        values = [float(found[0]) for found in numbers]
        if sorted(values) == list(range(len(values))) or sorted(values) == list(range(1, len(values) + 1)):
            return [columns[i] for i in np.argsort(values, kind="stable")]
    return columns
