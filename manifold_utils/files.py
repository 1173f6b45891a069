"""Small pieces that every writer of files shares: where the project keeps its data, hashes, atomic writes.

A file or folder is first written under a temporary name beside its final one and then renamed, so that a process killed
at any moment leaves either the old content or the new one. It does not know what an atlas is (see `atlas`).
"""

import hashlib
import json
import os
import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp-"


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
    """Yield a temporary path beside `path`; on a clean exit it is renamed to `path`, on an error it is removed.

    Works for files and folders. An existing folder is moved aside before the rename, since a folder cannot be replaced
    in one step.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield temporary
        if path.is_dir() and temporary.is_dir():
            old = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{path.name}")
            os.rename(path, old)
            os.rename(temporary, path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, path)
    finally:
        _remove(temporary)


def _remove(path):
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder):
    """Delete what killed writers left under `folder` (temporary names only). Call it while holding the atlas' lock."""
    for path in Path(folder).glob(f"{TEMPORARY}*"):
        _remove(path)


def write_json(path, value):
    """Write `value` as indented JSON to `path`, atomically. NaN and infinity are refused: write None or a text."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path):
    """Read one JSON file; a damaged one is named in the error."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged (not JSON: {error}); delete it and run its chapter again") from error
