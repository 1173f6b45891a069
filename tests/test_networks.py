"""The families: the paper's parameter counts, shapes on every image size, sensible shrinking, honest refusals."""

import os
import subprocess
import sys

import pytest
import torch

from manifold_utils.compat import import_torchvision
from manifold_utils.networks import BUILDERS, make_network, n_parameters

PAPER_COUNTS = {
    "fc": 3_837_066,
    "allcnn": 399_486,
    "wr-10-4-8": 300_226,
    "wr-16-4-64": 43_890_122,
    "convmixer": 594_186,
    "vit": 9_523_722,
}


@pytest.mark.parametrize("architecture", PAPER_COUNTS)
def test_parameter_counts_are_the_papers(architecture):
    assert n_parameters(make_network(architecture, (3, 32, 32), 10)) == PAPER_COUNTS[architecture]


def test_torchvision_imports_and_its_counts_are_the_published_ones():
    assert import_torchvision() is import_torchvision()
    assert n_parameters(make_network("resnet18", (3, 224, 224), 1000)) == 11_689_512
    assert n_parameters(make_network("resnet50", (3, 224, 224), 1000)) == 25_557_032
    # ViT-S/16 has 22.05 million parameters with bias in query-key-value (13,824 more than ours, which has none)
    assert n_parameters(make_network("vit-small", (3, 224, 224), 1000)) == 22_050_664 - 12 * 3 * 384


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("architecture", PAPER_COUNTS)
def test_every_family_takes_every_image_size_and_learns_from_it(architecture, shape):
    network = make_network(architecture, shape, 7, 1 / 16)
    logits = network(torch.randn(4, *shape))
    assert logits.shape == (4, 7)
    logits.logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("architecture", PAPER_COUNTS)
def test_counts_grow_with_scale(architecture):
    counts = [n_parameters(make_network(architecture, (1, 8, 8), 10, s)) for s in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2)]
    assert counts == sorted(counts) and len(set(counts)) == len(counts)


def test_the_predictions_of_one_sample_do_not_depend_on_the_others_in_eval_mode():
    x = torch.randn(6, 1, 8, 8)
    for architecture in PAPER_COUNTS:
        network = make_network(architecture, (1, 8, 8), 10, 1 / 16).eval()
        with torch.no_grad():
            torch.testing.assert_close(network(x)[:2], network(x[:2]), rtol=1e-4, atol=1e-5)


def test_students_of_the_synthetic_data():
    assert n_parameters(make_network("student-1", (200,), 5)) == 200 * 512 + 512 + 512 * 5 + 5
    assert n_parameters(make_network("student-2", (200,), 5)) == 200 * 512 + 512 + 512 * 512 + 512 + 512 * 5 + 5


def test_refusals_name_what_is_wrong():
    with pytest.raises(ValueError, match="unknown architecture 'lenet'; known: fc"):
        make_network("lenet", (1, 8, 8), 10)
    with pytest.raises(ValueError, match="scale must be above 0"):
        make_network("fc", (1, 8, 8), 10, 0)
    with pytest.raises(ValueError, match="needs \\(channels, height, width\\)"):
        make_network("allcnn", (200,), 5)
    with pytest.raises(ValueError, match="scale 1 and 3 channels"):
        make_network("resnet18", (1, 32, 32), 10)
    with pytest.raises(ValueError, match="cannot cut images of 30 x 30"):
        make_network("vit", (3, 30, 30), 10)


def test_all_profile_architectures_exist():
    from typing import get_args

    from manifold_utils.profiles import Architecture

    assert set(get_args(Architecture)) == set(BUILDERS)


@pytest.mark.parametrize("architecture", ["allcnn", "wr-10-4-8", "wr-16-4-64", "convmixer"])
def test_narrow_networks_survive_their_backward_pass_in_channels_last(architecture):
    """torch 2.13 corrupts memory in the backward pass of a strided 1x1 convolution of few channels."""
    code = (
        "import sys, torch; from manifold_utils.networks import make_network\n"
        "for scale in (0.0625, 0.125, 0.2):\n"
        "    network = make_network(sys.argv[1], (1, 8, 8), 10, scale).to(memory_format=torch.channels_last)\n"
        "    for _ in range(40):\n"
        "        network(torch.randn(25, 1, 8, 8)).square().sum().backward()\n"
    )
    environment = {**os.environ, "MALLOC_CHECK_": "3"}
    done = subprocess.run([sys.executable, "-c", code, architecture], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
