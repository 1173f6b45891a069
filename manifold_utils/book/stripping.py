"""What git keeps of a chapter: its cells with their tags, and nothing that a machine, a kernel or an editor adds.

JupyterLab writes outputs, execution counts, times, ids, folded cells, widgets and the kernel's version into a notebook.
Here they are left out, and ids are derived from the cells' content, so that equal content gives equal bytes. It is what
`make sync` writes, what an extension of Jupyter's server writes when a chapter is saved (with its outputs), and what
git's filter `notebook` keeps (.gitattributes), which starts this file with the standard library only. Tags are the one
source of what JupyterLab and nbconvert read elsewhere: which cells are folded, and which stand on a slide.
"""

import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
MAJOR, MINOR = 4, 5  # of the notebook format
ID_LENGTH = 10
FOLDED = ("solution", "hidden")  # tags of cells that JupyterLab opens folded
SLIDES = {"slide": "slide", "fragment": "fragment", "same-slide": "-"}  # tag -> nbconvert's name of it


def content(notebook):
    """What a notebook says: a list of (cell type, source, sorted tags).

    notebook : dict, as JSON gives it (a source may be a list of lines), or an nbformat node
    """
    return [(c["cell_type"], _source(c), sorted(c["metadata"].get("tags", []))) for c in notebook["cells"]]


def stripped(notebook, *, keep_outputs=False):
    """A dictionary that holds a notebook's content and nothing else. Pasted pictures stay: they are content."""
    cells, seen = [], Counter()
    has_slides = any(tag in SLIDES for _, _, labels in content(notebook) for tag in labels)
    for (kind, source, labels), old in zip(content(notebook), notebook["cells"], strict=True):
        cell = {"cell_type": kind, "metadata": _metadata(labels, has_slides), "source": source}
        if kind == "code":
            kept = old if keep_outputs else {}
            cell |= {"execution_count": kept.get("execution_count"), "outputs": kept.get("outputs", [])}
        if old.get("attachments"):
            cell["attachments"] = old["attachments"]
        digest = hashlib.sha256(json.dumps([kind, source, labels], separators=(",", ":")).encode()).hexdigest()
        seen[digest] += 1
        cells.append(cell | {"id": f"{digest[:ID_LENGTH]}-{seen[digest]}"})
    metadata = {"kernelspec": dict(KERNELSPEC), "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": MAJOR, "nbformat_minor": MINOR}


def _metadata(labels, has_slides):
    """A cell's tags, and what follows from them."""
    metadata = {"tags": labels} if labels else {}
    if set(FOLDED) & set(labels):
        metadata["jupyter"] = {"outputs_hidden": True, "source_hidden": True}
    if has_slides:
        metadata["slideshow"] = {"slide_type": next((SLIDES[tag] for tag in labels if tag in SLIDES), "skip")}
    return metadata


def text_of(notebook):
    """The one text of an .ipynb file with this content, laid out as Jupyter lays it out."""
    node = stripped(notebook)
    for cell in node["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
    return json.dumps(node, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def filtered(raw):
    """The bytes of an .ipynb file, stripped. What is no notebook (a merge that is not finished) stays as it is."""
    try:
        notebook = json.loads(raw.decode("utf-8-sig"))
        return text_of(notebook).encode("utf-8") if notebook["nbformat"] == MAJOR else raw
    except (ValueError, KeyError, TypeError, AttributeError):
        return raw


def before_saving(model, path, contents_manager, **_):
    """Jupyter's hook before it writes a file: a chapter (a notebook beside a book.yaml) is stripped but for outputs."""
    beside = Path(contents_manager.root_dir, path.strip("/")).parent / "book.yaml"
    if model["type"] == "notebook" and model["content"]["nbformat"] == MAJOR and beside.is_file():
        model["content"] = type(model["content"])(stripped(model["content"], keep_outputs=True))


def _jupyter_server_extension_points():
    return [{"module": __name__}]


def _load_jupyter_server_extension(app):
    app.contents_manager.register_pre_save_hook(before_saving)


def _source(cell):
    """A cell's text with lines that end in \\n, without blank ones at its end."""
    source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
    return source.replace("\r\n", "\n").rstrip()


if __name__ == "__main__":
    sys.stdout.buffer.write(filtered(sys.stdin.buffer.read()))
