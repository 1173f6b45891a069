"""Waiting for tasks on a cluster: what has gone missing there is said in one line, and nobody waits for ever.

A scheduler that is gone (also one that was started again) has forgotten its tasks, and Dask then raises errors of many
kinds; a cluster without workers is silent. Both become one `ClusterLost`. What tasks compute, and how often one is
tried, is their caller's.
"""

import time
import warnings
from contextlib import contextmanager

POLL = 0.01  # seconds between two looks at the tasks
LOOK = 5.0  # seconds between two looks at the workers
SILENT, GIVEN_UP = 30.0, 600.0  # seconds without any worker, until a warning and until the end
KEPT = "What is finished is kept: call the same command again, and it resumes"


class ClusterLost(ConnectionError):
    """The scheduler of a cluster is gone, or all its workers are."""


def ended(running, client):
    """Futures of a `distributed.as_completed` in the order in which they end; more may be added meanwhile.

    Parameters
    ----------
    running : distributed.as_completed
    client : distributed.Client
        Whose tasks they are.

    Yields
    ------
    Future

    Raises
    ------
    ClusterLost
        The scheduler has forgotten a task, or there was no worker for `GIVEN_UP` seconds (a warning comes before).
    """
    while not running.is_empty():
        _until(running.has_ready, client)
        future = next(running)
        if future.cancelled():
            raise ClusterLost(_lost(client))
        yield future


def results(futures, client):
    """Results of futures in their own order; see `ended` for what it raises."""
    with losses(client):
        for future in futures:
            _until(future.done, client)
            yield future.result()


@contextmanager
def losses(client):
    """Inside, what Dask raises about a scheduler that is gone becomes one `ClusterLost`."""
    from concurrent.futures import CancelledError

    from distributed.client import ClosedClientError
    from distributed.comm import CommClosedError

    try:
        yield
    except (CancelledError, ClosedClientError, CommClosedError) as error:
        raise ClusterLost(_lost(client)) from error
    except OSError as error:
        if isinstance(error, ClusterLost) or client.status == "running":
            raise
        raise ClusterLost(_lost(client)) from error


def _until(ready, client):
    """Wait until `ready()`, with an eye on the workers."""
    seen = looked = time.monotonic()
    warned = False
    while not ready():
        time.sleep(POLL)
        now = time.monotonic()
        if now - looked > LOOK:
            with losses(client):
                seen, looked = now if client.nthreads() else seen, now
        if now - seen > GIVEN_UP:
            raise ClusterLost(f"no workers for {now - seen:.0f} s: {_how_to_start(client)}. {KEPT}")
        if now - seen > SILENT and not warned:
            warned = True
            warnings.warn(f"no workers for {now - seen:.0f} s: waiting for some; {_how_to_start(client)}", stacklevel=2)


def _lost(client):
    return (
        f"the Dask scheduler at {_address(client)} is gone or was started again, and has forgotten the tasks that were "
        f"waiting. {KEPT} (if nothing answers there: `dask scheduler`, and `dask worker` with its address)"
    )


def _how_to_start(client):
    return f"`dask worker {_address(client)} --nthreads 1` starts one"


def _address(client):
    return client.scheduler.address if client.scheduler else "its address"
