"""Numbers that an upgrade of a library must not move, with tolerances from a measured spread: makes numbers.json.

    python tests/golden/make.py

Each number is computed once as it is, and several times from inputs changed in the seventh digit (training: from
weights changed so). The largest change is the spread; the tolerance is a multiple of it. tests/test_golden.py computes
the numbers anew and compares. Make the file again only when a change of the numbers is meant, and say so in the commit.
"""

import json
import platform
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from manifold_utils.datasets import load_dataset
from manifold_utils.distances import METRICS, pairwise
from manifold_utils.geometry import progress
from manifold_utils.inpca import InPCA
from manifold_utils.networks import make_network
from manifold_utils.profiles import DatasetConfig
from manifold_utils.studies.timing import predictions
from manifold_utils.trajectories import METHODS, average, trajectory_distances, tube_width

FILE = Path(__file__).with_name("numbers.json")
PACKAGES = ("numpy", "scipy", "torch", "numba", "scikit-learn")
CHANGE = 1e-7  # relative change of the inputs: the rounding of float32, in which predictions are stored
N_CHANGES, MARGIN, LEAST = 8, 20.0, 1e-9
N_POINTS, N_SAMPLES, N_STEPS = 24, 40, 30


def numbers(rng=None):
    """All numbers as {name: list of float}; with `rng`, from inputs changed in the seventh digit."""
    log_probs, labels = predictions(N_POINTS, N_SAMPLES, 10, np.random.default_rng(0), dtype=np.float64)
    if rng is not None:
        log_probs = log_probs * (1 + CHANGE * rng.standard_normal(log_probs.shape))
        log_probs -= np.logaddexp.reduce(log_probs, axis=2, keepdims=True)
    runs = log_probs.reshape(4, N_POINTS // 4, N_SAMPLES, 10)
    found = {f"distances_{metric}": pairwise(log_probs, metric=metric)[0, 1:] for metric in METRICS}
    fit = InPCA(n_components=5).fit(pairwise(log_probs))
    found |= {"eigenvalues": fit.eigenvalues_, "stress": fit.explained_stress_, "distance": fit.explained_distance_}
    found |= {"embedding": np.abs(fit.embedding_[::6, :3]).ravel(), "progress": progress(log_probs, labels)}
    found |= {f"mean_{name}": average(runs, name)[-1, 0] for name in METHODS}
    found |= {"trajectory_distances": trajectory_distances(runs)[0, 1:], "tube_width": tube_width(runs).ravel()}
    found |= {f"losses_{name}": losses(name, rng) for name in ("allcnn", "vit")}
    return {name: np.asarray(values, dtype=float).tolist() for name, values in found.items()}


def losses(architecture, rng):
    """Train losses of a few steps of gradient descent on digits, in float64."""
    data = load_dataset(DatasetConfig(name="digits", n_train=100, n_test=50))
    torch.manual_seed(0)
    network = make_network(architecture, data.input_shape, data.n_classes, 0.125).double()
    if rng is not None:
        for w in network.parameters():
            w.data *= 1 + CHANGE * torch.from_numpy(rng.standard_normal(w.shape))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    listed = []
    everything = torch.arange(len(data.labels("train")))
    for _ in range(N_STEPS):
        ((inputs, index),) = data.batches("train", everything, len(everything))
        loss = F.cross_entropy(network(inputs.double()), data.labels("train")[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        listed.append(float(loss.detach()))
    return listed[:: N_STEPS // 5]


def main():
    centre, rng = numbers(), np.random.default_rng(1)
    changed = [numbers(rng) for _ in range(N_CHANGES)]
    content = {}
    for name, values in centre.items():
        spread = max(np.abs(np.subtract(other[name], values)).max() for other in changed)
        content[name] = {"values": values, "spread": spread, "tolerance": max(LEAST, MARGIN * spread)}
    made = {
        "script": "tests/golden/make.py",
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {package: version(package) for package in PACKAGES},
    }
    FILE.write_text(json.dumps({"made": made, "numbers": content}, indent=1) + "\n", encoding="utf-8")
    print(f"{len(content)} groups of numbers: {FILE}")


if __name__ == "__main__":
    sys.exit(main())
