"""How long the rest of a book will take: an estimate from jobs that have ended, earlier runs, and the running bars.

A job's length is the time that it took last time; without one, the minutes that book.yaml gives its chapter (for the
digits on two cores), times how much longer than that this run's jobs have taken so far. A bar that a running job shows
(tqdm's) is believed before either. It measures nothing and runs nothing.
"""

import re
import time
from statistics import median

from manifold_utils.files import read_json

BAR_LEFT = re.compile(r"<(?:(\d+):)?(\d+):(\d\d)[,\]]")  # the time left in tqdm's line: [00:30<1:02:03, ...
MINUTE = 60  # seconds


class Forecast:
    """Seconds that are left, for jobs of one edition on `n_slots` slots."""

    def __init__(self, edition, jobs, n_slots):
        shared = {job.chapter.id: len(edition.jobs(job.chapter)) for job in jobs}
        self.planned = {job.name: MINUTE * job.chapter.minutes / shared[job.chapter.id] for job in jobs}
        self.before = {job.name: _seconds_before(edition.record_path(job)) for job in jobs}
        self.n_slots, self.ratios, self.began, self.open = n_slots, [], {}, {job.name for job in jobs}

    def started(self, name):
        """A job starts now."""
        self.began[name] = time.monotonic()

    def ended(self, outcome):
        """A job has ended; one that ran tells how this machine and profile compare with the plan."""
        self.open.discard(outcome.job)
        self.began.pop(outcome.job, None)
        if outcome.status == "ran":
            self.ratios.append(outcome.seconds / self.planned[outcome.job])

    def left(self, running):
        """Seconds left, with {job name: Position} of what runs; at least as long as the longest running job."""
        scale = median(self.ratios) if self.ratios else 1.0
        expected = {name: self.before[name] or scale * self.planned[name] for name in self.open}
        rest = {name: self._rest(name, position, expected[name]) for name, position in running.items()}
        waiting = sum(seconds for name, seconds in expected.items() if name not in running)
        return max([(waiting + sum(rest.values())) / self.n_slots, *rest.values()])

    def _rest(self, name, position, expected):
        found = BAR_LEFT.search(position.line)
        by_bar = _seconds(found) if found else 0
        return max(by_bar, expected - (time.monotonic() - self.began.get(name, time.monotonic())), 0)


def _seconds_before(path):
    """Seconds that a job took when it ran last; None if it never did."""
    try:
        return read_json(path).get("seconds") if path.is_file() else None
    except ValueError:
        return None


def _seconds(match):
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600 * hours + MINUTE * minutes + seconds
