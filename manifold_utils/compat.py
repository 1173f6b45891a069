"""Two repairs: torchvision beside a CPU build of torch, and numba where no folder for its cache can be written.

The registry's torchvision is compiled against a CUDA torch; next to a CPU torch its C++ library is not loaded, and the
import stops with "operator torchvision::nms does not exist". Declaring the schemas of the two operators that it
registers Python kernels for is enough. It provides no kernels: calling nms still fails, and nothing in this project
calls it. numba keeps compiled functions beside the code or in the home folder, and stops where both are read-only.
"""

import importlib
import os
import stat
import sys
import tempfile
from pathlib import Path

MISSING_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
CACHE_VARIABLE = "NUMBA_CACHE_DIR"
_LIBRARIES = []  # a library's declarations vanish when it is collected, so they are kept for the life of the process


def import_torchvision():
    """Import and return torchvision; the missing operators are declared first, only when the import needs it.

    Raises
    ------
    ImportError
        torchvision is not installed, or does not fit the installed torch for another reason.

    Examples
    --------
    >>> import_torchvision().__name__
    'torchvision'
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise ImportError(f"torchvision does not fit the installed torch: {error}") from error
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for schema in MISSING_OPERATORS:
        library.define(schema)
    _LIBRARIES.append(library)
    return importlib.import_module("torchvision")


def give_numba_a_cache(package=Path(__file__).parent):
    """Name a temporary folder as numba's cache if it could write neither beside the package nor in the home folder.

    The folder belongs to this user alone, because numba runs what it finds there. Worker processes inherit it.

    Returns
    -------
    str : the folder; "" if numba finds its own
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if os.environ.get(CACHE_VARIABLE) or _can_write(package / "distances" / "__pycache__") or _can_write(Path(home)):
        return ""
    folder = _own_folder(Path(tempfile.gettempdir()) / f"manifold-numba-{getattr(os, 'getuid', int)()}")
    os.environ[CACHE_VARIABLE] = folder
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = folder
    return folder


def _can_write(folder):
    there = next(p for p in (folder, *folder.parents) if p.exists())
    return os.access(there, os.W_OK)


def _own_folder(path):
    """`path` if it is, or can be made, a folder that only this user can write; else a new folder with another name."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return str(path)
    except (OSError, AttributeError):  # a file in the way; a system without user numbers
        pass
    return tempfile.mkdtemp(prefix="manifold-numba-")
