"""A run from outside: recorded in a real training loop, kept on disk, refused where it must be, placed and measured."""

import subprocess
import sys
import textwrap
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from manifold_utils.atlas.records import read_facts
from manifold_utils.datasets import load_dataset
from manifold_utils.distances import pairwise
from manifold_utils.files import PROJECT
from manifold_utils.geometry import progress
from manifold_utils.inpca import InPCA
from manifold_utils.inpca.embedding import place as place_in_embedding
from manifold_utils.profiles import DatasetConfig
from manifold_utils.recording import Diverged, Recorder, check_same_space, load_run, log_probs_from_logits
from manifold_utils.recording.yardsticks import (
    common_stations,
    distances_at_progress,
    held_out_distances,
    quantile_among,
)
from manifold_utils.trajectories.of_atlas import reached, resampled

DIGITS = DatasetConfig(name="digits", n_train=200, n_test=60, record_every=2)
DATA = load_dataset(DIGITS)


def tiny(n_classes=10):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 16), torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.5), torch.nn.Linear(16, n_classes)]
    return torch.nn.Sequential(torch.nn.Flatten(), *layers)


def trained(n_epochs=4):
    """A real, short training with a record after every epoch."""
    model, recorder = tiny(), Recorder(DATA, "tiny", batch_size=33)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    recorder.record(model, 0, 0.0)
    for epoch in range(1, n_epochs + 1):
        for inputs, index in DATA.batches("train", torch.randperm(200), 20):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), DATA.y_train[index]).backward()
            optimizer.step()
        recorder.record(model, 10 * epoch, epoch)
    return model, recorder


@pytest.fixture(scope="module")
def run():
    return trained()[1].run()


def test_a_recorded_training_learns_and_its_scores_are_those_of_its_predictions(run):
    assert run.log_probs["train"].shape == (5, 100, 10) and run.log_probs["test"].shape == (5, 60, 10)
    assert run.log_probs["train"].dtype == np.float32
    assert np.allclose(np.exp(run.log_probs["test"]).sum(axis=2), 1, atol=1e-5)
    labels = DATA.y_train[::2].numpy()
    loss = -run.log_probs["train"][:, np.arange(100), labels].mean(axis=1)
    assert np.allclose(run.points.loss_train, loss, rtol=1e-5) and loss[-1] < 0.6 * loss[0]
    assert np.allclose(run.points.error_train, (run.log_probs["train"].argmax(axis=2) != labels).mean(axis=1))
    assert progress(run.log_probs["train"], labels)[-1] > 0.3


def test_predictions_are_made_in_eval_mode_and_every_mode_is_restored():
    model = tiny()
    model.train()
    model[2].eval()  # a frozen part stays frozen
    state = {k: v.clone() for k, v in model.state_dict().items()}
    recorder = Recorder(DATA, batch_size=7)
    recorder.record(model, 0, 0.0)
    recorder.record(model, 1, 0.1)
    first, second = recorder.run().log_probs["train"]
    assert np.array_equal(first, second), "dropout and batch statistics are off"
    assert model.training and model[1].training and not model[2].training
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items()), "running statistics are untouched"
    model.eval()
    with torch.no_grad():
        by_hand = torch.log_softmax(model(DATA.normalise(DATA.x_train[::2])), dim=1).numpy()
    assert np.allclose(first, by_hand, atol=1e-5)
    assert all(p.grad is None for p in model.parameters())


def test_half_precision_outputs_are_normalised_in_single_precision():
    class Halved(torch.nn.Module):
        def forward(self, x):
            return (x.flatten(1)[:, :10] * 3).half()

    recorder = Recorder(DATA)
    recorder.record(Halved(), 0, 0.0)  # no parameters either
    assert np.allclose(np.exp(recorder.run().log_probs["train"]).sum(axis=2), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (tiny(11), r"logits of shape \(100, 10\).*it returned \(100, 11\)"),
        (torch.nn.Flatten(), r"it returned \(100, 64\)"),
        (torch.nn.Sequential(tiny(), torch.nn.Flatten(0)), "it returned"),
    ],
)
def test_other_outputs_are_refused_and_modes_are_restored_all_the_same(model, message):
    recorder = Recorder(DATA)
    with pytest.raises(ValueError, match=message):
        recorder.record(model, 0, 0.0)
    assert model.training
    with pytest.raises(ValueError, match="nothing is recorded"):
        recorder.run()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_diverged_model_is_named_and_what_was_recorded_stays(value):
    model, recorder = tiny(), Recorder(DATA)
    recorder.record(model, 0, 0.0)
    torch.nn.init.constant_(model[4].bias, value)
    with pytest.raises(Diverged, match="step 5: .*train sample 0 is not finite") as error:
        recorder.record(model, 5, 0.5)
    assert isinstance(error.value, ValueError) and error.value.step == 5
    assert len(recorder.run().points) == 1
    with pytest.raises(ValueError, match="steps must grow"):
        recorder.record(model, 0, 0.0)


def test_what_is_saved_comes_back_and_holds_no_code(run, tmp_path):
    path = run.save(tmp_path / "runs" / "tiny")
    again = load_run(path)
    assert again.name == "tiny" and again.data == DATA.fingerprint and again.points.equals(run.points)
    assert all(np.array_equal(again.log_probs[s], run.log_probs[s]) for s in ("train", "test"))
    files = {str(p.relative_to(path)) for p in path.rglob("*") if p.is_file()}
    chunks = {f"{split}/c/0/0/0" for split in ("train", "test")}
    assert files == {"zarr.json", "train/zarr.json", "test/zarr.json"} | chunks
    shorter = replace(run, points=run.points[:2], log_probs={s: v[:2] for s, v in run.log_probs.items()})
    shorter.save(path)
    assert len(load_run(path).points) == 2 and [p.name for p in path.parent.iterdir()] == ["tiny"]


def test_a_save_that_is_killed_leaves_the_old_run(run, tmp_path):
    path = run.save(tmp_path / "tiny")
    script = f"""
        import os, signal
        from manifold_utils.atlas import records
        run, write = records.load_run({str(path)!r}), records._write
        # everything is written, but not yet in its place
        records._write = lambda *parts: (write(*parts), os.kill(os.getpid(), signal.SIGKILL))
        run.save({str(path)!r})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=PROJECT)
    assert done.returncode == -9
    assert load_run(path).points.equals(run.points)
    run.save(path)
    assert len(load_run(path).points) == len(run.points)


def test_an_error_while_saving_leaves_nothing_behind(run, tmp_path):
    broken = replace(run, info={"model": object()})  # no JSON
    with pytest.raises(TypeError):
        broken.save(tmp_path / "tiny")
    assert list(tmp_path.iterdir()) == []


def test_damage_is_named(run, tmp_path):
    with pytest.raises(FileNotFoundError, match="no recorded run at"):
        load_run(tmp_path / "nowhere")
    path = run.save(tmp_path / "tiny")
    chunk = max((path / "test").rglob("*"), key=lambda p: p.stat().st_size * p.is_file())
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(OSError, match="test is damaged"):
        load_run(path)
    chunk.unlink()
    with pytest.raises(OSError, match="test is missing or damaged .* is missing"):
        load_run(path)
    path = run.save(path)
    facts = path / "zarr.json"
    assert f'"run": "{run.name}"' in facts.read_text()
    facts.write_text(facts.read_text().replace(f'"run": "{run.name}"', '"run": "another"'))
    with pytest.raises(OSError, match="do not agree with their checksum"):
        load_run(path)
    facts.write_text("no")
    with pytest.raises(OSError, match="tiny is damaged"):
        read_facts(path)


def test_predictions_made_elsewhere_are_scored_like_recorded_ones(run):
    recorder = Recorder(DATA, "elsewhere", factors={"optimizer": "by hand"})
    for k, row in enumerate(run.points.itertuples()):
        recorder.add({split: run.log_probs[split][k] for split in ("train", "test")}, row.step, row.epoch)
    again = recorder.run(status="finished", info={"n_parameters": 3})
    assert again.points.equals(run.points) and again.factors == {"optimizer": "by hand"}
    with pytest.raises(ValueError, match="steps must grow"):
        recorder.add({split: run.log_probs[split][0] for split in ("train", "test")}, 0, 0.0)


class SmallAtlas:
    """What `check_same_space` and the yardsticks ask of an atlas: two runs that are copies of a recorded one."""

    splits, n_classes = ("train", "test"), 10
    profile = SimpleNamespace(dataset=DIGITS)

    def __init__(self, run):
        self.n_classes = run.log_probs["train"].shape[2]
        self.values = {"a": run.log_probs["train"], "b": run.log_probs["train"][:, ::-1]}
        self.runs = pd.DataFrame({"data": [run.data, None]})
        clock = progress(self.values["a"], DATA.y_train[::2])
        self.points = pd.DataFrame(
            {"run": np.repeat(["a", "b"], len(clock)), "phase": "main", "step": list(range(len(clock))) * 2,
             "progress_train": np.tile(clock, 2)}
        )  # fmt: skip

    def log_probs(self, split, runs=None):
        return self.values["a"]

    def run_log_probs(self, run, split):
        return self.values[run]

    def labels(self, split):
        return DATA.y_train[::2].numpy() if split == "train" else DATA.y_test.numpy()


def test_runs_on_other_samples_are_refused(run):
    atlas = SmallAtlas(run)
    check_same_space(run, atlas)
    with pytest.raises(ValueError, match="another data set .*load_dataset"):
        check_same_space(replace(run, data="f" * 16), atlas)
    with pytest.raises(ValueError, match="another part of the samples"):
        check_same_space(replace(run, log_probs={s: v[:, :-1] for s, v in run.log_probs.items()}), atlas)
    with pytest.raises(ValueError, match="5 checkpoints"):
        replace(run, log_probs={s: v[:2] for s, v in run.log_probs.items()})
    other = load_dataset(DatasetConfig(name="digits", n_train=200, n_test=60, seed=1))
    assert other.fingerprint != DATA.fingerprint, "another cut of the same data is another space"


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.floats(-1e4, 1e4))
def test_logits_from_elsewhere_do_not_depend_on_a_shift(seed, shift):
    logits = np.random.default_rng(seed).normal(0, 30, (6, 3))
    found = log_probs_from_logits(logits + shift, 6, 3)
    assert found.shape == (1, 6, 3) and found.dtype == np.float32
    by_torch = torch.log_softmax(torch.from_numpy(logits), dim=1).numpy()
    assert np.allclose(found[0], by_torch, rtol=1e-5, atol=1e-4)
    assert np.allclose(log_probs_from_logits(found, 6, 3), found, atol=1e-4), "log-probabilities are logits"


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (np.zeros((5, 3)), r"this space has 6 samples and 3 classes"),
        (np.zeros((3, 6)), r"must be \(6, 3\)"),
        (np.where(np.eye(6, 3, dtype=bool), np.nan, 0.0), "checkpoint 0, sample 0, class 0 is nan"),
        (np.full((6, 3), 1 / 3), "these are probabilities"),
        (np.full((6, 3), "a"), "must be numbers"),
    ],
)
def test_other_files_are_refused(logits, message):
    with pytest.raises(ValueError, match=message):
        log_probs_from_logits(logits, 6, 3)


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_placing_by_stored_coordinates_is_what_the_estimator_does(seed):
    rng = np.random.default_rng(seed)
    points = np.log(rng.dirichlet([1.0, 1.0, 1.0], size=(14, 5)))
    fitted = rng.permutation(14) < 10
    matrix = pairwise(points)
    estimator = InPCA(n_components=6).fit(matrix[np.ix_(fitted, fitted)])
    coordinates = np.full((14, 6), np.nan)
    coordinates[fitted] = estimator.embedding_
    stored = xr.Dataset(
        {"embedding": (("point", "component"), coordinates), "fitted": ("point", fitted),
         "eigenvalues": ("component", estimator.eigenvalues_), "offset": ("component", estimator.offset_)}
    )  # fmt: skip
    guest = pairwise(np.log(rng.dirichlet([1.0, 1.0, 1.0], size=(3, 5))), points)
    assert np.allclose(place_in_embedding(stored, guest), estimator.transform(guest[:, fitted]), atol=1e-9)
    assert np.allclose(place_in_embedding(stored, matrix[fitted]), estimator.embedding_, atol=1e-9)


def test_a_copy_of_a_run_is_at_distance_zero_at_every_progress(run):
    atlas = SmallAtlas(run)
    clock = progress(run.log_probs["train"], atlas.labels("train"))
    passed = reached(atlas.points, ["a", "b"], np.array([0.05, 0.15, 0.25, 0.999]))
    stations = common_stations(clock, passed)
    assert 0 < len(stations) < 4 and passed.to_numpy()[:, -1].sum() == 0
    others = [(name, resampled(atlas, "train", [name], stations)[0]) for name in ("a", "b")]
    found = distances_at_progress(others[0][1][None], others)
    assert found.shape == (1, 2, len(stations))
    assert np.allclose(found[0, 0], 0, atol=1e-6) and (found[0, 1] > 1e-3).all()
    with pytest.raises(ValueError, match="train it longer"):
        common_stations([0.0, 0.01], passed)


def test_held_out_runs_without_a_counterpart_have_no_number():
    distance = np.ones((2, 3, 3)) - np.eye(3)
    runs = pd.DataFrame({"architecture": ["fc", "fc", "fc"]}, index=["a", "b", "c"])
    assert held_out_distances(distance, runs, other="architecture").isna().all().all()
    assert (held_out_distances(distance, runs) == 1).all().all()
    assert quantile_among(1.0, [np.nan, np.nan]) != quantile_among(1.0, [1.0])
