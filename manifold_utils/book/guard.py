"""A guard for pages: whoever wrote the notebooks, no file of this machine gets into them, and no foreign script.

A Sphinx extension, loaded by the settings that `pages` writes. Directives are off, but for a few that read nothing;
pictures and downloads come from the build's own folder; HTML is cleaned to tables and text. Our own figures need their
script: they carry a token that is drawn for each build, so that no notebook can know it.
"""

import os
import re

import bleach
from docutils import nodes
from docutils.parsers.rst import Directive, directives
from sphinx import addnodes
from sphinx.util import logging

DIRECTIVES = {
    "admonition", "attention", "caution", "code", "code-block", "danger", "error", "hint", "important", "math", "note",
    "tip", "toctree", "warning",
}  # fmt: skip
TAGS = {
    "a", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "details", "div", "dl", "dt", "em", "h1",
    "h2", "h3", "h4", "h5", "h6", "hr", "i", "kbd", "li", "ol", "p", "pre", "s", "small", "span", "strong", "sub",
    "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul",
}  # fmt: skip
ATTRIBUTES = {"*": ["class", "title", "align", "border", "colspan", "rowspan", "scope"], "a": ["href"]}
PROTOCOLS = {"http", "https", "mailto"}
WITHOUT_TEXT = re.compile(r"<(script|style)\b.*?</\1\s*>", re.I | re.S)  # what they hold is no text to be shown
REMOTE = ("http://", "https://", "data:")


class _Off(Directive):
    has_content, optional_arguments, final_argument_whitespace = True, 1, True

    def run(self):
        raise self.error(
            f"the directive {self.name!r} is off, since a notebook from elsewhere could read files of this machine "
            f"with it; on are {', '.join(sorted(DIRECTIVES))}"
        )


def clean(html):
    """HTML with its text and tables, and without scripts, styles, frames, forms, pictures and event handlers.

    Examples
    --------
    >>> clean('<p onclick="x()">one</p><script>alert(1)</script><em class="k">2</em>')
    '<p>one</p><em class="k">2</em>'
    """
    text = WITHOUT_TEXT.sub("", html)
    return bleach.clean(text, tags=TAGS, attributes=ATTRIBUTES, protocols=PROTOCOLS, strip=True, strip_comments=True)


def _close_directives(app):
    for name in {*directives._directive_registry, *directives._directives} - DIRECTIVES:
        directives._directive_registry.pop(name, None)
        directives.register_directive(name, _Off)


def _check(app, doctree):
    """Clean the HTML of a page, and refuse its pictures and downloads from elsewhere on this machine."""
    home = os.path.realpath(app.srcdir) + os.sep
    for node in list(doctree.findall(nodes.raw)):
        token = app.config.guard_token
        if not (token and token in node.astext()):
            node.children = [nodes.Text(clean(node.astext()))]
            node.rawsource = ""
    for node in list(doctree.findall(lambda n: isinstance(n, nodes.image | addnodes.download_reference))):
        target = node.get("uri") or node.get("reftarget", "")
        path = os.path.realpath(os.path.join(app.srcdir, target.lstrip("/") if target.startswith("/") else target))
        if not (target.startswith(REMOTE) or path.startswith(home)):
            said = "it shows or offers the file %r, which is not part of the book"  # a warning ends the build
            logging.getLogger(__name__).warning(said, target, location=app.env.docname)
            node.parent.remove(node)


def setup(app):
    """What Sphinx calls."""
    app.add_config_value("guard_token", "", "env")
    app.connect("builder-inited", _close_directives)
    app.connect("doctree-read", _check, priority=1)  # before Sphinx collects what it is going to copy
    return {"parallel_read_safe": True, "parallel_write_safe": True}
