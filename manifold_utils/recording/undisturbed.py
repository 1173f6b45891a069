"""Networks asked while they are trained, so that the training does not notice.

Every module's mode and every random state are afterwards what they were. A compiled or parallel network is asked by the
module inside it, and in distributed training one process asks while the others wait. What is asked is in `predicting`.
"""

import functools
import inspect
import random
from contextlib import contextmanager

import numpy as np
import torch
from torch import distributed

from manifold_utils.recording.errors import Diverged

WRAPPERS = ("DataParallel", "DistributedDataParallel")  # of `.module`, the network that they call
MANY = 100  # entries of a container that is searched for networks
SHARDED = ("FSDP", "FullyShardedDataParallel")  # each process holds a part, so all must call


@contextmanager
def asked(model):
    """Yield the network inside `model`, or the plain function itself, in eval mode; modes and random states come back.

    Examples
    --------
    >>> layer = torch.nn.Dropout()
    >>> with asked(torch.nn.DataParallel(layer)) as inner:
    ...     inner is layer, layer.training
    (True, False)
    >>> layer.training
    True
    """
    modes = [(part, part.training) for module in modules_in(model) for part in module.modules()]  # a part may be frozen
    with random_state_kept(), torch.no_grad():
        try:
            for part, _ in modes:
                part.training = False
            yield _inside(model)
        finally:
            for part, mode in modes:
                part.training = mode


@contextmanager
def random_state_kept():
    """The states of torch, numpy and Python from which a training draws are afterwards what they were before."""
    states = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def modules_in(model, depth=3):
    """The networks that a callable is or uses: itself, the owner of a method, what a function refers to.

    Examples
    --------
    >>> layer = torch.nn.Linear(2, 3)
    >>> modules_in(lambda x: layer(x)[:, :2]) == modules_in(layer.forward) == [layer]
    True
    """
    if isinstance(model, torch.nn.Module):
        return [model]
    near = _referred(model) if depth else []
    found = {id(module): module for value in near for module in modules_in(value, depth - 1)}
    return list(found.values())


def _referred(value):
    """What a function, a method, or an object of the user's own refers to; nothing of large containers."""
    value = getattr(value, "_torchdynamo_orig_callable", value)
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if inspect.isfunction(value):
        used = inspect.getclosurevars(value)
        return [*used.nonlocals.values(), *used.globals.values(), *(value.__defaults__ or ())]
    if inspect.ismethod(value):
        return [value.__self__]
    if isinstance(value, dict | list | tuple):
        held = value.values() if isinstance(value, dict) else value
        return list(held) if len(held) <= MANY else []
    held = getattr(value, "__dict__", {})
    return (
        list(held.values())
        if isinstance(held, dict) and not isinstance(value, type) and not inspect.ismodule(value)
        else []
    )


def _inside(model):
    while True:
        if hasattr(model, "_orig_mod"):  # torch.compile: no compilation anew for eval mode and a shorter last batch
            model = model._orig_mod
        elif hasattr(model, "_torchdynamo_orig_callable"):
            model = model._torchdynamo_orig_callable
        elif type(model).__name__ in WRAPPERS and isinstance(model, torch.nn.Module):
            model = model.module
        else:
            return model


def on_one_process(work, model):
    """What `work` returns, done by the first process of a distributed training while the others wait.

    Alone, or in a training of one process, it is simply done. The others get None. An error is raised in all. A network
    of which every process holds a part (FSDP) is asked by all.
    """
    if not (distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1):
        return work()
    first = distributed.get_rank() == 0
    found, failure = None, None
    if first or _is_sharded(model):
        try:
            found = work()
        except Exception as error:  # of any kind: the others would wait for ever
            failure = error
    told = [None if failure is None else (str(failure), getattr(failure, "step", None))]
    distributed.broadcast_object_list(told, src=0)
    if failure is not None:
        raise failure
    if told[0] is not None:
        message, step = told[0]
        raise RuntimeError(f"recording failed in process 0: {message}") if step is None else Diverged(message, step)
    return found if first else None


def _is_sharded(model):
    return any(
        any(s in type(part).__name__ for s in SHARDED) for module in modules_in(model) for part in module.modules()
    )
