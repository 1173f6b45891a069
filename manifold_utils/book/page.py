"""One executed notebook as one page: numbered headings, captions and alt texts, folded cells, live figures.

The number of a chapter stands before its title and its sections. A figure's caption is the description that
`plots.save_figure` keeps with it. Imports, and cells that only draw or save, are folded. It builds no pages (`pages`).
"""

import ast
import json
import re
from html import escape

import nbformat

from manifold_utils.book.answers import with_answer
from manifold_utils.book.back_matter import with_links
from manifold_utils.book.contents import tags
from manifold_utils.book.publishing import PLOTLY

# The library is loaded once a page, by whichever figure comes first. The figure is drawn when its column has a
# width, and again when that changes; the wheel scrolls the page.
FIGURE = """<div id="{name}" data-made-by="{token}" role="img" aria-label="{label}"
  style="width: 100%; height: {height}px"></div>
<script>(function draw() {{
  const place = document.getElementById("{name}");
  if (!window.Plotly || !place.clientWidth) {{
    if (!document.getElementById("plotly-library"))
      document.head.append(Object.assign(document.createElement("script"),
        {{id: "plotly-library", src: "_static/plotly.min.js"}}));
    return setTimeout(draw, 50);
  }}
  const figure = {figure};
  delete figure.layout.width;
  figure.config = Object.assign({{responsive: true, scrollZoom: false, displaylogo: false}}, figure.config);
  Plotly.newPlot(place, figure).then(() => new ResizeObserver(() => Plotly.Plots.resize(place)).observe(place));
}})();</script>"""
FOLDED = {
    "solution": ("Show a solution", "Hide the solution"),
    "hidden": ("Show a stricter check", "Hide the check"),
    "imports": ("Show the imports", "Hide the imports"),
    "hide-input": ("Show the code", "Hide the code"),
}
PICTURES = "pictures"  # tag of a cell that shows samples: they keep their colours on a dark page
EXCHANGED = re.compile(r"\b(black|white)\b", re.I)
ON_DARK = "exchanged"  # class of such pictures: on a dark page the style adds a sentence to their captions
INTERACTIVE = "Interactive figure: drag to turn it, hover over a point for its run."


def page(executed, number="", others=(), token="", references=()):
    """An executed notebook as its page.

    Parameters
    ----------
    executed : NotebookNode, changed in place
    number : str
        The chapter's number, for headings and figures; "" for none.
    others : sequence of (name, file)
        Pages of the same chapter in other prediction spaces, linked below the title.
    token : str
        Marks our own figures for the guard of the pages, see `guard`.
    references : collection of str
        Keys of the bibliography, to which citations are linked.

    Returns
    -------
    NotebookNode
        Of its metadata only what a page needs: among the rest may be settings of the builder. Solutions folded,
        injected parameters out of sight, plotly figures as HTML.
    """
    executed.metadata = _only(executed.metadata, ("kernelspec", "language_info"))
    for cell in executed.cells:
        cell.metadata = _only(cell.metadata, ("tags",))
    with_answer(executed)
    executed.cells = [part for cell in executed.cells for part in _one_picture_each(cell)]
    counts = {"section": 0, "figure": 0}
    for cell in executed.cells:
        if cell.cell_type == "markdown":
            cell.source = with_links(_numbered(cell.source, number, counts), references)
        else:
            _folded(cell)
            _described(cell, number, counts, token)
    if others and executed.cells and executed.cells[0].cell_type == "markdown":
        links = ", ".join(f"[{name}]({file})" for name, file in others)
        executed.cells[0].source += f"\n\nThe same chapter in the book's other prediction spaces: {links}."
    return executed


def _one_picture_each(cell):
    """The cell, and a cell without source for each picture after its first: captions belong to cells."""
    outputs, groups = cell.get("outputs", []), [[]]
    for output in outputs:
        if "image/png" in output.get("data", {}) and any("image/png" in o.get("data", {}) for o in groups[-1]):
            groups.append([])
        groups[-1].append(output)
    if len(groups) == 1:
        return [cell]
    cell.outputs, parts = groups[0], [cell]
    for k, group in enumerate(groups[1:], start=1):
        shown = nbformat.v4.new_code_cell("", outputs=group, metadata={"tags": ["remove-input"]})
        parts.append({**shown, "id": f"{cell.get('id', 'cell')}-{k}"})
    return [nbformat.from_dict(part) for part in parts]


def _numbered(source, number, counts):
    """Markdown with `number` before its title, and number.1, number.2 ... before its sections; code blocks stay."""
    if not number:
        return source
    lines, fenced = [], False
    for line in source.split("\n"):
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced:
            counts["section"] += 1
            line = f"## {number}.{counts['section']} {line[3:]}"
        elif line.startswith("# ") and not fenced:
            line = f"# {number} {line[2:]}"
        lines.append(line)
    return "\n".join(lines)


def _folded(cell):
    labels, hidden = tags(cell), set()
    if {"solution", "hidden"} & set(labels):
        hidden.add("hide-cell")
    if "injected-parameters" in labels:
        hidden.add("remove-cell")
    elif "parameters" not in labels and _boilerplate(cell.source):
        hidden |= {"hide-input", _boilerplate(cell.source)}
    for tag, (shown, back) in FOLDED.items():
        if tag in labels or tag in hidden:
            cell.metadata["mystnb"] = {"code_prompt_show": shown, "code_prompt_hide": back}
            break
    if hidden - set(labels):
        cell.metadata["tags"] = [*labels, *sorted(hidden - set(labels))]


def _boilerplate(source):
    """What a cell is, if no reader needs to see it at first: "imports", or "saving" for one that keeps results."""
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return ""
    if body and all(isinstance(line, ast.Import | ast.ImportFrom) for line in body):
        return "imports"
    return "saving" if "save_results(" in source else ""


def _described(cell, number, counts, token):
    """Captions and alt texts for pictures, HTML for plotly figures."""
    for place, output in enumerate(cell.get("outputs", [])):
        data = output.get("data", {})
        alt = next((m["alt"] for m in output.get("metadata", {}).values() if isinstance(m, dict) and "alt" in m), "")
        if PLOTLY in data:
            html = _live(data[PLOTLY], f"{cell.id}-{place}", token)
            output.data = nbformat.from_dict({"text/html": html})
        elif "image/png" in data and alt:
            counts["figure"] += 1
            name = f"Figure {number}.{counts['figure']}" if number else f"Figure {counts['figure']}"
            shown = {"image": {"alt": _plain(alt)}, "figure": {"caption": f"**{name}.** {_escaped(alt)}"}}
            if PICTURES in tags(cell):
                shown["image"]["classes"] = PICTURES
            elif EXCHANGED.search(alt):
                shown["image"]["classes"] = ON_DARK
            cell.metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), **shown}


def _plain(text):
    return " ".join(text.replace('"', "'").split())


def _escaped(text):
    return re.sub(r"([*_`<>\[\]$])", r"\\\1", " ".join(text.split()))


def _only(metadata, keys):
    return nbformat.from_dict({key: metadata[key] for key in keys if key in metadata})


def _live(figure, name, token):
    """A plotly figure as HTML: nothing in it can end its script or its attributes early."""
    text = json.dumps({key: figure[key] for key in ("data", "layout", "frames", "config") if key in figure})
    layout, name = figure.get("layout", {}), re.sub(r"[^\w-]", "", name)
    title = layout.get("title", {})
    said = title.get("text", "") if isinstance(title, dict) else str(title)
    label = escape(_plain(re.sub("<[^>]*>", " ", f"{said}. {INTERACTIVE}")).lstrip(". "))
    given = {"name": f"figure-{name}", "height": int(layout.get("height") or 450), "label": label, "token": token}
    return FIGURE.format(figure=text.replace("<", "\\u003c"), **given)
