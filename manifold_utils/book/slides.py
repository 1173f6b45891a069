"""Slides for a lecture, from the cells of chapter 00 that carry a tag of `stripping.SLIDES`, as they ran in an atlas.

nbconvert makes them; reveal.js shows them (reveal/, version 4.6.1 with its licence, its theme without the fonts that it
would fetch), and the mathematics comes from the same MathJax as the pages'. Nothing is asked of a network. It runs no
chapter.
"""

import importlib.util
import shutil
from pathlib import Path

import nbformat

from manifold_utils.book.contents import read_notebook, tags
from manifold_utils.book.stripping import SLIDES, stripped
from manifold_utils.files import atomic_path, owned_folder

CHAPTER = "00"  # the lecture's
REVEAL = Path(__file__).parent / "reveal"
PARTS = {"reveal.js": "dist/reveal.js", "reveal.css": "dist/reveal.css", "white.css": "dist/theme/white.css"}
MATHJAX = ("tex-chtml.js", "output/chtml/fonts")  # of the whole, what formulas need
# nbconvert's own page, with its scripts from a network replaced by those that lie beside it
TEMPLATE = """{% extends "index.html.j2" %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}
<script>MathJax = {tex: {inlineMath: [["$", "$"]], processEscapes: true}, options: {menuOptions: {}}};</script>
<script src="mathjax/tex-chtml.js"></script>
<style>:root {--jp-content-font-size1: 27px; --jp-code-font-size: 21px}
.reveal .slides section {text-align: left}
.reveal .slides h1, .reveal .slides h2, .reveal .slides h3 {text-transform: none}
.reveal .slides h1 {font-size: 1.8em} .reveal .slides h2 {font-size: 1.5em} .reveal .slides h3 {font-size: 1.3em}
.reveal .slides img {max-height: 540px; margin: 0} .jp-Cell {padding: 2px}
.jp-InputPrompt, .jp-OutputPrompt {display: none} .reveal pre {width: 100%; margin: 0; box-shadow: none}</style>
{% endblock %}
{% block footer_js %}
<script src="reveal/dist/reveal.js"></script>
<script>
Reveal.initialize({width: 1280, height: 800, margin: 0.03, hash: true, slideNumber: "c/t", center: false});
</script>
{% endblock %}"""


def build_slides(edition, out=""):
    """Write the slides of the lecture.

    Parameters
    ----------
    edition : Edition
        Its chapter 00 must have run.
    out : str
        Folder; "" for `slides/` in the atlas. Older slides there are replaced.

    Returns
    -------
    pathlib.Path
        The page, index.html.

    Raises
    ------
    ValueError
        The chapter has not run, has no cell tagged for a slide, or has run with other code than it has now.
    FileExistsError
        `out` holds files that are not slides.
    """
    chapter = edition.book.by_id[CHAPTER]
    (job,) = edition.jobs(chapter)
    if not edition.executed_path(job).is_file():
        raise ValueError(
            f"the slides come from chapter {CHAPTER}, which has not run at profile {edition.profile.name!r}; "
            f"call: python -m manifold_utils run --profile {edition.profile.name} {CHAPTER}"
        )
    if edition.altered(job):
        raise ValueError(f"damaged, or edited since it ran: {edition.executed_path(job)}; run chapter {CHAPTER} again")
    page = slides_html(read_notebook(edition.book.path(chapter)), read_notebook(edition.executed_path(job)))
    target = Path(out or edition.out / "slides").resolve()
    with (owned_folder if out else atomic_path)(target) as folder:
        write_slides(folder, page)
    return target / "index.html"


def write_slides(folder, page):
    """Write the page of the slides, with reveal.js and MathJax beside it, into a folder."""
    folder = Path(folder)
    for name, place in PARTS.items():
        (folder / "reveal" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REVEAL / name, folder / "reveal" / place)
    shutil.copyfile(REVEAL / "reveal.LICENSE", folder / "reveal" / "LICENSE")
    mathjax = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    for part in MATHJAX:
        copy = shutil.copytree if (mathjax / part).is_dir() else shutil.copyfile
        (folder / "mathjax" / part).parent.mkdir(parents=True, exist_ok=True)
        copy(mathjax / part, folder / "mathjax" / part)
    (folder / "index.html").write_text(page, encoding="utf-8")


def slides_html(source, executed):
    """The page of the slides: cells and tags of the `source` notebook, outputs of the `executed` one.

    Raises
    ------
    ValueError
        No cell is tagged for a slide, or a tagged cell was not executed as it stands in the source.
    """
    from nbconvert import SlidesExporter  # half a second, which commands that make no slides need not wait for

    node = nbformat.from_dict(stripped(source))
    shown = [cell for cell in node.cells if set(SLIDES) & set(tags(cell))]
    if not shown:
        raise ValueError(f"no cell is tagged for a slide: {', '.join(SLIDES)}")
    outputs = {cell.source.rstrip(): cell.outputs for cell in executed.cells if cell.cell_type == "code"}
    for cell in (cell for cell in shown if cell.cell_type == "code"):
        if cell.source not in outputs:
            first = cell.source.splitlines()[0]
            raise ValueError(f"the cell {first!r} has changed since chapter {CHAPTER} ran: run it again")
        cell.outputs = [o for o in outputs[cell.source] if o.get("name") != "stderr"]
        cell.metadata["transient"] = {"remove_source": "hide-input" in tags(cell)}
    exporter = SlidesExporter(raw_template=TEMPLATE, exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.reveal_url_prefix, exporter.reveal_theme = "reveal", "white"
    return exporter.from_notebook_node(node, {"metadata": {"name": "lecture"}})[0]


__all__ = ["build_slides", "slides_html", "write_slides"]
