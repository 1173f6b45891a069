"""The README's generated blocks are in step with the book and the published runs, and these with their source."""

import json

import pytest

from manifold_utils.book import front, pages
from manifold_utils.book.contents import Book
from manifold_utils.book.publishing import BUDGET, REFERENCE, how_to_mend, stale
from manifold_utils.files import PROJECT

PUBLISHED = sorted(path for path in REFERENCE.glob("*") if path.is_dir())

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
    found = {"results": {"train_stress_3": value}, "code": "of another day", "made": {"data": "digits"}}
    (folder / "42.json").write_text(json.dumps(found))
    text = pages.render(README, reference=tmp_path)
    assert "0.123" in text and "newer than the published run: `digits`: 00, 10, 11, 20" in text


def test_a_missing_block_is_an_error():
    with pytest.raises(ValueError, match="headline:begin"):
        pages.render("# nothing here")


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_what_is_published_is_what_its_source_gives(folder):
    found = stale(folder)
    assert not found, f"{found}: mend it with `{how_to_mend(folder, list(found))}`"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= BUDGET


def test_digits_and_real_images_are_published():
    assert {"digits", "cifar16"} <= {path.name for path in PUBLISHED}


def test_the_headline_says_what_the_null_gives_and_nothing_without_it():
    found = {
        "42.train_stress_3_null": {"value": 0.95},
        "42.train_stress_3_gain": {"value": -0.01},
        "42.test_stress_3_null": {"value": 0.38},
        "42.test_stress_3_gain": {"value": 0.39},
        "32.train_axes_real": {"value": 13.1},
        "32.train_axes_class": {"value": 28.6},
        "42.train_axes_ratio": {"value": 0.459, "low": 0.305, "high": 0.691},
    }
    said = front.headline(found, "`digits`")
    assert "3 axes explain 94 % [95 %] of the train stress of all points" in said
    assert "and 77 % [38 %] of the test stress of all points (in brackets: after shuffling" in said
    assert "needs 13 axes, and 29 after the shuffle (a ratio of 0.46, 0.30 to 0.69)" in said
    assert front.headline({"42.train_stress_3_null": {"value": 0.94}}) == ""
