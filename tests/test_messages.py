"""What is said when the machine does not play along: full disks, read-only folders, no locks, long folders."""

import errno
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from manifold_utils import compat, files
from manifold_utils.__main__ import main
from manifold_utils.atlas import Atlas
from manifold_utils.book import kernel
from manifold_utils.book.contents import tags
from manifold_utils.files import CannotWrite, atomic_path, hold, in_words, size_in_words, write_json, writing
from manifold_utils.profiles import Profile
from manifold_utils.training.grid import check_disk
from manifold_utils.training.planning import plan


def failing(number):
    def fail(*given, **named):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "free, which is not enough; free some space"), (errno.EROFS, "is read-only .*MANIFOLD_OUT")],
)
def test_a_writer_that_cannot_write_says_what_where_and_what_to_do(tmp_path, monkeypatch, number, words):
    target = tmp_path / "results" / "42.json"
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", failing(number))
        with pytest.raises(CannotWrite, match=f"cannot write {target}: .*{words}") as caught:
            write_json(target, {"a": 1})
    assert caught.value.errno == number and "Errno" not in str(caught.value) and "\n" not in str(caught.value)
    assert list(target.parent.iterdir()) == []
    with pytest.raises(OSError, match="Errno 5"), atomic_path(target):
        raise OSError(errno.EIO, "another trouble is left as it is")


def test_the_error_says_how_much_is_lacking_and_travels_between_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: type("usage", (), {"free": 1_000_000}))
    with pytest.raises(CannotWrite, match=r"has 1\.0 MB free, up to 2\.0 MB more are needed") as caught:
        with writing(tmp_path / "c" / "0", needed=lambda: 3_000_000):
            raise OSError(errno.ENOSPC, "No space left on device")
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is CannotWrite and (str(again), again.errno) == (str(caught.value), errno.ENOSPC)


@pytest.mark.parametrize("n", [250, 300])
def test_a_name_that_is_too_long_is_one_line(tmp_path, n):
    with pytest.raises(CannotWrite, match="a name in it is too long for the file system; give a shorter one") as error:
        write_json(tmp_path / ("x" * n), {})
    assert "Errno" not in str(error.value) and list(tmp_path.iterdir()) == []


def test_numpys_short_write_counts_as_a_full_disk(tmp_path, monkeypatch):
    """np.save says '4096 requested and 0 written', without a number."""
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: type("usage", (), {"free": 0}))
    with pytest.raises(CannotWrite, match="0 B free"), writing(tmp_path / "a.npy"):
        raise OSError("4096 requested and 0 written")


def test_the_plan_and_the_disk_speak_in_units_that_fit(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 1_400_000}))
    with pytest.raises(OSError, match=r"need up to 4\.6 MB .* has 1\.4 MB free, 3\.2 MB too little"):
        check_disk(tmp_path, 4_600_000)
    outline = plan(Profile.load("smoke"), measure=False)
    assert "MB" in repr(outline) and "not measured" in repr(outline)
    large = replace(outline, table=outline.table.assign(minutes=12_345_678.9, gigabytes=296.1))
    assert "8573 d" in repr(large) and "296 GB" in repr(large)


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_700, "1.0 MB"), (2.13e11, "213 GB")]
)
def test_sizes_in_words(n_bytes, text):
    assert size_in_words(n_bytes) == text and in_words(3 * 86400) == "3 d 0 h"


# --- locks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_gets_a_lock_file(tmp_path, monkeypatch, number):
    monkeypatch.setattr(files.fcntl, "flock", failing(number))
    atlas = Atlas.create(Profile.load("smoke"), tmp_path)
    with atlas.lock():
        with pytest.raises(RuntimeError, match=f"is being written by process {os.getpid()} .*lock.held"), atlas.lock():
            pass
    assert not (atlas.path / "lock.held").exists()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (atlas.path / "lock.held").write_text(f"process {ended.pid} on {files.socket.gethostname()}")
    with atlas.lock():
        assert True, "what a dead process left is taken over"
    (atlas.path / "lock.held").write_text("process 1 on another machine")
    with pytest.raises(RuntimeError, match="process 1 on another machine.*if that process is gone, delete"):
        with atlas.lock():
            pass


def test_another_trouble_with_a_lock_is_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr(files.fcntl, "flock", failing(errno.EIO))
    with pytest.raises(OSError, match="Errno 5"), hold(tmp_path / "lock", "held by {holder}"):
        pass


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_long_temporary_folder_is_replaced_by_a_short_one(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(kernel.tempfile, "tempdir", str(long))
    folder = Path(kernel._private_folder())
    try:
        assert folder.is_dir() and len(str(folder / "kernel-ipc-65535")) <= 107 and long not in folder.parents
    finally:
        folder.rmdir()
    monkeypatch.setattr(kernel, "SHORT_PLACES", ())
    with pytest.raises(OSError, match="set .TMPDIR to a shorter path"):
        kernel._private_folder()


def test_numba_gets_a_cache_where_neither_the_package_nor_home_can_be_written(tmp_path, monkeypatch):
    closed = {"package": tmp_path / "package", "home": tmp_path / "home"}
    for folder in closed.values():
        folder.mkdir()
    access = os.access
    monkeypatch.setattr(compat.os, "access", lambda path, mode: tmp_path == Path(path) or access(path, mode))
    monkeypatch.setenv("XDG_CACHE_HOME", str(closed["home"]))
    monkeypatch.delenv(compat.CACHE_VARIABLE, raising=False)
    assert compat.give_numba_a_cache(closed["package"]) == "", "folders that can be written are left to numba"
    monkeypatch.setattr(compat.os, "access", lambda path, mode: Path(path) not in closed.values())
    monkeypatch.setattr(compat.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(sys.modules, "numba", type("numba", (), {"config": type("config", (), {})}))
    folder = Path(compat.give_numba_a_cache(closed["package"]))
    assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
    assert os.environ[compat.CACHE_VARIABLE] == str(folder) == sys.modules["numba"].config.CACHE_DIR
    folder.chmod(0o777)  # somebody else could have put code there
    monkeypatch.delenv(compat.CACHE_VARIABLE)
    assert compat.give_numba_a_cache(closed["package"]) not in ("", str(folder))
    monkeypatch.delenv(compat.CACHE_VARIABLE)


# --- an output folder of one's own ------------------------------------------------------------------------------------


@pytest.fixture
def read_only(tmp_path, monkeypatch):
    """An atlas whose folders refuse to be written, as a read-only mount does (root may write where it may not)."""
    atlas = Atlas.create(Profile.load("smoke"), tmp_path / "atlases")
    (atlas.path / "spaces" / "sloppy_05").mkdir(exist_ok=True)
    mkdir, access = Path.mkdir, os.access

    def guarded(self, *given, **named):
        if atlas.path in self.parents and not self.exists():
            raise OSError(errno.EROFS, "Read-only file system")
        return mkdir(self, *given, **named)

    monkeypatch.setattr(Path, "mkdir", guarded)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != atlas.path and access(path, mode))
    return atlas


def test_a_read_only_atlas_says_so_at_once_and_at_the_first_figure(read_only, tmp_path):
    with pytest.warns(UserWarning, match="is read-only: set .MANIFOLD_OUT"):
        Atlas.open("smoke", str(tmp_path))
    with pytest.raises(CannotWrite, match="figures: .*is read-only.*MANIFOLD_OUT"):
        read_only.figure_path("40_panels.png")


def test_figures_and_results_go_where_manifold_out_says(read_only, tmp_path, monkeypatch, recwarn):
    from manifold_utils import claims

    monkeypatch.setenv("MANIFOLD_OUT", str(tmp_path / "mine"))
    atlas = Atlas.open("smoke", str(tmp_path))
    assert atlas.figure_path("40_panels.png") == tmp_path / "mine" / "figures" / "40_panels.png"
    space = atlas.space("sloppy_05").figure_path("20_matrix.png")
    assert space == tmp_path / "mine" / "spaces" / "sloppy_05" / "figures" / "20_matrix.png"
    claims.save_results(atlas, "42", {"a": claims.result(0.5)})
    assert not (atlas.path / "results").exists() and not recwarn.list
    assert claims.load_results(atlas.results_folders)["42.a"]["value"] == 0.5
    other = Atlas.create(Profile.load("digits"), tmp_path / "atlases")
    with pytest.raises(ValueError, match="holds figures and results of the atlas 'smoke'"):
        other.figure_path("40_panels.png")


def test_results_of_an_own_folder_are_laid_over_those_of_the_atlas(tmp_path, monkeypatch):
    from manifold_utils import claims

    atlas = Atlas.create(Profile.load("smoke"), tmp_path)
    for chapter in ("20", "42"):
        claims.save_results(atlas, chapter, {"a": claims.result(0.25)})
    monkeypatch.setenv("MANIFOLD_OUT", str(tmp_path / "mine"))
    claims.save_results(atlas, "42", {"a": claims.result(0.75)})
    found = claims.load_results(atlas.results_folders)
    assert (found["20.a"]["value"], found["42.a"]["value"]) == (0.25, 0.75)
    assert claims.load_results(atlas.path / "results")["42.a"]["value"] == 0.25, "the atlas' own are left alone"
    assert claims.data_of(atlas.results_folders) == "digits"


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["[1", "!!python/object:os.system {}", '"'])
def test_a_parameter_that_is_no_yaml_is_one_line(tmp_path, capsys, value):
    status = main(["run", "--profile", "smoke", "--data-dir", str(tmp_path), "42", "-p", f"n_points={value}"])
    said = capsys.readouterr().err
    assert status == 2 and said.startswith("error: -p n_points=") and said.count("\n") == 1


def test_a_tilde_is_the_home_folder_in_every_option(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    smoke = (files.PROJECT / "notebooks" / "profiles" / "smoke.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(smoke.replace("name: smoke", "name: mine"))
    assert main(["status", "--profile", "~/mine.yaml", "--data-dir", "~/data"]) == 0
    assert main(["student", "--out", "~/student"]) == 0 and (tmp_path / "student").is_dir()
    assert str(tmp_path / "student") in capsys.readouterr().out
    monkeypatch.setenv("MANIFOLD_OUT", "~/mine")
    assert files.out_root() == tmp_path / "mine"
    assert Profile.load("~/mine.yaml").name == "mine"
    Atlas.create(Profile.load("~/mine.yaml"), tmp_path / "data" / "atlases")
    assert Atlas("~/data/atlases/mine").path == Atlas.open("~/mine.yaml", "~/data").path


def test_a_profile_with_many_mistakes_tells_the_first_and_counts_the_others(tmp_path):
    grids = "\n".join(
        f"  g{k}:\n    common: {{architecture: [{', '.join(f'net{i}' for i in range(9))}]}}" for k in range(9)
    )
    head = "name: bad\ndescription: d\ndataset: {name: digits}\n"
    (tmp_path / "bad.yaml").write_text(f"{head}grids:\n{grids}\n")
    with pytest.raises(ValueError, match=r"key 'grids\.g0\..*and \d+ more mistakes$") as error:
        Profile.load(str(tmp_path / "bad.yaml"))
    assert len(str(error.value)) < 1500 and str(error.value).count("bad.yaml") == 3


def test_tags_that_are_no_list_are_shown(tmp_path):
    cell = nbformat.from_dict({"cell_type": "code", "source": "a = 1", "metadata": {"tags": "parameters"}})
    with pytest.raises(ValueError, match="the tags of the cell 'a = 1' are 'parameters', and a list"):
        tags(cell)
