"""YAML as people read it: numbers are decimal and finite, and no key is given twice.

PyYAML reads 010 as eight, 1:30 as ninety and .inf as infinity, keeps the last of two equal keys without a word, and
takes 1e-3 for text. A text is bounded in length, depth and in what its aliases expand to, since a few lines can stand
for billions of values. Every YAML file of the project is read here. It knows no profile.
"""

import re
from pathlib import Path

import yaml

LONGEST = 200_000  # characters; the largest profile has 5,000
DEEPEST = 50  # mappings and lists inside each other
MOST_NODES = 100_000  # values of a text whose aliases are written out
NUMBERS = {
    "tag:yaml.org,2002:int": r"^[-+]?(0|[1-9][0-9]*)$",
    "tag:yaml.org,2002:float": r"^[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?$",
}


class _Loader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent, index):
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"more than {DEEPEST} mappings and lists inside each other")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self):
        node = super().get_single_node()
        if _written_out(node, {}) > MOST_NODES:
            raise yaml.composer.ComposerError(None, None, f"its aliases stand for more than {MOST_NODES} values")
        return node

    def construct_scalar(self, node):
        value = super().construct_scalar(node)
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise yaml.constructor.ConstructorError(None, None, f"{value!r} holds half a character", node.start_mark)
        return value

    def construct_mapping(self, node, deep=False):
        seen = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else []:
            first = seen.setdefault((key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key), key)
            if first is not key and key.tag != "tag:yaml.org,2002:merge":
                lines = f"lines {first.start_mark.line + 1} and {key.start_mark.line + 1}"
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} is given twice, in {lines}")
        return super().construct_mapping(node, deep)


def _written_out(node, known):
    """Number of values below a node when its aliases are written out; infinite where it contains itself."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = float("inf")  # what an alias inside the node itself sees
        pairs = isinstance(node, yaml.MappingNode)
        children = [part for entry in node.value for part in entry] if pairs else node.value
        known[id(node)] = 1 + sum(_written_out(child, known) for child in children)
    return known[id(node)]


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag not in NUMBERS]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern in NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list("-+.0123456789"))


def load_yaml(text):
    """Parse YAML text safely.

    Parameters
    ----------
    text : str
        Scientific notation without a point (1e-3) is a float. What is no decimal number (010, 1:30, .inf, 1_000) is
        text, which a validated field of numbers refuses by name.

    Returns
    -------
    dict, list or a single value

    Raises
    ------
    yaml.YAMLError
        Not YAML, or a key is given twice in one mapping; the message says where. Too long, too deep, or too much when
        its aliases are written out.

    Examples
    --------
    >>> load_yaml("{a: 1e-3, b: 010, c: 10, d: -.5}")
    {'a': 0.001, 'b': '010', 'c': 10, 'd': -0.5}
    >>> load_yaml("{seed: 1, epochs: 2, seed: 3}")
    Traceback (most recent call last):
    ...
    yaml.constructor.ConstructorError: the key 'seed' is given twice, in lines 1 and 1
    """
    if len(text) > LONGEST:
        raise yaml.YAMLError(f"{len(text)} characters; at most {LONGEST} are read")
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except ValueError as error:  # a number of thousands of digits, the 31st of February
        raise yaml.YAMLError(f"a value that is none: {error}") from error


def read_yaml(path):
    """Parse a YAML file; ValueError in one line, with the file, the line and what is wrong, if it cannot be.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "mine.yaml"
    ...     _ = path.write_text("name: mine\\n  seed: 1\\n")
    ...     read_yaml(path)
    Traceback (most recent call last):
    ...
    ValueError: ...mine.yaml is not YAML: mapping values are not allowed here, line 2
    """
    try:
        return load_yaml(Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not YAML: byte {error.start} is no UTF-8 text ({error.reason}); save it as UTF-8"
        ) from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {what_is_wrong(error)}") from error


def what_is_wrong(error):
    """A YAMLError in one line: the problem and its line."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or str(error).splitlines()[0]
    return said if mark is None else f"{said}, line {mark.line + 1}"
