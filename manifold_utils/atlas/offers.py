"""Runs as they are offered to an atlas: a table with predictions, records, or pairs, one after the other.

An `Offer` says what one run is, and gives its predictions when they are asked for. It checks nothing (see `door`).
"""

from dataclasses import dataclass, field

import pandas as pd

from manifold_utils.atlas.columns import CHECKPOINTS, table_of
from manifold_utils.atlas.records import RunRecord


@dataclass
class Offer:
    """One run as it comes in: its row of the table, its predictions (a dict, an array, or a function of none)."""

    row: dict
    values: object
    labels: dict = field(default_factory=dict)
    kind: str = ""  # "" for the kind of the whole call
    facts: dict = field(default_factory=dict)  # fields of its RunRecord that are known: data, status, seconds, info
    source: str = ""  # where it lies, for errors
    scores: dict = field(default_factory=dict)  # error_<split> of each checkpoint, as its recorder saw it

    def taken(self):
        """(predictions, the row with steps and epochs that their files say, unless the row says them itself)."""
        values = self.values() if callable(self.values) else self.values
        values, times = values if isinstance(values, tuple) else (values, {})
        return values, {**times, **{key: value for key, value in self.row.items() if value is not None}}


def offers(runs, predictions=None):
    """(table or None, iterator of `Offer`) of all that `record_runs` takes.

    What an iterator will bring is not known: there is a table of a list, of pairs or of records.
    """
    if predictions is not None:
        table = table_of(runs)
        missing = [run for run in table.run if run not in predictions] if isinstance(predictions, dict) else []
        if missing:
            raise ValueError(f"no predictions of {len(missing)} runs of the table, such as {missing[0]!r}")
        ask = predictions.__getitem__ if isinstance(predictions, dict) else predictions
        return table, (Offer(row, (lambda name=row["run"]: ask(name))) for row in table.to_dict(orient="records"))
    if isinstance(runs, dict | pd.DataFrame):
        raise ValueError("a table needs predictions=...: a dict of run -> array, or a function from a run's name to it")
    if not isinstance(runs, list | tuple):
        return None, (_offer(one) for one in runs)
    listed = [_offer(one) for one in runs]
    return _table_of_rows([offer.row for offer in listed]) if listed else None, iter(listed)


def _table_of_rows(rows):
    """The table of rows; ValueError if some lack a column that others have: it could be no factor of theirs."""
    columns = list(dict.fromkeys(column for row in rows for column in row if column not in CHECKPOINTS))
    for row in rows:
        missing = [column for column in columns if column not in row]
        if missing:
            raise ValueError(
                f"run {row.get('run')!r} has no {', '.join(map(repr, missing))}, and other runs have: give every run "
                "the same factors, None where it has no such setting"
            )
    return table_of([{column: row[column] for column in columns} for row in rows])


def _offer(one):
    if isinstance(one, RunRecord):
        points = {"steps": one.points.step.tolist(), "epochs": one.points.epoch.tolist()}
        row = {"run": one.name, **{k: v for k, v in one.factors.items() if not isinstance(v, dict)}, **points}
        facts = {"data": one.data, "status": one.status, "seconds": one.seconds, "info": one.info}
        scores = {f"error_{split}": one.points[f"error_{split}"].to_numpy() for split in one.splits}
        return Offer(row, one.log_probs, kind="log_probs", facts=facts, scores=scores)
    if isinstance(one, Offer):
        return one
    if not (isinstance(one, tuple) and len(one) in (2, 3)):
        raise ValueError(f"a run is a RunRecord or a pair (row, predictions); found {type(one).__name__}")
    return Offer(dict(one[0]), *one[1:])
