"""A cloud of any size up to the paper's on this machine, for real: killed twice, resumed, judged, in little memory.

    python tests/scale.py [--points 20000] [--atlas FOLDER] [--folder DIR] [--budget 4e9]    (or: make scale POINTS=...)

Recorded runs of an atlas are mixed into a world of that many points (`scale.world`), and embedded rung by rung
through landmarks and exactly (`scale`). Minutes at 20,000 points, half an hour and 13 GB of disk at 151,407. Without
an atlas the smoke profile is trained first. A file exact-M.npz of a GPU's run (--device cuda) that is put into the
folder judges the highest rung. Ends with exit status 1 if anything is not as it should be. The numbers
are left in data/scale/cpu.json (or gpu.json), which chapter 90 reads.
"""

import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import zarr

from manifold_utils import scale, workers
from manifold_utils.atlas import Atlas
from manifold_utils.distances.tiles import verify_tiles
from manifold_utils.files import data_root
from manifold_utils.scale import reports
from manifold_utils.scale import world as large_world
from manifold_utils.studies import timing

DRIVER = """
import sys
from manifold_utils.scale import Ladder
from manifold_utils.workers import Resources, client

if __name__ == "__main__":
    folder, n_points, budget, n_workers, device = sys.argv[1:]
    with client("local", n_workers=int(n_workers)) as workers:
        for name, numbers in Ladder(folder, int(n_points), Resources(workers, int(budget), device)).climb():
            print(f"{name}: {numbers['seconds']:.1f} s, {numbers['peak_bytes'] / 1e9:.2f} GB", flush=True)
"""
FOR_WORKERS = 0.6  # share of the budget that the workers may fill; the driver embeds
CHECKED_PAIRS = 200
BOUNDS = {"coordinates_20": 0.02}  # at m/20 on the largest rung whose exact answer is known


def forecast(n_points, n_samples, n_classes):
    """What it will take, said before anything starts: bytes on disk, and kernel minutes at a typical rate."""
    m, rate = n_points, 1e11
    flops = timing.pair_flops(m, n_samples, n_classes, m / 20)
    flops += timing.pair_flops(min(m, scale.STORED), n_samples, n_classes)
    if m >= scale.ANEW:
        flops += 5 * timing.pair_flops(scale.ANEW, n_samples, n_classes)
    n_bytes = 4 * (m * n_samples * n_classes + m * m / 20 + min(m, scale.STORED) ** 2 * 1.1)
    print(f"{m:,} points of {n_samples} samples x {n_classes} classes: {n_bytes / 1e9:.1f} GB of disk, "
          f"about {flops / rate / 60:.1f} minutes of products on two cores of a recent machine, and as long again for "
          f"the rest", flush=True)  # fmt: skip


def base_of(folder, atlas):
    """The recorded runs to mix; those of the smoke profile are trained where there is no atlas."""
    path = folder / "base.zarr"
    if not path.exists():
        if not atlas:
            command = [sys.executable, "-m", "manifold_utils", "run", "--profile", "smoke", "--data-dir", str(folder)]
            subprocess.run([*command, "--only", "10", "11"], check=True)
            atlas = folder / "atlases" / "smoke"
        large_world.save_base(Atlas(atlas), path)
    return zarr.open_array(path, mode="r", zarr_format=3)


def an_atlas():
    """The book's own atlas where there is one, real images first."""
    for name in ("cifar16", "digits"):
        path = Path(data_root()) / "atlases" / name
        if (path / "points.parquet").exists():
            return path
    return None


def start(folder, n_points, budget, *options):
    (folder / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(folder / "driver.py"), str(folder), str(n_points), str(int(FOR_WORKERS * budget))]
    return subprocess.Popen([*command, *(options or ("2", "cpu"))], start_new_session=True)


def chunks_of(path):
    return sum(1 for file in path.glob("c/*/*") if file.name.isdigit())


def kill_when(folder, n_points, budget, path, share, n_all):
    """Run until `share` of the chunks of an array are there, then SIGKILL the driver and its workers."""
    driver = start(folder, n_points, budget)
    while driver.poll() is None and chunks_of(path) < share * n_all:
        time.sleep(0.05)
    finished = driver.poll() is not None
    if not finished:
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
    there = chunks_of(path)
    print(f"killed with {there} of {n_all} chunks of {path.name} on disk", flush=True)
    return not finished and 0 < there < n_all


def kills(folder, n_points, budget):
    """Two kills: in the middle of the matrix that is stored, and of the distances to the landmarks."""
    stored = max(m for m in scale.Ladder(folder, n_points).rungs if m <= scale.STORED)
    tiles = -(-stored // 2048)
    columns = -(-n_points // 1024) * -(-(n_points // 20) // 512)
    killed = []
    if not (folder / f"stored-{stored}.json").exists():
        killed.append(kill_when(folder, n_points, budget, folder / f"D-{stored}.zarr", 0.5, tiles * (tiles + 1) // 2))
    if not (folder / f"landmarks-{n_points}.json").exists():
        killed.append(kill_when(folder, n_points, budget, folder / f"columns-{n_points}.zarr", 0.4, columns))
    return killed


def largest_error(world, tiles, rng):
    """Largest difference from the formula in float64 over random pairs, relative to the largest of them."""
    pairs = rng.integers(tiles.shape[0], size=(CHECKED_PAIRS, 2))
    p, q = (np.stack([world[int(i)] for i in side]).astype(float) for side in pairs.T)
    exact = -np.log(np.exp((p + q) / 2).sum(axis=2)).mean(axis=1)
    exact[pairs[:, 0] == pairs[:, 1]] = 0
    return float(max(abs(tiles[int(i)][int(j)] - e) for (i, j), e in zip(pairs, exact, strict=True)) / exact.max())


def collect(folder, n_points, killed):
    """All steps' numbers, and where they were measured."""
    ladder = scale.Ladder(folder, n_points)
    steps = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*-*.json"))}
    world = json.loads((folder / "world.json").read_text())
    anew = steps.get(f"anew-{scale.ANEW}")
    report = {"points": n_points, "rungs": ladder.rungs, "kills": sum(killed), "machine": workers.machine(),
              "load": os.getloadavg()[2], "date": datetime.date.today().isoformat(), "world": world,
              "steps": steps}  # fmt: skip
    if anew:
        rate = anew["passes"] * timing.pair_flops(scale.ANEW, world["samples"], world["classes"]) / anew["seconds"]
        hours = timing.full_size(rate, 151_407, world["samples"], world["classes"])["hours"] * anew["passes"]
        report["hours_151407_anew"] = hours
    reports.save(report, "cpu")
    return report


def table(report):
    """One row a rung."""
    rows = []
    for m in report["rungs"]:
        near = report["steps"][f"landmarks-{m}"]
        exact = report["steps"].get(f"stored-{m}") or report["steps"].get(f"anew-{m}") or {}
        rows.append({
            "points": m, "landmarks": near["landmarks_20"], "seconds": near["seconds"], "GB": near["peak_bytes"] / 1e9,
            "exact (s)": exact.get("seconds"), "exact (GB)": exact.get("peak_bytes", np.nan) / 1e9,
            "coordinates": exact.get("coordinates_20"), "stress_3": exact.get("stress_3_20"),
            "coordinates m/100": exact.get("coordinates_100"), "stress_3 m/100": exact.get("stress_3_100"),
        })  # fmt: skip
    return pd.DataFrame(rows).set_index("points")


def judge(folder, report, killed, budget):
    """What is not as it should be, in words."""
    wrong, steps = [], report["steps"]
    if not all(killed):
        wrong.append("a kill came too late or too early")
    peak = max(step["peak_bytes"] for step in [*steps.values(), report["world"]])
    if peak > budget:
        wrong.append(f"{peak / 1e9:.2f} GB at the peak, above the budget of {budget / 1e9:.2f} GB")
    stored = max(m for m in report["rungs"] if f"stored-{m}" in steps)
    tiles = scale.open_tiles(folder / f"D-{stored}.zarr")
    error = largest_error(zarr.open_array(folder / "world.zarr", mode="r"), tiles, np.random.default_rng(0))
    print(f"largest relative error of {CHECKED_PAIRS} pairs: {error:.1e}")
    if error > 1e-6 or verify_tiles(folder / f"D-{stored}.zarr"):
        wrong.append("tiles are wrong or damaged")
    known = steps.get(f"anew-{scale.ANEW}") or steps[f"stored-{stored}"]
    wrong += [f"{name} is {known[name]:.4f}" for name, bound in BOUNDS.items() if known[name] > bound]
    return wrong


def on_gpu(folder, options):
    """The exact answer of every rung on one GPU, after its side-by-side timings; no kills."""
    import torch

    from manifold_utils.studies.usual_ways import usual_pairwise

    side = folder / "side_by_side.json"
    if not side.exists():
        side.write_text(json.dumps(timing.on_gpu(usual_pairwise), indent=1))
    base_of(folder, Path(options.atlas) if options.atlas else an_atlas())
    status = start(folder, options.points, options.budget, str(max(2, workers.n_cores() - 2)), "cuda").wait()
    if status:
        return status
    steps = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("device-*.json"))}
    report = {"points": options.points, "device": torch.cuda.get_device_name(), "machine": workers.machine(),
              "steps": steps, "date": datetime.date.today().isoformat(),
              "world": json.loads((folder / "world.json").read_text()),
              "side_by_side": json.loads(side.read_text())}  # fmt: skip
    reports.save(report, "gpu")
    print(pd.DataFrame(steps.values()).set_index("points")[["matrix_seconds", "eigen_seconds", "relative_error"]])
    good = all(step["relative_error"] < 1e-6 and step["residual"] <= scale.TOLERANCE for step in steps.values())
    print("as it should be" if good else "NOT as it should be")
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20_000, help="2,000 or more")
    parser.add_argument("--budget", type=float, default=4e9, help="bytes, of all processes together")
    parser.add_argument("--atlas", default="", help="folder of the atlas whose runs are mixed")
    parser.add_argument("--folder", default="", help="where to work, kept and gone on with (default: temporary)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda: exact, in one GPU's memory")
    options = parser.parse_args()
    if options.points < 2000:
        parser.error("--points must be 2,000 or more: fewer have no landmarks worth the name")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if options.device == "cuda":
            return on_gpu(folder, options)
        base = base_of(folder, Path(options.atlas) if options.atlas else an_atlas())
        forecast(options.points, *base.shape[2:])
        killed = kills(folder, options.points, options.budget)
        status = start(folder, options.points, options.budget).wait()
        if status:
            print(f"NOT as it should be: the run ended with status {status}; call again to go on")
            return 1
        report = collect(folder, options.points, killed)
        print(table(report).round(4).to_string())
        if "hours_151407_anew" in report:
            print(f"the exact answer for 151,407 points would take {report['hours_151407_anew']:.1f} hours here")
        wrong = judge(folder, report, killed, options.budget)
    print("as it should be" if not wrong else "NOT as it should be: " + "; ".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
