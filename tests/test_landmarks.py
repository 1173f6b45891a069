"""Landmark InPCA against InPCA of the whole matrix: exact where it must be, nearer than the raw placement elsewhere."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_utils.distances import pairwise
from manifold_utils.geometry import geodesic, ignorance, truth
from manifold_utils.inpca import InPCA, choices
from manifold_utils.inpca.landmarks import LandmarkInPCA, draw_landmarks
from manifold_utils.studies.timing import distance_matrix


def minkowski(rng, m, signature):
    x = rng.normal(size=(m, len(signature))) * np.arange(len(signature), 0, -1)
    squares = (x**2) @ signature
    return squares[:, None] + squares - 2 * (x * signature) @ x.T


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.lists(st.sampled_from([-1.0, 1.0]), min_size=2, max_size=4))
def test_exact_where_the_landmarks_span_the_space(seed, signs):
    """Finite-dimensional Minkowski data: the landmarks know all axes, so that nothing is approximated."""
    rng = np.random.default_rng(seed)
    D = minkowski(rng, 60, np.array(signs))
    landmarks, to_landmarks = draw_landmarks(lambda rows: D[:, rows], 60, 20, rng)
    found = LandmarkInPCA(len(signs), n_axes=len(signs)).fit(to_landmarks, landmarks)
    exact = InPCA(len(signs), solver="dense").fit(D)
    assert np.allclose(found.eigenvalues_, exact.eigenvalues_, rtol=1e-6)
    assert np.allclose(found.embedding_, exact.embedding_, atol=1e-5 * np.abs(exact.embedding_).max())
    assert np.array_equal(found.signature_, exact.signature_)
    assert np.allclose(found.explained_stress_, exact.explained_stress_, atol=1e-7)


def test_embedded_points_come_back_and_new_ones_find_their_place():
    rng = np.random.default_rng(1)
    D = minkowski(rng, 80, np.array([1.0, 1.0, -1.0]))
    known, landmarks = D[:70], rng.choice(70, 25, replace=False)
    found = LandmarkInPCA(3, n_axes=3).fit(known[:, landmarks], landmarks)
    assert np.allclose(found.transform(known[:, landmarks]), found.embedding_, atol=1e-8)
    exact = InPCA(3, solver="dense").fit(D[:70, :70])
    assert np.allclose(found.transform(D[70:, landmarks]), exact.transform(D[70:, :70]), atol=1e-6)


def test_on_predictions_the_second_step_takes_most_of_the_error_away():
    """A cloud around the geodesic, one point in ten a landmark: coordinates within 2 %."""
    rng = np.random.default_rng(2)
    labels = rng.integers(5, size=80)
    path = geodesic(ignorance(80, 5), truth(labels, 5), np.linspace(0.02, 0.95, 60))
    logits = path[None] + 0.6 * rng.normal(size=(10, 1, 80, 5)) + 0.2 * rng.normal(size=(10, 60, 80, 5))
    log_probs = (logits - np.logaddexp.reduce(logits, axis=3, keepdims=True)).reshape(600, 80, 5)
    exact = InPCA(3, solver="dense").fit(pairwise(log_probs))
    landmarks, to_landmarks = draw_landmarks(lambda rows: pairwise(log_probs, log_probs[rows]), 600, 60, rng)
    found = LandmarkInPCA(3).fit(to_landmarks, landmarks)
    size = np.linalg.norm(exact.embedding_)
    raw = found.raw_.transform(to_landmarks)[:, :3]
    error, raw_error = (
        np.linalg.norm(x * np.sign((x * exact.embedding_).sum(axis=0)) - exact.embedding_) / size
        for x in (found.embedding_, raw - raw.mean(axis=0))
    )
    assert error < 0.02 and error < raw_error / 2
    assert np.allclose(found.explained_stress_, exact.explained_stress_, atol=0.05)


def test_bad_input_is_refused_by_name():
    D = distance_matrix(30, np.random.default_rng(0)).astype(float)
    rows = np.arange(0, 30, 3)
    with pytest.raises(ValueError, match="one column for each of the 10 landmarks"):
        LandmarkInPCA().fit(D, rows)
    with pytest.raises(ValueError, match="different row numbers from 0 to 29"):
        LandmarkInPCA().fit(D[:, [1, 1]], [1, 1])
    with pytest.raises(ValueError, match="row numbers"):
        LandmarkInPCA().fit(D[:, :2], [0.5, 1.5])
    with pytest.raises(ValueError, match="more landmarks than 10"):
        LandmarkInPCA(10).fit(D[:, rows], rows)
    D[7, 3] = np.inf
    with pytest.raises(ValueError, match="rows 7"):
        LandmarkInPCA().fit(D[:, rows], rows)
    with pytest.raises(ValueError, match="31 landmarks cannot be drawn from 30"):
        draw_landmarks(lambda rows: D[:, rows], 30, 31, np.random.default_rng(0))
    with pytest.raises(ValueError, match="only 1 different points, fewer than 2"):
        draw_landmarks(lambda rows: np.zeros((30, len(rows))), 30, 2, np.random.default_rng(0))


@given(st.integers(1, 60), st.integers(0, 1000), st.integers(1, 12))
def test_landmarks_are_different_and_come_with_their_distances(m, seed, rounds):
    rng = np.random.default_rng(seed)
    n = 1 + seed % m
    D = np.abs(rng.normal(size=m)[:, None] - rng.normal(size=m)) + 1.0 - np.eye(m)
    rows, columns = draw_landmarks(lambda k: D[:, k], m, n, rng, rounds=rounds)
    assert len(rows) == n == len(set(rows.tolist())) and np.array_equal(columns, D[:, rows])


def test_landmarks_reach_the_few_that_lie_apart():
    """Ninety-nine points in a hundred lie together; uniform draws would miss the others most of the time."""
    rng = np.random.default_rng(0)
    x = np.r_[1e-3 * rng.normal(size=990), np.arange(1.0, 11.0)]
    D = np.square(x[:, None] - x)
    rows, _ = draw_landmarks(lambda k: D[:, k], 1000, 40, rng, rounds=20)
    assert set(range(990, 1000)) <= set(rows.tolist())


def test_a_sketch_covers_far_points_and_kinds_take_turns():
    """Choices of landmarks: no point of a drawn one's place is drawn again, and every kind gets its share."""
    places = np.repeat([[0.0, 1.0], [9.0, 1.0], [0.0, 7.0]], [50, 2, 1], axis=0)
    rows = choices.sketch(places, 3, np.random.default_rng(0))
    assert len(np.unique(places[rows], axis=0)) == 3
    kinds = np.repeat(["a", "b", "c"], [80, 15, 5])
    taken = kinds[choices.strata(kinds, 12, np.random.default_rng(0))]
    assert [np.count_nonzero(taken == kind) for kind in "abc"] == [4, 4, 4]


def test_errors_of_a_choice_do_not_depend_on_signs_and_name_their_axis():
    x = np.random.default_rng(0).normal(size=(9, 3))
    exact = SimpleNamespace(embedding_=x, explained_stress_=np.array([0.2, 0.4, 0.6]))
    turned = SimpleNamespace(embedding_=-1.01 * x, explained_stress_=np.array([0.1, 0.4, 0.9]))
    found = choices.errors(turned, exact)
    assert found == pytest.approx({"coordinates": 0.01, "stress_1": 0.1, "stress_3": 0.3})
