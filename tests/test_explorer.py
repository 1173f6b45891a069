"""The explorer's numbers come back as they went in, and nothing in them can leave its place on the page."""

import base64
import json
import re
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from manifold_utils import explorer
from manifold_utils.explorer import numbers


def unpacked(packed, dtype, n):
    whole = np.frombuffer(base64.b64decode(packed["values"]), dtype).reshape(-1, n).astype(float)
    low, high = np.array(packed["low"]), np.array(packed["high"])
    return (low[:, None] + whole * (high - low)[:, None] / np.iinfo(dtype).max).T


def test_coordinates_come_back_to_a_step_of_their_axis():
    x = np.random.default_rng(0).normal(size=(200, 3)) * [1.0, 50.0, 1e-3]
    back = unpacked(numbers.quantised(x), np.uint16, 200)
    assert np.all(np.abs(back - x) <= np.ptp(x, axis=0) / 65535 * 0.51)


def test_an_axis_without_extent_comes_back_exactly():
    assert np.array_equal(unpacked(numbers.quantised(np.full((5, 1), 0.7)), np.uint16, 5), np.full((5, 1), 0.7))


def test_a_factor_keeps_its_levels_in_order_and_missing_values_are_a_level():
    found = numbers._factor("batch_size", pd.Series([200.0, 50.0, np.nan, 1000.0]))
    assert found["levels"] == ["50.0", "200.0", "1000.0", "none"]
    assert np.frombuffer(base64.b64decode(found["codes"]), "<u2").tolist() == [1, 0, 3, 2]
    assert len(found["colours"]) == 4


def test_a_factor_of_many_numbers_is_a_scale():
    found = numbers._factor("learning_rate", pd.Series(np.linspace(0.0, 1.0, 100)))
    assert "levels" not in found and np.frombuffer(base64.b64decode(found["values"]), "<f4")[-1] == 1


@pytest.mark.parametrize("depth", [1, 3])
def test_pictures_lie_in_their_cells(depth):
    images = np.arange(5 * 4 * 6 * depth, dtype=np.uint8).reshape(5, 4, 6, depth)
    found = numbers._sprite(images)
    sheet = np.asarray(Image.open(BytesIO(base64.b64decode(found["sprite"])))).reshape(8, 18, depth)
    for k, image in enumerate(images):
        row, column = divmod(k, found["columns"])
        assert np.array_equal(sheet[4 * row : 4 * row + 4, 6 * column : 6 * column + 6], image)


def test_a_name_cannot_end_the_page_s_data_early(monkeypatch, tmp_path):
    name = "</script><script>alert(1)</script> %%SCRIPT%%"
    found = {"title": "<b>x</b>", "runs": [name], "splits": {"train": {}}}
    monkeypatch.setattr(explorer, "contents", lambda *_: found)
    text = explorer.build_explorer(None, tmp_path / "explore.html").read_text(encoding="utf-8")
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1]
    assert json.loads(data)["runs"] == [name] and "<b>x</b>" not in text and "&lt;b&gt;x" in text
    assert text.count('"use strict";\n// The explorer') == 1


def test_the_page_holds_its_library_and_its_licence_stays_beside_it():
    assert (explorer.HERE / explorer.LIBRARY).stat().st_size > 1e6
    assert "Copyright" in (explorer.HERE / "deck.gl.LICENSE").read_text()
