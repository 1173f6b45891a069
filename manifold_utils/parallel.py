"""One engine for all parallel work: a Dask client of local processes, or of any cluster.

Workers compute with one thread each (their numeric libraries are told so), since the parallelism is in the tasks.
This module starts, checks and ends workers; what they do is in `grid` (training) and `tiles` (distances).
"""

import ctypes
import importlib.util
import logging
import os
from contextlib import contextmanager

from distributed import Client, LocalCluster, WorkerPlugin

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's names for mallopt
KEPT_BYTES, LARGEST_KEPT = 2**30, 2**25  # freed memory that a process keeps, and the largest block (glibc's own limit)
TIMEOUT = 30.0  # seconds to wait for a scheduler's answer, and for its first worker


class OneGPU(WorkerPlugin):
    """Show worker number k of a machine only its GPU k modulo the number of GPUs, before CUDA is first used."""

    def __init__(self, n_gpus):
        self.n_gpus = n_gpus

    def setup(self, worker):
        os.environ["CUDA_VISIBLE_DEVICES"] = str(int(worker.name) % self.n_gpus)


@contextmanager
def client(address="local", n_workers=None, *, timeout=TIMEOUT, memory_limit="auto"):
    """Yield a `distributed.Client`, and end what was started for it.

    Parameters
    ----------
    address : str
        "local": worker processes on this machine, one thread each; or the address of a running scheduler, such as
        "tcp://host:8786" (dask-jobqueue, Kubernetes, or `dask scheduler` and `dask worker` by hand).
    n_workers : int, optional
        Local processes; by default one for each GPU, and without GPUs one for each core that this process may use.
    timeout : float, seconds
        To wait for the scheduler and for its first worker.
    memory_limit : str, int or None
        Of each local worker, as in `distributed.LocalCluster`.

    Raises
    ------
    ValueError
        If a number of workers is asked of a cluster that is already running.
    ConnectionError
        If no scheduler answers, it has no workers, or a worker cannot import this package; says what to do.

    Examples
    --------
    >>> with client("local", n_workers=2) as workers:  # doctest: +SKIP
    ...     workers.submit(sum, [1, 2]).result()
    """
    if address == "local":
        with _local(n_workers, memory_limit) as connected:
            yield connected
        return
    if n_workers is not None:
        raise ValueError(f"n_workers is for local processes; the cluster at {address} has its own number of workers")
    connected = _connect(address, timeout)
    try:
        yield connected
    finally:
        connected.close()


@contextmanager
def _local(n_workers, memory_limit):
    import dask

    n_gpus = count_gpus()
    count = n_workers or n_gpus or _n_cores()
    environment = dask.config.get("distributed.nanny.pre-spawn-environ") | dict.fromkeys(THREAD_VARIABLES, "1")
    settings = {
        "distributed.nanny.pre-spawn-environ": environment,
        "distributed.worker.multiprocessing-method": "spawn",
        # A long computation holds a worker's event loop now and then; that is no reason for a warning.
        "distributed.admin.tick.limit": "60 s",
    }
    options = {"threads_per_worker": 1, "processes": True, "dashboard_address": None, "memory_limit": memory_limit}
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=count, silence_logs=logging.ERROR, **options) as cluster,
        Client(cluster) as connected,
    ):
        if n_gpus > 1:
            connected.register_plugin(OneGPU(n_gpus))
        yield connected


def _connect(address, timeout):
    """A client of a running scheduler that has at least one usable worker."""
    try:
        connected = Client(address, timeout=timeout)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"no Dask scheduler answers at {address} ({error}); start one with `dask scheduler`, and "
            '`dask worker ADDRESS --nthreads 1` on each machine, or use address "local"'
        ) from error
    try:
        connected.wait_for_workers(1, timeout=timeout)
        without = [worker for worker, found in connected.run(_has_package).items() if not found]
    except TimeoutError as error:
        connected.close()
        raise ConnectionError(
            f"the scheduler at {address} has no workers after {timeout:g} s; start some: "
            f"`dask worker {address} --nthreads 1`"
        ) from error
    if without:
        connected.close()
        raise ConnectionError(
            f"workers {', '.join(without)} cannot import manifold_utils; install the project in their environment "
            "(`pip install -e .`) and start them again"
        )
    return connected


def _has_package():
    return importlib.util.find_spec("manifold_utils") is not None


def keep_memory():
    """Let this process keep the memory that it frees, for the next batch; False where the system has no glibc.

    Dask starts its workers with MALLOC_TRIM_THRESHOLD_=65536, so that they give every freed layer back to the system
    and are given fresh, zeroed pages for the next one. Small networks then train two to four times slower.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, KEPT_BYTES) and mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT))


def _n_cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_gpus():
    """GPUs that torch can use; 0, without importing torch, on a machine without a driver."""
    from manifold_utils.distances import resolve_device

    if resolve_device("auto") == "cpu":
        return 0
    import torch

    return torch.cuda.device_count()
