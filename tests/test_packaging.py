"""The environment: one list of dependencies, its copies in step, and targets that set themselves up."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = PROJECT / "manifold_utils"
# What code imports -> the distribution that brings it, where the names differ.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow", "jupyter_client": "jupyter-client"}
ENVIRONMENT_ONLY = "-e .[callbacks]"


def _pyproject():
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def _direct():
    """Direct dependencies, those of the extra included: the test environment has all."""
    project = _pyproject()["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["callbacks"]]


def _name(requirement):
    return re.match(r"[A-Za-z0-9._-]+", requirement).group().lower().replace("_", "-")


def _pins():
    lines = (PROJECT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_environment_yml_repeats_the_one_list():
    environment = yaml.safe_load((PROJECT / "environment.yml").read_text(encoding="utf-8"))
    pip_list = environment["dependencies"][-1]["pip"]
    assert pip_list == [*_pyproject()["project"]["dependencies"], ENVIRONMENT_ONLY]
    assert f"python{_pyproject()['project']['requires-python']}" in environment["dependencies"]


def test_lock_pins_every_direct_dependency_within_its_range():
    from packaging.requirements import Requirement

    pinned = {_name(line): line.split("==")[1] for line in _pins()}
    for text in [*_direct(), *_pyproject()["build-system"]["requires"]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[_name(requirement.name)]), text


def test_lock_holds_plain_pins_only():
    for line in _pins():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line
    assert len({_name(line) for line in _pins()}) == len(_pins()) > 100
    assert not [line for line in _pins() if line.startswith(("nvidia", "cuda", "triton"))]


def test_lock_is_what_this_environment_has():
    from importlib.metadata import version

    for line in _pins():
        name, pin = line.split("==")
        assert version(name).split("+")[0] == pin, f"{name}: installed {version(name)}, locked {pin}"


def test_every_import_of_the_project_is_a_direct_dependency():
    direct = {_name(text) for text in _direct()}
    # triton comes with torch's CUDA builds, used only where there is a GPU; the other is Lightning under its older name
    optional = {"triton", "pytorch_lightning"}
    files = [*PACKAGE.rglob("*.py"), *PROJECT.glob("notebooks/*.py")]
    assert len(files) >= 75
    imported = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"manifold_utils"} - optional
    unlisted = {name for name in foreign if DISTRIBUTIONS.get(name, name).lower() not in direct}
    assert foreign and not unlisted


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, manifold_utils; print([m for m in ('numpy', 'torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def bare_project(tmp_path):
    """A copy of what `make env` reads, with nothing to install."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(PROJECT / name, tmp_path / name)
    (tmp_path / "requirements.lock").write_text("")
    return tmp_path


def _make(folder, *arguments):
    return subprocess.run(["make", *arguments], cwd=folder, capture_output=True, text=True)


def test_an_old_python_is_refused_by_one_clear_line(bare_project):
    fake = bare_project / "old-python"
    fake.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 10, 4)\n$2"\n', encoding="utf-8"
    )
    fake.chmod(0o755)
    done = _make(bare_project, "env", f"PYTHON={fake}")
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr and "is 3.10" in done.stderr
    assert not (bare_project / ".venv").exists()


def test_a_second_call_of_env_does_nothing(bare_project):
    (bare_project / ".venv").mkdir()
    (bare_project / ".venv" / ".ready").write_text("")
    done = _make(bare_project, "env")
    assert done.returncode == 0 and "Nothing to be done" in done.stdout


def test_every_target_of_the_readme_sets_itself_up():
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for target in ("book", "lab", "sync", "html", "contact-sheet", "student", "status", "plan", "lint"):
        assert re.search(rf"^{target}: env ", makefile, re.M), target
    assert re.search(r"^test: lint ", makefile, re.M)


def test_continuous_integration_calls_make_test():
    script = PROJECT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert re.fullmatch(r"exec make .*test", script.read_text(encoding="utf-8").splitlines()[-1])


WHEEL_CHECK = """
import importlib, pathlib, pkgutil, sys
import manifold_utils
here = pathlib.Path(manifold_utils.__file__).parent
assert here.parent == pathlib.Path(sys.argv[1]), here
names = [m.name for m in pkgutil.walk_packages([str(here)], "manifold_utils.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
import numpy as np
from manifold_utils.distances import pairwise
from manifold_utils.geometry import ignorance, truth
from manifold_utils.inpca import InPCA
points = np.concatenate([ignorance(4, 10), truth([0, 1, 2, 3], 10), np.log(np.full((1, 4, 10), 0.1))])
distances = pairwise(points)
assert np.isclose(distances[0, 1], np.log(10) / 2)
assert InPCA(n_components=1).fit(distances).explained_stress_[0] > 0.999
from manifold_utils.files import data_root
assert data_root() == pathlib.Path.cwd() / "data", data_root()
print(len(names))
"""


def test_an_installed_wheel_works_outside_the_checkout(tmp_path):
    pip, site, folder = [sys.executable, "-m", "pip", "--disable-pip-version-check"], tmp_path / "site", tmp_path / "x"
    source = tmp_path / "source"  # a build leaves files beside what it builds
    shutil.copytree(PACKAGE, source / "manifold_utils", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE"):
        shutil.copy(PROJECT / name, source / name)
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)], check=True)
    folder.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "MANIFOLD_DATA"} | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-c", WHEEL_CHECK, str(site)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len([path for path in PACKAGE.rglob("*.py")]) - 1, "a file is not in the wheel"
