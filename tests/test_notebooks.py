"""Static rules over the chapters (the house style), each a function from a notebook to a list of complaints.

No chapter is executed here; tests/test_whole_book.py does that.
"""

import ast
import re
import statistics
from pathlib import Path

import nbformat
import pytest

from manifold_utils.book import twins
from manifold_utils.book.contents import NOTEBOOKS, Book, check_parameters, declared_parameters, read_notebook, tags
from manifold_utils.profiles import Profile

MAX_WIDTH, MAX_LINES, MAX_IMPORT_LINES, MAX_MEDIAN, MIN_WORDS = 88, 15, 15, 5, 6
MAX_INCHES = 9  # of a figure: the width of a page
UNIDIOMATIC = re.compile(
    r"afraid of|stands? apart|stands? off|for want of|deserves?\b|last word|\bwhoever\b|everybody|stranger"
    r"|hardly any opinion|tells? the same story|knows nothing of the|who can have"
)  # phrases that a native editor struck out
REUSABLE = {
    "_",
    "fig",
    "ax",
    "axes",
    "alt",
    "colour",
    "marker",
    "dash",
    "label",
    "look",
}  # names that mean the same in every section
LAST_SECTIONS = ["What we learned", "Exercises", "What next"]
CHAPTERS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
FORBIDDEN = {
    r"^\s*!": "runs a shell command",
    r"%pip|%conda|pip install": "installs something",
    r"os\.chdir|%cd\b": "changes the working directory",
    r"import \*": "imports everything",
    r"[\"'](/|~/|[A-Za-z]:\\\\)\w": "names an absolute path",
    r"https?://|urlretrieve|download=True|requests\.get": "downloads",
    r"warnings\.(filter|simplefilter)": "silences warnings",
}


def code(notebook, without=()):
    """Code cells that carry none of the given tags."""
    return [c for c in notebook.cells if c.cell_type == "code" and not set(tags(c)) & set(without)]


def lines_of(source):
    """Lines of code that say something: not blank, not a comment, not a lone closing bracket."""
    return [s for line in source.splitlines() if (s := line.strip()) and not s.startswith("#") and s.strip(")]},")]


def sections(notebook):
    """List of (title, cells) of the level-two sections; what stands before the first has the title ''."""
    found = [("", [])]
    for cell in notebook.cells:
        titles = re.findall(r"^## (.+)$", cell.source, re.M) if cell.cell_type == "markdown" else []
        found[-1][1].append(cell)
        found += [(title.strip(), []) for title in titles]
    return found


def first_cells(notebook):
    cells = notebook.cells
    if cells[0].cell_type != "markdown" or not re.match(r"# .+\?$", cells[0].source.splitlines()[0]):
        yield "the first cell is not a title (# ...) that asks a question"
    missing = [w for w in ("goals", "prerequisites", "minutes", "inputs") if w not in cells[0].source.lower()]
    if missing:
        yield f"the first cell does not give {', '.join(missing)}"
    imports = code(notebook)[0]
    if not all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(imports.source).body):
        yield "the first code cell holds more than imports"
    if "parameters" not in tags(code(notebook)[1]):
        yield "the second code cell is not tagged 'parameters'"
    if any(
        isinstance(n, ast.Import | ast.ImportFrom) for c in code(notebook)[1:] for n in ast.walk(ast.parse(c.source))
    ):
        yield "something is imported after the first code cell"


def parameter_cell(notebook):
    defaults = declared_parameters(notebook)
    cell = next(c for c in notebook.cells if "parameters" in tags(c))
    yield from (f"no help beside {line!r}" for line in cell.source.splitlines() if "  # " not in line)
    if not {"profile", "data_dir"} <= set(defaults):
        yield "profile or data_dir is not a parameter"
    if defaults.get("profile") != "digits" or defaults.get("data_dir") != "":
        yield "profile and data_dir do not have the book's defaults"
    later = "\n".join(c.source for c in code(notebook, ["parameters"]))
    used = {
        node.id for node in ast.walk(ast.parse(later)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    yield from (f"parameter {name!r} is never used" for name in defaults if name not in used)


def wrapped(source):
    """Lines that a reader counts: no blank lines or comments, and a line too wide for the page folded."""
    lines = [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]
    return sum(-(-len(line) // MAX_WIDTH) for line in lines)


def sizes(notebook):
    imports, *cells = [c for c in code(notebook) if c.source.strip()]
    for cell in (imports, *cells):
        wide = [line for line in cell.source.splitlines() if len(line) > MAX_WIDTH]
        yield from (f"{len(line)} characters in the line {line.strip()!r}" for line in wide)
    if wrapped(imports.source) > MAX_IMPORT_LINES:
        yield f"{wrapped(imports.source)} lines of imports"
    for cell in cells:
        if wrapped(cell.source) > MAX_LINES:
            yield f"{wrapped(cell.source)} lines in the cell {cell.source.splitlines()[0]!r}"
    shown = [c for c in cells if not {"hide-input", "parameters"} & set(tags(c))]
    median = statistics.median(len(lines_of(c.source)) for c in shown)
    if median > MAX_MEDIAN:
        yield f"the median code cell has {median} lines"


def prose(notebook):
    words = sum(len(re.findall(r"\w[\w'-]*", c.source)) for c in notebook.cells if c.cell_type == "markdown")
    shown = code(notebook, ["hide-input", "parameters", "solution", "check"])[1:]  # what a page does not fold
    n_lines = sum(len(lines_of(c.source)) for c in shown)
    if words < MIN_WORDS * n_lines:
        yield f"{words} words of prose for {n_lines} lines of code: {words / n_lines:.1f} a line"
    for cell in notebook.cells:
        yield from (f"unidiomatic: {phrase!r}" for phrase in UNIDIOMATIC.findall(cell.source.lower()))


def definitions(notebook):
    for cell in code(notebook):
        kinds = [type(node) for node in ast.walk(ast.parse(cell.source))]
        if ast.ClassDef in kinds:
            yield f"a class in {cell.source.splitlines()[0]!r}"
        if ast.FunctionDef in kinds and not {"lesson", "solution"} & set(tags(cell)):
            yield f"a function outside a cell tagged 'lesson': {cell.source.splitlines()[0]!r}"


def forbidden(notebook):
    for cell in code(notebook):
        yield from (
            f"{what}: {cell.source!r}" for rule, what in FORBIDDEN.items() if re.search(rule, cell.source, re.M)
        )


def assigned(cell):
    """Names that a cell binds at its top level, in whatever block; loop variables and functions' own names excepted."""
    waiting, names = list(ast.parse(cell.source).body), set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            names.add(getattr(node, "name", "_"))
            continue
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {
            n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return names


def reused_names(notebook):
    owner = {}
    for title, cells in sections(notebook):
        here = {n for c in cells if c.cell_type == "code" for n in assigned(c)} - REUSABLE
        yield from (f"{n!r} of section {owner[n]!r} is assigned again in {title!r}" for n in sorted(here) if n in owner)
        owner.update(dict.fromkeys(here, title))


def last_sections(notebook):
    titles = [title for title, _ in sections(notebook)]
    if titles[-3:] != LAST_SECTIONS:
        yield f"the last sections are {titles[-3:]}, not {LAST_SECTIONS}"
        return
    (_, learned), (_, exercises), (_, next_) = sections(notebook)[-3:]
    if not any("print" in c.source or "display" in c.source or "Markdown" in c.source for c in learned):
        yield "'What we learned' prints no sentence made from computed values"
    count = {tag: sum(tag in tags(c) for c in notebook.cells) for tag in ("solution", "check")}
    if not 3 <= count["solution"] <= 5 or count["check"] < count["solution"]:
        yield f"{count['solution']} solutions and {count['check']} checks; 3 to 5 exercises, each with a check"
    if not any("assert" in c.source for c in exercises if "check" in tags(c)):
        yield "the checks assert nothing"
    everything = "\n".join(c.source for c in notebook.cells)
    if "save_results(" not in everything:
        yield "no results are saved"
    if "References" not in everything:
        yield "there are no references"


def figures(notebook):
    cells = notebook.cells
    for i, cell in enumerate(cells):
        if (
            cell.cell_type == "code"
            and re.search(r"save_(figure|interactive)\(", cell.source)
            and "solution" not in tags(cell)
        ):
            before = {c.cell_type for c in cells[max(0, i - 2) : i]}  # one cell of code may prepare the figure
            if "markdown" not in before:
                yield f"the figure of {cell.source.splitlines()[0]!r} is not announced"
            if i + 1 == len(cells) or cells[i + 1].cell_type != "markdown":
                yield f"the figure of {cell.source.splitlines()[0]!r} is not read afterwards"
        for width in re.findall(r"figsize=\(([\d.]+),", cell.source):
            if float(width) > MAX_INCHES:
                yield f"a figure of {width} inches is wider than the page"


RULES = [first_cells, parameter_cell, sizes, prose, definitions, forbidden, reused_names, last_sections, figures]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_keeps_the_rule(path, rule):
    assert list(rule(read_notebook(path))) == []


def test_every_notebook_is_a_chapter_and_twins_are_in_step():
    listed = {chapter.notebook for chapter in Book().chapters}
    present = {ipynb.stem for ipynb, _ in twins.pairs()}
    assert listed == present and len(CHAPTERS) == len(present)
    assert twins.problems() == []


def test_chapters_stand_in_the_order_of_their_numbers():
    ids = [chapter.id for chapter in Book().chapters]
    assert ids == sorted(ids)


@pytest.mark.parametrize("profile", sorted(p.stem for p in (NOTEBOOKS / "profiles").glob("*.yaml")))
def test_matrices_give_values_that_the_notebooks_take(profile):
    book, loaded = Book(), Profile.load(profile)
    names = [job.name for chapter in book.chapters for job in book.jobs(chapter, loaded)]
    left_out = [chapter for chapter in book.chapters if book.lacking(chapter, loaded)]
    assert len(names) == len(set(names)) >= len(book.chapters) - len(left_out)
    assert not left_out or profile not in ("smoke", "digits"), "these profiles have what every chapter asks for"
    for chapter in book.chapters:
        for job in book.jobs(chapter, loaded):
            check_parameters(book.path(chapter), job.values)


def _notebook(*cells):
    new = {"m": nbformat.v4.new_markdown_cell, "c": nbformat.v4.new_code_cell}
    made = [new[kind](source, metadata={"tags": [tag]} if tag else {}) for kind, source, tag in cells]
    return nbformat.v4.new_notebook(cells=made)


@pytest.mark.parametrize(
    ("rule", "cells"),
    [
        (first_cells, [("m", "# No question", ""), ("c", "x = 1", ""), ("c", "y = 1", "")]),
        (parameter_cell, [("c", 'profile = "digits"\ndata_dir = ""  # help\nn = 1  # help', "parameters")]),
        (sizes, [("c", "import x", ""), ("c", "\n".join(f"x{i} = {i}" for i in range(16)), "")]),
        (sizes, [("c", "import x", ""), ("c", "x = [" + ", ".join(str(i) for i in range(40)) + "]", "")]),
        (sizes, [("c", "import x", ""), ("c", "f(\n" + "    1,\n" * 14 + ")", "")]),
        (sizes, [("c", "\n".join(f"import x{i}" for i in range(16)), ""), ("c", "x = 1", "")]),
        (prose, [("m", "few words", ""), ("c", "import x", ""), ("c", "a = 1\nb = 2", "")]),
        (definitions, [("c", "def f():\n    return 1", "")]),
        (definitions, [("c", "class A:\n    pass", "lesson")]),
        (forbidden, [("c", "path = '/home/me/data'", "")]),
        (forbidden, [("c", "from numpy import *", "")]),
        (
            reused_names,
            [("m", "## A", ""), ("c", "for i in [1]:\n    x = i", ""), ("m", "## B", ""), ("c", "x, y = 1, 2", "")],
        ),
        (last_sections, [("m", "## Exercises", ""), ("m", "## What next", "")]),
        (figures, [("c", "plots.save_figure(fig, path)", "")]),
    ],
)
def test_each_rule_finds_what_it_is_for(rule, cells):
    assert list(rule(_notebook(*cells)))


def test_names_may_be_loop_variables_or_axes_in_two_sections():
    one = [("m", "## A", ""), ("c", "for i in [1]:\n    print(i)\nfig, ax = f()\nx = 1", "")]
    two = [("m", "## B", ""), ("c", "for i in [2]:\n    print(i)\nfig, ax = f()\nx += 1", "")]
    assert list(reused_names(_notebook(*one, *two))) == []


def test_profiles_and_claims_lie_beside_the_notebooks():
    assert {"smoke", "digits"} <= {path.stem for path in Path(NOTEBOOKS, "profiles").glob("*.yaml")}


def names_of_calls(cell, called):
    """Names that a cell binds to a call of the function `called`."""
    return {
        target.id
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(target, ast.Name) and getattr(node.value.func, "id", "") == called
    }


@pytest.mark.parametrize("number", ["62", "70", "71"])
def test_an_added_interval_in_a_chapter_on_generalisation_moves_no_later_number(number):
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    cells = code(read_notebook(path))
    whole = "\n".join(cell.source for cell in cells)
    assert "partial(statistics.stream, seed)" in whole and re.search(r"[=: ]stream\(", whole)
    assert "default_rng" not in whole and not re.search(r"\brng\"?[=:](?! ?stream\()", whole), "a generator is shared"
    for name in {name for cell in cells for name in names_of_calls(cell, "stream")}:
        users = [c for c in cells if re.search(rf"\b{name}\b", c.source) and name not in names_of_calls(c, "stream")]
        assert not users, f"{name!r} draws in more than one cell"


@pytest.mark.parametrize("number", ["40", "49", "50", "51", "52", "53", "62", "70", "71"])
def test_n_of_a_result_counts_what_was_measured_not_how_often_it_was_drawn(number):
    (path,) = NOTEBOOKS.glob(f"{number}_*.ipynb")
    whole = "\n".join(cell.source for cell in code(read_notebook(path)))
    assert re.search(r"claims\.result(s_of)?\(", whole)
    counts = r"n_(?:null|draws|resamples|permutations|shuffles)\b|len\((?:null|permuted|drawn)\)"
    assert not re.findall(rf"\bn(?:=|\": )(?:int\()?(?:{counts})", whole)
