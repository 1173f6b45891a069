"""Every public function has a docstring, and the examples in docstrings run and give what they say."""

import ast
import doctest
import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import manifold_utils

PACKAGE = Path(manifold_utils.__file__).parent
ROOMS = sorted(p.stem for p in PACKAGE.glob("[a-z]*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_examples_give_what_they_say(room, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"manifold_utils.{room}")
    found = doctest.testmod(module, extraglobs={"np": np, "pd": pd}, optionflags=doctest.ELLIPSIS)
    assert found.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = [importlib.import_module(f"manifold_utils.{room}") for room in ROOMS]
    assert sum(bool(test.examples) for module in modules for test in finder.find(module)) >= 40


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_say_what_they_are(room):
    tree = ast.parse((PACKAGE / f"{room}.py").read_text(encoding="utf-8"))
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    assert ast.get_docstring(tree), "the room itself"
    assert [n.name for n in public if not ast.get_docstring(n)] == []
