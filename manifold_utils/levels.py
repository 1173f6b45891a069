"""Levels of a factor: their order, their names, and which runs repeat a configuration under which seed.

A factor of the book's own runs is complete and of one type. In a table of somebody's runs a value may be missing: a
random forest has no learning rate. Here that gets one meaning, for all rooms. It knows no atlas and draws nothing.
"""

import numbers

import numpy as np
import pandas as pd

MISSING = "none"  # the level of a run that has no value of a factor


def with_missing_named(runs, columns):
    """A table whose missing values in `columns` are a level of their own, "none"; other columns stay as they are.

    A column with missing values becomes one of words, so that every column holds values of one kind, which sort.

    Parameters
    ----------
    runs : DataFrame
    columns : sequence of str; those that the table lacks are passed over

    Returns
    -------
    DataFrame; `runs` itself where nothing is missing

    Examples
    --------
    >>> with_missing_named(pd.DataFrame({"depth": [2.0, np.nan]}), ["depth", "rate"]).depth.tolist()
    ['2', 'none']
    """
    lacking = [c for c in columns if c in runs and runs[c].isna().any()]
    named = {c: [MISSING if _is_missing(v) else _word(v) for v in runs[c]] for c in lacking}
    return runs.assign(**named) if named else runs


def _word(value):
    whole = is_number(value) and float(value).is_integer()
    return str(int(value)) if whole else str(value.item() if isinstance(value, np.generic) else value)


def sorted_levels(values):
    """The different values of a factor in the order in which tables and figures show them.

    Parameters
    ----------
    values : sequence of numbers, booleans or str, mixed or with missing ones

    Returns
    -------
    list: numbers by size, also those in words; then other words by the alphabet; "none" last, also for a missing value

    Examples
    --------
    >>> sorted_levels([10, 9, 0.5]), sorted_levels(["vit", 3, None, "fc", 20])
    ([0.5, 9, 10], [3, 20, 'fc', 'vit', 'none'])
    >>> sorted_levels(["none", "10", "9"])
    ['9', '10', 'none']
    """
    found = {MISSING if _is_missing(v) else v.item() if isinstance(v, np.generic) else v for v in _as_list(values)}
    return sorted(found, key=_order)


def _as_list(values):
    return list(values.unique()) if isinstance(values, pd.Series) else list(values)


def _is_missing(value):
    return value is None or value is pd.NA or value is pd.NaT or value != value  # NaN alone differs from itself


def is_number(value):
    """Whether a level is a finite number, and so has a place on an axis; booleans and words are not.

    Examples
    --------
    >>> is_number(np.float32(0.1)), is_number(True), is_number("0.1")
    (True, False, False)
    """
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_) and bool(np.isfinite(value))


def _order(level):
    if level == MISSING:
        return (2, 0.0, level)
    try:
        size = float(level)
    except (TypeError, ValueError):
        return (1, 0.0, str(level))
    return (0, size, str(level)) if np.isfinite(size) else (1, 0.0, str(level))


def seeds_of(runs, design):
    """Which rows share a seed: equal numbers for equal seeds.

    Parameters
    ----------
    runs : DataFrame of n_rows rows, one a run; or of points, with a column `run`
    design : profiles.Design
        Without a seed, or where a run's seed is missing, every run is a repeat of its own.

    Returns
    -------
    ndarray of shape (n_rows,), int64

    Examples
    --------
    >>> from manifold_utils.profiles import BOOK_DESIGN, Design
    >>> runs = pd.DataFrame({"seed": [7, 8, 7]})
    >>> seeds_of(runs, BOOK_DESIGN).tolist(), seeds_of(runs, Design(("model",), "model", None)).tolist()
    ([0, 1, 0], [0, 1, 2])
    """
    names = runs["run"].to_numpy() if "run" in runs else np.arange(len(runs))
    own = pd.factorize(names)[0].astype(np.int64)
    if design.seed is None or design.seed not in runs:
        return own
    seed = runs[design.seed]
    missing = (seed.isna() | (seed == MISSING)).to_numpy()
    number = pd.factorize(seed)[0].astype(np.int64)
    return np.where(missing, number.max(initial=0) + 1 + own, number)


def varied(runs, columns):
    """Those of `columns` in which the rows of a table differ, in their order: a list of str.

    Examples
    --------
    >>> varied(pd.DataFrame({"depth": [2, 2], "rate": [0.1, np.nan]}), ["depth", "rate", "width"])
    ['rate']
    """
    return [c for c in columns if c in runs and runs[c].nunique(dropna=False) > 1]
