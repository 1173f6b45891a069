"""The house: imports go one way, rooms speak through their faces, a study is imported by chapters only.

Read from the files' syntax trees; nothing is imported, so an import that hides in a function is seen as well.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import manifold_utils

PACKAGE = Path(manifold_utils.__file__).parent
NAME = "manifold_utils"
# From the ground up: a room or module may import what stands before it, never what stands after it.
FLOORS = [
    "outside",
    "files",
    "compat",
    "workers",
    "strict_yaml",
    "profiles",
    "levels",
    "claims",
    "geometry",
    "networks",
    "datasets",
    "distances",
    "atlas",
    "inpca",
    "statistics",
    "trajectories",
    "recording",
    "training",
    "scale",
    "plots",
    "explorer",
    "book",
    "studies",
    "__main__",
]
ROOMS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
# Modules that other rooms may import beside a room's face: what HOUSE names, one idea each.
OPEN = {
    "atlas": {"checked", "checks", "columns", "kinds", "offers", "recorded", "records"},
    "book": {"badges", "pages", "publishing", "settings", "slides", "student", "twins"},
    "datasets": {"inventory", "readers"},
    "distances": {"bhattacharyya", "columns", "fused", "gpu", "on_device", "recomputed", "sources", "tiles"},
    "inpca": {"choices", "embedding", "landmarks", "solvers"},
    "recording": {"example", "importing"},
    "scale": {"device", "reports", "world"},
    "training": {"grid", "planning"},
    "trajectories": {"of_atlas"},
}
LAZY = {  # heavy, and seldom needed
    "datasets",
    "datasets.inventory",
    "datasets.readers",
    "distances.fused",
    "distances.gpu",
    "scale.device",
    "recording.callbacks.of_keras",
    "recording.callbacks.of_lightning",
    "recording.callbacks.of_sklearn",
    "recording.callbacks.of_transformers",
    "recording.example",
    "recording.guests",
    "recording.importing",
    "recording.predicting",
    "recording.undisturbed",
    "recording.yardsticks",
    "training.planning",
}


def modules():
    """Dotted name below the package -> path; a room's face has the room's name."""
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
    names = [".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__") for path in paths]
    return dict(zip(names, paths, strict=True))


MODULES = modules()


def handed_on(name):
    """Names that a room's face binds, which win over files of the same name (`geometry.progress` is the function)."""
    nodes = ast.parse(MODULES[name].read_text(encoding="utf-8")).body if name in MODULES else []
    lines = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module != f"{NAME}.{name}"]
    names = {alias.asname or alias.name for n in lines for alias in n.names}
    return names | {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}


def imports(path):
    """(line number, module imported, names, inside a function) of every first-party import of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f) if n is not f}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == NAME for alias in node.names), "use `from ... import ...`"
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            first, _, module = node.module.partition(".")
            if first == NAME:
                for alias in node.names:
                    deeper = f"{module}.{alias.name}".lstrip(".")
                    whole = deeper in MODULES and alias.name not in handed_on(module)
                    target = deeper if whole else module
                    found.append((node.lineno, target, alias.name, id(node) in inner))
    return found


def room(name):
    return name.split(".")[0]


def all_imports():
    return [(name, *line) for name, path in MODULES.items() for line in imports(path)]


def test_the_list_of_floors_is_the_package():
    assert set(FLOORS) == {room(name) for name in MODULES}
    assert len(MODULES) >= 50 and len(all_imports()) >= 150
    assert len(list(PACKAGE.glob("*.py"))) <= 10, "files side by side at the top"


def test_imports_go_down():
    wrong = [
        f"{name} line {line} imports {target}"
        for name, line, target, _, _ in all_imports()
        if room(name) != room(target) and FLOORS.index(room(target)) > FLOORS.index(room(name))
    ]
    assert wrong == []


def test_there_is_no_circle_of_files():
    from graphlib import TopologicalSorter

    graph = {name: set() for name in MODULES}
    for name, _, target, _, in_function in all_imports():
        # a room's face may hand on what its files define; the files may then not import from the face
        if not in_function:
            graph[name].add(target)
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, naming the files
    assert len(order) == len(MODULES)


def test_rooms_are_entered_by_their_face_or_an_open_module():
    wrong = [
        f"{name} line {line} imports {target}"
        for name, line, target, _, _ in all_imports()
        if room(name) != room(target) and "." in target and target.split(".")[1] not in OPEN.get(room(target), ())
    ]
    assert wrong == []
    assert all(f"{r}.{m}" in MODULES for r, several in OPEN.items() for m in several), "a module that is not there"


def test_no_file_takes_what_another_keeps_to_itself():
    wrong = [f"{n} line {line}: {what}" for n, line, t, what, _ in all_imports() if what.startswith("_") and t != n]
    assert wrong == []


def test_a_study_is_imported_by_nobody_but_chapters():
    wrong = [f"{n} line {line} imports {t}" for n, line, t, _, _ in all_imports() if room(t) == "studies"]
    assert wrong == []


def test_an_import_inside_a_function_keeps_out_something_heavy_and_says_why():
    late = [(name, line, target) for name, line, target, _, in_function in all_imports() if in_function]
    assert {target for _, _, target in late} == LAZY
    for name, line, _ in late:
        lines = MODULES[name].read_text(encoding="utf-8").splitlines()
        block = lines[line - 1]
        above = next(text for text in reversed(lines[: line - 1]) if "import" not in text)
        assert "  # " in block or above.strip().startswith("# "), f"{name} line {line} does not say why"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("distances", ["torch", "distributed", "pandas", "sklearn", "matplotlib"]),
        ("plots", ["sphinx", "papermill", "torch", "plotly"]),
        ("recording", ["torch", "sklearn", "matplotlib", "papermill"]),
        ("training.grid", ["sklearn", "matplotlib", "papermill", "sphinx"]),
        ("claims", ["torch", "papermill", "numba"]),
        ("book", ["torch", "sphinx"]),
    ],
)
def test_a_room_brings_nothing_heavy_that_it_does_not_need(module, absent):
    code = f"import sys, {NAME}.{module}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_contract_names_are_importable():
    code = """
from manifold_utils.distances import pairwise
from manifold_utils.geometry import geodesic, ignorance, progress, truth
from manifold_utils.trajectories import average, frechet_distance, resample, trajectory_distances
from manifold_utils.inpca import InPCA
from manifold_utils.atlas import Atlas
from manifold_utils.recording import Recorder, judge, load_run, log_probs_from_logits, place
import manifold_utils.geometry
assert callable(manifold_utils.geometry.progress) and callable(place) and callable(judge)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
