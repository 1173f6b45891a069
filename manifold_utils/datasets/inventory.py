"""What the book knows of its data sets on this machine: there, missing or incomplete, where, and how to get them.

`python -m manifold_utils data` prints it. Files are looked at as `places` does, by name and size; none is decoded, and
nothing is downloaded.
"""

from dataclasses import dataclass

from manifold_utils.datasets.places import IncompleteData, find_cifar10, find_fashion, find_image_folder
from manifold_utils.files import data_root

FINDERS = {"fashion": find_fashion, "cifar10": find_cifar10, "imagefolder": find_image_folder}
BUILT_IN = {  # need no files
    "digits": ("inside scikit-learn: 8x8 grey, 10 classes", "1,797"),
    "sloppy": ("made by the code from a seed: 200 inputs, 5 classes", "any number"),
}
HEADINGS = ("data set", "state", "images", "where", "profiles")


@dataclass(frozen=True)
class Shelf:
    """One data set: its state ("there", "missing", "incomplete", "damaged"), number of images (train + test), where it
    lies or was looked for, and, if it cannot be used, what is wrong and how to mend it."""

    name: str
    state: str
    images: str
    where: str
    problem: str = ""


def inventory(data_dir=""):
    """List of a `Shelf` for each data set that a profile may name, the built-in ones first.

    Examples
    --------
    >>> {shelf.name: shelf.state for shelf in inventory("/nowhere")}["digits"]
    'there'
    """
    shelves = [Shelf(name, "there", images, where) for name, (where, images) in BUILT_IN.items()]
    return shelves + [_look(name, find, data_root(data_dir) / name) for name, find in FINDERS.items()]


def _look(name, find, folder):
    try:
        found = find(folder)
    except IncompleteData as error:
        return Shelf(name, "incomplete", "-", str(folder), str(error))
    except FileNotFoundError as error:
        return Shelf(name, "missing", "-", str(folder), str(error))
    except ValueError as error:
        return Shelf(name, "damaged", "-", str(folder), str(error))
    counts = [found.count(split) for split in ("train", "test")]
    images = "not counted" if None in counts else " + ".join(f"{n:,}" for n in counts)
    return Shelf(name, "there", images, f"{found.place} ({found.layout})")


def table(shelves, profiles=()):
    """The inventory as text: one row a data set, then a paragraph for each that cannot be used.

    Parameters
    ----------
    shelves : list of Shelf
    profiles : sequence of Profile, optional
        Named beside the data sets that they use.
    """
    users = {shelf.name: [] for shelf in shelves}
    for profile in profiles:
        for name in dict.fromkeys(dataset.name for dataset, _ in profile.spaces().values()):
            users[name].append(profile.name)
    rows = [HEADINGS, *((s.name, s.state, s.images, s.where, ", ".join(users[s.name])) for s in shelves)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    problems = [s.problem for s in shelves if s.problem]  # one line each, since commands in them are copied
    return "\n\n".join(["\n".join(lines), *problems])
