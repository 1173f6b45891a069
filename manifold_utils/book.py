"""The strict runner: executes the book's jobs in the order of their needs, side by side if asked.

Each job runs in a kernel of its own (see `execution`); one whose inputs are unchanged and whose artefacts exist is
skipped (see `jobs`). A failure stops what depends on it, and nothing else. An interrupt ends all kernels. Sources are
never written, and only one runner works on an atlas at a time.
"""

import fcntl
import os
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager

from manifold_utils.chapters import NOTEBOOKS, check_parameters
from manifold_utils.execution import Progress
from manifold_utils.jobs import Outcome, Run
from manifold_utils.store import remove_leftovers

__all__ = ["BookFailed", "Quiet", "book_status", "check_parameters", "run_book"]
HEARTBEAT = 0.5  # seconds between looks at running jobs


class BookFailed(RuntimeError):
    """At least one job failed; `outcomes` has them all."""

    def __init__(self, outcomes):
        bad = [outcome.job for outcome in outcomes if outcome.bad]
        super().__init__(f"{len(bad)} of {len(outcomes)} jobs did not finish: {', '.join(bad)}")
        self.outcomes = outcomes


class Quiet:
    """A listener that shows nothing. A terminal's listener has the same methods."""

    def started(self, name):
        """A job starts."""

    def ended(self, outcome, n_ended, n_jobs):
        """A job has ended, as number `n_ended` of `n_jobs`."""

    def left_out(self, chapter, lacking):
        """A chapter (its notebook's name) does not apply: the profile lacks these."""

    def running(self, jobs):
        """Called about twice a second with {job name: Progress} of what is running."""


def run_book(
    profile,
    chapters=None,
    *,
    jobs=1,
    force=False,
    data_dir="",
    client="",
    parameters=None,
    only=False,
    folder=NOTEBOOKS,
    listener=None,
):
    """Run the book, or some chapters and what they need, at a profile.

    Parameters
    ----------
    profile : str
        Name of a profile, or path of a profile file.
    chapters : sequence of str, optional
        Two-digit ids; None means all. What they need is run too if it is not up to date, unless `only`.
    jobs : int
        Jobs side by side. Each gets its share of the cores; a chapter marked `alone` gets all.
    force : bool
        Run the named chapters (all, if none is named) also when nothing has changed.
    data_dir : str
        Folder of data sets and atlases; "" for the project's own.
    client : str
        "local", or a Dask scheduler's address, for each chapter with a parameter `client`; "": the chapters' defaults.
    parameters : dict, optional
        Further values for the chapters that declare them.
    only : bool
        Run nothing but the named chapters.
    folder : path
        Folder of the notebooks and book.yaml.
    listener : object, optional
        Receives events; see `Quiet`.

    Returns
    -------
    list of Outcome
        One a job, in the order in which they ended.

    Raises
    ------
    ValueError
        Before anything is run: unknown chapter, profile or parameter, a value of the wrong type, a broken book.yaml,
        a named chapter about something that the profile does not have, such as a grid.
    BookFailed
        After all independent jobs have ended: a job failed. Its notebook is kept as `<job>.failed.ipynb`.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}, but at least one job must run at a time")
    run = Run(profile, folder, data_dir, client, parameters)
    wanted, listener = run.book.select(chapters, with_needs=not only), listener or Quiet()
    run.check(wanted)
    for chapter in wanted:
        lacking = run.book.lacking(chapter, run.profile)
        if lacking and chapters and chapter.id in chapters:
            raise ValueError(
                f"chapter {chapter.id} needs {', '.join(lacking)}, which profile {run.profile.name!r} does not have; "
                f"its grids are {', '.join(run.profile.grids)}"
            )
        if lacking:
            listener.left_out(chapter.notebook, lacking)
    forced = {c.id for c in wanted if force and (not chapters or c.id in chapters)}
    with _one_runner(run.output):
        remove_leftovers(run.output)
        outcomes = _Schedule(run, [job for c in wanted for job in run.jobs(c)], jobs, forced, listener).all()
    if any(outcome.bad for outcome in outcomes):
        raise BookFailed(outcomes)
    return outcomes


def book_status(profile, *, data_dir="", folder=NOTEBOOKS, parameters=None):
    """List of (job name, "done" | "stale" | "failed" | "new", reason) of all jobs, without running anything."""
    run, listed = Run(profile, folder, data_dir, parameters=parameters), []
    for job in (job for chapter in run.book.select() for job in run.jobs(chapter)):
        reason = run.why(job)
        state = "done" if not reason else "stale" if run.record_path(job).is_file() else "new"
        if run.failed_path(job).is_file():
            state, reason = "failed", str(run.failed_path(job))
        listed.append((job.name, state, reason))
    return listed


class _Schedule:
    """Starts jobs as soon as what they need has ended and a slot is free."""

    def __init__(self, run, jobs, n_slots, forced, listener):
        self.run, self.waiting, self.n_slots, self.forced, self.listener = run, list(jobs), n_slots, forced, listener
        self.todo = {job.name for job in jobs}
        self.running, self.outcomes = {}, {}  # future -> (job, progress); job name -> Outcome
        self.must_run = set()  # names of jobs that were found out of date

    def all(self):
        """Outcomes of all jobs. Anything raised meanwhile (an interrupt) ends the kernels first."""
        with ThreadPoolExecutor(self.n_slots) as pool:
            try:
                while self.waiting or self.running:
                    self._start(pool)
                    self.listener.running({job.name: progress for job, progress in self.running.values()})
                    for future in wait(self.running, timeout=HEARTBEAT, return_when=FIRST_COMPLETED).done:
                        self.running.pop(future)
                        self._end(future.result())
            except BaseException:
                self.run.kernels.stop()
                raise
        return list(self.outcomes.values())

    def _start(self, pool):
        for job in list(self.waiting):
            needs = [name for name in self.run.needed(job) if name in self.todo]
            bad = [name for name in needs if name in self.outcomes and self.outcomes[name].bad]
            ready = all(name in self.outcomes for name in needs)
            if bad:
                self.waiting.remove(job)
                self._end(Outcome(job.name, "blocked", message=f"needs {', '.join(bad)}"))
            elif ready and self._settled(job):
                self.waiting.remove(job)
            elif ready and self._has_room(job):
                self.waiting.remove(job)
                self._submit(pool, job)

    def _settled(self, job):
        if job.name in self.must_run or job.chapter.id in self.forced:
            return False
        outcome = self.run.settle(job)
        if outcome:
            self._end(outcome)
        else:
            self.must_run.add(job.name)
        return bool(outcome)

    def _has_room(self, job):
        alone = job.chapter.alone or any(other.chapter.alone for other, _ in self.running.values())
        return not self.running if alone else len(self.running) < self.n_slots

    def _submit(self, pool, job):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        n_threads = cores if job.chapter.alone else max(1, cores // self.n_slots)
        progress = Progress()
        self.listener.started(job.name)
        self.running[pool.submit(self.run.run, job, progress, n_threads)] = (job, progress)

    def _end(self, outcome):
        self.outcomes[outcome.job] = outcome
        self.listener.ended(outcome, len(self.outcomes), len(self.todo))


@contextmanager
def _one_runner(folder):
    """Hold the folder of executed notebooks; a second runner is refused. A dead runner's hold vanishes with it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".runner", "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            raise RuntimeError(f"another run of the book (process {handle.read()}) works in {folder}") from error
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
