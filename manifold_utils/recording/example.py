"""An example that anybody can run in a minute: 24 small runs of six kinds of learners on one data set made offline.

Two kinds of networks, gradient boosting, random forests, nearest neighbours and logistic regression learn seven classes
from twenty numbers. Nothing here is the book's own: each run comes in by `Recorder` or `record_estimator`, as yours
would. `make_atlas` puts them into an atlas, which chapters read like any other.
"""

import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from tqdm import tqdm

from manifold_utils.atlas import Atlas
from manifold_utils.recording.callbacks import record_estimator
from manifold_utils.recording.moments import Moments
from manifold_utils.recording.recorder import Recorder

NAME = "example"
N_TRAIN, N_TEST, N_FEATURES, N_CLASSES = 500, 300, 20, 7
SIZES = [8, 12, 18, 27, 40, 60, 90, 130, 190, 270, 380, 500]  # training samples of learners that are fitted at once
EPOCHS, BATCH = 15, 25


def samples(seed=0):
    """Samples of seven classes, made by scikit-learn: dict of split -> (x float32 (n, 20), y int64 (n,)).

    Examples
    --------
    >>> x, y = samples()["test"]
    >>> x.shape, len(set(y.tolist()))
    ((300, 20), 7)
    """
    shape = {"n_samples": N_TRAIN + N_TEST, "n_features": N_FEATURES, "n_classes": N_CLASSES}
    kind = {"n_informative": 8, "n_redundant": 4, "n_clusters_per_class": 1, "class_sep": 1.4, "flip_y": 0.03}
    x, y = make_classification(**shape, **kind, random_state=seed)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
    return {"train": (x[:N_TRAIN], y[:N_TRAIN]), "test": (x[N_TRAIN:], y[N_TRAIN:])}


class Residual(nn.Module):
    """Two residual blocks of width 32."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(N_FEATURES, 32), nn.Linear(32, N_CLASSES)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.GELU()) for _ in range(2))

    def forward(self, x):
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


def mlp():
    """A network with one hidden layer of 64 units."""
    return nn.Sequential(nn.Linear(N_FEATURES, 64), nn.ReLU(), nn.Linear(64, N_CLASSES))


def train(recorder, network, optimizer, data, seed):
    """An ordinary training loop; the one line that is new records."""
    order, (x, y), step, moments = (
        torch.Generator().manual_seed(seed),
        map(torch.as_tensor, data["train"]),
        0,
        Moments(),
    )
    recorder.record(network, step=0, epoch=0.0)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(y), generator=order).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x[index]), y[index]).backward()
            optimizer.step()
            step += 1
            if moments.due(step):
                recorder.record(network, step, step * BATCH / N_TRAIN)
    return recorder


def networks(data, seed):
    """Yield (factors, function that trains a recorder) of both kinds of networks with two optimisers each."""
    for model, make in (("mlp", mlp), ("residual", Residual)):
        for name, rate in (("sgd", 0.2), ("adam", 0.01)):

            def run(recorder, make=make, name=name, rate=rate):
                torch.manual_seed(seed)
                network = make()
                kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
                return train(recorder, network, kinds[name](network.parameters(), lr=rate), data, seed)

            yield {"model": model, "variant": name, "seed": seed}, run


def learners(data, seed):
    """Yield (factors, function that fits for a recorder) of four kinds of scikit-learn's learners, two of each."""
    boosted = {"n_estimators": 25, "subsample": 0.7, "max_depth": 2, "random_state": seed}
    linear = {"loss": "log_loss", "learning_rate": "constant", "eta0": 0.02, "random_state": seed}
    kinds = {
        ("boosting", "slow"): (GradientBoostingClassifier(learning_rate=0.1, **boosted), {}),
        ("boosting", "fast"): (GradientBoostingClassifier(learning_rate=0.3, **boosted), {}),
        ("forest", "shallow"): (RandomForestClassifier(20, max_depth=4, random_state=seed), {"grow": "samples"}),
        ("forest", "deep"): (RandomForestClassifier(20, random_state=seed), {"grow": "samples"}),
        ("neighbours", "5"): (KNeighborsClassifier(5), {"grow": "samples"}),
        ("neighbours", "15"): (KNeighborsClassifier(15), {"grow": "samples"}),
        ("logistic", "weak prior"): (SGDClassifier(alpha=1e-4, **linear), {"epochs": 8}),
        ("logistic", "strong prior"): (SGDClassifier(alpha=3e-2, **linear), {"epochs": 8}),
    }
    for (model, variant), (estimator, options) in kinds.items():
        fixed = {"forest": 8, "neighbours": 16}.get(model)
        grown = {} if fixed is None else {"values": [n for n in SIZES if n >= fixed]}

        def run(recorder, estimator=estimator, options=options | grown):
            return record_estimator(recorder, estimator, *data["train"], seed=seed, **options)

        yield {"model": model, "variant": variant, "seed": seed}, run


def make_runs(n_seeds=2, *, show_progress=False):
    """Train all runs: list of RunRecord, and the labels of their samples (dict of split -> ndarray).

    Parameters
    ----------
    n_seeds : int, repeats of each of the 12 configurations
    show_progress : bool
    """
    data, records = samples(), []
    jobs = [job for seed in range(n_seeds) for job in (*networks(data, seed), *learners(data, seed))]
    for factors, run in tqdm(jobs, desc="24 small runs", unit="run", disable=not show_progress):
        name = "-".join(str(value).replace(" ", "_") for value in factors.values())
        recorder = run(Recorder(data, name, factors=factors))
        records.append(recorder.run())
    return records, recorder.labels


def make_atlas(name=NAME, *, n_seeds=2, data_dir="", show_progress=False):
    """All runs as an atlas of recorded runs, made anew if it is there.

    Parameters
    ----------
    name : str
    n_seeds : int, repeats of each of the 12 configurations
    data_dir : str
        Folder of the atlases; "" for $MANIFOLD_DATA or the project's data/.
    show_progress : bool

    Returns
    -------
    Atlas
    """
    records, labels = make_runs(n_seeds, show_progress=show_progress)
    said = f"{len(records)} small runs of six kinds of learners on seven classes made by scikit-learn"
    design = {"factors": ["model", "variant"], "family": "model", "seed": "seed"}
    return Atlas.from_runs(name, records, labels, **design, description=said, replace=True, data_dir=data_dir)
