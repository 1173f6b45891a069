"""A committed run of the book, for readers who run nothing: notebooks/reference/<profile>/ with numbers and notebooks.

`publish` takes the results (NN.json) and the executed notebooks of an atlas, makes their pictures small, drops what
belongs to one machine or needs a live page, and stamps each file with the hash of the code that made it. `stale` tells
which published chapters are no longer what their source would give. It runs nothing and needs nothing but the atlas.
"""

import base64
import json
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import nbformat

from manifold_utils.atlas import Atlas
from manifold_utils.book.contents import NOTEBOOKS, PLACES, Book, Job, code_cells, read_notebook, tags
from manifold_utils.book.front import POSTER, draw_poster
from manifold_utils.book.jobs import ALTERED, with_outputs_of
from manifold_utils.files import PROJECT, atomic_path, fingerprint, read_json, remove_leftovers
from manifold_utils.profiles import PROFILE_FOLDER, RECORDED, Profile

REFERENCE = NOTEBOOKS / "reference"
STAMP = "manifold"  # key of a published notebook's metadata; a file of results carries its hash under "code"
BUDGET = 8_000_000  # bytes of one profile's folder
WIDTHS = (900, 800, 700, 600, 500, 400)  # pixels of the widest picture; the first that keeps to the budget is taken
N_NAMED = 5  # largest files that an error names
N_COLOURS, JPEG_QUALITY = 256, 82
PHOTOGRAPH = 50_000  # a picture with more colours than this is not drawn
PNG_WORTH = 1.5  # times the size of the JPEG that a PNG may have
PICTURES = ("image/png", "image/jpeg")
PLOTLY = "application/vnd.plotly.v1+json"
# Absolute paths in outputs. Web addresses, fractions and closing tags are none; what every system has says nothing.
PATH = re.compile(r"(?<![\w.~:/<*)\]}-])/[\w.@+-]+(?:/[\w.@+-]+)+")
TOP_FOLDERS = {"home", "Users", "root", "tmp", "private", "var", "opt", "mnt", "media", "srv", "scratch"}
SYSTEM_FOLDERS = {"usr", "bin", "lib", "etc", "dev", "proc"}
PANDAS_STYLE = re.compile(r"<style scoped>.*?</style>\s*", re.S)


@dataclass
class Published:
    """What `publish` wrote: {file name: bytes}, width of the pictures, {job: why} of what it left out, and the jobs
    whose notebook is the same as when it ran, while something that it uses (the package, what it needs) is not."""

    folder: Path
    sizes: dict
    width: int
    left_out: dict
    outrun: list

    def __str__(self):
        lines = [
            f"{len(self.sizes)} files, {sum(self.sizes.values()) / 1e6:.1f} MB, pictures at most {self.width} pixels "
            f"wide: {self.folder}"
        ]
        lines += [f"left out {name}: {reason}" for name, reason in self.left_out.items()]
        if self.outrun:
            lines.append(
                "published, but something they use has changed since they ran (python -m manifold_utils status says "
                f"what): {', '.join(self.outrun)}"
            )
        return "\n".join(lines)


def publish(edition, folder=REFERENCE, budget=BUDGET):
    """Write what is finished of an atlas to `folder`/<profile>/: NN.json, NN_name.ipynb and the front's picture.

    Parameters
    ----------
    edition : Edition
    folder : path
    budget : int
        Bytes that the profile's folder may hold. Pictures get narrower, step by step, until it does.

    Returns
    -------
    Published
        Chapters that have not been run, or whose code has changed since, are left out and named. What was published
        of them before stays.

    Raises
    ------
    ValueError
        Nothing is finished; the budget is too small even for the narrowest pictures (names the largest files); an
        output holds a path of this machine; a file in the way is not one of ours.
    """
    if edition.profile.kind == RECORDED:
        raise ValueError(
            f"{edition.profile.name!r} is an atlas of recorded runs, and {folder} holds the book's own: share its "
            "pages instead (html --out FOLDER)"
        )
    target = Path(folder) / edition.profile.name
    ready, left_out = _ready(edition)
    if not ready:
        raise ValueError(f"no chapter is finished at profile {edition.profile.name!r}: call `make run` first")
    texts, width = _within(budget, edition, ready, target)
    foreign = [name for name in texts if (target / name).exists() and _stamp(target / name) is None]
    if foreign:
        raise ValueError(f"{target} has files that were not published from an atlas: {', '.join(foreign)}; move them")
    target.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    for name, text in texts.items():
        with atomic_path(target / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    for path in _obsolete(edition, target):
        path.unlink()
    if (edition.atlas / "embeddings").is_dir():
        draw_poster(Atlas(edition.atlas), target / POSTER)
    outrun = [job.name for job in ready if edition.why(job)]
    return Published(target, {name: len(text.encode()) for name, text in texts.items()}, width, left_out, outrun)


def _within(budget, edition, ready, target):
    """({file name: text}, width): what will be written, with the widest pictures that keep the folder to the budget."""
    numbers, gone = _numbers(edition, ready), _obsolete(edition, target)
    present = {p.name: p.stat().st_size for p in target.glob("*") if p.is_file() and p not in gone}
    for width in WIDTHS:
        texts = numbers | {f"{job.name}.ipynb": nbformat.writes(_slim(edition, job, width)) + "\n" for job in ready}
        stays = {name: size for name, size in present.items() if name not in texts}
        sizes = stays | {name: len(text.encode()) for name, text in texts.items()}
        if sum(sizes.values()) <= budget:
            return texts, width
    largest = sorted(sizes, key=sizes.get, reverse=True)[:N_NAMED]
    raise ValueError(
        f"profile {edition.profile.name!r} takes {sum(sizes.values()) / 1e6:.2f} MB even with pictures {width} pixels "
        f"wide, and {budget / 1e6:.2f} MB are allowed. The largest files: "
        + ", ".join(f"{name} ({sizes[name] / 1e6:.2f} MB)" for name in largest)
    )


def _ready(edition):
    """(jobs that can be published, {name: reason} of the others)."""
    ready, left_out = [], {}
    for job in (job for chapter in edition.book.chapters for job in edition.jobs(chapter)):
        path = edition.executed_path(job)
        if edition.failed_path(job).is_file():
            left_out[job.name] = "it failed"
        elif not path.is_file():
            left_out[job.name] = "it has not been run"
        elif edition.altered(job):
            left_out[job.name] = ALTERED
        elif "by hand" in edition.why(job):
            left_out[job.name] = edition.why(job)
        elif executed_fingerprint(path) != code_fingerprint(edition.book.path(job.chapter)):
            left_out[job.name] = "its code has changed since it was run"
        else:
            ready.append(job)
    return ready, left_out


def code_fingerprint(notebook):
    """Hash of a notebook's code cells: prose and outputs do not count."""
    return fingerprint(code_cells(notebook))


def executed_fingerprint(notebook):
    """`code_fingerprint` of the source that an executed notebook was made from: without the injected parameters."""
    cells = [c for c in read_notebook(notebook).cells if c.cell_type == "code" and "injected-parameters" not in tags(c)]
    return fingerprint([cell.source for cell in cells])


def _numbers(edition, ready):
    """{file name: text} of the results of some jobs' chapters, stamped."""
    texts = {}
    for id_ in sorted({job.chapter.id for job in ready}):
        path = edition.out / "results" / f"{id_}.json"
        if path.is_file():
            stamped = {**read_json(path), "code": code_fingerprint(edition.book.path(edition.book.by_id[id_]))}
            texts[path.name] = json.dumps(_clean(stamped, edition, path.name), indent=1, allow_nan=False) + "\n"
    return texts


def _slim(edition, job, width):
    """The executed notebook of a job with its source's prose, small pictures, and nothing of this machine."""
    source, path = read_notebook(edition.book.path(job.chapter)), edition.executed_path(job)
    node = with_outputs_of(source, read_notebook(path))
    made_by = {"code": code_fingerprint(source), "chapter": job.chapter.id, "profile": edition.profile.name}
    kept = {key: node.metadata[key] for key in ("kernelspec", "language_info") if key in node.metadata}
    node.metadata = nbformat.from_dict({**kept, STAMP: made_by})
    for cell in node.cells:
        cell.metadata.pop("execution", None)
        if "injected-parameters" in tags(cell):
            cell.source = _clean(_without_places(cell.source, edition), edition, path.name)
        if cell.cell_type == "code":
            shown = [_small(output, edition, job, width) for output in cell.outputs if not _is_noise(output)]
            cell.outputs = [nbformat.from_dict(_clean(output, edition, path.name)) for output in shown]
    return node


def _without_places(source, edition):
    """Injected parameters less those that say where things lie; a profile's file becomes its name."""
    lines = [line for line in source.splitlines() if line.partition(" =")[0] not in PLACES]
    return "\n".join(lines).replace(edition.profile_name, edition.profile.name)


def _is_noise(output):
    """Standard error (progress bars and warnings), and live widgets."""
    widget = any("jupyter.widget" in mime for mime in output.get("data", {}))
    return output.get("name") == "stderr" or widget


def _small(output, edition, job, width):
    """An output with its picture re-encoded; an interactive figure becomes a line that says where it is."""
    data = output.get("data", {})
    if PLOTLY in data or "<script" in "".join(data.get("text/html", "")):
        note = (
            f"*The interactive figure is left out here. `make book PROFILE={edition.profile.name}` builds pages that "
            f"have it, in chapter {job.chapter.id}.*"
        )
        return {**output, "data": {"text/markdown": note, "text/plain": note.strip("*")}, "metadata": {}}
    found = next((mime for mime in PICTURES if mime in data), None)
    if found is None:
        return output
    mime, picture = small_picture(base64.b64decode(data[found]), width)
    rest = {key: value for key, value in data.items() if key not in PICTURES}
    about = {mime if key == found else key: value for key, value in output.get("metadata", {}).items()}
    return {**output, "data": {mime: base64.b64encode(picture).decode(), **rest}, "metadata": about}


def small_picture(data, width):
    """A picture scaled down to `width` pixels at most, as a PNG of few colours, or as a JPEG if it is a photograph.

    Parameters
    ----------
    data : bytes of a PNG or JPEG file; what is transparent becomes white
    width : int, pixels

    Returns
    -------
    str, bytes
        "image/png" or "image/jpeg", and the file. A PNG is taken unless it is `PNG_WORTH` times as large, since a JPEG
        blurs lines and the colours of small points.
    """
    from PIL import Image

    with Image.open(BytesIO(data)) as opened:
        layered = opened.convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    jpeg, png = BytesIO(), BytesIO()
    picture.save(jpeg, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    if picture.getcolors(PHOTOGRAPH) is not None:
        # Pillow's default (median cut) merges rare colours: a few points of one architecture would take another's.
        # One step of k-means brings the large areas, such as grey bands, back to their own colour.
        few = picture.quantize(N_COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
        few.save(png, "PNG", optimize=True)
        if png.tell() <= PNG_WORTH * jpeg.tell():
            return "image/png", png.getvalue()
    return "image/jpeg", jpeg.getvalue()


def _clean(value, edition, where):
    """`value` with the folders of this run named as a reader has them; any other path of a machine is refused."""
    if isinstance(value, dict):
        return {k: v if k in PICTURES else _clean(v, edition, where) for k, v in value.items()}
    if isinstance(value, list):
        return [_clean(item, edition, where) for item in value]
    if not isinstance(value, str):
        return value
    known = {edition.atlas.parents[1]: "data", PROJECT: ".", Path.home(): "~"}
    for path in sorted(known, key=lambda p: len(str(p)), reverse=True):
        value = re.sub(rf"{re.escape(str(path))}(?=[/\s'\"<),;:]|$)", known[path], value)
    left = [path for path in PATH.findall(value) if _of_a_machine(path)]
    if left:
        raise ValueError(f"{where} has a path of this machine in an output, {left[0]!r}: mend the cell that shows it")
    return PANDAS_STYLE.sub("", value)


def _of_a_machine(path):
    top = path.split("/")[1]
    return top in TOP_FOLDERS or (top not in SYSTEM_FOLDERS and Path("/", top).is_dir())


def _stamp(path):
    """The hash that a published file carries; None for a file of another origin."""
    try:
        found = read_json(path)
        return found["metadata"][STAMP]["code"] if path.suffix == ".ipynb" else found["code"]
    except (KeyError, TypeError, ValueError, OSError):
        return None


def _names(book, jobs_of):
    """{chapter id: names of its published files} of all chapters that have jobs."""
    names = {}
    for chapter in book.chapters:
        jobs = jobs_of(chapter)
        if jobs:
            names[chapter.id] = [f"{chapter.id}.json", *(f"{job.name}.ipynb" for job in jobs)]
    return names


def _obsolete(edition, target):
    """Published files of chapters or jobs that the book no longer has at this profile; files of others are none."""
    wanted = {name for several in _names(edition.book, edition.jobs).values() for name in several}
    suspects = [path for path in target.glob("*") if path.suffix in (".json", ".ipynb") and path.name not in wanted]
    return [path for path in suspects if _stamp(path) is not None]


def stale(folder, book=None):
    """Which chapters of a published profile are not what their source would give.

    Parameters
    ----------
    folder : path, named like its profile
    book : Book, optional

    Returns
    -------
    dict of chapter id -> reason
        "not published", or which file is missing or was made by other code. Chapters that the profile leaves out (it
        lacks their grid) are not asked for.
    """
    folder, book = Path(folder), book or Book()
    path, found = PROFILE_FOLDER / f"{folder.name}.yaml", {}
    profile = Profile.load(str(path)) if path.is_file() else None
    for id_, names in _names(book, lambda chapter: book.jobs(chapter, profile) if profile else [Job(chapter)]).items():
        code = code_fingerprint(book.path(book.by_id[id_]))
        absent = [name for name in names if not (folder / name).is_file()]
        other = [name for name in names if name not in absent and _stamp(folder / name) != code]
        if absent == names:
            found[id_] = "not published"
        elif absent or other:
            found[id_] = f"{absent[0]} is missing" if absent else f"{other[0]} was made by other code"
    return found


def how_to_mend(folder, ids):
    """The command that brings stale chapters of a published profile up to date."""
    name = Path(folder).name
    return (
        f"python -m manifold_utils run --profile {name} {' '.join(ids)} && "
        f"python -m manifold_utils publish --profile {name}"
    )
