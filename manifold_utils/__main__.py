"""The book at the command line: `python -m manifold_utils COMMAND`. Every command is a thin skin over a function.

Errors that a reader can mend end with one line and exit status 2; a book with failed chapters ends with status 1; an
interrupted one with 130 (Ctrl-C) or 143 (SIGTERM), after its kernels have been ended.
"""

import argparse
import functools
import os
import shlex
import signal
import sys
from pathlib import Path

import yaml

from manifold_utils.book import (
    BookFailed,
    Edition,
    Terminal,
    badges,
    book_status,
    pages,
    publishing,
    run_book,
    settings,
    slides,
    twins,
)
from manifold_utils.book import student as students
from manifold_utils.files import data_root
from manifold_utils.profiles import PROFILE_FOLDER, RECORDED, Profile
from manifold_utils.strict_yaml import load_yaml, what_is_wrong

# Options that are paths.
PATHS = ("profile", "data_dir", "out", "teacher", "runs", "predictions", "labels", "classes", "samples")


def run(options):
    """Run the book, then say where things are."""
    parameters = dict(_assignment(text) for text in options.parameter)
    edition = _edition(options, client=options.client, parameters=parameters)
    how = {"jobs": options.jobs, "force": options.force, "only": options.only, "listener": Terminal()}
    try:
        outcomes = run_book(edition, options.chapters, **how)
    except BookFailed as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    counts = {status: sum(o.status == status for o in outcomes) for status in dict.fromkeys(o.status for o in outcomes)}
    print(", ".join(f"{n} {status}" for status, n in counts.items()))
    print(f"executed notebooks: {edition.output}\nfigures:            {edition.out / 'figures'}")
    return 0


def status(options):
    """One line a job. With --deep, everything stored is read against its checksums; status 1 if a part is damaged."""
    edition = _edition(options)
    for name, state, reason in book_status(edition):
        print(f"{state:7} {name}" + (f": {reason}" if reason else ""))
    found = edition.damaged() if options.deep else []
    print(*(f"damaged {message}" for message in found), sep="\n", end="\n" if found else "")
    return 1 if found else 0


def sync(options):
    """Mend the twins."""
    done = twins.sync(source=options.source)
    print("\n".join(done) or "all notebooks and their text twins are in step")
    return 0


def check_twins(options):
    """Exit 1 if a pair of twins is out of step."""
    found = twins.problems()
    print("\n".join([*found, "mend with: make sync"]) if found else "all notebooks and their text twins are in step")
    return 1 if found else 0


def apply_settings(options):
    """Set up git and JupyterLab so that running a chapter changes nothing in git (`make env` calls it)."""
    print("\n".join(settings.apply()))
    return 0


def print_badges(options):
    """Badges that open the book in Binder and Colab, for the README of a repository on GitHub."""
    print(badges.markdown(*badges.remote()))
    return 0


def student(options):
    """Write the student edition: chapters without solutions, their twins, a README, and pages if the book has run."""
    written = students.write_student_edition(options.out)
    print(f"{len(written)} notebooks without solutions: {Path(options.out).resolve()}")
    if options.teacher:
        students.write_teacher_copy(options.teacher)
        print(f"with solutions, for nbgrader: {Path(options.teacher).resolve()}")
    edition = _edition(options)
    if edition.unexecuted():
        print(f"no pages: the chapters have not all run at profile {edition.profile.name!r}; call: make book")
    else:
        adapted = functools.partial(students.for_students, keep_outputs=True)
        print(f"pages: {pages.build_html(edition, str(Path(options.out) / 'html'), adapted=adapted)}")
    return 0


def make_slides(options):
    """Write the slides of the lecture, from chapter 00 as it ran at a profile; they need no network."""
    print(f"slides:             {slides.build_slides(_edition(options), options.out)}")
    return 0


def html(options):
    """Build the HTML book. Notebooks from elsewhere get neither scripts nor files of this machine into its pages."""
    print(f"HTML book:          {pages.build_html(_edition(options), options.out)}")
    return 0


def plan(options):
    """What a profile would cost, before anything starts."""
    from manifold_utils.training.planning import plan as cost  # torch: seconds that no other command should wait for

    profile = Profile.load(options.profile, options.data_dir)
    recorded = f"{profile.name} holds runs that were made elsewhere: there is nothing to train"
    print(recorded if profile.kind == RECORDED else cost(profile, data_dir=options.data_dir))
    return 0


def data(options):
    """Which data sets are there, which are missing or incomplete, and how to get them."""
    from manifold_utils.datasets import inventory, readers  # torch: seconds that no other command should wait for

    if options.download:
        folder, (_, megabytes) = data_root(options.data_dir) / options.download, readers.DOWNLOADS[options.download]
        state = next(shelf.state for shelf in inventory.inventory(options.data_dir) if shelf.name == options.download)
        if state == "there":
            print(f"{options.download} is there already; nothing is downloaded")
        else:
            print(f"downloading {options.download}, {megabytes} MB, into {folder}", flush=True)
            readers.fetch(options.download, folder)
    profiles = [Profile.load(path.stem) for path in sorted(PROFILE_FOLDER.glob("*.yaml"))]
    print(inventory.table(inventory.inventory(options.data_dir), profiles))
    return 0


def import_(options):
    """Make an atlas of runs that were made anywhere, from a table and files of predictions."""
    from manifold_utils.recording.importing import import_runs  # torch: seconds that no other command should wait for

    names = ("split", "steps", "epochs", "classes", "samples", "kind", "family", "seed", "description", "smoothing")
    given = {name: getattr(options, name) for name in (*names, "replace", "trust", "data_dir")}
    factors = [factor.strip() for factor in options.factors.split(",")] if options.factors else None
    where = options.runs, options.predictions, options.labels
    atlas, intake = import_runs(options.name, *where, factors=factors, show_progress=True, **given)
    print("\n".join([intake.summary(), *(f"warning: {sentence}" for sentence in intake.doubts)]))
    place = f" --data-dir {shlex.quote(options.data_dir)}" if options.data_dir else ""
    print(f"atlas:              {atlas.path}")
    print(f"next:               python -m manifold_utils run --profile {options.name}{place}")
    return 0


def example(options):
    """24 small runs of six kinds of learners, made in a minute: an atlas of runs like yours, chapters 40 and 44."""
    from manifold_utils.recording.example import make_atlas  # torch: seconds that no other command should wait for

    atlas = make_atlas(data_dir=options.data_dir, show_progress=True)
    print(f"{len(atlas.runs)} runs, {len(atlas.points)} points: {atlas.path}")
    rest = {"chapters": ["40", "44"], "parameter": [], "client": "", "force": False, "only": False, "out": ""}
    for name, value in {"profile": atlas.path.name, **rest}.items():
        setattr(options, name, value)
    return run(options) or html(options)


def contact_sheet(options):
    """All figures in one picture."""
    atlas = _edition(options).out
    path = Path(options.out or atlas / "contact_sheet.png")
    pages.contact_sheet(atlas / "figures", path)
    print(f"contact sheet:      {path}")
    return 0


def publish(options):
    """Take this atlas' numbers and executed notebooks, with small pictures, into notebooks/reference."""
    print(publishing.publish(_edition(options)))
    print("fill the README's tables with: python -m manifold_utils readme")
    return 0


def readme(options):
    """Fill the README's generated tables from book.yaml and the published run."""
    print("README.md written" if pages.write_readme() else "README.md is in step")
    return 0


def _edition(options, **given):
    return Edition(options.profile, data_dir=options.data_dir, **given)


def _assignment(text):
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise ValueError(f"-p {text}: expected name=value")
    try:
        return name, load_yaml(value) if value else ""
    except yaml.YAMLError as error:
        raise ValueError(f"-p {text}: the value is not YAML ({what_is_wrong(error)}); put it in quotes") from error


def _parser():
    parser = argparse.ArgumentParser(prog="python -m manifold_utils", description="The manifold book.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, function, *, with_profile=True):
        sub = commands.add_parser(name, help=function.__doc__.splitlines()[0], description=function.__doc__)
        sub.set_defaults(function=function)
        if with_profile:
            sub.add_argument("--profile", default="digits", help="name or file of a profile (default: digits)")
            sub.add_argument("--data-dir", default="", help="folder of data sets and atlases (default: data/)")
        return sub

    sub = command("run", run)
    sub.add_argument("chapters", nargs="*", metavar="NN", help="chapters to run, with what they need (default: all)")
    sub.add_argument("--jobs", type=int, default=1, help="jobs side by side")
    sub.add_argument("--force", action="store_true", help="run the chapters also if nothing has changed")
    sub.add_argument("--only", action="store_true", help="run the named chapters only, not what they need")
    sub.add_argument("--client", default="", help="'local', or a scheduler's address (default: as each chapter says)")
    sub.add_argument(
        "-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help="value of a parameter"
    )
    command("status", status).add_argument("--deep", action="store_true", help="read everything against its checksums")
    command("html", html).add_argument("--out", default="", help="folder of the pages (default: html/ in the atlas)")
    command("plan", plan)
    _add_import(command("import", import_, with_profile=False))
    sub = command("example", example, with_profile=False)
    sub.add_argument("--jobs", type=int, default=2, help="jobs side by side")
    sub.add_argument("--data-dir", default="", help="folder of data sets and atlases (default: data/)")
    command("contact-sheet", contact_sheet).add_argument("--out", default="", help="picture (default: in the atlas)")
    command("publish", publish)
    command("readme", readme, with_profile=False)
    sub = command("data", data, with_profile=False)
    sub.add_argument("--data-dir", default="", help="folder of data sets and atlases (default: data/)")
    sub.add_argument("--download", choices=["fashion", "cifar10"], help="let torchvision fetch this one first")
    sides = command("sync", sync, with_profile=False)
    sides.add_argument("--from", dest="source", choices=["py", "ipynb"], help="the side that wins where twins differ")
    command("badges", print_badges, with_profile=False)
    command("settings", apply_settings, with_profile=False)
    command("twins", check_twins, with_profile=False).add_argument("check", choices=["check"])
    sub = command("student", student)
    sub.add_argument("--out", default="build/student", help="folder of the students' edition (default: build/student)")
    sub.add_argument("--teacher", default="", help="folder for a copy with solutions and all checks, for nbgrader")
    command("slides", make_slides).add_argument("--out", default="", help="folder (default: slides/ in the atlas)")
    return parser


def _add_import(sub):
    sub.add_argument("name", metavar="NAME", help="of the atlas: afterwards, run --profile NAME")
    sub.add_argument("--runs", required=True, help="table (.csv, .tsv, .parquet): a column 'run', and the factors")
    files = "pattern of paths, with {run}, {split} (train, test), and {step} or {epoch} where a checkpoint is a file"
    sub.add_argument("--predictions", required=True, help=f"{files}: .npy, .npz, .zarr, .safetensors, .parquet, .csv")
    sub.add_argument("--labels", required=True, help="pattern of files of true classes, with {split}, perhaps {run}")
    kinds = ["logits", "log_probs", "probabilities"]
    sub.add_argument("--kind", default="logits", choices=kinds, help="what the predictions are (default: logits)")
    sub.add_argument("--factors", default="", help="columns that differ between runs, with commas (default: all)")
    sub.add_argument("--family", help="the factor that colours figures (default: 'model' or the like)")
    sub.add_argument("--seed", help="the column that only repeats a run (default: 'seed', if there is one)")
    sub.add_argument("--steps", default="", help="0,10,20 or 0:100:10, a column, or files (default: the files' names)")
    sub.add_argument("--epochs", default="", help="likewise")
    sub.add_argument("--split", default="", help="train or test: what predictions without {split} are on (test)")
    sub.add_argument("--classes", default="", help="text file with the classes' names, a line each")
    sub.add_argument("--samples", default="", help="pattern of pictures of the samples (.npy), with {split}")
    sub.add_argument("--description", default="", help="a sentence about these runs")
    smoothing = "mix predictions with so much ignorance, such as 0.001, where learners give the true class 0"
    sub.add_argument("--smoothing", type=float, default=0.0, help=smoothing)
    sub.add_argument("--replace", action="store_true", help="take runs that changed since they were imported")
    sub.add_argument("--trust", action="store_true", help="believe --kind and the classes' order against the numbers")
    sub.add_argument("--data-dir", default="", help="folder of data sets and atlases (default: data/)")


def _terminated(number, frame):
    raise SystemExit(128 + number)


def main(arguments=None):
    """Parse the command line, call the command, and return the exit status."""
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # `make book &` in a script inherits that it is ignored
    options = _parser().parse_args(arguments)
    for name in set(PATHS) & set(vars(options)):  # a shell leaves `--out=~/x` as it is
        setattr(options, name, os.path.expanduser(getattr(options, name) or ""))
    try:
        return options.function(options)
    except KeyboardInterrupt:
        print("\ninterrupted; what is finished is kept, call the same command to go on", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
