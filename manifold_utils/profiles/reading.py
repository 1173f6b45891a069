"""Reading a profile's file: where it lies, the files below it (its `base`), and errors that name file and key."""

import os
from pathlib import Path

from manifold_utils.files import data_root
from manifold_utils.profiles.frozen import unaltered
from manifold_utils.profiles.recorded import RECORDED
from manifold_utils.strict_yaml import read_yaml

N_MISTAKES, SHOWN = 3, 80  # mistakes that an error tells, and characters of a value


def profile_path(name, folder, data_dir=""):
    """Path of a profile: `name` itself if it is a .yaml file, `folder`/<name>.yaml, or that of a recorded atlas.

    Parameters
    ----------
    name : str or Path
    folder : Path of the profiles
    data_dir : str, see `files.data_root`

    Returns
    -------
    Path of a file that exists

    Raises
    ------
    ValueError
        No such profile (names those that there are), or a name that is both.
    """
    path, atlases = _file_of(name, folder), data_root(data_dir) / "atlases"
    frozen = atlases / str(name) / "profile.yaml"
    recorded = path != Path(name) and str(name) == frozen.parent.name and _is_recorded(frozen)
    if recorded and path.is_file():
        raise ValueError(
            f"{str(name)!r} is a profile ({path}) and an atlas of recorded runs ({frozen.parent}): rename one of them, "
            "or give the path of the .yaml file that you mean"
        )
    if not recorded and not path.is_file():
        known = sorted(p.parent.name for p in atlases.glob("*/profile.yaml") if _is_recorded(p))
        also = f"; atlases of recorded runs in {atlases}: {', '.join(known)}" if known else ""
        known = _known(path.parent)
        raise ValueError(f"no profile {str(name)!r} ({path} does not exist); known profiles: {known}{also}")
    return frozen if recorded else path


def _is_recorded(path):
    """Whether a frozen profile is one of recorded runs; a damaged one is, so that reading it names what is wrong."""
    try:
        content = read_yaml(path) if os.path.isfile(path) else {}  # also false where the path cannot be
    except (ValueError, OSError):
        return True
    return isinstance(content, dict) and content.get("kind") == RECORDED


def _file_of(name, folder):
    return Path(name).expanduser() if str(name).endswith(".yaml") else folder / f"{name}.yaml"


def _known(folder):
    return ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"


def layers_of(path, above=()):
    """List of (path, content): a profile's file, its base, the base of that, and so on."""
    frozen = (path.parent / "atlas.json").is_file()
    content = read_yaml(unaltered(path) if frozen else path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no keys and values, as a profile does")
    if not frozen:  # the frozen profile of an atlas says which lists are empty
        for key in _empty(content):
            raise ValueError(f"{path}: key '{key}': the list is empty: name something, or leave the key out")
    base = content.pop("base", None)
    if base is None:
        return [(path, content)]
    if frozen:
        raise ValueError(f"{path}: key 'base': the profile of an atlas is whole and has no base (found {base!r})")
    if not isinstance(base, str):
        raise ValueError(f"{path}: key 'base': the name or the path of a profile is expected (found {base!r})")
    below = path.parent / _file_of(base, path.parent)
    seen = [*above, path.resolve()]
    if below.resolve() in seen:
        circle = " -> ".join(p.stem for p in [*seen, below])
        raise ValueError(f"{path}: key 'base': profiles are each other's base in a circle: {circle}")
    if not below.is_file():
        known = _known(path.parent)
        raise ValueError(f"{path}: key 'base': no profile {base!r} ({below} does not exist); known profiles: {known}")
    layers = layers_of(below, seen)
    for key in ("name", "description"):
        if content.get(key) in (None, *(layer.get(key) for _, layer in layers)):
            raise ValueError(f"{path}: key {key!r}: a profile needs its own, not its base's: its atlas is another")
    return [(path, content), *layers]


def _empty(content, key=""):
    """Dotted keys of the empty lists below a value."""
    if content == []:
        yield key
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, value in pairs:
        yield from _empty(value, f"{key}.{name}".lstrip("."))


def overlaid(below, above):
    """`above` laid over `below`: mappings are merged, however deep; lists and single values are replaced."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = overlaid(merged[key], value) if both else value
    return merged


def _source(key, layers):
    """The file that a key (a tuple of names and places in lists) comes from: the uppermost that says it."""
    return next((path for path, content in layers if key and _says(content, key)), layers[0][0])


def _says(content, key):
    """Whether nested mappings hold `key`, or end in a list or a single value on the way to it."""
    if not key or not isinstance(content, dict):
        return True
    return key[0] in content and _says(content[key[0]], key[1:])


def explain(error, layers):
    """The text of a pydantic error: its first mistakes, each with the file and the key that it comes from, and how many
    there are beside them."""
    lines, found = [], error.errors()
    for item in found[:N_MISTAKES]:
        key = ".".join(str(part) for part in item["loc"]) or "(run)"
        value = _cut(repr(item.get("input")), SHOWN)
        lines.append(f"{_source(item['loc'], layers)}: key '{key}': {_cut(item['msg'], 3 * SHOWN)} (found {value})")
    others = len(found) - N_MISTAKES
    return "; ".join(lines) + (f"; and {others} more mistake{'s' * (others > 1)}" if others > 0 else "")


def _cut(text, n):
    return text if len(text) <= n else f"{text[:n]}..."
