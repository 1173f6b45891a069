"""Block Krylov against LAPACK, in memory, on disk and through Dask; honest residuals; hard spectra."""

import warnings

import numpy as np
import pytest
import zarr
from sklearn.exceptions import ConvergenceWarning

from manifold_utils.inpca import InPCA
from manifold_utils.inpca.gram import CentredGram
from manifold_utils.inpca.solvers import block_krylov, dense


def distances_with(seed, m, spectrum):
    """D whose W has this spectrum: coordinates from an orthonormal basis orthogonal to 1."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(m, len(spectrum)))
    basis = np.linalg.qr(basis - basis.mean(0))[0]
    W = (basis * spectrum) @ basis.T
    own = np.diag(W)
    D = own[:, None] + own - 2 * W
    D = (D + D.T) / 2
    np.fill_diagonal(D, 0.0)
    return D


SPECTRUM = 100.0 * np.arange(1, 121) ** -1.5 * np.where(np.arange(120) % 3 == 1, -1, 1)


def krylov(D, k, **options):
    gram = CentredGram(D, options.pop("weights", None), options.pop("client", None))
    return block_krylov(gram, k, rng=np.random.default_rng(0), **options), gram


def test_finds_both_ends_of_a_power_law():
    D = distances_with(0, 400, SPECTRUM)
    pairs, gram = krylov(D, 20)
    assert np.allclose(pairs.values, SPECTRUM[:20], atol=1e-10)
    W = -0.5 * (D - D.mean(0) - D.mean(1)[:, None] + D.mean())
    residuals = np.linalg.norm(W @ pairs.vectors - pairs.vectors * pairs.values, axis=0)
    assert np.allclose(residuals / 100, pairs.residuals, atol=1e-12) and pairs.residuals.max() <= 1e-8
    assert np.allclose(pairs.vectors.T @ pairs.vectors, np.eye(20), atol=1e-12)
    assert gram.n_passes <= 8
    exact = dense(W.copy(), 20)
    assert np.allclose(np.abs(np.sum(exact.vectors * pairs.vectors, axis=0)), 1, atol=1e-8)


def test_statistics_without_forming_W():
    D = distances_with(1, 60, SPECTRUM[:40])
    counts = np.random.default_rng(2).integers(0, 4, 60).astype(float)
    gram = CentredGram(D, counts)
    V = np.random.default_rng(3).normal(size=(60, 5))
    product = gram.start(V)
    B = gram.dense()
    rows = np.repeat(np.arange(60), counts.astype(int))
    R = D[np.ix_(rows, rows)]
    W = -0.5 * (R - R.mean(0) - R.mean(1)[:, None] + R.mean())
    assert gram.norm == pytest.approx(np.linalg.norm(W), rel=1e-10)
    assert gram.distance_norm == pytest.approx(np.linalg.norm(R), rel=1e-12)
    assert np.allclose(gram.diagonal[rows], np.diag(W), atol=1e-12)
    assert np.allclose(np.linalg.eigvalsh(B)[-5:], np.linalg.eigvalsh(W)[-5:], atol=1e-10)
    assert np.allclose(product, B @ V, atol=1e-10) and np.allclose(gram @ V, B @ V, atol=1e-10)


@pytest.mark.parametrize(
    "spectrum",
    [
        np.array([5.0, -4.0]),  # fewer directions than wanted
        np.ones(99),  # one eigenvalue of multiplicity m - 1
        np.repeat([3.0, -3.0, 1.0], 5),  # ties across the signs
        np.r_[1e6, 1.0, 1e-3 * np.ones(20)],  # a huge first axis
    ],
)
def test_hard_spectra(spectrum):
    D = distances_with(4, 100, spectrum)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs, _ = krylov(D, 10)
    expected = np.zeros(10)
    expected[: len(spectrum)] = spectrum[np.argsort(-np.abs(spectrum), kind="stable")][:10]
    assert np.allclose(np.abs(pairs.values), np.abs(expected), atol=1e-9 * np.abs(spectrum).max())
    assert np.allclose(pairs.vectors.T @ pairs.vectors, np.eye(10), atol=1e-10)


def test_too_few_passes_are_reported_with_numbers():
    D = distances_with(5, 500, np.linspace(1, 2, 400))  # a flat spectrum, the worst case
    with pytest.warns(ConvergenceWarning, match=r"of 10 eigenpairs .* residuals up to .* after 3 passes"):
        fit = InPCA(10, solver="krylov", max_passes=3).fit(D)
    assert fit.residuals_.max() > 1e-8 and fit.n_passes_ == 3
    patient = InPCA(10, solver="krylov").fit(D)
    assert patient.residuals_.max() <= 1e-8
    assert np.allclose(patient.eigenvalues_, np.linspace(2, 1, 400)[:10])


def test_memory_holds_no_copy_of_D():
    import tracemalloc

    D = distances_with(6, 4000, SPECTRUM[:60]).astype(np.float32)
    krylov(D[:200, :200].copy(), 3)  # compile first
    tracemalloc.start()
    krylov(D, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.9 * D.nbytes  # a float64 copy would be twice D


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    D = distances_with(7, 230, SPECTRUM)
    array = zarr.create_array(str(tmp_path / "D.zarr"), shape=D.shape, chunks=(50, 50), dtype="float64")
    array[:] = D
    monkeypatch.setattr("manifold_utils.inpca.gram.PANEL_BYTES", 8 * 230 * 60)  # panels of one chunk
    return D, array


@pytest.mark.parametrize("weighted", [False, True])
def test_tiles_on_disk_give_the_same_embedding(on_disk, weighted):
    D, array = on_disk
    weights = np.arange(230) % 3 if weighted else None
    memory, disk = (InPCA(10, solver="krylov").fit(X, sample_weight=weights) for X in (D, array))
    assert disk.solver_ == "krylov" and memory.n_passes_ <= disk.n_passes_ <= 8
    for name in ("embedding_", "eigenvalues_", "explained_stress_", "explained_distance_"):
        assert np.allclose(getattr(disk, name), getattr(memory, name), atol=1e-8), name
    assert np.allclose(disk.transform(D[:4]), disk.embedding_[:4], atol=1e-7)
    assert InPCA().fit(array).solver_ == "krylov"


def test_dask_workers_multiply_the_panels(on_disk):
    from distributed import Client

    D, array = on_disk
    with Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        through = InPCA(4).fit(array, client=client)
        with pytest.raises(ValueError, match="on disk"):
            InPCA(4).fit(D, client=client)
    assert np.allclose(through.embedding_, InPCA(4).fit(D).embedding_, atol=1e-7)


def test_bad_tiles_on_disk_are_named(on_disk):
    D, array = on_disk
    array[3, 200] = D[3, 200] + 0.5
    with pytest.raises(ValueError, match="not symmetric in rows 3, 200"):
        InPCA().fit(array)
    array[3, 200] = D[3, 200]
    array[77, 78] = array[78, 77] = np.inf
    with pytest.raises(ValueError, match="NaN or infinity in rows 77, 78"):
        InPCA().fit(array)
