"""Twins never lose what was edited: pictures, raw cells, other encodings, both sides at once, unfinished merges."""

import json
import os
import subprocess
import time

import nbformat
import pytest

from manifold_utils.book import twins
from manifold_utils.book.contents import declared_parameters, read_notebook
from manifold_utils.book.dependencies import imported_modules

TEXT = '# %% [markdown]\n# # Straße?\n\n# %% tags=["parameters"]\nlevel = 1  # how loud\n\n# %%\nprint(level)\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "10_one.py").write_text(TEXT, encoding="utf-8")
    twins.sync(tmp_path)
    return tmp_path


def edit(path, old, new):
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def add_cell(folder, cell):
    path = folder / "10_one.ipynb"
    node = read_notebook(path)
    node.cells.append(cell)
    nbformat.write(node, path)
    return path.read_bytes()


@pytest.mark.parametrize("source", [None, "py", "ipynb"])
@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (nbformat.v4.new_markdown_cell("![](a.png)", attachments={"a.png": {"image/png": "iVBORw0="}}), r"a\.png"),
        (nbformat.v4.new_raw_cell("raw *text*"), "raw cell"),
    ],
)
def test_what_a_text_twin_cannot_hold_is_refused_and_kept(folder, cell, said, source):
    before = add_cell(folder, cell)
    with pytest.raises(ValueError, match=rf"10_one\.ipynb, cell 4: .*{said}"):
        twins.sync(folder, source)
    assert (folder / "10_one.ipynb").read_bytes() == before and (folder / "10_one.py").read_text() == TEXT


def test_nothing_is_written_when_one_of_several_is_refused(folder):
    add_cell(folder, nbformat.v4.new_raw_cell("raw"))
    (folder / "05_new.py").write_text(TEXT, encoding="utf-8")
    with pytest.raises(ValueError, match="10_one"):
        twins.sync(folder)
    assert not (folder / "05_new.ipynb").exists()


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_and_line_endings_of_another_system_are_read(folder, ending, mark):
    text = mark + TEXT.replace("level = 1", "level = 2").replace("\n", ending)
    (folder / "10_one.py").write_bytes(text.encode("utf-8"))
    twins.sync(folder)
    node = read_notebook(folder / "10_one.ipynb")
    assert [c.cell_type for c in node.cells] == ["markdown", "code", "code"] and "\r" not in node.cells[1].source
    assert declared_parameters(node) == {"level": 2} and twins.sync(folder) == []


def test_carriage_returns_inside_a_notebook_reach_no_dead_end(folder):
    path = folder / "10_one.ipynb"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["cells"][2]["source"] = ["print(level)\r\n", "print(2)"]
    path.write_text(json.dumps(raw), encoding="utf-8")
    twins.sync(folder, "ipynb")
    assert "print(level)\nprint(2)" in (folder / "10_one.py").read_text() and twins.problems(folder) == []


def test_both_sides_edited_is_refused_and_both_are_kept(folder):
    edit(folder / "10_one.py", "print(level)", "print('text')")
    edit(folder / "10_one.ipynb", "print(level)", "print('notebook')")
    before = [p.read_bytes() for p in sorted(folder.glob("10_*"))]
    with pytest.raises(ValueError, match=r"10_one\.ipynb and 10_one\.py were both edited \(cell 3"):
        twins.sync(folder)
    assert [p.read_bytes() for p in sorted(folder.glob("10_*"))] == before
    twins.sync(folder, "py")
    assert "text" in (folder / "10_one.ipynb").read_text()
    edit(folder / "10_one.ipynb", "'text'", "'again'")
    os.utime(folder / "10_one.ipynb", (0, time.time() - 1000))
    assert twins.sync(folder) == ["10_one.ipynb written from 10_one.ipynb", "10_one.py written from 10_one.ipynb"]
    assert "again" in (folder / "10_one.py").read_text(), "the side that was edited since the last call wins"


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_the_last_commit_is_read_as_utf_8_in_every_locale(folder, locale):
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True)
    (folder / twins.MEMORY).unlink()
    edit(folder / "10_one.ipynb", "Straße", "Gasse")
    os.utime(folder / "10_one.ipynb", (0, 1000))
    code = f"from manifold_utils.book import twins; twins.sync({str(folder)!r})"
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([os.sys.executable, "-c", code], check=True, env=environment)
    assert "Gasse" in (folder / "10_one.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["10_one.py", "10_one.ipynb"])
@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"<<<<<<< HEAD\nx = 1\n", "line 1: a merge was left unfinished"), (b"\xff\xfe", "not UTF-8")],
)
def test_a_file_that_is_none_is_named(folder, name, content, said):
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}.*{said}"):
        twins.sync(folder)
    assert (folder / name).read_bytes() == content


def test_text_that_is_no_notebook_is_named(folder):
    (folder / "10_one.ipynb").write_text("{'cells': ")
    with pytest.raises(ValueError, match=r"10_one\.ipynb is not a notebook"):
        twins.sync(folder)


def test_ipythons_own_syntax_and_faulty_cells_do_not_hide_the_imports_of_others():
    cells = ["!ls\n%timeit 1\nx = !ls", "%%bash\necho 'hi", "len?", "def broken(:"]
    cells.append("from manifold_utils.compat import *")
    assert list(imported_modules(cells)) == ["compat"]


def test_a_parameters_cell_that_is_not_python_is_an_ordinary_error():
    node = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("level = = 1", metadata={"tags": ["parameters"]})])
    with pytest.raises(ValueError, match="'parameters' cell is not Python: invalid syntax, line 1"):
        declared_parameters(node)
