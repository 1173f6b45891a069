"""The strict runner: executes the book's jobs in the order of their needs, side by side if asked.

Each job runs in a kernel of its own (see `kernel`); one whose inputs are unchanged and whose artefacts exist is
skipped (see `jobs`). A failure stops what depends on it, and nothing else. An interrupt ends all kernels. Sources are
never written, and only one runner works on an atlas at a time.
"""

import sys
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager

from manifold_utils.book.forecast import Forecast
from manifold_utils.book.jobs import Edition, Outcome
from manifold_utils.book.kernel import Position
from manifold_utils.files import hold, in_words, remove_leftovers
from manifold_utils.workers import n_cores

__all__ = ["BookFailed", "Edition", "Outcome", "Quiet", "Terminal", "book_status", "run_book"]

HEARTBEAT = 0.5  # seconds between looks at running jobs
LINE = 110  # characters of the line that a terminal rewrites
LOG_EVERY = 30.0  # seconds between signs of life where the output is not a terminal


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

    def running(self, jobs, n_left, seconds_left):
        """Called about twice a second: {job name: Position} of what runs, jobs not yet ended, seconds till all have."""


def run_book(edition, chapters=None, *, jobs=1, force=False, only=False, listener=None):
    """Run the book, or some chapters and what they need.

    Parameters
    ----------
    edition : Edition
        The profile, the data folder and the values given by hand: `Edition("digits")` is the default book.
    chapters : sequence of str, optional
        Two-digit ids; None means all. What they need is run too if it is not up to date, unless `only`.
    jobs : int
        Jobs side by side. Each gets its share of the cores; a chapter marked `alone` gets all.
    force : bool
        Run the named chapters (all, if none is named) also when nothing has changed.
    only : bool
        Run nothing but the named chapters.
    listener : object, optional
        Receives events; see `Quiet`.

    Returns
    -------
    list of Outcome
        One a job, in the order in which they ended.

    Raises
    ------
    ValueError
        Before anything is run: unknown chapter or parameter, a value of the wrong type, a named chapter about something
        that the profile does not have, such as a grid.
    BookFailed
        After all independent jobs have ended: a job failed. Its notebook is kept as `<job>.failed.ipynb`.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}, but at least one job must run at a time")
    book, profile = edition.book, edition.profile
    wanted, listener = book.select(chapters, with_needs=not only), listener or Quiet()
    edition.check(wanted)
    for chapter in wanted:
        lacking = book.lacking(chapter, profile)
        if lacking and chapters and chapter.id in chapters:
            raise ValueError(
                f"chapter {chapter.id} needs {', '.join(lacking)}, which profile {profile.name!r} does not have; "
                f"its grids are {', '.join(profile.grids)}"
            )
        if lacking:
            listener.left_out(chapter.notebook, lacking)
    forced = {c.id for c in wanted if force and (not chapters or c.id in chapters)}
    with _one_runner(edition.output):
        remove_leftovers(edition.output)
        outcomes = _Schedule(edition, [j for c in wanted for j in edition.jobs(c)], jobs, forced, listener).all()
    if any(outcome.bad for outcome in outcomes):
        raise BookFailed(outcomes)
    return outcomes


def book_status(edition):
    """List of (job name, "done" | "stale" | "failed" | "new", reason) of all jobs, without running anything."""
    listed = []
    for job in (job for chapter in edition.book.select() for job in edition.jobs(chapter)):
        reason = edition.why(job)
        state = "done" if not reason else "stale" if edition.record_path(job).is_file() else "new"
        if edition.failed_path(job).is_file():
            state, reason = "failed", str(edition.failed_path(job))
        listed.append((job.name, state, reason))
    return listed


class _Schedule:
    """Starts jobs as soon as what they need has ended and a slot is free."""

    def __init__(self, edition, jobs, n_slots, forced, listener):
        self.edition, self.waiting, self.n_slots = edition, list(jobs), n_slots
        self.forced, self.listener = forced, listener
        self.todo = {job.name for job in jobs}
        self.running, self.outcomes = {}, {}  # future -> (job, position); job name -> Outcome
        self.must_run = set()  # names of jobs that were found out of date
        self.forecast = Forecast(edition, jobs, n_slots)

    def all(self):
        """Outcomes of all jobs. Anything raised meanwhile (an interrupt) ends the kernels first."""
        with ThreadPoolExecutor(self.n_slots) as pool:
            try:
                while self.waiting or self.running:
                    self._start(pool)
                    places = {job.name: position for job, position in self.running.values()}
                    n_left = len(self.todo) - len(self.outcomes)
                    self.listener.running(places, n_left, self.forecast.left(places))
                    for future in wait(self.running, timeout=HEARTBEAT, return_when=FIRST_COMPLETED).done:
                        self.running.pop(future)
                        self._end(future.result())
            except BaseException:
                self.edition.kernels.stop()
                raise
        return list(self.outcomes.values())

    def _start(self, pool):
        for job in list(self.waiting):
            needs = [name for name in self.edition.needed(job) if name in self.todo]
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
        outcome = self.edition.settle(job)
        if outcome:
            self._end(outcome)
        else:
            self.must_run.add(job.name)
        return bool(outcome)

    def _has_room(self, job):
        alone = job.chapter.alone or any(other.chapter.alone for other, _ in self.running.values())
        return not self.running if alone else len(self.running) < self.n_slots

    def _submit(self, pool, job):
        cores = n_cores()
        n_threads = cores if job.chapter.alone else max(1, cores // self.n_slots)
        position = Position()
        self.forecast.started(job.name)
        self.listener.started(job.name)
        self.running[pool.submit(self.edition.execute, job, position, n_threads)] = (job, position)

    def _end(self, outcome):
        self.outcomes[outcome.job] = outcome
        self.forecast.ended(outcome)
        self.listener.ended(outcome, len(self.outcomes), len(self.todo))


@contextmanager
def _one_runner(folder):
    """Hold the folder of executed notebooks; a second runner is refused. A dead runner's hold vanishes with it."""
    with hold(folder / ".runner", f"another run of the book ({{holder}}) works in {folder}"):
        yield


class Terminal:
    """Shows a run: a line for each job that ends and, on a terminal, one rewritten line of what is running."""

    def __init__(self, stream=sys.stdout):
        self.stream, self.live, self.said, self.began = stream, stream.isatty(), time.monotonic(), {}

    def started(self, name):
        """Note when the job began."""
        self.began[name] = time.monotonic()
        if not self.live:
            self._line(f"start {name}")

    def ended(self, outcome, n_ended, n_jobs):
        """Say what became of the job."""
        detail = f"{outcome.seconds:.1f} s" if outcome.status == "ran" else outcome.message
        self._line(f"[{n_ended:{len(str(n_jobs))}}/{n_jobs}] {outcome.status:9} {outcome.job}: {detail}")

    def left_out(self, chapter, lacking):
        """Say that a chapter does not apply."""
        self._line(f"left out {chapter}: this profile lacks {', '.join(lacking)}")

    def running(self, jobs, n_left, seconds_left):
        """Say what is left and where the running jobs are: always on a terminal, now and then in a log."""
        now = time.monotonic()
        left = f"{n_left} {'job' if n_left == 1 else 'jobs'} left, about {in_words(seconds_left)}"
        text = " | ".join([left, *(self._place(name, position, now) for name, position in jobs.items())])
        if self.live:
            self.stream.write(f"\r\x1b[K{text[:LINE]}")
            self.stream.flush()
        elif jobs and now - self.said > LOG_EVERY:
            self._line(f"      {text}")

    def _place(self, name, position, now):
        bar = f" {position.line}" if position.line else ""
        return f"{name} {now - self.began[name]:.0f} s, cell {position.cell}/{position.n_cells}{bar}"

    def _line(self, text):
        self.said = time.monotonic()
        self.stream.write(f"\r\x1b[K{text}\n" if self.live else f"{text}\n")
        self.stream.flush()
