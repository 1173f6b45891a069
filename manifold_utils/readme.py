"""The generated parts of the README, and the committed reference run that its numbers come from.

`freeze_reference` copies an atlas' results (small JSON files) to notebooks/reference/<profile>/ with a hash of each
chapter's code, so that a reader sees which numbers are older than their chapter. `render` fills the README's marked
blocks from book.yaml and that reference. It computes no number.
"""

import re
from pathlib import Path

from manifold_utils.chapters import NOTEBOOKS, Book, code_cells, read_notebook
from manifold_utils.claims import scorecard, scorecard_markdown
from manifold_utils.store import PROJECT, fingerprint, read_json, write_json

REFERENCE = NOTEBOOKS / "reference"
KINDS = {"make": "Make", "show": "Show: the paper's figures", "beyond": "Beyond the paper"}


def freeze_reference(atlas, folder=REFERENCE):
    """Copy the results of `atlas` to `folder`/<profile>/, each with the hash of its chapter's code.

    Returns
    -------
    list of paths written; results of chapters that the book does not have are not copied
    """
    book, written = Book(), []
    for chapter in book.chapters:
        for source in sorted((atlas.path / "results").glob(f"{chapter.id}*.json")):
            target = Path(folder) / atlas.profile.name / source.name
            write_json(target, {**read_json(source), "code": code_fingerprint(book.path(chapter))})
            written.append(target)
    return written


def code_fingerprint(notebook):
    """Hash of a notebook's code cells: prose and outputs do not count."""
    return fingerprint(code_cells(notebook))


def stale_chapters(folder):
    """Ids of the chapters whose code has changed since the reference in `folder` was made, and of missing ones."""
    book = Book()
    found = {c.id: Path(folder) / f"{c.id}.json" for c in book.chapters}
    return [
        i
        for i, path in found.items()
        if not path.is_file() or read_json(path)["code"] != code_fingerprint(book.path(book.by_id[i]))
    ]


def chapters_markdown(book):
    """The table of chapters: number, title, the chapter's question, minutes; grouped by kind."""
    lines = ["| | chapter | question | minutes (2 cores) |", "|---|---|---|---|"]
    for kind, name in KINDS.items():
        listed = [c for c in book.chapters if c.kind == kind]
        lines += [f"| | **{name}** | | |"] if listed else []
        for c in listed:
            question = read_notebook(book.path(c)).cells[0].source.splitlines()[0].removeprefix("# ")
            lines.append(f"| {c.id} | [{c.title}](notebooks/{c.notebook}.ipynb) | {question} | {c.minutes:g} |")
    return "\n".join(lines)


def render(text, profile="digits", reference=REFERENCE):
    """README text with its marked blocks filled; everything outside the marks stays as it is.

    Raises
    ------
    ValueError
        If a mark is missing.
    """
    folder = Path(reference) / profile
    stale = ", ".join(stale_chapters(folder)) or "none"
    table = f"{scorecard_markdown(scorecard(folder), profile)}\n\nChapters whose code is newer than this run: {stale}."
    blocks = {"chapters": chapters_markdown(Book()), "scorecard": table}
    for name, content in blocks.items():
        pattern = re.compile(rf"(<!-- {name}:begin[^>]*-->\n)(.*?)(<!-- {name}:end -->)", re.S)
        if not pattern.search(text):
            raise ValueError(f"README.md has no block between <!-- {name}:begin --> and <!-- {name}:end -->")
        text = pattern.sub(lambda m, content=content: f"{m[1]}\n{content}\n\n{m[3]}", text)
    return text


def write_readme(path=PROJECT / "README.md"):
    """Fill the README's blocks in place; returns whether anything changed."""
    old = Path(path).read_text(encoding="utf-8")
    new = render(old)
    if new != old:
        Path(path).write_text(new, encoding="utf-8")
    return new != old
