"""What work runs on: cores, threads, devices, and one engine for all parallel work, a Dask client.

The client is of local processes, or of any cluster. Workers compute with one thread each (their numeric libraries are
told so), since the parallelism is in the tasks. `cores` is about this process, `cluster` about workers, `waiting`
about tasks that they do. Dask and torch are imported where they are first needed.
"""

from manifold_utils.workers.cluster import Resources, client, engine, one_gpu
from manifold_utils.workers.cores import (
    THREAD_VARIABLES,
    check_choice,
    count_gpus,
    keep_memory,
    machine,
    n_cores,
    processor_name,
    resolve_device,
    thread_limit,
)
from manifold_utils.workers.waiting import ClusterLost, ended, losses, results

__all__ = [
    "THREAD_VARIABLES",
    "ClusterLost",
    "Resources",
    "check_choice",
    "client",
    "count_gpus",
    "ended",
    "engine",
    "keep_memory",
    "losses",
    "machine",
    "n_cores",
    "one_gpu",
    "processor_name",
    "resolve_device",
    "results",
    "thread_limit",
]
