"""What is lost or damaged is seen, and what an error or the status advises about it cures it."""

import shutil

import pandas as pd
import pytest
from PIL import Image
from test_artefacts import cut, edition, reasons  # noqa: F401 - a fixture
from test_importing import LABELS, LOGITS, TABLE
from test_outside import atlas, made  # noqa: F401 - fixtures
from test_ownership import record as a_run

from manifold_utils.__main__ import main
from manifold_utils.atlas import Atlas
from manifold_utils.book import pages
from manifold_utils.book.artefacts import lacking
from manifold_utils.distances.tiles import write_tiles
from manifold_utils.files import CannotWrite, atomic_path, hold, write_json
from manifold_utils.profiles import Profile
from manifold_utils.trajectories.of_atlas import load_trajectories


def a_folder(path):
    path.unlink()
    path.mkdir()


# -- what is lost is seen ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["distances", "embeddings", "trajectories"])
def test_arrays_without_their_metadata_are_not_done(atlas, name):  # noqa: F811
    path = next((atlas.path / name).glob("train*.zarr"))
    (path / "zarr.json").unlink()
    assert lacking(path) == f"{path / 'zarr.json'} is missing"
    shutil.rmtree(path)
    path.write_bytes(b"a file")
    assert lacking(path) == f"{path / 'zarr.json'} is missing"


def test_a_table_is_no_folder_and_has_the_columns_that_a_chapter_adds(atlas):  # noqa: F811
    path = atlas.path / "points.parquet"
    assert lacking(path) == "" == lacking(path, "loss_train")
    assert lacking(path, "progress_train") == f"{path} has no column progress_train"
    a_folder(path)
    assert lacking(path) == f"{path} is no file"


def test_every_artefact_of_a_chapter_counts_for_its_being_done(edition, monkeypatch):  # noqa: F811
    """Tables that were rebuilt lose what later chapters added; a matrix of another metric is one that is read."""
    monkeypatch.setattr("manifold_utils.book.jobs.lacking_runs", lambda profile, folder: "")
    assert reasons(edition) == {}
    Atlas(edition.atlas).save_points(Atlas(edition.atlas).points.drop(columns="progress_test"))
    assert reasons(edition) == {"31": f"{edition.atlas / 'points.parquet'} has no column progress_test"}
    lost = {"20": "distances/test_hellinger.zarr", "30": "embeddings/train_geodesic.zarr"}
    for name in lost.values():
        shutil.rmtree(edition.atlas / name)
    (edition.atlas / "nulls" / "test_all.parquet").unlink()
    assert {k: v for k, v in reasons(edition).items() if k != "31"} == {
        **{chapter: f"{name} is missing" for chapter, name in lost.items()},
        "32": "nulls/test_all.parquet is missing",
    }
    edition.executed_path(edition.jobs(edition.book.by_id["11"])[0]).unlink()
    assert reasons(edition)["11"] == "its notebook is missing"


# -- what is said of it ------------------------------------------------------------------------------------------------


def said(call):
    with pytest.raises((OSError, ValueError)) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), cut, lambda path: path.write_bytes(b"{}")])
@pytest.mark.parametrize(
    ("name", "read", "chapter"),
    [
        ("distances", lambda home: home.distances("train"), "20"),
        ("embeddings", lambda home: home.embedding("train"), "30"),
        ("trajectories", lambda home: load_trajectories(home, "train"), "31"),
    ],
)
def test_metadata_that_do_not_read_are_named_with_the_command(atlas, harm, name, read, chapter):  # noqa: F811
    path = next((atlas.path / name).glob("train*.zarr"))
    harm(path / "zarr.json")
    message = said(lambda: read(atlas))
    assert str(path) in message and f"--force {chapter}`" in message
    shutil.rmtree(path)
    assert f"{path} is missing; make it with `" in said(lambda: read(atlas))


def test_a_matrix_is_made_again_as_its_error_says(atlas):  # noqa: F811
    path = atlas.distances_path("train")
    cut(path / "zarr.json")
    assert "delete that folder and make it with `python -m" in said(lambda: atlas.distances("train"))
    given = {"tile": 4, "fingerprint": atlas.points_fingerprint(), "show_progress": False}
    assert "move it away" in said(lambda: write_tiles(atlas.log_probs("train"), path, **given))
    shutil.rmtree(path)
    write_tiles(atlas.log_probs("train"), path, **given)
    assert atlas.distances("train").shape == (12, 12)


def test_a_space_without_its_facts_is_made_by_the_profile_of_its_atlas(tmp_path):
    home = Atlas.create(Profile.load("smoke"), tmp_path)
    (home.path / "spaces" / "sloppy_05" / "atlas.json").unlink()
    assert "make it with `python -m manifold_utils run --profile smoke`" in said(lambda: home.space("sloppy_05"))
    again = Atlas.create(Profile.load("smoke"), tmp_path)
    assert again.space("sloppy_05").splits == ("train", "test")


def test_a_frozen_profile_that_is_gone_is_written_again_by_chapter_10(tmp_path):
    home = Atlas.create(Profile.load("smoke"), tmp_path)
    (home.path / "profile.yaml").unlink()
    assert "profile.yaml is missing; chapter 10 writes it again (run --force 10" in said(lambda: home.profile)
    assert Atlas.create(Profile.load("smoke"), tmp_path).profile.name == "smoke"


@pytest.mark.parametrize("part", ["zarr.json", "train/zarr.json", "train/c/0/0/0"])
def test_a_run_that_was_cut_short_is_named_with_the_cure_once(atlas, part):  # noqa: F811
    run = atlas.runs.index[0]
    cut(atlas.path / "predictions" / f"{run}.zarr" / part)
    message = said(lambda: atlas.run_log_probs(run, "train"))
    assert run in message and message.count("delete the run and train it again") == 1


def test_a_damaged_run_is_not_replaced_and_the_cure_lets_it_be_saved_again(tmp_path):
    saved = a_run().save(tmp_path / "guest")
    cut(saved / "zarr.json")
    message = said(lambda: a_run().save(tmp_path / "guest"))
    assert "zarr.json is damaged" in message and "delete the folder" in message
    shutil.rmtree(saved)
    assert a_run().save(tmp_path / "guest").is_dir()


def test_a_damaged_figure_is_named(tmp_path):
    for number in range(2):
        Image.effect_noise((60, 60), 50).save(tmp_path / f"4{number}_panels.png")
    content = (tmp_path / "41_panels.png").read_bytes()
    for damaged in (content[: len(content) // 2], content[:40] + b"?" + content[41:], b""):
        (tmp_path / "41_panels.png").write_bytes(damaged)
        message = said(lambda: pages.contact_sheet(tmp_path, tmp_path.parent / f"{tmp_path.name}.png"))
        assert f"{tmp_path / '41_panels.png'} is damaged" in message


# -- what stands in the way --------------------------------------------------------------------------------------------


def test_a_folder_where_a_file_belongs_and_a_file_where_a_folder_belongs_are_named(tmp_path):
    (tmp_path / "a.json").mkdir()
    cure = "move it away and call the same command again"
    with pytest.raises(CannotWrite, match=f"a.json is a folder, and a file belongs there; {cure}"):
        write_json(tmp_path / "a.json", {})
    with pytest.raises(CannotWrite, match="a.json is a folder"), hold(tmp_path / "a.json", "held"):
        pass
    (tmp_path / "b").write_text("mine")
    with pytest.raises(CannotWrite, match=f"b is a file, and a folder belongs there; {cure}"):
        write_json(tmp_path / "b" / "c.json", {})
    with pytest.raises(CannotWrite, match="b is a file"), atomic_path(tmp_path / "b") as temporary:
        temporary.mkdir()
    assert (tmp_path / "b").read_text() == "mine" and (tmp_path / "a.json").is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "b"]
    with pytest.raises(FileExistsError, match="another"), atomic_path(tmp_path / "c"):
        raise FileExistsError("another trouble is left as it is")


def test_a_tile_that_is_a_folder_is_named(atlas):  # noqa: F811
    path = atlas.distances_path("train")
    a_folder(path / "c" / "0" / "1")
    assert "1 of 6 tiles" in lacking(path)
    given = {"tile": 4, "fingerprint": atlas.points_fingerprint(), "show_progress": False}
    assert "c/0/1 is a folder" in said(lambda: write_tiles(atlas.log_probs("train"), path, **given))


# -- atlases of recorded runs ------------------------------------------------------------------------------------------


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """A function that imports the same six runs."""
    monkeypatch.setenv("MANIFOLD_DATA", str(tmp_path))
    return lambda **options: Atlas.from_runs("mine", TABLE, LABELS, predictions=LOGITS, **options)


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), cut])
@pytest.mark.parametrize("name", ["points", "runs", "labels_train", "labels_test"])
def test_importing_again_mends_the_tables_of_recorded_runs(imported, name, harm):
    home = imported()
    whole = {t: pd.read_parquet(home.path / f"{t}.parquet") for t in ("points", "runs", "labels_train", "labels_test")}
    stored = {p: p.stat().st_mtime_ns for p in home.path.glob("predictions/**/*")}
    harm(home.path / f"{name}.parquet")
    message = said(lambda: (home.labels(name[7:]) if "labels" in name else getattr(home, name)))
    assert "import the runs of 'mine' again" in message and "--force 11" not in message
    assert ("--profile mine --force 31`" in message) == ("labels" not in name)
    (home.path / f"{name}.parquet").unlink(missing_ok=True)
    imported()
    for table, content in whole.items():
        pd.testing.assert_frame_equal(pd.read_parquet(home.path / f"{table}.parquet"), content)
    assert {p: p.stat().st_mtime_ns for p in home.path.glob("predictions/**/*")} == stored


def test_lost_labels_do_not_let_other_labels_in(imported):
    home = imported()
    (home.path / "labels_test.parquet").unlink()
    other = {**LABELS, "test": LABELS["test"][::-1].copy()}
    with pytest.raises(ValueError, match="6 of 6 runs were refused"):
        Atlas.from_runs("mine", TABLE, other, predictions=LOGITS)


def test_the_profile_of_recorded_runs_is_read_against_its_checksum(imported, capsys):
    home = imported()
    path = home.path / "profile.yaml"
    text = path.read_text()
    path.write_text(text.replace("n_components: 50", "n_components: 5"))
    assert path.read_text() != text
    assert main(["status", "--profile", "mine"]) == 2
    error = capsys.readouterr().err
    assert f"{path} is damaged" in error and f"move {home.path} away and import its runs again" in error
    home.path.rename(home.path.with_name("aside"))
    assert imported().profile.n_components == 50


def test_an_atlas_of_recorded_runs_without_its_facts_is_imported_again(imported):
    home = imported()
    (home.path / "atlas.json").unlink()
    assert "import the runs of 'mine' again" in said(lambda: Atlas.open("mine"))
    assert len(imported().runs) == 6


def test_an_import_does_not_take_the_place_of_trained_runs_that_lost_their_facts(imported, tmp_path):
    home = Atlas.create(Profile.load("smoke").model_copy(update={"name": "mine"}), tmp_path / "atlases")
    (home.path / "atlas.json").unlink()
    before = (home.path / "profile.yaml").read_bytes()
    assert "not made here" in said(imported)
    assert (home.path / "profile.yaml").read_bytes() == before
