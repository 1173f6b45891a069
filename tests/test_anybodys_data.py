"""A recorder on anybody's samples: every form they come in gives the same labels, and another order is refused."""

import random

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from manifold_utils.atlas import Atlas
from manifold_utils.recording import Recorder, check_same_space, contents, load_run, samples
from manifold_utils.recording.recorder import whole_step
from manifold_utils.recording.samples import all_samples, label_numbers

X, Y = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 3
LINEAR = torch.nn.Linear(4, 3)


class Rows(Dataset):
    """Rows as Hugging Face's data sets have them: dictionaries, by number."""

    def __len__(self):
        return len(Y)

    def __getitem__(self, k):
        return {"x": X[k], "label": int(Y[k])}


class Named(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = LINEAR

    def forward(self, x):
        return {"loss": None, "logits": self.inner(x)}


FORMS = {
    "arrays": (X.numpy(), Y.numpy()),
    "lists": (X.tolist(), Y.tolist()),
    "tensors": (X, Y),
    "doubles and float labels": (X.double(), Y.float()),
    "a column of labels": (X, Y[:, None]),
    "one-hot labels": (X, torch.nn.functional.one_hot(Y).float()),
    "a table": (pd.DataFrame(X.numpy()), pd.Series(Y.numpy(), index=np.arange(50) + 7)),
    "a DataLoader": DataLoader(TensorDataset(X, Y), batch_size=7),
    "a list of batches": [(X[:30], Y[:30]), (X[30:], Y[30:])],
    "a data set": TensorDataset(X, Y),
}
DICTIONARIES = {
    "a dictionary of arrays": {"x": X, "label": Y},
    "rows that are dictionaries": Rows(),
    "a DataLoader of dictionaries": DataLoader(Rows(), batch_size=8),
}


@pytest.mark.parametrize("form", [*FORMS, *DICTIONARIES])
def test_every_form_of_the_same_samples_gives_the_same_record(form):
    given, model = (FORMS[form], LINEAR) if form in FORMS else (DICTIONARIES[form], Named())
    recorder = Recorder({"test": given}, batch_size=9)
    assert recorder.splits == ("test",) and np.array_equal(recorder.labels["test"], Y)
    told = recorder.record(model, step=3, epoch=0.5)
    run = recorder.run()
    with torch.no_grad():
        expected = torch.log_softmax(LINEAR(X), dim=1)
    assert np.allclose(run.log_probs["test"][0], expected, atol=1e-5)
    assert list(run.points) == ["step", "epoch", "phase", "loss_test", "error_test"]
    error = float((expected.argmax(dim=1) != Y).float().mean())
    assert run.points.error_test[0] == pytest.approx(error) and repr(told) == f"step 3: test error {error:.3f}"


def test_one_split_is_kept_on_disk(tmp_path):
    recorder = Recorder({"train": (X, Y)})
    recorder.record(LINEAR, 0)
    again = load_run(recorder.save(tmp_path / "one"))
    assert list(again.log_probs) == ["train"] and again.points.epoch.tolist() == [0.0]
    assert again.data == recorder.fingerprint


def test_the_fingerprint_is_of_the_content_and_its_order():
    forms = ["arrays", "tensors", "a table", "a DataLoader", "a list of batches", "a data set"]
    kept = {form: Recorder({"test": FORMS[form]}).fingerprint for form in forms}
    assert len(set(kept.values())) == 1, kept
    order = torch.arange(50).flip(0)
    moved = X.clone()
    moved[49, 3] += 1e-3
    others = [(X[order], Y[order]), (moved, Y), (X, (Y + 1) % 3), (X[:49], Y[:49])]
    prints = {Recorder({"test": other}).fingerprint for other in others}
    assert len(prints | set(kept.values())) == 5
    assert Recorder({"train": FORMS["tensors"]}).fingerprint not in prints | set(kept.values())


class Big:
    """Inputs that pretend to be too many to hash: reading them all would take hours."""

    dtype, shape, read = np.dtype(np.uint8), (10**5, 2**14), 0

    def __getitem__(self, part):
        self.read = max(self.read, part.start)
        return np.zeros((len(range(*part.indices(self.shape[0]))), self.shape[1]), np.uint8)


def test_of_huge_inputs_only_the_first_are_hashed(monkeypatch):
    monkeypatch.setattr(contents, "HASHED_BYTES", 2**24)
    inputs, labels = Big(), np.zeros(10**5, dtype=int)
    one = all_samples({"test": (inputs, labels)})["test"].fingerprint
    assert 0 < inputs.read <= 3 * samples.SCAN
    labels[-1] = 1
    assert all_samples({"test": (Big(), labels)})["test"].fingerprint != one


class Augmented(Rows):
    def __getitem__(self, k):
        return {"x": X[k] + torch.randn(4), "label": int(Y[k])}


class Shuffled:
    """A loader of the user's own, whose order no sampler tells."""

    def __iter__(self):
        order = torch.randperm(50)
        return iter([(X[order], Y[order])])


class OwnSampler(torch.utils.data.Sampler):
    def __iter__(self):
        return iter(random.sample(range(50), 50))


REFUSED = {
    "shuffles .RandomSampler": DataLoader(TensorDataset(X, Y), shuffle=True),
    "shuffles .WeightedRandomSampler": DataLoader(
        TensorDataset(X, Y), sampler=torch.utils.data.WeightedRandomSampler([1.0] * 50, 50)
    ),
    "drop_last": DataLoader(TensorDataset(X, Y), batch_size=8, drop_last=True),
    "each process a part": DataLoader(
        TensorDataset(X, Y), sampler=DistributedSampler(TensorDataset(X, Y), num_replicas=2, rank=0)
    ),
    "a second look gave other labels.*shuffle=False": DataLoader(TensorDataset(X, Y), sampler=OwnSampler()),
    "second look gave other labels": Shuffled(),
    "other inputs for the same labels": Augmented(),
    "can be read only once": iter([(X, Y)]),
    "different lengths: 49, 50": (X[:49], Y),
    "two arrays; found 3": (X, Y, Y),
    "expected .x, y.": X.numpy(),
    "a batch must be .inputs, labels.": [X, Y, X],
    "no labels under any of": {"x": X, "z": Y},
    "whole numbers": (X, Y + 0.5),
    "classes count from 0": (X, Y - 1),
    "not one-hot": (X, torch.softmax(X[:, :3], dim=1)),
    "give classes=": (X, np.array(["a", "b"] * 25)),
    "no samples": [],
    "nothing is to be predicted": (X, torch.full((50,), -100)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_samples_that_cannot_be_compared_are_refused_with_the_split(message):
    with pytest.raises((ValueError, TypeError), match=f"test: .*{message}"):
        Recorder({"test": REFUSED[message]})


@pytest.mark.parametrize("data", [{}, {"validation": (X, Y)}, {"train": (X, Y), "extra": (X, Y)}, (X, Y)])
def test_splits_have_the_names_of_the_book(data):
    with pytest.raises(ValueError, match='data must be {"train": ..., "test": ...}'):
        Recorder(data)


def test_a_loader_that_begins_to_shuffle_is_found_when_it_records():
    batches = [(X, Y)]
    recorder = Recorder({"test": batches})
    recorder.record(LINEAR, 0)
    order = torch.randperm(50)
    batches[0] = (X[order], Y[order])
    with pytest.raises(ValueError, match="another order than at first"):
        recorder.record(LINEAR, 1)
    assert len(recorder.run().points) == 1


def test_labels_by_name_and_what_is_ignored():
    names = np.array(["dog", "cat", "eel"])
    recorder = Recorder({"test": (X, names[Y])}, classes=names)
    assert np.array_equal(recorder.labels["test"], Y) and recorder.n_classes == 3
    with pytest.raises(ValueError, match="label 'cow' is none of the classes dog, cat, eel"):
        Recorder({"test": (X, ["cow"] * 50)}, classes=names)
    assert label_numbers(np.array([1, 2, -100, 7]), [1, 2, 7]).tolist() == [0, 1, -100, 2]
    ignored = torch.where(torch.arange(50) < 10, -100, Y)
    recorder = Recorder({"test": (X, ignored)}, batch_size=7)
    recorder.record(LINEAR, 0)
    with torch.no_grad():
        assert np.allclose(recorder.run().log_probs["test"][0], torch.log_softmax(LINEAR(X[10:]), dim=1), atol=1e-5)


def test_labels_beyond_the_columns_are_refused():
    recorder = Recorder({"test": (X, Y + 1)})
    with pytest.raises(ValueError, match="labels run from 1 to 3, .*count from 1: subtract 1"):
        recorder.record(LINEAR, 0)


@pytest.mark.parametrize("step", [7, 7.0, np.int32(7), np.float32(7), torch.tensor(7), torch.tensor([7.0])])
def test_steps_are_whole_numbers_of_any_kind(step):
    assert whole_step(step) == 7 and type(whole_step(step)) is int


@pytest.mark.parametrize("step", [0.5, np.nan, np.inf, "3", True, None, torch.tensor([1, 2]), 1j])
def test_other_steps_are_refused_in_one_sentence(step):
    recorder = Recorder({"test": (X, Y)})
    with pytest.raises(ValueError, match="step must be a whole number of batches, found .*: count batches"):
        recorder.record(LINEAR, step)
    with pytest.raises(ValueError, match="nothing is recorded"):
        recorder.run()


@pytest.mark.parametrize("kind", ["logits", "log_probs", "probabilities"])
def test_numbers_of_every_kind_are_added_without_a_network(kind):
    logits = np.random.default_rng(0).normal(0, 4, (50, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given = {"logits": logits, "probabilities": probabilities, "log_probs": np.log(probabilities)}[kind]
    recorder = Recorder({"train": (X[:30], Y[:30]), "test": (X[30:], Y[30:])}, "elsewhere")
    recorder.add(**{kind: {"train": given[:30], "test": given[30:]}}, step=np.int64(2))
    recorder.add(**{kind: {"test": torch.tensor(given[30:]), "train": given[:30]}}, step=3, epoch=1.5)
    run = recorder.run()
    assert np.allclose(run.log_probs["test"], np.log(probabilities[30:]), atol=1e-5)
    assert run.log_probs["train"].dtype == np.float32 and run.points.epoch.tolist() == [2.0, 1.5]
    alone = Recorder({"test": (X, Y)})
    alone.add(**{kind: given}, step=0)
    assert np.allclose(alone.run().log_probs["test"][0], np.log(probabilities), atol=1e-5)


def test_a_class_of_probability_zero_is_exact(tmp_path):
    recorder = Recorder({"test": (X, Y)})
    recorder.add(probabilities=np.eye(3)[Y], step=0)
    recorder.add(probabilities=np.eye(3)[(Y + 1) % 3], step=1)
    again = load_run(recorder.save(tmp_path / "zeros"))
    assert np.isneginf(again.log_probs["test"]).sum() == 200
    assert again.points.loss_test.tolist() == [0.0, np.inf] and again.points.error_test.tolist() == [0.0, 1.0]


MISTAKES = {
    "give one of log_probs, logits and probabilities": {"step": 1},
    "found log_probs, logits": {"log_probs": [[0.0]], "logits": [[0.0]], "step": 1},
    "give the step": {"logits": X[:, :3]},
    "these are probabilities": {"logits": torch.softmax(X[:, :3], dim=1), "step": 1},
    "no log-probabilities": {"log_probs": X[:, :3], "step": 1},
    "pass kind='log_probs'": {"probabilities": torch.log_softmax(X[:, :3], dim=1), "step": 1},
    "independent sigmoids": {"probabilities": torch.sigmoid(X[:, :3]), "step": 1},
    "class 1 is nan": {"logits": torch.where(torch.arange(3) == 1, torch.nan, X[:, :3]), "step": 1},
    "one checkpoint is .50, n_classes.": {"logits": X[:49, :3], "step": 1},
    "predictions on test are needed": {"logits": {"train": X[:, :3]}, "step": 1},
    "labels run from 0 to 2": {"logits": X[:, :2], "step": 1},
    "epoch must be a finite number": {"logits": X[:, :3], "step": 1, "epoch": np.nan},
    "your own error as a fraction": {"logits": X[:, :3], "step": 1, "error_test": 12.5},
}


@pytest.mark.parametrize("message", MISTAKES)
def test_numbers_that_are_something_else_are_refused_and_nothing_is_kept(message):
    recorder = Recorder({"test": (X, Y)})
    with pytest.raises(ValueError, match=message):
        recorder.add(**MISTAKES[message])
    with pytest.raises(ValueError, match="nothing is recorded"):
        recorder.run()


def test_the_next_checkpoint_has_as_many_classes_as_the_first():
    recorder = Recorder({"test": (X, Y)})
    recorder.add(logits=X[:, :3], step=0)
    with pytest.raises(ValueError, match="this space has 50 samples and 3 classes"):
        recorder.add(logits=X, step=1)
    with pytest.raises(ValueError, match=r"logits of shape \(50, 3\) .*it returned \(50, 4\)"):
        recorder.record(torch.nn.Identity(), 1)


def test_an_atlas_takes_the_runs_of_a_recorder_and_refuses_those_on_other_samples(tmp_path):
    def run(name, x=X, y=Y):
        recorder = Recorder({"test": (x, y)}, name, factors={"model": name[0], "seed": int(name[1])})
        for step in range(3):
            logits = step * torch.nn.functional.one_hot(y, 3) + 0.1 * torch.randn(50, 3)
            recorder.add(logits=logits, step=10 * step, epoch=step / 2)
        return recorder

    recorders = [run(name) for name in ("a1", "a2", "b1", "b2")]
    saved = recorders[0].save(tmp_path / "runs" / "a1")
    runs = [load_run(saved), *(recorder.run() for recorder in recorders[1:])]
    atlas = Atlas.from_runs("mine", runs, recorders[0].labels, data_dir=str(tmp_path))
    assert atlas.splits == ("test",) and atlas.factors == ("model",) and atlas.seed == "seed"
    assert set(atlas.runs.data) == {recorders[0].fingerprint}
    assert atlas.points.step.tolist() == [0, 10, 20] * 4 and atlas.points.epoch.tolist() == [0.0, 0.5, 1.0] * 4
    check_same_space(run("c1").run(), atlas)
    order = torch.tensor([3, 1, 2, 0, *range(4, 50)])  # two samples of one class change places: the labels stay
    other = run("c1", X[order], Y[order])
    assert np.array_equal(other.labels["test"], Y)
    with pytest.raises(ValueError, match="run 'c1' was recorded on other samples than the other runs"):
        Atlas.from_runs("mine", [other.run()], recorders[0].labels, data_dir=str(tmp_path))
    with pytest.raises(ValueError, match="another data set .* give Recorder the samples that the runs of the atlas"):
        check_same_space(other.run(), atlas)
    with pytest.raises(ValueError, match="2 of 4 runs were refused"):
        Atlas.from_runs("new", [*runs[:2], other.run(), run("d1", X + 1).run()], other.labels, data_dir=str(tmp_path))
