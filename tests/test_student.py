"""The student edition and the teacher's copy: what they hold, what they never overwrite, what nbgrader says."""

import importlib.util
import os
import subprocess
import sys

import nbformat
import pytest

from manifold_utils.book import student, twins
from manifold_utils.book.contents import NOTEBOOKS, read_notebook, tags
from manifold_utils.book.stripping import content, stripped

BOOK = 'title: Tiny\nchapters:\n- {id: "10", notebook: 10_one, title: One, kind: make}\n'
TEXT = """# %% [markdown]
# # How many?

# %% tags=["parameters"]
half = 21  # of the answer

# %% [markdown]
# ## Exercises
#
# Replace each `...`. A solution and a stricter check are folded.
#
# 1. Define `answer`, twice the half.

# %% tags=["stub"]
answer = ...  # a number

# %% tags=["solution"]
answer = 2 * half
answer

# %% tags=["check"]
assert isinstance(answer, int), f"expected a whole number, found {answer!r}"

# %% tags=["check", "hidden"]
assert answer == half + half, f"expected {half + half}, found {answer}"

# %% [markdown]
# 2. In words: why?

# %% [markdown] tags=["solution"]
# Because two halves are a whole.
"""


@pytest.fixture
def book(tmp_path):
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "book.yaml").write_text(BOOK, encoding="utf-8")
    (folder / "10_one.py").write_text(TEXT, encoding="utf-8")
    twins.sync(folder)
    return folder


def test_students_get_stubs_and_visible_checks_only(book, tmp_path):
    (path,) = student.write_student_edition(tmp_path / "out", book)
    cells = read_notebook(path).cells
    assert [c.source.split("\n")[0] for c in cells[3:5]] == ["answer = ...  # a number", cells[4].source]
    whole = path.read_text() + path.with_suffix(".py").read_text()
    assert not [told for told in ("folded", "2 * half", "half + half", "two halves") if told in whole]
    assert "Your turn" in cells[-1].source
    assert content(read_notebook(path)) == content(twins.read_text(path.with_suffix(".py")))


def test_both_editions_carry_nbgraders_metadata_with_the_same_ids(book):
    source = book / "10_one.ipynb"
    given = [
        [cell.metadata["nbgrader"] for cell in form(source).cells if "nbgrader" in cell.metadata]
        for form in (student.for_students, student.for_teachers)
    ]
    assert given[0] == given[1]
    assert [one["grade_id"] for one in given[0]] == ["exercise-1", "check-1", "exercise-2"]
    answer, check, words = given[0]
    assert (words["grade"], words["solution"], words["points"]) == (True, True, 1), "graded by hand"
    assert (answer["grade"], answer["solution"], answer["locked"]) == (False, True, False)
    assert (check["grade"], check["solution"], check["locked"], check["points"]) == (True, False, True, 1)
    assert all(one["schema_version"] == 3 and one["task"] is False for one in given[0])
    teacher = "\n".join(cell.source for cell in student.for_teachers(source).cells)
    assert "### BEGIN SOLUTION\nanswer = 2 * half\nanswer\n### END SOLUTION" in teacher
    assert "### BEGIN HIDDEN TESTS\nassert answer == half + half" in teacher


def test_solutions_and_hidden_checks_open_folded_in_jupyterlab(book):
    cells = read_notebook(book / "10_one.ipynb").cells
    folded = [cell.metadata.get("jupyter", {}).get("source_hidden", False) for cell in cells]
    assert folded == [bool({"solution", "hidden"} & set(tags(cell))) for cell in cells] and sum(folded) == 3
    assert "source_hidden" not in (book / "10_one.py").read_text() and twins.problems(book) == []


def test_slides_are_named_by_tags():
    cells = [nbformat.v4.new_markdown_cell(text, metadata={"tags": [tag] if tag else []}) for text, tag in
             (("a", "slide"), ("b", ""), ("c", "same-slide"))]  # fmt: skip
    made = stripped(nbformat.v4.new_notebook(cells=cells))["cells"]
    kinds = [cell["metadata"]["slideshow"]["slide_type"] for cell in made]
    assert kinds == ["slide", "skip", "-"]


@pytest.mark.parametrize("name", ["10_one.ipynb", "10_one.py", "README.md"])
def test_what_somebody_has_worked_on_is_named_and_kept(book, tmp_path, name):
    out = tmp_path / "out"
    student.write_student_edition(out, book)
    student.write_student_edition(out, book)  # untouched: written anew
    before = (out / name).read_text()
    (out / name).write_text(before.replace("answer = ...", "answer = 42").replace("Each chapter", "Our chapter"))
    changed = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert changed[name] != before.encode()
    with pytest.raises(FileExistsError, match=rf"files with work in them \({name}\)"):
        student.write_student_edition(out, book)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == changed


def test_a_readme_of_somebody_else_is_kept(book, tmp_path):
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.raises(FileExistsError, match=r"README\.md"):
        student.write_teacher_copy(tmp_path, book)
    assert (tmp_path / "README.md").read_text() == "# Mine\n" and not list(tmp_path.glob("10_*"))


def test_pages_of_the_edition_keep_figures_and_drop_what_tells_the_answer(book):
    node = read_notebook(book / "10_one.ipynb")
    for number, cell in enumerate(cell for cell in node.cells if cell.cell_type == "code"):
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=f"output {number}")]
    shown = student.for_students(node, keep_outputs=True)
    assert [len(cell.outputs) for cell in shown.cells if cell.cell_type == "code"] == [1, 0, 0]


def test_students_readme_says_how_a_class_shares_an_atlas(book, tmp_path):
    student.write_student_edition(tmp_path / "out", book)
    text = (tmp_path / "out" / "README.md").read_text()
    assert "export MANIFOLD_DATA=" in text and "export MANIFOLD_OUT=" in text and text.startswith("# Tiny: student")


needs_nbgrader = pytest.mark.skipif(
    importlib.util.find_spec("nbgrader") is None,
    reason="nbgrader is not installed here (it is in requirements.lock): its own validation does not run",
)


def validated(path):
    """What `nbgrader validate` says of a notebook, and its exit status."""
    slow = ["--Execute.iopub_timeout=300", "--Execute.startup_timeout=300"]  # a loaded machine; its own is 4 seconds
    call = [sys.executable, "-m", "nbgrader", "validate", *slow, str(path)]
    done = subprocess.run(call, capture_output=True, text=True, env={**os.environ, "HOME": str(path.parent)})
    return done.returncode, done.stdout + done.stderr


@needs_nbgrader
def test_nbgrader_validates_the_real_thing(book, tmp_path):
    (path,) = student.write_student_edition(tmp_path / "out", book)
    (copy,) = student.write_teacher_copy(tmp_path / "teacher", book)
    said = validated(path)[1]
    assert "VALIDATION FAILED ON 1 CELL" in said and "expected a whole number, found Ellipsis" in said
    assert "Success! Your notebook passes all the tests." in validated(copy)[1]


@needs_nbgrader
@pytest.mark.parametrize("form", [student.for_students, student.for_teachers])
def test_nbgrader_reads_the_metadata_of_every_chapter(form):
    from nbgrader.nbgraderformat.v3 import MetadataValidatorV3

    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        node = form(path)
        MetadataValidatorV3().validate_nb(node)
        assert sum("nbgrader" in cell.metadata for cell in node.cells) >= 6, path.name
