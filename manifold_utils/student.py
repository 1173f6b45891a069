"""The student edition: the same notebooks, with each cell tagged `solution` emptied and its `check` kept.

It is generated, never edited: change the notebook and generate it again. Working on it needs the same environment and
the same atlas.
"""

from pathlib import Path

import nbformat

from manifold_utils.chapters import NOTEBOOKS, Book, read_notebook, tags
from manifold_utils.store import atomic_path
from manifold_utils.twins import canonical

YOUR_TURN = {"code": "# Your turn.", "markdown": "*Your turn: write your answer here.*"}


def without_solutions(notebook):
    """A canonical copy of a notebook in which the cells tagged `solution` only say whose turn it is."""
    node = canonical(notebook)
    for cell in node.cells:
        if "solution" in tags(cell):
            cell.source = YOUR_TURN[cell.cell_type]
            cell.metadata["tags"] = ["your-turn"]
    return node


def write_student_edition(out, folder=NOTEBOOKS):
    """Write the student edition of all chapters of `folder` to the folder `out`; returns the list of paths."""
    book, written = Book(folder), []
    if Path(out).resolve() == Path(folder).resolve():
        raise ValueError(f"the student edition cannot be written into {folder}: it would overwrite the book")
    for chapter in book.chapters:
        path = Path(out) / f"{chapter.notebook}.ipynb"
        with atomic_path(path) as temporary:
            nbformat.write(without_solutions(read_notebook(book.path(chapter))), temporary)
        written.append(path)
    return written
