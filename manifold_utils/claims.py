"""Named results of chapters, and the paper's claims judged by them in two columns.

A chapter ends by saving named numbers (value, interval, sample size, unit) with what made them; `scorecard` reads
those of all chapters, lays the paper's number beside ours, and draws a conclusion by the rules in
notebooks/claims.yaml, which compare with what a world without the effect gives. It computes no result itself.
"""

import ast
import os
import platform
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from manifold_utils.files import PROJECT, read_json, write_json
from manifold_utils.strict_yaml import read_yaml

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "pandas", "numba")
RUN_VARIABLE = "MANIFOLD_RUN"  # set by the book's runner: the job, and the fingerprint of all that it depends on
PLACES = ("data_dir", "client")  # parameters that say where things happen; results do not depend on them
NO_QUESTION = ("profile", *PLACES)  # parameters that say of which atlas a chapter asks its question, and where
CLAIMS_FILE = PROJECT / "notebooks" / "claims.yaml"
REFERENCE = PROJECT / "notebooks" / "reference"
IMAGE_FOLDER, IMAGENET_CLASSES = "imagefolder", 1000  # a folder of pictures is ImageNet only with as many classes


HOLDS, NULL, UNDECIDED, CONTRADICTED = (
    "holds beyond the null",
    "the null does as well",
    "not decided",
    "contradicted",
)
ABSENT, OTHER = "not computed", "other data"
CONCLUSIONS = (CONTRADICTED, NULL, UNDECIDED, HOLDS, ABSENT)  # the first that any evidence gives decides


class NotEnough(ValueError):
    """A chapter finds too little in its atlas to ask its question: raised with a sentence that says how much it needs.

    The runner leaves the chapter out, aloud; it is no failure.
    """


class Evidence(BaseModel):
    """A bound on one named result, and what a world without the effect gives for it.

    With direction 'at_most' and an interval [low, high] of ours: *holds beyond the null* if high <= `holds`, and if the
    interval of `null_result`, where there is one, does not keep the bound as well; *contradicted* if low >
    `contradicted`; *the null does as well* if low > `holds` and high >= `null_value`: the effect is excluded and
    the null's value is not; else *not decided*. With 'at_least' the other way round.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    result: str
    direction: Literal["at_least", "at_most"]
    holds: float
    null_value: float | None = None
    null_result: str | None = None
    contradicted: float | None = None

    def conclusion(self, interval, null_interval=None):
        """One of CONCLUSIONS for (low, high) of our result and of `null_result`; None stands for not computed."""
        if interval is None or (self.null_result is not None and null_interval is None):
            return ABSENT
        best, worst = self._ends(interval)
        sign = self._sign
        if worst <= sign * self.holds:
            also = null_interval is not None and self._ends(null_interval)[1] <= sign * self.holds
            return NULL if also else HOLDS
        if self.contradicted is not None and best > sign * self.contradicted:
            return CONTRADICTED
        reaches = self.null_value is not None and worst >= sign * self.null_value
        return NULL if reaches and best > sign * self.holds else UNDECIDED

    @property
    def _sign(self):
        return 1 if self.direction == "at_most" else -1

    def _ends(self, interval):
        """(best, worst) end of an interval where small is good."""
        return sorted(self._sign * end for end in interval)


class Claim(BaseModel):
    """One claim of the paper, the number it is about if there is one, and the evidence that decides on it.

    `result` and the results of the evidence are '<chapter>.<name>'. `data` names the data set that the paper's number
    is about, or 'any'. `beside` lists results to be read with the conclusion.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    id: str
    statement: str
    source: str
    data: str = "any"
    paper: float | None = None
    tolerance: float | None = None
    result: str | None = None
    evidence: list[Evidence] = []
    beside: list[str] = []
    rule: str

    @model_validator(mode="after")
    def _number_is_whole(self):
        given = [self.paper is not None, self.tolerance is not None, self.result is not None]
        if any(given) != all(given):
            raise ValueError(f"claim {self.id}: paper, tolerance and result come together or not at all")
        if not (self.evidence or self.result):
            raise ValueError(f"claim {self.id} names no result")
        return self

    def number(self, value, data):
        """'same', 'different', 'other data' or 'not computed' for our value on a data set; '' without a paper's."""
        if self.paper is None:
            return ""
        if self.data not in ("any", data):
            return OTHER
        if value is None:
            return ABSENT
        return "same" if abs(value - self.paper) <= self.tolerance else "different"

    def conclusion(self, found, data=""):
        """One of CONCLUSIONS from named results; '' for a number alone, 'other data' for words about other data."""
        if self.paper is None and self.data not in ("any", data):
            return OTHER
        each = [e.conclusion(*(interval_of(found.get(r)) for r in (e.result, e.null_result))) for e in self.evidence]
        return next((c for c in CONCLUSIONS if c in each), "") if ABSENT not in each else ABSENT


def interval_of(one):
    """(low, high) of a result; its value twice where it has no interval, None where it is not computed."""
    if one is None or one["value"] is None:
        return None
    return tuple(one["value"] if one[end] is None else one[end] for end in ("low", "high"))


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


def results_of(table, key, value, low=None, high=None, n=None, note=""):
    """Named numbers of a table, one a row.

    Parameters
    ----------
    table : DataFrame
    key : str
        Name of a row's number, with {} for its index, or several {} for the levels of a MultiIndex.
    value, low, high : str, columns of `table`
    n : str, a column, or int for all rows
    note : str

    Returns
    -------
    dict of name -> `result(...)`; names have underscores for blanks, and no punctuation

    Examples
    --------
    >>> results_of(pd.DataFrame({"R2": [0.5]}, index=["the road: all"]), "r2_{}", "R2", n=9)["r2_the_road_all"]["n"]
    9
    """
    found = {}
    for index, row in zip(table.index, table.to_dict("records"), strict=True):
        name = key.format(*index) if isinstance(index, tuple) else key.format(index)
        ends = {"low": row.get(low), "high": row.get(high), "n": row[n] if isinstance(n, str) else n}
        found[plain_key(name)] = result(row[value], **ends, note=note)
    return found


def plain_key(name):
    """A name of a result: underscores for blanks, without commas, colons and dots of omission.

    Examples
    --------
    >>> plain_key("r2_... and the road")
    'r2_and_the_road'
    """
    return name.replace(" ", "_").replace(",", "").replace("..._", "").replace(":", "")


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
    made = {
        "run": os.environ.get(RUN_VARIABLE) or None,
        "parameters": (values := _parameters()),
        "changed": _changed(values, chapter),
        "profile": atlas.profile.name,
        "data": atlas.profile.data_name,
        "seed": seed,
        "device": device,
        "seconds": round(time.time() - started, 1) if started else None,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {p: version(p) for p in PACKAGES},
        "points": atlas.points_fingerprint() if (atlas.path / "points.parquet").is_file() else None,
    }
    value = {"chapter": chapter, "results": results, "made": made}
    write_json(atlas.folder("results") / f"{chapter}.json", value)
    return results_table(results)


def _parameters():
    """Values of the names in the chapter's parameters cell, as they are now; empty outside a notebook.

    In a kernel the cell is the first that holds nothing but `name = literal` and names the profile.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    values = shell.user_ns if shell else {}
    names = next((found for found in map(_assigned, values.get("In", [])) if "profile" in found), [])
    return {name: values[name] for name in names if name in values and name not in PLACES}


def _assigned(source):
    """What a cell of nothing but `name = literal` assigns, dict name -> value; empty for another cell."""
    try:
        return {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(source).body}
    except (SyntaxError, ValueError, AttributeError):
        return {}


def _changed(values, chapter):
    """The parameters of a chapter that are not as its notebook in the book has them: dict name -> value."""
    texts = "".join(path.read_text(encoding="utf-8") for path in (PROJECT / "notebooks").glob(f"{chapter}_*.py"))
    cells = re.split(r"^# %%.*\n", texts, flags=re.M)
    declared = next((found for found in map(_assigned, cells) if "profile" in found), {})
    return {n: v for n, v in values.items() if n in declared and n not in NO_QUESTION and v != declared[n]}


def with_other_parameters(folder):
    """Results of runs by hand whose parameters are not the book's: dict of chapter -> the parameters that differ.

    The scorecard does not judge them: its rules were written for the chapters' own parameters. A notebook that is
    opened and run as it is gives what the book's runner would, and is judged.

    Parameters
    ----------
    folder : path, or list of paths, see `load_results`
    """
    return {path.stem: changed for path in _files(folder) if (changed := _swept(path))}


def _swept(path):
    made = read_json(path).get("made", {})
    return made.get("changed") if made.get("run", "") is None else None


def by_hand(folder):
    """Results that the book's runner did not make: dict of chapter -> its parameters then.

    A notebook that is opened and run by hand, or executed by papermill alone, saves its results where the book does.
    Results from before this was noted count as the book's own.

    Parameters
    ----------
    folder : path, or list of paths, see `load_results`
    """
    made = {path.stem: read_json(path).get("made", {}) for path in _files(folder)}
    return {chapter: m["parameters"] for chapter, m in made.items() if "run" in m and m["run"] is None}


def results_table(results):
    """The results as a DataFrame: name, value, low, high, n, unit, note."""
    columns = ["value", "low", "high", "n", "unit", "note"]
    return pd.DataFrame.from_dict(results, orient="index").reindex(columns=columns).rename_axis("name")


def load_results(folder, *, judged=False):
    """All results of a folder, or of several (`Atlas.results_folders`; of one chapter the last one's): dict of
    '<chapter>.<name>' -> result. With `judged`, without those of `with_other_parameters`."""
    files = _files(folder, judged)
    return {f"{f.stem}.{name}": value for f in files for name, value in read_json(f)["results"].items()}


def _files(folder, judged=False):
    """Paths of the results files of a folder, or of several, of which later ones win."""
    folders = folder if isinstance(folder, list | tuple) else [folder]
    found = [path for each in folders for path in sorted(Path(each).glob("*.json")) if not (judged and _swept(path))]
    return list({path.name: path for path in found}.values())


def load_claims(path=CLAIMS_FILE):
    """The paper's claims from a YAML file, validated; ValueError names the file, the claim and the key."""
    listed = []
    for number, entry in enumerate(read_yaml(path) or [], start=1):
        try:
            listed.append(Claim.model_validate(entry))
        except ValidationError as error:
            first, name = error.errors()[0], entry.get("id", number) if isinstance(entry, dict) else number
            key = ".".join(map(str, first["loc"])) or "(claim)"
            raise ValueError(f"{path}: claim {name}, key '{key}': {first['msg']}") from error
    return listed


def data_of(folder):
    """The data set that the results of a folder are about; '' where no file says.

    An image folder counts as ImageNet ('imagefolder', as claims name it) only if chapter 10 found 1,000 classes there.
    """
    files = [read_json(f) for f in _files(folder)]
    name = next((f["made"]["data"] for f in files if "data" in f["made"]), "")
    classes = next((f["results"]["n_classes"]["value"] for f in files if "n_classes" in f["results"]), None)
    return "image folder" if name == IMAGE_FOLDER and classes != IMAGENET_CLASSES else name


def scorecard(folder, claims=None):
    """Each claim with the paper's number, ours, its interval, and the two columns: number and conclusion.

    Parameters
    ----------
    folder : path of results, of an atlas or of a reference run, or list of paths, see `load_results`
    claims : list of Claim, optional
        By default those of the book.

    Returns
    -------
    DataFrame with columns claim, statement, source, data, paper, ours, low, high, n, number, conclusion, evidence
    (in words: each result with its interval and bound), rule
        `ours` is the claim's number or, where the paper gives none, the first evidence.
    """
    found, data, rows = load_results(folder, judged=True), data_of(folder), []
    for claim in claims or load_claims():
        conclusion = claim.conclusion(found, data)
        ours = found.get(claim.result or claim.evidence[0].result) if conclusion != OTHER else None
        ours = ours or result(None)
        low, high = interval_of(ours) or (None, None)
        row = {"claim": claim.id, "statement": claim.statement, "source": claim.source, "data": claim.data}
        row |= {"paper": claim.paper, "ours": ours["value"], "low": low, "high": high, "n": ours["n"]}
        row |= {"number": claim.number(ours["value"], data), "conclusion": conclusion}
        rows.append(row | {"evidence": evidence_in_words(claim, found), "rule": claim.rule})
    return pd.DataFrame(rows)


def reference_cards(claims=None, folder=REFERENCE):
    """Scorecards of the committed reference runs: dict profile -> DataFrame; real images first, digits last."""
    profiles = sorted((p for p in Path(folder).glob("*") if any(p.glob("*.json"))), key=lambda p: data_of(p) or "z")
    return {p.name: scorecard(p, claims) for p in profiles}


def evidence_in_words(claim, found):
    """'42.train_axes_ratio 0.61 (0.5 to 0.66), at most 0.67' for each result that decides or stands beside."""
    parts = []
    for e in claim.evidence:
        about = "at least" if e.direction == "at_least" else "at most"
        parts.append(f"{_in_words(e.result, found)}, {about} {e.holds:g}")
        parts += [f"the null: {_in_words(e.null_result, found)}"] if e.null_result else []
    return "; ".join(parts + [f"beside: {_in_words(name, found)}" for name in claim.beside if name in found])


def _in_words(name, found):
    ends = interval_of(found.get(name))
    return f"{name} {ABSENT}" if ends is None else f"{name} {found[name]['value']:.3g} ({ends[0]:.3g} to {ends[1]:.3g})"


def scorecards_markdown(cards):
    """Scorecards of several profiles side by side as a Markdown table; every number comes from the cards.

    Parameters
    ----------
    cards : dict profile -> DataFrame of `scorecard`, on the same claims
    """
    lines = ["| claim | paper | " + " | ".join(f"`{name}`" for name in cards) + " |", "|---" * (2 + len(cards)) + "|"]
    first = next(iter(cards.values()))
    for k, row in enumerate(first.to_dict("records")):
        paper = "" if row["paper"] is None or pd.isna(row["paper"]) else f"{row['paper']:.3g}"
        cells = [_cell(card.iloc[k]) for card in cards.values()]
        lines.append(f"| {row['claim']}. {row['statement']} | {paper} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row):
    """'0.74 (0.7 to 0.78); number: same; **holds beyond the null**'."""
    if row.ours is None or pd.isna(row.ours):
        return row.conclusion or ABSENT
    parts = [f"{row.ours:.3g} ({row.low:.3g} to {row.high:.3g})"]
    parts += [f"number: {row.number}"] if row.number else []
    return "; ".join(parts + ([f"**{row.conclusion}**"] if row.conclusion else []))
