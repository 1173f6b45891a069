"""Labels of axes; the contact sheet: every figure once, in columns of equal width."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from manifold_utils import plots
from manifold_utils.book import pages
from manifold_utils.inpca import InPCA
from manifold_utils.plots.interactive import embedding_3d

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


def test_medians_are_marked_where_their_first_run_stops():
    x = np.linspace(0.1, 1.0, 10)
    curves = np.tile(x, (6, 1))
    curves[0, 6:] = curves[3:, 9:] = np.nan  # one of three stops early; the others all together, at the end
    curves[2, 0] = np.nan  # begins late, and stops nowhere
    levels = ["fc"] * 3 + ["vit"] * 3
    for marked, expected in [(True, [x[6]]), (False, [])]:
        fig, ax = plt.subplots()
        plots.plot_quantiles(ax, x, curves, levels, mark_stops=marked)
        rings = [line.get_xdata()[0] for line in ax.get_lines() if line.get_marker() == "o"]
        plt.close(fig)
        assert rings == expected


def test_excess_has_a_mean_and_its_null_for_every_kind():
    keys = [(kind, s) for kind in ("offset_0", "random_labels") for s in (0.25, 0.5)]
    table = pd.DataFrame(keys, columns=["kind", "s"]).assign(distance=2.0, held_out=1.0)
    mean = pd.DataFrame({"value": 2.0, "low": 1.0, "high": 4.0}, index=pd.MultiIndex.from_tuples(keys))
    fig, ax = plt.subplots()
    plots.plot_excess(ax, table, mean, mean.assign(value=8.0), 2)
    labels = ax.get_legend_handles_labels()[1]
    heights = {y for line in ax.get_lines() for y in line.get_ydata()}
    plt.close(fig)
    assert labels == ["offset 0", "shuffled within classes", "random labels", "held-out ordinary runs", "2 times"]
    assert {2.0, 8.0, 1.0} <= heights and len(ax.collections) == 2


def test_no_level_of_a_scatter_plot_is_drawn_on_top_of_all_the_others():
    fig, ax = plt.subplots()
    plots.plot_embedding(ax, np.zeros((40, 2)), ["a"] * 20 + ["b"] * 20, legend=False)
    drawn = [tuple(c.get_facecolor()[0][:3]) for c in ax.collections if len(c.get_offsets())]
    n_points = sum(len(c.get_offsets()) for c in ax.collections)
    plt.close(fig)
    assert n_points == 40 and len(set(drawn)) == 2
    assert drawn.index(drawn[-1]) < len(drawn) - 2, "the last level comes before the other one, too"


def test_far_points_leave_the_frame_and_are_counted():
    rng = np.random.default_rng(0)
    points, road = rng.normal(size=(200, 2)), np.array([[0.0, 0.0], [90.0, 0.0]])
    fig, (near, far) = plt.subplots(1, 2)
    assert plots.frame_on_most(near, points) == 0 and not near.texts
    n_outside = plots.frame_on_most(far, points, road)
    said, width = far.texts[0].get_text(), np.ptp(far.get_xlim())
    plots.frame_on_most(near, np.vstack([points, [[50.0, 0.0]]]), keep=np.array([[7.0, 0.0]]))
    kept = near.get_xlim()[1]
    plt.close(fig)
    assert 7 <= kept < 10
    assert said == f"outside: {n_outside} of 200 points, truth" and width < 10


def test_figures_of_views_have_a_panel_for_each_plane_and_each_level():
    x, levels = np.random.default_rng(0).normal(size=(60, 3)), list("abcdef") * 10
    values, stress = np.array([3.0, 2.0, -1.0]), np.array([0.4, 0.7, 0.9])
    fig = plots.plot_views(plt.figure(figsize=(9, 8)), x, levels, x[:5], values, stress)
    labels = [(ax.get_xlabel()[:6], ax.get_ylabel()[:6]) for ax in fig.axes]
    flat = plots.plot_views(plt.figure(figsize=(9, 4)), x[:, :2], levels, x[:5, :2], values, stress)
    apart = plots.plot_levels_apart(plt.figure(figsize=(9, 4)), x, levels, x[:5])
    titles = [ax.get_title() for ax in apart.axes]
    plt.close("all")
    assert labels == [("InPC 1", "InPC 2"), ("InPC 1", "InPC 3"), ("InPC 2", "InPC 3")] and len(flat.axes) == 1
    assert titles == [f"{level} (n = 10)" for level in "abcdef"]


def test_a_saved_figure_is_as_wide_as_it_was_drawn(tmp_path):
    plots.use_house_style()
    fig, ax = plt.subplots(figsize=(9, 2))
    ax.plot([0, 1], [0, 1])
    plots.save_figure(fig, tmp_path / "a.png", alt="A line that rises from left to right.")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width <= 9 * image.info["dpi"][0] + 1


def percentages(*labels):
    return [float(re.search(r"([\d.]+) %", label).group(1)) for label in labels]


@pytest.mark.parametrize("n_components", [2, 8])
def test_axes_give_the_explained_stress_up_to_them_however_many_were_kept(n_components):
    places = np.random.default_rng(0).normal(size=(30, 6)) * [3.0, 2.5, 2.0, 1.0, 1.0, 1.0]
    fit = InPCA(n_components=n_components).fit(np.square(places[:, None] - places).sum(axis=2))
    fig, ax = plt.subplots()
    plots.label_embedding(ax, fit.eigenvalues_, fit.explained_stress_)
    first, second = percentages(ax.get_xlabel(), ax.get_ylabel())
    plt.close(fig)
    assert [first, second] == np.round(100 * fit.explained_stress_[:2]).tolist()
    assert second > first + 5, "cumulative: the second axis counts the first as well"


def test_labels_in_three_dimensions_say_the_same_without_formulas():
    values, stress = np.array([3.0, 2.0, -1.0]), np.array([0.4, 0.7, 0.9])
    x = np.arange(12.0).reshape(4, 3)
    figure = embedding_3d(x, x, list("abab"), [0.1, 0.2, 0.6, 0.9], values, stress, title="", n_frames=2)
    titles = [figure.layout.scene[f"{a}axis"].title.text for a in "xyz"]
    assert percentages(*titles) == [40, 70, 90] and not any("$" in title for title in titles)
    assert "time-like" in titles[2]


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


def test_a_table_of_verdicts_has_a_word_and_a_colour_a_cell():
    words = pd.DataFrame({"held out": ["holds beyond the null", "said otherwise"]}, index=["gain", "loss"])
    ax = plots.plot_verdicts(plt.subplots()[1], words, pd.DataFrame({"held out": ["0.5 (0.4 to 0.6)", ""]}))
    assert [t.get_text() for t in ax.texts] == ["0.5 (0.4 to 0.6)\nholds beyond the null", "said otherwise"]
    colours = [plt.matplotlib.colors.to_hex(p.get_facecolor()) for p in ax.patches]
    assert colours == [plots.VERDICT_COLOURS["holds beyond the null"].lower(), "#ffffff"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["gain", "loss"]


def test_a_score_beyond_the_edge_is_an_arrow_there():
    index = pd.MultiIndex.from_tuples([("families", "road"), ("families", "loss")])
    scores = pd.DataFrame({"R2": [-3.0, 0.5], "low": [-4.0, 0.4], "high": [-2.0, 0.6], "chance": 0.0}, index=index)
    ax = plots.plot_r2(plt.subplots()[1], scores, ceiling=0.8)
    marks = {line.get_marker(): line.get_xdata()[0] for line in ax.lines if line.get_marker() in ("<", "o")}
    assert marks["o"] == 0.5 and ax.get_xlim()[0] < marks["<"] < -0.5
    assert [t.get_text() for t in ax.get_yticklabels()] == ["road", "loss"]


def test_contours_of_a_phase_diagram_say_what_they_are():
    decays, ratios = np.geomspace(0.01, 1, 9), np.geomspace(0.1, 10, 9)
    stress = np.linspace(0, 1, 9)[:, None] * np.ones(9)
    fig, axes = plt.subplots(1, 2)
    plots.plot_phase(axes[0], decays, ratios, stress, (0.1, 1.0))
    plots.plot_deciders(axes[1], decays, ratios, (stress > 0.5).astype(int), stress, 1)
    fig.canvas.draw()
    assert [{t.get_text() for t in ax.texts} for ax in axes] == [{"0.5", "0.9"}] * 2
    legend = plots.decider_legend(fig, ["decay", "nothing"])
    assert [t.get_text() for t in legend.get_texts()] == ["decay", "nothing"]


def test_dollars_in_a_name_are_no_formula(tmp_path):
    name = "costs $5_ or $6"  # as a formula it has an error
    plots.use_house_style({"class": [name, "other"]})
    fig, ax = plt.subplots()
    ax.plot([0, 1], label=f"{name} (n = 2)")
    ax.set_xticks([0, 1], [name, "$x^2$"])
    ax.set_ylabel(name)
    ax.legend()
    plots.save_figure(fig, tmp_path / "a.png", alt="A line that rises from left to right.")
    plots.use_house_style()
    drawn = {text.get_text(): text.get_parse_math() for text in fig.findobj(Text) if "$" in text.get_text()}
    assert drawn == {name: False, f"{name} (n = 2)": False, "$x^2$": True}
