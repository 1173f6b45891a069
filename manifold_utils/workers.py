"""What work runs on: cores, threads, devices, and one engine for all parallel work, a Dask client.

The client is of local processes, or of any cluster. Workers compute with one thread each (their numeric libraries are
told so), since the parallelism is in the tasks. This module starts, checks and ends workers; what they do is in
`training.grid` and `distances.tiles`. Dask and torch are imported where they are first needed: seconds that a reader
of distances should not wait for.
"""

import ctypes
import importlib.util
import logging
import os
import platform
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's names for mallopt
KEPT_BYTES, LARGEST_KEPT = 2**30, 2**25  # freed memory that a process keeps, and the largest block (glibc's own limit)
TIMEOUT = 30.0  # seconds to wait for a scheduler's answer, and for its first worker


@dataclass(frozen=True)
class Resources:
    """What a long computation may use.

    Attributes
    ----------
    client : distributed.Client, optional
        Whose workers compute; without it this process does, with all its threads.
    memory_budget : int, bytes, optional
        Of all computing processes together, their interpreters included; half of the free memory by default.
    device : {"auto", "cpu", "cuda"}
    """

    client: Any = None
    memory_budget: int | None = None
    device: str = "auto"

    def n_processes(self):
        """Computing processes: a client's worker threads, else 1."""
        return 1 if self.client is None else max(1, sum(self.client.nthreads().values()))

    def share(self, process_bytes):
        """Bytes of arrays that one process may hold, itself taking `process_bytes` before it computes.

        Raises
        ------
        ValueError
            If the budget does not hold the processes alone.
        """
        import psutil  # a dependency of distributed

        budget, n = self.memory_budget, self.n_processes()
        budget = psutil.virtual_memory().available // 2 if budget is None else budget
        if budget // n <= process_bytes:
            raise ValueError(
                f"memory_budget of {budget / 1e6:.0f} MB does not hold {n} processes, which take "
                f"{process_bytes / 1e6:.0f} MB each before they compute; raise it or take fewer workers"
            )
        return int(budget // n - process_bytes)


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
    from distributed import Client, LocalCluster

    n_gpus = count_gpus()
    count = n_workers or n_gpus or n_cores()
    environment = dask.config.get("distributed.nanny.pre-spawn-environ") | dict.fromkeys(THREAD_VARIABLES, "1")
    settings = {
        "distributed.nanny.pre-spawn-environ": environment,
        "distributed.worker.multiprocessing-method": "spawn",
        # A long computation holds a worker's event loop now and then; that is no reason for a warning.
        "distributed.admin.tick.limit": "60 s",
    }
    options = {"threads_per_worker": 1, "processes": True, "dashboard_address": ":0", "memory_limit": memory_limit}
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=count, silence_logs=logging.ERROR, **options) as cluster,
        Client(cluster) as connected,
    ):
        if n_gpus > 1:
            connected.register_plugin(one_gpu(n_gpus))
        yield connected


def one_gpu(n_gpus):
    """A Dask plugin that shows worker number k of a machine only its GPU k modulo `n_gpus`, before CUDA is used."""
    from distributed import WorkerPlugin

    class OneGPU(WorkerPlugin):
        def setup(self, worker):
            os.environ["CUDA_VISIBLE_DEVICES"] = str(int(worker.name) % n_gpus)

    return OneGPU()


def _connect(address, timeout):
    """A client of a running scheduler that has at least one usable worker."""
    from distributed import Client

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


def n_cores():
    """Cores that this process may use: its affinity where the system has one, else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_gpus():
    """GPUs that torch can use; 0, without importing torch, on a machine without a driver."""
    if resolve_device("auto") == "cpu":
        return 0
    import torch

    return torch.cuda.device_count()


def check_choice(name, value, choices):
    """Raise ValueError, listing the choices, unless `value` is one of them."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(choices)}")


def resolve_device(device):
    """Name of the device to use: "auto" asks torch, but does not import it on a machine without a driver."""
    check_choice("device", device, ("auto", "cpu", "cuda"))
    if device == "cpu" or (device == "auto" and "torch" not in sys.modules and not _has_driver()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise ValueError('device="cuda", but torch finds no usable GPU; use device="auto" or "cpu"')
    return "cpu"


def _has_driver():
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            ctypes.CDLL(library)
            return True
        except OSError:
            continue
    return False


@contextmanager
def engine(address):
    """The client that `Resources` takes, from a word: "threads" (None: this process), "local", or an address."""
    if address == "threads":
        yield None
        return
    with client(address) as connected:
        yield connected


@contextmanager
def thread_limit(n):
    """Let BLAS, OpenMP, torch and the package's own kernels use `n` threads inside the block."""
    import numba
    from threadpoolctl import threadpool_limits  # a dependency of scikit-learn

    torch = sys.modules.get("torch")  # its setting is its own, and matters only if something has imported it
    before = numba.config.NUMBA_NUM_THREADS, torch.get_num_threads() if torch else None
    with threadpool_limits(limits=n):
        numba.config.NUMBA_NUM_THREADS = n
        if torch:
            torch.set_num_threads(n)
        try:
            yield
        finally:
            numba.config.NUMBA_NUM_THREADS = before[0]
            if torch:
                torch.set_num_threads(before[1])


def machine():
    """What a timing was taken on: processor, cores that this process may use, versions. No host name."""
    return {
        "processor": processor_name(),
        "cores": n_cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def processor_name(path="/proc/cpuinfo"):
    """The processor's name where the system tells it, else its architecture."""
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as handle:
            names = [line.split(":", 1)[1].strip() for line in handle if line.startswith("model name")]
        if names:
            return names[0]
    return platform.processor() or platform.machine()
