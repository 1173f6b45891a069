"""Kills at random moments while runs are trained and distances computed; nothing may be lost, doubled or left over.

    python tests/kills.py [--kills 100] [--minutes 60] [--seed 0] [--folder DIR]      (or: make kills)

Drivers of three kinds work on one atlas, one after another: a process that trains and computes by itself, one with two
worker processes, and the command line with its kernels. Each is killed (alone, with its group, a worker, a kernel) by
SIGKILL, SIGTERM or SIGINT; after each kill everything in the store is read and compared with an undisturbed atlas, and
the next driver resumes. A finished atlas is compared bit by bit, removed, and begun again. Then: a full disk, two
drivers at once, a scheduler that is killed and started again. Exit status 1 if anything is not as it should be.
It takes minutes, so it is no part of `make test`, which kills a driver, a worker, a kernel and a tiling once each.
"""

import argparse
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import yaml

from manifold_utils.atlas import Atlas
from manifold_utils.distances.tiles import Tiles, open_tiles, unfinished, verify_tiles, write_tiles
from manifold_utils.profiles import Profile
from manifold_utils.training.grid import train_grid
from manifold_utils.workers import Resources
from manifold_utils.workers import client as connect

PROFILE = {
    "name": "tiny",
    "description": "Small enough to be killed a hundred times.",
    "dataset": {"name": "digits", "n_train": 50, "n_test": 50},
    "defaults": {"batch_size": 25, "epochs": 40, "scale": 0.0625},
    "tile": 16,
    "grids": {"main": {"blocks": [{"architecture": ["fc", "allcnn"], "seed": list(range(1, 9))}]}},
}
SPLITS = ("train", "test")
KINDS, SHARES = ("alone", "workers", "book"), (0.84, 0.13, 0.03)
AT_ONCE = 0.85  # of the kills fall into the phase that has work left; the others come at any moment of a driver's life
TRAINING_KILLS, TILING_KILLS = 15, 5  # in the making of one atlas: then its training, and then the atlas, is finished
SPAN = {"training": 0.8, "tiling": 0.5, "anywhere": 3.0}  # seconds after a phase has begun within which the kill falls
PATIENCE = 1800.0  # seconds that a driver may take for anything
ORPHANS = 30.0  # seconds that a killed driver's workers and kernels may live on
FULL_DISK = re.compile(
    r"manifold_utils\.files\.CannotWrite: cannot write FOLDER/\S+: the disk of FOLDER/\S+ has \S+ k?B free, "
    r"up to \S+ MB more are needed; free some space .*, and call the same command again\. What is finished is kept"
)
LOST = "ClusterLost: the Dask scheduler at {address} is gone or was started again"
WORKER_KILLS = 8  # in the life of one driver
CONTEXT = multiprocessing.get_context("forkserver")


# --- drivers ----------------------------------------------------------------------------------------------------------


def drive(profile, folder, how, log):
    """What a driver does: train what is missing, then compute the tiles that are missing. Says in `log` where it is."""
    os.setsid()
    _heed_interrupts()
    with open(log, "a", buffering=1, encoding="utf-8") as stream:
        os.dup2(stream.fileno(), 2)

        def say(phase):
            stream.write(f"phase {phase}\n")

        try:
            _drive(Profile.load(profile), folder, how, say)
        except BaseException:
            stream.write(traceback.format_exc())
            raise


def _heed_interrupts():
    """A process started in the background by a script inherits that SIGINT is ignored; the kills need it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _drive(profile, folder, how, say):
    atlas = Atlas.create(profile, folder)
    with _engine(how) as workers:
        say("training")
        train_grid(profile, atlas, client=workers, show_progress=False)
        say("tiling")
        resources = Resources(client=None if how == "alone" else workers)
        for split in SPLITS:
            settings = {"tile": profile.tile, "fingerprint": atlas.points_fingerprint(), "show_progress": False}
            write_tiles(atlas.log_probs(split), atlas.distances_path(split), resources=resources, **settings)
        say("ending")


def _engine(how):
    if how == "alone":
        from distributed import Client, LocalCluster

        return Client(LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None))
    return connect("local", n_workers=2) if how == "workers" else connect(how)


class Driver:
    """A driver that runs: its process, its log, and what it has started."""

    def __init__(self, profile, data_dir, how):
        self.how, self.log = how, Path(f"{data_dir}.log")  # beside the folder, whose disk may be full
        self.log.write_text("")
        if how == "book":
            call = [sys.executable, "-m", "manifold_utils", "run", "20", "--profile", str(profile)]
            call += ["--data-dir", str(data_dir), "-p", "n_workers=2"]
            stream = open(self.log, "a")
            self.child = subprocess.Popen(call, stdout=stream, stderr=stream, start_new_session=True)
        else:
            given = str(profile), str(Path(data_dir) / "atlases"), how, str(self.log)
            self.child = CONTEXT.Process(target=drive, args=given)
            self.child.start()
        self.process = psutil.Process(self.child.pid)

    def alive(self):
        return self.child.poll() is None if self.how == "book" else self.child.is_alive()

    def wait(self):
        """Exit status; a driver that does not end within `PATIENCE` is a fault."""
        if self.how == "book":
            return self.child.wait(PATIENCE)
        self.child.join(PATIENCE)
        if self.child.exitcode is None:
            raise TimeoutError(f"the driver has not ended within {PATIENCE:g} s")
        return self.child.exitcode

    def text(self):
        return self.log.read_text()

    def phase(self):
        """starting, training, tiling or ending, from what it says and has started."""
        if self.how != "book":
            return (re.findall(r"^phase (\w+)$", self.text(), re.M) or ["starting"])[-1]
        job = (re.findall(r"^start (\d\d)_", self.text(), re.M) or [""])[-1]
        return {"11": "training" if self.workers() else "starting", "20": "tiling"}.get(job, "starting")

    def family(self):
        try:
            return self.process.children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def workers(self):
        return [p for p in self.family() if "spawn_main" in _words(p)]

    def kernels(self):
        return [p for p in self.family() if "ipykernel_launcher" in _words(p)]


def _words(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


# --- kills ------------------------------------------------------------------------------------------------------------


def kill(driver, rng):
    """Kill something of a driver; (what, signal, whether the driver was meant)."""
    choices = {"driver": [driver.process], "group": [driver.process, *driver.family()]}
    choices |= {name: found for name, found in (("worker", driver.workers()), ("kernel", driver.kernels())) if found}
    weights = {"driver": 2, "group": 1, "worker": 4, "kernel": 3}
    odds = np.array([weights[name] for name in choices], dtype=float)
    what = list(choices)[rng.choice(len(choices), p=odds / odds.sum())]
    victims = choices[what] if what != "worker" else [choices[what][rng.integers(len(choices[what]))]]
    number = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT][rng.choice(3, p=[0.6, 0.2, 0.2])]
    for victim in victims:
        try:
            victim.send_signal(number)
        except psutil.NoSuchProcess:
            continue
    return what, number.name, what in ("driver", "group")


def wait_for(driver, when, rng, patience=PATIENCE):
    """Sleep until a random moment of a phase (or the driver's end)."""
    deadline = time.monotonic() + patience
    while when != "anywhere" and driver.alive() and driver.phase() not in (when, "ending"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {when} within {patience:g} s:\n{driver.text()}")
        time.sleep(0.02)
    until = time.monotonic() + rng.uniform(0, SPAN[when])
    while driver.alive() and time.monotonic() < until:
        time.sleep(0.005)


class Harness:
    """Kills drivers on one atlas, and keeps the figures."""

    def __init__(self, folder, seed=0):
        self.folder, self.rng = Path(folder), np.random.default_rng(seed)
        self.profile = self.folder / "tiny.yaml"
        self.profile.write_text(yaml.safe_dump(PROFILE))
        self.n_runs = len(Profile.load(str(self.profile)).configs())
        self.kills, self.phases, self.found, self.faults = Counter(), Counter(), Counter(), []
        self.rounds = self.lives = self.training_before = 0
        self.orphans = 0.0  # longest, seconds
        self.reference = self.undisturbed("reference")

    def data(self, name):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    def undisturbed(self, name, how="alone"):
        """The atlas in the data folder `name`, finished by a driver that nobody kills."""
        driver = Driver(self.profile, self.data(name), how)
        if driver.wait():
            self.fault(f"an undisturbed driver failed:\n{driver.text()}")
        return Atlas(self.folder / name / "atlases" / "tiny")

    def fault(self, text):
        print(f"FAULT: {text}", flush=True)
        self.faults.append(text)

    def life(self, how):
        """One driver, from its start to its end; True if it was killed, False if it finished before."""
        driver, killed, self.lives = Driver(self.profile, self.data("killed"), how), False, self.lives + 1
        for _ in range(WORKER_KILLS):
            trained = len(self.stored()) == self.n_runs
            enough = self.phases["training"] - self.training_before >= TRAINING_KILLS
            working = "tiling" if trained or enough else "training"
            wait_for(driver, working if self.rng.random() < AT_ONCE else "anywhere", self.rng)
            if not driver.alive():
                break
            phase, family = driver.phase(), driver.family()
            what, number, meant = kill(driver, self.rng)
            killed = True
            self.phases[phase] += 1
            self.kills[f"{what} ({how}), {number}"] += 1
            self.look()
            if meant or what == "kernel":
                break
        if killed or not driver.alive():
            self.buried(driver, family if killed else [])
        return killed

    def buried(self, driver, family):
        """Wait for the driver's end and, half of the time, for that of its workers and kernels."""
        driver.wait()
        began = time.monotonic()
        if self.rng.random() < 0.5:
            _, left = psutil.wait_procs(family, timeout=ORPHANS)
            self.orphans = max(self.orphans, time.monotonic() - began)
            if left:
                self.fault(f"{len(left)} processes outlive their driver by {ORPHANS:g} s")

    def stored(self):
        """Paths of the runs that are in the store."""
        return sorted(self.folder.glob("killed/atlases/tiny/predictions/[!.]*.zarr"))

    def look(self):
        """Read whatever is stored: it is whole and right, or it is not there."""
        path, runs = self.folder / "killed" / "atlases" / "tiny", self.stored()
        for run in runs:
            self.same_run(path, run.stem)
        self.found["runs missing" if len(runs) < self.n_runs else "all runs stored"] += 1
        self.found["temporary files"] += len(leftovers(path))
        for split in SPLITS:
            matrix = path / "distances" / f"{split}_bhattacharyya.zarr"
            if matrix.exists():
                states = verify_tiles(matrix)
                self.found["matrices unfinished" if states else "matrices finished"] += 1
                # a driver that lives on may store a tile between two looks at it: what is wrong stays wrong
                wrong = {file for file, why in states.items() if why != "missing"}
                again = verify_tiles(matrix) if wrong else {}
                if wrong := {file: again[file] for file in wrong & set(again) if again[file] != "missing"}:
                    self.fault(f"after a kill, {wrong}")

    def same_run(self, path, name):
        for split in SPLITS:
            try:
                values = Atlas(path).run_log_probs(name, split)
            except OSError as error:
                return self.fault(f"after a kill, {error}")
            if values.tobytes() != self.reference.run_log_probs(name, split).tobytes():
                self.fault(f"run {name} differs from the undisturbed one ({split})")

    def round(self, n_left, deadline):
        """Kill drivers until an atlas is finished; then compare it with the undisturbed one, and remove it."""
        enough, self.training_before = self.phases["tiling"] + TILING_KILLS, self.phases["training"]
        while sum(self.kills.values()) < n_left and time.monotonic() < deadline and self.phases["tiling"] < enough:
            how = KINDS[self.rng.choice(3, p=SHARES)]
            self.life(how)
            print(f"{sum(self.kills.values())} kills: {dict(self.phases)}", file=sys.stderr)
            if self.finished():
                break
        self.compare(self.undisturbed("killed", KINDS[self.rng.integers(2)]))
        shutil.rmtree(self.folder / "killed")
        self.rounds += 1

    def finished(self):
        """Whether all runs are stored and all tiles computed, so that there is nothing left to kill."""
        matrices = [self.folder / "killed/atlases/tiny/distances" / f"{s}_bhattacharyya.zarr" for s in SPLITS]
        there = len(self.stored()) == self.n_runs and all(path.exists() for path in matrices)
        return there and not any(unfinished(Tiles(path), path) for path in matrices)

    def compare(self, atlas):
        """An atlas that was finished after kills against the undisturbed one: bit by bit, and no file more."""
        stored = {p.name for p in (atlas.path / "predictions").iterdir()}
        expected = {p.name for p in (self.reference.path / "predictions").iterdir()}
        if stored != expected:
            self.fault(f"runs lost {sorted(expected - stored)}, added {sorted(stored - expected)}")
        for name in self.reference.runs.index:
            self.same_run(atlas.path, name)
        if not atlas.points.equals(self.reference.points):
            self.fault("points.parquet differs")
        if not atlas.runs.drop(columns="seconds").equals(self.reference.runs.drop(columns="seconds")):
            self.fault("runs.parquet differs")
        for split in SPLITS:
            ours, theirs = (np.asarray(open_tiles(a.distances_path(split))) for a in (atlas, self.reference))
            if ours.tobytes() != theirs.tobytes():
                self.fault(f"distances over {split} differ")
        if leftovers(atlas.path):
            self.fault(f"left over: {[str(p.relative_to(atlas.path)) for p in leftovers(atlas.path)]}")


def leftovers(path):
    """Temporary files and folders of ours and of zarr."""
    return [p for p in Path(path).rglob("*") if p.name.startswith(".tmp-") or p.name.endswith(".partial")]


# --- what else goes wrong ---------------------------------------------------------------------------------------------


def full_disk(harness):
    """A disk that fills while runs are stored: one error that says so; when it is freed, the next call resumes."""
    folder = harness.data("full")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True).returncode:
        return "not tried: this user may not mount a small file system"
    try:
        driver = Driver(harness.profile, folder, "alone")
        while driver.alive() and not any(folder.glob("atlases/tiny/predictions/[!.]*.zarr")):
            time.sleep(0.02)
        with suppress(OSError), open(folder / "ballast", "wb", buffering=0) as ballast:
            while ballast.write(b"0" * 4096):
                continue
        status, text = driver.wait(), driver.text()
        said = text.strip().splitlines()[-1]
        if not status or not FULL_DISK.fullmatch(said.replace(str(folder), "FOLDER")):
            harness.fault(f"a full disk ended in: {text.strip().splitlines()[-1]}")
        (folder / "ballast").unlink()
        harness.compare(harness.undisturbed("full"))
        return f"refused ({said}), resumed when freed"
    finally:
        subprocess.run(["umount", str(folder)], check=False)


def two_drivers(harness):
    """A second driver is refused and touches nothing; the first goes on."""
    data = harness.data("two")
    first = Driver(harness.profile, data, "alone")
    wait_for(first, "training", np.random.default_rng(0))
    (data / "other").mkdir()
    log = data / "other" / "driver.log"
    second = CONTEXT.Process(target=drive, args=(str(harness.profile), str(data / "atlases"), "alone", str(log)))
    second.start()
    second.join(PATIENCE)
    said = log.read_text().strip().splitlines()[-1]
    if first.wait() or "is being written by" not in said or not second.exitcode:
        harness.fault(f"a second driver was not refused: {said}")
    harness.compare(Atlas(data / "atlases" / "tiny"))
    return f"the second refused ({said})"


def restarted_scheduler(harness):
    """The scheduler and its worker are killed in the middle and started again: resumed, by this call or the next."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data, cluster = harness.data("restarted"), _cluster(port)
    driver = Driver(harness.profile, data, f"tcp://127.0.0.1:{port}")
    wait_for(driver, "training", np.random.default_rng(0))
    while driver.alive() and not any(data.glob("atlases/tiny/predictions/[!.]*.zarr")):
        time.sleep(0.05)
    for process in cluster:
        process.kill()
        process.wait()
    cluster, began = _cluster(port), time.monotonic()
    try:
        driver.child.join(PATIENCE)
        said = "went on by itself" if driver.child.exitcode == 0 else driver.text().strip().splitlines()[-1]
        if driver.child.exitcode and LOST.format(address=driver.how) not in said:
            harness.fault(f"a restarted scheduler ended in: {said}")
        if driver.child.exitcode is None:
            harness.fault(f"the driver is silent {PATIENCE:g} s after its scheduler was restarted")
            driver.process.kill()
        harness.compare(harness.undisturbed("restarted"))
    finally:
        for process in cluster:
            process.kill()
            process.wait()
    return f"{said}; resumed, {time.monotonic() - began:.0f} s"


def _cluster(port):
    def start(*call):
        return subprocess.Popen([sys.executable, "-m", *call], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    scheduler = start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    options = "--nthreads", "1", "--no-dashboard", "--no-nanny", "--death-timeout", "120"
    return scheduler, start("distributed.cli.dask_worker", f"tcp://127.0.0.1:{port}", *options)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=60, help="stop killing after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where to work; a temporary folder by default")
    options = parser.parse_args()
    _heed_interrupts()
    CONTEXT.set_forkserver_preload(["manifold_utils.training.grid", "manifold_utils.distances.tiles", "distributed"])
    with tempfile.TemporaryDirectory(prefix="kills-", dir=options.folder) as folder:
        began, harness = time.monotonic(), Harness(folder, options.seed)
        while sum(harness.kills.values()) < options.kills and time.monotonic() - began < 60 * options.minutes:
            harness.round(options.kills, began + 60 * options.minutes)
            print(f"{sum(harness.kills.values())} kills, {time.monotonic() - began:.0f} s", flush=True)
        others = {f.__name__: f(harness) for f in (full_disk, two_drivers, restarted_scheduler)}
    figures = {
        "kills": sum(harness.kills.values()),
        "by phase": dict(harness.phases.most_common()),
        "by victim": dict(sorted(harness.kills.items())),
        "found after a kill": dict(sorted(harness.found.items())),
        "drivers": harness.lives,
        "atlases finished and compared": harness.rounds,
        "longest life of an orphan, s": round(harness.orphans, 1),
        **{name.replace("_", " "): text for name, text in others.items()},
        "faults": harness.faults,
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(figures, indent=1))
    return 1 if harness.faults else 0


if __name__ == "__main__":
    sys.exit(main())
