"""Is everything there that a chapter has made? Planned runs with their facts and chunks, every tile, whole files.

The cheap look, before a chapter is skipped, reads metadata and sizes, so that what was deleted or cut short is made
again. The thorough one reads everything against its checksums (`status --deep`). Nothing is mended or deleted here.
"""

from pathlib import Path

from manifold_utils import outside
from manifold_utils.atlas import Atlas
from manifold_utils.atlas.checked import columns_of, read_arrays, read_table
from manifold_utils.atlas.records import complete, load_run
from manifold_utils.distances.tiles import FORMAT, Tiles, tile_numbers, unfinished, verify_tiles
from manifold_utils.files import read_json
from manifold_utils.profiles import unaltered
from manifold_utils.trajectories.of_atlas import load_trajectories

N_NAMED = 3  # missing things that a reason names
FILES = "manifold_files"  # the attribute of a group of arrays that lists its files, if it has one
REMAKE = "delete it and run again"
PARQUET_MAGIC = b"PAR1"


def lacking(path, column=""):
    """What is missing of an artefact, in a few words; "" if nothing is. Reads metadata and sizes only.

    Parameters
    ----------
    path : path
        A matrix of tiles, an array or group of Zarr, a table, a file.
    column : str
        One that the table must have: a chapter may add to what another one has made.
    """
    path = Path(path)
    try:
        if not (path / "zarr.json").is_file():
            return _lacking_file(path, column)
        found = read_json(path / "zarr.json")
        if found.get("node_type") == "group":
            outside.check_arrays(path)
            absent = [name for name in found["attributes"].get(FILES, ()) if not (path / name).is_file()]
            return f"{path / absent[0]} is missing" if absent else ""
        if found.get("attributes", {}).get("format") != FORMAT:
            outside.check_array(path, types=tuple(outside.DATA_TYPES))
            return ""
        outside.check_matrix(path, found["shape"][0])
        tiles = Tiles(path)
        n_missing, n_tiles = len(unfinished(tiles, path)), len(list(tile_numbers(len(tiles), tiles.tile)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{path} is incomplete ({error})"
    return f"{n_missing} of {n_tiles} tiles of {path} are missing" if n_missing else ""


def _lacking_file(path, column):
    """What is missing of an artefact that is a file, or should be an array and is none."""
    if path.suffix == ".zarr":
        return f"{path / 'zarr.json'} is missing"
    if not path.is_file():
        return f"{path} is no file"
    if not _ends_well(path):
        return f"{path} is cut short"
    return f"{path} has no column {column}" if column and column not in columns_of(path) else ""


def _ends_well(path):
    """Whether a file has content and, if it is a table or JSON, ends as such a file does."""
    size = path.stat().st_size
    with open(path, "rb") as handle:
        handle.seek(max(0, size - 4))
        end = handle.read()
    if path.suffix == ".parquet":
        return end == PARQUET_MAGIC
    return end.rstrip().endswith(b"}") if path.suffix == ".json" else size > 0


def lacking_runs(profile, folder):
    """What is missing of the runs that a profile plans (or, if it plans none, that the table has): "" if nothing is."""
    reasons = []
    for space, (_, grids) in profile.spaces().items():
        home = Path(folder) / "spaces" / space if space else Path(folder)
        if not (home / "atlas.json").is_file():
            return f"{home} is missing"
        atlas = Atlas(home)
        planned = [config.run_id for grid in grids for _, config in profile.configs(grid)]
        reasons += [reason for run in planned or atlas.runs.index if (reason := _lacking_run(atlas, run))]
    more = f" and {len(reasons) - N_NAMED} more" if len(reasons) > N_NAMED else ""
    return "; ".join(reasons[:N_NAMED]) + more


def _lacking_run(atlas, run):
    path = atlas.path / "predictions" / f"{run}.zarr"
    if not path.exists():
        return f"run {run} is missing"
    try:
        complete(path)
    except OSError as error:
        return str(error)
    return ""


def damaged(profile, folder):
    """Read everything that was made against its checksums: a list of messages, one for each damaged thing.

    Parameters
    ----------
    profile : Profile
    folder : path of the atlas
    """
    found, folder = [], Path(folder)
    homes = [folder / "spaces" / space if space else folder for space in profile.spaces()]
    for home in (*homes, *(path.parent for path in sorted(folder.glob("guests/atlases/*/atlas.json")))):
        found += _damaged_files(home)
        if (home / "points.parquet").is_file():
            try:
                atlas = Atlas(home)
                found += [*atlas.verify().values(), *_damaged_arrays(atlas)]
            except (OSError, ValueError) as error:  # a table that the others are read by
                found += [str(error)] if str(error) not in found else []
    return found


def _damaged_files(home):
    """Messages about tables, JSON, the frozen profile, pictures of samples and recorded guests."""
    readers = {
        ("*.parquet", "nulls/*.parquet"): lambda path: read_table(path, REMAKE),
        ("*.json", "results/*.json", "notebooks/*.json"): read_json,
        ("profile.yaml",): unaltered,
        ("samples_*.zarr",): lambda path: read_arrays(path, REMAKE),
        ("guests/*/zarr.json",): lambda path: load_run(path.parent),
    }
    messages = []
    for globs, read in readers.items():
        for path in sorted(path for glob in globs for path in home.glob(glob)):
            try:
                read(path)
            except (OSError, ValueError) as error:
                messages.append(str(error))
    return messages


def _damaged_arrays(atlas):
    """Messages about matrices, embeddings and trajectories."""
    for path in sorted(atlas.path.glob("distances/[!.]*.zarr")):
        try:
            outside.check_matrix(path, len(atlas.points))
        except OSError as error:
            yield str(error)
            continue
        yield from (f"{file} is damaged ({why}); {REMAKE}" for file, why in verify_tiles(path).items())
    loaders = {"embeddings": atlas.embedding, "trajectories": lambda split: load_trajectories(atlas, split)}
    for folder, load in loaders.items():
        for path in sorted(atlas.path.glob(f"{folder}/[!.]*.zarr")):
            try:
                load(*path.stem.split("_", 1))
            except Exception as error:  # whatever reading raises, it is this file that cannot be read
                yield f"{path} does not read ({error}); {REMAKE}"
