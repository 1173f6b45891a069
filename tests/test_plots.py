"""The contact sheet: every figure once, columns of equal width, rows as high as their highest figure; readable axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from manifold_utils import plots
from manifold_utils.book import pages

COLOURS = {"a": (200, 0, 0), "b": (0, 200, 0), "c": (0, 0, 200)}


@pytest.fixture
def figures(tmp_path):
    for (name, colour), size in zip(COLOURS.items(), [(400, 100), (200, 200), (800, 200)], strict=True):
        Image.new("RGB", size, colour).save(tmp_path / f"{name}.png")
    return tmp_path


def box(sheet, colour):
    """Left, top, width and height of what has this colour."""
    rows, columns = np.nonzero((sheet == colour).all(axis=2))
    return columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1


def test_contact_sheet_wastes_no_space(figures):
    path = figures / "sheet.png"
    assert pages.contact_sheet(figures, path, columns=2, width=100) == 3
    with Image.open(path) as image:
        sheet = np.asarray(image.convert("RGB"))
    a, b, c = (box(sheet, colour) for colour in COLOURS.values())
    assert (a[2:], b[2:], c[2:]) == ((100, 25), (100, 100), (100, 25))  # scaled to the column, shape kept
    assert a[1] == b[1] and a[0] == c[0] and b[0] >= a[0] + 100
    assert b[1] + 100 < c[1] < b[1] + 150  # the second row begins below the highest picture of the first
    assert sheet.shape[0] - (c[1] + 25) < 50 and sheet.shape[1] < 250
    assert (sheet[: a[1]] != 255).any()  # names stand above


def test_contact_sheet_leaves_itself_out_and_needs_figures(figures, tmp_path_factory):
    first = pages.contact_sheet(figures, figures / "sheet.png")
    assert pages.contact_sheet(figures, figures / "sheet.png") == first == 3
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(FileNotFoundError, match="run the chapters"):
        pages.contact_sheet(empty, empty / "sheet.png")


@pytest.mark.parametrize("high", [2.0, 0.05, 0.0123])
@pytest.mark.parametrize("decades", [0.4, 0.5, 0.85, 1, 1.3, 1.7, 2.4, 3, 5, 8, 13])
def test_labels_of_a_logarithmic_axis_stay_apart_in_a_panel_of_three(decades, high):
    fig, axes = plt.subplots(1, 3, figsize=(9, 4), layout="constrained")
    for ax in axes:
        ax.plot([high * 10.0**-decades, high], [0, 1])
        ax.set_xscale("log")
        plots.plain_log(ax.xaxis)
    fig.canvas.draw()
    for ax in axes:
        left, right = ax.get_xlim()
        shown = [tick for tick in ax.xaxis.get_major_ticks() if left <= tick.get_loc() <= right]
        boxes = [tick.label1.get_window_extent() for tick in shown]
        assert len(boxes) >= 2
        assert all(one.x1 < two.x0 for one, two in zip(boxes[:-1], boxes[1:], strict=True))
    plt.close(fig)
