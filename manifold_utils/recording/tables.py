"""What comes beside predictions: the table of runs, labels, names of classes, lists of steps.

Texts are read as UTF-8, with or without a byte-order mark, and nothing is opened as code.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from manifold_utils.atlas.columns import listed

LABEL_COLUMNS = ("label", "labels", "y", "target", "class")


def read_table(path):
    """A table of runs from .csv, .tsv or .parquet. Names of runs stay texts: 007 is no 7."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"there is no table of runs at {path} (--runs)")
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix not in (".csv", ".tsv", ".txt"):
        raise ValueError(f"{path}: the table of runs is a .csv, .tsv or .parquet file")
    with open(path, encoding="utf-8-sig") as handle:
        head = handle.readline()
    marks = max(",;\t", key=head.count)
    try:
        return pd.read_csv(path, sep=marks, converters={"run": str.strip}, encoding="utf-8-sig", skipinitialspace=True)
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error


def read_labels(path, split=""):
    """Labels of .npy, .npz, .csv, .parquet or .txt (one a line); a dict of splits where the file holds both."""
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
        return found if split in found else next(iter(found.values()))
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
    elif path.suffix in (".csv", ".tsv", ".txt"):
        lines = lines_of(path)
        header = any(ch.isalpha() for ch in lines[0]) and ("," in lines[0] or lines[0].lower() in LABEL_COLUMNS)
        if not header:
            return _whole_or_text(lines)
        table = pd.read_csv(path)
    else:
        raise ValueError(f"{path}: labels are read from .npy, .npz, .csv, .parquet and .txt")
    column = next((c for c in LABEL_COLUMNS if c in table), table.columns[-1] if len(table.columns) == 1 else None)
    if column is None:
        raise ValueError(f"{path}: no column 'label'; it has {', '.join(map(str, table.columns))}")
    return table[column].to_numpy()


def _whole_or_text(lines):
    try:
        return np.array([int(line) for line in lines])
    except ValueError:
        return np.array(lines)


def lines_of(path):
    """Lines of a text file that are not empty, or the items of a JSON list."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".json":
        return [str(one) for one in json.loads(text)]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path} is empty")
    return lines


def numbers_of(path):
    """Numbers of a file: .npy, or a text of them."""
    return np.load(path, allow_pickle=False).tolist() if path.suffix == ".npy" else listed(" ".join(lines_of(path)))
