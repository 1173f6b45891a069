"""Each notebook is stored twice: `NN_name.ipynb`, which Jupyter opens, and `NN_name.py`, a text that diffs well.

Twins agree when their cells agree in type, source and tags. `sync` mends a pair from the side that was edited, and
writes both in one canonical form: py:percent, no outputs, no run metadata, ids derived from the cells' content. The
student edition is made of them elsewhere (`student`). This module executes nothing.
"""

import subprocess
from itertools import zip_longest
from pathlib import Path

import jupytext
import nbformat

from manifold_utils.book.contents import NOTEBOOKS, decoded, notebook_of
from manifold_utils.book.stripping import content, stripped, text_of
from manifold_utils.files import atomic_path, fingerprint, read_json, write_json

NOTEBOOK_ENDING, TEXT_ENDING = ".ipynb", ".py"
# Magics stay as they are: jupytext would take a heading of one word with a question mark for IPython's help.
TEXT_FORMAT = {"extension": TEXT_ENDING, "format_name": "percent", "comment_magics": False}
TWIN_FILTERS = {"notebook_metadata_filter": "-all", "cell_metadata_filter": "tags,-all"}
MEMORY = ".ipynb_checkpoints/twins.json"  # beside the notebooks, not in git: what twins held after the last `sync`


def canonical(notebook):
    """A notebook node that holds a notebook's content and nothing else; equal content gives equal bytes."""
    return nbformat.from_dict(stripped(notebook))


def py_text(notebook):
    """Canonical text of the py:percent twin: no header, tags only. ValueError if it would not read back the same."""
    node = canonical(notebook)
    node.metadata = nbformat.from_dict({"jupytext": dict(TWIN_FILTERS)})
    for cell in node.cells:
        cell.pop("id")
    text = jupytext.writes(node, fmt=TEXT_FORMAT)
    for before, after in zip_longest(content(node), content(jupytext.reads(text, fmt=TEXT_FORMAT))):
        if before != after:
            raise ValueError(f"a cell changes when it is written as text: {before!r} becomes {after!r}")
    return text


def read_text(path, text=None):
    """Notebook node of either twin, from its path or from text that is not (any more) at that path."""
    text = decoded(Path(path).read_bytes(), path) if text is None else text
    if Path(path).suffix == NOTEBOOK_ENDING:
        return notebook_of(text, path)
    return jupytext.reads(text, fmt=TEXT_FORMAT)


def _refuse_what_a_twin_loses(path):
    """ValueError names the first cell of an .ipynb that its text twin cannot hold: raw, or with pictures in it."""
    for number, cell in enumerate(read_text(path).cells if path.is_file() else [], start=1):
        if cell.get("attachments"):
            names = ", ".join(cell.attachments)
            raise ValueError(
                f"{path.name}, cell {number}: a picture was pasted into it ({names}), which a text twin cannot hold; "
                "save it as a file beside the notebook and link that, or draw it in a code cell"
            )
        if cell.cell_type == "raw":
            raise ValueError(f"{path.name}, cell {number}: a twin cannot hold a raw cell; make it Markdown or code")


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
            forms = ((ipynb, text_of(node)), (py, py_text(node)))
            uneven = [path.name for path, text in forms if _text(path) != text]
            found += [f"{name} has outputs, run metadata or another layout" for name in uneven]
    return found


def sync(folder=NOTEBOOKS, source=None):
    """Mend all twins of a folder.

    Parameters
    ----------
    folder : path
    source : {"py", "ipynb"}, optional
        The side that wins where twins differ. Without it: the side whose content has changed since the last call or,
        on a first call, since git's last commit. Without either, the side that was written last.

    Returns
    -------
    list of str
        One sentence for each file that was written.

    Raises
    ------
    ValueError
        Nothing has been written: both sides of a pair were edited, a cell cannot be held by a twin (raw cells, pasted
        pictures), or a file is empty, no UTF-8, or left in the middle of a merge. Names notebook and cell.
    """
    done, both = [], pairs(folder)
    for ipynb, _ in both:
        _refuse_what_a_twin_loses(ipynb)
    winners, synced = [_winner(ipynb, py, source) for ipynb, py in both], {}
    for (ipynb, py), winner in zip(both, winners, strict=True):
        node = read_text(winner)
        synced[ipynb.stem] = fingerprint(content(node))
        for path, text in ((ipynb, text_of(node)), (py, py_text(node))):
            if not path.is_file() or _text(path) != text:
                with atomic_path(path) as temporary:
                    temporary.write_text(text, encoding="utf-8")
                done.append(f"{path.name} written from {winner.name}")
    if synced != _last_call(folder):
        (Path(folder) / MEMORY).parent.mkdir(exist_ok=True)
        write_json(Path(folder) / MEMORY, synced)
    return done


def _last_call(folder):
    path = Path(folder) / MEMORY
    return read_json(path) if path.is_file() else {}


def _winner(ipynb, py, source):
    if not (ipynb.is_file() and py.is_file()):
        return ipynb if ipynb.is_file() else py
    if source:
        return {"ipynb": ipynb, "py": py}[source]
    if content(read_text(ipynb)) == content(read_text(py)):
        return py
    before = _last_call(ipynb.parent).get(ipynb.stem)
    known = [before, before] if before else [_committed(path) for path in (ipynb, py)]
    sides = zip((ipynb, py), known, strict=True)
    edited = [path for path, old in sides if old is not None and fingerprint(content(read_text(path))) != old]
    if len(edited) == 2:
        raise ValueError(
            f"{ipynb.name} and {py.name} were both edited ({_first_difference(ipynb, py)}), and one would be lost: "
            "bring them together by hand, or say which one wins (sync --from py, or --from ipynb)"
        )
    return edited[0] if edited else max((ipynb, py), key=lambda path: path.stat().st_mtime_ns)


def _committed(path):
    """Fingerprint of a file's content at git's last commit; None without git, a commit, or the file in it."""
    command = ["git", "-C", str(path.parent), "show", f"HEAD:./{path.name}"]
    try:
        shown = subprocess.run(command, capture_output=True, check=True).stdout
        return fingerprint(content(read_text(path, decoded(shown, path))))
    except (FileNotFoundError, subprocess.CalledProcessError, ValueError):
        return None


def _first_difference(ipynb, py):
    left, right = content(read_text(ipynb)), content(read_text(py))
    for number, (a, b) in enumerate(zip(left, right, strict=False), start=1):
        if a != b:
            return f"cell {number} ({a[1].splitlines()[0] if a[1] else 'empty'!r})"
    return f"{len(left)} and {len(right)} cells"


def _text(path):
    return path.read_text(encoding="utf-8")
