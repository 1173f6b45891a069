"""Pages that belong to no chapter: the glossary, the bibliography and the lesson plan, each from one file.

`notebooks/glossary.yaml`, `notebooks/references.yaml` and `notebooks/teaching/lesson_plan.md` are what they are made
of. Chapters name references by their keys, `* [Key] text`; on a page the key is a link. It runs nothing.
"""

import re

from manifold_utils.strict_yaml import load_yaml

GLOSSARY, REFERENCES, PLAN = "glossary.yaml", "references.yaml", "teaching/lesson_plan.md"
CITED = re.compile(r"^\* \[([A-Z][A-Za-z]+\d{4}[a-z]?)\](?!\()", re.M)  # a line of a chapter's references
CHAPTER_LINK = re.compile(r"\[([^\]]*)\]\(\.\./((\d\d)_\w+)\.ipynb\)")


def references(folder):
    """Dictionary of the bibliography, key -> text; empty for a book without one."""
    path = folder / REFERENCES
    return load_yaml(path.read_text(encoding="utf-8")) if path.is_file() else {}


def with_links(source, known):
    """Markdown of a chapter in which the keys of its references lead to the bibliography.

    Parameters
    ----------
    source : str
    known : collection of keys that the bibliography has

    Raises
    ------
    ValueError
        A key that the bibliography does not have.

    Examples
    --------
    >>> with_links("* [Mao2024] Mao et al.", {"Mao2024"})
    '* [Mao2024](references.md#mao2024) Mao et al.'
    """
    unknown = [key for key in CITED.findall(source) if key not in known]
    if known and unknown:
        raise ValueError(f"{REFERENCES} has no {', '.join(unknown)}: add it there, or mend the chapter's references")
    return CITED.sub(lambda m: f"* [{m[1]}](references.md#{m[1].lower()})" if m[1] in known else m[0], source)


def write(staging, book, pages):
    """Write the pages for which the book has a file, as Markdown, into the folder that pages are made from.

    Parameters
    ----------
    staging : Path
    book : Book
    pages : dict
        Chapter id -> file of its page; chapters that are not there get no links.

    Returns
    -------
    list of (title, name) of what was written
    """
    makers = {GLOSSARY: ("Glossary", _glossary), REFERENCES: ("References", _references), PLAN: ("Lesson plan", _plan)}
    made = []
    for name, (title, maker) in makers.items():
        if (book.folder / name).is_file():
            stem = re.sub(r".*/|\.\w+$", "", name)
            (staging / f"{stem}.md").write_text(maker(book, pages), encoding="utf-8")
            made.append((title, stem))
    return made


def glossary(folder):
    """List of the glossary's entries: dictionaries with word, meaning, chapter and perhaps symbol and equation."""
    return load_yaml((folder / GLOSSARY).read_text(encoding="utf-8"))


def _glossary(book, pages):
    lines = ["# Glossary", "", "| word | symbol | meaning | equation | chapter |", "|---|---|---|---|---|"]
    for entry in glossary(book.folder):
        number = entry["chapter"]
        chapter = f"[{number}]({pages[number]})" if number in pages else number
        cells = [entry["word"], entry.get("symbol", ""), entry["meaning"], entry.get("equation", ""), chapter]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _references(book, pages):
    known = references(book.folder)
    cited = {key: [c.id for c in book.chapters if f"[{key}]" in _text(book, c)] for key in known}
    lines = ["# References", ""]
    for key, text in known.items():
        links = ", ".join(f"[{n}]({pages[n]})" if n in pages else n for n in cited[key])
        lines += [f"({key.lower()})=", "", f"**{key}.** {text}" + (f" Cited in {links}." if links else ""), ""]
    return "\n".join(lines)


def _text(book, chapter):
    return book.path(chapter).read_text(encoding="utf-8")


def _plan(book, pages):
    """The lesson plan, its links to chapters made to lead to their pages."""
    text = (book.folder / PLAN).read_text(encoding="utf-8")
    return CHAPTER_LINK.sub(lambda m: f"[{m[1]}]({pages[m[3]]})" if m[3] in pages else m[1], text)


__all__ = ["glossary", "references", "with_links", "write"]
