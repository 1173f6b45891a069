"""Opening and saving a chapter in JupyterLab changes nothing in git but what was edited, on either twin."""

import asyncio
import json
import os
import shutil
import subprocess
from types import SimpleNamespace

import nbformat
import pytest
from jupyter_server.extension.manager import ExtensionPackage
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from jupytext.async_contentsmanager import build_async_jupytext_contents_manager_class

from manifold_utils.book import settings, stripping, twins
from manifold_utils.book.contents import NOTEBOOKS, Book, read_notebook
from manifold_utils.files import PROJECT

Manager = build_async_jupytext_contents_manager_class(AsyncLargeFileManager)
CHAPTER = "42_spectrum"
# What JupyterLab 4 adds: of the kernel, of cells that were run, folded, hidden, and of a notebook with widgets.
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
    "version": "3.13.1",
}
EXECUTION = {"iopub.execute_input": "2026-01-01T00:00:00Z", "shell.execute_reply": "2026-01-01T00:00:01Z"}
CELL = {"execution": EXECUTION, "trusted": True, "collapsed": False, "jupyter": {"outputs_hidden": True}}
OUTPUT = nbformat.v4.new_output("stream", name="stdout", text="hello\n")


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def clone(tmp_path):
    """A repository with two chapters, set up as `make env` sets up a clone."""
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    for name in ("book.yaml", "jupytext.toml", "40_train_manifold.ipynb", f"{CHAPTER}.ipynb", f"{CHAPTER}.py"):
        shutil.copy(NOTEBOOKS / name, notebooks / name)
    (tmp_path / "manifold_utils" / "book").mkdir(parents=True)
    shutil.copy(stripping.__file__, tmp_path / "manifold_utils" / "book")
    for name in (".gitattributes", ".gitignore"):
        shutil.copy(PROJECT / name, tmp_path)
    git(tmp_path, "init", "-q")
    assert len(settings.apply(tmp_path, tmp_path / ".git" / "prefix")) == 3
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    return tmp_path


def save(clone, name, change=None, *, run=False):
    """Open a notebook, let a kernel start (and cells run), change it, and save it, as JupyterLab does."""
    manager = Manager(root_dir=str(clone / "notebooks"))
    manager.register_pre_save_hook(stripping.before_saving)
    model = asyncio.run(manager.get(name, type="notebook", content=True))
    node = model["content"]
    node.metadata.language_info = nbformat.from_dict(LANGUAGE)
    node.metadata.kernelspec.display_name = "book (conda)"
    node.metadata.widgets = nbformat.from_dict({"application/vnd.jupyter.widget-state+json": {"state": {}}})
    for number, cell in enumerate(node.cells):
        cell.metadata.update(nbformat.from_dict(CELL))
        cell.id = f"random{number}"
        if run and cell.cell_type == "code":
            cell.execution_count, cell.outputs = number, [OUTPUT]
    if change:
        change(node)
    asyncio.run(manager.save({"type": "notebook", "format": "json", "content": node}, name))
    return node


@pytest.mark.parametrize("ending", [".ipynb", ".py"])
def test_opening_and_saving_changes_no_byte(clone, ending):
    paths = sorted((clone / "notebooks").glob(f"{CHAPTER}.*"))
    before = [path.read_bytes() for path in paths]
    save(clone, f"{CHAPTER}{ending}")
    assert [path.read_bytes() for path in paths] == before and len(paths) == 2
    assert git(clone, "status", "--short") == ""


@pytest.mark.parametrize("ending", [".ipynb", ".py"])
def test_outputs_stay_on_disk_and_out_of_git(clone, ending):
    save(clone, f"{CHAPTER}{ending}", run=True)
    kept = [cell for cell in read_notebook(clone / "notebooks" / f"{CHAPTER}.ipynb").cells if cell.cell_type == "code"]
    assert all(cell.outputs == [OUTPUT] and cell.execution_count for cell in kept) and len(kept) > 5
    assert git(clone, "diff") == ""
    git(clone, "add", ".")
    assert git(clone, "status", "--short") == ""


@pytest.mark.parametrize("ending", [".ipynb", ".py"])
def test_an_edit_reaches_both_twins_and_git_shows_it_alone(clone, ending):
    def edit(node):
        node.cells[-1].source += "\n\nA new sentence."
        node.cells[-1].metadata.tags = ["solution"]

    save(clone, f"{CHAPTER}{ending}", edit, run=True)
    changed = [line for line in git(clone, "diff", "-U0").splitlines() if line[0] in "+-" and line[1] not in "+-"]
    assert len(changed) <= 20 and sum("A new sentence." in line for line in changed) == 2
    assert twins.content(read_notebook(clone / "notebooks" / f"{CHAPTER}.ipynb")) == twins.content(
        twins.read_text(clone / "notebooks" / f"{CHAPTER}.py")
    )
    twins.sync(clone / "notebooks", "py")
    assert git(clone, "diff", "--stat").count("|") == 2


@pytest.mark.parametrize("newer", [".ipynb", ".py"])
def test_a_twin_that_was_written_long_before_the_other_opens(clone, newer):
    os.utime(clone / "notebooks" / f"{CHAPTER}{newer}", (4e9, 4e9))
    save(clone, f"{CHAPTER}.ipynb")
    assert git(clone, "diff") == ""


def test_a_notebook_that_is_no_chapter_keeps_its_metadata(clone):
    (clone / "notebooks" / "mine").mkdir()
    metadata = {"kernelspec": dict(stripping.KERNELSPEC)}
    source = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")], metadata=metadata)
    nbformat.write(source, clone / "notebooks" / "mine" / "x.ipynb")
    save(clone, "mine/x.ipynb")
    assert read_notebook(clone / "notebooks" / "mine" / "x.ipynb").metadata.language_info.version == "3.13.1"


def test_the_canonical_text_is_what_nbformat_writes():
    for chapter in Book().chapters:
        node = read_notebook(Book().path(chapter))
        assert stripping.text_of(node) == nbformat.writes(twins.canonical(node), version=4) + "\n"
        nbformat.validate(twins.canonical(node))


@pytest.mark.parametrize("raw", [b"", b"<<<<<<< HEAD\n{}", b"\xff", b"[1]", b'{"nbformat": 3}', b'{"nbformat": 4}'])
def test_what_is_no_notebook_passes_the_filter_unchanged(raw):
    assert stripping.filtered(raw) == raw


def test_pictures_pass_the_filter():
    cell = nbformat.v4.new_markdown_cell("![](a.png)", attachments={"a.png": {"image/png": "iVBORw0="}})
    raw = nbformat.writes(nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_raw_cell("raw")])).encode()
    kept = json.loads(stripping.filtered(raw))["cells"]
    assert kept[0]["attachments"] == cell.attachments and kept[1]["cell_type"] == "raw"


def test_settings_name_an_extension_that_jupyter_can_load(tmp_path):
    for _ in range(2):  # a second call changes nothing
        settings.apply(tmp_path, tmp_path)
    written = {path.name: json.loads(path.read_text()) for path in tmp_path.rglob("*.json")}
    assert written.keys() == {"manifold-book.json", "default_setting_overrides.json"}
    (name,) = written["manifold-book.json"]["ServerApp"]["jpserver_extensions"]
    manager = Manager(root_dir=str(tmp_path))
    ExtensionPackage(name=name, enabled=True).load_all_points(SimpleNamespace(contents_manager=manager))
    assert stripping.before_saving in manager._pre_save_hooks
    (viewers,) = written["default_setting_overrides.json"].values()
    assert viewers == {"defaultViewers": {"python": "Jupytext Notebook"}}
