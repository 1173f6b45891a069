"""Small pieces that every writer of files shares: where the project keeps its data, hashes, atomic writes.

A file or folder is first written under a temporary name beside its final one and then renamed, so that a process killed
at any moment leaves either the old content or the new one. A folder that a user names is replaced only where it is
proved to be ours. It does not know what an atlas is (see `atlas`).
"""

import ctypes
import hashlib
import json
import os
import re
import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path

from manifold_utils.outside import check_json

TEMPORARY = ".tmp-"
MANIFEST = ".manifold-book.json"  # in a folder that a user named: what we wrote there
OLD = "old-"  # after the random part of a temporary name: a folder that was moved aside
N_NAMED = 3  # foreign files that an error names
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


def _project():
    """The checkout that this file lies in; for an installed package, the folder in which the program was started."""
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "notebooks" / "book.yaml").is_file() else Path.cwd()


PROJECT = _project()


def data_root(folder=""):
    """Folder that holds data sets and atlases: `folder` if given, else $MANIFOLD_DATA, else the project's data/."""
    return Path(folder or os.environ.get("MANIFOLD_DATA") or PROJECT / "data").expanduser().resolve()


def fingerprint(value, length=16):
    """Hexadecimal SHA-256 (first `length` digits) of any JSON-able value; equal values give equal fingerprints."""
    text = json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@contextmanager
def atomic_path(path):
    """Yield a temporary path beside `path`; on a clean exit it takes the place of `path`, on an error it is removed.

    Works for files and folders. A folder that is there already changes places with the new one in one step where the
    system can; elsewhere it is moved aside first, and `remove_leftovers` brings it back if a kill came in between.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        if not (path.is_dir() and temporary.is_dir()):
            os.replace(temporary, path)
        elif not _exchange(temporary, path):
            old = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{OLD}{path.name}")
            os.rename(path, old)
            os.rename(temporary, path)
            _remove(old)
    finally:
        _remove(temporary)


def _exchange(one, other):
    """Two paths change places in one step; False where the system cannot."""
    try:
        swap = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or an older C library
        return False
    return swap(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


@contextmanager
def owned_folder(path):
    """`atomic_path` for a folder that a user named: it takes the place of an empty folder, or of one that we wrote.

    What we write is listed in `MANIFEST`, so that a file which somebody else added is found.

    Raises
    ------
    FileExistsError
        Before anything is written: `path` holds what this project did not make; the message names it and the cure.
    """
    path = Path(path)
    refuse_foreign(path, _listed(path))
    with atomic_path(path) as temporary:
        yield temporary
        files = sorted(str(p.relative_to(temporary)) for p in temporary.rglob("*") if not p.is_dir())
        write_json(temporary / MANIFEST, {"files": files})


def _listed(path):
    return {MANIFEST, *read_json(path / MANIFEST)["files"]} if (path / MANIFEST).is_file() else set()


def refuse_foreign(path, ours):
    """FileExistsError if `path` is a file, or a folder that holds other files than `ours` (relative names)."""
    path = Path(path)
    if not path.is_dir():
        if path.exists() or path.is_symlink():
            raise FileExistsError(f"{path} is a file, and a folder is to be written there; give another name")
        return
    found = (p for p in path.rglob("*") if p.is_symlink() or not p.is_dir())
    foreign = sorted(str(p.relative_to(path)) for p in found if str(p.relative_to(path)) not in ours)
    if foreign:
        more = f" and {len(foreign) - N_NAMED} more" if len(foreign) > N_NAMED else ""
        raise FileExistsError(
            f"{path} holds files that were not made here ({', '.join(foreign[:N_NAMED])}{more}), and replacing the "
            "folder would delete them; give an empty or a new folder, or move these files away"
        )


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder):
    """Clear what killed writers left under `folder` (temporary names only). Call it while holding the atlas' lock.

    A folder that was moved aside, and whose place is empty, goes back to it.
    """
    for path in Path(folder).glob(f"{TEMPORARY}*"):
        aside = re.fullmatch(rf"{re.escape(TEMPORARY)}[0-9a-f]{{8}}-{OLD}(.+)", path.name)
        if aside and not path.with_name(aside[1]).exists():
            os.rename(path, path.with_name(aside[1]))
        else:
            _remove(path)


def write_json(path, value):
    """Write `value` as indented JSON to `path`, atomically. NaN and infinity are refused: write None or a text."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path):
    """Read one JSON file; a damaged one is named in the error."""
    check_json(path)
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged (not JSON: {error}); delete it and run its chapter again") from error
