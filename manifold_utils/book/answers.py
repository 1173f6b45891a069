"""The answer first: what a chapter found on its atlas, in sentences that it printed itself, under its title.

A chapter prints what it found in its section "What we learned". The first of these sentences are put below the title
when the notebook has run, and again when a page is built from it, so that a reader meets the result before the road to
it. Cells tagged `answer` are taken instead where a chapter has any. It computes nothing.
"""

import re

from manifold_utils.book.contents import tags

SECTION = "what we learned"
N_SENTENCES = 3
MARK = "> **On this atlas.**"
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#$|~])")


def sentences(text):
    """Printed text as whole statements: a line, with the indented lines below it, that ends with a full stop.

    Tables (a line that ends with a colon, and what is indented below it) and fragments are left out.

    Examples
    --------
    >>> sentences("Two axes carry\\n  92 % of it.\\nshares:\\n  a: 1\\nDone.")
    ['Two axes carry 92 % of it.', 'Done.']
    """
    groups = []
    for line in text.splitlines():
        if line.startswith(" ") and groups:
            groups[-1].append(line.strip())
        elif line.strip():
            groups.append([line.strip()])
    whole = [" ".join(lines) for lines in groups if not lines[0].endswith(":")]
    return [text for text in whole if text.endswith(".")]


def answer(node, n=N_SENTENCES):
    """The first sentences that an executed chapter printed of what it found; [] for one that has not run.

    Parameters
    ----------
    node : NotebookNode
    n : int

    Returns
    -------
    list of at most n str
    """
    cells = [c for c in node.cells if "answer" in tags(c)] or _section(node)
    printed = [o.text for c in cells for o in c.get("outputs", []) if o.get("name") == "stdout"]
    return [s[:1].upper() + s[1:] for text in printed for s in sentences(text)][:n]


def with_answer(node):
    """The same notebook with its answer below its title; one that is there already is replaced.

    Parameters
    ----------
    node : NotebookNode, executed; its first cell is Markdown and begins with the title

    Returns
    -------
    NotebookNode, `node` itself, changed in place
    """
    found = answer(node)
    if not node.cells or node.cells[0].cell_type != "markdown":
        return node
    lines = without_answer(node.cells[0].source).split("\n")
    if found and lines[0].startswith("# "):
        lines[1:1] = ["", " ".join([MARK, *(SPECIAL.sub(r"\\\1", s) for s in found)])]
    node.cells[0].source = "\n".join(lines)
    return node


def without_answer(source):
    """The text of a first cell without its answer."""
    return re.sub(rf"\n\n{re.escape(MARK)}[^\n]*", "", source)


def _section(node):
    """Code cells of the section that says what was learned."""
    inside, cells = False, []
    for cell in node.cells:
        if cell.cell_type == "markdown":
            headings = [line for line in cell.source.splitlines() if line.startswith("## ")]
            inside = SECTION in headings[-1].lower() if headings else inside
        elif inside:
            cells.append(cell)
    return cells
