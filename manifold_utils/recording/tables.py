"""What comes beside predictions: the table of runs, labels, names of classes, lists of steps.

Texts are read as UTF-8, with or without a byte-order mark, and nothing is opened as code.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from manifold_utils.atlas.columns import listed
from manifold_utils.recording.reading import named

LABEL_COLUMNS = ("label", "labels", "y", "target", "class", "truth", "y_true", "true_label", "true_class")


def read_table(path):
    """A table of runs from .csv, .tsv or .parquet. Names of runs stay texts: 007 is no 7."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise ValueError(f"there is no table of runs at {path} (--runs)")
    if path.suffix == ".parquet":
        with named(path):
            return pd.read_parquet(path)
    if path.suffix not in (".csv", ".tsv", ".txt"):
        raise ValueError(f"{path}: the table of runs is a .csv, .tsv or .parquet file")
    with named(path), open(path, encoding="utf-8-sig") as handle:
        head = handle.readline()
    marks = max(",;\t", key=head.count)
    try:
        return pd.read_csv(path, sep=marks, converters={"run": str.strip}, encoding="utf-8-sig", skipinitialspace=True)
    except (ValueError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} cannot be read as a table: {error}") from error


def read_labels(path, split=""):
    """Labels of .npy, .npz, .csv, .parquet or .txt (one a line); a dict of splits where the file names them.

    A table with a column `sample` is put in its order, as predictions are.
    """
    with named(path):
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix == ".npz":
            return _of_archive(path, split)
        if path.suffix == ".parquet":
            return _of_column(pd.read_parquet(path), path)
        if path.suffix in (".csv", ".tsv", ".txt"):
            lines = lines_of(path)
            mark = max(",;\t", key=lines[0].count)
            if not _is_header(lines, mark):
                return _whole_or_text(lines)
            return _of_column(pd.read_csv(path, sep=mark, encoding="utf-8-sig", skipinitialspace=True), path)
    raise ValueError(f"{path}: labels are read from .npy, .npz, .csv, .parquet and .txt")


def _of_archive(path, split):
    with np.load(path, allow_pickle=False) as archive:
        found = {name: archive[name] for name in archive.files}
    ours = [name for name in found if split and split in name.lower()]
    if split in found or len(ours) == 1:
        return {**found, split: found[split if split in found else ours[0]]}
    if len(found) > 1:
        raise ValueError(f"{path} holds {', '.join(found)}, and none is called {split!r}: name the labels so")
    return next(iter(found.values()))


def _is_header(lines, mark):
    first = [cell.strip().strip('"').lower() for cell in lines[0].split(mark)]
    if _numbers(first) or not lines[1:]:
        return False
    return len(first) > 1 or first[0] in LABEL_COLUMNS or _numbers(cell.strip('"') for cell in lines[1:])


def _numbers(cells):
    return all(cell.lstrip("+-").replace(".", "", 1).isdecimal() for cell in cells)


def _of_column(table, path):
    table = table.rename(columns=lambda name: str(name).strip())
    others = [c for c in table if c != "sample" and not str(c).startswith("Unnamed: ")]
    column = next((c for c in LABEL_COLUMNS if c in table), others[0] if len(others) == 1 else None)
    if column is None:
        raise ValueError(f"{path}: no column 'label'; it has {', '.join(map(str, table.columns))}: rename one")
    if "sample" in table and table["sample"].duplicated().any():
        raise ValueError(f"{path}: sample {table['sample'][table['sample'].duplicated()].iloc[0]} comes twice")
    return (table.sort_values("sample", kind="stable") if "sample" in table else table)[column].to_numpy()


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
    return array_of(path).tolist() if path.suffix == ".npy" else listed(" ".join(lines_of(path)))


def array_of(path):
    """The array of a .npy file."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    with named(path):
        return np.load(path, allow_pickle=False)
