"""A world of the paper's size without any training: recorded runs, mixed and disturbed (PAPER.md section 2, the grid).

Every run of it goes between two recorded runs: point by point on the great circle of each sample, at a share that is
drawn once a run, with a clock of its own, and with noise of known size in the logits, a part that stays for the whole
run and a part that is new at each checkpoint. So clouds, roads and confidence are those of real networks, but
the runs are not independent and nothing may be concluded from them about training: it is a load for the machine. Each
run has a random generator of its own, so that runs can be made in any order, on any worker, again after a kill.
"""

from pathlib import Path

import numpy as np
import zarr

from manifold_utils.distances.tiles import run_tasks
from manifold_utils.files import atomic_path

RUNS, CHECKPOINTS = 2296, 66  # of the paper: 2,296 configurations at 151,407 checkpoints, 66 a run
BASE_RUNS, BASE_CHECKPOINTS = 64, 20  # recorded runs that are mixed, and checkpoints kept of each
RUN_NOISE, POINT_NOISE = 0.5, 0.1  # standard deviations in the logits: of a run, and of each checkpoint
LARGEST_PACE = 0.5  # a clock runs as u^(1 + pace) with |pace| up to this
SAMPLE_CHUNK = 250  # samples of a chunk of the array


def save_base(atlas, path, *, split="train", n_runs=BASE_RUNS, n_checkpoints=BASE_CHECKPOINTS, n_samples=1000, seed=0):
    """Write the recorded runs that will be mixed: float16 logs, few enough to be carried about (25 MB).

    Parameters
    ----------
    atlas : Atlas
    path : pathlib.Path of the zarr array (runs, checkpoints, samples, classes)
    split : "train" or "test"
    n_runs, n_checkpoints, n_samples : int, at most what the atlas has
    seed : int, of the choice of runs

    Returns
    -------
    zarr.Array
    """
    table = atlas.table("main")
    runs = sorted(table.run.unique())
    chosen = np.sort(np.random.default_rng(seed).permutation(len(runs))[:n_runs])
    kept = [_few_points(atlas.run_log_probs(runs[k], split), n_checkpoints)[:, :n_samples] for k in chosen]
    values = np.maximum(np.stack(kept), np.finfo(np.float16).min).astype(np.float16)
    with atomic_path(path) as temporary:
        named = {"from": atlas.path.name, "split": split, "runs": [runs[k] for k in chosen]}
        zarr.create_array(temporary, data=values, chunks=(1, *values.shape[1:]), attributes=named)
    return zarr.open_array(path, mode="r", zarr_format=3)


def _few_points(log_probs, n):
    """`n` of a run's points, from first to last, repeated where there are fewer."""
    return np.asarray(log_probs[np.linspace(0, len(log_probs) - 1, n).round().astype(int)])


def mixed_run(base, number, *, seed=0, n_points=CHECKPOINTS):
    """One run of the made world.

    Parameters
    ----------
    base : array-like (R, T, N, C) of natural-log probabilities
    number : int, of the run; with `seed` it decides everything
    n_points : int, checkpoints

    Returns
    -------
    ndarray (n_points, N, C), float32, normalised natural logs

    Examples
    --------
    >>> base = np.log(np.random.default_rng(0).dirichlet(np.ones(3), size=(2, 4, 5)))
    >>> made = mixed_run(base, 7, n_points=6)
    >>> made.shape, bool(np.allclose(np.exp(made).sum(axis=2), 1, atol=1e-6))
    ((6, 5, 3), True)
    """
    rng = np.random.default_rng([seed, number])
    pair = rng.choice(base.shape[0], 2, replace=base.shape[0] < 2)
    share, pace = rng.uniform(), rng.uniform(-LARGEST_PACE, LARGEST_PACE)
    clock = np.linspace(0, 1, n_points) ** (1 + pace) * (base.shape[1] - 1)
    first, second = (_at_times(np.asarray(base[int(k)], dtype=np.float32), clock) for k in pair)
    roots = between(first, second, share)
    shape = roots.shape[1:]
    noise = RUN_NOISE * rng.standard_normal(shape, dtype=np.float32)
    noise = noise + POINT_NOISE * rng.standard_normal(roots.shape, dtype=np.float32)
    logits = 2 * np.log(np.maximum(roots, np.finfo(np.float32).tiny)) + noise
    logits -= logits.max(axis=2, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))


def _at_times(log_probs, clock):
    """Square roots of a run's predictions at times between its checkpoints, on the great circles between them."""
    roots = np.exp(log_probs / 2)
    before = np.minimum(clock.astype(int), len(roots) - 2)
    return between(roots[before], roots[before + 1], (clock - before)[:, None])


def between(x, y, t):
    """Points of great circles, in square roots of probabilities: `geometry.geodesic` for whole arrays of pairs.

    Parameters
    ----------
    x, y : ndarray (..., n_samples, n_classes), square roots of probabilities
    t : float or array (...,  1), position in [0, 1]

    Returns
    -------
    ndarray (..., n_samples, n_classes), of the dtype of x
    """
    angle = 2 * np.arctan2(np.linalg.norm(x - y, axis=-1), np.linalg.norm(x + y, axis=-1))
    sine = np.sin(angle)
    flat = sine < 1e-4  # the chord is as good there, to 1e-9
    safe = np.where(flat, 1, sine)
    of_x = np.where(flat, 1 - t, np.sin((1 - t) * angle) / safe).astype(x.dtype)
    of_y = np.where(flat, t, np.sin(t * angle) / safe).astype(x.dtype)
    return of_x[..., None] * x + of_y[..., None] * y


def write_world(base_path, path, n_points, resources, *, seed=0):
    """Write the predictions of the made world, run by run, on workers; runs that are there already are kept.

    Parameters
    ----------
    base_path : path of `save_base`'s array
    path : path of the zarr array (n_points, N, C), float32
    n_points : int, of 66 a run, runs shuffled
    resources : workers.Resources

    Yields
    ------
    int, the number of each run when it is on disk
    """
    base_path, path = Path(base_path).resolve(), Path(path).resolve()  # workers may live in other folders
    base = zarr.open_array(base_path, mode="r", zarr_format=3)
    _, _, n_samples, n_classes = base.shape
    if not path.exists():
        chunks = (CHECKPOINTS, min(SAMPLE_CHUNK, n_samples), n_classes)
        made_from = {"base": dict(base.attrs), "seed": seed, "noise": [RUN_NOISE, POINT_NOISE]}
        with atomic_path(path) as temporary:
            zarr.create_array(
                temporary, shape=(n_points, n_samples, n_classes), chunks=chunks, dtype="float32", compressors=None,
                fill_value=np.nan, zarr_format=3, attributes=made_from,
            )  # fmt: skip
    parts = range(-(-n_samples // min(SAMPLE_CHUNK, n_samples)))
    runs = range(-(-n_points // CHECKPOINTS))
    todo = [k for k in runs if not all((path / "c" / str(k) / str(part) / "0").is_file() for part in parts)]
    yield from run_tasks(_write_run, ((str(base_path), str(path), k, seed) for k in todo), resources)


def _write_run(base_path, path, number, seed):
    base = zarr.open_array(base_path, mode="r", zarr_format=3)
    array = zarr.open_array(path, mode="r+", zarr_format=3)
    rows = slice(number * CHECKPOINTS, min((number + 1) * CHECKPOINTS, array.shape[0]))
    array[rows] = mixed_run(base, number, seed=seed)[: rows.stop - rows.start]
    return number
