"""Links that open the book in Binder and in Colab, made from the address of the repository.

The address is git's remote `origin`, so that a copy links to itself. It opens no connection.
"""

import re
import subprocess

from manifold_utils.files import PROJECT

GITHUB = re.compile(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?$")
FIRST = "notebooks/00_start_here.ipynb"


def markdown(address, branch="main"):
    """Two badges in Markdown, and what Colab needs first.

    Parameters
    ----------
    address : str
        Of a repository on GitHub, in any form that git takes.
    branch : str

    Raises
    ------
    ValueError
        The address is not on GitHub, from which Colab reads.

    Examples
    --------
    >>> print(markdown("git@github.com:somebody/book.git").splitlines()[0])
    [![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/somebody/book/main?urlpath=lab/tree/notebooks/00_start_here.ipynb)
    """
    found = GITHUB.search(address)
    if not found:
        raise ValueError(f"badges need a repository on GitHub, and git's remote 'origin' is {address or 'not set'}")
    name = found[1]
    binder, colab = "https://mybinder.org", "https://colab.research.google.com"
    return "\n".join(
        [
            f"[![Binder]({binder}/badge_logo.svg)]({binder}/v2/gh/{name}/{branch}?urlpath=lab/tree/{FIRST})",
            f"[![Colab]({colab}/assets/colab-badge.svg)]({colab}/github/{name}/blob/{branch}/{FIRST})",
            f"In Colab, run this in a cell first: `%pip install git+https://github.com/{name}`",
        ]
    )


def remote(project=PROJECT):
    """(address of git's remote `origin`, the branch checked out); "" for what is not known."""
    said = []
    for command in (["remote", "get-url", "origin"], ["branch", "--show-current"]):
        done = subprocess.run(["git", "-C", str(project), *command], capture_output=True, text=True)
        said.append(done.stdout.strip())
    return said[0], said[1] or "main"
