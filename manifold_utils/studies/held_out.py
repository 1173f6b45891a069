"""How well sets of numbers predict outcomes of runs that a regression has not seen, and what one set adds to another.

Each set is judged on held-out groups (whole configurations, or whole families) beside two worlds of chance:
configurations that exchange their outcomes, and configurations of one family that exchange the numbers in question
while all else stays. The regressions and intervals are those of `statistics`; nothing picks the best of many.
"""

import numpy as np
import pandas as pd

from manifold_utils import statistics

HELD_OUT, GAIN = "configurations", "gain"
CHANCE = 0.95  # quantile of a world of chance that figures show


def rounds_of(families, configuration, name, *, n_folds=5, least=8):
    """What is held out in turn: configurations, and where there are several, families.

    Parameters
    ----------
    families, configuration : array-like of shape (n_runs,)
    name : str, of the families
    n_folds : int, parts of the configurations
    least : int
        With fewer configurations nothing is held out.

    Returns
    -------
    dict of name -> (groups, number of parts)

    Examples
    --------
    >>> list(rounds_of(["a", "b"] * 4, range(8), "models")), rounds_of(["a", "b"], [0, 1], "models")
    (['configurations', 'models'], {})
    """
    if len(np.unique(configuration)) < least:
        return {}
    rounds = {HELD_OUT: (np.asarray(configuration), n_folds), name: (np.asarray(families), len(np.unique(families)))}
    return {held: of_round for held, of_round in rounds.items() if len(np.unique(of_round[0])) > 1}


def scores(sets, outcome, rounds, configuration, *, n_null, seed, stream):
    """Held-out R^2 of each set of numbers for each outcome, with intervals and p-values.

    Parameters
    ----------
    sets : dict of name -> DataFrame (n_runs, n_features)
    outcome : DataFrame (n_runs, n_outcomes)
    rounds : see `rounds_of`
    configuration : array-like of shape (n_runs,); intervals draw them, and the null exchanges their outcomes
    n_null : int, exchanges
    seed : int, of the folds
    stream : callable, from a purpose (str) to a numpy Generator

    Returns
    -------
    DataFrame with R2, low, high, chance (95 % of the null) and p; index (held out, set, outcome)
    """
    y, exchange = outcome.to_numpy(), stream("configurations exchanged")
    y_null = np.hstack([y[statistics.exchanged(configuration, exchange)] for _ in range(n_null)])
    rows = {}
    for held, (groups, folds) in rounds.items():
        for name, features in sets.items():
            options = {"n_splits": folds, "seed": seed}
            real = statistics.held_out_errors(features.to_numpy(), y, groups, **options)
            model, guess = statistics.held_out_errors(features.to_numpy(), y_null, groups, **options)
            heaps = (1 - model.sum(axis=0) / guess.sum(axis=0)).reshape(n_null, -1)
            for k, what in enumerate(outcome):
                errors = real[0][:, k], real[1][:, k]
                found = statistics.r2_interval(*errors, configuration, rng=stream("R2"))
                chance, p = np.quantile(heaps[:, k], CHANCE), statistics.p_value(found[0], heaps[:, k], side="high")
                rows[held, name, what] = (*found, chance, p)
    return _table(rows, ["R2", "low", "high", "chance", "p"])


def gains(added, known, outcome, rounds, configuration, strata, *, n_null, seed, stream):
    """What a set of numbers adds in held-out R^2 to what is known anyway.

    Parameters
    ----------
    added : DataFrame (n_runs, n_features)
    known : dict of name -> DataFrame (n_runs, n_known)
    outcome, rounds, configuration, n_null, seed, stream : see `scores`
    strata : array-like of shape (n_runs,)
        The null exchanges `added` between configurations of one stratum; everything else stays where it is.

    Returns
    -------
    DataFrame with gain, low, high, p and "p corrected" (Holm, for all rows); index (held out, known, outcome)
    """
    rows = {}
    for held, (groups, folds) in rounds.items():
        for name, anyway in known.items():
            exchange, others = stream("roads exchanged"), [np.arange(len(outcome))]
            others += [statistics.exchanged(configuration, exchange, strata=strata) for _ in range(n_null)]
            parts = anyway.to_numpy(), added.to_numpy(), outcome.to_numpy()
            errors, base, guess, saved = _saved(*parts, groups, others, {"n_splits": folds, "seed": seed})
            for k, what in enumerate(outcome):
                ends = {"against": base[:, k], "rng": stream(GAIN)}
                found = statistics.r2_interval(errors[:, k], guess[:, k], configuration, **ends)
                rows[held, name, what] = (*found, statistics.p_value(saved[0, k], saved[1:, k], side="high"))
    table = _table(rows, [GAIN, "low", "high", "p"])
    return table.assign(**{"p corrected": statistics.holm(table.p)})


def judged(gains):
    """`gains` with two more columns: verdict (see `statistics.verdict`) and number, gain and interval in words."""
    ends = gains[["low", "high", "p corrected"]].to_numpy()
    words = [statistics.in_words(*row) for row in gains[[GAIN, "low", "high"]].to_numpy()]
    return gains.assign(verdict=[statistics.verdict(*row) for row in ends], number=words)


def _saved(anyway, added, y, groups, others, options):
    """Squared errors with the added numbers and without, and the shares of R^2 saved, really and in each exchange."""
    base, guess = statistics.held_out_errors(anyway, y, groups, **options)
    each = [np.hstack([anyway, added[rows]]) for rows in others]
    errors = [statistics.held_out_errors(features, y, groups, **options)[0] for features in each]
    return errors[0], base, guess, np.array([(base - e).sum(axis=0) / guess.sum(axis=0) for e in errors])


def _table(rows, columns):
    names = ["held out", "numbers", "outcome"]
    index = pd.MultiIndex.from_arrays(np.array(list(rows), dtype=object).reshape(-1, 3).T, names=names)
    return pd.DataFrame(list(rows.values()), index=index, columns=columns, dtype=float)
