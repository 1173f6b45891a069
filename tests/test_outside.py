"""What comes from outside is refused by name before it costs anything: names, links, arrays, tables, YAML, JSON."""

import json
import os
import pickle
import shutil
import time
import tracemalloc
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import xarray as xr
import yaml
import zarr
from numcodecs.zstd import Zstd
from test_atlas import record

from manifold_utils import outside
from manifold_utils.atlas import Atlas
from manifold_utils.atlas.records import load_run
from manifold_utils.distances.tiles import open_tiles, write_tiles
from manifold_utils.files import fingerprint, read_json
from manifold_utils.outside import check_arrays, check_table, zstd_size
from manifold_utils.profiles import Profile
from manifold_utils.strict_yaml import load_yaml
from manifold_utils.trajectories.of_atlas import load_trajectories, save_trajectories

HOSTILE = [
    "",
    ".",
    "..",
    "../outside",
    "/etc/outside",
    "a/b",
    "a\\b",
    "nul\0",
    "line\nbreak",
    ".hidden",
    "x" * 300,
    None,
]
SECONDS, BYTES = 5.0, 50 * 2**20  # more than any refusal takes; what is refused would take minutes or gigabytes


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An atlas of three runs with distances, embedding and trajectories, as a stranger might hand it over."""
    profile, rng = Profile.load("smoke"), np.random.default_rng(0)
    atlas = Atlas.create(profile, tmp_path_factory.mktemp("made"))
    for _, config in profile.configs("main")[:3]:
        atlas.save_run(record(config, rng), "main")
    atlas.collect(profile)
    for split, n in (("train", 20), ("test", 10)):
        atlas.save_labels(split, np.arange(n) % 10)
        stamp = {"fingerprint": atlas.points_fingerprint(), "show_progress": False}
        write_tiles(atlas.log_probs(split), atlas.distances_path(split), tile=4, **stamp)
        m = len(atlas.points)
        variables = {"embedding": (("point", "component"), rng.random((m, 3))), "fitted": ("point", np.ones(m, bool))}
        atlas.save_embedding(xr.Dataset(variables), split)
        names = np.array(atlas.runs.index, dtype=object)
        cube = xr.Dataset({"distance": (("s", "run", "other"), np.zeros((5, 3, 3), "f4"))}, {"run": names})
        save_trajectories(atlas, cube, split)
    return atlas


@pytest.fixture
def atlas(made, tmp_path):
    """A copy of it, to be spoiled."""
    shutil.copytree(made.path, tmp_path / "atlases" / "smoke")
    return Atlas(tmp_path / "atlases" / "smoke")


@pytest.fixture
def run(atlas):
    """Path of its first run."""
    return atlas.path / "predictions" / f"{atlas.runs.index[0]}.zarr"


def edit(path, **changes):
    """Change keys of an array's or a group's metadata."""
    found = json.loads((path / "zarr.json").read_text())
    (path / "zarr.json").write_text(json.dumps({**found, **changes}))


def cut_into(*chunks):
    return {"name": "regular", "configuration": {"chunk_shape": list(chunks)}}


def refused(call, match):
    """Refused by name, at once, and without taking memory."""
    began = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(OSError, match=match):
            call()
        assert tracemalloc.get_traced_memory()[1] < BYTES and time.monotonic() - began < SECONDS
    finally:
        tracemalloc.stop()


def test_an_honest_atlas_opens(atlas):
    assert atlas.verify() == {} and len(atlas.points) == 12
    for split in ("train", "test"):
        assert np.asarray(atlas.distances(split)).shape == (12, 12) and atlas.embedding(split).sizes["point"] == 12
        assert load_trajectories(atlas, split)[0].distance.shape == (5, 3, 3)
    assert load_run(atlas.path / "predictions" / f"{atlas.runs.index[0]}.zarr").name == atlas.runs.index[0]


# --- names and links --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_cannot_leave_the_atlas(atlas, name):
    config = Profile.load("smoke").configs("main")[0][1]
    stray = record(config, np.random.default_rng(0))
    object.__setattr__(stray, "name", name)
    before = sorted(atlas.path.parent.parent.rglob("*"))
    for call in (
        lambda: atlas.run_log_probs(name, "train"),
        lambda: atlas.run_status(name),
        lambda: atlas.save_run(stray, "main"),
        lambda: atlas.space(name or ".."),
        lambda: atlas.distances("train", name),
        lambda: atlas.embedding("train", name),
        lambda: atlas.figure_path(name),
    ):
        refused(call, "is no name")
    assert [p for p in sorted(atlas.path.parent.parent.rglob("*")) if p.name != "figures"] == before


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "..", ""])
def test_a_grid_is_a_plain_name(tmp_path, name):
    content = {"name": "mine", "description": "d", "dataset": {"name": "digits"}, "grids": {"main": {}, name: {}}}
    content["grids"]["main"] = {"common": {"architecture": "fc"}}
    content["grids"][name] = {"common": {"architecture": "fc", "seed": 1}, "dataset": {"name": "sloppy"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match=r"mine.yaml: key 'grids.*the grid .* is no name"):
        Profile.load(str(tmp_path / "mine.yaml"))


def test_a_table_that_names_runs_outside_is_refused(atlas):
    atlas.save_points(atlas.points.assign(run="../../../private"))
    refused(lambda: atlas.points, "points.parquet.*is no name")
    runs = atlas.runs.rename(index=lambda name: f"/{name}")
    runs.to_parquet(atlas.path / "runs.parquet")
    refused(lambda: atlas.runs, "runs.parquet.*is no name")


def test_links_that_lead_out_are_not_followed(atlas, run, tmp_path):
    private = tmp_path / "private.zarr"
    run.rename(private)
    run.symlink_to(private)
    refused(lambda: Atlas(atlas.path), "a link that leads out of")
    refused(lambda: atlas.run_log_probs(run.stem, "train"), "a link that leads out of")
    run.unlink()
    private.rename(run)
    (atlas.path / "predictions" / "again.zarr").symlink_to(run)  # inside is fine
    assert Atlas(atlas.path).run_log_probs("again", "test").shape == (4, 10, 10)
    shutil.move(atlas.path / "distances", tmp_path / "distances")
    (atlas.path / "distances").symlink_to(tmp_path / "distances")
    refused(lambda: Atlas(atlas.path), "a link that leads out of")


@pytest.mark.parametrize("kind", ["link", "device", "pipe"])
def test_a_chunk_is_a_plain_file(atlas, run, tmp_path, kind):
    chunk = run / "train" / "c" / "0" / "0" / "0"
    (tmp_path / "content").write_bytes(chunk.read_bytes())
    chunk.unlink()
    if kind == "pipe":
        os.mkfifo(chunk)
    else:
        chunk.symlink_to(tmp_path / "content" if kind == "link" else "/dev/zero")
    refused(lambda: atlas.run_log_probs(run.stem, "train"), "only plain files are read")
    refused(lambda: load_run(run), "only plain files are read")


def test_the_profile_of_an_atlas_reads_no_other_file(atlas, tmp_path):
    (tmp_path / "secret.yaml").write_text("token: hunter2\n")
    frozen = atlas.path / "profile.yaml"
    frozen.write_text(f"base: {tmp_path / 'secret.yaml'}\nname: smoke\ndescription: d\n")
    with pytest.raises(ValueError, match="has no base") as caught:
        _ = atlas.profile
    assert "hunter2" not in str(caught.value)


# --- arrays -----------------------------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def test_an_array_of_the_old_format_runs_nothing(atlas, run, tmp_path):
    """Under numcodecs 0.16.1 the pickle filter of a format 2 array runs code when it is read."""
    Bomb.path = str(tmp_path / "owned")
    array = run / "train"
    shutil.rmtree(array)
    array.mkdir()
    layout = {"shape": [4, 20, 10], "chunks": [4, 20, 10], "dtype": "|O", "order": "C", "zarr_format": 2}
    meta = {**layout, "compressor": None, "fill_value": None, "filters": [{"id": "pickle", "protocol": 5}]}
    (array / ".zarray").write_text(json.dumps(meta))
    (array / "0.0.0").write_bytes(pickle.dumps([Bomb(), [1]]))
    refused(lambda: load_run(run), "Zarr format 2")
    refused(lambda: atlas.run_log_probs(run.stem, "train"), "Zarr format 2")
    assert not (tmp_path / "owned").exists()
    other = atlas.path / "embeddings" / "train_bhattacharyya.zarr"
    (other / ".zgroup").write_text('{"zarr_format": 2}')
    refused(lambda: atlas.embedding("train"), "Zarr format 2")


@pytest.mark.parametrize("name", ["numcodecs.pickle", "blosc", "sharding_indexed", "gzip", "numcodecs.json2"])
def test_only_codecs_that_are_written_here(atlas, run, name):
    codecs = json.loads((run / "train" / "zarr.json").read_text())["codecs"]
    edit(run / "train", codecs=[codecs[0], {"name": name, "configuration": {}}])
    refused(lambda: load_run(run), "only types float32 and codecs")
    matrix = atlas.distances_path("train")
    edit(matrix, codecs=[codecs[0], {"name": name, "configuration": {}}])
    refused(lambda: atlas.distances("train"), "no matrix of tiles")
    edit(atlas.embedding_path("train") / "fitted", codecs=[{"name": name}])
    refused(lambda: atlas.embedding("train"), "and codecs")


def test_no_array_hides_in_a_groups_metadata(atlas, run):
    edit(run, consolidated_metadata={"kind": "inline", "metadata": {}, "must_understand": False})
    refused(lambda: load_run(run), "consolidated_metadata")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"shape": [4, 10**6, 10**6], "chunk_grid": cut_into(4, 10**6, 10**6)}, "would be|its shape asks for"),
        ({"shape": [10**6, 20, 10]}, r"asks for \(4, any, any\)"),
        ({"shape": [4, 500, 500], "chunk_grid": cut_into(1, 1, 1)}, "1000000 chunks of 1 elements"),
        ({"shape": [4, 20, 10], "chunk_grid": cut_into(4, 0, 10)}, "below zero"),
        ({"shape": [4, -20, 10]}, "below zero"),
        ({"shape": [4, "20", 10]}, "no regular grid"),
        ({"shape": "wide"}, "no array's|no regular grid"),
        ({"data_type": "|O"}, "only types"),
        ({"storage_transformers": [{"name": "x"}]}, "only types"),
        ({"extension": {"must_understand": True}}, "which nothing here writes"),
        ({"zarr_format": 2}, "no array of Zarr format 3"),
        ({"node_type": "group"}, "no array of Zarr format 3"),
    ],
)
def test_the_shape_of_a_run_is_that_of_its_points(run, changes, match):
    edit(run / "train", **changes)
    refused(lambda: load_run(run), match)


def test_a_chunk_unpacks_to_its_size_and_no_more(run):
    chunk = run / "train" / "c" / "0" / "0" / "0"
    bomb = bytes(Zstd(level=9).encode(np.zeros(2**24, "u1")))
    assert zstd_size(BytesIO(bomb)) == 2**24 and len(bomb) < 4000
    chunk.write_bytes(bomb + b"0000")
    refused(lambda: load_run(run), "its shape asks for 3200")
    chunk.write_bytes(bytes(Zstd().encode(bytes(3200))) + bomb + b"0000")  # a second frame, which numcodecs unpacks
    refused(lambda: load_run(run), "no size unpacked")
    chunk.write_bytes(bomb[:4] + b"\0" + bomb[5:])  # a frame that does not say its size
    refused(lambda: load_run(run), "no size unpacked|its shape asks for")


@pytest.mark.parametrize("n", [1, 255, 256, 257, 65_791, 65_792, 300_000])
@pytest.mark.parametrize("noise", [False, True])
def test_the_size_of_a_frame_is_read_from_its_headers(n, noise):
    content = np.random.default_rng(0).bytes(n) if noise else bytes(n)
    for level in (0, 1, 9):
        packed = bytes(Zstd(level=level).encode(content))
        assert zstd_size(BytesIO(packed)) == n == zstd_size(BytesIO(packed + b"0000"), 4)
        assert zstd_size(BytesIO(packed[:-1])) is None and zstd_size(BytesIO(packed + b"0")) is None


@pytest.mark.parametrize("facts", [{}, {"run": 3}, [], "x", {"run": {}, "points": {"step": 7}}])
def test_facts_of_another_form_are_one_error(run, facts):
    edit(run, attributes={"record": facts, "checksum": fingerprint(facts)})
    refused(lambda: load_run(run), run.name)


def test_distances_have_a_row_for_each_point(atlas, tmp_path):
    path = atlas.distances_path("train")
    foreign = write_tiles(np.log(np.full((8, 5, 2), 0.5)), tmp_path / "d.zarr", tile=4, show_progress=False)
    shutil.rmtree(path)
    shutil.copytree(foreign.path, path)
    attributes = {**foreign.attrs, "fingerprint": atlas.points_fingerprint()}
    edit(path, attributes=attributes)
    assert open_tiles(path, fingerprint=atlas.points_fingerprint()).shape == (8, 8)  # the stamp alone is content
    refused(lambda: atlas.distances("train"), "but there are 12 points")
    for shape, chunks, match in (
        ([10**6, 10**6], [10**6, 10**6], "but there are 12 points"),
        ([12, 12], [12, 6], "no matrix of tiles"),
    ):
        edit(path, shape=shape, chunk_grid=cut_into(*chunks), attributes=attributes)
        refused(lambda: atlas.distances("train"), match)


def test_a_matrix_of_a_million_tiles_is_refused(atlas, monkeypatch):
    edit(atlas.distances_path("train"), shape=[1000, 1000], chunk_grid=cut_into(1, 1))
    monkeypatch.setattr(Atlas, "points", pd.DataFrame({"run": "a", "step": np.arange(1000)}))
    refused(lambda: atlas.distances("train"), "1000000 tiles of 1 x 1")


def test_an_embedding_has_a_row_for_each_point(atlas):
    m, rng = 6, np.random.default_rng(0)
    variables = {"embedding": (("point", "component"), rng.random((m, 3))), "fitted": ("point", np.ones(m, bool))}
    atlas.save_embedding(xr.Dataset(variables), "train")
    refused(lambda: atlas.embedding("train"), r"asks for \(12, any\)")
    path = atlas.embedding_path("test")
    edit(path / "embedding", shape=[12, 10**9], chunk_grid=cut_into(12, 10**9))
    refused(lambda: atlas.embedding("test"), "would be|its shape asks for")
    for k in range(70):
        shutil.copytree(path / "fitted", path / f"more{k}")
    refused(lambda: check_arrays(path), "72 arrays")


def test_trajectories_are_of_the_runs_of_the_atlas(atlas):
    cube = xr.Dataset({"distance": (("s", "run", "other"), np.zeros((5, 2, 2), "f4"))})
    save_trajectories(atlas, cube, "train")
    refused(lambda: load_trajectories(atlas, "train"), r"asks for \(any, 3, 3\)")


# --- tables and text --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1, 2], [3]]),
        pa.array([{"a": 1}, {"a": 2}]),
        pa.array([b"\x80\x05N.", b"x"], type=pa.binary()),
        pa.array([[("k", 1)], []], type=pa.map_(pa.string(), pa.int64())),
    ],
    ids=["list", "struct", "bytes", "map"],
)
def test_a_table_is_flat(atlas, column):
    parquet.write_table(pa.table({"label": column}), atlas.path / "labels_train.parquet")
    refused(lambda: atlas.labels("train"), "neither numbers nor texts|nested")


def test_a_table_is_of_a_bounded_size(atlas, monkeypatch):
    path = atlas.path / "labels_train.parquet"
    parquet.write_table(pa.table({"label": np.zeros(60_000, "i8")}), path)
    assert len(atlas.labels("train")) == 60_000 and outside.TABLE_CELLS == 50_000_000
    monkeypatch.setattr(outside, "TABLE_CELLS", 50_000)
    refused(lambda: atlas.labels("train"), "60000 rows")
    monkeypatch.undo()
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**6, "i1")), pa.array(["x" * 10**5]))
    parquet.write_table(pa.table({"text": long}), path)
    refused(lambda: check_table(path), "would take 100000000000 bytes")


def test_yaml_that_explodes_is_refused():
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 9))
    for text, match in (
        (laughs, "aliases stand for more than"),
        ("a: &a [*a]", "aliases stand for more than"),
        ("[" * 100 + "]" * 100, "inside each other"),
        ("x" * 300_000, "300000 characters"),
        ("a: " + "9" * 5000, "a value that is none"),
        ("a: 2001-02-31", "a value that is none"),
    ):
        with pytest.raises(yaml.YAMLError, match=match):
            load_yaml(text)
    assert load_yaml("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}")["d"] == {"b": 1, "e": 2}


def test_json_is_bounded_in_size_and_depth(tmp_path, monkeypatch):
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000 + "]" * 100_000)
    refused(lambda: read_json(path), "deep: at most")
    path.write_text(json.dumps({"long": "x" * 5000}))
    monkeypatch.setattr("manifold_utils.outside.JSON_BYTES", 4000)
    assert read_json(path)["long"]
    with open(path, "wb") as handle:
        handle.truncate(2**33)
    refused(lambda: read_json(path), "8589934592 bytes")


def test_pickles_are_opened_nowhere():
    """No call in the package can unpickle, except the reader of CIFAR-10's own files, which makes arrays only."""
    package = Path(Atlas.__init__.__code__.co_filename).parents[1]
    words = ("pickle.load", "torch.load(", "read_pickle", "allow_pickle=True", "joblib.load", "yaml.load(", "np.load(")
    lines = [
        (path.name, line.strip()) for path in package.rglob("*.py") for line in path.read_text().splitlines()
        if any(word in line for word in words)
    ]  # fmt: skip
    safe = "return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader"
    open_ = [(name, line) for name, line in lines if "allow_pickle=False" not in line and line != safe]
    assert len(lines) > 5 and open_ == [("sources.py", 'yield MappedSource.of(np.load(file, mmap_mode="r"))')]
    assert zarr.open_array  # the store's own opener; with the rules above it sees format 3 only
