"""What inputs are made of, and a hash of it: nests of arrays, walked through, and fingerprinted batch by batch.

Inputs may be nested in dictionaries, tuples and lists; each array in there is a leaf with a name. A fingerprint is of
the samples' bytes and their order, whatever sizes they were read in. It knows no labels from inputs (see `samples`).
"""

import hashlib
from collections.abc import Mapping

import numpy as np

from manifold_utils.files import fingerprint
from manifold_utils.geometry import as_numpy

HASHED_BYTES = 2**28  # of each array of inputs, from the first sample on; labels are hashed to the last
LABELS = "labels"


def leaves(inputs, name="x"):
    """Yield (name, array) of inputs that may be nested in dictionaries, tuples and lists.

    Examples
    --------
    >>> [name for name, _ in leaves({"a": 1, "b": (2, 3)})]
    ['x.a', 'x.b.0', 'x.b.1']
    """
    if isinstance(inputs, Mapping | tuple | list):
        pairs = inputs.items() if isinstance(inputs, Mapping) else enumerate(inputs)
        for key, value in pairs:
            yield from leaves(value, f"{name}.{key}")
    else:
        yield name, inputs


def mapped(change, inputs):
    """The same nest with `change` applied to each array in it.

    Examples
    --------
    >>> mapped(len, {"a": "one", "b": ("three", "")})
    {'a': 3, 'b': (5, 0)}
    """
    if isinstance(inputs, Mapping):
        return {key: mapped(change, value) for key, value in inputs.items()}
    if isinstance(inputs, tuple) or (isinstance(inputs, list) and inputs and hasattr(inputs[0], "shape")):
        return tuple(mapped(change, value) for value in inputs)
    return change(inputs)


class Content:
    """Running hashes of samples, one for each array, so that the size of the batches does not matter.

    Examples
    --------
    >>> one, other = Content(), Content()
    >>> one.add(np.arange(4.0), np.array([0, 1, 0, 1]))
    >>> for k in range(2):
    ...     other.add(np.arange(4.0)[2 * k : 2 * k + 2], np.array([0, 1]))
    >>> one.fingerprint() == other.fingerprint()
    True
    """

    def __init__(self):
        self.hashes, self.n_bytes, self.n_samples = {}, {}, 0

    def wants_more(self):
        """Whether there are inputs of which not enough is hashed yet."""
        return not self.n_bytes or min(self.n_bytes.values()) < HASHED_BYTES

    def add(self, inputs, labels):
        """Add the next batch; `labels` are numbers of classes."""
        self.n_samples += len(labels)
        self._update(LABELS, labels)
        for name, leaf in leaves(inputs):
            if self.n_bytes.get(name, 0) < HASHED_BYTES:
                self.n_bytes[name] = self.n_bytes.get(name, 0) + self._update(name, _array(leaf))

    def fingerprint(self):
        """One hash of all that was added."""
        return fingerprint([self.n_samples, {name: digest.hexdigest() for name, digest in self.hashes.items()}])

    def _update(self, name, array):
        if name not in self.hashes:
            self.hashes[name] = hashlib.blake2b(repr((array.dtype.name, array.shape[1:])).encode())
        content = _bytes(array)
        self.hashes[name].update(content)
        return len(content)


def once(inputs, labels):
    """What one look at a batch shows: hashes of its inputs and of its labels."""
    digest = hashlib.blake2b()
    for name, leaf in leaves(inputs):
        digest.update(name.encode() + _bytes(_array(leaf)))
    return digest.hexdigest(), labels.tobytes()


def refuse_changed(first, again, cure):
    """ValueError if two looks (lists of `once`) differ: another order of the samples, or other inputs."""
    if [labels for _, labels in first] != [labels for _, labels in again]:
        raise ValueError(f"a second look gave other labels, so the samples are shuffled: {cure}")
    if first != again:
        raise ValueError(f"a second look gave other inputs for the same labels, so they are augmented: {cure}")


def _array(leaf):
    return leaf.toarray() if hasattr(leaf, "toarray") else as_numpy(leaf)  # scipy's sparse rows, and all else


def _bytes(array):
    return repr(array.tolist()).encode() if array.dtype.kind == "O" else np.ascontiguousarray(array).tobytes()
