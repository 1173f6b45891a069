"""The README's section "Your own runs": its lines are executed as they stand, with the real libraries."""

import os
import re

import numpy as np
import pytest
import torch

from manifold_utils.compat import import_torchvision
from manifold_utils.files import PROJECT

os.environ.setdefault("KERAS_BACKEND", "torch")
import_torchvision()  # before Lightning does
SECTION = (PROJECT / "README.md").read_text(encoding="utf-8").split("## Your own runs")[1].split("\n## ")[0]
SNIPPETS = re.findall(r"```python\n(.*?)```", SECTION, re.S)


def lightning_module():
    import lightning.pytorch as pl

    class Net(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(5, 3)

        def forward(self, x):
            return self.net(x)

        def training_step(self, batch, _):
            return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    return Net()


def keras_model():
    import keras

    model = keras.Sequential([keras.layers.Dense(3, "softmax")])
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    return model


def hugging_face():
    from datasets import Dataset
    from transformers import BertConfig, BertForSequenceClassification, default_data_collator

    tokens = np.random.default_rng(0).integers(1, 20, (12, 6))
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = BertForSequenceClassification(BertConfig(vocab_size=20, num_labels=3, **small))
    rows = Dataset.from_dict({"input_ids": tokens.tolist(), "label": [0, 1, 2] * 4})
    return {"hf_model": model, "dataset": rows, "collator": default_data_collator}


def readers_names():
    """What a reader has before she copies a line."""
    x = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0.5)
    data = {"x_train": x[:60], "y_train": y[:60], "x_test": x[60:], "y_test": y[60:]}
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*map(torch.as_tensor, (x[:60], y[:60]))), 20)
    own = {"model": torch.nn.Linear(5, 3), "lightning_module": lightning_module(), "keras_model": keras_model()}
    return data | own | hugging_face() | {"train_loader": loader, "probabilities": np.full((30, 3), 1 / 3)}


@pytest.mark.filterwarnings("ignore")  # of Lightning, Keras and transformers, about themselves
def test_every_line_of_the_section_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MANIFOLD_DATA", str(tmp_path))
    assert len(SNIPPETS) >= 7
    names = readers_names()
    for snippet in SNIPPETS:
        exec(compile(snippet, "README.md", "exec"), names)
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [f"run-{k}" for k in (1, 3, 4, 5, 6)]
    atlas = names["atlas"]
    assert atlas.family == "model" and len(atlas.runs) == 4 and atlas.profile.kind == "recorded"
    assert {name.split("(")[0] for name in re.findall(r"python -m manifold_utils (\w+)", SECTION)} == {
        "example", "import", "run", "html",
    }  # fmt: skip


def test_every_callback_takes_five_lines():
    for snippet in SNIPPETS:
        lines = [line for line in snippet.splitlines() if line.strip() and not re.match(r"(from|import) ", line)]
        assert len(lines) <= 5, snippet
