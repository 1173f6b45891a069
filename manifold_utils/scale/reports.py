"""Reports of `make scale`: the ladder of sizes as a table, from this machine or from the published ones.

A report is the JSON that tests/scale.py leaves: `cpu` (landmarks at every rung, the exact answer up to 40,000 points)
and `gpu` (the exact answer in one GPU's memory). It says where and when it was measured, which a chapter must repeat,
since nothing of it was measured by the chapter.
"""

import json
from pathlib import Path

import pandas as pd

from manifold_utils.files import PROJECT, atomic_path, data_root

PUBLISHED = PROJECT / "notebooks" / "reference"  # scale_cpu.json and scale_gpu.json
KINDS = ("cpu", "gpu")


def save(report, kind, data_dir=""):
    """Keep a report where `load` looks first: <data>/scale/<kind>.json."""
    with atomic_path(_own(kind, data_dir)) as temporary:
        Path(temporary).write_text(json.dumps(report, indent=1), encoding="utf-8")


def load(kind, data_dir=""):
    """The report of this data folder, else the published one.

    Parameters
    ----------
    kind : "cpu" or "gpu"
    data_dir : str; empty for the project's data/

    Returns
    -------
    dict, with "published" True or False

    Raises
    ------
    FileNotFoundError
        If there is neither; says which command makes one.
    """
    for path in (_own(kind, data_dir), PUBLISHED / f"scale_{kind}.json"):
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            return found | {"published": path.parent == PUBLISHED}
    device = "" if kind == "cpu" else " --device cuda"
    raise FileNotFoundError(f"no report of `python tests/scale.py{device}` in {_own(kind, data_dir).parent}; run it")


def _own(kind, data_dir):
    return data_root(data_dir) / "scale" / f"{kind}.json"


def ladder(cpu, gpu):
    """One row for each rung and way.

    Returns
    -------
    DataFrame: way, points, seconds, gigabytes (of memory, all processes), coordinates and stress (error of the
        landmarks at m/20: of three coordinates over the size of the cloud; of the stress of three axes), NaN where the
        exact answer is not known or is meant

    Examples
    --------
    >>> step = {"seconds": 2.0, "peak_bytes": 5e8}
    >>> cpu = {"rungs": [1000], "steps": {"landmarks-1000": step, "stored-1000": step | {"coordinates_20": 0.01}}}
    >>> ladder(cpu, {"steps": {}}).way.tolist()
    ['landmarks', 'exact, stored']
    """
    rows = []
    for m in cpu["rungs"]:
        for way, name in (("landmarks", "landmarks"), ("exact, stored", "stored"), ("exact, computed anew", "anew")):
            step = cpu["steps"].get(f"{name}-{m}")
            if step is None:
                continue
            row = {"way": way, "points": m, "seconds": step["seconds"], "gigabytes": step["peak_bytes"] / 1e9}
            if way == "landmarks":
                judged = (cpu["steps"].get(f"{kind}-{m}") for kind in ("stored", "anew", "judged"))
                exact = next(filter(None, judged), {})
                row["coordinates"], row["stress"] = exact.get("coordinates_20"), exact.get("stress_3_20")
            rows.append(row)
    for step in gpu["steps"].values():
        seconds = step["matrix_seconds"] + step["eigen_seconds"]
        found = {"points": step["points"], "seconds": seconds, "gigabytes": step["device_bytes"] / 1e9}
        rows.append({"way": "exact, one GPU"} | found)
    columns = ["way", "points", "seconds", "gigabytes", "coordinates", "stress"]
    return pd.DataFrame(rows, columns=columns).astype({"coordinates": float, "stress": float})
