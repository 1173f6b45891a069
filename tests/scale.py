"""A matrix of 20,000 points out of core, for real: killed half-way, resumed, checked, embedded, within a memory budget.

    python tests/scale.py [--points 20000] [--samples 500] [--budget 2e9] [--folder DIR]      (or: make scale)

Takes minutes and some GB of disk, so that it is no part of `make test`, which does the same with 200 points. Ends with
exit status 1 if anything is not as it should be.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import zarr

from manifold_utils.distances.tiles import open_tiles, verify_tiles
from manifold_utils.inpca import InPCA
from manifold_utils.studies.timing import predictions

DRIVER = """
import sys
import zarr
from manifold_utils.distances.tiles import write_tiles
from manifold_utils.workers import Resources, client

if __name__ == "__main__":
    source, target, budget = sys.argv[1:]
    with client("local", n_workers=2) as workers:
        resources = Resources(client=workers, memory_budget=int(budget))
        write_tiles(zarr.open_array(source, mode="r"), target, resources=resources)
"""


class Watch(threading.Thread):
    """Largest sum of unique memory over a process and all its children, sampled."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.process, self.peak, self.done = psutil.Process(pid), 0, threading.Event()

    def run(self):
        while not self.done.wait(0.1):
            try:
                family = [self.process, *self.process.children(recursive=True)]
                self.peak = max(self.peak, sum(p.memory_full_info().uss for p in family))
            except psutil.NoSuchProcess:
                continue

    def stop(self):
        self.done.set()
        self.join()
        return self.peak


def make_source(path, m, n_samples, rng, block=1000):
    """Made-up predictions on disk, `block` points at a time."""
    array = zarr.create_array(path, shape=(m, n_samples, 10), chunks=(block, n_samples, 10), dtype="float32")
    order = rng.permutation(m)  # early and late points everywhere
    for start in range(0, m, block):
        which = {"only": order[start : start + block], "samples_rng": np.random.default_rng(0)}
        array[start : start + block] = predictions(m, n_samples, 10, rng, **which)[0]
    return array


def start(folder, target, budget):
    (folder / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(folder / "driver.py"), str(folder / "source.zarr"), str(target), str(budget)]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)


def n_tiles(target):
    return sum(1 for f in target.glob("c/*/*") if f.name.isdigit())


def kill_half_way(folder, target, budget, wanted):
    """SIGKILL the driver and its workers once `wanted` tiles are there; returns their number."""
    driver = start(folder, target, budget)
    watch = Watch(driver.pid)
    watch.start()
    while driver.poll() is None and n_tiles(target) < wanted:
        time.sleep(0.05)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    return n_tiles(target), watch.stop()


def resume(folder, target, budget):
    driver = start(folder, target, budget)
    watch = Watch(driver.pid)
    watch.start()
    status = driver.wait()
    return status, watch.stop()


def largest_error(source, tiles, rng, n=200):
    """Largest difference from the formula in float64 over random pairs, relative to the largest of them."""
    pairs = rng.integers(len(tiles), size=(n, 2))
    p, q = (np.stack([source[int(i)] for i in side]).astype(float) for side in pairs.T)
    exact = -np.log(np.exp((p + q) / 2).sum(axis=2)).mean(axis=1)
    exact[pairs[:, 0] == pairs[:, 1]] = 0
    return max(abs(tiles[int(i), int(j)] - e) for (i, j), e in zip(pairs, exact, strict=True)) / exact.max()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--budget", type=float, default=2e9, help="bytes, of all computing processes together")
    parser.add_argument("--folder", default="", help="where to work (default: a temporary folder)")
    options = parser.parse_args()
    rng, budget = np.random.default_rng(0), int(options.budget)
    with tempfile.TemporaryDirectory(dir=options.folder or None) as name:
        folder = Path(name)
        target = folder / "D.zarr"
        began = time.perf_counter()
        source = make_source(folder / "source.zarr", options.points, options.samples, rng)
        print(f"{source.shape} predictions on disk, {source.nbytes / 1e9:.1f} GB; {time.perf_counter() - began:.0f} s")
        began = time.perf_counter()
        there, first = kill_half_way(folder, target, budget, 20)
        print(f"killed with {there} tiles on disk after {time.perf_counter() - began:.1f} s")
        began = time.perf_counter()
        status, second = resume(folder, target, budget)
        seconds, tiles = time.perf_counter() - began, open_tiles(target)
        side = -(-len(tiles) // tiles.tile)
        n_all = side * (side + 1) // 2
        print(f"resumed: {n_all - there} of {n_all} tiles of {tiles.tile} points in {seconds:.1f} s, exit {status}")
        peak = max(first, second)
        print(f"peak memory of all processes {peak / 1e9:.2f} GB of a budget of {budget / 1e9:.2f} GB; "
              f"the matrix has {4 * options.points**2 / 1e9:.2f} GB")  # fmt: skip
        error, damaged = largest_error(source, tiles, rng), verify_tiles(target)
        print(f"largest relative error of 200 pairs {error:.1e}; damaged tiles: {len(damaged)}")
        began, before = time.perf_counter(), psutil.Process().memory_info().rss
        watch = Watch(os.getpid())
        watch.start()
        fit = InPCA(n_components=50, solver="krylov").fit(tiles)
        held = watch.stop() - before
        print(f"50 eigenpairs from disk in {time.perf_counter() - began:.1f} s, {fit.n_passes_} passes, "
              f"{held / 1e9:.2f} GB, residuals up to {fit.residuals_.max():.0e}")  # fmt: skip
        good = status == 0 and 0 < there < n_all and peak <= budget and error < 1e-6 and not damaged
    print("as it should be" if good and fit.residuals_.max() < 1e-7 else "NOT as it should be")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
