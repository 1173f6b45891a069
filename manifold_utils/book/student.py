"""The student edition: the chapters without solutions, made from the tags of their cells; and the teacher's copy.

An exercise is a cell tagged `stub` (the name to define), one tagged `solution`, a `check`, and a stricter check behind
it, tagged `check` and `hidden`. Students get the stub and the check; the teacher's copy holds everything in the form
from which nbgrader grades. Both carry nbgrader's metadata with the same ids. It runs nothing and grades nothing.
"""

import shutil
from pathlib import Path

import nbformat

from manifold_utils.book.contents import NOTEBOOKS, Book, read_notebook, tags
from manifold_utils.book.stripping import content, stripped
from manifold_utils.book.twins import NOTEBOOK_ENDING, TEXT_ENDING, py_text, read_text
from manifold_utils.files import atomic_path, fingerprint

STAMP = "manifold_student"  # in a notebook's metadata and in the README: the hash of what was written
YOUR_TURN = {"code": "# Your turn.", "markdown": "*Your turn: write your answer here.*"}  # where there is no stub
SOLUTION_MARKS = "### BEGIN SOLUTION", "### END SOLUTION"  # nbgrader's: it clears what is between them
HIDDEN_MARKS = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
FOLDED_NOTE = " A solution and a stricter check are folded."  # of the chapters; not so in what students get
SCHEMA_VERSION = 3  # of nbgrader's metadata
README = "README.md"
JUPYTEXT = "jupytext.toml"  # how JupyterLab keeps twins in step


def for_students(notebook, *, keep_outputs=False):
    """A canonical copy without solutions and hidden checks.

    Parameters
    ----------
    notebook : path or NotebookNode
    keep_outputs : bool
        Keep the outputs of all other cells, for the pages; those of answers and checks would tell the solution.
    """
    node = _edition(notebook, keep_outputs, lambda stub, solution: stub or YOUR_TURN, lambda check, hidden: check)
    for cell in node.cells:
        cell.source = cell.source.replace(FOLDED_NOTE, "")
    return node


def for_teachers(notebook):
    """A canonical copy with solutions and hidden checks between nbgrader's marks: its `source` of an assignment."""

    def answer(stub, solution):
        return "\n".join(filter(None, [stub, SOLUTION_MARKS[0], solution, SOLUTION_MARKS[1]]))

    def check(visible, hidden):
        return "\n".join([visible, HIDDEN_MARKS[0], hidden, HIDDEN_MARKS[1]]) if hidden else visible

    return _edition(notebook, False, answer, check)


def _edition(notebook, keep_outputs, answer, check):
    """A copy in which `answer(stub, solution)` and `check(visible, hidden)` say what the cells of exercises hold."""
    node = nbformat.from_dict(stripped(read_notebook(notebook), keep_outputs=keep_outputs))
    cells, number, n_checks = [], 0, 0
    for role, first, second in _exercise_cells(node):
        cell = first[0] if first else second[0] if role else None
        texts = ["\n".join(c.source for c in group) for group in (first, second)]
        if role == "answer":
            number, n_checks = number + 1, 0
            said = answer(*texts)
            cell.source = said[cell.cell_type] if isinstance(said, dict) else said
            given = {"grade": False, "solution": True, "locked": False, "grade_id": f"exercise-{number}"}
            if cell.cell_type == "markdown":  # an answer in words: nbgrader has the teacher grade it by hand
                given |= {"grade": True, "points": 1}
        elif role == "check":
            n_checks += 1
            cell.source = check(*texts)
            name = f"check-{number}" + (f"-{n_checks}" if n_checks > 1 else "")
            given = {"grade": True, "solution": False, "locked": True, "points": 1, "grade_id": name}
        cells += [_graded(cell, role, given)] if role else first
    node.cells = cells
    return node


def _exercise_cells(node):
    """List of (role, first cells, second cells).

    The role is "answer" (stub, solution), "check" (visible, hidden) or "" (an ordinary cell, which comes first).
    """
    groups = []
    for cell in node.cells:
        labels, last = tags(cell), groups[-1] if groups else ("", [], [])
        if "solution" in labels:
            if last[0] != "answer":
                groups.append(last := ("answer", [], []))
            last[2].append(cell)
        elif "hidden" in labels and last[0] == "check":
            last[2].append(cell)
        else:
            groups.append(("answer" if "stub" in labels else "check" if "check" in labels else "", [cell], []))
    return groups


def _graded(cell, role, given):
    """The cell with nbgrader's metadata, open, without outputs."""
    cell.metadata = nbformat.from_dict({"tags": ["your-turn" if role == "answer" else "check"]})
    cell.metadata["nbgrader"] = {**given, "schema_version": SCHEMA_VERSION, "task": False}
    if cell.cell_type == "code":
        cell.update(outputs=[], execution_count=None)
    return cell


def write_student_edition(out, folder=NOTEBOOKS):
    """Write the student edition of all chapters of `folder` to the folder `out`, with twins and a README.

    Each notebook carries the hash of its content. What is there already is replaced only if it still has the content
    that its hash names: answers are never overwritten.

    Returns
    -------
    list of Path
        The notebooks.

    Raises
    ------
    ValueError
        `out` is the folder of the book.
    FileExistsError
        Some files there have been worked on, or were not made here; all of them are named, and none is written.
    """
    return _write(out, folder, for_students, STUDENT_README)


def write_teacher_copy(out, folder=NOTEBOOKS):
    """Write the chapters with solutions and hidden checks between nbgrader's marks; see `write_student_edition`."""
    return _write(out, folder, for_teachers, TEACHER_README)


def _write(out, folder, form, readme):
    book, out = Book(folder), Path(out)
    if out.resolve() == Path(folder).resolve():
        raise ValueError(f"an edition cannot be written into {folder}: it would overwrite the book")
    paths = [out / f"{chapter.notebook}{NOTEBOOK_ENDING}" for chapter in book.chapters]
    twins_of = [(path, twin) for path in paths for twin in (path, path.with_suffix(TEXT_ENDING))]
    mine = [twin for path, twin in twins_of if twin.exists() and not _untouched(path, twin)]
    if (out / README).exists() and not _own_readme(out / README):
        mine.append(out / README)
    if mine:
        raise FileExistsError(
            f"{out} holds files with work in them ({', '.join(path.name for path in mine)}), which a new edition would "
            "overwrite; give another folder (--out, --teacher), or move them away"
        )
    out.mkdir(parents=True, exist_ok=True)
    for chapter, path in zip(book.chapters, paths, strict=True):
        node = form(book.path(chapter))
        node.metadata[STAMP] = fingerprint(content(node))
        _replace(path, nbformat.writes(node) + "\n")
        _replace(path.with_suffix(TEXT_ENDING), py_text(node))
    text = readme.format(title=book.title)
    _replace(out / README, f"{text}\n<!-- {STAMP}: {fingerprint(text)} -->\n")
    if (book.folder / JUPYTEXT).is_file():
        shutil.copyfile(book.folder / JUPYTEXT, out / JUPYTEXT)
    return paths


def _replace(path, text):
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _untouched(notebook, path):
    """Whether a notebook or its text twin still has the content that the notebook was written with."""
    try:
        stamp = nbformat.read(notebook, as_version=nbformat.NO_CONVERT).metadata.get(STAMP)
        return stamp == fingerprint(content(read_text(path)))
    except (OSError, ValueError, AttributeError, nbformat.reader.NotJSONError):
        return False


def _own_readme(path):
    """Whether a README has the text that its last line says."""
    text, _, stamp = path.read_text(encoding="utf-8", errors="replace").rpartition(f"\n<!-- {STAMP}: ")
    return stamp == f"{fingerprint(text)} -->\n"


STUDENT_README = """# {title}: student edition

Each chapter ends with exercises and a quiz. An exercise has a cell with the name to define, and below it a check.

1. Open a chapter in JupyterLab and run all of its cells. It stops at the first check, because nothing is defined yet.
2. Replace the `...` by your answer. The comment says what the name should hold.
3. Run the check. If it fails, it says what was expected and what was found. Your teacher runs a stricter check as well.

Save your work in this folder: a new edition is never written over it. Each notebook has a text twin (`.py`), which
JupyterLab keeps in step. If the folder has `html/index.html`, that is the book to read, with its figures and without
the solutions.

## One atlas for the whole class

The chapters read an *atlas*: the trained networks, their predictions and their distances. It is made once (`make book`)
and can be shared, read-only. Before you start JupyterLab, say where it is, and where your own figures and results go:

```bash
export MANIFOLD_DATA=/path/to/the/shared/folder   # holds atlases/; nobody needs to write to it
export MANIFOLD_OUT=~/manifold-out                # your own folder; keep one for each atlas
```

Chapters 10, 11, 20 and 30 to 32 make parts of the atlas. Read them, and do their exercises in an atlas of your own: the
profile `smoke` takes two minutes (`python -m manifold_utils run --profile smoke`, with `MANIFOLD_DATA` at a folder of
yours and `MANIFOLD_OUT` unset). All other chapters run on the shared one. Without a shared atlas, leave both unset.
"""

TEACHER_README = """# {title}: the teacher's copy

The same chapters as the student edition, with solutions and with the stricter checks. Keep it to yourself.

nbgrader takes it as the `source` of an assignment: copy a chapter to `source/NAME/` of your course, then call
`nbgrader generate_assignment NAME`, collect the notebooks, and call `nbgrader autograde NAME`. The cells that are
graded have the same ids in the student edition, so answers written there can be graded, too. `nbgrader validate
NOTEBOOK` runs all checks of one notebook; cells that take longer than nbgrader's 4 seconds need
`--Execute.iopub_timeout=600` (in your course's `nbgrader_config.py`: `c.Execute.iopub_timeout = 600`).
"""


__all__ = ["for_students", "for_teachers", "write_student_edition", "write_teacher_copy"]
