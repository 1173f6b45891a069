"""InPCA by other routes: brute force, PCA, ClassicalMDS, analytic exponential families, repeated points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.manifold import ClassicalMDS
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from manifold_utils.distances import pairwise
from manifold_utils.inpca import InPCA, explained_stress, minkowski_distances

SOLVERS = ["dense", "krylov"]


def divergences(seed, m, n_samples=6, n_classes=4, spread=3.0):
    logits = spread * np.random.default_rng(seed).normal(size=(m, n_samples, n_classes))
    return pairwise(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))


def centred(D):
    L = np.eye(len(D)) - 1 / len(D)
    return -0.5 * L @ D @ L


NOT_A_DISTANCE = "shifts every entry, the diagonal too: no longer a matrix of divergences, whose diagonal is zero"


@parametrize_with_checks(
    [InPCA(), InPCA(solver="krylov")],
    expected_failed_checks=lambda _: {"check_positive_only_tag_during_fit": NOT_A_DISTANCE},
)
def test_scikit_learn_estimator_checks(estimator, check):
    check(estimator)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(3, 12), st.sampled_from(SOLVERS))
def test_signed_coordinates_rebuild_D(seed, m, solver):
    D = divergences(seed, m)
    fit = InPCA(m, solver=solver).fit(D)
    assert np.abs(minkowski_distances(fit.embedding_, fit.signature_) - D).max() < 1e-8
    assert fit.explained_stress_[-1] > 1 - 1e-6 and fit.explained_distance_[-1] > 1 - 1e-6


@pytest.mark.parametrize("solver", SOLVERS)
def test_stress_and_distance_closed_forms_against_brute_force(solver):
    D = divergences(1, 40, 2)
    fit = InPCA(12, solver=solver).fit(D)
    W = centred(D)
    assert (fit.signature_ == -1).any(), "the case should have a time-like axis"
    assert fit.norm_ == pytest.approx(np.linalg.norm(W), rel=1e-12)
    for k in range(1, 13):
        X, s = fit.embedding_[:, :k], fit.signature_[:k]
        stress = 1 - np.linalg.norm(W - (X * s) @ X.T) / np.linalg.norm(W)
        distance = 1 - np.linalg.norm(D - minkowski_distances(X, s)) / np.linalg.norm(D)
        assert fit.explained_stress_[k - 1] == pytest.approx(stress, abs=1e-9)
        assert fit.explained_distance_[k - 1] == pytest.approx(distance, abs=1e-9)
    values = np.linalg.eigvalsh(W)
    assert np.allclose(fit.eigenvalues_, values[np.argsort(-np.abs(values))][:12], atol=1e-9)
    assert np.array_equal(np.sign(fit.eigenvalues_), fit.signature_)


@pytest.mark.parametrize("solver", SOLVERS)
def test_euclidean_input_equals_pca_and_classical_mds(solver):
    X = np.random.default_rng(2).normal(size=(60, 5)) * [5, 4, 3, 2, 1]
    D = np.square(X[:, None] - X).sum(-1)
    fit = InPCA(5, solver=solver).fit(D)
    scores = PCA(5).fit_transform(X)
    assert np.allclose(np.abs(fit.embedding_), np.abs(scores), atol=1e-7)
    assert (fit.signature_ == 1).all()
    mds = ClassicalMDS(5, metric="precomputed").fit(np.sqrt(D))  # it squares its input; D is squared already
    assert np.allclose(fit.eigenvalues_, mds.eigenvalues_, atol=1e-8)
    assert np.allclose(np.abs(fit.embedding_), np.abs(mds.embedding_), atol=1e-7)


def test_classical_mds_drops_the_time_like_axes_that_inpca_keeps():
    D = divergences(3, 30, n_samples=2)
    fit = InPCA(30).fit(D)
    negative = fit.signature_ == -1
    assert negative[:10].any()
    error = np.abs(minkowski_distances(fit.embedding_[:, ~negative], fit.signature_[~negative]) - D).max()
    assert error > 0.01 * D.max()


@pytest.mark.parametrize("solver", SOLVERS)
def test_bernoulli_family_has_one_space_and_one_time_axis(solver):
    p = np.linspace(0.03, 0.9, 25)
    log_probs = np.log(np.stack([p, 1 - p], axis=-1))[:, None]
    D = pairwise(log_probs, metric="symmetric_kl")
    theta = np.log(p / (1 - p))
    # half the symmetric KL is (dtheta dp)/2 = d((theta + p)/sqrt8)^2 - d((theta - p)/sqrt8)^2, for any scale of theta
    analytic = np.stack([theta + p, theta - p], axis=1) / np.sqrt(8)
    assert np.allclose(minkowski_distances(analytic, np.array([1, -1])), D, atol=1e-12)
    fit = InPCA(4, solver=solver).fit(D)
    assert fit.signature_[:2].tolist() == [1, -1]
    assert np.abs(fit.eigenvalues_[2:]).max() < 1e-10 * fit.eigenvalues_[0]
    assert np.allclose(minkowski_distances(fit.embedding_[:, :2], fit.signature_[:2]), D, atol=1e-9)
    # equal up to a Lorentz transformation: the Gram matrices of centred coordinates agree
    analytic -= analytic.mean(0)
    gram = (fit.embedding_[:, :2] * [1, -1]) @ fit.embedding_[:, :2].T
    assert np.allclose(gram, (analytic * [1, -1]) @ analytic.T, atol=1e-9)


def test_gaussian_family_has_two_space_and_two_time_axes():
    rng = np.random.default_rng(4)
    mean, variance = rng.normal(size=50), rng.uniform(0.3, 3, 50)
    natural = np.stack([mean / variance, -0.5 / variance], axis=1)
    expected = np.stack([mean, mean**2 + variance], axis=1)
    D = 0.5 * ((natural[:, None] - natural) * (expected[:, None] - expected)).sum(-1)
    ratio = variance[:, None] / variance
    closed = 0.25 * (ratio + 1 / ratio - 2 + (mean[:, None] - mean) ** 2 * (1 / variance[:, None] + 1 / variance))
    assert np.allclose(D, closed)  # half the symmetric KL of Gaussians, from the densities
    fit = InPCA(5).fit(D)
    assert sorted(fit.signature_[:4].tolist()) == [-1, -1, 1, 1]
    assert abs(fit.eigenvalues_[4]) < 1e-10 * fit.eigenvalues_[0]
    assert np.allclose(minkowski_distances(fit.embedding_[:, :4], fit.signature_[:4]), D, atol=1e-9)


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from(SOLVERS))
def test_weights_equal_repeated_points(seed, solver):
    rng = np.random.default_rng(seed)
    D, counts = divergences(seed, 14), rng.integers(0, 4, 14)
    counts[:3] = [1, 2, 3]
    rows = np.repeat(np.arange(14), counts)
    weighted = InPCA(4, solver=solver).fit(D, sample_weight=counts)
    repeated = InPCA(4, solver=solver).fit(D[np.ix_(rows, rows)])
    assert np.allclose(weighted.eigenvalues_, repeated.eigenvalues_, rtol=1e-7, atol=1e-10)
    assert np.allclose(weighted.explained_stress_, repeated.explained_stress_, atol=1e-7)
    assert np.allclose(weighted.explained_distance_, repeated.explained_distance_, atol=1e-7)
    gram = (weighted.embedding_ * weighted.signature_) @ weighted.embedding_.T
    other = (repeated.embedding_ * repeated.signature_) @ repeated.embedding_.T
    assert np.allclose(gram[np.ix_(rows, rows)], other, atol=1e-6)
    assert np.allclose(weighted.transform(D), weighted.embedding_, atol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_transform_gives_embedded_points_back(solver):
    D = divergences(6, 50, 2)
    fit = InPCA(10, solver=solver).fit(D)
    assert (fit.signature_ == -1).any()
    assert np.allclose(fit.transform(D), fit.embedding_, atol=1e-7)
    assert np.allclose(fit.transform(D[7:9]), fit.embedding_[7:9], atol=1e-7)


def test_new_point_keeps_its_distances_when_all_axes_are_kept():
    D = divergences(7, 21)
    fit = InPCA(20).fit(D[:20, :20])
    new = fit.transform(D[20:, :20])
    rebuilt = minkowski_distances(new, fit.signature_, fit.embedding_)
    assert np.ptp(rebuilt - D[20:, :20]) < 1e-8  # all of them, up to the part of the point outside the span


@pytest.mark.parametrize("solver", SOLVERS)
def test_signs_are_deterministic_and_order_does_not_matter(solver):
    D = divergences(8, 30)
    fit = InPCA(5, solver=solver).fit(D)
    assert (fit.embedding_[np.abs(fit.embedding_).argmax(0), range(5)] > 0).all()
    order = np.random.default_rng(0).permutation(30)
    shuffled = InPCA(5, solver=solver).fit(D[np.ix_(order, order)])
    assert np.allclose(shuffled.embedding_, fit.embedding_[order], atol=1e-6)


def test_conventions_of_scikit_learn():
    D = divergences(9, 20)
    estimator = clone(InPCA(2, solver="krylov"))
    assert estimator.get_params()["solver"] == "krylov"
    embedding = make_pipeline(estimator, StandardScaler()).fit_transform(D)
    assert np.allclose(embedding.std(0), 1)
    assert estimator.get_feature_names_out().tolist() == ["inpca0", "inpca1"]


def test_float32_torch_fortran_and_constant_input():
    torch = pytest.importorskip("torch")
    D = divergences(10, 20)
    fit = InPCA().fit(D)
    assert np.allclose(InPCA().fit(D.astype(np.float32)).embedding_, fit.embedding_, atol=1e-5)
    assert np.allclose(InPCA().fit(torch.tensor(D)).embedding_, fit.embedding_)
    assert np.allclose(InPCA(solver="krylov").fit(np.asfortranarray(D)).embedding_, fit.embedding_, atol=1e-6)
    zero = InPCA(2).fit(np.zeros((5, 5)))
    assert not zero.embedding_.any() and np.isfinite(zero.explained_stress_).all()


def test_a_point_twice_lands_on_itself():
    D = divergences(11, 10)
    twice = np.r_[np.arange(10), 3]
    fit = InPCA(3).fit(D[np.ix_(twice, twice)])
    assert np.allclose(fit.embedding_[3], fit.embedding_[10], atol=1e-8)


def test_explained_stress_by_hand():
    assert np.allclose(explained_stress(np.array([3.0, -4.0]), 5.0), [0.2, 1.0])


def corrupted(index, value, both=True):
    D = divergences(12, 300, 1)
    D[index] = value
    if both:
        D[index[::-1]] = value
    return D


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    "D, message",
    [
        (np.zeros((3, 4)), "square"),
        (corrupted((5, 280), np.nan), "NaN or infinity in rows 5, 280"),
        (corrupted((5, 280), np.inf, both=False), "NaN or infinity in rows 5"),
        (corrupted((5, 280), 3.0, both=False), "not symmetric in rows 5, 280"),
        (corrupted((7, 7), 1.0), "zero self-distances.*rows 7"),
        (np.zeros((1, 1)), "at least 2 points"),
        (np.zeros((2, 2)), "n_components=3 .* 2 points"),
    ],
)
def test_bad_distances_are_refused_by_name(solver, D, message):
    with pytest.raises(ValueError, match=message):
        InPCA(solver=solver).fit(D)


def test_bad_parameters_and_weights_are_refused():
    D = divergences(13, 6)
    for estimator in (InPCA(0), InPCA(2.5), InPCA(solver="magic")):
        with pytest.raises(ValueError, match="n_components|solver"):
            estimator.fit(D)
    for weights, message in ([[1, 1, 1], "shape"], [[1, 1, 1, 1, 1, -1], "-1.0 for point 5"], [np.zeros(6), "zero"]):
        with pytest.raises(ValueError, match=message):
            InPCA().fit(D, sample_weight=weights)
    with pytest.raises(ValueError, match="D_new contains NaN"):
        InPCA().fit(D).transform(np.full((1, 6), np.nan))
    with pytest.raises(ValueError, match="features"):
        InPCA().fit(D).transform(D[:, :5])
