"""Files that were written anywhere become an atlas of recorded runs: the command `import`.

A table names the runs, a pattern says where the predictions of each lie. All that headers, names and labels can tell is
checked before anything is written; then runs are read one at a time (see `formats`, and `atlas.recorded` for what is
done with them). `Atlas.from_runs` does the same with what is in memory.
"""

import glob
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from manifold_utils.atlas import Atlas
from manifold_utils.atlas.columns import CHECKPOINTS, listed, table_of
from manifold_utils.atlas.offers import Offer
from manifold_utils.atlas.recorded import Intake
from manifold_utils.profiles import SPLITS
from manifold_utils.recording import formats
from manifold_utils.recording.long_tables import class_names
from manifold_utils.recording.reading import named
from manifold_utils.recording.tables import array_of, lines_of, numbers_of, read_labels, read_table

N_NAMED = 3  # missing files that an error names
PLACES = ("{step}", "{epoch}")


def import_runs(name, runs, predictions, labels, *, split="", steps="", epochs="", classes="", samples="",
                show_progress=False, **options):  # fmt: skip
    """Make the atlas `name` of files, or add to it.

    Parameters
    ----------
    name : str
    runs : path of a table (.csv, .tsv, .parquet) with a column `run`
    predictions : str
        Pattern of paths with {run}, perhaps {split}, and perhaps {step} or {epoch} where a checkpoint is a file.
    labels : str
        Pattern with {split} if there are two, and with {run} if every run brings its own, which are then compared.
    split : {"", "train", "test"}
        What a pattern without {split} is about; by default what the file itself names, else test.
    steps, epochs : str
        A list ("0,10,20" or "0:100:10"), the name of a column with lists, or a pattern of files; by default the
        columns of these names, else what the files' names say.
    classes : path of a text file, a name a line
    samples : pattern of pictures (.npy)
    show_progress : bool
    options : see `atlas.recorded.record_runs`: kind, factors, family, seed, description, smoothing, replace, trust,
        data_dir

    Returns
    -------
    (Atlas, Intake)

    Raises
    ------
    ValueError, OSError
        As `record_runs`; a file that is missing, or a pattern that cannot be.
    """
    table = table_of(read_table(runs))
    names = lines_of(classes) if classes else None
    source = Source(table, predictions, labels, split, names or (), {"steps": steps, "epochs": epochs})
    source.check()
    pictures = {s: array_of(_filled(samples, split=s)) for s in source.splits} if samples else None
    if samples and "{split}" not in samples and len(source.splits) > 1:
        raise ValueError(f"--samples {samples}: with train and test the pattern needs {{split}}")
    intake = Intake(Atlas, name, source.labels, classes=names, samples=pictures, **options)
    return intake.fill(table, source.offers(), show_progress=show_progress), intake


@dataclass
class Source:
    """Where the files of all runs lie.

    Attributes
    ----------
    splits : list of those that there are predictions on
    labels : dict of split -> array, of the first run if each brings its own
    """

    table: pd.DataFrame
    predictions: str
    label_files: str
    split: str
    classes: tuple
    times: dict

    def check(self):
        """Everything that is cheap to know, before anything is read whole."""
        if "{run}" not in self.predictions:
            raise ValueError(
                f"--predictions {self.predictions}: the pattern needs {{run}}, where the name of a run goes"
            )
        strange = set(re.findall(r"{[^{}]*}", self.predictions)) - {"{run}", "{split}", *PLACES}
        if strange:
            known = "{run}, {split}, {step} and {epoch}"
            raise ValueError(f"--predictions {self.predictions}: {', '.join(strange)} means nothing; known are {known}")
        self.names = self.table.run.tolist()
        self.splits = self._splits()
        self.labels = {split: self._labels(self.names[0], split) for split in self.splits}
        for key in CHECKPOINTS:
            self.times[key] = self._times(key)
        self._check_shapes()
        self.columns = self._columns()

    def _splits(self):
        if self.split not in ("", *SPLITS):
            raise ValueError(f"split is train or test, found {self.split!r}")
        if "{split}" not in self.predictions:
            self._refuse_missing({run: self._paths(run, "") for run in self.names})
            inside = formats.splits_in(formats.members_of(self._paths(self.names[0], "")[0]))
            return [self.split] if self.split else inside or ["test"]
        found = {split: {run: self._paths(run, split) for run in self.names} for split in SPLITS}
        there = [split for split, paths in found.items() if any(paths.values())]
        if self.split:
            there = [self.split]
        if not there:
            first = " nor ".join(str(_filled(self.predictions, self.names[0], s)) for s in SPLITS)
            hint = "; write / between folders" if "\\" in self.predictions else ""
            raise ValueError(
                f"there are no predictions of run {self.names[0]!r}: neither {first} exists (--predictions){hint}"
            )
        for split in there:
            self._refuse_missing(found[split], split)
        return there

    def _refuse_missing(self, paths, split=""):
        missing = [run for run, files in paths.items() if not files]
        if missing:
            files = ", ".join(str(_filled(self.predictions, run, split)) for run in missing[:N_NAMED])
            more = f" and {len(missing) - N_NAMED} more" if len(missing) > N_NAMED else ""
            raise ValueError(
                f"predictions of {len(missing)} of {len(paths)} runs are missing: {files}{more}; write them, or leave "
                "these rows out of the table"
            )

    def _paths(self, run, split):
        """Files of a run: one, or one a checkpoint where the pattern has {step} or {epoch}; empty if there are none."""
        filled = _filled(self.predictions, run, split)
        if not any(place in self.predictions for place in PLACES):
            return [filled] if filled.exists() else []
        return [path for path, _ in _of_checkpoints(str(filled))]

    def _labels(self, run, split):
        path = _filled(self.label_files, run, split)
        if not path.is_file():
            raise ValueError(f"there are predictions on {split}, and no labels of it at {path} (--labels)")
        labels = read_labels(path, split)
        if "{split}" not in self.label_files and len(self.splits) > 1 and not isinstance(labels, dict):
            raise ValueError(f"--labels {self.label_files}: with train and test the pattern needs {{split}}")
        return labels[split] if isinstance(labels, dict) else labels

    def _times(self, key):
        """A function from a row to the steps (or epochs) of its run, or None where the files are to say."""
        given = self.times[key]
        column = given if given in self.table else key if not given and key in self.table else ""
        if column:
            lists = {run: listed(value) for run, value in zip(self.table.run, self.table[column], strict=True)}
            numbers = pd.api.types.is_numeric_dtype(self.table[column])
            return None if numbers and not given else lists.__getitem__
        if not given:
            return None
        if re.fullmatch(r"[\d.,:;\s]+", given):
            everywhere = listed(given)
            return lambda run: everywhere
        missing = [run for run in self.names if not _filled(given, run).is_file()]
        if missing:
            raise ValueError(
                f"--{key} {given}: neither a list (0,10,20 or 0:100:10), nor a column of the table, nor a file"
            )
        return lambda run: numbers_of(_filled(given, run))

    def _check_shapes(self):
        """Shapes from headers: of all runs, they must be those of the first and of the labels."""
        if any(place in self.predictions for place in PLACES):
            return
        for split in self.splits:
            known, first = None, ""
            for run in self.names:
                path = self._paths(run, split)[0]
                shape = formats.shape_of(path, split)
                shape = shape and shape[-2:]
                if shape and len(shape) == 2 and known and shape != known:
                    raise ValueError(f"{path}: {shape} samples and classes, but {known} in {first}")
                known, first = known or shape, first or path

    def _columns(self):
        """Names of the columns of classes in the first run's tables, in which those of the others are put in order."""
        if self.classes:
            return self.classes
        first = self._paths(self.names[0], self.splits[0])[0]
        first = formats.first_file(first) if formats.is_folder_of_checkpoints(first) else first
        with named(first):
            return class_names(first) if first.suffix in (".parquet", ".csv") else ()

    def offers(self):
        """An `Offer` a run, whose predictions are read when they are asked for."""
        for row in self.table.to_dict(orient="records"):
            run = row["run"]
            kept = {k: v for k, v in row.items() if k not in CHECKPOINTS or isinstance(v, int | float | np.number)}
            times = {key: ask(run) for key in CHECKPOINTS if (ask := self.times[key])}
            own = {s: self._labels(run, s) for s in self.splits} if "{run}" in self.label_files else {}
            read = partial(self._read, run)
            yield Offer({**kept, **times}, read, own, source=str(_filled(self.predictions, run)))

    def _read(self, run):
        """(dict of split -> array, dict of steps and epochs that the files say)."""
        values, times = {}, {}
        for split in self.splits:
            found = self._one(run, split)
            values[split] = found.values
            said = {key: getattr(found, key) for key in CHECKPOINTS if getattr(found, key) is not None}
            for key, numbers in said.items():
                if times.setdefault(key, numbers) != numbers:
                    raise ValueError(f"run {run!r}: train and test were recorded at other {key}")
        return values, times

    def _one(self, run, split):
        how = {"n_samples": len(self.labels[split]), "classes": self.columns}
        if not any(place in self.predictions for place in PLACES):
            return formats.read_predictions(self._paths(run, split)[0], split, **how)
        files = _of_checkpoints(str(_filled(self.predictions, run, split)))
        return formats.stacked(files, self.predictions, split, **how)


def _filled(pattern, run="", split=""):
    """Path of a pattern; a place without a value stays. No other braces are looked at."""
    for place, value in (("{run}", run), ("{split}", split)):
        pattern = pattern.replace(place, value) if value else pattern
    return Path(pattern).expanduser()


def _of_checkpoints(pattern):
    """(path, name that says its step or epoch) of the files of a pattern with {step} or {epoch}."""
    parts = re.split(r"({step}|{epoch})", pattern)
    star = "".join("*" if part in PLACES else glob.escape(part) for part in parts)
    known, seen = "", set()
    for part in parts:
        key = part[1:-1]
        once = f"(?P={key})" if key in seen else rf"(?P<{key}>\d+(?:\.\d+)?)"
        known += once if part in PLACES else re.escape(part)
        seen.add(key)
    matches = ((path, re.fullmatch(known, path)) for path in sorted(glob.glob(star)))
    return [(Path(p), "_".join(f"{k}_{v}" for k, v in m.groupdict().items())) for p, m in matches if m]
