"""Named results of chapters, and the paper's claims judged by them.

A chapter ends by saving named numbers (value, interval, sample size, unit) with what made them; `scorecard` reads
those of all chapters, lays the paper's number beside ours and gives the verdict by a rule stated in
notebooks/claims.yaml. It computes no result itself.
"""

import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from manifold_utils.files import PROJECT, read_json, write_json
from manifold_utils.profiles import load_yaml

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "pandas", "numba")
CLAIMS_FILE = PROJECT / "notebooks" / "claims.yaml"


class Claim(BaseModel):
    """One claim of the paper and the open rule that judges it.

    `result` is '<chapter>.<name>'. With direction 'at_least' the claim is *reproduced* when the interval's low end
    reaches `reproduced`, *contradicted* when its high end stays below `contradicted`, and otherwise *not at this
    scale*; with 'at_most' the other way round.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    statement: str
    source: str
    paper: float | None = None
    result: str
    unit: str = ""
    direction: Literal["at_least", "at_most"]
    reproduced: float
    contradicted: float
    rule: str

    def verdict(self, low, high):
        """'reproduced', 'contradicted' or 'not at this scale' for an interval of ours."""
        sign = 1 if self.direction == "at_least" else -1
        ends = sorted((sign * low, sign * high))
        if ends[0] >= sign * self.reproduced:
            return "reproduced"
        return "contradicted" if ends[1] < sign * self.contradicted else "not at this scale"


def result(value, *, low=None, high=None, n=None, unit="", note=""):
    """One named number. `low` and `high` bound it (say by what in `note`); NaN and infinity become None."""
    clean = [None if v is None or not np.isfinite(v) else float(v) for v in (value, low, high)]
    return {
        "value": clean[0],
        "low": clean[1],
        "high": clean[2],
        "n": None if n is None else int(n),
        "unit": unit,
        "note": note,
    }


def save_results(atlas, chapter, results, *, seed=0, started=None, device="cpu"):
    """Write results/<chapter>.json: named numbers and what made them.

    Parameters
    ----------
    atlas : Atlas
    chapter : str
        The chapter's number, such as '42'.
    results : dict of name -> `result(...)`
    started : float, optional
        `time.time()` at the chapter's start; gives the seconds.
    """
    folder = atlas.path / "results"
    folder.mkdir(exist_ok=True)
    made = {
        "profile": atlas.profile.name,
        "seed": seed,
        "device": device,
        "seconds": round(time.time() - started, 1) if started else None,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {p: version(p) for p in PACKAGES},
        "points": atlas.points_fingerprint() if (atlas.path / "points.parquet").is_file() else None,
    }
    write_json(folder / f"{chapter}.json", {"chapter": chapter, "results": results, "made": made})
    return results_table(results)


def results_table(results):
    """The results as a DataFrame: name, value, low, high, n, unit, note."""
    return pd.DataFrame(results).T.rename_axis("name")[["value", "low", "high", "n", "unit", "note"]]


def load_results(folder):
    """All results of an atlas' results folder: dict of '<chapter>.<name>' -> result."""
    files = sorted(Path(folder).glob("*.json"))
    return {f"{f.stem}.{name}": value for f in files for name, value in read_json(f)["results"].items()}


def load_claims(path=CLAIMS_FILE):
    """The paper's claims from a YAML file, validated."""
    return [Claim(**entry) for entry in load_yaml(Path(path).read_text(encoding="utf-8"))]


def scorecard(folder, claims=None):
    """Each claim with the paper's number, ours, its interval, sample size and verdict.

    Returns
    -------
    DataFrame with columns claim, statement, source, paper, ours, low, high, n, unit, verdict, rule
    """
    found, rows = load_results(folder), []
    for claim in claims or load_claims():
        ours = found.get(claim.result)
        row = {"claim": claim.id, "statement": claim.statement, "source": claim.source, "paper": claim.paper}
        if ours is None or ours["value"] is None:
            rows.append(
                {
                    **row,
                    "ours": None,
                    "low": None,
                    "high": None,
                    "n": None,
                    "unit": claim.unit,
                    "verdict": "not computed",
                    "rule": claim.rule,
                }
            )
            continue
        low, high = (ours["value"] if ours[k] is None else ours[k] for k in ("low", "high"))
        rows.append(
            {
                **row,
                "ours": ours["value"],
                "low": low,
                "high": high,
                "n": ours["n"],
                "unit": claim.unit,
                "verdict": claim.verdict(low, high),
                "rule": claim.rule,
            }
        )
    return pd.DataFrame(rows)


def scorecard_markdown(card, profile):
    """The scorecard as a Markdown table for the README; every number comes from `card`."""
    lines = [f"| claim | paper | ours (`{profile}`) | interval | n | verdict |", "|---|---|---|---|---|---|"]
    for row in card.to_dict("records"):
        ours = "-" if row["ours"] is None or pd.isna(row["ours"]) else f"{row['ours']:.3g} {row['unit']}".strip()
        interval = "-" if ours == "-" else f"{row['low']:.3g} to {row['high']:.3g}"
        paper = "-" if row["paper"] is None or pd.isna(row["paper"]) else f"{row['paper']:.3g}"
        n = "-" if row["n"] is None or pd.isna(row["n"]) else f"{int(row['n'])}"
        lines.append(f"| {row['claim']}. {row['statement']} | {paper} | {ours} | {interval} | {n} | {row['verdict']} |")
    return "\n".join(lines)
