"""One notebook, executed by papermill in a process of its own that is this interpreter and no other.

No installed kernelspec is consulted (a user's broken `python3` cannot interfere), kernel and runner speak through
sockets in a private temporary folder (no ports, nothing in the home folder), and the kernel's whole process group ends
with the job. It knows neither chapters nor their order (see `book`).
"""

import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import DeadKernelError
from papermill import PapermillExecutionError, execute_notebook

from manifold_utils.book.contents import tags
from manifold_utils.files import PROJECT

SOURCE_LINES = 5  # lines of a failing cell that an error report shows
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
SOCKET_PATH = 103  # characters of a Unix socket's path: 107 on Linux, 103 on macOS
PRIVATE_NAME = "book-xxxxxxxx/kernel-ipc-65535"  # as long as the longest name in a kernel's private folder
SHORT_PLACES = ("/tmp", "/var/tmp", "/dev/shm", os.path.expanduser("~"))
HAS_UNIX_SOCKETS = os.name == "posix"


class NotebookFailed(RuntimeError):
    """A cell raised, or the kernel died; the message names the cell and the error."""


@dataclass
class Position:
    """Where a running notebook is: cell number, number of cells, and the last line that it wrote to stderr (a bar)."""

    cell: int = 0
    n_cells: int = 0
    line: str = ""

    def write(self, text):
        """Take stderr's text as a file would; carriage returns of progress bars count as line ends."""
        lines = [part.strip() for part in re.split(r"[\r\n]", text) if part.strip()]
        self.line = lines[-1] if lines else self.line

    def flush(self):
        """Nothing is buffered."""


class Kernels:
    """The running kernels of one book run, so that all can be ended at once."""

    def __init__(self):
        self._groups, self._lock, self.stopped = set(), threading.Lock(), False

    def started(self, group):
        """Note the process group of a kernel that has just started; it is ended at once if `stop` was called before."""
        with self._lock:
            self._groups.add(group)
        if self.stopped:
            _end(group)

    def ended(self, group):
        """End what is left of a kernel's process group (its worker processes) and forget it."""
        with self._lock:
            self._groups.discard(group)
        _end(group)

    def stop(self):
        """End all kernels, and those that are about to start."""
        self.stopped = True
        with self._lock:
            for group in self._groups:
                _end(group)


def _end(group):
    """SIGKILL to a process group; a group that has ended already is fine. Windows has no groups: kernels end alone."""
    if group and HAS_UNIX_SOCKETS:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            return


def kernel_environment(n_threads, folder):
    """Environment variables of a kernel: thread limits, and nothing of the user's own IPython or matplotlib set-up."""
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **dict.fromkeys(THREAD_VARIABLES, str(n_threads)),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(Path(folder) / "ipython"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PLOTLY_RENDERER": "plotly_mimetype",
    }


def _manager(folder, environment, kernels, groups):
    """A kernel manager class that starts this interpreter; `groups` receives the process group of what it starts."""
    command = [
        sys.executable,
        "-Xfrozen_modules=off",
        "-m",
        "ipykernel_launcher",
        "--log-level=50",
        "-f",
        "{connection_file}",
    ]
    spec = KernelSpec(argv=command, env=environment, display_name="Python 3", language="python")

    class Manager(AsyncKernelManager):
        def __init__(self, **options):
            super().__init__(**options)
            self._kernel_spec = spec
            self.connection_file = str(Path(folder) / "kernel.json")
            if HAS_UNIX_SOCKETS:
                self.transport = "ipc"

        @property
        def kernel_spec(self):
            return spec

        async def _async_start_kernel(self, **options):
            await super()._async_start_kernel(**options)
            groups.append(getattr(self.provisioner, "pgid", None) or 0)
            kernels.started(groups[-1])

        start_kernel = _async_start_kernel

    return Manager


def execute(notebook, output, parameters, *, folder, n_threads=1, kernels=None, position=None, variables=None):
    """Execute a notebook and return the executed node; `output` is written as cells finish, also when one fails.

    Parameters
    ----------
    notebook : NotebookNode
        Left as it is.
    output : path
        Where papermill keeps the executed notebook.
    parameters : dict
        Checked values (`contents.check_parameters`), injected after the cell tagged `parameters`.
    folder : path
        Working directory of the kernel.
    n_threads : int
        Threads for numerical libraries in the kernel.
    variables : dict, optional
        Further environment variables of the kernel.

    Raises
    ------
    NotebookFailed
        Names the cell, its section, its first lines and the error; or says that the kernel died, and where.
    """
    kernels, position, groups = kernels or Kernels(), position or Position(), []
    private = _private_folder()
    environment = kernel_environment(n_threads, private) | (variables or {})
    logging.getLogger("papermill").setLevel(logging.CRITICAL)

    def cell_starts(cell, cell_index):
        position.cell = cell_index + 1

    position.n_cells = len(notebook.cells) + bool(parameters)
    try:
        return execute_notebook(
            notebook,
            str(output),
            parameters=parameters,
            kernel_name="python3",
            language="python",
            progress_bar=False,
            stderr_file=position,
            kernel_manager_class=_manager(private, environment, kernels, groups),
            resources={"metadata": {"path": str(folder)}},
            on_cell_start=cell_starts,
        )
    except PapermillExecutionError as error:
        n_injected = sum("injected-parameters" in tags(c) for c in notebook.cells) or bool(parameters)
        where = _where(notebook, error.cell_index - n_injected, error.source)
        raise NotebookFailed(f"{where}\n{error.ename}: {error.evalue}") from None
    except DeadKernelError:
        where = _where(notebook, position.cell - 1 - bool(parameters), "")
        reason = "stopped by the runner" if kernels.stopped else "killed, out of memory, or crashed in compiled code"
        raise NotebookFailed(f"{where}\nthe kernel died ({reason})") from None
    finally:
        for group in groups:
            kernels.ended(group)
        shutil.rmtree(private, ignore_errors=True)


def _private_folder():
    """A new folder for a kernel's sockets: in $TMPDIR, or in a shorter place if sockets there had too long a name."""
    for place in (tempfile.gettempdir(), *SHORT_PLACES):
        if len(os.path.join(place, PRIVATE_NAME)) <= SOCKET_PATH and os.access(place, os.W_OK):
            return tempfile.mkdtemp(prefix="book-", dir=place)
    raise OSError(
        f"no folder for a kernel's sockets: their names may have {SOCKET_PATH} characters, {tempfile.gettempdir()} is "
        f"too long for that, and {', '.join(SHORT_PLACES)} cannot be written; set $TMPDIR to a shorter path"
    )


def _where(notebook, index, source):
    """Cell number (from 1, as in the source notebook), section, tags and first lines of the cell at `index`."""
    index = min(max(index, 0), len(notebook.cells) - 1)
    cell = notebook.cells[index]
    written = [c.source for c in notebook.cells[: index + 1] if c.cell_type == "markdown"]
    sections = [source.splitlines()[0] for source in written if source.startswith("#")]
    lines = (source or cell.source).splitlines()
    shown = "\n".join(f"    {line}" for line in lines[:SOURCE_LINES])
    more = "\n    ..." if len(lines) > SOURCE_LINES else ""
    section = f", section {sections[-1].lstrip('# ')!r}" if sections and cell.cell_type == "code" else ""
    tagged = f", tagged {', '.join(tags(cell))}" if tags(cell) else ""
    return f"cell {index + 1} of {len(notebook.cells)}{section}{tagged}:\n{shown}{more}"
