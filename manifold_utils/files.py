"""Small pieces that every writer of files shares: where the project keeps its data, hashes, atomic writes.

A file or folder is first written under a temporary name beside its final one and then renamed, so that a process killed
at any moment leaves either the old content or the new one. A folder that a user names is replaced only where it is
proved to be ours. It does not know what an atlas is (see `atlas`).
"""

import ctypes
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path

from manifold_utils.outside import check_json

TEMPORARY = ".tmp-"
MANIFEST = ".manifold-book.json"  # in a folder that a user named: what we wrote there
CHECKSUM = "checksum"  # the last key of a JSON file
OLD = "old-"  # after the random part of a temporary name: a folder that was moved aside
N_NAMED = 3  # foreign files that an error names
FULL, CLOSED = {errno.ENOSPC, errno.EDQUOT}, {errno.EROFS, errno.EACCES, errno.EPERM}  # a disk; a folder
IN_THE_WAY = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST}  # a folder where a file belongs, or a file for a folder
NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}  # of a file system
NEARLY_FULL = 2**16  # bytes free below which a write that failed without saying why is taken to have met a full disk
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


def _project():
    """The checkout that this file lies in; for an installed package, the folder in which the program was started."""
    checkout = Path(__file__).resolve().parents[1]
    return checkout if (checkout / "notebooks" / "book.yaml").is_file() else Path.cwd()


PROJECT = _project()


def data_root(folder=""):
    """Folder that holds data sets and atlases: `folder` if given, else $MANIFOLD_DATA, else the project's data/."""
    return Path(folder or os.environ.get("MANIFOLD_DATA") or PROJECT / "data").expanduser().resolve()


def out_root():
    """Folder for figures and results that $MANIFOLD_OUT names, or None: then they go into the atlas.

    A class can share one read-only atlas this way, and a sweep over parameters leaves the atlas' own results alone.
    """
    named = os.environ.get("MANIFOLD_OUT", "")
    return Path(named).expanduser().resolve() if named else None


def printable(path):
    """A path as text that can be printed: bytes that are not UTF-8 (names in another encoding) as \\xNN.

    Examples
    --------
    >>> printable(os.fsdecode(b"caf\\xe9.png"))
    'caf\\\\xe9.png'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class CannotWrite(OSError):
    """A disk is full, a folder read-only, a name too long, or something in the way; one line says what, where and what
    to do.

    `errno` is the system's. `needed` is how many bytes are still to be written there, where the caller knows it. It
    travels between processes.
    """

    def __init__(self, path, error, cure="", needed=None):
        path = Path(path)
        folder = next((p for p in (path, *path.parents) if os.path.isdir(p)), Path("/"))
        free = shutil.disk_usage(folder).free
        if error.errno in CLOSED:
            what = f"{folder} is read-only ({os.strerror(error.errno)})"
            cure = cure or "choose another data_dir, or set $MANIFOLD_OUT to a folder for figures and results"
        elif error.errno in IN_THE_WAY:
            what, cure = _in_the_way(path), "move it away and call the same command again"
        elif error.errno == errno.ENAMETOOLONG:
            what, cure = "a name in it is too long for the file system", "give a shorter one (at most 200 bytes)"
        else:
            lacking = (
                f"up to {size_in_words(max(needed - free, 1))} more are needed" if needed else "which is not enough"
            )
            what = f"the disk of {folder} has {size_in_words(free)} free, {lacking}"
            cure = cure or "free some space or choose another data_dir, and call the same command again"
        super().__init__(f"cannot write {path}: {what}; {cure}. What is finished is kept")
        self.errno = error.errno

    def __reduce__(self):
        return _made_again, (str(self), self.errno)

    @staticmethod
    def explains(error, path):
        """Whether an OSError is about a full disk, a closed folder, or what stands where `path` is to be written."""
        if error.errno in IN_THE_WAY:
            named = {str(error.filename), str(error.filename2)}
            return bool(named & {str(one) for one in (path, *Path(path).parents)} and _in_the_way(path))
        folder = next((p for p in Path(path).parents if os.path.isdir(p)), Path("/"))
        unsaid = error.errno is None and shutil.disk_usage(folder).free < NEARLY_FULL  # numpy's, for one
        return not isinstance(error, CannotWrite) and (unsaid or error.errno in FULL | CLOSED | {errno.ENAMETOOLONG})


def _in_the_way(path):
    """What stands where a file or a folder is to be written, in words; "" if nothing does."""
    files = [one for one in (*reversed(Path(path).parents), Path(path)) if os.path.lexists(one) and not one.is_dir()]
    if files:
        return f"{files[0]} is a file, and a folder belongs there"
    return f"{path} is a folder, and a file belongs there" if Path(path).is_dir() else ""


def _made_again(message, number):
    error = CannotWrite.__new__(CannotWrite, message)
    error.args, error.errno = (message,), number
    return error


@contextmanager
def writing(path, cure="", needed=None):
    """Inside, an OSError about a full disk, a read-only folder or something in the way of `path` becomes `CannotWrite`.

    `needed`, called only then, gives the bytes that are still to be written.

    Examples
    --------
    >>> with writing("/some/file"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
        ...
    manifold_utils.files.CannotWrite: cannot write /some/file: the disk of / has ...
    """
    try:
        yield
    except OSError as error:
        if CannotWrite.explains(error, path):
            raise CannotWrite(path, error, cure, needed() if needed else None) from error
        raise


def size_in_words(n_bytes):
    """A number of bytes in the unit that fits.

    Examples
    --------
    >>> size_in_words(0), size_in_words(2_345), size_in_words(1.28e12)
    ('0 B', '2.3 kB', '1.3 TB')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(n_bytes) < 999.5 or unit == "TB":
            return f"{n_bytes:.0f} {unit}" if unit == "B" or n_bytes >= 99.5 else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000


def in_words(seconds):
    """A duration as a reader wants it: seconds below two minutes, then minutes, hours and minutes, days and hours.

    Examples
    --------
    >>> in_words(95), in_words(410), in_words(9000), in_words(12_345_678)
    ('95 s', '7 min', '2 h 30 min', '142 d 21 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h"


@contextmanager
def hold(path, refusal):
    """Hold the lock file `path`; it goes free when the process ends, however it ends.

    A file system without locks (some network mounts) gets a second file beside it, `<path>.held`, which exists only
    while the lock is held; one that a dead process of this machine left is taken over.

    Parameters
    ----------
    path : path
    refusal : str
        Message of the error, with {holder}.

    Raises
    ------
    RuntimeError
        Another process holds it.
    """
    path, me = Path(path), f"process {os.getpid()} on {socket.gethostname()}"
    with ExitStack() as stack:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = stack.enter_context(open(path, "a+", encoding="utf-8"))
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            handle.seek(0)
            raise RuntimeError(refusal.replace("{holder}", handle.read().strip() or "another process")) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            stack.enter_context(_held_by_name(path.with_name(f"{path.name}.held"), me, refusal))
        with writing(path):
            handle.truncate(0)
            handle.write(me)
            handle.flush()
        yield


def hold_folder(path):
    """`hold` the folder `path` for writing, so that a second writer is refused and told who is there."""
    refusal = "is being written by {holder}; wait for it to end, or work in another data_dir"
    return hold(Path(path) / "lock", f"{path} {refusal}")


@contextmanager
def _held_by_name(path, me, refusal):
    """A lock that is the existence of a file."""
    if path.is_file():
        holder = path.read_text(encoding="utf-8", errors="replace").strip()
        found = re.fullmatch(r"process (\d+) on (.*)", holder)
        if not found or found[2] != socket.gethostname() or Path(f"/proc/{found[1]}").exists():
            said = refusal.replace("{holder}", holder or "another process")
            raise RuntimeError(f"{said} (if that process is gone, delete {path})")
        path.unlink()
    with open(path, "x", encoding="utf-8") as handle:
        handle.write(me)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def fingerprint(value, length=16):
    """Hexadecimal SHA-256 (first `length` digits) of any JSON-able value; equal values give equal fingerprints."""
    text = json.dumps(value, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


@contextmanager
def atomic_path(path):
    """Yield a temporary path beside `path`; on a clean exit it takes the place of `path`, on an error it is removed.

    Works for files and folders. A folder that is there already changes places with the new one in one step where the
    system can; elsewhere it is moved aside first, and `remove_leftovers` brings it back if a kill came in between.
    CannotWrite, in one line, if the disk is full or the folder read-only.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{path.name}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            _put(temporary, path)
        finally:
            _remove(temporary)


def _put(temporary, path):
    """`temporary` takes the place of `path`."""
    if not (path.is_dir() and temporary.is_dir()):
        os.replace(temporary, path)
    elif not _exchange(temporary, path):
        old = path.with_name(f"{TEMPORARY}{uuid.uuid4().hex[:8]}-{OLD}{path.name}")
        os.rename(path, old)
        os.rename(temporary, path)
        _remove(old)


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
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists() or path.is_symlink():  # a read-only folder complains even about what is not there
        path.unlink(missing_ok=True)


def remove_leftovers(folder, named=None):
    """Clear what killed writers left under `folder` (temporary names only). Call it while holding the atlas' lock.

    A folder that was moved aside, and whose place is empty, goes back to it. In a folder that a user chose, `named`, a
    regular expression of the final names that are written there, tells our leftovers from what is somebody else's.
    """
    for path in Path(folder).glob(f"{TEMPORARY}*"):
        if named and not re.fullmatch(rf"{re.escape(TEMPORARY)}[0-9a-f]{{8}}-({OLD})?({named})", path.name):
            continue
        aside = re.fullmatch(rf"{re.escape(TEMPORARY)}[0-9a-f]{{8}}-{OLD}(.+)", path.name)
        if aside and not path.with_name(aside[1]).exists():
            os.rename(path, path.with_name(aside[1]))
        else:
            _remove(path)


def write_json(path, value):
    """Write `value` as indented JSON to `path`, atomically; a dictionary gets a checksum as its last key.

    NaN and infinity are refused: write None or a text.
    """
    stamp = {CHECKSUM: fingerprint(value)} if isinstance(value, dict) else {}
    text = json.dumps({**value, **stamp} if stamp else value, indent=1, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path):
    """Read one JSON file; a damaged one (no JSON, or not what its checksum says) is named in the ValueError.

    A file without a checksum, older or from elsewhere, is read as it is.
    """
    check_json(path)
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        checksum = value.pop(CHECKSUM, None) if isinstance(value, dict) else None
        if checksum is not None and checksum != fingerprint(value):
            raise ValueError("it does not agree with its checksum")
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are kinds of it
        raise ValueError(f"{path} is damaged ({error}); delete it and run its chapter again") from error
    return value
