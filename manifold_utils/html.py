"""The HTML book: executed notebooks, in the order and parts of book.yaml, as pages that need no network.

Sphinx with myst-nb makes the pages; mathematics (MathJax), interactive figures (plotly) and search lie beside them.
Code cells tagged `hide-input`, `hide-cell` or `remove-cell` are folded or left out, solutions are folded. It executes
no notebook.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from manifold_utils.chapters import NOTEBOOKS, read_notebook, tags
from manifold_utils.jobs import Run
from manifold_utils.store import atomic_path

PLOTLY = "application/vnd.plotly.v1+json"
PARTS = {
    "make": "Make: from data to an embedded manifold",
    "show": "Show: the paper's figures",
    "beyond": "Beyond the paper",
}
SPHINX_SETTINGS = {
    "author": "The manifold book authors",
    "copyright": "The manifold book authors, MIT License",
    "extensions": ["myst_nb", "sphinx.ext.mathjax", "sphinx-mathjax-offline"],
    "myst_enable_extensions": ["dollarmath", "amsmath", "colon_fence"],
    "myst_dmath_double_inline": True,
    "myst_heading_anchors": 3,
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
# Wide enough for a line of code; printed sentences are folded instead of cut.
STYLE = """.bd-main .bd-content .bd-article-container { max-width: 66rem; }
.cell_output pre { white-space: pre-wrap; }
"""
# The library is loaded once a page, by whichever figure comes first; `</` must not end the script early.
FIGURE = """<div id="{name}" style="width: 100%; min-height: {height}px"></div>
<script>(function draw() {{
  if (!window.Plotly) {{
    if (!document.getElementById("plotly-library"))
      document.head.append(Object.assign(document.createElement("script"),
        {{id: "plotly-library", src: "_static/plotly.min.js"}}));
    return setTimeout(draw, 50);
  }}
  Plotly.newPlot("{name}", {figure});
}})();</script>"""


def build_html(profile, *, data_dir="", out="", folder=NOTEBOOKS):
    """Build the pages of a profile's book.

    Parameters
    ----------
    profile : str
        Name or file of a profile; all its chapters must have been run.
    data_dir : str
        Folder of data sets and atlases; "" for the project's own.
    out : str
        Folder of the pages; "" for `html/` in the atlas. It is replaced as a whole, when all pages are made.
    folder : path
        Folder of the notebooks and book.yaml.

    Returns
    -------
    pathlib.Path
        The first page, index.html.

    Raises
    ------
    ValueError
        Some chapters have not been run.
    RuntimeError
        Sphinx warned of something (a broken link, a malformed heading); the message quotes it.
    """
    run = Run(profile, folder, data_dir)
    jobs = [(chapter, run.jobs(chapter)) for chapter in run.book.chapters]
    absent = [job.name for _, several in jobs for job in several if not run.executed_path(job).is_file()]
    if absent:
        raise ValueError(f"not run yet at profile {run.profile.name!r}: {', '.join(absent)}; call: make run")
    target = Path(out or run.atlas / "html").resolve()
    with tempfile.TemporaryDirectory(prefix="book-html-") as staging, atomic_path(target) as pages:
        for job in (job for _, several in jobs for job in several):
            nbformat.write(page(read_notebook(run.executed_path(job))), Path(staging) / f"{job.name}.ipynb")
        _write_settings(Path(staging), run)
        (Path(staging) / "index.md").write_text(_index(run, jobs), encoding="utf-8")
        _sphinx(staging, pages)
    return target / "index.html"


def page(executed):
    """An executed notebook as its page: solutions folded, injected parameters out of sight, plotly figures as HTML."""
    for cell in executed.cells:
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
                output.data = nbformat.from_dict({"text/html": _figure(output.data[PLOTLY], f"{cell.id}-{number}")})
    return executed


def _figure(figure, name):
    text = json.dumps({key: figure[key] for key in ("data", "layout", "frames", "config") if key in figure})
    height = figure.get("layout", {}).get("height") or 450
    return FIGURE.format(name=f"figure-{name}", height=height, figure=text.replace("</", "<\\/"))


def _write_settings(staging, run):
    import plotly

    settings = {**SPHINX_SETTINGS, "project": run.book.title, "html_title": run.book.title}
    lines = [f"{key} = {value!r}" for key, value in settings.items()]
    (staging / "conf.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (staging / "_static").mkdir()
    (staging / "_static" / "book.css").write_text(STYLE, encoding="utf-8")
    library = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    shutil.copyfile(library, staging / "_static" / "plotly.min.js")


def _index(run, jobs):
    """The first page: a sentence on the profile, then the chapters in their parts."""
    lines = [
        f"# {run.book.title}",
        "",
        f"Executed at the profile **{run.profile.name}**: {run.profile.description}",
        "",
    ]
    absent = [c.title for c, several in jobs if not several]
    if absent:
        lines += [f"Left out, since this profile does not have what they are about: {', '.join(absent)}.", ""]
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
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", str(staging), str(pages)]
    done = subprocess.run([*command, "-d", str(Path(staging) / "_doctrees")], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"Sphinx is not content with the pages:\n{done.stderr.replace(str(staging), '').strip()}")
