"""Tangents: L1 explained distance, weighted averages, the embedding of four points, directions at the ends."""

import numpy as np
import pytest

from manifold_utils.distances import pairwise
from manifold_utils.geometry import geodesic, ignorance, truth
from manifold_utils.inpca import InPCA
from manifold_utils.studies import tangents


def predictions(rng, shape, spread=1.0):
    logits = spread * rng.normal(size=shape)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_l1_explained_distance_by_brute_force():
    rng = np.random.default_rng(0)
    D = pairwise(predictions(rng, (12, 5, 3)))
    fit = InPCA(n_components=11).fit(D)
    assert tangents.explained_distance_l1(D, fit.embedding_, fit.signature_) == pytest.approx(1, abs=1e-9)
    x, sign = fit.embedding_[:, :2], fit.signature_[:2]
    rebuilt = np.array([[sum(sign * (a - b) ** 2) for b in x] for a in x])
    expected = 1 - np.abs(rebuilt - D).sum() / D.sum()
    assert tangents.explained_distance_l1(D, x, sign) == pytest.approx(expected)
    assert tangents.explained_distance_l1(D, np.zeros((12, 1)), np.ones(1)) == 0


def test_weighted_average_is_block_independent_and_tends_to_one_point():
    rng = np.random.default_rng(1)
    points, s = predictions(rng, (9, 4, 3)), np.linspace(0, 1, 9)
    whole = tangents.weighted_average([points], s, 0.5)
    assert np.allclose(whole, tangents.weighted_average([points[:2], points[2:]], s, 0.5))
    assert np.allclose(np.exp(whole).sum(-1), 1)
    assert np.allclose(tangents.weighted_average([points], s, 0.5, width=1e-3), points[4:5])
    with pytest.raises(ValueError, match="nothing to average"):
        tangents.weighted_average([points], s, 9.0, width=1e-3)
    with pytest.raises(ValueError, match="9 values of progress"):
        tangents.weighted_average([points[:5]], s, 0.5)


def test_three_bases_keep_the_distances_of_their_four_points():
    rng = np.random.default_rng(2)
    labels = np.arange(20) % 4
    points = predictions(rng, (30, 20, 4)) + 3 * np.linspace(0, 1, 30)[:, None, None] * np.eye(4)[labels]
    points -= np.log(np.exp(points).sum(-1, keepdims=True))
    estimator, anchors = tangents.three_bases(lambda: [points], labels, np.linspace(0, 1, 30))
    assert anchors.shape == (4, 20, 4) and np.allclose(anchors[:1], ignorance(20, 4))
    D = pairwise(anchors)
    assert tangents.explained_distance_l1(D, estimator.embedding_, estimator.signature_) == pytest.approx(1, abs=1e-9)
    assert np.allclose(estimator.transform(D), estimator.embedding_)  # an anchor as a new point comes back


def test_tangent_vectors_have_the_length_of_the_angle_and_point_along_the_geodesic():
    labels = np.arange(6) % 3
    p0, star = ignorance(6, 3), truth(labels, 3)
    vectors = tangents.tangent_vectors(geodesic(p0, star, [0.2, 0.5, 1.0]), p0)
    angle = np.arccos(3**-0.5)
    assert np.allclose(np.linalg.norm(vectors, axis=1), angle * np.array([0.2, 0.5, 1.0]), rtol=1e-6)
    assert np.allclose(tangents.cosines(vectors), 1, atol=1e-6)
    assert np.isnan(tangents.cosines(np.zeros((2, 3)))).all()


def test_direction_spectrum_against_singular_values():
    vectors = np.random.default_rng(3).normal(size=(7, 40)).astype(np.float32)
    squares = np.linalg.svd(vectors.astype(float), compute_uv=False) ** 2
    assert np.allclose(tangents.direction_spectrum(vectors), np.cumsum(squares) / squares.sum())


def test_off_the_road_is_orthogonal_to_the_geodesic_and_nothing_for_points_on_it():
    labels = np.arange(8) % 3
    p0, star = ignorance(8, 3), truth(labels, 3)
    on_it = tangents.off_the_road(geodesic(p0, star, [0.2, 0.7]), p0, star)
    assert np.abs(on_it).max() < 1e-6
    points = predictions(np.random.default_rng(5), (4, 8, 3))
    v, along = tangents.off_the_road(points, star, p0), tangents.tangent_vectors(p0, star)[0]
    assert np.abs(v @ along).max() < 1e-6
    whole = np.square(tangents.tangent_vectors(points, star)).sum(axis=1)
    share = (tangents.tangent_vectors(points, star) @ along / np.linalg.norm(along)) ** 2
    assert np.allclose(np.square(v).sum(axis=1), whole - share, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_shared_directions_are_beyond_the_shuffles_only_if_runs_learn_the_same_samples(shared):
    rng = np.random.default_rng(6)
    n_samples, labels = 60, np.arange(60) % 3
    hard = rng.random(n_samples)
    runs = []
    for _ in range(10):
        pace = 1.2 * (hard if shared else rng.random(n_samples))
        logits = np.array([0.5, 3.0])[:, None, None] * pace[None, :, None] * np.eye(3)[labels]
        runs.append(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))
    real, null = tangents.shared_directions(np.array(runs), labels, n_null=9, rng=rng)
    for end in ("ignorance", "truth"):
        assert real[end].shape == (10, 180) and null[end].shape == (9, 10, 180)
        share = tangents.direction_spectrum(real[end])[0]
        by_chance = np.array([tangents.direction_spectrum(v)[0] for v in null[end]])
        assert (share > by_chance.max() + 0.2) == shared
