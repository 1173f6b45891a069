"""Done means that everything is there: a chapter whose artefacts were deleted or cut short, in part, is run again."""

import json
import shutil
from itertools import product

import numpy as np
import pandas as pd
import pytest
from test_atlas import record
from test_outside import atlas, cut_into, edit, made  # noqa: F401 - fixtures

from manifold_utils.__main__ import main
from manifold_utils.atlas import Atlas
from manifold_utils.book import Edition
from manifold_utils.book.artefacts import damaged, lacking, lacking_runs
from manifold_utils.files import fingerprint
from manifold_utils.profiles import Profile

CHAPTERS = {"11": "runs", "20": "distances", "31": "trajectories", "30": "embeddings", "32": "nulls"}


def first_chunk(path):
    return next(p for p in sorted(path.rglob("c/*")) for p in [p, *sorted(p.rglob("*"))] if p.is_file())


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [lambda file: file.unlink(), cut], ids=["deleted", "cut short"])
@pytest.mark.parametrize("name", ["distances", "embeddings", "trajectories"])
def test_a_chunk_that_is_gone_is_noticed(atlas, name, harm):  # noqa: F811
    path = next((atlas.path / name).glob("train*.zarr"))
    assert lacking(path) == ""
    harm(first_chunk(path))
    assert path.name in lacking(path) and ("missing" in lacking(path) or "incomplete" in lacking(path))


def test_a_matrix_of_a_stranger_costs_nothing_to_look_at(atlas):  # noqa: F811
    path = atlas.distances_path("train")
    edit(path, shape=[10**6, 10**6], chunk_grid=cut_into(1, 1))
    assert "1000000000000 tiles of 1 x 1" in lacking(path)
    profile = Profile.load("smoke")
    profile = profile.model_copy(update={"grids": {"main": profile.grids["main"]}})
    (message,) = damaged(profile, atlas.path)
    assert str(path) in message and "but there are 12 points" in message


@pytest.mark.parametrize("name", ["points.parquet", "labels_test.parquet", "atlas.json"])
def test_a_file_that_was_cut_short_is_noticed(atlas, name):  # noqa: F811
    assert lacking(atlas.path / name) == ""
    cut(atlas.path / name)
    assert lacking(atlas.path / name) == f"{atlas.path / name} is cut short"
    (atlas.path / name).write_bytes(b"")
    assert "is cut short" in lacking(atlas.path / name)


def test_every_planned_run_must_be_there_whole(tmp_path):
    profile, rng = Profile.load("smoke"), np.random.default_rng(0)
    home = Atlas.create(profile, tmp_path)
    for name, (_, grids) in profile.spaces().items():
        for grid in grids:
            for _, config in profile.configs(grid):
                home.space(name).save_run(record(config, rng), grid)
    assert lacking_runs(profile, home.path) == ""
    runs = [home.path / "predictions" / f"{config.run_id}.zarr" for _, config in profile.configs("main")]
    shutil.rmtree(runs[0])
    (runs[1] / "test" / "c" / "0" / "0" / "0").unlink()
    flip(runs[2] / "zarr.json")
    found = lacking_runs(profile, home.path)
    assert f"run {runs[0].stem} is missing" in found and f"{runs[1]}" in found and f"{runs[2]} is damaged" in found
    shutil.rmtree(home.path / "spaces" / "sloppy_05" / "predictions")
    assert "and" in lacking_runs(profile, home.path) and "more" in lacking_runs(profile, home.path)
    with pytest.raises(OSError, match="is missing"):  # nor does training take it for a finished run
        home.run_status(runs[1].stem)


@pytest.fixture
def edition(atlas):  # noqa: F811
    """An Edition of the real book whose records say that chapters 11 to 32 are done."""
    made_here = Edition("smoke", data_dir=str(atlas.path.parent.parent))
    nulls = atlas.path / "nulls"
    nulls.mkdir()
    for split in ("train", "test"):
        for name in ("equal", "all"):
            pd.DataFrame({"world": ["real"]}).to_parquet(nulls / f"{split}_{name}.parquet")
        for metric, name in product(made_here.profile.metrics[1:], ("distances", "embeddings")):
            folder = atlas.path / name
            shutil.copytree(folder / f"{split}_bhattacharyya.zarr", folder / f"{split}_{metric}.zarr")
    atlas.save_points(atlas.points.assign(progress_train=0.5, progress_test=0.5))
    (atlas.path / "figures").mkdir(exist_ok=True)
    (atlas.path / "results").mkdir()
    made_here.output.mkdir()
    for id_ in CHAPTERS:
        job = made_here.jobs(made_here.book.by_id[id_])[0]
        (atlas.path / "results" / f"{id_}.json").write_text("{}")
        (atlas.path / "figures" / f"{id_}_figure.png").write_bytes(b"picture")
        shutil.copy(made_here.book.path(job.chapter), made_here.executed_path(job))
        inputs = made_here.inputs(job)
        content = {"job": job.name, "inputs": inputs, "fingerprint": fingerprint(inputs)}
        made_here.record_path(job).write_text(json.dumps(content))
    return made_here


def reasons(edition):
    jobs = {id_: edition.jobs(edition.book.by_id[id_])[0] for id_ in CHAPTERS}
    return {id_: edition.why(job) for id_, job in jobs.items() if edition.why(job)}


def test_a_chapter_is_run_again_for_what_it_lacks_and_for_nothing_else(edition, monkeypatch):
    monkeypatch.setattr("manifold_utils.book.jobs.lacking_runs", lambda profile, folder: "")
    assert reasons(edition) == {}
    for id_, name in [*CHAPTERS.items()][1:4]:
        chunk = first_chunk(next((edition.atlas / name).glob("test*.zarr")))
        content = chunk.read_bytes()
        chunk.unlink()
        assert set(reasons(edition)) == {id_}, name
        chunk.write_bytes(content)
    table = edition.atlas / "nulls" / "test_equal.parquet"
    cut(table)
    assert reasons(edition) == {"32": f"{table} is cut short"}
    monkeypatch.undo()
    assert "run allcnn-" in reasons(edition)["11"]  # three of the planned runs are there


def test_a_deep_look_reads_everything_against_its_checksums(edition, capsys):
    profile = Profile.load("smoke")
    profile = profile.model_copy(update={"grids": {"main": profile.grids["main"]}})
    assert damaged(profile, edition.atlas) == []
    run = next(edition.atlas.glob("predictions/*.zarr"))
    flip(run / "test" / "c" / "0" / "0" / "0")
    tile = edition.atlas / "distances" / "test_bhattacharyya.zarr" / "c" / "0" / "1"
    flip(tile)
    assert lacking(tile.parents[2]) == "" and lacking(run / "test") == ""  # their sizes are right
    first, second = damaged(profile, edition.atlas)
    assert str(run) in first and str(tile) in second and "delete" in second
    assert main(["status", "--deep", "--profile", "smoke", "--data-dir", str(edition.atlas.parents[1])]) == 1
    assert str(tile) in capsys.readouterr().out


@pytest.mark.parametrize("name", ["points.parquet", "labels_test.parquet", "profile.yaml", "atlas.json"])
def test_a_deep_look_reads_tables_json_and_the_frozen_profile_too(edition, name):
    """A flipped byte is noticed, or is one of those that mean nothing: what is read is then what was written."""
    profile = Profile.load("smoke")
    profile = profile.model_copy(update={"grids": {"main": profile.grids["main"]}})
    path = edition.atlas / name
    content, noticed = path.read_bytes(), 0
    table = pd.read_parquet(path) if path.suffix == ".parquet" else None
    try:
        for k in [len(content) // 2] if table is None else np.linspace(0, len(content) - 1, 9).astype(int):
            path.write_bytes(content[:k] + bytes([content[k] ^ 1]) + content[k + 1 :])
            found = [message for message in damaged(profile, edition.atlas) if str(path) in message]
            noticed += bool(found)
            assert found or (table is not None and pd.read_parquet(path).equals(table)), f"byte {k} of {len(content)}"
    finally:
        path.write_bytes(content)
    assert noticed >= (1 if table is None else 2)
