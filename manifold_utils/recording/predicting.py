"""Predictions of any network on samples: logits found in whatever it returns, softmax in float32.

Without gradients and without autocast; floating inputs in the network's own dtype. Modes, random states and the
processes of a distributed training are in `undisturbed`. It keeps nothing (see `recorder`).
"""

import inspect
from collections.abc import Mapping

import numpy as np
import torch

from manifold_utils.recording.contents import leaves, mapped
from manifold_utils.recording.errors import Unfitting
from manifold_utils.recording.undisturbed import modules_in

EVALUATION_BATCH = {"cpu": 250, "cuda": 2000}  # what fits the caches, and what fills a card


def predictions(model, samples, *, batch_size=None, inputs=None, binary=None, softmax=True):
    """What a network says of samples, in their order.

    Parameters
    ----------
    model : callable, see `undisturbed.asked`
    samples : Samples
    batch_size : int, optional
        By default what suits the model's device.
    inputs : callable, optional
        Changes each batch of inputs before the network sees it: the normalisation of the user's own loop.
    binary : float, optional
        What a single output z a sample becomes two columns by, (binary - z, z): 1 for probabilities; by default
        (0, z), for logits.
    softmax : bool
        Return log_softmax, taken in float32 (float64 for outputs in it), instead of the outputs themselves.

    Returns
    -------
    tensor (n_kept, n_classes), float32 (or float64, without softmax); NaN where the network's output is not finite

    Raises
    ------
    ValueError
        If the outputs do not fit the labels, or the samples come in another order than at first.
    """
    device, dtype = _place(model)
    size = batch_size or EVALUATION_BATCH.get(device.type, EVALUATION_BATCH["cpu"])
    parts, seen, n_classes = [], [], int(samples.labels.max()) + 1
    for given, labels, keep in samples.batches(size):
        outputs = _called(model, _prepared(given, inputs, device, dtype))
        refuse_another_first(outputs, n_classes)
        rows = fitted(logits_of(outputs), labels, samples.shift, binary)
        if keep is not None:
            rows, labels = rows[torch.as_tensor(keep, device=rows.device)], labels[keep]
        rows = rows if rows.dtype == torch.float64 else rows.float()
        parts.append((log_softmax(rows) if softmax else rows).flatten(0, -2).cpu())
        seen.append(labels.ravel())
    if not np.array_equal(np.concatenate(seen), samples.labels):
        raise ValueError(f"the samples come in another order than at first: {samples.source.cure}")
    return torch.cat(parts)


def log_softmax(logits):
    """Log-probabilities in float32 of a tensor of logits (n, n_classes)."""
    return torch.log_softmax(logits, dim=-1).float()


def logits_of(outputs):
    """The tensor of logits in whatever a network returned: itself, `.logits`, ["logits"], or the first of a tuple.

    Examples
    --------
    >>> logits_of({"loss": 0.1, "logits": torch.zeros(2, 3)}).shape
    torch.Size([2, 3])
    """
    if isinstance(outputs, Mapping):
        if "logits" not in outputs:
            raise ValueError(f"the model returned a dictionary with {', '.join(map(str, outputs))}, and no 'logits'")
        return logits_of(outputs["logits"])
    if hasattr(outputs, "logits"):
        return logits_of(outputs.logits)
    if isinstance(outputs, tuple | list) and outputs:
        return logits_of(outputs[0])
    if isinstance(outputs, np.ndarray):
        return torch.as_tensor(outputs)
    if not isinstance(outputs, torch.Tensor):
        raise ValueError(
            f"the model must return logits, or a tuple, dictionary or object with them; it returned {_told(outputs)}"
        )
    return outputs


def refuse_another_first(outputs, n_classes):
    """ValueError if of several outputs another one than the first has a column a class: that would be the logits.

    Examples
    --------
    >>> refuse_another_first((torch.zeros(5, 3), torch.zeros(5, 64)), 3)
    """
    if not isinstance(outputs, tuple | list) or not isinstance(outputs[0] if outputs else None, torch.Tensor):
        return
    shapes = [tuple(one.shape) if isinstance(one, torch.Tensor) else () for one in outputs]
    likely = [k for k, shape in enumerate(shapes) if len(shape) == len(shapes[0]) and shape[-1:] == (n_classes,)]
    if likely and 0 not in likely and shapes[0][-1:] > (1,) and shapes[likely[0]][0] == shapes[0][0]:
        raise ValueError(
            f"the model returned {len(shapes)} outputs, of which the first is taken for logits; it has shape "
            f"{shapes[0]}, but number {likely[0]} has the {n_classes} columns of the labels: record a function that "
            f"returns the logits, such as lambda x: model(x)[{likely[0]}]"
        )


def fitted(logits, labels, shift=False, binary=None):
    """Logits with classes last and the leading shape of the labels; ValueError if they cannot be.

    (n, C) for n labels, (n, T, C) or (n, C, T) for labels (n, T), and (n, 1) or (n,) for two classes. With `shift`,
    the last position is left out: it has no label.
    """
    shape = tuple(labels.shape)
    logits = logits[:, :-1] if shift else logits
    if tuple(logits.shape[:-1]) == shape and logits.shape[-1] > 1:
        return logits
    if logits.ndim == len(shape) + 1 > 2 and (logits.shape[0], *logits.shape[2:]) == shape:
        return logits.movedim(1, -1)
    if tuple(logits.shape) in (shape, (*shape, 1)) and labels.max() <= 1:
        z = logits.reshape(shape)
        return torch.stack([torch.zeros_like(z) if binary is None else binary - z, z], dim=-1)
    raise Unfitting(tuple(logits.shape), shape)


def _told(outputs):
    return tuple(getattr(outputs, "shape", ())) or type(outputs).__name__


def _place(model):
    """Device and floating dtype of a network's first parameter: the CPU and None without any."""
    parameters = [p for module in modules_in(model) for p in module.parameters()]
    device = next((p.device for p in parameters), torch.device("cpu"))
    return device, next((p.dtype for p in parameters if p.is_floating_point()), None)


def _prepared(given, change, device, dtype):
    """Inputs as tensors, changed by the user's function, floating ones in the network's dtype, on its device."""
    given = mapped(_tensor, given)
    given = given if change is None else mapped(_tensor, change(given))

    def moved(leaf):
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return (leaf.to(dtype) if dtype is not None and leaf.is_floating_point() else leaf).to(device)

    return mapped(moved, given)


def _tensor(leaf):
    if isinstance(leaf, torch.Tensor) or not hasattr(leaf, "__array__"):
        return leaf
    array = np.asarray(leaf)
    return torch.from_numpy(np.array(array)) if array.dtype.kind in "iufb" else leaf


def _called(model, given):
    """The network's outputs: it gets a dictionary as keywords, a tuple as arguments; a plain function gets it whole."""
    ambient = torch.is_autocast_enabled(device := _device_of(given))
    try:
        with torch.autocast(device, enabled=False):
            return _outputs(model, given)
    except RuntimeError as error:
        if not ambient or "dtype" not in str(error):
            error.add_note(f"while predictions were recorded; {_described(given)}")
            raise
    return _outputs(model, given)  # layers of several dtypes, which only autocast joins


def _outputs(model, given):
    if isinstance(model, torch.nn.Module) and isinstance(given, Mapping):
        return model(**_accepted(model, given))
    if isinstance(model, torch.nn.Module) and isinstance(given, tuple):
        return model(*given)
    return model(given)


def _accepted(model, given):
    """Entries that the network's forward takes; the columns that a tokeniser adds besides are left out."""
    parameters = inspect.signature(model.forward).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return given
    names = {p.name for p in parameters}
    return {key: value for key, value in given.items() if key in names}


def _device_of(given):
    return next((leaf.device.type for _, leaf in leaves(given) if isinstance(leaf, torch.Tensor)), "cpu")


def _described(given):
    listed = [f"{name} is {leaf.dtype} {tuple(leaf.shape)}" for name, leaf in leaves(given) if hasattr(leaf, "dtype")]
    return f"{', '.join(listed)}: pass inputs=... if your training loop changes them before the network sees them"
