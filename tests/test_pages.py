"""The page of a chapter: its answer first, numbers before headings and figures, captions, and folded cells."""

import nbformat
import numpy as np
import pytest

from manifold_utils.book.answers import MARK, answer, sentences, with_answer
from manifold_utils.book.page import ON_DARK, page
from manifold_utils.book.pages import STYLE
from manifold_utils.plots.interactive import PLOTLY, Shown, embedding_3d
from manifold_utils.plots.poster import turned

MARKDOWN, CODE = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell


def printed(text):
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def chapter(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


def learned(text, title="# How many?\n\n**What.** A count."):
    before, after = CODE("1", outputs=[printed("Not this.")]), CODE("2", outputs=[printed(text)])
    return chapter(MARKDOWN(title), before, MARKDOWN("## What we learned"), after)


def test_sentences_leave_out_tables_and_fragments():
    text = "axes:\n  1: 86 %\n  2: 90 %\nThree axes hold\n  95 % of it.\nno stop here\nDone."
    assert sentences(text) == ["Three axes hold 95 % of it.", "Done."]


def test_the_answer_stands_below_the_title_and_before_everything_else():
    node = with_answer(learned("three axes_1 hold *95 %*.\nIt is so.\nReally.\nA fourth."))
    lines = node.cells[0].source.split("\n")
    assert lines[0] == "# How many?" and lines[2].startswith(MARK) and lines[4] == "**What.** A count."
    assert lines[2].endswith(r"Three axes\_1 hold \*95 %\*. It is so. Really."), "three sentences, plain text"


def test_an_answer_is_replaced_and_not_repeated():
    node = with_answer(learned("First."))
    node.cells[3].outputs = [printed("Second.")]
    assert with_answer(with_answer(node)).cells[0].source.count(MARK) == 1
    assert "Second." in node.cells[0].source and "First." not in node.cells[0].source


def test_a_cell_tagged_answer_comes_before_the_section():
    node = learned("From the section.")
    node.cells[1].metadata["tags"] = ["answer"]
    assert answer(node) == ["Not this."]


def test_a_chapter_that_has_not_run_has_no_answer():
    node = learned("Ran.")
    before = node.cells[0].source
    node.cells[3].outputs = []
    assert answer(node) == [] and with_answer(node).cells[0].source == before


def picture(alt):
    return nbformat.v4.new_output("execute_result", data={"image/png": "aGk="}, metadata={"image/png": {"alt": alt}})


def test_on_a_dark_page_figures_are_inverted_and_pictures_of_samples_are_not():
    cells = [CODE("a", outputs=[picture("The road is black.")]), CODE("b", outputs=[picture("Photos, black frame.")])]
    cells[1].metadata["tags"] = ["pictures"]
    first, second = (c.metadata["mystnb"] for c in page(chapter(MARKDOWN("# Why?"), *cells), "10").cells[1:])
    assert first["image"]["classes"] == ON_DARK and second["image"]["classes"] == "pictures"
    assert not any("dark" in shown["figure"]["caption"] for shown in (first, second)), "a light page would show it too"
    assert "img:not(.pictures)" in STYLE and f'[data-theme="dark"] figure:has(img.{ON_DARK})' in STYLE


def test_headings_and_figures_are_numbered_and_captioned():
    cells = [MARKDOWN("# Why?"), MARKDOWN("## One\n\n```\n## no heading\n```"), MARKDOWN("## Two")]
    figures = [CODE("a", outputs=[picture("Points of *all* runs, by family.")]), CODE("b", outputs=[picture("Lines.")])]
    node = page(chapter(*cells, *figures), "42")
    assert [c.source.split("\n")[0] for c in node.cells[:3]] == ["# 42 Why?", "## 42.1 One", "## 42.2 Two"]
    assert "## no heading" in node.cells[1].source
    first, second = (c.metadata["mystnb"] for c in node.cells[3:])
    assert first["image"]["alt"] == "Points of *all* runs, by family."
    assert first["figure"]["caption"] == r"**Figure 42.1.** Points of \*all\* runs, by family."
    assert second["figure"]["caption"].startswith("**Figure 42.2.**")


def test_two_pictures_of_one_cell_have_a_caption_each():
    node = page(chapter(CODE("two", outputs=[picture("First."), printed("x"), picture("Second.")])), "42")
    assert [c.metadata["mystnb"]["image"]["alt"] for c in node.cells] == ["First.", "Second."]
    assert len({c.id for c in node.cells}) == 2 and "remove-input" in node.cells[1].metadata["tags"]
    nbformat.validate(node)


@pytest.mark.parametrize(
    ("source", "prompt"),
    [
        ("import a\nfrom b import c", "Show the imports"),
        ("results = {}\nclaims.save_results(atlas, '42', results)", "Show the code"),
        ("x = 1", None),
    ],
)
def test_imports_and_saving_are_folded_and_the_lesson_is_not(source, prompt):
    cell = page(chapter(CODE(source)), "42").cells[0]
    assert cell.metadata.get("mystnb", {}).get("code_prompt_show") == prompt
    assert ("hide-input" in cell.metadata.get("tags", [])) == (prompt is not None)


def test_other_prediction_spaces_are_linked_from_their_chapter():
    node = page(chapter(MARKDOWN("# Why?")), "20", [("sloppy_05", "20_distances-sloppy_05.ipynb")])
    assert "[sloppy_05](20_distances-sloppy_05.ipynb)" in node.cells[0].source


def test_a_live_figure_has_a_label_and_its_runs_under_the_mouse():
    rng = np.random.default_rng(0)
    x, runs = rng.normal(size=(6, 3)), ["a", "a", "b", "b", "c", "c"]
    figure = embedding_3d(x, x[:2], list("ppqqpp"), [0.1, 0.9] * 3, [3, 2, 1], [0.5, 0.7, 0.8], title="All", runs=runs)
    shown = Shown(figure)._repr_mimebundle_()[PLOTLY]
    said = [text for text in shown["data"][0]["text"] if text]
    assert said == [f"{run}<br>progress {s}" for run in "ac" for s in ("0.10", "0.90")]
    cell = CODE("f", outputs=[nbformat.v4.new_output("execute_result", data={PLOTLY: shown})])
    html = page(chapter(cell)).cells[0].outputs[0].data["text/html"]
    assert 'aria-label="All. Interactive figure' in html and "scrollZoom: false" in html and "ResizeObserver" in html


def test_frames_grow_with_progress_and_end_with_all_points():
    x = np.arange(12.0).reshape(4, 3)
    figure = embedding_3d(x, x, list("aabb"), [0.1, 0.6, 0.3, 0.9], [3, 2, 1], [0.5, 0.7, 0.8], title="", n_frames=3)
    drawn = [sum(int(np.isfinite(t.z).sum()) for t in frame.data) for frame in figure.frames]
    assert drawn == [0, 2, 4]
    assert figure.data[-1].text == ("\u2605",), "truth is a star in every figure of the book"


def test_the_poster_is_a_rotation():
    x = np.random.default_rng(1).normal(size=(50, 3))
    flat = turned(x, (0.3, -0.4))
    basis = turned(np.eye(3), (0.3, -0.4))
    assert np.allclose(basis.T @ basis, np.eye(2)) and np.allclose(flat, x @ basis)
