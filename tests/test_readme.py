"""The README's generated blocks are in step with the book and the committed reference run."""

import json

import pytest

from manifold_utils.book import pages
from manifold_utils.book.contents import Book
from manifold_utils.files import PROJECT

README = (PROJECT / "README.md").read_text(encoding="utf-8")


def test_the_readme_is_in_step():
    assert pages.render(README) == README, "call `python -m manifold_utils readme`"


def test_every_chapter_is_listed_with_its_question():
    table = pages.chapters_markdown(Book())
    assert all(f"| {c.id} |" in table for c in Book().chapters)
    assert table.count("?") >= len(Book().chapters)


def test_numbers_in_the_scorecard_come_from_the_reference(tmp_path):
    folder = tmp_path / "digits"
    folder.mkdir()
    value = {"value": 0.123, "low": 0.1, "high": 0.2, "n": 7, "unit": "", "note": ""}
    (folder / "42.json").write_text(json.dumps({"results": {"train_stress_3": value}, "code": "of another day"}))
    text = pages.render(README, reference=tmp_path)
    assert "0.123" in text and f"newer than this run: {', '.join(c.id for c in Book().chapters)}." in text


def test_a_missing_block_is_an_error():
    with pytest.raises(ValueError, match="chapters:begin"):
        pages.render("# nothing here")
