"""A profile's grids, trained: one Dask task a run, what is finished is skipped, what fails is reported.

Each worker writes its run whole or not at all, so a kill of a worker or of the driver loses at most the runs in
flight, and the next call goes on. Divergence is a result and is recorded (see `run`); a worker that dies has
its run tried once more; a full or unwritable disk stops everything with one error. It holds the atlas' lock while
it works, and it computes no distances.
"""

import shutil
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from tqdm import tqdm

from manifold_utils.atlas import Atlas
from manifold_utils.datasets import load_dataset
from manifold_utils.files import CLOSED, IN_THE_WAY, TEMPORARY, CannotWrite, read_json, size_in_words, write_json
from manifold_utils.networks import make_network
from manifold_utils.training.planning import n_bytes, pretraining, shape_of, sizes_of
from manifold_utils.training.run import train_run
from manifold_utils.workers import ClusterLost, ended, keep_memory, losses
from manifold_utils.workers import client as local_client

WORKER_DEATHS = 1  # a run that takes more workers down with it than this is given up and reported
PROBE_BYTES = 4096  # written to see whether a folder can be written
_ONE_LOAD = threading.Lock()


class GridFailure(RuntimeError):
    """Some runs could not be trained; `.report` says what was done all the same."""

    def __init__(self, report):
        self.report = report
        listed = "\n".join(f"  {run}: {reason}" for run, reason in report.failed.items())
        super().__init__(
            f"{len(report.failed)} runs failed; the other {len(report.trained)} are stored and stay so.\n"
            f"{listed}\nMend the cause (a worker that dies is often out of memory: fewer workers, a smaller batch) "
            "and run this again"
        )


class DiskError(OSError):
    """A worker could not write its run, and neither for want of room nor of permission (see `CannotWrite`)."""


@dataclass
class GridReport:
    """What one call of `train_grid` did: runs trained now, how many were there, diverged (-> step), failed (-> why)."""

    trained: list = field(default_factory=list)
    n_skipped: int = 0
    diverged: dict = field(default_factory=dict)
    failed: dict = field(default_factory=dict)
    seconds: float = 0.0

    def __repr__(self):
        rate = f", {60 * len(self.trained) / self.seconds:.0f} runs a minute" if self.trained else ""
        return (
            f"{len(self.trained)} runs trained in {self.seconds:.0f} s{rate}; {self.n_skipped} were there; "
            f"{len(self.diverged)} diverged; {len(self.failed)} failed"
        )


def train_grid(profile, atlas, *, grids=None, client=None, data_dir="", device="auto", show_progress=True):
    """Train the runs of a profile that its atlas does not hold yet.

    Parameters
    ----------
    profile : Profile
    atlas : Atlas
        Made by `Atlas.create(profile, ...)`. Grids with a data set of their own go to `atlas.space(grid)`.
    grids : list of str, optional
        Names of the grids to train; all by default.
    client : distributed.Client, optional
        Where to train; local processes by default. Workers train with one thread each, and with one GPU each where
        there are some.
    data_dir : str
        Folder of the data sets, as in `load_dataset`; the workers must see it too, and the atlas' folder.
    device : str
        "auto" (a GPU if the worker has one), or a torch device.
    show_progress : bool
        Show a bar.

    Returns
    -------
    GridReport

    Raises
    ------
    GridFailure
        After all else is done: runs whose code failed or that took their worker down twice.
    RuntimeError
        Another driver holds the atlas.
    OSError
        The disk is full, too small for the plan, or not writable.
    ClusterLost
        The scheduler is gone or was started again, or all workers are; the next call resumes.
    FileNotFoundError
        A data set is missing.
    """
    started = time.perf_counter()
    wanted = list(profile.grids) if grids is None else list(grids)
    report = GridReport()
    with ExitStack() as stack:
        stack.enter_context(atlas.lock())
        todo, spaces = [], []
        for name, (dataset, owned) in profile.spaces().items():
            runs = [(g, c) for g in owned if g in wanted for _, c in profile.configs(g)]
            if not runs:
                continue
            space = atlas.space(name)
            if name:
                stack.enter_context(space.lock())
            freeze_data(space, dataset, data_dir)
            missing = [(space, g, c) for g, c in runs if space.run_status(c.run_id) is None]
            report.n_skipped += len(runs) - len(missing)
            todo += missing
            spaces.append(space)
        check_batches([config for _, _, config in todo], data_dir)
        check_disk(atlas.path, sum(n_bytes(config, data_dir) for _, _, config in todo))
        if todo:
            client = client or stack.enter_context(local_client("local"))
            try:
                _train_all(todo, client, report, data_dir, device, show_progress)
            except CannotWrite as error:
                raise _with_what_is_needed(error, todo, data_dir) from error
        for space in spaces:
            space.collect(profile)
    report.seconds = time.perf_counter() - started
    if report.failed:
        raise GridFailure(report)
    return report


def freeze_data(atlas, dataset, data_dir=""):
    """Load a data set (raises if it is missing), keep its labels, and refuse an atlas made from other samples."""
    data = load_dataset(dataset, data_dir)
    path = atlas.path / "dataset.json"
    facts = {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        "input_shape": list(data.input_shape),
    }
    if path.is_file() and read_json(path)["fingerprint"] != data.fingerprint:
        raise ValueError(
            f"{atlas.path} was made from other samples of {read_json(path)['name']} than the {data.name} found now; "
            "predictions on different samples cannot be compared: use another data_dir, or delete that folder"
        )
    for split in ("train", "test"):
        atlas.save_labels(split, data.labels(split)[data.recorded(split)].numpy())
    write_json(path, facts)


def check_batches(configs, data_dir=""):
    """Refuse runs that would die in their first step: batches of one sample, and a BatchNorm that needs two values.

    Raises
    ------
    ValueError
        Names the first such run and what to change.
    """
    tried = {}
    for config in configs:
        n_train = sizes_of(config.dataset, data_dir)[0]
        n_fitted = pretraining(config, n_train)[0] if config.pretrain_epochs else n_train
        if min(config.batch_size, n_fitted) > 1:
            continue
        network = config.architecture, config.scale, shape_of(config.dataset, data_dir)
        if network not in tried:
            tried[network] = _takes_one_sample(config, *network[2])
        if not tried[network]:
            raise ValueError(
                f"run {config.run_id} trains on batches of one sample, and the BatchNorm of its network "
                f"{config.architecture!r} needs two: set a batch_size (or a subset) of at least 2 in the profile"
            )


def _takes_one_sample(config, shape, n_classes):
    with torch.random.fork_rng(devices=[]):
        network = make_network(config.architecture, shape, n_classes, config.scale).train()
    try:
        network(torch.zeros(1, *shape))
    except ValueError:  # Expected more than 1 value per channel when training
        return False
    return True


def check_disk(folder, needed):
    """Raise OSError if `folder` cannot be written, or has less room than `needed` bytes (before compression)."""
    probe = folder / f"{TEMPORARY}probe"
    try:
        probe.write_bytes(b"0" * PROBE_BYTES)
    except OSError as error:
        if CannotWrite.explains(error, probe):
            raise CannotWrite(folder, error) from error
        raise OSError(f"cannot write to {folder}: {error.strerror or error}; choose another data_dir") from error
    finally:
        if probe.is_file():  # a full disk leaves a part of it
            probe.unlink()
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"the missing runs need up to {size_in_words(needed)} before compression and {folder} has "
            f"{size_in_words(free)} free, {size_in_words(needed - free)} too little; free some space, choose another "
            "data_dir, or record fewer samples (record_every, n_test in the profile)"
        )


def _with_what_is_needed(error, todo, data_dir):
    """The error of a full disk with the bytes of all runs that are missing; another one as it is."""
    if error.errno in CLOSED | IN_THE_WAY:
        return error
    left = [config for space, _, config in todo if space.run_status(config.run_id) is None]
    return CannotWrite(todo[0][0].path, error, needed=sum(n_bytes(config, data_dir) for config in left))


def _train_all(todo, client, report, data_dir, device, show_progress):
    """Keep one run on every worker slot: none waits on a worker that another may take down, and shares the blame."""
    from distributed import KilledWorker, as_completed

    waiting, flying, deaths = deque(todo), {}, Counter()
    allowed = client.run_on_scheduler(_set_allowed_failures, n=0)  # Dask would put a second run on a living worker
    finished = as_completed([], with_results=False)
    flown = ended(finished, client)
    bar = _bar(len(todo), show_progress)
    try:
        with bar, losses(client):
            while waiting or flying:
                free = _free_slots(client, flying) or ([] if flying else [None])
                for worker in free[: len(waiting)]:
                    space, grid, config = run = waiting.popleft()
                    where = {"workers": [worker], "allow_other_workers": True} if worker else {}
                    given = config, str(space.path), grid, data_dir, device
                    future = client.submit(train_one, *given, pure=False, **where)
                    flying[future.key] = run, worker
                    finished.add(future)
                future = next(flown)
                run, _ = flying.pop(future.key)
                run_id = run[2].run_id
                if isinstance(future.exception(), KilledWorker) and deaths[run_id] < WORKER_DEATHS:
                    deaths[run_id] += 1
                    waiting.append(run)
                else:
                    _note(report, run_id, future, bar)
    finally:
        with suppress(ClusterLost), losses(client):  # a scheduler that is gone has nothing to cancel
            if client.status == "running":
                client.cancel([f for f in finished.futures])
                client.run_on_scheduler(_set_allowed_failures, n=allowed)


def _free_slots(client, flying):
    """Addresses of workers that could take a run now, one for each thread without one."""
    busy = Counter(worker for _, worker in flying.values())
    return [worker for worker, n in client.nthreads().items() for _ in range(n - busy[worker])]


def _note(report, run_id, future, bar):
    from distributed import KilledWorker

    error = future.exception()
    if isinstance(error, DiskError | CannotWrite):
        raise error
    if isinstance(error, KilledWorker):
        report.failed[run_id] = f"its worker died {WORKER_DEATHS + 1} times (out of memory, or killed from outside)"
    elif error is not None:
        report.failed[run_id] = f"{type(error).__name__}: {error}"
    else:
        outcome = future.result()
        report.trained.append(run_id)
        if outcome["status"] == "diverged":
            report.diverged[run_id] = outcome["diverged_step"]
    bar.set_postfix(diverged=len(report.diverged), failed=len(report.failed), refresh=False)
    bar.update()


def train_one(config, atlas_path, grid, data_dir="", device="auto"):
    """Train one run and store it: the task that a worker does. The data set is loaded once a process.

    Returns
    -------
    dict : run, status, diverged_step
    """
    torch.set_num_threads(1)
    keep_memory()
    record = train_run(config, cached_dataset(config.dataset, data_dir), device=_worker_device(device))
    try:
        Atlas(atlas_path).save_run(record, grid)
    except CannotWrite:
        raise
    except OSError as error:
        said = error.strerror or error
        raise DiskError(
            f"cannot store run {config.run_id} in {atlas_path}: {said}; mend the disk or choose another data_dir, and "
            "call the same command again. What is finished is kept"
        ) from error
    return {"run": config.run_id, "status": record.status, "diverged_step": record.info["diverged_step"]}


def cached_dataset(config, data_dir):
    """The data set of a DatasetConfig, loaded once a process."""
    with _ONE_LOAD:
        return _cached_dataset(config, data_dir)


@lru_cache(maxsize=2)
def _cached_dataset(config, data_dir):
    return load_dataset(config, data_dir)


def _worker_device(device):
    from distributed import get_worker

    if device != "auto":
        return device
    n_devices = torch.cuda.device_count()
    if n_devices == 0:
        return "cpu"
    try:
        name = get_worker().name
    except ValueError:  # not inside a worker
        name = 0
    return f"cuda:{name % n_devices if isinstance(name, int) else 0}"


def _set_allowed_failures(n, dask_scheduler=None):
    before, dask_scheduler.allowed_failures = dask_scheduler.allowed_failures, n
    return before


def _bar(total, show_progress):
    return tqdm(total=total, desc="training", unit="run", disable=not show_progress)
