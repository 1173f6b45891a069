"""What this process computes on: cores, threads, memory that it keeps, devices, and the machine's name for a timing.

torch is imported where it is first needed, and not on a machine without a driver.
"""

import ctypes
import os
import platform
import sys
from contextlib import contextmanager

import numpy as np

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's names for mallopt
KEPT_BYTES, LARGEST_KEPT = 2**30, 2**25  # freed memory that a process keeps, and the largest block (glibc's own limit)


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
