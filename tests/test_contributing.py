"""CONTRIBUTING.md: each change that it shows is short, applies to a copy of the repository, and does what it says."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from datetime import date

import pytest
import yaml

from manifold_utils import __version__
from manifold_utils.__main__ import _parser
from manifold_utils.book import badges
from manifold_utils.files import PROJECT

GUIDE = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHANGES = dict(re.findall(r"^## A ([\w ]+)\n.*?^```diff\n(.*?)^```", GUIDE, re.M | re.S))
MAX_LINES = 39
CHECKS = {
    "family of networks": """
from typing import get_args
from manifold_utils.datasets import load_dataset
from manifold_utils.networks import BUILDERS
from manifold_utils.plots.style import ARCHITECTURE_STYLE
from manifold_utils.profiles import Architecture, DatasetConfig, RunConfig
from manifold_utils.training import train_run
digits = DatasetConfig(name="digits", n_train=200, n_test=50)
run = RunConfig(dataset=digits, architecture="lenet", optimizer="adam", learning_rate=5e-3, epochs=3, batch_size=20)
record = train_run(run, load_dataset(digits))
assert record.status == "finished" and record.log_probs["test"].shape[1:] == (50, 10)
assert record.points.loss_train.iloc[-1] < record.points.loss_train.iloc[0] - 0.5, record.points
assert set(get_args(Architecture)) == set(BUILDERS) == set(ARCHITECTURE_STYLE)
assert len(set(ARCHITECTURE_STYLE.values())) >= 7 and ARCHITECTURE_STYLE["lenet"] not in [
    style for name, style in ARCHITECTURE_STYLE.items() if name != "lenet"]
""",
    "data set": """
from manifold_utils.datasets import inventory, load_dataset
from manifold_utils.profiles import DatasetConfig, RunConfig
from manifold_utils.training import train_run
wine = DatasetConfig(name="wine", n_train=90, n_test=50)
data = load_dataset(wine)
assert data.x_train.shape == (90, 13) and data.n_classes == 3 and len(data.y_test) == 50
assert not {tuple(x) for x in data.x_train.tolist()} & {tuple(x) for x in data.x_test.tolist()}
inputs, _ = next(data.batches("train", data.recorded("train"), 90))
assert abs(inputs.mean(0)).max() < 1e-4 and abs(inputs.std(0) - 1).max() < 1e-3
assert {s.name: s.state for s in inventory.inventory()}["wine"] == "there"
run = RunConfig(dataset=wine, architecture="fc", scale=0.0625, epochs=20, batch_size=10, learning_rate=0.05)
record = train_run(run, data)
assert record.points.error_test.iloc[-1] < 0.2, record.points
""",
    "divergence": """
import numpy as np
from typing import get_args
from scipy.spatial.distance import jensenshannon
from scipy.special import log_softmax
from manifold_utils.distances import METRICS, pairwise
from manifold_utils.geometry import truth
from manifold_utils.profiles import Metric
x = log_softmax(np.random.default_rng(0).normal(size=(5, 7, 3)), axis=2)
x = np.concatenate([x, truth([0, 1, 2, 0, 1, 2, 0], 3), truth([1, 2, 0, 1, 2, 0, 1], 3)])
D = pairwise(x, metric="jensen_shannon")
assert np.isfinite(D).all() and (D == D.T).all() and (np.diag(D) == 0).all() and D.max() <= np.log(2) + 1e-12
expected = (jensenshannon(np.exp(x[0]), np.exp(x[1]), axis=1) ** 2).mean()
assert np.isclose(D[0, 1], expected) and np.isclose(D[5, 6], np.log(2))
assert np.isclose(pairwise(x, x[:2], metric="jensen_shannon", cap=0.1)[5].max(), 0.1)
assert set(METRICS) == set(get_args(Metric))
""",
    "chapter": """
import sys
from manifold_utils.book import twins
from manifold_utils.book.contents import Book, read_notebook
from manifold_utils.profiles import Profile
assert "80_late_bloomers.ipynb written from 80_late_bloomers.py" in twins.sync()
sys.path.insert(0, "tests")
import test_notebooks
book = Book()
(chapter,) = [c for c in book.chapters if c.id == "80"]
said = [c for rule in test_notebooks.RULES for c in rule(read_notebook(book.path(chapter)))]
assert not said, said
assert [job.name for job in book.jobs(chapter, Profile.load("smoke"))] == ["80_late_bloomers"]
test_notebooks.test_chapters_stand_in_the_order_of_their_numbers()
test_notebooks.test_every_notebook_is_a_chapter_and_twins_are_in_step()
""",
}


def test_the_guide_shows_four_changes_of_less_than_forty_lines():
    assert CHANGES.keys() == CHECKS.keys()
    assert {name: len(text.splitlines()) for name, text in CHANGES.items() if len(text.splitlines()) > MAX_LINES} == {}


@pytest.mark.parametrize("name", CHECKS)
def test_a_change_applies_and_works(tmp_path, name):
    ignore = shutil.ignore_patterns("__pycache__", "reference", ".ipynb_checkpoints", "*.min.js")
    for folder in ("manifold_utils", "notebooks", "tests"):
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=ignore)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, check=True, input=CHANGES[name], text=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHECKS[name]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if name != "chapter":  # whose twin gets its layout from `make sync`
        lint = [sys.executable, "-m", "ruff", "check", "--quiet", "--config", PROJECT / "pyproject.toml", "."]
        subprocess.run(lint, cwd=tmp_path, check=True)


def test_hooks_call_commands_that_exist():
    hooks = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks] == ["twins", "readme", "ruff"]
    called = [line for hook in hooks for line in re.findall(r"-m manifold_utils ([\w ]+?)(?= &&|$)", script(hook))]
    assert called == ["sync", "twins check", "readme"] and "-m ruff check" in script(hooks[2])
    assert all(_parser().parse_args(line.split()) for line in called)
    changed = "notebooks/42_spectrum.ipynb", "notebooks/42_spectrum.py"
    assert all(re.search(hooks[0]["files"], path) for path in changed)
    assert not re.search(hooks[0]["files"], "notebooks/templates/chapter.py")


def script(hook):
    """The shell script of a hook, whose syntax is checked; nothing is run."""
    shell, option, text = shlex.split(hook["entry"])
    subprocess.run([shell, "-n", option, text], check=True)
    return text


def test_the_citation_names_the_book_and_the_paper():
    cited = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0" and cited["version"] == __version__
    (paper,) = cited["references"]
    families = [author["family-names"] for author in paper["authors"]]
    assert families == "Mao Griniasty Teoh Ramesh Yang Transtrum Sethna Chaudhari".split()
    assert paper["doi"] == "10.1073/pnas.2310002121"
    (author,) = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["authors"]
    assert cited["authors"] == [author] and author["name"] in (PROJECT / "LICENSE").read_text(encoding="utf-8")


def test_versions_of_the_changelog_are_dates_newest_first():
    text = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    days = [date.fromisoformat(title) for title in re.findall(r"^## (.+)$", text, re.M)]
    assert len(days) >= 3 and days == sorted(days, reverse=True)
    assert all("\n* " in part for part in text.split("\n## ")[1:])


@pytest.mark.parametrize(
    "address", ["git@github.com:a-b/c.d.git", "https://github.com/a-b/c.d", "ssh://git@github.com/a-b/c.d.git"]
)
def test_badges_link_to_this_repository_and_to_a_notebook_that_is_there(address):
    links = re.findall(r"\]\((https[^)]+)\)\n?", badges.markdown(address, "dev"))
    binder, colab = [link for link in links if not link.endswith(".svg")]
    assert binder == "https://mybinder.org/v2/gh/a-b/c.d/dev?urlpath=lab/tree/notebooks/00_start_here.ipynb"
    assert colab == "https://colab.research.google.com/github/a-b/c.d/blob/dev/notebooks/00_start_here.ipynb"
    assert (PROJECT / badges.FIRST).is_file()


@pytest.mark.parametrize("address", ["", "https://example.org/a/b.git", "/srv/git/book"])
def test_badges_of_an_address_that_colab_cannot_read_are_refused(address):
    with pytest.raises(ValueError, match="need a repository on GitHub"):
        badges.markdown(address)
