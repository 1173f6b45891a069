"""Half precision at every door: numpy has no bfloat16, and a rounded log-probability is not normalised any more."""

import numpy as np
import pytest
import torch

from manifold_utils.distances import METRICS, pairwise
from manifold_utils.geometry import angles, as_predictions, exchange_classes, geodesic, progress
from manifold_utils.inpca import InPCA
from manifold_utils.recording import log_probs_from_logits
from manifold_utils.statistics import shuffle_within_class
from manifold_utils.trajectories import average, resample, trajectory_distances

LABELS = np.arange(40) % 10
EXACT = torch.log_softmax(3 * torch.randn(6, 40, 10, generator=torch.Generator().manual_seed(1)), dim=-1)
KINDS = {
    "bfloat16": EXACT.bfloat16(),
    "half": EXACT.half(),
    "numpy half": EXACT.half().numpy(),
    "single with a gradient": EXACT.clone().requires_grad_(),
}
DOORS = {
    "angles": lambda p: angles(p[:3], p[3:]),
    "average": lambda p: average(p[None], "arithmetic"),
    "exchange_classes": lambda p: exchange_classes(p, LABELS, (LABELS + 1) % 10),
    "geodesic": lambda p: geodesic(p[:1], p[1:2], [0.2, 0.5]),
    "pairwise": pairwise,
    "InPCA": lambda p: InPCA(n_components=1).fit(torch.as_tensor(pairwise(p)).bfloat16()).explained_stress_,
    "progress": lambda p: progress(p, LABELS),
    "resample": lambda p: resample(p, np.linspace(0, 0.9, 6), [0.1, 0.5]),
    "shuffle_within_class": lambda p: shuffle_within_class(p, LABELS, np.random.default_rng(0)),
    "trajectory_distances": lambda p: trajectory_distances(p.reshape(2, 3, 40, 10)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", DOORS)
def test_predictions_in_half_precision_are_those_of_single_precision(door, kind):
    found, expected = (DOORS[door](values) for values in (KINDS[kind], EXACT.numpy()))
    assert np.allclose(found, expected, rtol=0.02, atol=0.02)
    assert found.dtype == expected.dtype


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_the_distance_of_a_half_precision_point_to_itself_is_zero(metric, kind):
    values = KINDS[kind]
    crossed = pairwise(values, values[:2], metric=metric)
    assert np.abs(np.diag(crossed)).max() < 1e-6
    assert np.allclose(crossed[:2], crossed[:2].T, atol=1e-7)


def test_logits_in_half_precision_are_taken():
    logits = 3 * torch.randn(40, 10, generator=torch.Generator().manual_seed(1)).bfloat16()
    expected = torch.log_softmax(logits.float(), dim=-1).numpy()
    for given in (logits, logits.half(), logits.clone().requires_grad_()):
        assert np.allclose(log_probs_from_logits(given, 40, 10)[0], expected, atol=1e-5)


def test_what_rounding_does_not_explain_is_still_refused():
    wrong = (EXACT + 0.2).bfloat16()
    assert np.allclose(as_predictions(wrong), wrong.float().numpy())
    with pytest.raises(ValueError, match="sample 0"):
        pairwise(wrong)
    with pytest.raises(ValueError, match="not normalised"):
        progress(wrong, LABELS)


def test_exact_zeros_stay_zeros():
    half = torch.tensor([[[0.0, -torch.inf]], [[-torch.inf, 0.0]]]).bfloat16()
    assert np.array_equal(as_predictions(half), half.float().numpy())
    assert pairwise(half)[0, 1] == np.inf
