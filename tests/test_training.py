"""One run: schedules by the paper's arithmetic, optimisers by torch's classes, starts, divergence, determinism."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_utils.datasets import load_dataset
from manifold_utils.networks import make_network
from manifold_utils.profiles import DatasetConfig, RunConfig
from manifold_utils.studies.usual_ways import train_run_usual
from manifold_utils.training import (
    Optimizer,
    checkpoint_steps,
    fitted_labels,
    learning_rate_at,
    noisy,
    phases,
    run,
    start_network,
    train_run,
)

DIGITS = DatasetConfig(name="digits", n_train=200, n_test=100)
SLOPPY = DatasetConfig(name="sloppy", n_train=200, n_test=100)


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DIGITS)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def config(**changed):
    given = dict(dataset=DIGITS, architecture="fc", scale=0.125, epochs=4, batch_size=25, learning_rate=0.2)
    return RunConfig(**{**given, **changed})


# --- schedules --------------------------------------------------------------------------------------------------------


def test_the_papers_checkpoints():
    assert [len(checkpoint_steps(200, n)) for n in (250, 100, 50)] == [67, 62, 67]
    steps = checkpoint_steps(200, 250)
    # before training, then after batches 0, 62, 124, 186, 248 of each early epoch
    assert steps[:7] == [0, 1, 63, 125, 187, 249, 251]
    ends = [s // 250 - 1 for s in steps[26:]]  # epochs (from 0) at whose end a checkpoint is taken
    assert ends == [*range(5, 26), *range(28, 66, 4), *range(75, 200, 15), 199]
    assert len(checkpoint_steps(300, 250)) == 67 - 1 + 6 + 1  # 199 is no longer the last; 210, 225 ... 285, and 299


@settings(max_examples=200)
@given(st.integers(1, 199), st.integers(1, 400))
def test_shorter_runs_have_fewer_checkpoints_dense_early(epochs, n_batches):
    steps = checkpoint_steps(epochs, n_batches)
    assert steps[0] == 0 and steps[-1] == epochs * n_batches
    assert all(a < b for a, b in zip(steps[:-1], steps[1:], strict=True))
    assert len(steps) <= min(len(checkpoint_steps(200, n_batches)), epochs * n_batches + 1)
    if steps[-1] > 6 * len(steps):  # enough steps to choose from
        assert steps[len(steps) // 2] <= 0.3 * steps[-1]


def test_the_cosine_is_torchs_and_warm_up_is_linear():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    for step in range(40):
        assert math.isclose(learning_rate_at(step, 40, 0.3), optimizer.param_groups[0]["lr"], abs_tol=1e-9)
        optimizer.step()
        scheduler.step()
    assert [learning_rate_at(s, 10, 1.0, 4) for s in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam", "adamw"])
def test_optimisers_are_torchs(name, weight_decay):
    torch.manual_seed(0)
    ours = make_network("fc", (1, 8, 8), 10, 1 / 16)
    theirs = copy.deepcopy(ours)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    extra = {"momentum": 0.9 * (name == "nesterov"), "nesterov": name == "nesterov"} if name not in kinds else {}
    reference = kinds.get(name, torch.optim.SGD)(theirs.parameters(), lr=0.01, weight_decay=weight_decay, **extra)
    optimizer = Optimizer(ours, name, weight_decay)
    for _ in range(5):
        x, y = torch.randn(20, 1, 8, 8), torch.randint(0, 10, (20,))
        for network, update in ((ours, lambda: optimizer.step(0.01)), (theirs, reference.step)):
            network.zero_grad()
            F.cross_entropy(network(x), y).backward()
            update()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_run_learns_and_its_record_is_consistent(digits):
    record = train_run(config(epochs=10), digits)
    points, log_probs = record.points, record.log_probs
    assert record.status == "finished" and points.step.tolist() == checkpoint_steps(10, 8)
    assert points.error_train.iloc[-1] < 0.05 and points.error_test.iloc[-1] < 0.2
    assert abs(points.loss_train.iloc[0] - math.log(10)) < 0.3  # near ignorance
    for split, labels in (("train", digits.y_train), ("test", digits.y_test)):
        p = log_probs[split].astype(np.float64)
        assert p.shape == (len(points), len(labels), 10) and log_probs[split].dtype == np.float32
        assert np.abs(np.exp(p).sum(2) - 1).max() < 1e-6
        np.testing.assert_allclose(points[f"loss_{split}"], -p[:, np.arange(len(labels)), labels].mean(1), rtol=1e-6)
        np.testing.assert_allclose(points[f"error_{split}"], (p.argmax(2) != labels.numpy()).mean(1))
    np.testing.assert_allclose(points.epoch, points.step / 8)
    assert record.info["fitted_error"] == points.error_train.iloc[-1] and record.info["diverged_step"] is None


@pytest.mark.parametrize("architecture", ["fc", "allcnn", "vit"])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(digits, architecture):
    runs = [
        train_run(config(architecture=architecture, epochs=2, augmentation="simple", seed=s), digits) for s in (1, 1, 2)
    ]
    a, b, c = (run.log_probs["test"] for run in runs)
    assert a.tobytes() == b.tobytes() and a[0].tobytes() != c[0].tobytes()


def test_the_seed_orders_the_batches_and_not_only_the_start(digits, monkeypatch):
    """Two seeds that begin as the same network part once batches come in another order."""
    generators = [torch.Generator().manual_seed(s) for s in (1, 1, 2)]
    a, b, c = (phases(config(seed=s), digits, g)[-1].order(g) for s, g in zip((1, 1, 2), generators, strict=True))
    assert torch.equal(a, b) and not torch.equal(a, c) and torch.equal(a.sort().values, c.sort().values)
    again = phases(config(seed=1), digits, generators[0])[-1].order(generators[0])
    assert not torch.equal(a, again), "every epoch has an order of its own"
    monkeypatch.setattr(run, "start_network", lambda c, data, real=start_network: real(config(seed=0), data))
    first, second = (train_run(config(seed=s, epochs=2), digits).log_probs["test"] for s in (1, 2))
    assert np.array_equal(first[0], second[0]) and not np.allclose(first[-1], second[-1], atol=1e-3)


def test_the_seed_draws_the_label_noise(digits):
    drawn = [fitted_labels(config(seed=s, label_noise=1.0), digits) for s in (1, 1, 2)]
    assert np.array_equal(drawn[0], drawn[1]) and (drawn[0] != drawn[2]).mean() > 0.5
    other = fitted_labels(config(seed=1, label_noise=1.0, architecture="vit"), digits)
    assert np.array_equal(drawn[0], other), "runs of one seed share their labels, whatever their architecture"


def test_recorded_samples_are_every_nth(digits):
    thinned = load_dataset(DIGITS.model_copy(update={"record_every": 4}))
    all_samples, some = train_run(config(), digits), train_run(config(), thinned)
    np.testing.assert_array_equal(some.log_probs["train"], all_samples.log_probs["train"][:, ::4])


def test_divergence_is_recorded_with_its_step_and_only_finite_checkpoints(digits):
    record = train_run(config(architecture="vit", learning_rate=1e12, optimizer="nesterov"), digits)
    assert record.status == "diverged" and 1 <= record.info["diverged_step"] < 32
    assert (
        1 <= len(record.points) < len(checkpoint_steps(4, 8))
        and record.points.step.max() <= record.info["diverged_step"]
    )
    assert all(np.isfinite(values).all() for values in record.log_probs.values())


def test_label_noise_replaces_the_labels_fitted_but_not_the_truth(digits):
    labels = torch.zeros(20_000, dtype=torch.long)
    replaced = noisy(labels, 0.5, 10, torch.Generator().manual_seed(0))
    assert abs((replaced != 0).float().mean() - 0.45) < 0.02  # a tenth of the replaced get their own class again
    assert torch.equal(noisy(labels, 0.0, 10, torch.Generator()), labels)
    record = train_run(config(label_noise=1.0, epochs=15, scale=0.5), digits)
    assert record.info["fitted_error"] < 0.5 < record.points.error_train.iloc[-1]


# --- starts -----------------------------------------------------------------------------------------------------------


def test_fitted_first_to_random_labels_both_phases_are_there(digits):
    record = train_run(config(initialisation="random_labels", pretrain_epochs=12, epochs=8, scale=0.5), digits)
    points = record.points
    assert (points.step.diff().dropna() > 0).all() and points.step.iloc[0] == -12 * 8
    before, after = points[points.phase == "pretrain"], points[points.phase == "main"]
    assert after.step.tolist() == checkpoint_steps(8, 8)
    assert (before.step + 96).tolist() == checkpoint_steps(12, 8)[:-1] and (before.step < 0).all()
    assert after.error_train.iloc[0] > 0.6 > 0.1 > after.error_train.iloc[-1]


def test_fitted_first_to_a_small_balanced_subset(digits):
    pretrain, main = phases(config(initialisation="subset_20", pretrain_epochs=5), digits, torch.Generator())
    assert digits.y_train[pretrain.index].bincount().tolist() == [2] * 10 and len(main.index) == 200
    assert (pretrain.batch_size, pretrain.n_batches) == (20, 1)
    record = train_run(config(initialisation="subset_20", pretrain_epochs=30, learning_rate=0.05), digits)
    start = record.points[record.points.step == 0].iloc[0]
    predicted = record.log_probs["train"][start.name].argmax(1)
    assert (predicted[pretrain.index] == digits.y_train[pretrain.index].numpy()).mean() > 0.9


def test_offsets_are_shared_by_seeds_and_are_the_papers_for_students():
    data = load_dataset(SLOPPY)

    def weights(start, seed):
        run = RunConfig(dataset=SLOPPY, architecture="student-1", initialisation=start, seed=seed)
        return start_network(run, data)[1].weight.detach()

    shifts = [weights("offset_3", seed) - weights("ordinary", seed) for seed in (1, 2)]
    torch.testing.assert_close(*shifts, atol=1e-5, rtol=0)
    assert abs(shifts[0].std() - 1) < 0.02 and not torch.allclose(
        shifts[0], weights("offset_4", 1) - weights("ordinary", 1)
    )


def test_students_learn_the_sloppy_data_and_vectors_are_not_augmented():
    data = load_dataset(SLOPPY)
    run = RunConfig(dataset=SLOPPY, architecture="student-1", scale=0.25, epochs=20, batch_size=50)
    assert train_run(run, data).points.error_train.iloc[-1] < 0.1
    with pytest.raises(ValueError, match="augmentation 'simple' needs images"):
        train_run(run.model_copy(update={"augmentation": "simple"}), data)


# --- beside the usual loop --------------------------------------------------------------------------------------------


def test_the_usual_loop_starts_at_the_same_point_and_ends_as_well(digits):
    pairs = [
        [
            run(config(epochs=8, seed=s, optimizer=name, learning_rate=rate), digits).points
            for run in (train_run, train_run_usual)
        ]
        for name, rate in (("sgd", 0.2), ("adam", 5e-3))
        for s in (1, 2, 3)
    ]
    for ours, usual in pairs:
        assert ours.step.tolist() == usual.step.tolist()
        assert math.isclose(ours.loss_test[0], usual.loss_test[0], rel_tol=1e-5)
    ours, usual = (np.array([pair[k].error_test.iloc[-1] for pair in pairs]) for k in (0, 1))
    assert abs(ours.mean() - usual.mean()) < 0.04 and usual.max() < 0.25
    with pytest.raises(ValueError, match="ordinary starts"):
        train_run_usual(config(label_noise=1.0), digits)
