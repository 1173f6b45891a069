"""Workers started here and workers started by Dask's own commands, one of which is killed on the way."""

import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time

import dask.array as da
import numpy as np
import pytest
import zarr
from distributed import as_completed

from manifold_utils import workers
from manifold_utils.distances import pairwise
from manifold_utils.distances.columns import write_columns
from manifold_utils.distances.tiles import tile_file, verify_tiles, write_tiles
from manifold_utils.inpca import InPCA
from manifold_utils.workers import Resources
from manifold_utils.workers import waiting as waiting_module

PATIENCE = 90  # seconds to wait for processes of a loaded machine


def points(m, n_samples, n_classes=10):
    logits = 3 * np.random.default_rng(0).standard_normal((m, n_samples, n_classes))
    return (logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))).astype(np.float32)


def numeric_threads():
    import numba

    return [os.environ.get(name) for name in workers.THREAD_VARIABLES], numba.config.NUMBA_NUM_THREADS


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def dask_commands(tmp_path):
    """Start `dask scheduler` and `dask worker` processes; all are ended with the test."""
    started = []
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}

    def start(*words):
        command = [sys.executable, "-m", "dask", *words]
        started.append(
            subprocess.Popen(
                command, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
        return started[-1]

    yield start
    for process in reversed(started):
        process.kill()
        process.wait()


def test_local_processes_have_one_thread_each_and_do_the_tiles(tmp_path):
    values = points(60, 50)
    with workers.client("local", n_workers=2, timeout=PATIENCE) as client:
        assert sorted(client.nthreads().values()) == [1, 1]
        assert all(found == (["1"] * 4, 1) for found in client.run(numeric_threads).values())
        options = {"tile": 16, "resources": Resources(client=client), "show_progress": False}
        in_memory = write_tiles(values, tmp_path / "a.zarr", **options)
        lazy = da.from_array(values, chunks=(13, 50, 10))
        from_dask = write_tiles(lazy, tmp_path / "b.zarr", **options)
        broken = values.copy()
        broken[40, 7] = -1.0
        with pytest.raises(ValueError, match="point 40, sample 7 is not normalised"):
            write_tiles(broken, tmp_path / "c.zarr", **options)
    for D in (in_memory, from_dask):
        np.testing.assert_allclose(np.asarray(D), pairwise(values), atol=1e-7)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "b.zarr", "c.zarr"]  # the spool file is gone


def test_a_cluster_on_loopback_survives_the_death_of_a_worker(tmp_path, dask_commands, monkeypatch):
    """Its workers live in another folder than the driver, whose paths are relative."""
    address = f"tcp://127.0.0.1:{free_port()}"
    port = address.rsplit(":", 1)[1]
    dask_commands("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", "--no-jupyter")
    started = [
        dask_commands("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--name", f"w{k}")
        for k in range(2)
    ]
    values, path = points(400, 200), tmp_path / "driver" / "d.zarr"
    path.parent.mkdir()
    monkeypatch.chdir(path.parent)
    zarr.create_array("values.zarr", data=values, chunks=(100, 200, 10))
    source = zarr.open_array("values.zarr", mode="r")
    with workers.client(address, timeout=PATIENCE) as client:
        client.wait_for_workers(2, timeout=PATIENCE)

        def kill_one_on_the_way():
            while not tile_file(path, 0, 5).exists():
                time.sleep(0.002)
            started[0].send_signal(signal.SIGKILL)

        killer = threading.Thread(target=kill_one_on_the_way, daemon=True)
        killer.start()
        resources = Resources(client=client)
        D = write_tiles(source, "d.zarr", tile=16, resources=resources, dtype="float64", show_progress=False)
        killer.join(PATIENCE)
        assert started[0].wait(PATIENCE) == -signal.SIGKILL and len(client.nthreads()) == 1
        zarr.create_array("plain.zarr", data=np.asarray(D), chunks=(100, 400))
        columns = write_columns(source, "columns.zarr", [5, 300], resources=resources, show_progress=False)
        for matrix in (D, zarr.open_array("plain.zarr", mode="r")):
            fit = InPCA(2, solver="krylov").fit(matrix, client=client)
    np.testing.assert_allclose(fit.eigenvalues_, InPCA(2).fit(pairwise(values)).eigenvalues_, rtol=1e-6)
    np.testing.assert_allclose(columns[:], pairwise(values)[:, [5, 300]], atol=1e-6)
    assert verify_tiles(path) == {}
    np.testing.assert_allclose(np.asarray(D), pairwise(values), atol=1e-13)


def test_a_scheduler_that_is_gone_and_workers_that_are_gone_are_one_line(tmp_path, dask_commands, monkeypatch):
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    scheduler = dask_commands("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-jupyter")
    worker = dask_commands("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
    with workers.client(address, timeout=PATIENCE) as client:
        task = client.submit(time.sleep, 600, pure=False)
        waiting = as_completed([task])
        worker.send_signal(signal.SIGKILL)
        monkeypatch.setattr(waiting_module, "LOOK", 0.1)
        monkeypatch.setattr(waiting_module, "SILENT", 0.3)
        monkeypatch.setattr(waiting_module, "GIVEN_UP", 0.6)
        with pytest.warns(UserWarning, match="no workers for 0 s: waiting for some"):
            with pytest.raises(workers.ClusterLost, match=f"no workers for 1 s: `dask worker {address} .*finished is"):
                next(workers.ended(waiting, client))
        scheduler.send_signal(signal.SIGKILL)
        lost = f"scheduler at {address} is gone or was started again.*call the same command again, and it resumes"
        with pytest.raises(workers.ClusterLost, match=lost) as error:
            next(workers.ended(waiting, client))
        assert "\n" not in str(error.value)
        with pytest.raises(workers.ClusterLost, match=lost):
            list(workers.results([task], client))


def test_nobody_answers():
    with (
        pytest.raises(ConnectionError, match="dask scheduler"),
        workers.client(f"tcp://127.0.0.1:{free_port()}", timeout=1),
    ):
        raise AssertionError("no such cluster")


def test_a_scheduler_without_workers(dask_commands):
    port = free_port()
    dask_commands("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-jupyter")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    with pytest.raises(ConnectionError, match="no workers"), workers.client(f"tcp://127.0.0.1:{port}", timeout=2):
        raise AssertionError("no workers")


def test_errors_of_the_caller_are_the_caller_s():
    with pytest.raises(ValueError, match="n_workers"), workers.client("tcp://127.0.0.1:1", n_workers=2):
        raise AssertionError("refused before connecting")


def test_each_worker_sees_one_gpu(monkeypatch):
    class Worker:
        name = "3"

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    workers.one_gpu(2).setup(Worker())
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


TOUCHED = """
import resource
import numpy as np
from manifold_utils.workers import keep_memory
print(keep_memory())
for turn in range(60):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**20)  # 8 MB, as a layer's activations
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_kept_also_where_dask_would_trim_it():
    """Fifty times 8 MB, of 2,048 pages each: kept memory is not given out, and zeroed, again."""
    environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", TOUCHED], env=environment, capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    assert kept == "True" and int(faults) < 2048
