"""An atlas of runs that were made elsewhere: from arrays, functions, files or records, one run in memory at a time.

`record_runs` is `Atlas.from_runs`; `Intake` does the work, for the command `import` as well. Each run is stored whole
or not at all, so a killed call goes on where it stopped: a stored run with the same hash is kept. What the columns of a
table mean is decided in `columns`, a run is checked in `door`, and files are read by `recording.importing`.
"""

import re
import warnings
from functools import cached_property
from itertools import chain

import numpy as np
import pandas as pd
from tqdm import tqdm

from manifold_utils.atlas import checks
from manifold_utils.atlas.checked import write_arrays
from manifold_utils.atlas.columns import choose_design, refuse_reserved
from manifold_utils.atlas.door import Door
from manifold_utils.atlas.doubts import doubts, testimony
from manifold_utils.atlas.offers import offers
from manifold_utils.atlas.records import read_facts
from manifold_utils.files import TEMPORARY, data_root, fingerprint, hold_folder, read_json, refuse_foreign, write_json
from manifold_utils.profiles import PROFILE_FOLDER, RECORDED, SPLITS, RecordedProfile, is_frozen

FEWEST_RUNS = 3
N_REFERENCES = 30  # runs of an atlas, at most, that new ones are compared with
N_TOLD = 5  # refused runs that an error quotes
REPLACE = "take the new one with replace=True (--replace), or give it another name"


def record_runs(
    atlas_class, name, runs, labels, *, predictions=None, factors=None, family=None, seed=None, classes=None,
    samples=None, kind="logits", description="", smoothing=0.0, replace=False, trust=False, data_dir="",
    show_progress=False,
):  # fmt: skip
    """Make the atlas `name` of recorded runs, or add runs to it.

    Parameters
    ----------
    atlas_class : Atlas
    name : str
        A letter, then letters, digits, `-` and `_`: `run --profile NAME` finds it.
    runs : DataFrame, list or iterator
        A table with a column `run` and the factors (with `predictions`), `RunRecord`s, or pairs of a row (dict with
        `run` and the factors) and its predictions. `steps` and `epochs` of a row, lists a checkpoint long, are those
        of its checkpoints; without them steps count from 0, and epochs repeat the steps.
    labels : dict of split -> array of shape (n_samples,), or one array (then the split is "test")
        True classes, as numbers of columns or, with `classes`, as their names. Its splits are those of the atlas.
    predictions : dict of run -> predictions, or function from a run's name to them; with a table only
        Predictions are a dict of split -> array (n_checkpoints, n_samples, n_classes), an array (one split), or a
        function of no argument that gives either. Runs are asked for one at a time.
    factors : sequence of str, optional
        Columns that make a configuration, in the order of tables and figures; by default all but `seed`.
    family : str, optional
        The factor that colours figures; by default `model` or the like, else the first with texts.
    seed : str, optional
        The column that only repeats; by default `seed` if there is one.
    classes : sequence of str, optional
        Names of the classes, in the order of the columns.
    samples : dict of split -> array (n_samples, ...), optional
        Pictures of the samples, kept beside them.
    kind : {"logits", "log_probs", "probabilities"}
    description : str
    smoothing : float in [0, 1)
        Part of ignorance that every prediction is mixed with: the cure where learners give the true class 0.
    replace : bool
        Take runs whose predictions or facts are not those stored; they are refused otherwise.
    trust : bool
        Believe `kind` and the order of the classes where the numbers speak against it.
    data_dir : str
        Folder of the atlases; "" for $MANIFOLD_DATA or the project's data/.
    show_progress : bool

    Returns
    -------
    Atlas

    Raises
    ------
    ValueError
        A mistake in the table or the labels, before anything is written; or runs that were refused, after all others
        are stored.

    Warns
    -----
    UserWarning
        Of each run whose samples seem to be in another order than those of the others.
    """
    given = {"factors": factors, "family": family, "seed": seed, "classes": classes, "samples": samples}
    rest = {"kind": kind, "description": description, "smoothing": smoothing, "replace": replace, "trust": trust}
    intake = Intake(atlas_class, name, labels, **given, **rest, data_dir=data_dir)
    atlas = intake.fill(*offers(runs, predictions), show_progress=show_progress)
    for sentence in intake.doubts:
        warnings.warn(sentence, stacklevel=3)
    return atlas


class Intake:
    """One call of `record_runs`: what it was given, and what became of each run.

    Attributes
    ----------
    added, kept : lists of run names; kept were there already
    refused : dict of run -> what was wrong
    diverged : dict of run -> step
    doubts : list of sentences
    """

    def __init__(
        self, atlas_class, name, labels, *, factors=None, family=None, seed=None, classes=None, samples=None,
        kind="logits", description="", smoothing=0.0, replace=False, trust=False, data_dir="",
    ):  # fmt: skip
        self.atlas_class, self.name = atlas_class, checked_name(name)
        self.folder = data_root(data_dir) / "atlases"
        self.before, self.seen = self._existing(), self._state()
        self.given = {"factors": factors, "family": family, "seed": seed}
        named = classes if classes is not None else self.before.profile.classes if self.before else []
        classes = [str(one) for one in named]
        known = self._labels(labels, classes)
        stored = self.folder / self.name / "predictions"
        self.door = Door(stored, known, classes, kind, float(smoothing), trust, n_classes=self._n_classes())
        seen = set() if self._runs_before is None else set(self._runs_before.data) - {self.door.data}
        self.door.content = next(iter(seen), "")
        self._refuse_other_smoothing()
        self.samples, self.description, self.replace = samples or {}, description, replace
        self.added, self.kept, self.refused, self.diverged, self.doubts = [], [], {}, {}, []
        self.testimonies = []

    # -- before anything is written ----------------------------------------------------------------------------------

    def _existing(self):
        path = self.folder / self.name
        if not (path / "atlas.json").is_file():
            facts = path / "recorded.json"
            if facts.is_file() and is_frozen(path / "profile.yaml"):  # an atlas of recorded runs that lost its facts
                return None
            begun = (p for p in path.rglob("*") if p.name == "lock" or p.name.startswith(TEMPORARY))
            refuse_foreign(path, {str(p.relative_to(path)) for p in begun})  # a call that was killed at once
            return None
        if not any((path / "predictions").glob("[!.]*")):
            self.atlas_class(path)
            return None
        atlas = self.atlas_class(path)
        if atlas.profile.kind != RECORDED:
            raise ValueError(f"{path} is an atlas of trained runs: give the recorded ones another name")
        return atlas

    def _refuse_other_smoothing(self):
        path = self.folder / self.name / "recorded.json"
        facts = read_json(path) if self.before and path.is_file() else {"smoothing": self.door.smoothing}
        before = facts.get("smoothing", 0.0)  # imports of before it was noted were not smoothed
        if before != self.door.smoothing:
            raise ValueError(
                f"the runs of {self.name!r} were smoothed by {before:g}, these would be by {self.door.smoothing:g}: "
                "import them alike, or all anew under another name"
            )

    def _n_classes(self):
        points = self._tabled("points")
        if points is None or not len(points):
            return 0
        return self.before.log_probs(self.before.splits[0], [points.run.iloc[0]]).shape[2]

    def _labels(self, labels, classes):
        if not isinstance(labels, dict):
            labels = {"test": labels}
        strange = sorted(set(labels) - set(SPLITS))
        if strange or not labels:
            raise ValueError(f"labels are a dict with 'train', 'test' or both; found {', '.join(strange) or 'none'}")
        known = {s: checks.classes_of(labels[s], f"labels of {s}", classes) for s in SPLITS if s in labels}
        if self.before:
            if set(self.before.splits) != set(known):
                raise ValueError(
                    f"atlas {self.name!r} has predictions on {' and '.join(self.before.splits)}, these runs on "
                    f"{' and '.join(known)}: give this split in another name"
                )
            for split in known:
                other = f"the runs in {self.before.path} (remove that folder to begin anew)"
                stored = self._tabled(f"labels_{split}")
                if stored is not None:
                    checks.check_same_labels(known[split], stored.label.to_numpy(), f"labels of {split}", other)
        return known

    def _design(self, table):
        if self.before and self.given == dict.fromkeys(self.given):
            design = self.before.design
        else:
            known = {key: value for key, value in self.given.items() if value is not None}
            if self.before:
                known = {"factors": self.before.design.factors, "seed": self.before.seed, **known}
            design = choose_design(table, **known)
        refuse_reserved(design.columns)
        missing = [column for column in design.columns if column not in table]
        if missing:
            listed = ", ".join(map(str, table.columns))
            raise ValueError(f"the table of runs has no column {', '.join(map(repr, missing))}; it has {listed}")
        if self.before and self.given["factors"] is None:
            self._refuse_new_factors(table)
        return design

    def _refuse_new_factors(self, table):
        """Runs that differ in what the atlas does not know would count as repeats of one configuration."""
        stored = table if self._runs_before is None else self._runs_before
        known = {*self.before.design.columns, *stored.columns}
        new = [c for c in choose_design(table, family=self.before.family).factors if c not in known]
        if new:
            design = self.before.design
            raise ValueError(
                f"the new runs have {', '.join(map(repr, new))}, and the factors of atlas {self.name!r} are "
                f"{', '.join(design.factors)}: runs that differ in nothing else would count as repeats; name all that "
                f"are to be factors (factors=[...], --factors {','.join([*design.factors, *new])}), or these alone if "
                "it is a note"
            )

    def _state(self):
        """What is stored: another process may write between the first look and the lock."""
        path = self.folder / self.name
        files = (path / "profile.yaml", *(path / f"labels_{split}.parquet" for split in SPLITS))
        return [f.read_bytes() for f in files if f.is_file()], sum(1 for _ in path.glob("predictions/[!.]*"))

    # -- the whole call ----------------------------------------------------------------------------------------------

    def fill(self, table, offered, *, show_progress=False):
        """Take all runs and return the Atlas; see `record_runs`."""
        offered = iter(offered)
        first = next(offered, None)
        if first is None:
            raise ValueError("there are no runs")
        known = pd.DataFrame([{k: v for k, v in first.row.items() if k not in ("steps", "epochs")}])
        self.door.design = self._design(known if table is None else table)
        if table is None and self.given["factors"] is None:
            self.door.columns = tuple(first.row)
        names = () if self._runs_before is None else self._runs_before.index
        n_runs = None if table is None else len({*table.run, *names})
        self._refuse_few(n_runs)
        record = self.door.record(first)  # a mistake in all runs shows in the first, before anything is written
        order, total = [], None if table is None else len(table)
        bar = tqdm(total=total, desc="importing", unit="run", disable=not show_progress)
        with hold_folder(self.folder / self.name), bar:
            if self._state() != self.seen:
                raise RuntimeError(f"another process has just written to {self.folder / self.name}: call this again")
            self.atlas = atlas = self._make()
            atlas.clear()
            for offer in chain([first], offered):
                order.append(str(offer.row.get("run")))
                self._take(offer, record if offer is first else None)
                record = None
                bar.update()
            runs, _ = atlas.collect(atlas.profile, order)
            self._compare_with_others(order)
            self._write_facts(runs)
        finished = int((runs.status == "finished").sum()) if len(runs) else 0
        self._report(finished)
        self._refuse_few(finished)
        return atlas

    def _tabled(self, name):
        """A table of the atlas; None if it is lost or damaged: this import makes it again. A run's content depends on
        the labels, so that runs of other labels are refused all the same."""
        return self.before and self.before.intact(name)

    @cached_property
    def _runs_before(self):
        return self._tabled("runs")

    def _refuse_few(self, n_runs):
        if n_runs is not None and n_runs < FEWEST_RUNS:
            raise ValueError(
                f"{n_runs} {'run is' if n_runs == 1 else 'runs are'} too few for an atlas, which compares runs: at "
                f"least {FEWEST_RUNS} that did not diverge are needed"
            )

    def _make(self):
        said = self.description or (self.before.profile.description if self.before else "")
        profile = RecordedProfile(
            kind=RECORDED,
            name=self.name,
            description=said or f"runs recorded elsewhere, which differ in {', '.join(self.door.design.factors)}",
            factors=list(self.door.design.factors),
            family=self.door.design.family,
            seed=self.door.design.seed,
            classes=self.door.classes,
            splits=list(self.door.labels),
            **(self.before.profile.sizes() if self.before else {}),
        )
        atlas = self.atlas_class.create(profile, self.folder)
        for split, labels in self.door.labels.items():
            atlas.save_labels(split, labels)
            if split in self.samples:
                _save_samples(atlas.path / f"samples_{split}.zarr", self.samples[split], len(labels))
        return atlas

    def _take(self, offer, record):
        """Store one run, or note why not. A mistake in a run does not lose the others."""
        try:
            record = record or self.door.record(offer)
            name, path = record.name, self.door.path(record.name)
            stored = read_facts(path) if path.exists() else None
            if name in {*self.added, *self.kept}:
                raise ValueError(f"run {name!r} comes twice: names are unique")
            if stored and stored.get("content") == record.content:
                self.kept.append(name)
            elif stored and not self.replace:
                raise ValueError(f"run {name!r} is stored already, and {_difference(stored, record)}; {REPLACE}")
        except (ValueError, OSError) as error:
            self.refused[str(offer.row.get("run"))] = str(error)
            return
        if record.status == "diverged":
            self.diverged[name] = record.info.get("diverged_step")
        else:
            self.testimonies += [testimony(name, s, v, self.door.labels[s]) for s, v in record.log_probs.items()]
        if name not in self.kept:
            self.atlas.save_run(record, "main")
            self.added.append(name)

    def _report(self, finished):
        if not self.refused:
            return
        told = "\n".join(f"  {text}" for text in list(self.refused.values())[:N_TOLD])
        more = f"\n  and {len(self.refused) - N_TOLD} more" if len(self.refused) > N_TOLD else ""
        n_all = len(self.refused) + len(self.added) + len(self.kept)
        raise ValueError(
            f"{len(self.refused)} of {n_all} runs were refused; the atlas has {finished} runs now:\n{told}{more}\nmend "
            "them and call this again: what is stored is kept"
        )

    def summary(self):
        """What came of it, in a few lines."""
        design, points = self.door.design, self.atlas.points
        diverged = f", {len(self.diverged)} diverged ({', '.join(self.diverged)})" if self.diverged else ""
        sizes = ", ".join(f"{len(labels)} {split} samples" for split, labels in self.door.labels.items())
        return (
            f"{len(self.added)} runs imported, {len(self.kept)} were there{diverged}; {len(points)} points, {sizes}, "
            f"{self.door.n_classes} classes\nfactors:            {', '.join(design.factors)} (family: {design.family}; "
            f"seed: {design.seed or 'none, equal rows repeat'})"
        )

    # -- between runs ------------------------------------------------------------------------------------------------

    def _compare_with_others(self, order):
        """Fill `doubts`: runs of this call against each other, and against some of those that were there."""
        told = set()
        others = [run for run in dict.fromkeys(self.atlas.points.run) if run not in set(order)][:N_REFERENCES]
        for split, labels in self.door.labels.items():
            known = [testimony(r, split, self.atlas.run_log_probs(r, split), labels) for r in others]
            said = doubts([*known, *(t for t in self.testimonies if t.split == split)], labels)
            self.doubts += [sentence for run, sentence in said.items() if run not in told]
            told |= set(said)

    def _write_facts(self, runs):
        contents = runs.content.to_dict() if "content" in runs else {}
        made_from = [contents, self.door.data, self.door.classes]
        facts = {"runs": len(runs), "smoothing": self.door.smoothing, "fingerprint": fingerprint(made_from)}
        write_json(self.atlas.path / "recorded.json", facts)


def checked_name(name):
    """The name of an atlas of recorded runs; ValueError if it cannot be one, or is a profile's."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,79}", str(name)):
        raise ValueError(f"{str(name)!r} cannot be the name of an atlas: a letter, then letters, digits, '-' and '_'")
    if (PROFILE_FOLDER / f"{name}.yaml").is_file():
        raise ValueError(f"{name!r} is the name of a profile ({PROFILE_FOLDER / f'{name}.yaml'}): take another one")
    return str(name)


def _difference(stored, record):
    """In words, what a run has that the stored one of its name has not."""
    changed = [
        f"{key} was {stored['config'].get(key)!r} and is {record.factors.get(key)!r}"
        for key in {**stored["config"], **record.factors}
        if stored["config"].get(key) != record.factors.get(key)
    ]
    points = stored["points"]
    if not changed and [points["step"], points["epoch"]] != [record.points.step.tolist(), record.points.epoch.tolist()]:
        changed = ["its checkpoints are others"]
    return "; ".join(changed) or "its predictions are others"


def _save_samples(path, samples, n):
    samples = np.asarray(samples)
    if len(samples) != n or samples.dtype.kind not in "fiub":
        raise ValueError(f"samples have shape {samples.shape} and dtype {samples.dtype}, but there are {n} labels")
    import xarray as xr  # a second, which a recorder without pictures need not wait for

    axes = ["sample", *(f"axis_{k}" for k in range(1, samples.ndim))]
    write_arrays(path, xr.Dataset({"samples": (axes, samples)}))
