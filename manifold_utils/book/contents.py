"""What the book consists of: `book.yaml`, the parameters that a notebook declares, what a chapter's result depends on.

A chapter is one notebook; its matrix makes it several jobs. A job's fingerprint is a hash of the notebook's code, the
parameters, the source of every room of the package that the code imports (directly or not), the profile, and the
fingerprints of the jobs it needs. The notebook's prose and the package's comments and layout do not count. It executes
nothing (see `book`).
"""

import ast
import difflib
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import nbformat
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from manifold_utils.book.dependencies import imported_modules
from manifold_utils.book.holdings import Holdings, Wants
from manifold_utils.claims import PLACES
from manifold_utils.files import PROJECT, fingerprint
from manifold_utils.profiles import RECORDED
from manifold_utils.strict_yaml import read_yaml

NOTEBOOKS = PROJECT / "notebooks"
CONFLICT_MARKS = ("<<<<<<< ", ">>>>>>> ")
ChapterId = Annotated[str, Field(pattern=r"^\d\d$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Chapter(Wants):
    """One notebook of the book, as `book.yaml` describes it. All paths are relative to the atlas."""

    id: ChapterId
    notebook: Annotated[str, Field(pattern=r"^\d\d_[a-z0-9_]+$")]  # file name without its ending
    title: str
    kind: Literal["make", "show", "beyond", "verdict"]
    needs: list[str] = []  # chapter ids, or globs of artefacts that must exist
    makes: list[str] = []  # globs of artefacts, see the top of book.yaml; each must match something after the chapter
    given: bool = False  # an atlas of recorded runs has what it makes: there, it counts as done
    matrix: dict[str, Literal["grids", "spaces"] | list[str | int | float | bool]] = {}
    trains: bool = False  # makes the runs of the profile's grids as well, all of which must be there
    alone: bool = False  # uses all cores itself, or measures time: nothing runs beside it
    minutes: float = Field(1.0, gt=0)  # on two cores at the digits profile

    @model_validator(mode="after")
    def _id_is_the_number(self):
        if not self.notebook.startswith(self.id):
            raise ValueError(f"id {self.id!r} is not the number of notebook {self.notebook!r}")
        return self


class _BookFile(_Strict):
    title: str
    chapters: list[Chapter]


@dataclass(frozen=True)
class Job:
    """One execution of a chapter: the chapter and the values that its matrix gives to parameters."""

    chapter: Chapter
    values: dict = field(default_factory=dict, hash=False)

    @property
    def space(self):
        """The prediction space that it works on; "" for the main one, and for a chapter that has no such parameter."""
        return next((v for k, v in self.values.items() if self.chapter.matrix[k] == "spaces"), "")

    @property
    def name(self):
        """File name of the executed notebook, without its ending."""
        return "-".join([self.chapter.notebook, *(str(value) for value in self.values.values() if value != "")])


class Book:
    """The chapters of a folder, checked: ids unique, notebooks present, needs known and without circles."""

    def __init__(self, folder=NOTEBOOKS):
        self.folder = Path(folder)
        path = self.folder / "book.yaml"
        if not path.is_file():
            raise ValueError(f"{path} does not exist: it lists the chapters of the book")
        try:
            content = _BookFile.model_validate(read_yaml(path))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{path}: key '{key}': {first['msg']} (found {first.get('input')!r})") from error
        self.title, self.chapters = content.title, content.chapters
        self.by_id = {chapter.id: chapter for chapter in self.chapters}
        self._check(path)

    def path(self, chapter):
        """Path of a chapter's notebook."""
        return self.folder / f"{chapter.notebook}.ipynb"

    def needed(self, chapter):
        """Ids of the chapters that `chapter` needs directly."""
        return [need for need in chapter.needs if need in self.by_id]

    def select(self, ids=None, *, with_needs=True):
        """Chapters in an order in which each comes after what it needs; `ids` and, if wanted, all they need."""
        unknown = sorted(set(ids or ()) - set(self.by_id))
        if unknown:
            raise ValueError(f"the book has no chapter {', '.join(unknown)}; it has {', '.join(self.by_id)}")
        ordered = []

        def add(chapter):
            if chapter not in ordered:
                for need in self.needed(chapter):
                    add(self.by_id[need])
                ordered.append(chapter)

        for chapter in self.chapters:
            if not ids or chapter.id in ids:
                add(chapter)
        return [c for c in ordered if with_needs or not ids or c.id in ids]

    def jobs(self, chapter, profile, holdings=None):
        """Jobs of one chapter: one, or one for each combination of its matrix; none if the profile is `lacking`."""
        if (chapter.given and profile.kind == RECORDED) or self.lacking(chapter, profile, holdings):
            return []
        axes = {}
        for name, values in chapter.matrix.items():
            known = {"grids": list(profile.grids), "spaces": list(profile.spaces())}
            axes[name] = known[values] if isinstance(values, str) else values
        return [Job(chapter, dict(zip(axes, values, strict=True))) for values in product(*axes.values())]

    def lacking(self, chapter, profile, holdings=None):
        """What the chapter is about and the profile does not have: a list of phrases.

        Parameters
        ----------
        holdings : Holdings, optional
            What there is; by default what the grids of the profile plan.
        """
        if chapter.given and profile.kind == RECORDED:
            return []
        return (holdings or Holdings.of_grids(profile)).lacking(chapter)

    def _check(self, path):
        if len(self.by_id) != len(self.chapters):
            raise ValueError(f"{path}: two chapters have the same id")
        for chapter in self.chapters:
            if not self.path(chapter).is_file():
                raise ValueError(f"{path}: chapter {chapter.id}: {self.path(chapter)} does not exist")
            for need in chapter.needs:
                if len(need) == 2 and need not in self.by_id:
                    raise ValueError(f"{path}: chapter {chapter.id} needs {need}, which is not a chapter")
            self._refuse_circles(path, chapter, ())

    def _refuse_circles(self, path, chapter, seen):
        if chapter.id in seen:
            raise ValueError(f"{path}: chapters need each other in a circle: {' -> '.join([*seen, chapter.id])}")
        for need in self.needed(chapter):
            self._refuse_circles(path, self.by_id[need], (*seen, chapter.id))


def read_notebook(notebook):
    """A notebook node from a path; a node is given back as it is. ValueError names a file that is no notebook."""
    if not isinstance(notebook, str | Path):
        return notebook
    return notebook_of(decoded(Path(notebook).read_bytes(), notebook), notebook)


def decoded(raw, path):
    """Text of a notebook or a twin from its bytes: without a byte-order mark, lines end in \\n.

    Raises
    ------
    ValueError
        Not UTF-8, empty, or left in the middle of a merge; the message names the file and the line.
    """
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if not text.strip():
        raise ValueError(f"{path} is empty: restore it, or write it from its twin (sync --from py|ipynb)")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith(CONFLICT_MARKS):
            raise ValueError(f"{path}, line {number}: a merge was left unfinished ({line[:20]!r}); resolve it first")
    return text


def notebook_of(text, path):
    """A notebook node from the text of an .ipynb file; ValueError names a file that is none."""
    try:
        return nbformat.reads(text, as_version=4)
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, KeyError, AttributeError) as error:
        said = str(error).splitlines()[0][:120]
        raise ValueError(f"{path} is not a notebook ({said}); restore it from git or from its twin") from error


def tags(cell):
    """List of a cell's tags; ValueError, showing the cell, where its metadata has something else in their place."""
    found = cell.metadata.get("tags", [])
    if not (isinstance(found, list) and all(isinstance(tag, str) for tag in found)):
        start = (cell.source.splitlines() or [""])[0][:60]
        raise ValueError(f"the tags of the cell {start!r} are {found!r}, and a list of names is expected")
    return list(found)


def declared_parameters(notebook):
    """Dictionary name -> default of the cell tagged `parameters`, in its order; empty if there is no such cell.

    Raises
    ------
    ValueError
        The cell holds anything but lines `name = literal`, or there are two such cells.
    """
    cells = [cell for cell in read_notebook(notebook).cells if "parameters" in tags(cell)]
    if len(cells) > 1:
        raise ValueError("the notebook has more than one cell tagged 'parameters'")
    defaults = {}
    for line in _python(cells[0].source).body if cells else []:
        single = isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Name)
        if not single:
            raise ValueError(f"the 'parameters' cell holds {ast.unparse(line)!r}; it may hold only 'name = literal'")
        try:
            defaults[line.targets[0].id] = ast.literal_eval(line.value)
        except ValueError as error:
            raise ValueError(f"the parameter {ast.unparse(line)!r} is not a literal") from error
    return defaults


def _python(source):
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise ValueError(f"the 'parameters' cell is not Python: {error.msg}, line {error.lineno}") from error


def check_parameters(notebook, parameters):
    """Parameters as the notebook will receive them, or one clear error: papermill itself only warns.

    Parameters
    ----------
    notebook : path or NotebookNode
        Has a cell tagged `parameters` with the names, defaults and thereby types.
    parameters : dict
        Name -> value. An int is taken for a float; a bool is not a number; a list must agree in its items' type.

    Returns
    -------
    dict
        `parameters` with ints made floats where the default is a float.

    Raises
    ------
    ValueError
        Unknown name, or a value whose type differs from the default's.
    """
    defaults, checked = declared_parameters(notebook), {}
    for name, value in parameters.items():
        if name not in defaults:
            close = difflib.get_close_matches(name, defaults, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has {', '.join(defaults) or 'none'}"
            raise ValueError(f"the notebook has no parameter {name!r}; {hint}")
        checked[name] = _as_type_of(name, value, defaults[name])
    return checked


def _as_type_of(name, value, default):
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if default is not None and type(value) is not type(default):
        raise ValueError(
            f"parameter {name!r} is {value!r}, a {type(value).__name__}, but its default {default!r} "
            f"is a {type(default).__name__}"
        )
    if isinstance(default, list) and default:
        return [_as_type_of(f"{name}[{i}]", item, default[0]) for i, item in enumerate(value)]
    return value


def code_cells(notebook):
    """Sources of a notebook's code cells."""
    return [cell.source for cell in read_notebook(notebook).cells if cell.cell_type == "code"]


def job_inputs(notebook, parameters, profile_fingerprint, needs):
    """Everything that a job's result depends on, as a JSON-able dictionary; its `fingerprint` tells two apart.

    Parameters
    ----------
    notebook : path or NotebookNode
    parameters : dict
        What the job is started with; where things happen (`data_dir`, `client`) is left out.
    profile_fingerprint : str
        Counts if the notebook is started with a `profile`.
    needs : dict
        Name of each needed job or artefact -> its fingerprint.
    """
    sources = code_cells(notebook)
    inputs = {
        "code": fingerprint(sources),
        "modules": imported_modules(sources),
        "parameters": {name: value for name, value in parameters.items() if name not in (*PLACES, "profile")},
        "needs": needs,
    }
    if "profile" in parameters:
        inputs["profile"] = profile_fingerprint
    return inputs
