"""The store of one profile: runs, points, predictions, distances, embeddings, results.

An atlas is a folder of Parquet, Zarr and JSON only, so that opening a stranger's atlas never runs code. Every file is
written under a temporary name and renamed; prediction chunks carry crc32c checksums, and a damaged file is named. It
computes nothing: distances come from `distances.tiles`, embeddings from `inpca`.
"""

import fcntl
import os
import socket
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
import zarr

from manifold_utils.atlas.columns import as_factor
from manifold_utils.atlas.recorded import record_runs
from manifold_utils.atlas.records import open_predictions, read_facts, read_predictions
from manifold_utils.distances.tiles import open_tiles
from manifold_utils.files import atomic_path, data_root, fingerprint, read_json, remove_leftovers, write_json
from manifold_utils.levels import sorted_levels, varied, with_missing_named
from manifold_utils.profiles import RECORDED, SPLITS, Profile

FORMAT = 2  # 2: the facts of a run carry a checksum, and its row of the table has every factor


class Atlas:
    """One atlas folder.

    Parameters
    ----------
    path : path of an existing atlas (see `Atlas.create` and `Atlas.open`)

    Attributes
    ----------
    runs : DataFrame, one row a run
        Index `run`; columns grid, status, all factors (`Atlas.design`), n_parameters, n_points, seconds, final
        losses and errors, diverged_step.
    points : DataFrame, one row a point (one network at one checkpoint), in the order of every array of the atlas
        run, step, epoch, phase, loss_train, error_train, loss_test, error_test and, after chapter 31, progress_train,
        progress_test. Points of diverged runs are left out, and so are the columns of a split that it does not have.
    splits : tuple of the splits that it has predictions on: ("train", "test"), ("train",) or ("test",)

    Raises
    ------
    FileNotFoundError
        If there is no atlas at `path`; the message says how to make one.
    """

    def __init__(self, path):
        self.path = Path(path)
        if not (self.path / "atlas.json").is_file():
            raise FileNotFoundError(
                f"no atlas at {self.path}. Make it with `python -m manifold_utils run --profile {self.path.name}`, "
                "or set data_dir (or $MANIFOLD_DATA) to the folder that holds atlases/"
            )
        facts = read_json(self.path / "atlas.json")
        self.splits, found = tuple(s for s in SPLITS if s in facts.get("splits", SPLITS)), facts["format"]
        if found != FORMAT:
            raise ValueError(
                f"{self.path} has atlas format {found}, this code reads format {FORMAT}: work in another data_dir, or "
                "remove that folder and run the book again"
            )

    def __repr__(self):
        return f"Atlas({str(self.path)!r})"

    # -- making and opening ------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, profile, folder):
        """Make (or open) the atlas of `profile` in `folder`/<profile.name>, and freeze the profile beside it."""
        path = Path(folder) / profile.name
        _make(path, profile)
        for name in profile.spaces():
            if name:
                _make(path / "spaces" / name, profile)
        return cls(path)

    @classmethod
    def open(cls, profile_name, data_dir=""):
        """Open the atlas of a profile below the data folder: `data_dir`, $MANIFOLD_DATA or the project's data/.

        `profile_name` is a name, or the path of a profile's .yaml file.
        """
        name = Profile.load(profile_name).name if Path(profile_name).suffix == ".yaml" else profile_name
        return cls(data_root(data_dir) / "atlases" / name)

    @classmethod
    def from_runs(cls, name, runs, labels, **options):
        """Make an atlas of runs that were made anywhere, or add runs to it. See `recorded.record_runs`."""
        return record_runs(cls, name, runs, labels, **options)

    @property
    def profile(self):
        """The frozen `Profile` (of recorded runs: `RecordedProfile`) that this atlas was last made from."""
        return Profile.load(str(self.path / "profile.yaml"))

    def space(self, name=""):
        """The atlas of another prediction space (a grid with a data set of its own); '' is the main space."""
        return Atlas(self.path / "spaces" / name) if name else self

    @contextmanager
    def lock(self):
        """Hold the atlas for writing; a second driver is refused. The lock of a dead process vanishes with it.

        Raises
        ------
        RuntimeError
            If another process holds the atlas; names that process.
        """
        with open(self.path / "lock", "a+", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                handle.seek(0)
                raise RuntimeError(
                    f"{self.path} is being written by {handle.read().strip() or 'another process'}; "
                    "wait for it to end, or work in another data_dir"
                ) from error
            handle.truncate(0)
            handle.write(f"process {os.getpid()} on {socket.gethostname()}")
            handle.flush()
            remove_leftovers(self.path / "predictions")
            yield self

    # -- runs and points ---------------------------------------------------------------------------------------------

    def save_run(self, record, grid):
        """Write one `RunRecord` to predictions/<run_id>.zarr, whole or not at all. Safe from any worker process."""
        record.save(self._run_path(record.name), grid)

    def run_status(self, run_id):
        """'finished', 'diverged', or None when the run is not in the store."""
        path = self._run_path(run_id)
        return read_facts(path)["run"]["status"] if path.exists() else None

    def collect(self, profile, order=()):
        """Rebuild runs.parquet and points.parquet from the stored runs, in the order of `profile`.

        Runs in the store that the profile does not span are left where they are and left out of the tables. Recorded
        runs all belong: those of the table first, then new ones as `order` (names of runs) has them. The tables are
        rewritten only if they change, so that finished analyses stay valid.

        Returns
        -------
        runs, points : DataFrames
        """
        wanted = self._wanted(profile, order)
        attributes = [read_facts(self._run_path(run)) for _, run in wanted]
        rows = [{**a["run"], "grid": g} for (g, _), a in zip(wanted, attributes, strict=True)]
        runs = pd.DataFrame(rows).set_index("run") if rows else pd.DataFrame(columns=["grid", "status"])
        if profile.kind == RECORDED:
            runs = runs.apply(as_factor).assign(content=[a["content"] for a in attributes])
        kept = [
            pd.DataFrame(a["points"]).assign(run=a["run"]["run"])
            for a in attributes
            if a["run"]["status"] == "finished"
        ]
        points = pd.concat(kept, ignore_index=True) if kept else pd.DataFrame({"run": [], "step": []})
        points = points[["run", *[c for c in points if c != "run"]]]
        before = [self._parquet(name, missing=None) for name in ("points", "runs")]
        if any(table is None for table in before) or self._points_key(points, runs) != self._points_key(*before):
            self.save_points(points)
        with atomic_path(self.path / "runs.parquet") as temporary:
            runs.to_parquet(temporary)
        return runs, self.points

    @property
    def runs(self):
        return with_missing_named(self._parquet("runs"), self._named())

    @property
    def points(self):
        return self._parquet("points")

    @property
    def design(self):
        """The `Design` of its runs: factors, family and seed."""
        return self.profile.design

    @property
    def factors(self):
        """Names of the columns of `runs` that were varied, without the seed: a tuple of str."""
        return tuple(varied(self.runs, self.design.factors))

    @property
    def levels(self):
        """All levels of every factor, sorted (see `levels.sorted_levels`): dict of factor -> list.

        Figures take a level's colour from its place here, so that it keeps it where other levels are missing.
        """
        runs = self.runs
        return {f: sorted_levels(runs[f]) for f in self._named() if f in runs}

    @property
    def family(self):
        """Name of the factor that colours figures."""
        return self.design.family

    @property
    def n_classes(self):
        """Number of classes of the predictions."""
        return int(open_predictions(self._run_path(self.points.run.iloc[0]), self.splits[0]).shape[2])

    @property
    def seed(self):
        """Name of the column that only repeats a configuration, or None."""
        return self.design.seed

    def save_points(self, points):
        """Replace points.parquet, for instance with more columns. The rows must stay as they are."""
        with atomic_path(self.path / "points.parquet") as temporary:
            points.to_parquet(temporary)

    def table(self, grid=None):
        """Points joined with their run's grid and factors; the index is the row number in every array of the atlas.

        With `grid`, only the points of that grid (a name or a list of names).
        """
        runs = self.runs
        joined = self.points.join(runs[["grid", *(c for c in self.design.columns if c in runs)]], on="run")
        wanted = [grid] if isinstance(grid, str) else grid
        if wanted is not None and not set(wanted) <= set(joined.grid):
            raise ValueError(f"no points of grid {wanted} in {self.path}; it has {sorted(set(joined.grid))}")
        return joined if wanted is None else joined[joined.grid.isin(wanted)]

    def points_fingerprint(self):
        """Hash of the run and step of every point, in order: what distances and embeddings are stamped with.

        The name of a trained run is a hash of all that made it; of a recorded run, its content counts as well.
        """
        return self._points_key(self.points, self.runs)

    # -- arrays ------------------------------------------------------------------------------------------------------

    def log_probs(self, split, runs=None):
        """Predictions of all points, lazily.

        Parameters
        ----------
        split : {"train", "test"}
        runs : list of run ids, optional; all finished runs by default

        Returns
        -------
        dask array (n_points, n_samples, n_classes) float32, one chunk a run; natural logs
        """
        import dask
        import dask.array as da

        self._check_split(split)
        names = list(dict.fromkeys(self.points.run)) if runs is None else list(runs)
        read = dask.delayed(self.run_log_probs, pure=True)
        shapes = [open_predictions(self._run_path(name), split).shape for name in names]
        return da.concatenate(
            [da.from_delayed(read(n, split), s, dtype=np.float32) for n, s in zip(names, shapes, strict=True)]
        )

    def run_log_probs(self, run_id, split):
        """Predictions of one run, in memory: ndarray (n_checkpoints, n_samples, n_classes) float32."""
        self._check_split(split)
        return read_predictions(self._run_path(run_id), split)

    def verify(self):
        """Read every stored run and return {run_id: error} of the damaged ones (checksums, shapes)."""
        damaged = {}
        for run_id in dict.fromkeys(self.points.run):
            for split in self.splits:
                try:
                    self.run_log_probs(run_id, split)
                except OSError as error:
                    damaged[run_id] = str(error)
        return damaged

    def labels(self, split):
        """True classes of the samples, ndarray (n_samples,) int64."""
        self._check_split(split)
        return np.asarray(self._parquet(f"labels_{split}").label, dtype=np.int64)

    def save_labels(self, split, labels):
        """Keep the true classes, so that figures need no data set."""
        self._check_split(split)
        with atomic_path(self.path / f"labels_{split}.parquet") as temporary:
            pd.DataFrame({"label": np.asarray(labels, dtype=np.int64)}).to_parquet(temporary)

    def samples(self, split):
        """Pictures of the samples that recorded runs came with, ndarray (n_samples, ...); None without any."""
        self._check_split(split)
        path = self.path / f"samples_{split}.zarr"
        return zarr.open_array(path, mode="r", zarr_format=3)[...] if path.exists() else None

    def distances_path(self, split, metric="bhattacharyya"):
        self._check_split(split)
        return self.path / "distances" / f"{split}_{metric}.zarr"

    def distances(self, split, metric="bhattacharyya"):
        """Distances between all points, opened lazily (`D[i:j]` reads rows, `np.asarray(D)` all of it).

        Raises
        ------
        FileNotFoundError
            If chapter 20 has not made them. ValueError if they belong to other points.
        """
        path = self.distances_path(split, metric)
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; run chapter 20 for this profile")
        return open_tiles(path, fingerprint=self.points_fingerprint())

    def embedding_path(self, split, metric="bhattacharyya"):
        self._check_split(split)
        return self.path / "embeddings" / f"{split}_{metric}.zarr"

    def embedding(self, split, metric="bhattacharyya"):
        """The embedding that chapter 30 made, an xarray Dataset.

        Variables: embedding (point, component), eigenvalues, signature, explained_stress, explained_distance
        (component), reference_embedding (reference, component) with the coordinate `reference` naming ignorance,
        truth and points of the geodesic. `point` holds the row numbers of `points`.
        """
        import xarray as xr

        path = self.embedding_path(split, metric)
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; run chapter 30 for this profile")
        dataset = xr.load_dataset(path, engine="zarr", consolidated=False)
        if dataset.attrs["points"] != self.points_fingerprint():
            raise ValueError(f"{path} belongs to other points than points.parquet; run chapter 30 again")
        return dataset

    def save_embedding(self, dataset, split, metric="bhattacharyya"):
        """Store an embedding Dataset, stamped with the points that it belongs to."""
        stamped = dataset.assign_attrs(points=self.points_fingerprint())
        with atomic_path(self.embedding_path(split, metric)) as temporary:
            stamped.to_zarr(temporary, mode="w", consolidated=False, zarr_format=3)

    def figure_path(self, name):
        folder = self.path / "figures"
        folder.mkdir(exist_ok=True)
        return folder / name

    # -- private -----------------------------------------------------------------------------------------------------

    def _run_path(self, run_id):
        return self.path / "predictions" / f"{run_id}.zarr"

    def _named(self):
        """The columns of `runs` that are levels of factors."""
        return tuple(dict.fromkeys([*self.design.factors, self.design.family]))

    def _check_split(self, split):
        if split not in self.splits:
            known = " or ".join(map(repr, self.splits))
            raise ValueError(f"split must be {known}, what {self.path} has predictions on; found {split!r}")

    def _wanted(self, profile, order):
        """(grid, run id) of the stored runs that belong to the tables, in their order."""
        if profile.kind == RECORDED:
            tabled = self._parquet("runs", missing=None)
            stored = sorted(path.name.removesuffix(".zarr") for path in self.path.glob("predictions/[!.]*.zarr"))
            known = [] if tabled is None else tabled.index
            listed = [("main", run) for run in dict.fromkeys([*known, *order, *stored])]
        else:
            listed = [(grid, config.run_id) for grid, config in profile.configs() if self._owns(profile, grid)]
        return [(grid, run) for grid, run in listed if self.run_status(run)]

    def _owns(self, profile, grid):
        name = self.path.name if self.path.parent.name == "spaces" else ""
        return grid in profile.spaces()[name][1]

    def _parquet(self, name, missing="raise"):
        path = self.path / f"{name}.parquet"
        if not path.is_file():
            if missing is None:
                return None
            raise FileNotFoundError(f"{path} is missing; run chapters 10 and 11 for this profile first")
        try:
            return pd.read_parquet(path)
        except Exception as error:  # pyarrow raises several kinds: name the file for all of them
            raise OSError(f"{path} is damaged ({error}); run chapter 11 again to rebuild it") from error

    @staticmethod
    def _points_key(points, runs):
        key = [points.run.tolist(), [int(s) for s in points.step]]
        return fingerprint([*key, runs.content.to_dict()] if "content" in runs else key)


def _make(path, profile):
    path.mkdir(parents=True, exist_ok=True)
    (path / "predictions").mkdir(exist_ok=True)
    if not (path / "atlas.json").is_file():
        write_json(path / "atlas.json", {"format": FORMAT, "profile": profile.name, "splits": list(profile.splits)})
    with atomic_path(path / "profile.yaml") as temporary:
        temporary.write_text(
            yaml.safe_dump(profile.model_dump(mode="json", exclude_none=True), sort_keys=False), encoding="utf-8"
        )
