"""Shared by all tests: the whole book, the longest test, is started first, so that other files run beside it."""


def pytest_collection_modifyitems(items):
    """Stable sort: tests/test_whole_book.py before everything else (pytest-xdist keeps this order)."""
    items.sort(key=lambda item: item.path.name != "test_whole_book.py")
