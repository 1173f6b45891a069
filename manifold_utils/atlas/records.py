"""The record of one run, and how it lies on disk: what training, a user's own loop and the atlas share.

A run is one Zarr group: an array of predictions a split, checksummed, and JSON attributes with its factors and its
points. A missing or damaged part is named; reading never runs code. Writing is whole or not at all.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec

from manifold_utils import outside
from manifold_utils.files import atomic_path, fingerprint, read_json, refuse_foreign
from manifold_utils.profiles import SPLITS

RUN_FACTS = ("run", "status", "data", "seconds")  # that every run has, whoever trained it
CURE = "delete the run and train it again, or record it again"


def score_columns(splits):
    """Columns of losses and errors of some splits, in the order of tables.

    Examples
    --------
    >>> score_columns(["test"])
    ('loss_test', 'error_test')
    """
    return tuple(f"{name}_{split}" for split in splits for name in ("loss", "error"))


POINT_COLUMNS = ("step", "epoch", "phase", *score_columns(SPLITS))


@dataclass(frozen=True)
class RunRecord:
    """One run's checkpoints, whoever trained it.

    Attributes
    ----------
    name : str
        The run id of a grid's run, or the name that a user gave hers.
    points : DataFrame with `POINT_COLUMNS`, one row a checkpoint
        step (int), epoch (float), phase ("main" or "pretrain"), losses (nats), errors (fractions in [0, 1]). A run
        of one split has no columns of the other.
    log_probs : dict of "train", "test" or both -> ndarray (n_checkpoints, n_samples, n_classes) float32
        Natural-log predictions in eval mode on un-augmented samples.
    data : str
        Fingerprint of the data set that the predictions are about.
    factors : dict
        What made the run, JSON-able: for a grid's run the fields of its RunConfig.
    status : {"finished", "diverged"}
    seconds : float
        Wall time of the run.
    info : dict
        JSON-able facts: n_parameters, device, versions, diverged_step.
    content : str
        Of a run made elsewhere: hash of what it was made from, by which a changed one is known.
    """

    name: str
    points: pd.DataFrame
    log_probs: dict
    data: str = ""
    factors: dict = field(default_factory=dict)
    status: str = "finished"
    seconds: float = 0.0
    info: dict = field(default_factory=dict)
    content: str = ""

    def __post_init__(self):
        if self.status not in ("finished", "diverged"):
            raise ValueError(f"status must be 'finished' or 'diverged', found {self.status!r}")
        if not self.splits or set(self.log_probs) - set(SPLITS):
            found = list(self.log_probs)
            raise ValueError(f"run {self.name}: log_probs must have 'train', 'test' or both, not {found}")
        missing = [c for c in (*POINT_COLUMNS[:3], *score_columns(self.splits)) if c not in self.points]
        if missing:
            raise ValueError(f"run {self.name}: points lack the columns {missing}")
        for split in self.splits:
            shape = np.shape(self.log_probs[split])
            if len(shape) != 3 or shape[0] != len(self.points):
                raise ValueError(
                    f"run {self.name}: log_probs[{split!r}] has shape {shape}, but there are {len(self.points)} "
                    f"checkpoints; expected ({len(self.points)}, n_samples, n_classes)"
                )

    @property
    def splits(self):
        """The splits that it has predictions on, in the order of `SPLITS`."""
        return tuple(split for split in SPLITS if split in self.log_probs)

    def save(self, path, grid=""):
        """Write the folder `path`, whole or not at all, and return it.

        An older run there is replaced. Anything else is not: FileExistsError names it, and nothing is written.
        """
        path = place_of_run(path)
        with atomic_path(path) as temporary:
            _write(temporary, self.log_probs, self._facts(grid))
        return Path(path)

    def _facts(self, grid):
        """JSON-able facts of a run: what an atlas' tables are made from."""
        run = {"run": self.name, "grid": grid, "status": self.status}
        dataset = self.factors.get("dataset", "")
        run |= {name: value for name, value in self.factors.items() if name != "dataset"}
        run |= {"dataset": dataset["name"] if isinstance(dataset, dict) else dataset, "data": self.data}
        run |= {"n_points": len(self.points), "seconds": round(self.seconds, 3), **self.info}
        if len(self.points):
            run |= {f"final_{k}": float(self.points.iloc[-1][k]) for k in score_columns(self.splits)}
        points = self.points.to_dict(orient="list")
        shapes = {split: list(np.shape(values)) for split, values in self.log_probs.items()}
        facts = {"run": run, "config": self.factors, "info": self.info, "points": points, "content": self.content}
        return facts | {"shapes": shapes}


def place_of_run(path):
    """The path that a run may be written to; FileExistsError, naming them, if it holds files that are no run's.

    What records for hours and saves at the end asks for it at its start.
    """
    path = Path(path).expanduser()
    try:
        ours = _files_of_run(path)
    except ValueError as error:  # what it was cannot be told: nothing is deleted
        said = f"{path / 'zarr.json'} is damaged, so what that folder holds cannot be told"
        raise FileExistsError(f"{said}; delete the folder, or give another name") from error
    refuse_foreign(path, ours)
    return path


def _files_of_run(path):
    """Relative names of the files in the folder `path` that belong to a run: none unless it is one."""
    path = Path(path)
    facts = read_json(path / "zarr.json") if (path / "zarr.json").is_file() else {}
    if "record" not in facts.get("attributes", {}):
        return set()
    chunks = (p for split in SPLITS for p in (path / split / "c").rglob("*"))
    arrays = (path / split / "zarr.json" for split in SPLITS)
    return {"zarr.json", *(str(p.relative_to(path)) for p in (*arrays, *chunks))}


def load_run(path):
    """Read a run that `RunRecord.save` wrote. Opening a stranger's run never executes code.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    RunRecord

    Raises
    ------
    FileNotFoundError
        If there is no such run.
    OSError
        If a part is missing or damaged; it is named.
    """
    path = Path(path).expanduser()
    if not (path / "zarr.json").is_file():
        raise FileNotFoundError(f"no recorded run at {path}: make one with Recorder(data) and its save(path)")
    outside.check_tree(path)
    facts = read_facts(path)
    run, log_probs = facts["run"], {split: read_predictions(path, split) for split in splits_of(facts)}
    rest = {"factors": facts["config"], "status": run["status"], "seconds": run["seconds"], "info": facts["info"]}
    rest["content"] = facts.get("content", "")
    return RunRecord(run["run"], pd.DataFrame(facts["points"]), log_probs, run["data"], **rest)


def read_facts(path):
    """The facts of a stored run: dict with run (its row of the table), config, info and points (columns as lists).

    OSError, naming the run and the cure, if they cannot be read or do not agree with their checksum.
    """
    try:
        attributes = outside.check_group(path)
        facts = attributes["record"]
        if attributes["checksum"] != fingerprint(facts):
            raise ValueError("its facts do not agree with their checksum")
        if not _are_of_a_run(facts):
            raise ValueError("its facts are not those of a run")
    except Exception as error:  # zarr raises several kinds for damaged metadata: name the run for all of them
        raise OSError(f"{path} is damaged ({error}); {CURE}") from error
    return facts


def _are_of_a_run(facts):
    parts = all(isinstance(facts[part], dict) for part in ("run", "config", "info", "points"))
    return (
        parts and set(RUN_FACTS) <= set(facts["run"]) and len({len(values) for values in facts["points"].values()}) < 2
    )


def complete(path):
    """The facts of a stored run whose arrays are there in full size; OSError if not. Reads metadata and sizes only."""
    facts = read_facts(path)
    for split in splits_of(facts):
        open_predictions(Path(path), split)
    return facts


def splits_of(facts):
    """The splits that a run's facts are about, in the order of `SPLITS`."""
    return [split for split in SPLITS if f"loss_{split}" in facts["points"]]


def open_predictions(path, split):
    """The zarr array of a split, nothing read yet. OSError, naming it and the cure, if it is missing or damaged."""
    facts = read_facts(path)
    try:
        outside.check_tree(path / split)
        outside.check_array(path / split, shape=(len(facts["points"]["step"]), None, None))
        found = zarr.open_array(path / split, mode="r", zarr_format=3)
        expected = facts.get("shapes", {}).get(split)  # runs of before have none
        if expected is not None and list(found.shape) != expected:
            raise ValueError(f"its shape is {found.shape}, not {tuple(expected)}")
    except outside.Refused as error:
        raise outside.Refused(f"{error}; {CURE}") from error
    except Exception as error:  # zarr raises several kinds: name the array for all of them
        raise OSError(f"{path / split} is missing or damaged ({error}); {CURE}") from error
    return found


def read_predictions(path, split):
    """All predictions of a split, ndarray (n_checkpoints, n_samples, n_classes) float32; OSError if damaged."""
    try:
        values = open_predictions(path, split)[...]
        if np.isnan(values).any():  # what zarr reads for a chunk that is gone
            raise ValueError("a chunk is missing")
    except OSError:
        raise
    except Exception as error:  # zarr's codecs raise several kinds: name the file for all of them
        raise OSError(f"{path / split} is damaged ({error}); {CURE}") from error
    return values


def _write(path, log_probs, facts):
    """A group that does not exist yet: one chunk a split, and the facts with their checksum."""
    group = zarr.create_group(path, zarr_format=3)
    for split in (split for split in SPLITS if split in log_probs):
        values = np.ascontiguousarray(log_probs[split], dtype=np.float32)
        array = group.create_array(
            split,
            shape=values.shape,
            dtype="float32",
            chunks=tuple(max(1, n) for n in values.shape),
            serializer=BytesCodec(),
            compressors=[ZstdCodec(level=1), Crc32cCodec()],
            fill_value=np.nan,
        )
        array[...] = values
    group.attrs.update({"record": facts, "checksum": fingerprint(facts)})
