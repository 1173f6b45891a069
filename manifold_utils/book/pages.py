"""What a reader sees without running anything: the HTML book, the README's tables, the contact sheet of all figures.

Sphinx with myst-nb makes the pages (`page` one of them, `front` the first); mathematics (MathJax), interactive figures
(plotly), the explorer and search lie beside them. The README's marked blocks come from book.yaml and from the published
run (see `publishing`). Notebooks may come from elsewhere: no file of this machine and no script of theirs gets into a
page (see `guard`). It executes no notebook and computes no number.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from manifold_utils.book import back_matter, front, slides
from manifold_utils.book.contents import Book, read_notebook
from manifold_utils.book.page import page
from manifold_utils.book.publishing import REFERENCE, stale
from manifold_utils.claims import reference_cards, scorecards_markdown
from manifold_utils.files import PROJECT, atomic_path, owned_folder
from manifold_utils.profiles import RECORDED

SPHINX_SETTINGS = {
    "author": "The manifold book authors",
    "copyright": "The manifold book authors, MIT License",
    "extensions": ["myst_nb", "sphinx.ext.mathjax", "sphinx-mathjax-offline", "manifold_utils.book.guard"],
    "myst_enable_extensions": ["dollarmath", "amsmath", "colon_fence"],
    "myst_dmath_double_inline": True,
    "mathjax3_config": {"loader": {"load": ["ui/safe"]}},  # no links to scripts in formulas
    "myst_heading_anchors": 3,
    "math_number_all": True,
    "math_numfig": False,
    "exclude_patterns": ["_build", "_doctrees", "_extra"],
    "nb_execution_mode": "off",
    "nb_merge_streams": True,
    "nb_output_stderr": "remove",  # progress bars
    "nb_ipywidgets_js": {},  # its default is a CDN
    "html_theme": "sphinx_book_theme",
    "html_theme_options": {"use_download_button": True, "show_toc_level": 2, "home_page_in_toc": True},
    "html_context": {"default_mode": "auto"},
    "html_static_path": ["_static"],
    "html_extra_path": ["_extra"],
    "html_css_files": ["book.css"],
    "html_show_sourcelink": False,
}
# Wide enough for a line of code, 88 characters between both side bars; printed sentences are folded instead of cut.
# On a dark page figures are inverted with their hues kept, so that their ground is dark and black lines are white;
# pictures of samples are not.
STYLE = """.bd-main .bd-content .bd-article-container { max-width: 66rem; }
.bd-main .cell_input pre { font-size: 0.76rem; }
.cell_output pre { white-space: pre-wrap; }
.cell_output, .bd-article table { overflow-x: auto; }
.bd-article figure { margin: 1rem 0; } .bd-article figure figcaption { font-size: 0.85rem; }
.chapters { width: 100%; border-collapse: collapse; } .chapters td { padding: 6px 10px 6px 0; vertical-align: middle; }
.chapters img { width: 120px; max-height: 84px; object-fit: contain; background: white; }
.chapters .part td { padding-top: 1.2rem; font-weight: 600; }
html[data-theme="dark"] figure:has(img.exchanged) .caption-text::after {
  content: " On this dark page, black and white are exchanged."; font-style: italic; }
html[data-theme="dark"] .bd-article img:not(.pictures):not([src*="10_samples"]):not([src^="http"]),
html[data-theme="dark"] .bd-article [data-made-by] { filter: invert(0.93) hue-rotate(180deg); background: white; }
html[data-theme="dark"] .bd-article img.pictures { filter: none; background: white; }
html[data-theme="dark"] .text_html:has([data-made-by]) { background: none !important; padding: 0 !important; }
@media (max-width: 600px) { .chapters .minutes { display: none; } .chapters img { width: 72px; } }
"""
SHEET_MARK = ("Software", "manifold-book contact sheet")  # text in the picture
SHEET_FONT = 16  # pixels of the names on a contact sheet


def build_html(edition, out="", *, adapted=read_notebook):
    """Build the pages of the book at a profile.

    Parameters
    ----------
    edition : Edition
        All its chapters must have been run; of recorded runs, at least one.
    out : str
        Folder of the pages; "" for `html/` in the atlas. Older pages are replaced as a whole, when all are made.
    adapted : callable
        From the path of an executed notebook to what is shown of it, such as `student.for_students`.

    Returns
    -------
    pathlib.Path
        The first page, index.html.

    Raises
    ------
    ValueError
        Some chapters have not been run, or their executed notebooks are not as they were written.
    FileExistsError
        `out` holds files that are not pages of a book; the message names them.
    RuntimeError
        Sphinx warned of something (a broken link, a malformed heading); the message quotes it.
    """
    jobs = [(chapter, edition.jobs(chapter)) for chapter in edition.book.chapters]
    absent = edition.unexecuted()
    if edition.profile.kind == RECORDED:  # what there is: not every chapter can be made of anybody's runs
        jobs = [(chapter, [job for job in several if job.name not in absent]) for chapter, several in jobs]
        absent = absent if not any(several for _, several in jobs) else []
    if absent:
        raise ValueError(f"not run yet at profile {edition.profile.name!r}: {', '.join(absent)}; call: make run")
    altered = [str(edition.executed_path(job)) for _, several in jobs for job in several if edition.altered(job)]
    if altered:
        raise ValueError(f"damaged, or edited since it ran: {', '.join(altered)}; call: make run, which makes it again")
    target = Path(out or edition.out / "html").resolve()
    place, token = owned_folder if out else atomic_path, secrets.token_hex(16)  # html/ in the atlas is ours
    known = back_matter.references(edition.book.folder)
    with tempfile.TemporaryDirectory(prefix="book-html-") as staging, place(target) as pages:
        staging = Path(staging)
        for several in (several for _, several in jobs if several):
            names = [(job.space or "main", f"{job.name}.ipynb") for job in several]
            for job, own in zip(several, names, strict=True):
                others = [name for name in names if name != own]
                node = page(adapted(edition.executed_path(job)), job.chapter.id, others, token, known)
                if job.space:
                    node.metadata["orphan"] = True  # reached from its chapter, not from the side bar
                nbformat.write(node, staging / f"{job.name}.ipynb")
        _write_settings(staging, edition, token)
        linked = {c.id: f"{several[0].name}.ipynb" for c, several in jobs if several}
        extras = back_matter.write(staging, edition.book, linked)
        if _add_slides(staging / "_extra" / "slides", edition, linked):
            extras.append(("Slides", "slides/index.html"))
        front.write(staging, edition, jobs, extras, token)
        _sphinx(staging, pages)
    return target / "index.html"


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
    (staging / "_extra").mkdir()
    (staging / "_static" / "book.css").write_text(STYLE, encoding="utf-8")
    library = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    shutil.copyfile(library, staging / "_static" / "plotly.min.js")


def _add_slides(folder, edition, linked):
    """Write the lecture's slides if its chapter has run as it stands; whether they are there."""
    if slides.CHAPTER not in linked:
        return False
    source = edition.book.path(edition.book.by_id[slides.CHAPTER])
    executed = edition.executed_path(edition.jobs(edition.book.by_id[slides.CHAPTER])[0])
    try:
        page_of_slides = slides.slides_html(read_notebook(source), read_notebook(executed))
    except ValueError:  # older than its source: the pages show it as it ran, slides cannot
        return False
    slides.write_slides(folder, page_of_slides)
    return True


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


def chapters_markdown(book, reference=REFERENCE):
    """The table of chapters: number, title, the chapter's question, minutes; in their parts.

    A title leads to the executed notebook of a published run, real images first; to the source where there is none.
    """
    lines = ["| | chapter | question | minutes (2 cores) |", "|---|---|---|---|"]
    for kind, name in front.PARTS.items():
        listed = [c for c in book.chapters if c.kind == kind]
        lines += [f"| | **{name}** | | |"] if listed else []
        for c in listed:
            question = read_notebook(book.path(c)).cells[0].source.splitlines()[0].removeprefix("# ")
            runs = [f"reference/{name}/{c.notebook}.ipynb" for name in reference_cards(folder=reference)]
            shown = next((path for path in runs if (Path(reference).parent / path).is_file()), f"{c.notebook}.ipynb")
            lines.append(f"| {c.id} | [{c.title}](notebooks/{shown}) | {question} | {c.minutes:g} |")
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
    headlines = front.headlines_markdown(Path(reference))
    blocks = {"headline": headlines, "chapters": chapters_markdown(Book(), reference), "scorecard": table}
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
        with atomic_path(path) as temporary:
            temporary.write_text(new, encoding="utf-8")
    return new != old


def contact_sheet(folder, path, columns=6, width=420):
    """All PNG figures of `folder` on one page, in the order of their names, each under its name.

    Parameters
    ----------
    folder : path
    path : path of the page, ending in .png; left out if it lies in `folder`. Beside `folder` it is ours; elsewhere a
        file that is there already is replaced only if it is such a page.
    columns : int
    width : int
        Pixels of a column. Figures are scaled to it, and a row is as high as its highest figure.

    Returns
    -------
    int, the number of figures

    Raises
    ------
    FileNotFoundError
        There is no figure.
    FileExistsError
        `path` is somebody's file.
    """
    from PIL import Image, ImageDraw, ImageFont
    from PIL.PngImagePlugin import PngInfo

    if Path(path).resolve().parent != Path(folder).resolve().parent:
        _refuse_picture(Path(path))
    files = sorted(p for p in Path(folder).glob("*.png") if p.resolve() != Path(path).resolve())
    if not files:
        raise FileNotFoundError(f"no figures in {folder}; run the chapters of this profile first")
    gap, font = 12, ImageFont.load_default(size=SHEET_FONT)
    thumbs = []
    for file in files:
        try:
            with Image.open(file) as image:
                thumbs.append(image.convert("RGB").resize((width, max(1, round(image.height * width / image.width)))))
        except (OSError, SyntaxError) as error:  # what Pillow raises for damage does not always name the file
            raise ValueError(f"{file} is damaged ({error}); delete it and run the book again") from error
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
        mark = PngInfo()
        mark.add_text(*SHEET_MARK)
        sheet.save(temporary, format="PNG", pnginfo=mark)
    return len(files)


def _refuse_picture(path):
    """FileExistsError if there is something at `path` that is no contact sheet of ours."""
    from PIL import Image, UnidentifiedImageError

    if not (path.exists() or path.is_symlink()):
        return
    try:
        with Image.open(path) as image:
            ours = image.info.get(SHEET_MARK[0]) == SHEET_MARK[1]
    except (OSError, UnidentifiedImageError):  # a folder, or no picture
        ours = False
    if not ours:
        raise FileExistsError(f"{path} is there and is no contact sheet of this book: it stays; give another name")
