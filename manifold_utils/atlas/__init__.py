"""The store of one profile: runs, points, predictions, distances, embeddings, results.

An atlas is a folder of Parquet, Zarr and JSON only, so that opening a stranger's atlas never runs code. Every file is
written under a temporary name and renamed; prediction chunks carry crc32c checksums, and a damaged file is named. What
comes from outside keeps the rules of `outside`, applied here before anything is read or followed. It computes nothing:
distances come from `distances.tiles`, embeddings from `inpca`.
"""

import os
import shlex
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from manifold_utils import outside
from manifold_utils.atlas.checked import read_arrays, read_table, write_arrays, write_table
from manifold_utils.atlas.columns import as_factor
from manifold_utils.atlas.recorded import record_runs
from manifold_utils.atlas.records import complete, open_predictions, read_facts, read_predictions
from manifold_utils.distances.tiles import open_tiles
from manifold_utils.files import (
    data_root,
    fingerprint,
    hold_folder,
    out_root,
    read_json,
    remove_leftovers,
    write_json,
    writing,
)
from manifold_utils.levels import sorted_levels, varied, with_missing_named
from manifold_utils.profiles import PROFILE_FOLDER, RECORDED, SPLITS, Profile, freeze, known_profiles, unaltered

OWNER = ".manifold-out.json"  # in $MANIFOLD_OUT: whose figures and results it holds
CALL = "python -m manifold_utils run --profile"
GIVEN = {"10", "11"}  # chapters that recorded runs are not run through: they came with what these make
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
        self.path = Path(path).expanduser()
        if not (self.path / "atlas.json").is_file():
            whose = f"import the runs of {self._whole.name!r} again"
            again = whose if self.is_recorded else f"make it with `{CALL} {self._called}`"
            raise FileNotFoundError(
                f"no atlas at {self.path} (it has no atlas.json): {again}, or set data_dir (or $MANIFOLD_DATA) to the "
                "folder that holds atlases/"
            )
        outside.check_links(self.path)
        facts = read_json(self.path / "atlas.json")
        if not (isinstance(facts, dict) and "format" in facts):
            raise ValueError(f"{self.path / 'atlas.json'} is not what an atlas has: this folder is somebody else's")
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
        path = Path(profile_name).expanduser()
        name = Profile.load(str(path)).name if path.suffix == ".yaml" else profile_name
        root = data_root(data_dir) / "atlases"
        _refuse_unknown(name, root)
        atlas = cls(root / name)
        if out_root() is None and not os.access(atlas.path, os.W_OK):
            warnings.warn(
                f"{atlas.path} is read-only: set $MANIFOLD_OUT to a folder for figures and results, which cannot be "
                "kept otherwise",
                stacklevel=2,
            )
        return atlas

    @classmethod
    def from_runs(cls, name, runs, labels, **options):
        """Make an atlas of runs that were made anywhere, or add runs to it. See `recorded.record_runs`."""
        return record_runs(cls, name, runs, labels, **options)

    @property
    def profile(self):
        """The frozen `Profile` (of recorded runs: `RecordedProfile`) that this atlas was last made from."""
        return Profile.load(str(unaltered(self.path / "profile.yaml")))

    @property
    def is_recorded(self):
        """Whether its runs were made elsewhere and imported."""
        return (self._whole / "recorded.json").is_file()

    def space(self, name=""):
        """The atlas of another prediction space (a grid with a data set of its own); '' is the main space."""
        return Atlas(self._inside("spaces", outside.check_name(name, "space"))) if name else self

    @contextmanager
    def lock(self):
        """Hold the atlas for writing; a second driver is refused. The lock of a dead process vanishes with it.

        Raises
        ------
        RuntimeError
            If another process holds the atlas; names that process.
        """
        with hold_folder(self.path):
            self.clear()
            yield self

    def clear(self):
        """Remove what killed writers left, and put back what they had moved aside. Only while no other one writes."""
        for home in (self.path, *self.path.glob("spaces/*/")):
            for folder in (home, *home.glob("*/")):
                remove_leftovers(folder)

    # -- runs and points ---------------------------------------------------------------------------------------------

    def save_run(self, record, grid):
        """Write one `RunRecord` to predictions/<run_id>.zarr, whole or not at all. Safe from any worker process."""
        record.save(self._run_path(record.name), grid)

    def run_status(self, run_id):
        """'finished', 'diverged', or None when the run is not in the store. OSError if a part of it is missing."""
        path = self._run_path(run_id)
        return complete(path)["run"]["status"] if path.exists() else None

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
        before = [self.intact(name) for name in ("points", "runs")]
        if any(table is None for table in before) or self._points_key(points, runs) != self._points_key(*before):
            self.save_points(points)
        write_table(self.path / "runs.parquet", runs)
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
        write_table(self.path / "points.parquet", points)

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
        table = pd.DataFrame({"label": np.asarray(labels, dtype=np.int64)})
        write_table(self.path / f"labels_{split}.parquet", table)

    def samples(self, split):
        """Pictures of the samples that recorded runs came with, ndarray (n_samples, ...); None without any."""
        self._check_split(split)
        path = self.path / f"samples_{split}.zarr"
        return read_arrays(path, "import its runs again").samples.values if path.exists() else None

    def distances_path(self, split, metric="bhattacharyya"):
        self._check_split(split)
        return self._inside("distances", f"{split}_{outside.check_name(metric, 'metric')}.zarr")

    def distances(self, split, metric="bhattacharyya"):
        """Distances between all points, opened lazily (`D[i:j]` reads rows, `np.asarray(D)` all of it).

        Raises
        ------
        FileNotFoundError
            If chapter 20 has not made them. ValueError if they belong to other points.
        """
        path, cure = self.distances_path(split, metric), self.cure("20")
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; {cure}")
        with outside.with_cure(f"delete that folder and {cure}"):
            outside.check_matrix(path, len(self.points))
        return open_tiles(path, fingerprint=self.points_fingerprint())

    def embedding_path(self, split, metric="bhattacharyya"):
        self._check_split(split)
        return self._inside("embeddings", f"{split}_{outside.check_name(metric, 'metric')}.zarr")

    def embedding(self, split, metric="bhattacharyya"):
        """The embedding that chapter 30 made, an xarray Dataset.

        Variables: embedding (point, component), eigenvalues, signature, explained_stress, explained_distance
        (component), reference_embedding (reference, component) with the coordinate `reference` naming ignorance,
        truth and points of the geodesic. `point` holds the row numbers of `points`.
        """
        n_points = len(self.points)
        sizes = {"embedding": (n_points, None), "fitted": (n_points,)}
        return self.dataset(self.embedding_path(split, metric), sizes, "30")

    def dataset(self, path, sizes, chapter):
        """A group of arrays about the points of this atlas, checked: an xarray Dataset.

        Parameters
        ----------
        path : path in this atlas
        sizes : dict of array -> lengths, see `outside.check_arrays`
        chapter : str
            The one that makes it, for errors: if it is missing, damaged, or about other points.
        """
        cure = self.cure(chapter)
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; {cure}")
        with outside.with_cure(cure):
            outside.check_arrays(outside.inside(path, self.path), sizes)
        dataset = read_arrays(path, cure)
        if dataset.attrs.get("points") != self.points_fingerprint():
            raise ValueError(f"{path} belongs to other points than points.parquet; {cure}")
        return dataset

    def save_embedding(self, dataset, split, metric="bhattacharyya"):
        """Store an embedding Dataset, stamped with the points that it belongs to."""
        stamped = dataset.assign_attrs(points=self.points_fingerprint())
        write_arrays(self.embedding_path(split, metric), stamped)

    def cure(self, *chapters):
        """What to do about a damaged or missing file, for the end of an error: the command that makes it.

        What recorded runs came with is imported again; runs that are stored are kept.
        """
        whole, given = self._whole, self.is_recorded and GIVEN & set(chapters)
        root = whole.parent.parent
        place = "" if root.resolve() == data_root() else f" --data-dir {shlex.quote(str(root))}"
        rest = [chapter for chapter in chapters if not (given and chapter in GIVEN)]
        called = f"`{CALL} {self._called}{place} --force {' '.join(rest)}`"
        if not given:
            return f"make it with {called}"
        again = f"delete it and import the runs of {whole.name!r} again, which keeps what is stored"
        return f"{again}; then call {called}" if rest else again

    @property
    def out(self):
        """Folder of what chapters leave to be looked at: $MANIFOLD_OUT if it is set, else the atlas itself."""
        root = out_root()
        return self.path if root is None else root / self.path.relative_to(self._whole)

    def folder(self, name):
        """The folder `name` (figures, results, guests, nulls) of `out`, made if it is not there.

        Raises
        ------
        CannotWrite
            A read-only atlas without $MANIFOLD_OUT, or a full disk.
        ValueError
            $MANIFOLD_OUT holds what came from another atlas: numbers of two atlases would stand side by side.
        """
        root, place = out_root(), self.out / name
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
        if root is not None:
            owner = read_json(root / OWNER)["atlas"] if (root / OWNER).is_file() else None
            if owner is None:
                write_json(root / OWNER, {"atlas": self._whole.name})
            elif owner != self._whole.name:
                raise ValueError(
                    f"$MANIFOLD_OUT is {root}, which holds figures and results of the atlas {owner!r}; set it to "
                    f"another folder for {self._whole.name!r}"
                )
        return place

    @property
    def results_folders(self):
        """Folders of named results, those that win last: of the atlas and, if it is another, of `out`."""
        return list(dict.fromkeys([self.path / "results", self.out / "results"]))

    def figure_path(self, name):
        """Path of a figure, in its folder."""
        return self.folder("figures") / outside.check_name(name, "figure")

    # -- private -----------------------------------------------------------------------------------------------------

    @property
    def _whole(self):
        """Path of the atlas that a prediction space belongs to; of a whole atlas its own."""
        return self.path.parent.parent if self.path.parent.name == "spaces" else self.path

    @property
    def _called(self):
        """What `--profile` is given for it: its name, or the path of a profile that is known by its file alone."""
        frozen = self._whole / "profile.yaml"
        known = self.is_recorded or (PROFILE_FOLDER / f"{self._whole.name}.yaml").is_file() or not frozen.is_file()
        return self._whole.name if known else shlex.quote(str(frozen))

    def _run_path(self, run_id):
        return self._inside("predictions", f"{outside.check_name(run_id, 'run')}.zarr")

    def _inside(self, *parts):
        """A path in this atlas; `outside.Refused` if a link leads out of it."""
        return outside.inside(self.path.joinpath(*parts), self.path)

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
            tabled = self.intact("runs")
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
        cure = self.cure("10", "11") if name.startswith("labels") else self.cure("11", "31")
        if not path.is_file():
            if missing is None:
                return None
            raise FileNotFoundError(f"{path} is missing; {cure}")
        return read_table(outside.inside(path, self.path), cure, names="run")

    def intact(self, name):
        """A table on disk; None where there is none, or it is damaged and has to be made again."""
        try:
            return self._parquet(name, missing=None)
        except OSError:
            return None

    @staticmethod
    def _points_key(points, runs):
        key = [points.run.tolist(), [int(s) for s in points.step]]
        return fingerprint([*key, runs.content.to_dict()] if "content" in runs else key)


def _refuse_unknown(name, root):
    """ValueError if there is neither an atlas of this name nor a profile to make it from; says which there are."""
    there = any((root / name / file).is_file() for file in ("atlas.json", "profile.yaml"))
    if not there and name not in known_profiles():
        there = sorted(path.parent.name for path in root.glob("*/atlas.json"))
        raise ValueError(
            f"no profile and no atlas {name!r}; profiles: {', '.join(known_profiles()) or 'none'}; "
            f"atlases in {root}: {', '.join(there) or 'none'}"
        )


def _make(path, profile):
    path.mkdir(parents=True, exist_ok=True)
    (path / "predictions").mkdir(exist_ok=True)
    if not (path / "atlas.json").is_file():
        write_json(path / "atlas.json", {"format": FORMAT, "profile": profile.name, "splits": list(profile.splits)})
    freeze(profile, path / "profile.yaml")
