"""What a class works with: exercises whose checks can fail, the student edition, nbgrader, quizzes and references."""

import ast
import re

import numpy as np
import pandas as pd
import pytest

from manifold_utils.book import back_matter
from manifold_utils.book.contents import NOTEBOOKS, Book, read_notebook, tags
from manifold_utils.book.guard import clean

CHAPTERS = {c.id: Book().path(c) for c in Book().chapters}


def exercises(notebook):
    """[{stub, solution, check, hidden}] of sources, one for each exercise, in order."""
    found = []
    for cell in notebook.cells:
        labels = tags(cell)
        if "stub" in labels:
            found.append({"stub": cell.source})
        for tag in ("hidden", "solution", "check"):
            if tag in labels and found:
                assert tag not in found[-1], f"two cells tagged {tag!r} in one exercise"
                found[-1][tag] = cell.source
                break
    return found


def asked(stub):
    """Names that a stub wants defined: those bound to `...`."""
    return [
        target.id
        for line in ast.parse(stub).body
        if isinstance(line, ast.Assign) and getattr(line.value, "value", None) is Ellipsis
        for target in line.targets
    ]


def complaint(sources, space):
    """The message with which cells fail, "" if they pass; what they bind stays out of `space`."""
    space = dict(space)
    try:
        for source in sources:
            exec(compile(source, "check", "exec"), space)
    except AssertionError as error:
        return str(error) or "an assertion without a message"
    return ""


def wrong(value):
    """A plausible wrong answer of the same kind; of objects, something that is none."""
    if isinstance(value, bool | np.bool_):
        return not value
    if isinstance(value, str):
        return value[::-1]
    if isinstance(value, dict):
        return {key: wrong(item) for key, item in value.items()}
    if isinstance(value, list):
        return [wrong(item) for item in value] or ["x"]
    if isinstance(value, np.ndarray) and value.dtype == bool:
        return ~value
    if np.size(value) == 0:
        return object()
    if isinstance(value, int | float | np.number | np.ndarray | pd.Series | pd.DataFrame):
        return 1.5 * value + 1 if np.all(np.isfinite(value)) else 0.5
    return object()


class Everything(dict):
    """A namespace in which every name exists, so that a check can fail for its own reason only."""

    def __missing__(self, name):
        if name in vars(__builtins__) if not isinstance(__builtins__, dict) else name in __builtins__:
            raise KeyError(name)
        return Anything()


class Anything:
    """Stands for any array or table: a shape, a length and items, all of them small."""

    shape, T = (3, 3), 3

    def __getattr__(self, name):
        return Anything()

    def __call__(self, *_, **__):
        return Anything()

    def __getitem__(self, _):
        return Anything()

    def __iter__(self):
        return iter(["a"])

    def __len__(self):
        return 3

    def __rsub__(self, _):
        return 3

    def __format__(self, _):
        return "?"


@pytest.mark.parametrize("id_", CHAPTERS)
def test_exercises_have_a_stub_a_solution_a_check_and_a_stricter_one(id_):
    found = exercises(read_notebook(CHAPTERS[id_]))
    assert 3 <= len(found) <= 5
    for exercise in found:
        assert list(exercise) == ["stub", "solution", "check", "hidden"]
        names = asked(exercise["stub"])
        assert names and all("  # " in line for line in exercise["stub"].splitlines() if "= ..." in line)
        for part in ("check", "hidden"):
            lines = [node for node in ast.walk(ast.parse(exercise[part])) if isinstance(node, ast.Assert)]
            assert lines, "a check that asserts nothing"
            for line in lines:
                said = ast.unparse(line.msg) if line.msg else ""
                assert "expected " in said and "found " in said, ast.unparse(line)
        used = {node.id for node in ast.walk(ast.parse(exercise["check"])) if isinstance(node, ast.Name)}
        assert set(names) <= used, "a name is asked for and not checked"
        assert set(names) <= {n.id for n in ast.walk(ast.parse(exercise["solution"])) if isinstance(n, ast.Name)}


@pytest.mark.parametrize("id_", CHAPTERS)
def test_an_untouched_stub_fails_every_check_with_a_message(id_):
    notebook, imports = read_notebook(CHAPTERS[id_]), {}
    exec(next(cell.source for cell in notebook.cells if cell.cell_type == "code"), imports)
    for exercise in exercises(notebook):
        for name in asked(exercise["stub"]):  # also if only one of the names was forgotten
            space = Everything(imports | {name: ...})
            lines = [node for node in ast.parse(exercise["check"]).body if name in ast.unparse(node)]
            with pytest.raises(AssertionError, match=r"(?s)expected .*found "):
                exec(compile(ast.Module(lines[:1], []), "check", "exec"), {}, space)


def played(path, values):
    """Names after all cells of a chapter that stand before its exercises."""
    space = {"display": lambda *_, **__: None, "__name__": "__main__"}
    for cell in read_notebook(path).cells:
        if cell.cell_type == "markdown" and "## Exercises" in cell.source:
            return space
        if cell.cell_type == "code":
            exec(compile(cell.source, path.stem, "exec"), space)
            if "parameters" in tags(cell):
                space.update(values)
    raise AssertionError("no exercises")


def judge(path, values):
    """Complaints about the exercises of a chapter, each done untouched, wrong and right, in one namespace."""
    space, found = played(path, values), []
    for number, exercise in enumerate(exercises(read_notebook(path)), start=1):
        checks, names = [exercise["check"], exercise["hidden"]], asked(exercise["stub"])
        exec(compile(exercise["stub"], "stub", "exec"), space)
        said = complaint(checks[:1], space)
        if not ("expected" in said and "found" in said):
            found.append(f"exercise {number}, untouched: {said!r}")
        exec(compile(exercise["solution"], "solution", "exec"), space)
        if said := complaint(checks, space):
            found.append(f"exercise {number}, solved: {said}")
        for name in names:
            said = complaint(checks, {**space, name: wrong(space[name])})
            if not ("expected" in said and "found" in said):
                found.append(f"exercise {number}, wrong {name} ({wrong(space[name])!r}): {said!r}")
    return found


@pytest.mark.parametrize("id_", CHAPTERS)
def test_a_quiz_has_two_or_three_questions_with_folded_answers(id_):
    quizzes = [cell.source for cell in read_notebook(CHAPTERS[id_]).cells if cell.source.startswith("### Quiz")]
    assert len(quizzes) == 1
    questions = re.findall(r"^\*\*(\d)\.\*\* .*\?$", quizzes[0], re.M)
    answers = re.findall(r"^<details><summary>Answer</summary>(.+)</details>$", quizzes[0], re.M)
    assert 2 <= len(questions) == len(answers) <= 3 and questions == sorted(questions)
    assert not any(re.search(r"\d", answer.replace("chapter", "")) for answer in answers if "hapter" not in answer)
    assert clean(quizzes[0]) == quizzes[0].replace("&", "&amp;"), "the guard of the pages lets all of it through"


@pytest.mark.parametrize("id_", CHAPTERS)
def test_references_of_a_chapter_are_those_of_the_one_file(id_):
    known = back_matter.references(NOTEBOOKS)
    (cell,) = [cell for cell in read_notebook(CHAPTERS[id_]).cells if "**References.**" in cell.source]
    lines = cell.source.split("**References.**")[1].strip().splitlines()
    for line in lines:
        key = re.match(r"\* \[(\w+)\] ", line)
        assert key and key[1] in known, line
        assert line.removeprefix(key[0]).startswith(known[key[1]]), f"{line!r} is not {known[key[1]]!r}"
        assert line.endswith(".")
    assert len(lines) == len({line.split("]")[0] for line in lines}) > 0


def test_the_bibliography_is_sorted_and_all_of_it_is_cited():
    known = back_matter.references(NOTEBOOKS)
    assert list(known) == sorted(known) and all(text.endswith(".") for text in known.values())
    texts = "\n".join(path.read_text(encoding="utf-8") for path in CHAPTERS.values())
    assert [key for key in known if f"[{key}]" not in texts] == []


def test_glossary_is_sorted_and_each_word_stands_in_its_chapter():
    entries = back_matter.glossary(NOTEBOOKS)
    words = [entry["word"] for entry in entries]
    assert words == sorted(words, key=str.lower) and len(set(words)) == len(words) > 25
    for entry in entries:
        assert set(entry) <= {"word", "symbol", "meaning", "equation", "chapter"} and entry["meaning"].endswith(".")
        text = CHAPTERS[entry["chapter"]].read_text(encoding="utf-8").lower()
        assert entry["word"].lower().split()[0].rstrip("e") in text, f"{entry['word']} in chapter {entry['chapter']}"


def test_a_key_that_the_bibliography_lacks_is_named():
    with pytest.raises(ValueError, match=r"references\.yaml has no Nobody1999"):
        back_matter.with_links("* [Nobody1999] Nobody.", {"Mao2024"})


def test_the_lesson_plan_leads_to_chapters_that_are_there():
    text = (NOTEBOOKS / back_matter.PLAN).read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(\.\./(\w+)\.ipynb\)", text))
    assert len(linked) >= 8 and linked <= {path.stem for path in CHAPTERS.values()}
    assert text.count("## ") == 4 and "afternoon" in text and "lecture" in text
