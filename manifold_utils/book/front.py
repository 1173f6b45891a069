"""The front of the book: the claim, one picture, what was found with its null, how to run it, and the chapters.

The same sentences, from named results, stand on the first HTML page (of its own atlas) and in the README (of the
published runs). It computes no number.
"""

from html import escape

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from manifold_utils.atlas import Atlas
from manifold_utils.book.contents import read_notebook
from manifold_utils.claims import load_results, reference_cards
from manifold_utils.explorer import build_explorer
from manifold_utils.plots import POSTER_SIZE, plot_poster, save_figure, use_house_style
from manifold_utils.profiles import RECORDED

CLAIM = (
    "**The claim.** While they train, deep networks of very different architecture, size, optimiser and regularisation "
    "move along one low-dimensional manifold in the space of their predictions."
)
PARTS = {
    "make": "Make: from data to an embedded manifold",
    "show": "Show: the paper's figures",
    "beyond": "Beyond the paper",
    "verdict": "The verdict",
}
POSTER = "front.png"
DIM = 31  # bytes up to which a picture does not use its range: digits go to 16
THUMBNAIL = 240  # pixels: twice what it is shown at

PROOF = (
    "The explained stress of all train points cannot prove that networks share a manifold, because every network that "
    "learns travels from ignorance to truth, and this way alone fills the first axes. What can prove it is the "
    "comparison at equal progress: there the common way drops out, and networks that shared nothing but their learning "
    "curves would need many more axes. Test predictions of hard data, which end far from truth, are as sharp a test."
)


def headline(found, name=""):
    """Three sentences on one run: the headline and its null, over all points and at equal progress.

    Parameters
    ----------
    found : dict of named results, see `claims.load_results`
    name : str
        What the run is called; "" for "this atlas".

    Returns
    -------
    str
        "" where chapter 42 has not run or had too few runs for a null.
    """
    parts = [_over_all_points(found, split) for split in ("train", "test")]
    if not parts[0]:
        return ""
    after = "in brackets: after shuffling the samples of each network within their classes"
    after += "; both numbers are about the runs that are compared at equal progress"
    text = f"On {name or 'this atlas'}, 3 axes explain {' and '.join(part for part in parts if part)} ({after})."
    parts = [_at_equal_progress(found, split) for split in ("train", "test")]
    return " ".join([text, *(part for part in parts if part)])


def _over_all_points(found, split):
    """The same points in both worlds: the null's stress, and its gain in the real one."""
    null, gain = (found.get(f"42.{split}_stress_3_{end}", {}).get("value") for end in ("null", "gain"))
    if null is None or gain is None:
        return ""
    return f"{100 * (null + gain):.0f} % [{100 * null:.0f} %] of the {split} stress of all points"


def _at_equal_progress(found, split):
    real, null = (found.get(f"32.{split}_axes_{world}", {}).get("value") for world in ("real", "class"))
    ratio = found.get(f"42.{split}_axes_ratio", {})
    if real is None or null is None or ratio.get("value") is None:
        return ""
    ends = "" if ratio["low"] is None else f", {ratio['low']:.2f} to {ratio['high']:.2f}"
    text = f"At equal progress 90 % of the {split} stress needs {real:.0f} axes, and {null:.0f} after the shuffle"
    return f"{text} (a ratio of {ratio['value']:.2f}{ends})."


def headline_of_atlas(atlas_path):
    """The front page's paragraphs on an atlas: what its headline is, and what it can prove; '' without chapter 42."""
    said = headline(load_results(atlas_path / "results"))
    return f"{said}\n\n{PROOF}\n" if said else ""


def headlines_markdown(reference):
    """The README's paragraphs on all published runs, real images first."""
    folders = {name: reference / name for name in reference_cards(folder=reference)}
    said = [headline(load_results(folder), f"`{name}`") for name, folder in folders.items()]
    posters = [f"notebooks/reference/{name}/{POSTER}" for name, path in folders.items() if (path / POSTER).is_file()]
    shown = [f"![Runs on their way from ignorance to truth, one line each]({path})" for path in posters[:1]]
    return "\n\n".join([CLAIM, *shown, PROOF, *(f"* {text}" for text in said if text)])


def write(staging, edition, jobs, extras, token):
    """Write the first page, its pictures and the explorer into the folder that pages are made from.

    Parameters
    ----------
    staging : Path with the folders _static and _extra
    edition : Edition
    jobs : list of (Chapter, list of Job), in reading order
    extras : list of (title, name)
        Pages that belong to no chapter; a name with an ending is a file that is not made by Sphinx.
    token : str
        Marks our own HTML for the guard of the pages, see `guard`.
    """
    if (edition.atlas / "embeddings").is_dir():
        atlas = Atlas(edition.atlas)
        draw_poster(atlas, staging / "_static" / POSTER)
        build_explorer(atlas, staging / "_extra" / "explore.html", pictures=lambda split: pictures(edition, split))
    for chapter, _ in jobs:
        _thumbnail([edition.out / "figures", edition.atlas / "figures"], chapter.id, staging / "_static")
    (staging / "index.md").write_text(_index(staging, edition, jobs, extras, token), encoding="utf-8")


def draw_poster(atlas, path):
    """Draw every run of the grid `main` as a line, and return how many there are."""
    split = atlas.splits[0]
    table, embedding = atlas.table("main"), atlas.embedding(split)
    if embedding.sizes["component"] < 3:
        return 0
    use_house_style(atlas.levels)
    fig, ax = plt.subplots(figsize=POSTER_SIZE)
    coordinates, road = embedding.embedding.values[table.index, :3], embedding.reference_embedding.values[:, :3]
    plot_poster(ax, coordinates, road, table.run, table[atlas.family], atlas.family)
    save_figure(fig, path, alt=poster_text(atlas))
    return table.run.nunique()


def poster_text(atlas):
    """What the poster shows, in words."""
    table, split = atlas.table("main"), atlas.splits[0]
    return (
        f"{table.run.nunique()} runs, one line each, on their way from ignorance (square) to truth (star) in the space "
        f"of their {split} predictions; colours are {atlas.family}, the black curve is the geodesic."
    )


def pictures(edition, split):
    """Recorded samples of a split as (n, height, width, channels) uint8; None where the atlas' data are no pictures.

    Data sets whose files are not there have no pictures either: an atlas can be looked at without them.
    """
    if edition.profile.kind == RECORDED:
        return _kept_pictures(Atlas(edition.atlas).samples(split))
    # torch: a second, which commands that build no pages need not wait for
    from manifold_utils.datasets import load_dataset

    try:
        data = load_dataset(edition.profile.dataset, edition.given["data_dir"])
    except FileNotFoundError:
        return None
    x = {"train": data.x_train, "test": data.x_test}[split]
    if getattr(x, "ndim", 0) != 4 or x.shape[1] not in (1, 3):
        return None
    return as_bytes(x[data.recorded(split)].numpy().transpose(0, 2, 3, 1))


def _kept_pictures(values):
    """What an import kept of its samples, if it is pictures: (n, height, width) or with 1 or 3 channels last."""
    if values is None or values.ndim not in (3, 4):
        return None
    values = values[..., None] if values.ndim == 3 else values
    return as_bytes(values) if values.shape[3] in (1, 3) else None


def as_bytes(values):
    """Pictures as uint8: bytes that use their range stay; other numbers are stretched from 0 to 255.

    Examples
    --------
    >>> as_bytes(np.array([[[[0.0]], [[0.5]]]])).ravel().tolist()
    [0, 127]
    """
    values = np.asarray(values)
    if values.dtype == np.uint8 and values.max(initial=0) > DIM:
        return values
    low, high = min(0.0, float(values.min(initial=0))), float(values.max(initial=0))
    if values.dtype.kind == "f" and low >= 0:
        high = max(high, 1.0)
    return ((values - low) / (high - low or 1.0) * 255).astype(np.uint8)


def _thumbnail(places, id_, folder):
    """The first figure of a chapter, small; none where it has no figure."""
    found = next((path for figures in places for path in sorted(figures.glob(f"{id_}_*.png"))), None)
    if found is not None:
        with Image.open(found) as image:
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            small.save(folder / f"chapter_{id_}.png")


def _index(staging, edition, jobs, extras, token):
    """The text of the first page."""
    lines = [f"# {edition.book.title}", "", CLAIM, ""]
    if (staging / "_static" / POSTER).is_file():
        said = poster_text(Atlas(edition.atlas))
        picture = f'<a href="explore.html"><img src="_static/{POSTER}" alt="{escape(said)}"></a>'
        link = '<a href="explore.html"><strong>Turn it, colour it, brush it: open the explorer</strong></a>'
        lines += [f'<div data-made-by="{token}">{picture}<p><em>{escape(said)}</em></p><p>{link}</p></div>', ""]
    about = f"Everything below was computed at the profile **{edition.profile.name}**: {edition.profile.description}"
    lines += ["## What this atlas shows", "", about, "", headline_of_atlas(edition.out)]
    lines += ["## Run it yourself", "", *_commands(edition, jobs)]
    lines += ["## The chapters", "", *_table(staging, edition, jobs, token)]
    absent = [c.title for c, several in jobs if not several and edition.lacking(c)]
    if absent:
        lines += ["", f"Left out, since this profile does not have what they are about: {', '.join(absent)}."]
    open_ = [c.title for c, several in jobs if not several and edition.jobs(c)]
    if open_:
        lines += ["", f"Not run yet: {', '.join(open_)}."]
    links = [f'<a href="{name if "." in name else name + ".html"}">{title}</a>' for title, name in extras]
    if links:
        lines += ["", f'<p data-made-by="{token}">Reference and teaching: {", ".join(links)}.</p>', ""]
    for kind, caption in PARTS.items():
        entries = [(c, job) for c, several in jobs for job in several if c.kind == kind and not job.space]
        if entries:
            lines += ["", "```{toctree}", ":maxdepth: 1", ":hidden:", f':caption: "{caption}"', ""]
            lines += [*(f"{c.id} {c.title} <{job.name}>" for c, job in entries), "```", ""]
    listed = [f"{title} <{name}>" for title, name in extras if "." not in name]
    if listed:
        head = ["```{toctree}", ":maxdepth: 1", ":hidden:", ':caption: "Reference and teaching"', ""]
        lines += ["", *head, *listed, "```"]
    return "\n".join(lines)


def _commands(edition, jobs):
    minutes = sum(chapter.minutes for chapter, several in jobs if several)
    return [
        "A machine needs Python 3.11, make, gcc and git, and nothing else:",
        "",
        "```shell",
        f"make book PROFILE={edition.profile.name}    # runs every chapter and builds these pages",
        "make lab                      # opens the notebooks in JupyterLab",
        "```",
        "",
        f"The default book takes about {minutes:.0f} minutes on two cores. A run that is interrupted resumes.",
        "",
    ]


def _table(staging, edition, jobs, token):
    """The chapters with their pictures and questions, as HTML."""
    rows = []
    for kind, caption in PARTS.items():
        listed = [(c, several) for c, several in jobs if several and c.kind == kind]
        rows += [f'<tr class="part"><td colspan="4">{escape(caption)}</td></tr>'] if listed else []
        for chapter, several in listed:
            question = read_notebook(edition.book.path(chapter)).cells[0].source.splitlines()[0].removeprefix("# ")
            picture = f"chapter_{chapter.id}.png"
            shown = f'<img src="_static/{picture}" alt="">' if (staging / "_static" / picture).is_file() else ""
            link = f'<a href="{several[0].name}.html">{escape(chapter.title)}</a>'
            rows.append(
                f"<tr><td>{shown}</td><td>{chapter.id}</td><td>{link}<br>{escape(question)}</td>"
                f'<td class="minutes">{chapter.minutes:g} min</td></tr>'
            )
    return [f'<table class="chapters" data-made-by="{token}">', *rows, "</table>"]
