"""Each notebook is stored twice: `NN_name.ipynb`, which Jupyter opens, and `NN_name.py`, a text that diffs well.

Twins agree when their cells agree in type, source and tags. `sync` mends a pair from the side that was edited, and
writes both in one canonical form: py:percent, no outputs, no run metadata, ids derived from the cells' content. The
student edition is a third form of the same notebook: cells tagged `solution` are emptied, their checks stay. It is
generated, never edited. This module executes nothing.
"""

import subprocess
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import jupytext
import nbformat

from manifold_utils.book.contents import NOTEBOOKS, Book, read_notebook, tags
from manifold_utils.files import atomic_path, fingerprint

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
NOTEBOOK_ENDING, TEXT_ENDING = ".ipynb", ".py"
# Magics stay as they are: jupytext would take a heading of one word with a question mark for IPython's help.
TEXT_FORMAT = {"extension": TEXT_ENDING, "format_name": "percent", "comment_magics": False}
STAMP = "manifold_student"  # metadata of a notebook of the student edition: the hash of its content
YOUR_TURN = {"code": "# Your turn.", "markdown": "*Your turn: write your answer here.*"}


def content(notebook):
    """What twins must share: a list of (cell type, source, sorted tags)."""
    return [(cell.cell_type, cell.source.rstrip(), sorted(tags(cell))) for cell in notebook.cells]


def canonical(notebook):
    """A copy that holds a notebook's content and nothing else; equal content gives equal bytes."""
    node, seen = nbformat.v4.new_notebook(), Counter()
    node.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC, "language_info": {"name": "python"}})
    for kind, source, labels in content(notebook):
        new = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        cell = new(source, metadata={"tags": labels} if labels else {})
        digest = fingerprint([kind, source, labels], 10)
        seen[digest] += 1
        cell["id"] = f"{digest}-{seen[digest]}"
        node.cells.append(cell)
    return node


def ipynb_text(notebook):
    """Canonical text of the .ipynb twin."""
    return nbformat.writes(canonical(notebook), version=4) + "\n"


def py_text(notebook):
    """Canonical text of the py:percent twin: no header, tags only. ValueError if it would not read back the same."""
    node = canonical(notebook)
    node.metadata = nbformat.from_dict({"jupytext": {"notebook_metadata_filter": "-all"}})
    for cell in node.cells:
        cell.pop("id")
    text = jupytext.writes(node, fmt=TEXT_FORMAT)
    for before, after in zip_longest(content(node), content(jupytext.reads(text, fmt=TEXT_FORMAT))):
        if before != after:
            raise ValueError(f"a cell changes when it is written as text: {before!r} becomes {after!r}")
    return text


def read_text(path, text=None):
    """Notebook node of either twin, from its path or from text that is not (any more) at that path."""
    text = Path(path).read_text(encoding="utf-8") if text is None else text
    if Path(path).suffix == NOTEBOOK_ENDING:
        return nbformat.reads(text, as_version=4)
    return jupytext.reads(text, fmt=TEXT_FORMAT)


def pairs(folder=NOTEBOOKS):
    """List of (ipynb path, py path) of a folder's notebooks, of which at least one exists."""
    stems = {p.with_suffix("") for p in Path(folder).glob("[0-9][0-9]_*") if p.suffix in (NOTEBOOK_ENDING, TEXT_ENDING)}
    return [(stem.with_suffix(NOTEBOOK_ENDING), stem.with_suffix(TEXT_ENDING)) for stem in sorted(stems)]


def problems(folder=NOTEBOOKS):
    """List of sentences, one for each twin that is missing, different, or not in the canonical form."""
    found = []
    for ipynb, py in pairs(folder):
        missing = [path.name for path in (ipynb, py) if not path.is_file()]
        if missing:
            found.append(f"{missing[0]} is missing")
        elif content(read_text(ipynb)) != content(read_text(py)):
            found.append(f"{ipynb.name} and {py.name} differ: {_first_difference(ipynb, py)}")
        else:
            node = read_text(ipynb)
            forms = ((ipynb, ipynb_text(node)), (py, py_text(node)))
            uneven = [path.name for path, text in forms if _text(path) != text]
            found += [f"{name} has outputs, run metadata or another layout" for name in uneven]
    return found


def sync(folder=NOTEBOOKS, source=None):
    """Mend all twins of a folder.

    Parameters
    ----------
    folder : path
    source : {"py", "ipynb"}, optional
        The side that wins where twins differ. Without it: the side whose content differs from git's last commit; if
        both or neither do, the side that was written last.

    Returns
    -------
    list of str
        One sentence for each file that was written.
    """
    done = []
    for ipynb, py in pairs(folder):
        winner = _winner(ipynb, py, source)
        node = read_text(winner)
        for path, text in ((ipynb, ipynb_text(node)), (py, py_text(node))):
            if not path.is_file() or _text(path) != text:
                with atomic_path(path) as temporary:
                    temporary.write_text(text, encoding="utf-8")
                done.append(f"{path.name} written from {winner.name}")
    return done


def _winner(ipynb, py, source):
    if not (ipynb.is_file() and py.is_file()):
        return ipynb if ipynb.is_file() else py
    if source:
        return {"ipynb": ipynb, "py": py}[source]
    if content(read_text(ipynb)) == content(read_text(py)):
        return py
    edited = [path for path in (ipynb, py) if content(read_text(path)) != _committed(path)]
    return edited[0] if len(edited) == 1 else max((ipynb, py), key=lambda path: path.stat().st_mtime_ns)


def _committed(path):
    """Content of a file at git's last commit; None if there is no git, no commit or no such file in it."""
    command = ["git", "-C", str(path.parent), "show", f"HEAD:./{path.name}"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return content(read_text(path, shown.stdout))


def _first_difference(ipynb, py):
    left, right = content(read_text(ipynb)), content(read_text(py))
    for number, (a, b) in enumerate(zip(left, right, strict=False), start=1):
        if a != b:
            return f"cell {number} ({a[1].splitlines()[0] if a[1] else 'empty'!r})"
    return f"{len(left)} and {len(right)} cells"


def _text(path):
    return path.read_text(encoding="utf-8")


def without_solutions(notebook):
    """A canonical copy of a notebook in which the cells tagged `solution` only say whose turn it is."""
    node = canonical(notebook)
    for cell in node.cells:
        if "solution" in tags(cell):
            cell.source = YOUR_TURN[cell.cell_type]
            cell.metadata["tags"] = ["your-turn"]
    return node


def write_student_edition(out, folder=NOTEBOOKS):
    """Write the student edition of all chapters of `folder` to the folder `out`; returns the list of paths.

    Each notebook carries the hash of its content. One that is there already is replaced only if it still has the
    content that its hash names: answers are never overwritten.

    Raises
    ------
    FileExistsError
        Some notebooks there have been worked on, or were not made here; all of them are named, and none is written.
    """
    book, out = Book(folder), Path(out)
    if out.resolve() == Path(folder).resolve():
        raise ValueError(f"the student edition cannot be written into {folder}: it would overwrite the book")
    paths = [out / f"{chapter.notebook}.ipynb" for chapter in book.chapters]
    changed = [path.name for path in paths if path.exists() and not _untouched(path)]
    if changed:
        raise FileExistsError(
            f"{out} holds notebooks with work in them ({', '.join(changed)}), which a new student edition would "
            "overwrite; give another folder (--out), or move them away"
        )
    for chapter, path in zip(book.chapters, paths, strict=True):
        notebook = without_solutions(read_notebook(book.path(chapter)))
        notebook.metadata[STAMP] = fingerprint(content(notebook))
        with atomic_path(path) as temporary:
            nbformat.write(notebook, temporary)
    return paths


def _untouched(path):
    """Whether a notebook still has the content that it was written with."""
    try:
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    except (OSError, ValueError, nbformat.reader.NotJSONError):
        return False
    return notebook.metadata.get(STAMP) == fingerprint(content(notebook))
