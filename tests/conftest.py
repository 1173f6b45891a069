"""Shared by all tests: the whole book, the longest test, is started first, so that other files run beside it.

On a continuous-integration machine (CI is set) property-based tests draw the same examples each time, so that a change
is judged by what it changes; elsewhere new examples are searched for. No example has a deadline: a busy machine is no
fault.
"""

import os

from hypothesis import settings

settings.register_profile("anywhere", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "anywhere")


def pytest_collection_modifyitems(items):
    """Stable sort: tests/test_whole_book.py before everything else (pytest-xdist keeps this order)."""
    items.sort(key=lambda item: item.path.name != "test_whole_book.py")
