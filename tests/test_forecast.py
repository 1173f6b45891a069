"""The time that is left: of a whole book, from plans, earlier runs and running bars; and bars that move."""

import io
import json
import time
from types import SimpleNamespace

import pytest
from tqdm import tqdm

from manifold_utils.book import Outcome, Terminal
from manifold_utils.book.forecast import Forecast
from manifold_utils.book.kernel import Position
from manifold_utils.files import in_words


class Tiny:
    """An edition of chapters of one job each (`minutes` by id), and one of two jobs if its id is 'double'."""

    def __init__(self, folder, **minutes):
        self.folder, self.minutes = folder, minutes

    def all(self):
        chapters = [SimpleNamespace(id=id_, minutes=minutes) for id_, minutes in self.minutes.items()]
        return [job for chapter in chapters for job in self.jobs(chapter)]

    def jobs(self, chapter):
        ends = ("-a", "-b") if chapter.id == "double" else ("",)
        return [SimpleNamespace(name=chapter.id + end, chapter=chapter) for end in ends]

    def record_path(self, job):
        return self.folder / f"{job.name}.json"


def forecast(edition, n_slots=1):
    return Forecast(edition, edition.all(), n_slots)


def test_plans_are_added_and_shared_among_slots_and_jobs_of_a_chapter(tmp_path):
    edition = Tiny(tmp_path, one=1, double=4)
    assert forecast(edition).left({}) == 300
    assert forecast(edition, 2).left({}) == 150
    assert forecast(edition).planned == {"one": 60, "double-a": 120, "double-b": 120}


def test_jobs_that_ran_tell_how_fast_this_machine_is(tmp_path):
    known = forecast(Tiny(tmp_path, a=1, b=1, c=1, d=1))
    for name, seconds in (("a", 30), ("b", 30), ("c", 6000)):
        known.ended(Outcome(name, "ran", seconds))
    assert known.left({}) == 30, "one long chapter (training) does not make all others long"
    known.ended(Outcome("d", "skipped"))
    assert known.left({}) == 0


def test_an_earlier_run_is_believed_before_the_plan_and_a_bar_before_both(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"seconds": 7}))
    (tmp_path / "b.json").write_text("{damaged")
    known = forecast(Tiny(tmp_path, a=1, b=1))
    assert known.left({}) == 67
    known.started("a")
    assert known.left({"a": Position()}) == pytest.approx(67, abs=0.5)
    bar = io.StringIO()
    with tqdm(total=100, file=bar, desc="training", initial=0) as shown:
        shown.start_t = time.time() - 100
        shown.n = 10
        shown.refresh()
    position = Position()
    position.write(bar.getvalue().rstrip().rsplit("\r", 1)[0])
    assert known.left({"a": position}) == pytest.approx(60 + 900, abs=30)
    long = Position(line="training: 2%| | 5/291 [10:00<9:32:00, 120.00s/run]")
    assert forecast(Tiny(tmp_path, b=1), 2).left({"b": long}) == 9 * 3600 + 32 * 60


def test_a_job_that_overruns_counts_as_about_to_end(tmp_path):
    known = forecast(Tiny(tmp_path, a=1))
    known.started("a")
    known.began["a"] -= 1000
    assert known.left({"a": Position(line="no bar")}) == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (121, "2 min"), (5300, "88 min"), (5460, "1 h 31 min")]
)
def test_durations_in_words(seconds, text):
    assert in_words(seconds) == text


@pytest.mark.parametrize("live", [True, False])
def test_the_terminal_says_what_is_left(live):
    stream = io.StringIO()
    stream.isatty = lambda: live
    terminal = Terminal(stream)
    terminal.started("40_train")
    terminal.said -= 60
    terminal.running({"40_train": Position(3, 9, "bar")}, 12, 400)
    assert "12 jobs left, about 7 min | 40_train 0 s, cell 3/9 bar" in stream.getvalue()
