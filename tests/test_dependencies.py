"""Fingerprints follow packages: one changed line deep in a room makes exactly the chapters stale that use it."""

import shutil

import pytest

from manifold_utils.book.contents import NOTEBOOKS, code_cells
from manifold_utils.book.dependencies import PACKAGE, imported_modules

FILES = {
    "__init__.py": "",
    "files.py": "x = 1",
    "rooms/__init__.py": '"""A face."""\nfrom pack.rooms.deep import far\nfrom pack.rooms.other import near\n',
    "rooms/deep.py": "from pack.files import x\n\n\ndef far():\n    return x\n",
    "rooms/other.py": "def near():\n    return 2\n",
    "rooms/late.py": "def later():\n    from pack.rooms.other import near  # a reason\n    return near\n",
    "lazy/__init__.py": (
        "from pack.lazy.a import one\n\n\ndef __getattr__(name):\n    from pack.lazy.b import two\n    return two\n"
    ),
    "lazy/a.py": "one = 1",
    "lazy/b.py": "two = 2",
    "full/__init__.py": "from pack.files import x\n\n\ndef here():\n    return x\n",
}


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "pack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "pack"


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("from pack.rooms import far", {"rooms.deep", "files"}),
        ("from pack.rooms import near", {"rooms.other"}),
        ("from pack import rooms\nrooms.near()", {"rooms.other"}),
        ("from pack import rooms\nrooms.far(rooms.near)", {"rooms.deep", "rooms.other", "files"}),
        ("from pack import rooms\nprint(rooms)", {"rooms.deep", "rooms.other", "files"}),
        ("import pack.rooms.deep", {"rooms.deep", "files"}),
        ("from pack.rooms.late import later", {"rooms.late", "rooms.other"}),
        ("from pack.rooms import late", {"rooms.late", "rooms.other"}),
        ("from pack.lazy import one", {"lazy.a"}),
        ("from pack.lazy import two", {"lazy.b"}),
        ("from pack.full import here", {"full", "files"}),
        ("from elsewhere.rooms import far", set()),
        ("%time x\nimport numpy", set()),
    ],
)
def test_a_text_needs_what_it_imports_and_what_that_imports(package, source, modules):
    assert set(imported_modules([source], package)) == modules


def test_what_one_cell_imports_others_use(package):
    assert set(imported_modules(["from pack import rooms", "x = 1", "rooms.far()"], package)) == {"rooms.deep", "files"}


def test_comments_and_layout_do_not_count_and_code_does(package):
    source, deep = ["from pack.rooms import far"], package / "rooms" / "deep.py"
    before = imported_modules(source, package)
    deep.write_text(deep.read_text() + "\n\n# a remark\n")
    assert imported_modules(source, package) == before
    deep.write_text(deep.read_text().replace("return x", "return x + 1"))
    after = imported_modules(source, package)
    assert [name for name in after if after[name] != before[name]] == ["rooms.deep"]


def _chapters(package):
    """Modules and their hashes behind the code of every chapter of the book."""
    sources = {path.stem: code_cells(path) for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    return {name: imported_modules(cells, package) for name, cells in sources.items()}


def _files(package):
    return {p for p in package.rglob("*.py") if p.name != "__main__.py" and p != package / "__init__.py"}


def test_one_line_deep_in_the_package_makes_exactly_the_chapters_that_use_it_stale(tmp_path):
    package = tmp_path / "manifold_utils"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    before = _chapters(package)
    files = [p for p in sorted(_files(package)) if p.name != "__init__.py"]  # a face only hands names on
    deep = [path for path in files if path.parent != package]
    used = 0
    for path in deep[:: max(1, len(deep) // 8)]:
        name = ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
        text = path.read_text(encoding="utf-8")
        path.write_text(text + "\nNEW = 1\n", encoding="utf-8")
        after = _chapters(package)
        path.write_text(text, encoding="utf-8")
        stale = {chapter for chapter in before if before[chapter] != after[chapter]}
        assert stale == {chapter for chapter, modules in before.items() if name in modules}, name
        used += bool(stale)
    assert used >= 4, "the modules that were changed belong to hardly any chapter"


def test_chapters_depend_on_what_they_call_and_not_on_the_rest_of_a_room():
    needs = {name[:2]: set(modules) for name, modules in _chapters(PACKAGE).items()}
    assert all("distances.simd" in needs[chapter] for chapter in ("20", "40", "63", "90"))
    assert {"recording.guests", "recording.yardsticks", "statistics.nulls"} <= needs["63"]
    assert "training.run" in needs["11"] and "training.run" not in needs["40"] | needs["20"]
    assert "statistics.nulls" in needs["60"] and "statistics.nulls" not in needs["44"]
    assert {c for c, modules in needs.items() if "studies.linear" in modules} == {"61"}
    assert not any(module.startswith("book") for modules in needs.values() for module in modules)
