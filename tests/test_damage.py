"""Every kind of file in an atlas, damaged in every way: it is named in an error, or read as if nothing had happened."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from manifold_utils import claims
from manifold_utils.atlas import Atlas
from manifold_utils.atlas.checked import read_arrays, read_table, write_arrays, write_table
from manifold_utils.atlas.records import RunRecord
from manifold_utils.distances.tiles import write_tiles
from manifold_utils.files import read_json, write_json
from manifold_utils.profiles import Profile
from manifold_utils.studies import null_spectra
from manifold_utils.training.grid import freeze_data
from manifold_utils.trajectories import of_atlas

N_POINTS, SIZES = 4, {"train": 20, "test": 10}
LOSSES = ("loss_train", "error_train", "loss_test", "error_test")


def run_of(config, rng):
    points = pd.DataFrame({"step": range(N_POINTS), "epoch": np.arange(4.0), "phase": "main"})
    points = points.assign(**{name: rng.uniform(size=N_POINTS) for name in LOSSES})
    log_probs = {s: np.log(rng.dirichlet(np.ones(10), (N_POINTS, n))).astype("f4") for s, n in SIZES.items()}
    return RunRecord(config.run_id, points, log_probs, "x", config.model_dump(mode="json"), "finished", 1.0, {"n": 3})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An atlas with something of everything that is stored, and readers of all of it."""
    profile, rng = Profile.load("smoke"), np.random.default_rng(0)
    atlas = Atlas.create(profile, tmp_path_factory.mktemp("data") / "atlases")
    freeze_data(atlas, profile.dataset)
    for _, config in profile.configs("main")[:3]:
        atlas.save_run(run_of(config, rng), "main")
    runs, points = atlas.collect(profile)
    write_tiles(
        atlas.log_probs("train"), atlas.distances_path("train"), tile=8, fingerprint=atlas.points_fingerprint(),
        show_progress=False,
    )  # fmt: skip
    road = xr.Dataset({"embedding": (("point", "component"), rng.normal(size=(len(points), 3)))})
    road["width"] = ("point", np.full(len(points), np.nan))  # zarr writes no chunk for it
    atlas.save_embedding(road, "train")
    names = np.array(runs.index, dtype=object)
    between = {"distance": (("s", "run", "other"), rng.uniform(size=(2, 3, 3)).astype("f4"))}
    of_atlas.save_trajectories(atlas, xr.Dataset(between, {"run": names}), "train")
    table = pd.DataFrame({"world": ["real", "class"], "left_out": "", "n_axes": [2.0, np.nan]})
    null_spectra.save(atlas, "train", table, table.assign(view="as it is"))
    claims.save_results(atlas, "42", {"stress": claims.result(0.5, low=0.25, n=7)})
    return atlas.path


def contents(folder):
    """All that the book reads of an atlas, as numbers and texts that can be compared."""
    atlas = Atlas(folder)
    run = atlas.runs.index[0]
    yield from (atlas.runs.to_csv(), atlas.points.to_csv(), atlas.labels("train").tobytes(), str(atlas.profile))
    yield from (atlas.run_log_probs(run, split).tobytes() for split in SIZES)
    yield np.asarray(atlas.distances("train")).tobytes()
    dataset, rows = of_atlas.load_trajectories(atlas, "train")
    for found in (atlas.embedding("train"), dataset):
        yield from (str(found.sizes), *(str(found[name].values.tolist()) for name in sorted(found.variables)))
    yield from (table.to_csv() for table in null_spectra.load(atlas, "train"))
    yield str(claims.load_results(folder / "results"))
    yield str(sorted(read_json(folder / "dataset.json").items()))


def flipped(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGE = {
    "a byte at the start": lambda content: flipped(content, min(9, len(content) - 1)),
    "a byte in the middle": lambda content: flipped(content, len(content) // 2),
    "a byte near the end": lambda content: flipped(content, len(content) - min(13, len(content))),
    "cut short": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "gone": None,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_anywhere_is_named_or_changes_nothing(made, tmp_path, kind):
    whole, run = list(contents(made)), Atlas(made).runs.index[0]
    files = [p.relative_to(made) for p in made.rglob("*") if p.is_file() and "spaces" not in p.parts]
    files = [f for f in files if f.name != "lock" and (f.parts[0] != "predictions" or f.parts[1].startswith(run))]
    assert {f.parts[0] for f in files} >= {"predictions", "distances", "embeddings", "trajectories", "nulls", "results"}
    noticed = set()
    for file in files:
        folder = tmp_path / "damaged"
        shutil.copytree(made, folder)
        content = (folder / file).read_bytes()
        if DAMAGE[kind] is None:
            (folder / file).unlink()
        else:
            (folder / file).write_bytes(DAMAGE[kind](content))
        try:
            read = list(contents(folder))
        except (OSError, ValueError) as error:  # FileNotFoundError among them
            inside = file.parts[1] if file.parts[0] in ("predictions", "distances", "trajectories") else file.name
            assert re.search(f"{re.escape(inside)}|{re.escape(file.parent.name)}", str(error)), (file, str(error))
            assert len(str(error)) < 700, error
            noticed.add(file)
        else:
            absent = file.parts[0] == "results" and kind == "gone"  # a chapter that has not run
            assert read == whole or absent, f"{file}: {kind} went unnoticed"
        shutil.rmtree(folder)
    assert len(noticed) >= 0.6 * len(files), "damage is noticed, not avoided"


def test_a_damaged_table_says_what_to_call(made, tmp_path):
    shutil.copytree(made, tmp_path / "atlases" / "smoke")
    atlas = Atlas(tmp_path / "atlases" / "smoke")
    path = atlas.path / "points.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    cure = f"python -m manifold_utils run --profile smoke --data-dir {tmp_path} --force 11 31"
    with pytest.raises(OSError, match=re.escape(cure)):
        _ = atlas.points
    runs, points = atlas.collect(atlas.profile)
    assert len(points) == 12, "the cure rebuilds the table from the runs"


def test_a_chunk_of_fill_values_is_not_a_missing_one(tmp_path):
    written = xr.Dataset({"width": ("point", np.full(5, np.nan)), "name": ("point", np.array(["a"] * 5, dtype=object))})
    write_arrays(tmp_path / "a.zarr", written)
    xr.testing.assert_identical(read_arrays(tmp_path / "a.zarr", "cure"), written)
    (tmp_path / "a.zarr" / "width" / "c" / "1").write_bytes(b"strange")
    with pytest.raises(OSError, match="width/c/1 does not belong there; cure"):
        read_arrays(tmp_path / "a.zarr", "cure")


def test_files_without_checksums_are_read(tmp_path):
    """Atlases from before there were checksums stay readable."""
    table = pd.DataFrame({"run": ["a", "b"], "value": [1.0, np.nan]})
    table.to_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet", "cure"), table)
    dataset = xr.Dataset({"x": ("point", [1.0, 2.0])})
    dataset.to_zarr(tmp_path / "d.zarr", consolidated=False, zarr_format=3)
    xr.testing.assert_identical(read_arrays(tmp_path / "d.zarr", "cure"), dataset)
    (tmp_path / "j.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "j.json") == {"a": 1}


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame({"run": [], "step": []}),
        pd.DataFrame(columns=["grid", "status"]),
        pd.DataFrame({"seed": [1, None], "note": [None, "x"]}, index=pd.Index(["a", "b"], name="run")),
        pd.DataFrame({"kind": pd.Categorical(["a", "b"]), "on": [True, False], "small": np.float32([0, 1])}),
    ],
)
def test_tables_come_back_as_they_were(tmp_path, table):
    write_table(tmp_path / "t.parquet", table)
    table.to_parquet(tmp_path / "plain.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet", ""), pd.read_parquet(tmp_path / "plain.parquet"))


def test_json_is_checked(tmp_path):
    write_json(tmp_path / "a.json", {"value": 0.1234, "names": ("a", "b"), "inner": {1: None}})
    assert read_json(tmp_path / "a.json") == {"value": 0.1234, "names": ["a", "b"], "inner": {"1": None}}
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_text(text.replace("0.1234", "0.1224"))
    with pytest.raises(ValueError, match=r"a\.json is damaged \(it does not agree with its checksum"):
        read_json(tmp_path / "a.json")
