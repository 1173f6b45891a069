"""What the columns of a table of runs mean: names, factors, family, seed, checkpoints, and other facts.

A factor keeps its kind: numbers stay numbers (a missing one stays missing and is a level of its own), texts stay texts
(a missing one is the level `none`). Nothing is guessed in silence: `choose_design` is printed by `import`.
"""

import re

import numpy as np
import pandas as pd

from manifold_utils.atlas.checks import check_run_names
from manifold_utils.levels import MISSING
from manifold_utils.profiles import Design

FAMILIES = ("model", "architecture", "family", "arch", "learner", "network")  # columns that are taken for the family
SEED_COLUMN = "seed"
CHECKPOINTS = ("steps", "epochs")  # columns that may hold a list for each run
RESERVED = re.compile(
    r"run|grid|status|n_points|seconds|data|content|diverged_step|step|epoch|phase|index|(loss|error|progress|final)_.*"
)
LIST = re.compile(r"[\[\]();,\s]+")
NESTED = (list, tuple, dict, set, np.ndarray)  # values of a column that are no factor
MANY_RUNS = 6  # from so many on, texts that differ in every run are notes and no factor


def table_of(runs):
    """A table of runs: a column `run` with unique names first.

    Parameters
    ----------
    runs : DataFrame (with `run` as a column or as the index) or list of dicts

    Raises
    ------
    ValueError
        No such column, no rows, or a name that is missing, twice there, or cannot be a file's.

    Examples
    --------
    >>> table_of([{"model": "tree", "run": "a"}]).columns.tolist()
    ['run', 'model']
    """
    table = runs.copy() if isinstance(runs, pd.DataFrame) else pd.DataFrame(list(runs))
    if "run" not in table and table.index.name == "run":
        table = table.reset_index()
    if "run" not in table:
        raise ValueError(
            "the table of runs has no column 'run' with their names; it has "
            f"{', '.join(map(str, table.columns)) or 'no columns'}: rename the one that names the files"
        )
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise ValueError(f"the table of runs has two columns {twice[0]!r}: rename one")
    if not len(table):
        raise ValueError("the table of runs has no rows")
    names = check_run_names(["" if pd.isna(name) else name for name in table.run])
    table.columns = [str(column).strip() for column in table.columns]
    return table.assign(run=names)[["run", *(c for c in table if c != "run")]].reset_index(drop=True)


def choose_design(table, factors=None, family=None, seed=None):
    """The `Design` of a table of runs, from what is named and what its columns look like.

    Parameters
    ----------
    table : DataFrame of runs
    factors, family, seed : see `recorded.record_runs`

    Raises
    ------
    ValueError
        No factor, a family that is none of them, or a seed that is.

    Examples
    --------
    >>> choose_design(pd.DataFrame({"run": ["a"], "rate": [0.1], "model": ["tree"], "seed": [1]}))
    Design(factors=('rate', 'model'), family='model', seed='seed')
    """
    named = [factors] if isinstance(factors, str) else None if factors is None else [str(f) for f in factors]
    if seed is None and SEED_COLUMN in table and SEED_COLUMN not in (named or ()):
        seed = SEED_COLUMN
    if named is None:
        named = [c for c in table if c != seed and _may_be_factor(table, c, family)]
    if not named:
        raise ValueError(
            "there is no factor: the table of runs needs a column that says what differs between runs, such as 'model'"
        )
    if len(set(named)) < len(named) or seed in named:
        raise ValueError(f"factors are named once each, and the seed is none of them; found {', '.join(named)}")
    if family is None:
        texts = [f for f in named if f in table and not pd.api.types.is_numeric_dtype(table[f])]
        family = next((f for f in FAMILIES if f in named), (texts or named)[0])
    if family not in named:
        raise ValueError(f"the family {family!r} is none of the factors {', '.join(named)}")
    return Design(tuple(named), family, seed)


def _may_be_factor(table, column, family):
    if column in CHECKPOINTS and not pd.api.types.is_numeric_dtype(table[column]):
        return False
    if RESERVED.fullmatch(column) or any(isinstance(value, NESTED) for value in table[column]):
        return False
    text = not pd.api.types.is_numeric_dtype(table[column])
    notes = text and len(table) >= MANY_RUNS and table[column].nunique() == len(table)
    return column == family or column in FAMILIES or not notes


def refuse_reserved(columns):
    """ValueError if a factor has a name that the atlas' own tables need."""
    taken = [c for c in columns if RESERVED.fullmatch(c)]
    if taken:
        raise ValueError(f"{', '.join(map(repr, taken))}: the atlas has columns of that name itself; rename the factor")


def plain_factors(factors, where, *, own=True):
    """Factors of one run as they are kept: texts, numbers and None, so that they can be written at the end.

    Parameters
    ----------
    factors : dict
    where : str, what errors call it
    own : bool
        Whether these are a user's: then names that the tables of an atlas need are refused, and so are lists.

    Examples
    --------
    >>> plain_factors({"rate": np.float32(0.5), "seed": np.int64(3), "dropout": float("nan")}, "run a")
    {'rate': 0.5, 'seed': 3, 'dropout': None}
    """
    if not isinstance(factors, dict):
        raise ValueError(f"{where}: factors are a dict such as {{'model': 'mlp', 'seed': 1}}, found {factors!r}")
    if own:
        refuse_reserved([str(name) for name in factors])
    nested = [name for name, value in factors.items() if isinstance(value, NESTED) and not own]
    return {
        str(name): value if name in nested else _plain(value, f"{where}, {name}") for name, value in factors.items()
    }


def clean_row(row, columns, where):
    """(factors, other facts) of a row, JSON-able: dicts of texts, numbers and None.

    Examples
    --------
    >>> clean_row({"run": "a", "rate": np.float64(0.1), "note": " x ", "grid": 3}, ["rate"], "run a")
    ({'rate': 0.1}, {'note': 'x'})
    """
    factors = {column: _plain(row[column], f"{where}, {column}") for column in columns}
    extra = {}
    for column, value in row.items():
        if column in (*columns, *CHECKPOINTS) or RESERVED.fullmatch(column):
            continue
        if not isinstance(value, NESTED):
            extra[column] = _plain(value, where)
    return factors, extra


def _plain(value, where):
    value = value.item() if getattr(value, "ndim", None) == 0 else value  # numpy's and torch's numbers
    if isinstance(value, NESTED) or getattr(value, "ndim", 0):
        raise ValueError(
            f"{where}: a factor is a text or a number, found {value!r}; write several values as one text, such as "
            "'64-64', or as a factor each"
        )
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value.strip() if isinstance(value, str) else value if isinstance(value, bool | int | float) else str(value)


def as_factor(column):
    """A column of stored values in one type: numbers (NaN where missing), truth values, or texts (`MISSING`).

    Examples
    --------
    >>> as_factor(pd.Series(["sgd", None, 3])).tolist(), as_factor(pd.Series([1, None], dtype=object)).tolist()
    (['sgd', 'none', '3'], [1.0, nan])
    """
    if column.dtype != object and not pd.api.types.is_string_dtype(column):
        return column
    kinds = {type(value) for value in column if value is not None and value == value}
    if kinds == {bool} and column.notna().all():
        return column.astype(bool)
    if kinds and kinds <= {int, float}:
        return pd.to_numeric(column)
    return column.map(lambda value: MISSING if value is None or value != value else str(value)).astype(object)


def listed(value):
    """Numbers of a cell or an option: a list, "0 10 20", "[0, 10]", "0;10" or "0:100:10" (its end among them).

    Examples
    --------
    >>> listed("[0, 10; 20]"), listed("0:6:3"), listed(4)
    ([0.0, 10.0, 20.0], [0.0, 3.0, 6.0], [4.0])
    """
    if isinstance(value, list | tuple | np.ndarray):
        return [float(one) for one in value]
    text = str(value).strip()
    try:
        if ":" in text:
            start, stop, step = (float(part) for part in [*text.split(":"), "1"][:3])
            return np.arange(start, stop + step / 2, step).tolist()
        return [float(part) for part in LIST.split(text) if part]
    except ValueError:
        known = "such as 0,10,20 or 0:100:10"
        raise ValueError(f"steps and epochs are lists of numbers, {known}; found {text!r}") from None
