"""What a user hands over is never destroyed: folders are replaced only where they are proved to be ours."""

import os
import subprocess

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from manifold_utils import files
from manifold_utils.atlas.records import POINT_COLUMNS, RunRecord, load_run
from manifold_utils.book import pages
from manifold_utils.book.contents import NOTEBOOKS
from manifold_utils.book.student import write_student_edition
from manifold_utils.files import atomic_path, owned_folder, remove_leftovers
from manifold_utils.profiles import Profile
from manifold_utils.recording.callbacks.taking import Taking


def tree(folder):
    """Relative path -> bytes of every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def mine(tmp_path):
    """A folder of somebody's work: a repository with results in it."""
    folder = tmp_path / "results"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main")
    (folder / "thesis.tex").write_text("years of work")
    return folder


def record(n=2):
    points = pd.DataFrame({c: np.arange(float(n)) for c in POINT_COLUMNS}).assign(phase="main")
    log_probs = {split: np.log(np.full((n, 3, 2), 0.5, dtype=np.float32)) for split in ("train", "test")}
    return RunRecord("tiny", points, log_probs, "hash", {})


def test_a_run_is_not_saved_over_other_files(mine):
    before = tree(mine)
    with pytest.raises(FileExistsError, match=r"thesis\.tex"):
        record().save(mine)
    assert tree(mine) == before


def test_a_run_replaces_a_run_but_not_what_lies_in_it(tmp_path):
    path = record().save(tmp_path / "run")
    assert len(load_run(record(3).save(path)).points) == 3
    (path / "notes.txt").write_text("the lab book")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        record().save(path)
    assert (path / "notes.txt").read_text() == "the lab book" and len(load_run(path).points) == 3


@pytest.mark.parametrize("name", ["train", "zarr.json"])
def test_a_folder_that_only_resembles_a_run_is_left_alone(tmp_path, name):
    path = tmp_path / "array.zarr"
    (path / "train").mkdir(parents=True)
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    (path / "train" / "data").write_text("somebody's array")
    with pytest.raises(FileExistsError, match="not made here"):
        record().save(path)
    assert (path / "train" / "data").is_file() and name


def test_a_folder_is_replaced_only_by_its_own_maker(mine, tmp_path):
    before = tree(mine)
    with pytest.raises(FileExistsError, match=r"\.git/HEAD, thesis\.tex"), owned_folder(mine):
        pytest.fail("nothing may be written before the check")
    assert tree(mine) == before
    pages_of_ours = tmp_path / "site"
    pages_of_ours.mkdir()  # an empty one may be taken
    for text in ("first", "second"):
        with owned_folder(pages_of_ours) as folder:
            folder.mkdir()
            (folder / "index.html").write_text(text)
    assert (pages_of_ours / "index.html").read_text() == "second"
    (pages_of_ours / "CNAME").write_text("example.org")
    with pytest.raises(FileExistsError, match="CNAME"), owned_folder(pages_of_ours):
        pytest.fail("a file that somebody added is not ours")
    with pytest.raises(FileExistsError, match="is a file"), owned_folder(pages_of_ours / "CNAME"):
        pytest.fail("nor is a file a folder")


def test_html_refuses_a_folder_of_somebody_before_it_builds(mine, monkeypatch):
    class Edition:
        class book:  # noqa: N801 - stands for an attribute
            chapters = ()
            folder = NOTEBOOKS

        atlas = out = mine
        profile = Profile.load("smoke")
        unexecuted = staticmethod(list)  # none: everything has run

    monkeypatch.setattr(pages, "_sphinx", lambda *a: pytest.fail("built before it was refused"))
    before = tree(mine)
    with pytest.raises(FileExistsError, match=r"thesis\.tex"):
        pages.build_html(Edition, str(mine))
    assert tree(mine) == before


def test_a_contact_sheet_replaces_contact_sheets_only(tmp_path):
    (tmp_path / "atlas" / "figures").mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(tmp_path / "atlas" / "figures" / "40_panels.png")
    own, photo, link = tmp_path / "sheet.png", tmp_path / "photo.png", tmp_path / "link.png"
    Image.new("RGB", (5, 5), "red").save(photo)
    link.symlink_to(photo)
    (tmp_path / "thesis.txt").write_text("years of work")
    before = tree(tmp_path)
    for path in (photo, link, tmp_path / "thesis.txt", tmp_path / "atlas"):
        with pytest.raises(FileExistsError, match=f"{path.name} is there and is no contact sheet"):
            pages.contact_sheet(tmp_path / "atlas" / "figures", path)
    assert tree(tmp_path) == before and link.is_symlink()
    for _ in range(2):
        assert pages.contact_sheet(tmp_path / "atlas" / "figures", own) == 1
    assert pages.contact_sheet(tmp_path / "atlas" / "figures", tmp_path / "atlas" / "contact_sheet.png") == 1


def test_a_callback_refuses_a_folder_of_somebody_before_anything_is_trained(mine):
    before = tree(mine)
    with pytest.raises(FileExistsError, match=r"thesis\.tex"):
        Taking(None, save=str(mine))
    assert tree(mine) == before and Taking(None, save=mine.parent / "new").save_to == mine.parent / "new"


def test_a_run_saved_at_a_link_leaves_what_the_link_leads_to(tmp_path):
    record().save(tmp_path / "first")
    (tmp_path / "latest").symlink_to("first")
    record(3).save(tmp_path / "latest")
    assert (len(load_run(tmp_path / "first").points), len(load_run(tmp_path / "latest").points)) == (2, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "latest"], "no temporary name is left"


def test_a_new_student_edition_never_overwrites_answers(tmp_path):
    out = tmp_path / "student"
    paths = write_student_edition(out)
    write_student_edition(out)  # untouched ones are renewed
    answered = nbformat.read(paths[3], as_version=4)
    cell = next(c for c in answered.cells if c.cell_type == "code" and "= ..." in c.source)
    cell.source = "answer = 42"
    nbformat.write(answered, paths[3])
    (out / paths[1].name).write_text("not a notebook")
    before = tree(out)
    with pytest.raises(FileExistsError) as error:
        write_student_edition(out)
    assert paths[3].name in str(error.value) and paths[1].name in str(error.value) and tree(out) == before


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_changes_places_or_comes_back_after_a_kill(tmp_path, monkeypatch, exchanges):
    path = tmp_path / "tiles"
    path.mkdir()
    (path / "a").write_text("old")
    if not exchanges:
        monkeypatch.setattr(files, "_exchange", lambda *a: False)
    with atomic_path(path) as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("new")
    assert (path / "a").read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["tiles"]


def test_a_kill_between_two_renames_loses_nothing(tmp_path, monkeypatch):
    path, real = tmp_path / "tiles", os.rename
    path.mkdir()
    (path / "a").write_text("old")

    def dies_at_the_second(source, target):
        if not str(target).endswith("-old-tiles"):
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(files, "_exchange", lambda *a: False)
    monkeypatch.setattr(files, "_remove", lambda p: None)  # a killed process clears nothing
    monkeypatch.setattr(os, "rename", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.mkdir()
    monkeypatch.undo()
    assert not path.exists()
    remove_leftovers(tmp_path)
    assert (path / "a").read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["tiles"]


def test_no_moment_without_the_folder_where_the_system_can_exchange(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    (one / "x").write_text("1")
    if not files._exchange(one, other):
        pytest.skip("this system cannot exchange two folders in one step")
    assert (other / "x").read_text() == "1" and not any(one.iterdir())
    assert subprocess.run(["ls", str(other)], capture_output=True, text=True).stdout.split() == ["x"]
