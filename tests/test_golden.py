"""Numbers of the geometry and of training against stored ones: what an upgrade of a library must not move."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "golden"
STORED = json.loads((FOLDER / "numbers.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found():
    spec = importlib.util.spec_from_file_location("make", FOLDER / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    return make.numbers()


def test_the_file_says_what_made_it():
    assert STORED["made"]["script"] == "tests/golden/make.py"
    assert {"date", "python", "machine", "versions"} <= STORED["made"].keys()
    assert all(0 < entry["tolerance"] < 1e-3 for entry in STORED["numbers"].values()), "a tolerance that tells nothing"


def test_nothing_is_missing(found):
    assert found.keys() == STORED["numbers"].keys()


@pytest.mark.parametrize("name", STORED["numbers"])
def test_numbers_are_as_stored(found, name):
    entry = STORED["numbers"][name]
    assert np.abs(np.subtract(found[name], entry["values"])).max() <= entry["tolerance"]
