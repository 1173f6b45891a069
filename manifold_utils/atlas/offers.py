"""Runs as they are offered to an atlas: a table with predictions, records, or pairs, one after the other.

An `Offer` says what one run is, and gives its predictions when they are asked for. It checks nothing (see `door`).
"""

from dataclasses import dataclass, field

import pandas as pd

from manifold_utils.atlas.columns import table_of
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

    def taken(self):
        """(predictions, the row with steps and epochs that their files say, unless the row says them itself)."""
        values = self.values() if callable(self.values) else self.values
        values, times = values if isinstance(values, tuple) else (values, {})
        return values, {**times, **{key: value for key, value in self.row.items() if value is not None}}


def offers(runs, predictions=None):
    """(table or None, iterator of `Offer`) of all that `record_runs` takes."""
    if predictions is not None:
        table = table_of(runs)
        missing = [run for run in table.run if run not in predictions] if isinstance(predictions, dict) else []
        if missing:
            raise ValueError(f"no predictions of {len(missing)} runs of the table, such as {missing[0]!r}")
        ask = predictions.__getitem__ if isinstance(predictions, dict) else predictions
        return table, (Offer(row, (lambda name=row["run"]: ask(name))) for row in table.to_dict(orient="records"))
    if isinstance(runs, dict | pd.DataFrame):
        raise ValueError("a table needs predictions=...: a dict of run -> array, or a function from a run's name to it")
    return None, (_offer(one) for one in runs)


def _offer(one):
    if isinstance(one, RunRecord):
        points = {"steps": one.points.step.tolist(), "epochs": one.points.epoch.tolist()}
        row = {"run": one.name, **{k: v for k, v in one.factors.items() if not isinstance(v, dict)}, **points}
        facts = {"data": one.data, "status": one.status, "seconds": one.seconds, "info": one.info}
        return Offer(row, one.log_probs, kind="log_probs", facts=facts)
    if isinstance(one, Offer):
        return one
    if not (isinstance(one, tuple) and len(one) in (2, 3)):
        raise ValueError(f"a run is a RunRecord or a pair (row, predictions); found {type(one).__name__}")
    return Offer(dict(one[0]), *one[1:])
