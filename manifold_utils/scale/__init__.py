"""Up to the paper's size on this machine: a ladder of clouds, embedded through landmarks and exactly (`make scale`).

A made world (`world`) is written once; each rung takes its first m points. Through landmarks: distances of all points
to m/20 of them, chosen by a sketch. Exactly: the matrix as tiles on disk, or, beyond what is worth storing, products
whose tiles are computed anew; on a GPU, from a matrix that it holds. Every step leaves its artefact and its numbers in
the folder, is left out if they are there, and meters the time and memory of all processes across kills. The verdict
is the caller's.
"""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import zarr

from manifold_utils.distances.columns import write_columns
from manifold_utils.distances.recomputed import recomputed
from manifold_utils.distances.tiles import open_tiles, write_tiles
from manifold_utils.files import atomic_path, hold, remove_leftovers
from manifold_utils.inpca import InPCA, choices
from manifold_utils.inpca.landmarks import LandmarkInPCA
from manifold_utils.scale import world
from manifold_utils.workers import Resources

RUNGS = (1000, 5000, 20_000, 40_000)  # sizes of the ladder below the one that is asked for
STORED = 20_000  # points up to which the matrix of all pairs is stored
ANEW = 40_000  # the rung whose exact eigenpairs come from products with tiles that are computed anew
COMPONENTS, GUESS = 50, 100  # axes of the exact answer, and of the landmarks' that start it
SHARES = (20, 100)  # m / l
TOLERANCE = 1e-6  # residual of an exact pair, as a share of |lambda_1|: eigenvalues are right to its square
LOCK = ".lock"  # held by the driver that works in the folder
WRITTEN = (  # names of what a ladder writes
    r"(base|world|landmarks|stored|choices|anew|judged|device|exact|D|columns|sketch|source)[-0-9]*"
    r"\.(json|meter|npz|npy|zarr)"
)
METER_SECONDS = 1.0


class Meter(threading.Thread):
    """Seconds and largest memory of this process and its children during a step, kept on disk, so that kills count.

    Memory is what belongs to each process alone (USS), summed over the processes.
    """

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.done = Path(path), threading.Event()
        self.before = json.loads(self.path.read_text()) if self.path.exists() else {"seconds": 0.0, "peak_bytes": 0}
        self.began, self.peak = time.perf_counter(), self.before["peak_bytes"]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.done.set()
        self.join()
        self._note()

    def run(self):
        while not self.done.wait(METER_SECONDS):
            self._note()

    @property
    def numbers(self):
        return {"seconds": self.before["seconds"] + time.perf_counter() - self.began, "peak_bytes": self.peak}

    def _note(self):
        self.peak = max(self.peak, memory_of_all())
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(self.numbers))


def memory_of_all(pid=None):
    """Bytes that belong to a process and all its children alone, summed."""
    total, root = 0, psutil.Process(pid)
    for process in [root, *root.children(recursive=True)]:
        try:
            total += process.memory_full_info().uss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


@dataclass
class Head:
    """The first points of an array on disk, with its slices: small enough to travel to workers."""

    path: str
    n_points: int

    def __post_init__(self):
        self._array = zarr.open_array(self.path, mode="r", zarr_format=3)
        self.shape, self.dtype = (self.n_points, *self._array.shape[1:]), self._array.dtype

    def __getitem__(self, key):
        rows, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(rows, slice):
            rows = slice(*rows.indices(self.n_points))
        elif not -self.n_points <= rows < self.n_points:
            raise IndexError(f"point {rows} of {self.n_points}")
        return self._array[rows, *rest]

    def __reduce__(self):
        return Head, (self.path, self.n_points)


class Ladder:
    """The steps, in a folder.

    Parameters
    ----------
    folder : pathlib.Path
    n_points : int, of the highest rung
    resources : workers.Resources
    seed : int, of the choice of landmarks
    """

    def __init__(self, folder, n_points, resources=None, *, seed=0):
        self.folder, self.n_points, self.seed = Path(folder).resolve(), n_points, seed
        self.resources = resources or Resources()
        self.path = self.folder / "world.zarr"

    @property
    def rungs(self):
        return [m for m in RUNGS if m < self.n_points] + [self.n_points]

    def climb(self):
        """All steps, in order; yields (name, numbers) of each as it is done.

        One ladder at a time works in a folder; what killed ones left half written is cleared first.

        Raises
        ------
        RuntimeError
            Another process works in the folder.
        ValueError
            The folder holds a world of another size.
        """
        with hold(self.folder / LOCK, f"{{holder}} works in {self.folder}; wait for it, or give another folder"):
            remove_leftovers(self.folder, WRITTEN)
            name, numbers = self.step("world", self._write_world)
            if numbers["points"] != self.n_points:
                raise ValueError(
                    f"{self.folder} holds a world of {numbers['points']:,} points, not of {self.n_points:,}; "
                    "give another folder"
                )
            yield name, numbers
            for m in self.rungs:
                yield from self._rung(m)

    def _rung(self, m):
        if self.resources.device == "cuda":
            yield self.step(f"device-{m}", self._device, m)
            return
        yield self.step(f"landmarks-{m}", self._landmarks, m)
        if m <= STORED:
            yield self.step(f"stored-{m}", self._stored, m)
            yield self.step(f"choices-{m}", self._choices, m)
        elif m == ANEW or (m == self.n_points and m < ANEW):
            yield self.step(f"anew-{m}", self._anew, m)
        elif self._exact(m).exists():  # brought from where it could be computed
            yield self.step(f"judged-{m}", lambda: self._judged(m, load_fit(self._exact(m))))

    def step(self, name, work, *arguments):
        """Do one step, or read what it left."""
        done = self.folder / f"{name}.json"
        if not done.exists():
            with Meter(self.folder / f"{name}.meter") as meter:
                found = work(*arguments)
            with atomic_path(done) as temporary:
                temporary.write_text(json.dumps(found | meter.numbers, indent=1))
        return name, json.loads(done.read_text())

    def _write_world(self):
        from tqdm import tqdm

        n_runs = -(-self.n_points // world.CHECKPOINTS)
        written = world.write_world(self.folder / "base.zarr", self.path, self.n_points, self.resources)
        for _ in tqdm(written, total=n_runs, desc="runs of the made world", unit="run"):
            pass
        array = zarr.open_array(self.path, mode="r", zarr_format=3)
        return {"points": array.shape[0], "samples": array.shape[1], "classes": array.shape[2],
                "disk_bytes": array.nbytes, **array.attrs.asdict()}  # fmt: skip

    def source(self, m):
        return Head(str(self.path), m)

    def _landmarks(self, m):
        """Distances to m/20 landmarks on disk, both embeddings through them saved."""
        rng, n_landmarks = np.random.default_rng([self.seed, m]), m // min(SHARES)
        few = choices.uniform(m, min(choices.SKETCH_LANDMARKS, n_landmarks // 2), rng)
        to_few = write_columns(self.source(m), self.folder / f"sketch-{m}.zarr", few, resources=self.resources)
        coarse = LandmarkInPCA(min(choices.SKETCH_AXES, len(few) // 2)).fit(to_few, few)
        rows = choices.sketch(coarse.embedding_, n_landmarks, rng, first=few)
        D = write_columns(self.source(m), self.folder / f"columns-{m}.zarr", rows, resources=self.resources)
        out = {"points": m, "disk_bytes": D.nbytes}
        for share in SHARES:
            n = m // share
            k = min(GUESS, n // 2)
            began = time.perf_counter()
            fitted = LandmarkInPCA(k).fit(_Columns(D, n), rows[:n])
            save_fit(self.folder / f"landmarks-{m}-{share}.npz", fitted)
            out[f"fit_seconds_{share}"] = time.perf_counter() - began
            out[f"landmarks_{share}"] = n
        return out

    def _stored(self, m):
        """The exact answer from tiles on disk, and the landmarks' errors."""
        write_tiles(self.source(m), self.folder / f"D-{m}.zarr", resources=self.resources)
        D = open_tiles(self.folder / f"D-{m}.zarr")
        fit = InPCA(COMPONENTS, solver="krylov", tol=TOLERANCE).fit(D, client=self.resources.client)
        save_fit(self._exact(m), fit)
        return self._judged(m, fit) | _of_solver(fit) | {"disk_bytes": 4 * m * m}

    def _anew(self, m):
        """The exact answer from products whose tiles are computed anew, started from the landmarks' coordinates."""
        guess = load_fit(self.folder / f"landmarks-{m}-{min(SHARES)}.npz").embedding_
        with recomputed(self.source(m), self.folder / "anew", resources=self.resources) as D:
            fit = InPCA(COMPONENTS, solver="krylov", tol=TOLERANCE).fit(D, first=guess)
        save_fit(self._exact(m), fit)
        return self._judged(m, fit) | _of_solver(fit) | {"disk_bytes": 0}

    def _exact(self, m):
        return self.folder / f"exact-{m}.npz"

    def _judged(self, m, exact):
        out = {"points": m}
        for share in SHARES:
            found = load_fit(self.folder / f"landmarks-{m}-{share}.npz")
            out |= {f"{name}_{share}": value for name, value in choices.errors(found, exact).items()}
        return out

    def _choices(self, m):
        """Which way of choosing landmarks wins: errors of each, from the stored matrix."""
        D, exact = np.asarray(open_tiles(self.folder / f"D-{m}.zarr")), load_fit(self._exact(m))
        rng, out = np.random.default_rng([self.seed, m, 1]), {"points": m}
        for share in SHARES:
            compared = choices.compare_choices(lambda rows: D[:, rows], exact, clock_places(m), m // share, rng)
            out |= _flat(compared, share)
        return out

    def _device(self, m):
        """The exact answer from a matrix that a GPU holds, and landmarks of m/100 chosen in each way against it."""
        from manifold_utils.scale import device  # torch, where there is a GPU

        D, fit, out = device.exact(device.load(self.source(m)))
        save_fit(self._exact(m), fit)
        share, rng = max(SHARES), np.random.default_rng([self.seed, m, 1])
        return out | _flat(choices.compare_choices(D.columns, fit, clock_places(m), m // share, rng), share)


def clock_places(m):
    """Where each point of the made world stands along its run, coarsely: the strata of `choices`."""
    return np.arange(m) % world.CHECKPOINTS * choices.STRATA // world.CHECKPOINTS


def _of_solver(fit):
    return {"residual": float(fit.residuals_.max()), "passes": fit.n_passes_}


def _flat(compared, share):
    return {f"{way}_{name}_{share}": value for way, found in compared.items() for name, value in found.items()}


@dataclass
class _Columns:
    """The first columns of an array on disk."""

    array: zarr.Array
    n: int

    def __post_init__(self):
        self.shape, self.ndim, self.dtype = (self.array.shape[0], self.n), 2, self.array.dtype
        self.chunks = (self.array.chunks[0], self.n)

    def __getitem__(self, rows):
        return self.array[rows, : self.n]


def save_fit(path, fitted):
    """Coordinates, signed eigenvalues and explained stress of a fitted estimator."""
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, embedding=fitted.embedding_, eigenvalues=fitted.eigenvalues_, stress=fitted.explained_stress_)


def load_fit(path):
    """What `save_fit` saved, under the names of an estimator's attributes."""
    with np.load(path, allow_pickle=False) as found:
        return SimpleNamespace(
            embedding_=found["embedding"], eigenvalues_=found["eigenvalues"], explained_stress_=found["stress"]
        )
