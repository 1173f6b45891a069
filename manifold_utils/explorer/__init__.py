"""The explorer: a whole atlas in one page that needs no network, for turning, colouring, growing and brushing.

`build_explorer` writes the page: deck.gl (deck.gl.LICENSE) draws it with WebGL, `numbers` gathers what it shows, and
explorer.js has what the controls do. It computes no distances but those of the thinned null world.
"""

import json
import re
from html import escape
from pathlib import Path

from manifold_utils.explorer.numbers import contents
from manifold_utils.files import atomic_path

HERE = Path(__file__).parent
LIBRARY = "deck.gl-9.4.0.min.js"

__all__ = ["build_explorer", "contents"]


def build_explorer(atlas, path, *, pictures=None, show_progress=False):
    """Write the explorer of an atlas.

    Parameters
    ----------
    atlas : Atlas with embeddings and progress (chapters 30 and 31)
    path : path of the page, ending in .html; a page there is replaced
    pictures : callable, optional
        From a split to its recorded samples, (n_samples, height, width, 1 or 3) uint8, or None.
    show_progress : bool

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        If no split of the atlas is embedded yet.
    """
    found = contents(atlas, pictures, show_progress)
    if not found["splits"]:
        raise ValueError(f"{atlas.path} has no embedding yet: run chapters 30 and 31 first")
    page = (HERE / "page.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": escape(found["title"]),
        "LIBRARY": (HERE / LIBRARY).read_text(encoding="utf-8"),
        "DATA": json.dumps(found, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        "SCRIPT": (HERE / "explorer.js").read_text(encoding="utf-8"),
    }
    page = re.sub("%%([A-Z]+)%%", lambda mark: parts[mark[1]], page)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)
