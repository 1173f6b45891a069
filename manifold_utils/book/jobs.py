"""One job of the book: is its result up to date, and if not, make it.

The result of a job is an executed notebook and a record, `notebooks/<job>.ipynb` and `.json` in the atlas. The record
holds what the result depends on; it is written last, so a job killed at any moment counts as not done. The order of
jobs and their running side by side are `book`'s business.
"""

import hashlib
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import nbformat

from manifold_utils.book.answers import with_answer
from manifold_utils.book.artefacts import damaged, lacking, lacking_runs
from manifold_utils.book.contents import (
    NOTEBOOKS,
    Book,
    check_parameters,
    declared_parameters,
    job_inputs,
    read_notebook,
    tags,
)
from manifold_utils.book.holdings import Holdings
from manifold_utils.book.kernel import Kernels, NotebookFailed, execute
from manifold_utils.claims import RUN_VARIABLE, NotEnough
from manifold_utils.files import CannotWrite, atomic_path, data_root, fingerprint, out_root, read_json, write_json
from manifold_utils.profiles import RECORDED, Profile

ALTERED = "its notebook is damaged, or was edited since it ran"


@dataclass
class Outcome:
    """What became of a job: `ran`, `skipped` (nothing changed), `refreshed` (new prose only), `left out` (the atlas has
    too little for it), `failed`, `blocked`."""

    job: str
    status: str
    seconds: float = 0.0
    message: str = ""

    @property
    def bad(self):
        """Whether the job has no result."""
        return self.status in ("failed", "blocked")


def atlas_folder(profile, data_dir=""):
    """Folder of the atlas of a profile (a `Profile`)."""
    return data_root(data_dir) / "atlases" / profile.name


def _whole(data_dir):
    """The data folder as chapters are given it: a relative one means the folder in which the command was called.

    Chapters are executed in the folder of the notebooks, where the same words would name another place.
    """
    named = str(data_dir) or os.environ.get("MANIFOLD_DATA", "")
    return str(data_root(named)) if data_dir or (named and not os.path.isabs(os.path.expanduser(named))) else ""


class Edition:
    """The book at one profile: what its jobs share, from the notebooks to the atlas and the values given by hand.

    Parameters
    ----------
    profile : str
        Name of a profile, or path of a profile file.
    data_dir : str
        Folder of data sets and atlases; "" for the project's own.
    client : str
        "local", or a Dask scheduler's address, for each chapter with a parameter `client`; "": the chapters' defaults.
    parameters : dict, optional
        Further values for the chapters that declare them.
    folder : path
        Folder of the notebooks and book.yaml.

    Raises
    ------
    ValueError
        Unknown profile, a broken book.yaml.
    """

    def __init__(self, profile, *, data_dir="", client="", parameters=None, folder=NOTEBOOKS):
        path = Path(profile).expanduser()
        self.profile_name = str(path.resolve()) if path.suffix == ".yaml" else str(profile)
        self.profile = Profile.load(self.profile_name, data_dir)
        self.profile_fingerprint = fingerprint(self.profile.model_dump())
        self.book = Book(folder)
        self.atlas = atlas_folder(self.profile, data_dir)
        self.out = out_root() or self.atlas
        self.holdings = Holdings.of(self.profile, self.atlas)
        self.output = self.out / "notebooks"
        self.given = {"profile": self.profile_name, "data_dir": _whole(data_dir)}
        self.given |= {"client": client} if client else {}
        self.extra = parameters or {}
        self.kernels = Kernels()

    def jobs(self, chapter):
        """The chapter's jobs at this profile."""
        return self.book.jobs(chapter, self.profile, self.holdings)

    def lacking(self, chapter):
        """What the chapter is about and this book does not have: a list of phrases."""
        return self.book.lacking(chapter, self.profile, self.holdings)

    def is_given(self, chapter):
        """Whether the chapter makes what recorded runs came with: it is not run, and counts as done."""
        return chapter.given and self.profile.kind == RECORDED

    def needed(self, job):
        """Names of the jobs that `job` needs."""
        return [needed.name for needed in self._needed_jobs(job)]

    def _needed_jobs(self, job):
        return [needed for id_ in self.book.needed(job.chapter) for needed in self.jobs(self.book.by_id[id_])]

    def place(self, job):
        """The folder in which a job leaves its notebook, figures and results: $MANIFOLD_OUT for what is shown, else the
        atlas."""
        return self.atlas if job.chapter.kind == "make" else self.out

    def record_path(self, job):
        """The job's record; without it, the job is not done."""
        return self.place(job) / "notebooks" / f"{job.name}.json"

    def executed_path(self, job):
        """The executed notebook."""
        return self.record_path(job).with_suffix(".ipynb")

    def unexecuted(self):
        """Names of the jobs that have not run."""
        jobs = (job for chapter in self.book.chapters for job in self.jobs(chapter))
        return [job.name for job in jobs if not self.executed_path(job).is_file()]

    def failed_path(self, job):
        """The executed part of a notebook that failed."""
        return self.record_path(job).with_suffix(".failed.ipynb")

    def check(self, chapters):
        """Refuse, before anything runs, values that no chapter takes, or that a chapter cannot take."""
        taken = set()
        for chapter in chapters:
            try:
                taken |= set(declared_parameters(self.book.path(chapter)))
                for job in self.jobs(chapter):
                    self.parameters(job)
            except (ValueError, SyntaxError) as error:
                raise ValueError(f"{self.book.path(chapter).name}: {error}") from error
        unknown = sorted(set(self.extra) - taken)
        if unknown:
            known = ", ".join(sorted(taken))
            raise ValueError(f"no chapter to run has a parameter {', '.join(unknown)}; there are {known}")

    def parameters(self, job):
        """The checked values that a job is started with."""
        notebook = self.book.path(job.chapter)
        declared = declared_parameters(notebook)
        common = {name: value for name, value in {**self.given, **self.extra}.items() if name in declared}
        return check_parameters(notebook, {**common, **job.values})

    def inputs(self, job):
        """See `contents.job_inputs`. A needed job counts by its record, a needed artefact by its size and time."""
        needs = {needed.name: (self._record(needed) or {}).get("fingerprint") for needed in self._needed_jobs(job)}
        if any(self.is_given(self.book.by_id[id_]) for id_ in self.book.needed(job.chapter)):
            needs[RECORDED] = self._recorded_content()
        for glob in (need for need in job.chapter.needs if need not in self.book.by_id):
            needs[glob] = [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in sorted(self.atlas.glob(glob))]
        return job_inputs(self.book.path(job.chapter), self.parameters(job), self.profile_fingerprint, needs)

    def _recorded_content(self):
        path = self.atlas / "recorded.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; import the runs of {self.profile.name!r} again, which adds it")
        return read_json(path)["fingerprint"]

    def why(self, job):
        """Why a job must run, in a few words; "" if its result is up to date."""
        record = self._record(job)
        if record is None or not self.executed_path(job).is_file():
            damage = "its notebook is missing" if record else "its record is damaged"
            return damage if self.record_path(job).is_file() else "not run yet"
        lost = self._missing(job)
        if lost:
            return "; ".join(lost)
        before, now = record["inputs"], self.inputs(job)
        changed = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        details = "; ".join(_difference(key, before.get(key), now.get(key)) for key in changed)
        if changed:
            return f"changed: {details}"
        return ALTERED if self.altered(job) else self._strays(job, record)

    def altered(self, job):
        """Whether an executed notebook is not as it was written: damaged, or edited since."""
        stamp, path = (self._record(job) or {}).get("notebook"), self.executed_path(job)
        return stamp is not None and path.is_file() and stamp != _content(path)

    def _record(self, job):
        """The job's record; None where there is none, or it is damaged."""
        try:
            return read_json(self.record_path(job))
        except (FileNotFoundError, ValueError):
            return None

    def _strays(self, job, record):
        """Which results of a chapter are not from the book's own run, in words; "" if all are."""
        for path in sorted(self.home(job).glob(f"results/{job.chapter.id}*.json")):
            try:
                made = read_json(path).get("made", {})
            except ValueError:
                return f"{path.name} of its results is damaged"
            if "run" not in made or (made["run"] or job.name).split()[0] != job.name:
                continue  # older than this note, or another job's of the same chapter
            if made["run"] is None:
                given = ", ".join(f"{name}={value!r}" for name, value in made["parameters"].items())
                return f"results/{path.name} is from a run by hand ({given}), not from the book's own"
            if made["run"] != _run_name(job, record["fingerprint"]):
                return f"results/{path.name} is from another run than its notebook"
        return ""

    def settle(self, job):
        """Outcome of a job that need not run: `skipped`, or `refreshed` with the source's new prose; else None."""
        if self.why(job):
            return None
        source, executed = read_notebook(self.book.path(job.chapter)), read_notebook(self.executed_path(job))
        merged = with_outputs_of(source, executed)
        if [c.source for c in merged.cells] == [c.source for c in executed.cells]:
            return Outcome(job.name, "skipped", message="nothing changed")
        try:
            _write(merged, self.executed_path(job))
            write_json(self.record_path(job), {**self._record(job), "notebook": _content(self.executed_path(job))})
        except CannotWrite:  # old prose in a read-only atlas harms nobody
            return Outcome(job.name, "skipped", message="only the prose changed, and the atlas is read-only")
        return Outcome(job.name, "refreshed", message="only the prose changed")

    def execute(self, job, position, n_threads):
        """Execute a job and keep its result; never raises for what goes wrong inside the notebook.

        Returns
        -------
        Outcome
            `ran`; `left out` if the chapter said that the atlas has too little for it; or `failed` with a message; the
            notebook of a failed job is kept as `<job>.failed.ipynb`.
        """
        start, source, inputs = time.perf_counter(), read_notebook(self.book.path(job.chapter)), self.inputs(job)
        try:
            with atomic_path(self.executed_path(job)) as temporary:
                try:
                    values, folder = self.parameters(job), self.book.folder
                    shared = {"n_threads": n_threads, "kernels": self.kernels, "position": position}
                    shared["variables"] = self._variables(job, fingerprint(inputs))
                    node = execute(source, temporary, values, folder=folder, **shared)
                    lost = self._missing(job)
                    if lost:
                        raise NotebookFailed(f"it should have made all that book.yaml lists, but {'; '.join(lost)}")
                except NotebookFailed as error:
                    if temporary.is_file() and not self.kernels.stopped and error.error != NotEnough.__name__:
                        os.replace(temporary, self.failed_path(job))
                    self.record_path(job).unlink(missing_ok=True)
                    raise
                nbformat.write(_tidy(node, job), temporary)
            self._keep_record(job, inputs, time.perf_counter() - start)
        except OSError as error:  # a full disk or a read-only folder, in one line
            return Outcome(job.name, "failed", time.perf_counter() - start, str(error))
        except NotebookFailed as error:
            if error.error == NotEnough.__name__:
                self.failed_path(job).unlink(missing_ok=True)
                return Outcome(job.name, "left out", time.perf_counter() - start, error.said)
            kept = f"\nkept: {self.failed_path(job)}" if self.failed_path(job).is_file() else ""
            message = f"{job.chapter.notebook}.ipynb, {error}{kept}"
            return Outcome(job.name, "failed", time.perf_counter() - start, message)
        return Outcome(job.name, "ran", time.perf_counter() - start)

    def _keep_record(self, job, inputs, seconds):
        self.failed_path(job).unlink(missing_ok=True)
        record = {"job": job.name, "fingerprint": fingerprint(inputs), "inputs": inputs, "seconds": round(seconds, 2)}
        record["notebook"] = _content(self.executed_path(job))
        write_json(self.record_path(job), {**record, "finished": datetime.now(UTC).isoformat(timespec="seconds")})

    def _variables(self, job, key):
        """Environment variables that say whose results a kernel makes, and where they go."""
        elsewhere = str(self.out) if self.place(job) != self.atlas else ""
        return {RUN_VARIABLE: _run_name(job, key), "MANIFOLD_OUT": elsewhere}

    def damaged(self):
        """Messages about everything in the atlas that does not read, against all checksums."""
        jobs = [job for chapter in self.book.chapters for job in self.jobs(chapter)]
        notebooks = [f"{self.executed_path(job)}: {ALTERED}; run again" for job in jobs if self.altered(job)]
        return [*damaged(self.profile, self.atlas), *notebooks]

    def home(self, job):
        """Folder that the job's artefacts lie in: the atlas, or that of the prediction space which the job works on."""
        place = self.place(job)
        return place / "spaces" / job.space if job.space else place

    def _makes(self, chapter):
        """(glob, column or "") of all that a chapter makes at this profile."""
        named = _each(_each(chapter.makes, "{split}", self.profile.splits), "{metric}", self.profile.metrics)
        return [one.partition("#")[::2] for one in named]

    def _missing(self, job):
        """Phrases about what the job should have made and is not there, or not whole."""
        home, phrases = self.home(job), []
        for glob, column in self._makes(job.chapter):
            found = sorted(home.glob(glob))
            reasons = [lacking(path, column) for path in found] if found else [f"{glob} is missing"]
            phrases += filter(None, reasons)
        if job.chapter.trains and self.profile.kind != RECORDED:
            phrases += filter(None, [lacking_runs(self.profile, self.atlas)])
        return list(dict.fromkeys(phrases))


def _each(texts, name, values):
    """The texts, those that hold {name} once with each of the values."""
    return [text.replace(name, value) for text in texts for value in (values if name in text else [""])]


def _run_name(job, key):
    """What results carry of the run that made them."""
    return f"{job.name} {key}"


def with_outputs_of(source, executed):
    """The cells of `source` with the outputs of `executed`, whose code cells are the same in the same order; the answer
    stands below the title."""
    injected = [cell for cell in executed.cells if "injected-parameters" in tags(cell)]
    done = iter([c for c in executed.cells if c.cell_type == "code" and c not in injected])
    merged = nbformat.from_dict({**executed, "cells": []})
    for cell in source.cells:
        cell = nbformat.from_dict(cell)
        if cell.cell_type == "code":
            ran = next(done)
            cell.outputs, cell.execution_count = ran.outputs, ran.execution_count
        merged.cells += [cell, *(injected if "parameters" in tags(cell) else [])]
    return with_answer(merged)


def _tidy(node, job):
    """Papermill's notes without what belongs to one machine (paths), what the notebook is a run of, and its answer."""
    notes = node.metadata.papermill
    kept = {key: notes[key] for key in ("parameters", "start_time", "duration") if key in notes}
    node.metadata.papermill = nbformat.from_dict(kept)
    node.metadata["book"] = {"job": job.name, "chapter": job.chapter.id}
    for cell in node.cells:
        cell.metadata.pop("papermill", None)
    return with_answer(node)


def _write(node, path):
    with atomic_path(path) as temporary:
        nbformat.write(node, temporary)


def _content(path):
    """Hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


def _difference(key, before, now):
    """The name of an input, and, for a dictionary, which of its entries differ."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return key
    return f"{key} {', '.join(sorted(k for k in {*before, *now} if before.get(k) != now.get(k)))}"
