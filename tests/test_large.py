"""What the paper's size needs, at sizes that take seconds: columns on disk, products without a matrix, a made world."""

import pickle

import numpy as np
import pytest
import zarr

from manifold_utils import scale
from manifold_utils.distances import columns, pairwise, recomputed
from manifold_utils.files import hold
from manifold_utils.inpca import InPCA
from manifold_utils.inpca.landmarks import LandmarkInPCA
from manifold_utils.scale import LOCK, Head, Ladder, device, reports
from manifold_utils.scale import world as large_world
from manifold_utils.workers import Resources, client


@pytest.fixture(scope="module")
def cloud():
    rng = np.random.default_rng(3)
    logits = rng.standard_normal((90, 24, 4)) + 4 * np.linspace(0, 1, 90)[:, None, None] * np.eye(4)[0]
    return (logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(columns, "TILE", 32)
    monkeypatch.setattr(columns, "BLOCK", 8)
    monkeypatch.setattr(recomputed, "TILE", 32)
    monkeypatch.setattr(recomputed, "TASK_TILES", 2)


def test_columns_are_those_of_the_whole_matrix(cloud, tmp_path, small_blocks):
    which = np.random.default_rng(0).permutation(90)[:20]
    found = columns.write_columns(cloud, tmp_path / "D.zarr", which, show_progress=False)
    assert np.abs(found[:] - pairwise(cloud, precision="double")[:, which]).max() < 1e-6
    assert found.dtype == np.float32 and found.chunks == (32, 8)


def test_columns_go_on_where_they_stopped(cloud, tmp_path, small_blocks, monkeypatch):
    which = np.arange(0, 90, 5)
    path = tmp_path / "D.zarr"
    first = columns.write_columns(cloud, path, which, show_progress=False)[:]
    lost = path / "c" / "1" / "2"
    lost.unlink()
    done, compute = [], columns.compute_block
    monkeypatch.setattr(columns, "compute_block", lambda *a, **k: done.append(k) or compute(*a, **k))
    again = columns.write_columns(cloud, path, which, show_progress=False)[:]
    assert len(done) == 1 and np.array_equal(first, again)
    assert not list(tmp_path.glob("*.npy"))  # the gathered predictions are gone


def test_other_columns_are_another_matrix(cloud, tmp_path, small_blocks):
    columns.write_columns(cloud, tmp_path / "D.zarr", [1, 2, 3], show_progress=False)
    with pytest.raises(ValueError, match=r"made from something else \(columns\)"):
        columns.write_columns(cloud, tmp_path / "D.zarr", [1, 2, 4], rebuild=False, show_progress=False)
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="choose another path"):
        columns.write_columns(cloud, tmp_path / "mine", [1, 2], show_progress=False)


@pytest.mark.parametrize(
    ("which", "message"), [([], "different row"), ([1, 1], "different row"), ([90], "0 to 89"), ([-1, 2], "0 to 89")]
)
def test_columns_that_are_no_rows_are_refused(cloud, tmp_path, which, message):
    with pytest.raises(ValueError, match=message):
        columns.write_columns(cloud, tmp_path / "D.zarr", which)
    assert not list(tmp_path.iterdir())


def test_landmarks_from_disk_and_from_memory_agree(cloud, tmp_path, small_blocks):
    which = np.arange(0, 90, 3)
    on_disk = columns.write_columns(cloud, tmp_path / "D.zarr", which, show_progress=False)
    near = LandmarkInPCA(3).fit(on_disk, which)
    here = LandmarkInPCA(3).fit(pairwise(cloud, cloud[which]), which)
    assert np.abs(near.embedding_ - here.embedding_).max() < 1e-5
    assert np.allclose(near.transform(on_disk[:7]), near.embedding_[:7], atol=1e-9)


def test_a_bad_row_on_disk_is_named(cloud, tmp_path, small_blocks):
    values = pairwise(cloud, cloud[:10])
    values[71, 3] = np.nan
    array = zarr.create_array(tmp_path / "D.zarr", data=values, chunks=(32, 10))
    with pytest.raises(ValueError, match="rows 71"):
        LandmarkInPCA(2).fit(array, np.arange(10))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_matrix_that_is_never_stored_has_the_same_embedding(cloud, tmp_path, small_blocks, weighted):
    weights = np.random.default_rng(1).integers(0, 3, 90).astype(float) if weighted else None
    with recomputed.recomputed(cloud, tmp_path / "x", show_progress=False) as D:
        found = InPCA(6, solver="krylov").fit(D, sample_weight=weights)
    full = InPCA(6, solver="dense").fit(pairwise(cloud, precision="double"), sample_weight=weights)
    assert np.abs(found.embedding_ - full.embedding_).max() < 1e-5
    assert np.allclose(found.explained_stress_, full.explained_stress_, atol=1e-7)
    assert np.allclose(found.explained_distance_, full.explained_distance_, atol=1e-6)


def test_a_good_first_guess_saves_passes(cloud, tmp_path, small_blocks):
    full = InPCA(12, solver="dense").fit(pairwise(cloud, precision="double"))
    with recomputed.recomputed(cloud, tmp_path / "x", show_progress=False) as D:
        cold = InPCA(3, solver="krylov", tol=1e-5).fit(D)
        warm = InPCA(3, solver="krylov", tol=1e-5).fit(D, first=full.embedding_)
    assert warm.n_passes_ < cold.n_passes_
    assert np.allclose(warm.eigenvalues_, full.eigenvalues_[:3], rtol=1e-6)


class OnALine:
    """A large matrix of squared distances that computes the rows it is asked for."""

    def __init__(self, m):
        self.shape, self.dtype, self.chunks, self.ndim = (m, m), np.dtype(np.float64), (500, m), 2
        self.x = np.linspace(0.0, 1.0, m)

    def __getitem__(self, rows):
        return np.square(self.x[rows, None] - self.x)


def test_workers_compute_columns_products_and_runs(cloud, tmp_path, small_blocks):
    base = np.stack([cloud[k : k + 20] for k in range(0, 60, 20)])
    zarr.create_array(tmp_path / "base.zarr", data=base)
    which = np.arange(0, 90, 4)
    with client("local", n_workers=2) as workers:
        resources = Resources(client=workers, memory_budget=2_000_000_000)
        made = set(large_world.write_world(tmp_path / "base.zarr", tmp_path / "world.zarr", 200, resources))
        found = columns.write_columns(cloud, tmp_path / "D.zarr", which, resources=resources, show_progress=False)
        with recomputed.recomputed(cloud, tmp_path / "x", resources=resources, show_progress=False) as D:
            fit = InPCA(3, solver="krylov").fit(D)
        # what travels with a panel is large here: Dask once lost it between two passes
        large = InPCA(1, solver="krylov", tol=1e-3).fit(OnALine(14_000), client=workers)
    assert large.n_passes_ >= 2 and np.isclose(abs(np.corrcoef(large.embedding_[:, 0], np.arange(14_000))[0, 1]), 1)
    assert made == {0, 1, 2, 3}
    world = zarr.open_array(tmp_path / "world.zarr", mode="r")
    assert np.array_equal(world[66:132], large_world.mixed_run(base, 1))
    assert np.abs(found[:] - pairwise(cloud)[:, which]).max() < 1e-6
    assert np.allclose(fit.eigenvalues_, InPCA(3).fit(pairwise(cloud)).eigenvalues_, rtol=1e-6)


def test_a_made_world_lies_between_its_runs():
    rng = np.random.default_rng(5)
    base = np.log(rng.dirichlet(np.full(3, 0.5), size=(3, 5, 40)))
    made = large_world.mixed_run(base, 11)
    assert np.array_equal(made, large_world.mixed_run(base, 11)) and made.dtype == np.float32
    assert not np.array_equal(made, large_world.mixed_run(base, 12))
    assert np.allclose(np.exp(made.astype(float)).sum(axis=2), 1, atol=1e-6)


def test_between_is_the_great_circle_of_geometry():
    from manifold_utils.geometry import geodesic

    rng = np.random.default_rng(6)
    p, q = np.log(rng.dirichlet(np.ones(4), size=(2, 30)))
    for t in (0.0, 0.3, 1.0):
        made = 2 * np.log(large_world.between(np.exp(p / 2), np.exp(q / 2), t))
        assert np.allclose(made, geodesic(p, q, t)[0], atol=1e-8)


def test_the_first_points_of_an_array_end_where_they_should(tmp_path):
    values = np.arange(60.0, dtype=np.float32).reshape(10, 3, 2)
    zarr.create_array(tmp_path / "world.zarr", data=values, chunks=(4, 2, 2))
    head = pickle.loads(pickle.dumps(Head(str(tmp_path / "world.zarr"), 7)))
    assert head.shape == (7, 3, 2)
    assert np.array_equal(head[4:100], values[4:7]) and np.array_equal(head[2:5, 1:], values[2:5, 1:])
    assert np.array_equal(head[6], values[6])
    with pytest.raises(IndexError, match="point 7 of 7"):
        head[7]
    assert np.array_equal(device.load(head, device="cpu").numpy(), values[:7])


def test_reports_are_read_from_here_first_and_the_published_ones_are_complete(tmp_path):
    published = {kind: reports.load(kind, tmp_path) for kind in reports.KINDS}
    assert all(report["published"] for report in published.values())
    table = reports.ladder(published["cpu"], published["gpu"])
    assert table.points.max() == 151_407 and (table.seconds > 0).all() and table.gigabytes.notna().all()
    assert table[table.way == "landmarks"].coordinates.notna().all()
    reports.save({"rungs": [], "steps": {}}, "cpu", tmp_path)
    assert reports.load("cpu", tmp_path) == {"rungs": [], "steps": {}, "published": False}


def test_a_report_that_nobody_made_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "PUBLISHED", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="scale.py --device cuda"):
        reports.load("gpu", tmp_path)


@pytest.fixture
def ladder_folder(tmp_path):
    base = np.log(np.random.default_rng(0).dirichlet(np.ones(3), size=(4, 6, 30))).astype(np.float16)
    zarr.create_array(tmp_path / "base.zarr", data=base, chunks=(1, 6, 30, 3), attributes={"from": "a test"})
    return tmp_path


def test_a_ladder_is_climbed_once_and_its_errors_are_known(ladder_folder, capsys, monkeypatch):
    left = ladder_folder / ".tmp-0123abcd-columns.npy"
    left.write_bytes(b"of a driver that was killed")
    foreign = [ladder_folder / name for name in (".tmp-mine", ".tmp-0123abcd-thesis.tex", ".tmp-columns.npy")]
    for path in foreign:
        path.write_bytes(b"somebody else's")
    found = dict(Ladder(ladder_folder, 400).climb())
    assert list(found) == ["world", "landmarks-400", "stored-400", "choices-400"] and not left.exists()
    assert all(path.exists() for path in foreign)
    assert found["landmarks-400"]["landmarks_20"] == 20 and found["landmarks-400"]["peak_bytes"] > 1e7
    assert found["stored-400"]["residual"] <= 1e-6 and 0 < found["stored-400"]["coordinates_20"] < 1
    world_of_it = zarr.open_array(ladder_folder / "world.zarr", mode="r")[:]
    exact = InPCA(3).fit(pairwise(world_of_it, precision="double"))
    saved = np.load(ladder_folder / "exact-400.npz")
    np.testing.assert_allclose(saved["eigenvalues"][:3], exact.eigenvalues_, rtol=1e-4)
    capsys.readouterr()
    assert dict(Ladder(ladder_folder, 400).climb()) == found
    assert "tile" not in capsys.readouterr().err  # nothing was computed again
    monkeypatch.setattr(scale, "STORED", 100)  # as if the exact answer had come from another machine
    monkeypatch.setattr(scale, "ANEW", 100)
    judged = dict(Ladder(ladder_folder, 400).climb())["judged-400"]
    assert judged["coordinates_20"] == found["stored-400"]["coordinates_20"]


def test_a_ladder_refuses_company_and_another_world(ladder_folder):
    with hold(ladder_folder / LOCK, "busy"), pytest.raises(RuntimeError, match="works in .*give another folder"):
        next(Ladder(ladder_folder, 400).climb())
    next(Ladder(ladder_folder, 132).climb())
    with pytest.raises(ValueError, match="world of 132 points, not of 400; give another folder"):
        next(Ladder(ladder_folder, 400).climb())
