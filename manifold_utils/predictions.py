"""The predictions of one run on disk: a Zarr group with an array a split, checksummed, and JSON attributes.

Used by `atlas` for its runs and by `recorder` for a run from elsewhere. A missing or damaged part is named; reading
never runs code. Nothing here is atomic by itself: callers write under a temporary name (`store.atomic_path`).
"""

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec

from manifold_utils.records import SPLITS

CURE = "delete the run and train it again"


def write_predictions(path, log_probs, attributes=None):
    """Write the arrays of both splits, one chunk each, and the group's attributes.

    Parameters
    ----------
    path : path of a group that does not exist
    log_probs : dict of "train" and "test" -> array (n_checkpoints, n_samples, n_classes); stored as float32
    attributes : dict, optional
        JSON-able facts.
    """
    group = zarr.create_group(path, zarr_format=3)
    for split in SPLITS:
        values = np.ascontiguousarray(log_probs[split], dtype=np.float32)
        array = group.create_array(
            split,
            shape=values.shape,
            dtype="float32",
            chunks=tuple(max(1, n) for n in values.shape),
            serializer=BytesCodec(),
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            fill_value=np.nan,
        )
        array[...] = values
    group.attrs.update(attributes or {})


def open_predictions(path, split, cure=CURE):
    """The zarr array of a split, nothing read yet. OSError, naming it and the cure, if it is missing or damaged."""
    try:
        return zarr.open_array(path / split, mode="r")
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise OSError(f"{path / split} is missing or damaged ({error}); {cure}") from error


def read_predictions(path, split, cure=CURE):
    """All predictions of a split, ndarray (n_checkpoints, n_samples, n_classes) float32; OSError if damaged."""
    try:
        values = open_predictions(path, split, cure)[...]
        if np.isnan(values).any():  # what zarr reads for a chunk that is gone
            raise ValueError("a chunk is missing")
    except OSError:
        raise
    except Exception as error:  # zarr's codecs raise several kinds: name the file for all of them
        raise OSError(f"{path / split} is damaged ({error}); {cure}") from error
    return values


def read_attributes(path, cure=CURE):
    """The attributes of a group. OSError, naming it and the cure, if they cannot be read."""
    try:
        return zarr.open_group(path, mode="r").attrs.asdict()
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise OSError(f"{path} is damaged ({error}); {cure}") from error
