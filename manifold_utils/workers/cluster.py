"""One engine for all parallel work: a Dask client of local processes, or of any cluster.

This module starts, checks and ends workers; what they do is in `training.grid` and `distances.tiles`. Dask is imported
where it is first needed: seconds that a reader of distances should not wait for.
"""

import importlib.util
import logging
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from manifold_utils.workers.cores import THREAD_VARIABLES, count_gpus, n_cores

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
        if connected.status != "running":  # `waiting` says so in one line, Dask in two tracebacks
            logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
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


@contextmanager
def engine(address):
    """The client that `Resources` takes, from a word: "threads" (None: this process), "local", or an address."""
    if address == "threads":
        yield None
        return
    with client(address) as connected:
        yield connected
