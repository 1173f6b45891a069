"""Which modules of the package a piece of code needs, however far, and a hash of each: half of a chapter's fingerprint.

Imports are followed through packages. A room's face that only hands names on (its __init__.py holds nothing but
imports) is looked through: whoever imports one name from it depends on the module that defines that name and on
nothing else of the room. Comments, docstrings' layout and blank lines do not count, since hashes are taken of the
syntax tree. It reads text; nothing is imported.
"""

import ast
from functools import cache
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from manifold_utils.files import PROJECT, fingerprint

PACKAGE = PROJECT / "manifold_utils"


def imported_modules(sources, package=PACKAGE):
    """Hash of the code of every module of the package that some texts need, directly or not.

    Parameters
    ----------
    sources : list of str
        Source texts that belong together, such as a notebook's cells, IPython's syntax included.
    package : path of the package's folder

    Returns
    -------
    dict of str -> str
        Name below the package, such as `distances.simd` (`distances` is its __init__.py), to a hash of its code.

    Examples
    --------
    >>> sorted(imported_modules(["from manifold_utils.compat import import_torchvision"]))
    ['compat']
    """
    package, found = Path(package), {}
    # one text: what one cell imports, others use
    waiting = _needs(_parsed(sources), package)
    while waiting:
        name = waiting.pop()
        path = _file(name, package)
        found[name], needs = _read(path, path.stat().st_mtime_ns, package)
        waiting |= needs - set(found)
    return dict(sorted(found.items()))


@cache
def _read(path, changed, package):
    # `changed`, the time of the file's last change, keeps the cache honest.
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return fingerprint(ast.dump(tree)), frozenset(_needs(tree, package))


def _needs(tree, package):
    """Names of the modules that a text uses, by its own import lines."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(f"{package.name}."):
                    found |= _used(alias.name.partition(".")[2], None, package)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package.name:
            room = node.module.partition(".")[2]
            for alias in node.names:
                inner = f"{room}.{alias.name}".lstrip(".")
                if _file(inner, package) is None:
                    found |= _used(room, alias.name, package) if room else set()
                else:
                    found |= _used(inner, None, package, _attributes(tree, alias.asname or alias.name))
    return found


def _used(module, name, package, attributes=None):
    """Modules behind one name of a module, or behind a module as a whole (or those of its attributes that are used)."""
    path = _file(module, package)
    if path is None:
        return set()
    handed_on = _handed_on(path, path.stat().st_mtime_ns, package)
    if handed_on is None:
        return {module}
    wanted = [name] if name else sorted(handed_on) if attributes is None else attributes
    found = set()
    for key in wanted:
        source = handed_on.get(key)
        found |= _used(*source, package) if source else {module}
    return found


@cache
def _handed_on(path, changed, package):
    """Name -> (module, name there) of a face that only hands names on; None for a file that defines something."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {}
    for node in body:
        if not _is_face_line(node):
            return None
        for line in ast.walk(node):
            if isinstance(line, ast.ImportFrom):
                module = (line.module or "").partition(".")[2]
                names |= {alias.asname or alias.name: (module, alias.name) for alias in line.names}
    return names if path.name == "__init__.py" and names else None


def _is_face_line(node):
    """A docstring, an import, `__all__`, or the module's own `__getattr__` that imports late."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign):
        return [getattr(target, "id", "") for target in node.targets] == ["__all__"]
    return isinstance(node, ast.ImportFrom) or (isinstance(node, ast.FunctionDef) and node.name == "__getattr__")


def _attributes(tree, alias):
    """Names that a text takes from a module it knows as `alias`; None if it uses the module in another way."""
    taken = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and getattr(n.value, "id", "") == alias]
    loads = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == alias]
    return sorted({n.attr for n in taken}) if len(taken) == len(loads) else None


def _file(name, package):
    """Path of a module below the package, by its dotted name; None if there is none."""
    if not name:
        return None
    stem = package.joinpath(*name.split("."))
    found = [path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()]
    return found[0] if found else None


def _parsed(sources):
    """One syntax tree of all texts that are Python once IPython's magics and shell lines are transformed.

    A cell that is not is left out here: it fails when it is executed, as any other faulty cell does.
    """
    transform, body = TransformerManager().transform_cell, []
    for source in sources:
        try:
            body += ast.parse(transform(source)).body
        except SyntaxError:
            continue
    return ast.Module(body, [])
