"""What runs on a GPU, against the same on the CPU; skipped, with a word, where torch finds none."""

import numpy as np
import pytest

from manifold_utils.distances import METRICS, pairwise
from manifold_utils.distances.tiles import write_tiles
from manifold_utils.inpca import InPCA
from manifold_utils.workers import Resources

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("torch finds no GPU on this machine", allow_module_level=True)

fused = pytest.importorskip("manifold_utils.distances.fused")


def points(m, n_samples, n_classes, scale, seed=0, dtype=np.float32):
    z = scale * np.random.default_rng(seed).standard_normal((m, n_samples, n_classes))
    z -= z.max(axis=2, keepdims=True)
    return (z - np.log(np.exp(z).sum(axis=2, keepdims=True))).astype(dtype)


def assert_same(found, exact, tolerance=1e-6):
    assert np.array_equal(np.isfinite(found), np.isfinite(exact))
    finite = np.isfinite(exact)
    assert np.abs(found[finite] - exact[finite]).max() < tolerance * max(1.0, exact[finite].max())


def test_the_kernel_is_compiled_here():
    assert fused.usable()


@pytest.mark.parametrize("n_classes", [2, 10, 17, 100, 1000])
@pytest.mark.parametrize("scale", [1, 30, 300])
def test_any_number_of_classes_and_any_confidence(n_classes, scale):
    x, y = points(70, 9, n_classes, scale), points(130, 9, n_classes, scale, seed=1)
    assert_same(pairwise(x, y, device="cuda"), pairwise(x, y, device="cpu", precision="double"))
    found = pairwise(x, device="cuda")
    assert_same(found, pairwise(x, device="cpu", precision="double"))
    assert np.array_equal(found, found.T) and not found.diagonal().any()


@pytest.mark.parametrize("chunk", [4, 8, 1000])
def test_chunks_of_samples_add_up(chunk, monkeypatch):
    x = np.concatenate([points(40, 23, 10, 2), points(30, 23, 10, 200, seed=2)])
    total = fused.FusedSum(70, None, 10)
    total.chunk_samples = chunk
    total.add(x)
    assert_same(total.result(), pairwise(x, device="cpu", precision="double"))


def test_disjoint_supports_are_infinite_and_a_cap_is_kept():
    with np.errstate(divide="ignore"):
        sure = np.log(np.eye(4)[np.random.default_rng(3).integers(4, size=(50, 6))])
    mixed = np.concatenate([sure, points(20, 6, 4, 1, dtype=float)])
    for cap in (None, 5.0):
        assert_same(pairwise(mixed, device="cuda", cap=cap), pairwise(mixed, device="cpu", cap=cap))


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric(metric):
    x = points(30, 11, 7, 3)
    assert_same(pairwise(x, metric=metric, device="cuda"), pairwise(x, metric=metric, device="cpu"))


def test_bad_vectors_are_named():
    x = points(40, 5, 10, 1)
    x[31, 2] += 1
    with pytest.raises(ValueError, match="point 31, sample 2"):
        pairwise(x, device="cuda")


def test_tiles_on_disk(tmp_path):
    x = points(150, 12, 10, 3)
    tiles = write_tiles(x, tmp_path / "D.zarr", tile=64, resources=Resources(device="cuda"), show_progress=False)
    assert_same(np.asarray(tiles), pairwise(x, device="cpu", precision="double"))


def test_the_whole_matrix_on_the_device_is_embedded(monkeypatch):
    monkeypatch.setattr("manifold_utils.distances.on_device.STRIPE", 64)
    from manifold_utils.distances.on_device import DeviceMatrix

    x = points(300, 20, 10, 1)
    D = DeviceMatrix(torch.as_tensor(x, device="cuda"))
    exact = pairwise(x, device="cpu", precision="double")
    assert_same(np.concatenate([D[:100], D[100:]]), exact)
    assert_same(D.columns([5, 7]), exact[:, [5, 7]])
    found, full = InPCA(5, solver="krylov").fit(D), InPCA(5, solver="dense").fit(exact)
    assert np.allclose(found.eigenvalues_, full.eigenvalues_, rtol=1e-5)
    assert np.allclose(found.explained_stress_, full.explained_stress_, atol=1e-6)
