"""Callbacks in the training loops of the real libraries: Lightning, Hugging Face's Trainer, Keras 3, scikit-learn."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

os.environ.setdefault("KERAS_BACKEND", "torch")

from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from manifold_utils.compat import import_torchvision
from manifold_utils.files import PROJECT
from manifold_utils.recording import Recorder, load_run
from manifold_utils.recording.callbacks import (
    KerasRecorder,
    LightningRecorder,
    TransformersRecorder,
    record_estimator,
)
from manifold_utils.recording.moments import Moments

import_torchvision()  # before Lightning does
X = torch.randn(90, 5, generator=torch.Generator().manual_seed(0))
Y = (2 * X[:, 0] + X[:, 1]).argsort().argsort() // 30
SPLITS = {"train": (X[:60], Y[:60]), "test": (X[60:], Y[60:])}


def learns(run):
    """Whether the predictions of the last checkpoint are better than those of the first, and are distributions."""
    for values in run.log_probs.values():
        assert np.allclose(np.exp(values).sum(axis=2), 1, atol=1e-5)
    return run.points.loss_train.iloc[-1] < 0.9 * run.points.loss_train.iloc[0]


# -- Lightning -------------------------------------------------------------------------------------------------------


def lightning_module():
    import lightning.pytorch as pl

    class Net(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, batch_idx):
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.02)

    torch.manual_seed(0)
    return Net()


def lightning_fit(callbacks, **options):
    import lightning.pytorch as pl

    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "barebones": False}
    module = lightning_module()
    torch.manual_seed(1)
    trainer = pl.Trainer(accelerator="cpu", enable_model_summary=False, callbacks=callbacks, **silent, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its workers and its own future
        trainer.fit(module, DataLoader(TensorDataset(X[:60], Y[:60]), batch_size=10, shuffle=True))
    return module


def test_lightning_trains_as_if_it_were_not_recorded(tmp_path):
    recorder = Recorder(SPLITS, "pl", factors={"model": "mlp"})
    watched = lightning_fit([LightningRecorder(recorder, save=tmp_path / "run")], max_epochs=8)
    alone = lightning_fit([], max_epochs=8)
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), alone.parameters(), strict=True))
    run = load_run(tmp_path / "run")
    assert run.points.step.tolist() == [0, *Moments().up_to(48)] and run.points.epoch.iloc[-1] == 8
    assert run.points.epoch[2] == pytest.approx(2 / 6) and learns(run)
    watched.eval()
    with torch.no_grad():
        assert np.allclose(run.log_probs["test"][-1], torch.log_softmax(watched(X[60:]), dim=1), atol=1e-5)


def test_lightning_with_accumulated_gradients_an_inner_network_and_a_stop():
    import lightning.pytorch as pl

    class Stop(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 7:
                raise KeyboardInterrupt

    recorder = Recorder(SPLITS)
    inner = LightningRecorder(recorder, steps=3, network=lambda module: module.net)
    with pytest.raises(SystemExit):
        lightning_fit([inner, Stop()], max_epochs=8, accumulate_grad_batches=2)
    assert recorder.run().points.step.tolist() == [0, 3, 6], "steps are the optimiser's"


# -- Hugging Face ----------------------------------------------------------------------------------------------------


def trainer_of(model, rows, callbacks, folder, **options):
    from transformers import Trainer, TrainingArguments

    settings = {"per_device_train_batch_size": 10, "learning_rate": 5e-3, "report_to": [], "disable_tqdm": True}
    settings |= {"save_strategy": "no", "logging_strategy": "no", "use_cpu": True, "dataloader_num_workers": 0}
    arguments = TrainingArguments(str(folder), **settings, **options)
    return Trainer(model, arguments, train_dataset=rows, callbacks=callbacks)


def test_a_classifier_of_transformers_on_one_of_its_data_sets(tmp_path):
    from datasets import Dataset
    from transformers import BertConfig, BertForSequenceClassification, default_data_collator

    tokens = torch.randint(1, 20, (60, 6), generator=torch.Generator().manual_seed(0))
    rows = Dataset.from_dict(
        {"input_ids": tokens.tolist(), "attention_mask": [[1] * 6] * 60, "label": (tokens[:, 0] % 3).tolist()}
    )
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=20, num_labels=3, **small))
    model.activation_checkpointing_enable()
    recorder = Recorder({"train": rows}, "bert", collate=default_data_collator)
    watching = TransformersRecorder(recorder, steps=[5, 20], save=tmp_path / "run")
    trainer = trainer_of(model, rows, [watching], tmp_path / "out", num_train_epochs=6)
    trainer.train()
    run = load_run(tmp_path / "run")
    assert run.points.step.tolist() == [0, 5, 20, 36] and learns(run)
    assert run.points.epoch.tolist() == pytest.approx([0, 5 / 6, 20 / 6, 6])
    by_trainer = trainer.predict(rows).predictions
    assert np.allclose(run.log_probs["train"][-1], torch.log_softmax(torch.tensor(by_trainer), dim=1), atol=1e-5)


def test_a_causal_language_model_is_judged_as_its_own_loss_does(tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    tokens = torch.arange(7) * torch.randint(1, 3, (20, 1), generator=torch.Generator().manual_seed(0)) % 11
    labels = tokens.clone()
    labels[:5, 5:] = -100
    batch = {"input_ids": tokens, "labels": labels}
    rows = [{key: values[k] for key, values in batch.items()} for k in range(20)]
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=11, n_positions=8, n_embd=16, n_layer=1, n_head=2))
    recorder = Recorder({"train": batch}, "gpt", batch_size=8)
    trainer_of(model, rows, [TransformersRecorder(recorder)], tmp_path, max_steps=12).train()
    run = recorder.run()
    assert run.points.step.iloc[-1] == 12 and learns(run)
    model.eval()
    with torch.no_grad():
        loss = float(model(**batch).loss)
    assert run.points.loss_train.iloc[-1] == pytest.approx(loss, rel=1e-5)


# -- Keras -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["softmax", None])
def test_keras_trains_as_if_it_were_not_recorded(activation, tmp_path):
    import keras

    def fit(callbacks):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(16, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(3, activation)]
        model = keras.Sequential(layers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
        model.compile(optimizer=keras.optimizers.Adam(0.02), loss=loss)
        model.fit(X[:60].numpy(), Y[:60].numpy(), batch_size=10, epochs=4, verbose=0, callbacks=callbacks)
        return model

    recorder = Recorder({split: (x.numpy(), y.numpy()) for split, (x, y) in SPLITS.items()}, "keras")
    watched = fit([KerasRecorder(recorder, steps=5, save=tmp_path / "run")])
    alone = fit([])
    assert all(np.array_equal(a, b) for a, b in zip(watched.get_weights(), alone.get_weights(), strict=True))
    run = load_run(tmp_path / "run")
    assert run.points.step.tolist() == [0, 5, 10, 15, 20, 24] and learns(run)
    assert run.points.epoch.tolist() == pytest.approx([0, 5 / 6, 10 / 6, 15 / 6, 20 / 6, 4])
    outputs = watched.predict(X[60:].numpy(), verbose=0)
    own = np.log(outputs) if activation else torch.log_softmax(torch.tensor(outputs), dim=1).numpy()
    assert np.allclose(run.log_probs["test"][-1], own, atol=1e-4)


# -- scikit-learn ----------------------------------------------------------------------------------------------------

LEARNERS = {
    "stages": (GradientBoostingClassifier(n_estimators=12, random_state=0), {}, [0, *Moments().up_to(12)]),
    "batches": (SGDClassifier(loss="log_loss", random_state=0), {"epochs": 3, "batch_size": 20}, [0, *range(1, 9), 9]),
    "another learner in batches": (
        MLPClassifier(random_state=0, learning_rate_init=0.05),
        {"epochs": 4, "batch_size": 30},
        [0, *range(1, 9)],
    ),
    "trees": (RandomForestClassifier(n_estimators=9, random_state=0), {}, [0, *range(1, 9), 9]),
    "iterations": (LogisticRegression(max_iter=6, warm_start=True), {}, [0, 1, 2, 3, 4, 5, 6]),
    "samples": (KNeighborsClassifier(2), {"values": [5, 20, 60]}, [0, 5, 20, 60]),
    "neighbours": (KNeighborsClassifier(), {"grow": "n_neighbors", "values": [40, 9, 1]}, [0, 1, 2, 3]),
    "depths": (RandomForestClassifier(5, random_state=0), {"grow": "max_depth", "values": [1, 2, 5]}, [0, 1, 2, 5]),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_of_sklearn_becomes_a_trajectory_from_ignorance(name):
    estimator, options, steps = LEARNERS[name]
    recorder = Recorder(SPLITS, name)
    assert record_estimator(recorder, estimator, X[:60], Y[:60], **options) is recorder
    run = recorder.run()
    assert run.points.step.tolist() == steps and learns(run)
    assert np.allclose(run.log_probs["train"][0], -np.log(3)), "before it has seen anything"
    assert np.isfinite(run.log_probs["test"]).all()


def test_the_last_point_of_a_learner_is_the_learner_itself():
    recorder = Recorder(SPLITS)
    record_estimator(recorder, GradientBoostingClassifier(n_estimators=12, random_state=0), X[:60], Y[:60], smoothing=0)
    order = np.random.default_rng(0).permutation(60)
    alone = GradientBoostingClassifier(n_estimators=12, random_state=0).fit(X[:60][order], Y[:60][order])
    assert np.allclose(np.exp(recorder.run().log_probs["test"][-1]), alone.predict_proba(X[60:]), atol=1e-6)


def test_classes_by_name_tables_and_classes_not_seen_yet():
    names = np.array(["red", "blue", "green"])
    table, y = pd.DataFrame(X.numpy(), columns=list("abcde")), names[Y]
    recorder = Recorder({"test": (table[60:], y[60:])}, classes=names)
    record_estimator(recorder, KNeighborsClassifier(1), table[:60], y[:60], values=[2, 60], smoothing=0.3)
    run = recorder.run()
    early = np.exp(run.log_probs["test"][1])
    assert np.allclose(np.sort(early, axis=1), [0.1, 0.1, 0.8]) and run.points.error_test.iloc[-1] < 0.6


@pytest.mark.parametrize(
    ("estimator", "options", "message"),
    [
        (Perceptron(), {}, "Perceptron gives no probabilities"),
        (KNeighborsClassifier(), {"grow": "n_estimators"}, "has no parameter 'n_estimators'; grow is one of stages"),
        (GradientBoostingClassifier(), {"values": [1, 2]}, "stages are chosen by steps"),
    ],
)
def test_what_a_learner_cannot_do_is_said(estimator, options, message):
    with pytest.raises(ValueError, match=message):
        record_estimator(Recorder(SPLITS), estimator, X[:60], Y[:60], **options)


# -- all of them -----------------------------------------------------------------------------------------------------


def test_a_network_that_diverges_is_recorded_up_to_there(tmp_path):
    recorder = Recorder(SPLITS)
    module = lightning_module()
    watching = LightningRecorder(recorder, steps=1, save=tmp_path / "run")
    for step, bias in enumerate([0.0, 0.1, torch.nan, 0.2]):
        nn.init.constant_(module.net[4].bias, bias)
        if bias != bias:
            with pytest.warns(UserWarning, match="step 2: .*diverged.* nothing more is recorded"):
                watching.take(module, step, float(step))
        else:
            watching.take(module, step, float(step))
    watching.finish()
    run = load_run(tmp_path / "run")
    assert run.status == "diverged" and run.info["diverged_step"] == 2 and run.points.step.tolist() == [0, 1]


def test_moments_are_dense_early_and_never_many():
    due = [step for step in range(100_001) if Moments().due(step)]
    assert due[:10] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10] and len(due) < 70
    assert max(np.diff(due) / due[1:]) <= 1 and max(b / a for a, b in zip(due[9:], due[10:], strict=False)) < 1.3
    with pytest.raises(ValueError, match="at least 1"):
        Moments(0)


ABSENT = """
import sys
sys.modules |= dict.fromkeys(["lightning", "pytorch_lightning", "transformers", "keras"])
import manifold_utils.recording.callbacks as found
assert not [name for name in ("torch", "sklearn") if name in sys.modules]
for name in ("LightningRecorder", "TransformersRecorder", "KerasRecorder"):
    try:
        getattr(found, name)
    except ImportError as error:
        print(error)
"""


def test_a_missing_library_is_one_line_with_the_command():
    done = subprocess.run([sys.executable, "-c", ABSENT], capture_output=True, text=True, cwd=PROJECT, check=True)
    lines = done.stdout.splitlines()
    commands = ["pip install lightning", "pip install transformers accelerate", "pip install keras"]
    assert len(lines) == 3 and all(command in line for line, command in zip(lines, commands, strict=True))
