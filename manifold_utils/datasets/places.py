"""Where the files of a data set may lie, whether all of them are there, and how to get what is missing.

Each `find_*` looks at names and sizes of files only, so a half-unpacked folder is refused before anything is decoded
or trained. The layouts are those of data/README.md. It reads no sample (see `readers`) and downloads nothing.
"""

import gzip
import os
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from manifold_utils.files import printable

FASHION_SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
FASHION_FILES = {
    split: (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
    for split, stem in (("train", "train"), ("test", "t10k"))
}
CIFAR_BINARY, CIFAR_PYTHON = "cifar-10-batches-bin", "cifar-10-batches-py"
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR_BATCHES = {"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]}
CIFAR_ROW = 3 * 32 * 32  # bytes of one image
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
NO_CLASSES = ("__MACOSX", "__pycache__", "@eaDir", "lost+found")  # folders that systems leave behind
IMAGE_LAYOUT = "train/<class>/*.jpg|jpeg|png with test/<class>/*.jpg|jpeg|png"
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
N_NAMED = 3  # files or classes that a message names before it says how many there are
N_REASONS = 6  # why files of a class are left out
IDX_HEADER = 8  # bytes up to the number of items


class IncompleteData(FileNotFoundError):
    """Some files of a data set are there and others are not."""


@dataclass(frozen=True)
class Found:
    """A complete set of files: the layout's name, its folder, and the files of each split.

    Attributes
    ----------
    layout : str
    place : pathlib.Path
    files : dict of split -> list of paths; of an image folder all its images, by class and name
    labels : dict of split -> ndarray (n_images,) int64, of an image folder; else empty
    classes : tuple of str, of an image folder; else empty
    left_out : tuple of str, of an image folder: how many files of which class are not read, and why
    """

    layout: str
    place: Path
    files: dict
    labels: dict
    classes: tuple = ()
    left_out: tuple = ()

    def count(self, split):
        """Number of samples of a split, from names, sizes and headers; None where only reading could tell."""
        files = self.files[split]
        if self.labels:
            return len(files)
        if self.layout == CIFAR_BINARY:
            return sum(os.path.getsize(path) for path in files) // (1 + CIFAR_ROW)
        return _idx_items(files[0]) if self.layout == "idx" else None


def _idx_items(path):
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as handle:
            return int.from_bytes(handle.read(IDX_HEADER)[4:], "big")
    except (EOFError, OSError):
        return None


def fashion_places(folder):
    """Folders that may hold the four idx files of Fashion-MNIST, in the order in which they are tried."""
    inner = (folder, folder / "raw", folder / "FashionMNIST" / "raw", folder.parent / "FashionMNIST" / "raw")
    return [*inner, FASHION_SYSTEM_FOLDER]


def find_fashion(folder):
    """The idx files of Fashion-MNIST, plain or .gz: `Found`.

    Raises
    ------
    FileNotFoundError
        None of them is anywhere; IncompleteData if some are. The message says where it was looked and how to get them.
    """
    places, partly = fashion_places(folder), []
    for place in places:
        files = {s: [_plain_or_gz(place / name) for name in names] for s, names in FASHION_FILES.items()}
        absent = [n for s, names in FASHION_FILES.items() for n, f in zip(names, files[s], strict=True) if f is None]
        if not absent:
            return Found("idx", place, files, {})
        if len(absent) < 4:
            partly.append((place, absent))
    names = ", ".join(name for pair in FASHION_FILES.values() for name in pair)
    cure = (
        f"Put the four files ({names}; plain or .gz) into {folder}, or install Debian's package dataset-fashion-mnist, "
        "or let torchvision fetch them (31 MB): python -m manifold_utils data --download fashion"
    )
    if partly:
        place, absent = partly[0]
        raise IncompleteData(f"Fashion-MNIST is incomplete: {place} lacks {', '.join(absent)}. {cure}")
    raise FileNotFoundError(f"Fashion-MNIST is missing. Looked in: {', '.join(map(str, places))}. {cure}")


def _plain_or_gz(path):
    return next((p for p in (path, path.with_name(f"{path.name}.gz")) if p.is_file()), None)


def find_cifar10(folder):
    """CIFAR-10 in the first of its three layouts that is complete: `Found`.

    Raises
    ------
    FileNotFoundError
        It is in no layout; IncompleteData if a layout has gaps, naming what is absent and the cure.
    """
    partly = []
    for kind, end in ((CIFAR_BINARY, ".bin"), (CIFAR_PYTHON, "")):
        place = folder / kind
        if not place.is_dir():
            continue
        files = {split: [place / f"{name}{end}" for name in names] for split, names in CIFAR_BATCHES.items()}
        absent = [path.name for paths in files.values() for path in paths if not path.is_file()]
        if not absent:
            return Found(kind, place, files, {})
        partly.append(f"{place} lacks {', '.join(absent)}")
    if any((folder / name).is_dir() for name in ("train", "test", "val")):
        try:
            return _image_folder(folder, CIFAR_CLASSES)
        except IncompleteData as error:
            partly.append(str(error))
    looked = f"{CIFAR_BINARY}/ (data_batch_1.bin ...), {CIFAR_PYTHON}/ (torchvision's data_batch_1 ...), {IMAGE_LAYOUT}"
    fetched = "let torchvision fetch it (170 MB): python -m manifold_utils data --download cifar10"
    cure = unpack_hint(folder) or f"Put one of these layouts there, whole, or {fetched}"
    if partly:
        raise IncompleteData(f"CIFAR-10 is incomplete: {partly[0]}. {cure}")
    raise FileNotFoundError(f"CIFAR-10 is missing. Looked in {folder} for: {looked}. {cure}")


def find_image_folder(folder):
    """The images of train/<class>/* and test/<class>/* (or val/<class>/*): `Found`, classes sorted by name.

    Raises
    ------
    FileNotFoundError
        There are no images; IncompleteData if a split, or a class of one, has none.
    ValueError
        The test split has a class that the train split has not.
    """
    try:
        return _image_folder(folder)
    except IncompleteData as error:
        cure = unpack_hint(folder) or "Unpack the images again, to the end: both splits need the same classes"
        raise IncompleteData(f"{error}. {cure}") from None


def _image_folder(folder, expected=()):
    """As `find_image_folder`. Of the classes `expected` all must be there if one is; other names are somebody's own."""
    splits, left_out = {}, {}
    for split, names in (("train", ("train",)), ("test", ("test", "val"))):
        place = next((folder / name for name in names if (folder / name).is_dir()), folder / names[0])
        images, left_out[place] = _images_by_class(place)
        splits[split] = place, images
    _refuse_gaps(folder, splits, expected, left_out)
    classes = tuple(splits["train"][1])
    files = {split: [path for name in classes for path in images[name]] for split, (_, images) in splits.items()}
    labels = {
        split: np.repeat(np.arange(len(classes)), [len(images[name]) for name in classes])
        for split, (_, images) in splits.items()
    }
    said = tuple(f"{printable(p)}: {_why(reasons, name)}" for p, of in left_out.items() for name, reasons in of.items())
    return Found(IMAGE_LAYOUT, folder, files, labels, tuple(map(printable, classes)), said)


def _refuse_gaps(folder, splits, expected, left_out):
    empty = [place for place, images in splits.values() if not any(images.values())]
    if len(empty) == 2:
        hint = unpack_hint(folder) or "Put one folder of images a class there"
        seen = "; ".join(_why(reasons, name) for of in left_out.values() for name, reasons in of.items())
        seen = f" It holds {seen}." if seen else ""
        raise FileNotFoundError(f"no images in {folder}: looked for {IMAGE_LAYOUT} (or val/ for test/).{seen} {hint}")
    if empty:
        full = next(place for place, _ in splits.values() if place not in empty)
        raise IncompleteData(f"there are images in {full}, and none in {empty[0]}")
    (_, train), (place, test) = splits.values()
    names = {name for images in (train, test) for name, paths in images.items() if paths}
    classes = sorted(set(train) | (set(expected) if names & set(expected) else set()))
    strange = sorted(printable(name) for name, paths in test.items() if paths and name not in classes)
    if strange:
        raise ValueError(f"{place} has classes that train has not: {strange}")
    for place, images in splits.values():
        absent = [name for name in classes if not images.get(name)]
        if absent:
            seen = [_why(left_out[place][name], name) for name in absent if name in left_out[place]]
            seen = f" ({_some(seen)})" if seen else ""
            names = _some([printable(name) for name in absent])
            raise IncompleteData(f"{place} has no images of {names}{seen}, and {len(classes)} classes are expected")


def _images_by_class(place):
    """Paths of the images in each folder of `place`, by name, and what else lies there: {class: Counter of reasons}.

    os.scandir, since there may be millions. Hidden folders are no classes; pictures in them are counted, so that a
    class whose name begins with a dot is not lost in silence.
    """
    found, left_out = {}, {}
    for entry in _entries(place):
        if _is_kind(entry, "is_dir"):
            found[entry.name], reasons = _images_of_class(entry.path)
        else:
            reasons = Counter({"in no class": 1}) if entry.name.lower().endswith(IMAGE_SUFFIXES) else Counter()
        name = entry.name if _is_kind(entry, "is_dir") else ""
        if reasons:
            left_out[name] = left_out.get(name, Counter()) + reasons
    for entry in _entries(place, hidden=True):
        pictures = [e for e in _entries(entry.path) if e.name.lower().endswith(IMAGE_SUFFIXES)]
        if pictures:
            left_out[entry.name] = Counter({"in a hidden folder": len(pictures)})
    return found, left_out


def _images_of_class(folder):
    """Sorted paths of a class' images, and a Counter of what is not read: suffixes, broken links, deeper images."""
    images, reasons = [], Counter()
    for entry in _entries(folder):
        if _is_kind(entry, "is_dir"):
            deeper = sum(e.name.lower().endswith(IMAGE_SUFFIXES) for e in _entries(entry.path))
            reasons["one folder deeper"] += deeper
        elif not _is_kind(entry, "is_file"):
            reasons["broken link"] += 1
        elif entry.name.lower().endswith(IMAGE_SUFFIXES):
            images.append(entry.path)
        else:
            reasons[os.path.splitext(entry.name)[1].lower() or "without a suffix"] += 1
    return images, +reasons


def _entries(folder, *, hidden=False):
    """Entries of a folder that are not hidden (or those that are), by name; none where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            kept = (e for e in entries if e.name.startswith(".") == hidden and not e.name.startswith(NO_CLASSES))
            return sorted(kept, key=lambda e: e.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_kind(entry, question):
    """`is_dir` or `is_file` of an entry; False for a link that leads round in a circle."""
    try:
        return getattr(entry, question)()
    except OSError:
        return False


def _why(reasons, name):
    """'cat: 3 files left out (.webp: 2, one folder deeper: 1)'."""
    each = ", ".join(f"{reason}: {n}" for reason, n in reasons.most_common(N_REASONS))
    more = ", ..." if len(reasons) > N_REASONS else ""
    total = reasons.total()
    return f"{printable(name) or 'beside the classes'}: {total} file{'s' * (total > 1)} left out ({each}{more})"


def unpack_hint(folder):
    """How to unpack the archives that lie in `folder`; "" if there are none."""
    names = sorted(p.name for p in folder.glob("*") if p.name.endswith(ARCHIVE_SUFFIXES)) if folder.is_dir() else []
    if not names:
        return ""
    patterns = sorted({"*.tar*" if ".tar" in name else f"*{Path(name).suffix}" for name in names})
    call = f'cd {shlex.quote(str(folder))} && for part in {" ".join(patterns)}; do tar -xf "$part"; done'
    return f"Archives lie there, not unpacked or not to the end ({_some(names)}): `{call}`"


def _some(names):
    """The first few of many names."""
    more = f" ... ({len(names)} in all)" if len(names) > N_NAMED else ""
    return ", ".join(map(str, names[:N_NAMED])) + more
