"""A recording that goes on after its process ended, and a saved run that a new one would shorten.

Training that resumes from a checkpoint takes back what was saved up to that checkpoint. A run that lies where a new one
is saved is replaced only if nothing in it is lost; else it is kept beside it, and a warning says where. It records
nothing (see `recorder`).
"""

import os
import warnings
from pathlib import Path

from manifold_utils.atlas.records import load_run, place_of_run, read_facts

ASIDE = "before"  # in the name of a run that was kept beside the one in its place


def saved_run(path, *, name, factors, fingerprint):
    """The `RunRecord` at `path`, proved to be an earlier part of the run that goes on; None where there is nothing.

    Raises
    ------
    ValueError
        It has another name, other factors, or was recorded on other samples.
    """
    path = Path(path).expanduser()
    if not path.exists():
        return None
    run = load_run(path)
    found, wanted = (run.name, run.factors), (name, factors)
    if found != wanted:
        raise ValueError(
            f"{path} holds the run {run.name!r} with factors {run.factors}, and this recorder is {name!r} with "
            f"{factors}: give the folder of the run that goes on"
        )
    if run.data != fingerprint:
        raise ValueError(
            f"{path} was recorded on other samples, or in another order (their fingerprints are {run.data} and "
            f"{fingerprint}): give Recorder the samples that it was begun with"
        )
    return run


def keep_what_would_be_lost(path, run):
    """Move a saved run out of the way if `run`, which takes its place, does not hold all of its checkpoints.

    Warns
    -----
    UserWarning
        Where the older one is now, and how to go on with a run.
    """
    path = place_of_run(path)
    if not (path / "zarr.json").is_file():
        return
    what = _lost(path, run)
    if not what:
        return
    number = next(k for k in range(1, 10**6) if not _aside(path, k).exists())
    os.rename(path, _aside(path, number))
    warnings.warn(
        f"{path} held {what}; it is kept as {_aside(path, number)}: save each run in a folder of its own, and after an "
        f"interruption call recorder.resume({str(path)!r}) before the first checkpoint",
        stacklevel=3,
    )


def _lost(path, run):
    """In words, what lies at `path` and is not in `run`; "" if that is nothing."""
    try:
        facts = read_facts(path)
    except OSError:
        return "a damaged run"
    missing = set(facts["points"]["step"]) - set(run.points.step)
    if (facts["run"]["run"], facts["run"]["data"], facts["config"]) != (run.name, run.data, run.factors):
        return f"another run ({facts['run']['run']!r}, {facts['config']})"
    return f"{len(missing)} checkpoints that this one lacks" if missing else ""


def _aside(path, number):
    return path.with_name(f"{path.name}.{ASIDE}-{number}")
