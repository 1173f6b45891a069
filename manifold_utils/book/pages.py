"""What a reader sees without running anything: the HTML book, the README's tables, the contact sheet of all figures.

Sphinx with myst-nb makes the pages; mathematics (MathJax), interactive figures (plotly) and search lie beside them.
Code cells tagged `hide-input`, `hide-cell` or `remove-cell` are folded or left out, solutions are folded. The README's
marked blocks come from book.yaml and from the published run (see `publishing`). Notebooks may come from elsewhere: no
file of this machine and no script of theirs gets into a page (see `guard`). It executes no notebook.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from manifold_utils.book.contents import Book, read_notebook, tags
from manifold_utils.book.front import headline_of_atlas, headlines_markdown
from manifold_utils.book.publishing import PLOTLY, REFERENCE, stale
from manifold_utils.claims import reference_cards, scorecards_markdown
from manifold_utils.files import PROJECT, atomic_path, owned_folder
from manifold_utils.profiles import RECORDED

PARTS = {
    "make": "Make: from data to an embedded manifold",
    "show": "Show: the paper's figures",
    "beyond": "Beyond the paper",
}
SPHINX_SETTINGS = {
    "author": "The manifold book authors",
    "copyright": "The manifold book authors, MIT License",
    "extensions": ["myst_nb", "sphinx.ext.mathjax", "sphinx-mathjax-offline", "manifold_utils.book.guard"],
    "myst_enable_extensions": ["dollarmath", "amsmath", "colon_fence"],
    "myst_dmath_double_inline": True,
    "mathjax3_config": {"loader": {"load": ["ui/safe"]}},  # no links to scripts in formulas
    "myst_heading_anchors": 3,
    "exclude_patterns": ["_build", "_doctrees"],
    "nb_execution_mode": "off",
    "nb_merge_streams": True,
    "nb_output_stderr": "remove",  # progress bars
    "nb_ipywidgets_js": {},  # its default is a CDN
    "html_theme": "sphinx_book_theme",
    "html_theme_options": {"use_download_button": True, "show_toc_level": 2, "home_page_in_toc": True},
    "html_static_path": ["_static"],
    "html_css_files": ["book.css"],
    "html_show_sourcelink": False,
}
# Wide enough for a line of code, 88 characters between both side bars; printed sentences are folded instead of cut.
STYLE = """.bd-main .bd-content .bd-article-container { max-width: 66rem; }
.bd-main .cell_input pre { font-size: 0.78rem; }
.cell_output pre { white-space: pre-wrap; }
"""
# The library is loaded once a page, by whichever figure comes first; `</` must not end the script early.
FIGURE = """<div id="{name}" data-made-by="{token}" style="width: 100%; min-height: {height}px"></div>
<script>(function draw() {{
  if (!window.Plotly) {{
    if (!document.getElementById("plotly-library"))
      document.head.append(Object.assign(document.createElement("script"),
        {{id: "plotly-library", src: "_static/plotly.min.js"}}));
    return setTimeout(draw, 50);
  }}
  Plotly.newPlot("{name}", {figure});
}})();</script>"""
KINDS = {"make": "Make", "show": "Show: the paper's figures", "beyond": "Beyond the paper"}
SHEET_FONT = 16  # pixels of the names on a contact sheet


def build_html(edition, out=""):
    """Build the pages of the book at a profile.

    Parameters
    ----------
    edition : Edition
        All its chapters must have been run; of recorded runs, at least one.
    out : str
        Folder of the pages; "" for `html/` in the atlas. Older pages are replaced as a whole, when all are made.

    Returns
    -------
    pathlib.Path
        The first page, index.html.

    Raises
    ------
    ValueError
        Some chapters have not been run.
    FileExistsError
        `out` holds files that are not pages of a book; the message names them.
    RuntimeError
        Sphinx warned of something (a broken link, a malformed heading); the message quotes it.
    """
    jobs = [(chapter, edition.jobs(chapter)) for chapter in edition.book.chapters]
    absent = [job.name for _, several in jobs for job in several if not edition.executed_path(job).is_file()]
    if edition.profile.kind == RECORDED:  # what there is: not every chapter can be made of anybody's runs
        jobs = [(chapter, [job for job in several if job.name not in absent]) for chapter, several in jobs]
        absent = absent if not any(several for _, several in jobs) else []
    if absent:
        raise ValueError(f"not run yet at profile {edition.profile.name!r}: {', '.join(absent)}; call: make run")
    target = Path(out or edition.out / "html").resolve()
    place, token = owned_folder if out else atomic_path, secrets.token_hex(16)  # html/ in the atlas is ours
    with tempfile.TemporaryDirectory(prefix="book-html-") as staging, place(target) as pages:
        for job in (job for _, several in jobs for job in several):
            made = page(read_notebook(edition.executed_path(job)), token)
            nbformat.write(made, Path(staging) / f"{job.name}.ipynb")
        _write_settings(Path(staging), edition, token)
        (Path(staging) / "index.md").write_text(_index(edition, jobs), encoding="utf-8")
        _sphinx(staging, pages)
    return target / "index.html"


def page(executed, token=""):
    """An executed notebook as its page: solutions folded, injected parameters out of sight, plotly figures as HTML.

    Of its metadata only what a page needs is kept: among the rest may be settings of the builder, such as to execute
    it. `token` marks the figures as made here.
    """
    executed.metadata = _only(executed.metadata, ("kernelspec", "language_info"))
    for cell in executed.cells:
        cell.metadata = _only(cell.metadata, ("tags",))
        labels, hidden = tags(cell), set()
        if "solution" in labels:
            hidden.add("hide-cell")
            cell.metadata["mystnb"] = {"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
        if "injected-parameters" in labels:
            hidden.add("remove-cell")
        if hidden - set(labels):
            cell.metadata["tags"] = [*labels, *sorted(hidden)]
        for number, output in enumerate(cell.get("outputs", [])):
            if PLOTLY in output.get("data", {}):
                output.data = nbformat.from_dict(
                    {"text/html": _figure(output.data[PLOTLY], f"{cell.id}-{number}", token)}
                )
    return executed


def _only(metadata, keys):
    return nbformat.from_dict({key: metadata[key] for key in keys if key in metadata})


def _figure(figure, name, token):
    text = json.dumps({key: figure[key] for key in ("data", "layout", "frames", "config") if key in figure})
    height, name = int(figure.get("layout", {}).get("height") or 450), re.sub(r"[^\w-]", "", name)
    return FIGURE.format(name=f"figure-{name}", token=token, height=height, figure=text.replace("<", "\\u003c"))


def _write_settings(staging, edition, token):
    import plotly

    settings = {
        **SPHINX_SETTINGS,
        "project": edition.book.title,
        "html_title": edition.book.title,
        "guard_token": token,
    }
    lines = [f"{key} = {value!r}" for key, value in settings.items()]
    (staging / "conf.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (staging / "_static").mkdir()
    (staging / "_static" / "book.css").write_text(STYLE, encoding="utf-8")
    library = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    shutil.copyfile(library, staging / "_static" / "plotly.min.js")


def _index(edition, jobs):
    """The first page: a sentence on the profile, then the chapters in their parts."""
    lines = [
        f"# {edition.book.title}",
        "",
        f"Executed at the profile **{edition.profile.name}**: {edition.profile.description}",
        "",
        headline_of_atlas(edition.out),
    ]
    absent = [c.title for c, several in jobs if not several and edition.lacking(c)]
    if absent:
        lines += [f"Left out, since this profile does not have what they are about: {', '.join(absent)}.", ""]
    open_ = [c.title for c, several in jobs if not several and edition.jobs(c)]
    if open_:
        lines += [f"Not run yet: {', '.join(open_)}.", ""]
    for kind, caption in PARTS.items():
        entries = [(c, job) for c, several in jobs for job in several if c.kind == kind]
        if not entries:
            continue
        lines += ["```{toctree}", ":maxdepth: 1", f':caption: "{caption}"', ""]
        for chapter, job in entries:
            values = ", ".join(str(value) for value in job.values.values() if value != "")
            values = f" ({values})" if values else ""
            lines.append(f"{chapter.id} {chapter.title}{values} <{job.name}>")
        lines += ["```", ""]
    return "\n".join(lines)


def _sphinx(staging, pages):
    """Build in the staging folder, since MyST-NB writes beside the pages too; then move the pages to their place."""
    staging, made = Path(staging), Path(staging) / "_build" / "html"
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", str(staging), str(made)]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    given = {"capture_output": True, "text": True, "env": {**os.environ, "PYTHONPATH": paths}}
    done = subprocess.run([*command, "-d", str(staging / "_doctrees")], **given)
    if done.returncode:
        raise RuntimeError(f"Sphinx is not content with the pages:\n{done.stderr.replace(str(staging), '').strip()}")
    shutil.move(made, pages)


def chapters_markdown(book):
    """The table of chapters: number, title, the chapter's question, minutes; grouped by kind."""
    lines = ["| | chapter | question | minutes (2 cores) |", "|---|---|---|---|"]
    for kind, name in KINDS.items():
        listed = [c for c in book.chapters if c.kind == kind]
        lines += [f"| | **{name}** | | |"] if listed else []
        for c in listed:
            question = read_notebook(book.path(c)).cells[0].source.splitlines()[0].removeprefix("# ")
            lines.append(f"| {c.id} | [{c.title}](notebooks/{c.notebook}.ipynb) | {question} | {c.minutes:g} |")
    return "\n".join(lines)


def render(text, reference=REFERENCE):
    """README text with its marked blocks filled; everything outside the marks stays as it is.

    Raises
    ------
    ValueError
        If a mark is missing.
    """
    cards = reference_cards(folder=reference)
    newer = {name: ", ".join(stale(Path(reference) / name)) or "none" for name in cards}
    listed = "; ".join(f"`{name}`: {chapters}" for name, chapters in newer.items())
    table = f"{scorecards_markdown(cards)}\n\nChapters whose code is newer than the published run: {listed}."
    headlines = headlines_markdown(Path(reference))
    blocks = {"headline": headlines, "chapters": chapters_markdown(Book()), "scorecard": table}
    for name, content in blocks.items():
        pattern = re.compile(rf"(<!-- {name}:begin[^>]*-->\n)(.*?)(<!-- {name}:end -->)", re.S)
        if not pattern.search(text):
            raise ValueError(f"README.md has no block between <!-- {name}:begin --> and <!-- {name}:end -->")
        text = pattern.sub(lambda m, content=content: f"{m[1]}\n{content}\n\n{m[3]}", text)
    return text


def write_readme(path=PROJECT / "README.md"):
    """Fill the README's blocks in place; returns whether anything changed."""
    old = Path(path).read_text(encoding="utf-8")
    new = render(old)
    if new != old:
        Path(path).write_text(new, encoding="utf-8")
    return new != old


def contact_sheet(folder, path, columns=6, width=420):
    """All PNG figures of `folder` on one page, in the order of their names, each under its name.

    Parameters
    ----------
    folder : path
    path : path of the page, ending in .png; left out if it lies in `folder`
    columns : int
    width : int
        Pixels of a column. Figures are scaled to it, and a row is as high as its highest figure.

    Returns
    -------
    int, the number of figures
    """
    from PIL import Image, ImageDraw, ImageFont

    files = sorted(p for p in Path(folder).glob("*.png") if p.resolve() != Path(path).resolve())
    if not files:
        raise FileNotFoundError(f"no figures in {folder}; run the chapters of this profile first")
    gap, font = 12, ImageFont.load_default(size=SHEET_FONT)
    thumbs = []
    for file in files:
        with Image.open(file) as image:
            thumbs.append(image.convert("RGB").resize((width, max(1, round(image.height * width / image.width)))))
    rows = [range(k, min(k + columns, len(files))) for k in range(0, len(files), columns)]
    heights = [SHEET_FONT + 2 * gap + max(thumbs[k].height for k in row) for row in rows]
    sheet = Image.new("RGB", (min(columns, len(files)) * (width + gap) + gap, sum(heights) + gap), "white")
    draw, top = ImageDraw.Draw(sheet), gap
    for row, height in zip(rows, heights, strict=True):
        for place, k in enumerate(row):
            left = gap + place * (width + gap)
            draw.text((left, top), files[k].stem, fill="black", font=font)
            sheet.paste(thumbs[k], (left, top + SHEET_FONT + gap // 2))
        top += height
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG")
    return len(files)
