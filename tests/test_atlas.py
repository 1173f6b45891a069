"""The store: atomic writes, resumable tables, checksums, locks. Real files, real damage."""

import multiprocessing
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from manifold_utils.atlas import Atlas
from manifold_utils.atlas.records import RunRecord
from manifold_utils.files import PROJECT, TEMPORARY, atomic_path, read_json, write_json
from manifold_utils.profiles import Profile


def record(config, rng, status="finished", n=4, sizes=(20, 10)):
    points = pd.DataFrame(
        {
            "step": range(n),
            "epoch": np.arange(n, dtype=float),
            "phase": "main",
            "loss_train": 1.0,
            "error_train": 0.1,
            "loss_test": 1.0,
            "error_test": 0.2,
        }
    )
    log_probs = {
        s: np.log(rng.dirichlet(np.ones(10), (n, size))).astype("f4")
        for s, size in zip(("train", "test"), sizes, strict=True)
    }
    factors = config.model_dump(mode="json")
    return RunRecord(config.run_id, points, log_probs, "x", factors, status, 1.0, {"n_parameters": 3})


@pytest.fixture
def filled(tmp_path):
    profile, rng = Profile.load("smoke"), np.random.default_rng(0)
    atlas = Atlas.create(profile, tmp_path)
    records = [record(c, rng) for _, c in profile.configs("main")[:3]]
    for r in reversed(records):
        atlas.save_run(r, "main")
    atlas.collect(profile)
    return atlas, profile, records


def test_tables_and_predictions_follow_the_profiles_order(filled):
    atlas, _, records = filled
    assert atlas.runs.index.tolist() == [r.name for r in records]
    expected = np.concatenate([r.log_probs["train"] for r in records])
    np.testing.assert_array_equal(atlas.log_probs("train").compute(), expected)
    assert len(atlas.points) == len(expected) == len(atlas.table("main"))


def test_factors_are_what_differs_between_its_runs(filled):
    atlas, profile, _ = filled
    configs = [config for _, config in profile.configs("main")[:3]]
    assert atlas.factors == ("architecture",) and len({config.architecture for config in configs}) == 2
    assert atlas.family == "architecture" and atlas.seed == "seed" and len({config.seed for config in configs}) == 2


def test_diverged_runs_stay_in_the_table_and_out_of_the_points(filled):
    atlas, profile, _ = filled
    config = profile.configs("main")[3][1]
    atlas.save_run(record(config, np.random.default_rng(1), "diverged", n=2), "main")
    runs, points = atlas.collect(profile)
    assert runs.loc[config.run_id, "status"] == "diverged"
    assert config.run_id not in set(points.run)


def test_a_rerun_of_collect_keeps_added_columns_and_new_points_drop_them(filled):
    atlas, profile, _ = filled
    atlas.save_points(atlas.points.assign(progress_train=0.5))
    assert "progress_train" in atlas.collect(profile)[1]
    atlas.save_run(record(profile.configs("main")[3][1], np.random.default_rng(2)), "main")
    assert "progress_train" not in atlas.collect(profile)[1]


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damaged_predictions_are_named(filled, damage):
    atlas, _, records = filled
    run_id = records[1].name
    chunk = atlas.path / "predictions" / f"{run_id}.zarr" / "train" / "c" / "0" / "0" / "0"
    content = bytearray(chunk.read_bytes())
    if damage == "delete":
        chunk.unlink()
    else:
        content[len(content) // 2] ^= 1
        chunk.write_bytes(bytes(content if damage == "flip" else content[:40]))
    assert list(atlas.verify()) == [run_id]
    with pytest.raises(OSError, match=run_id):
        atlas.log_probs("train").compute()


def test_damaged_tables_are_named(filled):
    atlas = filled[0]
    (atlas.path / "points.parquet").write_bytes(b"not a table")
    with pytest.raises(OSError, match="points.parquet is damaged"):
        _ = atlas.points


def test_a_failed_write_leaves_the_old_content(tmp_path):
    target = tmp_path / "value.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("half of the new")
        raise KeyboardInterrupt
    assert target.read_text() == "old" and os.listdir(tmp_path) == ["value.txt"]


def _hold(path, held, release):
    with Atlas(path).lock():
        held.set()
        release.wait(60)


def test_a_second_driver_is_refused_and_a_dead_ones_lock_is_gone(filled):
    atlas = filled[0]
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(atlas.path, held, release))
    other.start()
    assert held.wait(60)
    with pytest.raises(RuntimeError, match=f"process {other.pid}"), atlas.lock():
        pass
    other.kill()
    other.join()
    with atlas.lock():
        assert True


def test_embeddings_are_stamped_with_their_points(filled):
    atlas, profile, _ = filled
    dataset = xr.Dataset({"eigenvalues": ("component", [2.0, -1.0])})
    atlas.save_embedding(dataset, "train")
    np.testing.assert_array_equal(atlas.embedding("train").eigenvalues, [2.0, -1.0])
    atlas.save_run(record(profile.configs("main")[3][1], np.random.default_rng(3)), "main")
    atlas.collect(profile)
    with pytest.raises(ValueError, match="belongs to other points"):
        atlas.embedding("train")


def test_missing_things_say_what_to_run(tmp_path, filled):
    with pytest.raises(FileNotFoundError, match="manifold_utils run --profile nowhere"):
        Atlas(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="--force 20`"):
        filled[0].distances("train")
    with pytest.raises(ValueError, match="split must be"):
        filled[0].log_probs("valid")


def test_an_atlas_opens_by_the_profiles_name_or_by_its_file(tmp_path):
    source = tmp_path / "mine.yaml"
    smoke = (PROJECT / "notebooks" / "profiles" / "smoke.yaml").read_text()
    source.write_text(smoke.replace("name: smoke", "name: mine"))
    made = Atlas.create(Profile.load(str(source)), tmp_path / "atlases")
    assert made.path == Atlas.open("mine", str(tmp_path)).path == Atlas.open(str(source), str(tmp_path)).path


def test_an_unknown_name_says_which_profiles_and_atlases_there_are(tmp_path):
    Atlas.create(Profile.load("smoke").model_copy(update={"name": "mine"}), tmp_path / "atlases")
    said = r"no profile and no atlas 'minne'; profiles: cifar10, .*smoke; atlases.*: mine$"
    with pytest.raises(ValueError, match=said):
        Atlas.open("minne", tmp_path)
    assert Atlas.open("mine", tmp_path).path.name == "mine"
    with pytest.raises(FileNotFoundError, match="run --profile digits"):
        Atlas.open("digits", tmp_path)


@pytest.mark.parametrize("number", [1, 3])
def test_an_atlas_of_another_format_is_refused(filled, number):
    facts = read_json(filled[0].path / "atlas.json")
    write_json(filled[0].path / "atlas.json", facts | {"format": number})
    with pytest.raises(ValueError, match=f"format {number}, this code reads format 2"):
        Atlas(filled[0].path)


def test_points_at_other_steps_are_other_points_and_one_unknown_grid_is_enough_to_refuse(filled):
    atlas, before = filled[0], filled[0].points_fingerprint()
    with pytest.raises(ValueError, match="no points of grid"):
        atlas.table(["main", "nowhere"])
    atlas.save_points(atlas.points.assign(step=atlas.points.step + 1))
    assert atlas.points_fingerprint() != before


def test_the_last_checkpoint_is_the_final_one(filled):
    points = filled[2][0].points.assign(loss_train=[4.0, 3.0, 2.0, 1.0])
    last = replace(filled[2][0], points=points)
    filled[0].save_run(last, "main")
    assert filled[0].collect(filled[1])[0].loc[last.name, "final_loss_train"] == 1.0


def test_what_a_killed_driver_left_in_a_space_is_cleared_too(tmp_path):
    atlas = Atlas.create(Profile.load("smoke"), tmp_path)
    left = [home / "predictions" / f"{TEMPORARY}0-a" for home in (atlas.path, *atlas.path.glob("spaces/*"))]
    for folder in left:
        folder.mkdir()
    with atlas.lock():
        assert len(left) > 1 and not any(folder.exists() for folder in left)
