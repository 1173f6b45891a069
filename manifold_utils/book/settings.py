"""What a clone cannot bring along: settings of git and of JupyterLab, so that running a chapter leaves no trace in git.

All of it stays in this clone (.git/config) and in this environment (etc/jupyter under `sys.prefix`); nothing is written
into a home folder.
"""

import json
import subprocess
import sys
from pathlib import Path

from jupytext_config.labconfig import LabConfig

from manifold_utils.files import PROJECT, atomic_path

EXTENSION = {"ServerApp": {"jpserver_extensions": {"manifold_utils.book.stripping": True}}}
FILTER = ("filter.notebook.clean", "python3 -I manifold_utils/book/stripping.py")


def apply(project=PROJECT, prefix=sys.prefix):
    """Set them, and return a sentence for each.

    Parameters
    ----------
    project : path of the checkout; without a .git in it git is left alone
    prefix : path of the Python environment that JupyterLab runs in

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as empty:
    ...     done = apply(empty, empty)
    >>> len(done)
    2
    """
    jupyter = Path(prefix) / "etc" / "jupyter"
    with atomic_path(jupyter / "jupyter_server_config.d" / "manifold-book.json") as temporary:
        temporary.write_text(json.dumps(EXTENSION) + "\n", encoding="utf-8")
    viewers = LabConfig(settings_file=jupyter / "labconfig" / "default_setting_overrides.json")
    viewers.read().set_default_viewers(["python"]).write()
    done = [
        "JupyterLab saves chapters without metadata of the machine",
        "JupyterLab opens a text twin as a notebook",
    ]
    if (Path(project) / ".git").exists():
        subprocess.run(["git", "-C", str(project), "config", *FILTER], check=True)
        done.append("git keeps chapters without outputs")
    return done
