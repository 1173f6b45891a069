"""Any network, on any device and in any dtype, recorded so that its training does not notice."""

import functools
import random
import subprocess
import sys
import textwrap
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from manifold_utils.files import PROJECT
from manifold_utils.recording import Diverged, Recorder
from manifold_utils.recording.undisturbed import modules_in

X, Y = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
NET = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


def expected(net=NET, x=X):
    """log_softmax in eval mode, by hand."""
    modes = [(m, m.training) for m in net.modules()]
    with torch.no_grad():
        found = torch.log_softmax(net.eval()(x).float(), dim=-1).numpy()
    for module, mode in modes:
        module.training = mode
    return found


def recorded(model, data=None, **options):
    recorder = Recorder({"test": (X, Y)} if data is None else data, batch_size=16, **options)
    recorder.record(model, 0)
    return recorder.run().log_probs["test"][0]


class Wrapped(nn.Module):
    """Runs a network and hands out what comes as its users do: in a tuple, a dictionary, an object."""

    def __init__(self, how, net=NET):
        super().__init__()
        self.how, self.net = how, net

    def forward(self, x):
        return self.how(self.net(x))


class Trainer:
    """A user's own object around her network."""

    def __init__(self):
        self.parts = {"network": NET}

    def predict(self, x):
        return self.parts["network"](x)

    def __call__(self, x):
        return self.predict(x)


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = NET

    def forward(self, x):
        return checkpoint(self.net, x, use_reentrant=False)


MODELS = {
    "a module": NET,
    "a tuple": Wrapped(lambda z: (z, "hidden")),
    "a list": Wrapped(lambda z: [z, z * 2]),
    "a dictionary": Wrapped(lambda z: {"hidden": z * 2, "logits": z}),
    "an object": Wrapped(lambda z: SimpleNamespace(logits=z, loss=None)),
    "log-probabilities": Wrapped(lambda z: torch.log_softmax(z, dim=1)),
    "numpy": lambda x: NET(x).numpy(),
    "a lambda": lambda x: NET(x),
    "a partial": functools.partial(lambda net, x: net(x), NET),
    "a method": NET.forward,
    "a method of an object": Trainer().predict,
    "an object that is called": Trainer(),
    "DataParallel": nn.DataParallel(NET),
    "compiled": torch.compile(NET, backend="eager"),
    "a compiled function": torch.compile(lambda x: NET(x), backend="eager"),
    "compiled in parallel": torch.compile(nn.DataParallel(NET), backend="eager"),
    "gradient checkpointing": Checkpointed(),
}


@pytest.mark.parametrize("name", MODELS)
def test_whatever_holds_the_network_its_predictions_are_those_of_eval_mode(name):
    NET.train()
    NET[2].eval()  # a frozen part stays frozen
    found = recorded(MODELS[name])
    assert np.allclose(found, expected(), atol=1e-5)
    assert NET.training and NET[1].training and not NET[2].training
    assert all(p.grad is None for p in NET.parameters())
    NET.train()


def test_networks_are_found_where_functions_hide_them():
    held = [NET]
    assert modules_in(lambda x: held[0](x)) == [NET] == modules_in(lambda x, net=NET: net(x))
    assert modules_in(lambda x: x) == [] == modules_in(torch.relu)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_inputs_follow_the_dtype_of_the_network(dtype):
    torch.manual_seed(0)
    net = nn.Linear(6, 3).to(dtype)
    found = recorded(net)
    assert found.dtype == np.float32 and np.allclose(np.exp(found).sum(axis=1), 1, atol=1e-6)
    assert np.allclose(found, expected(net, X.to(dtype)), atol=1e-6)
    assert np.allclose(recorded(net, {"test": (X.double().numpy(), Y)}), found, atol=1e-6)


def test_tokens_stay_integers_and_masks_are_passed_by_name():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(11, 3).half()

        def forward(self, input_ids, attention_mask=None):
            assert input_ids.dtype == torch.int64 and attention_mask.dtype == torch.int64
            return (self.embedding(input_ids) * attention_mask[..., None]).sum(dim=1)

    ids = torch.randint(11, (40, 5))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": ids, "labels": Y}
    net = Bag()
    with torch.no_grad():
        by_hand = torch.log_softmax(net(ids, torch.ones_like(ids)).float(), dim=1)
    assert np.allclose(recorded(net, {"test": batch}), by_hand, atol=1e-6), "a column that forward lacks is left out"


def test_the_users_own_normalisation_and_what_its_absence_looks_like():
    raw = (X * 40 + 128).clamp(0, 255).to(torch.uint8)
    net = nn.Linear(6, 3)
    normalise = lambda x: (x.float() - 128) / 40  # noqa: E731
    found = recorded(net, {"test": (raw, Y)}, inputs=normalise)
    with torch.no_grad():
        assert np.allclose(found, torch.log_softmax(net(normalise(raw)), dim=1), atol=1e-5)
    with pytest.raises(RuntimeError) as error:
        recorded(net, {"test": (raw, Y)})
    assert "uint8 (16, 6): pass inputs=" in error.value.__notes__[0]


def test_autocast_is_left_out_unless_layers_need_it():
    net = nn.Linear(6, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(recorded(net), recorded(net)) and torch.is_autocast_enabled("cpu")
        inside = recorded(net)
    assert np.allclose(inside, expected(net), atol=1e-6)
    mixed = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3).bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.allclose(np.exp(recorded(mixed)).sum(axis=1), 1, atol=1e-5)
    with pytest.raises(RuntimeError, match="dtype"):
        recorded(mixed)


def test_what_training_draws_after_a_record_is_what_it_would_have_drawn():
    def draws(record):
        torch.manual_seed(1), np.random.seed(1), random.seed(1)
        loader = DataLoader(TensorDataset(X, Y), batch_size=16)  # its iterators draw a seed
        noisy = lambda x: NET(x + torch.randn_like(x) * np.random.rand() * random.random())  # noqa: E731
        if record:
            recorder = Recorder({"test": loader})
            recorder.record(noisy, 0)
            recorder.record(NET, 1)
        NET.train()
        return NET(X), torch.rand(3), np.random.rand(3), random.random()

    plain, after = draws(False), draws(True)
    assert torch.equal(plain[0], after[0]) and torch.equal(plain[1], after[1]), "dropout masks"
    assert np.array_equal(plain[2], after[2]) and plain[3] == after[3]


def test_single_outputs_are_two_classes():
    labels, net = torch.arange(40) % 2, nn.Linear(6, 1)
    with torch.no_grad():
        p = torch.sigmoid(net(X)[:, 0]).numpy()
    by_hand = np.log(np.stack([1 - p, p], axis=1))
    for model in (net, lambda x: net(x)[:, 0]):
        assert np.allclose(recorded(model, {"test": (X, labels)}), by_hand, atol=1e-5)
    sigmoid = nn.Sequential(net, nn.Sigmoid())
    assert np.allclose(recorded(sigmoid, {"test": (X, labels)}, kind="probabilities"), by_hand, atol=1e-5)


def test_probabilities_are_refused_unless_they_are_announced():
    net = nn.Sequential(NET, nn.Softmax(dim=1))
    with pytest.raises(ValueError, match="the model's test outputs: these are probabilities.*kind='probabilities'"):
        recorded(net)
    assert np.allclose(recorded(net, kind="probabilities"), expected(), atol=1e-5)
    with pytest.raises(ValueError, match="independent sigmoids"):
        recorded(nn.Sequential(NET, nn.Sigmoid()), kind="probabilities")
    small = nn.Sequential(NET, nn.Sigmoid())
    with pytest.raises(ValueError, match="independent sigmoids"):
        recorded(small)
    assert np.allclose(recorded(small, kind="logits"), expected(small), atol=1e-6), "logits by name are believed"


LABELS_OF_POSITIONS = torch.where(
    torch.rand(8, 5, generator=torch.Generator().manual_seed(2)) < 0.3, -100, torch.arange(5) % 3
)


@pytest.mark.parametrize("classes_second", [False, True])
def test_positions_are_samples_and_ignored_ones_are_left_out(classes_second):
    tokens = torch.randint(11, (8, 5), generator=torch.Generator().manual_seed(3))
    net = nn.Embedding(11, 3)
    model = (lambda x: net(x).transpose(1, 2)) if classes_second else net
    recorder = Recorder({"test": (tokens, LABELS_OF_POSITIONS)}, batch_size=3)
    told = recorder.record(model, 0)
    kept = LABELS_OF_POSITIONS != -100
    with torch.no_grad():
        by_hand = torch.log_softmax(net(tokens), dim=-1)[kept]
    assert np.allclose(recorder.run().log_probs["test"][0], by_hand, atol=1e-6)
    assert np.array_equal(recorder.labels["test"], LABELS_OF_POSITIONS[kept])
    error = float((by_hand.argmax(dim=-1) != LABELS_OF_POSITIONS[kept]).float().mean())
    assert told.row["error_test"] == pytest.approx(error)


def test_labels_that_repeat_the_tokens_are_those_of_the_next_position():
    tokens = torch.randint(11, (8, 5), generator=torch.Generator().manual_seed(3))
    labels = tokens.clone()
    labels[:3, 4] = -100  # padding
    net = nn.Embedding(11, 11)
    recorder = Recorder({"test": {"input_ids": tokens, "labels": labels}}, batch_size=3)
    recorder.record(lambda batch: net(batch["input_ids"]), 0)
    with torch.no_grad():
        logits, nexts = net(tokens)[:, :-1], labels[:, 1:]
    kept = nexts != -100
    loss = torch.nn.functional.cross_entropy(logits[kept], nexts[kept])
    assert recorder.run().points.loss_test[0] == pytest.approx(float(loss), rel=1e-5)
    assert len(recorder.labels["test"]) == int(kept.sum()) == 29


def test_a_masked_class_is_exact_and_broken_numbers_are_divergence():
    masked = Wrapped(lambda z: z.masked_fill(torch.tensor([False, False, True]), -torch.inf))
    found = recorded(masked, {"test": (X, Y % 2)})
    assert np.isneginf(found[:, 2]).all() and np.allclose(np.exp(found).sum(axis=1), 1, atol=1e-5)
    for value in (torch.nan, torch.inf):
        broken = Wrapped(lambda z, value=value: torch.where(torch.arange(len(z))[:, None] == 3, value, z))
        with pytest.raises(Diverged, match="step 0: the model's output on test sample 3 is not finite .3 such"):
            recorded(broken)
    with pytest.raises(Diverged, match="sample 0 is not finite .40 such"):
        recorded(Wrapped(lambda z: torch.full_like(z, -torch.inf)))


OTHER_OUTPUTS = {
    r"logits of shape \(16, n_classes\) .* it returned \(48,\)": lambda z: z.flatten(),
    r"it returned \(16, 3, 1\)": lambda z: z[..., None],
    "a dictionary with loss, hidden, and no 'logits'": lambda z: {"loss": z, "hidden": z},
    "it returned str": lambda z: "logits",
    "labels run from 0 to 2, but the predictions have 2 columns": lambda z: z[:, :2],
}


@pytest.mark.parametrize("message", OTHER_OUTPUTS)
def test_other_outputs_are_refused_in_one_sentence(message):
    with pytest.raises(ValueError, match=message):
        recorded(Wrapped(OTHER_OUTPUTS[message]))
    assert NET.training


def test_the_users_own_error_stands_beside_the_recorded_one():
    net = nn.Linear(6, 3)
    recorder = Recorder({"train": (X, Y), "test": (X, Y)})
    error = float((expected(net).argmax(axis=1) != Y.numpy()).mean())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = recorder.record(net, 0, error_test=error, error_train=error + 0.05)
        recorder.record(net, 1, error_test=torch.tensor(error))
    assert (
        repr(told)
        == f"step 0: train error {error:.3f} (yours {error + 0.05:.3f}), test error {error:.3f} (yours {error:.3f})"
    )
    perfect = lambda x: 20 * torch.nn.functional.one_hot(Y)[: len(x)]  # noqa: E731
    other = Recorder({"test": (X, Y)}, batch_size=40)
    with pytest.warns(UserWarning, match="test error 0.000 .yours 0.400. differ more .* pass inputs="):
        other.record(perfect, 0, error_test=0.4)
    with pytest.warns(UserWarning, match="1.000 looks like the accuracy"):
        other.record(perfect, 1, error_test=1.0)
    with pytest.raises(ValueError, match="as a fraction of 1; found 40"):
        other.record(perfect, 2, error_test=40)


DISTRIBUTED = """
    import copy, sys, time, torch, numpy as np
    from torch import distributed, nn
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from manifold_utils.recording import Diverged, Recorder
    rank, place = int(sys.argv[1]), sys.argv[2]
    distributed.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
    torch.manual_seed(0)
    x, y = torch.randn(40, 6), torch.arange(40) % 3
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    model = nn.parallel.DistributedDataParallel(net)
    slow = lambda x: (time.sleep(0.2 * (1 - rank)), net(x))[1]
    recorder = Recorder({"train": (x, y), "test": (x, y)}, "shared")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(3):
        told = recorder.record(model, step)
        assert (told is None) == (rank == 1)
        part = slice(rank, None, 2)
        nn.functional.cross_entropy(model(x[part]), y[part]).backward()
        optimizer.step()
    started = time.time()
    recorder.record(slow, 3)
    assert time.time() - started > 0.19, "both took as long as the one that records"
    try:
        recorder.record(lambda x: net(x) * float("nan"), 4)
        raise SystemExit("a diverged network was recorded")
    except Diverged as error:
        assert error.step == 4
    try:
        recorder.record(lambda x: {} if rank == 0 else net(x), 5)
        raise SystemExit("other outputs were recorded")
    except (ValueError if rank == 0 else RuntimeError) as error:
        assert "no 'logits'" in str(error)
    recorder.save(f"{place}/run{rank}")
    if rank == 1:
        try:
            recorder.run()
            raise SystemExit("rank 1 has a run")
        except ValueError as error:
            assert "this process only waited" in str(error)
    whole = copy.deepcopy(net)
    fully_shard(net, mesh=init_device_mesh("cpu", (2,)))
    sharded = Recorder({"test": (x, y)})
    sharded.record(net, 0)
    if rank == 0:
        by_hand = torch.log_softmax(whole.eval()(x), dim=1).detach().numpy()
        assert np.allclose(sharded.run().log_probs["test"][0], by_hand, atol=1e-5)
    distributed.barrier()
    distributed.destroy_process_group()
"""


def test_in_distributed_training_one_process_records_and_the_other_waits(tmp_path):
    from manifold_utils.recording import load_run

    code = textwrap.dedent(DISTRIBUTED)
    options = {"cwd": PROJECT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started = [subprocess.Popen([sys.executable, "-c", code, str(k), str(tmp_path)], **options) for k in range(2)]
    told = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    run = load_run(tmp_path / "run0")
    assert run.log_probs["test"].shape == (4, 40, 3) and run.points.step.tolist() == [0, 1, 2, 3]
    assert not (tmp_path / "run1").exists(), "no sample and no run twice"
