"""Tables (Parquet) and labelled arrays (xarray in Zarr) on disk with checksums: what is read is what was written.

A table carries a hash of its content in its own metadata. A folder of arrays lists a hash of every file in it, its
metadata included, so that a chunk that is gone is noticed instead of being read as a fill value. Files that were
written before there were checksums are read as they are. It does not know what the tables are about.
"""

import hashlib
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from manifold_utils import outside
from manifold_utils.files import atomic_path, fingerprint

TABLE_KEY = b"manifold_checksum"  # in the metadata of a Parquet file
FILES, CHECKSUM = "manifold_files", "manifold_checksum"  # attributes of a Zarr group
ROOT = "zarr.json"  # the group's own metadata, in which the attributes lie
HASH_DIGITS = 32


def write_table(path, table, **options):
    """Write a DataFrame as Parquet, atomically, with a checksum of its content.

    Parameters
    ----------
    path : path
    table : DataFrame
    options
        Of pyarrow's `Table.from_pandas`, such as preserve_index.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_table(Path(folder) / "t.parquet", pd.DataFrame({"run": ["a", "b"]}))
    ...     read_table(Path(folder) / "t.parquet", "make it again").run.tolist()
    ['a', 'b']
    """
    found = pa.Table.from_pandas(table, **options)
    stamp = {TABLE_KEY: _content(found.to_pandas()).encode()}
    stamped = found.replace_schema_metadata({**(found.schema.metadata or {}), **stamp})
    with atomic_path(path) as temporary:
        pq.write_table(stamped, temporary, write_page_checksum=True)


def read_table(path, cure, names=None):
    """Read what `write_table` (or pandas) wrote; `names` is a column whose texts become names of files.

    Raises
    ------
    OSError
        The file is damaged; the message names it and ends with `cure`.
    outside.Refused
        It breaks a rule for what comes from outside.
    """
    try:
        outside.check_table(path, names=names)
        found = pq.read_table(path, page_checksum_verification=True, partitioning=None)
        table = found.to_pandas()
        expected = (found.schema.metadata or {}).get(TABLE_KEY)
        if expected is not None and expected.decode() != _content(table):
            raise ValueError("its content does not agree with its checksum")
    except outside.Refused:
        raise
    except Exception as error:  # pyarrow raises several kinds: name the file for all of them
        raise OSError(f"{path} is damaged ({_first_line(error)}); {cure}") from error
    return table


def columns_of(path):
    """Names of the columns of a Parquet table, from its metadata alone."""
    return pq.read_schema(path).names


def _content(table):
    """Hash of a table's names, types and values; equal for equal tables, however they are laid out on disk."""
    names = [[str(name), str(kind)] for name, kind in table.dtypes.items()]
    rows = pd.util.hash_pandas_object(table, index=True).to_numpy()
    return fingerprint([names, str(table.index.dtype), hashlib.sha256(rows.tobytes()).hexdigest()], HASH_DIGITS)


def write_arrays(path, dataset):
    """Write an xarray Dataset as a Zarr group, whole or not at all, with a checksum of every file."""
    with atomic_path(path) as temporary:
        with zarr.config.set({"array.write_empty_chunks": True}):  # a chunk that is not there is damage, not zeros
            dataset.to_zarr(temporary, mode="w", consolidated=False, zarr_format=3)
        root = json.loads((temporary / ROOT).read_text(encoding="utf-8"))
        attributes = root["attributes"] | {FILES: _hashes(temporary)}
        root["attributes"] = attributes | {CHECKSUM: fingerprint(attributes, HASH_DIGITS)}
        (temporary / ROOT).write_text(json.dumps(root, indent=1), encoding="utf-8")


def read_arrays(path, cure):
    """Read what `write_arrays` (or xarray) wrote: a Dataset, in memory.

    Raises
    ------
    OSError
        A file is missing, damaged, or strange to the folder; the message names it and ends with `cure`.
    """
    import xarray as xr  # a second, which readers of predictions alone need not wait for

    wrong = _wrong_file(Path(path))
    if wrong:
        raise OSError(f"{wrong}; {cure}")
    try:
        dataset = xr.load_dataset(path, engine="zarr", consolidated=False)
    except Exception as error:  # zarr raises several kinds: name the folder for all of them
        raise OSError(f"{path} is damaged ({_first_line(error)}); {cure}") from error
    dataset.attrs = {key: value for key, value in dataset.attrs.items() if key not in (FILES, CHECKSUM)}
    return dataset


def _wrong_file(path):
    """The first file of a folder that is not as its checksums say, in words; "" if there is none, or no checksums."""
    try:
        attributes = json.loads((path / ROOT).read_text(encoding="utf-8"))["attributes"]
        expected, checksum = attributes.get(FILES), attributes.pop(CHECKSUM, None)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        return f"{path / ROOT} is damaged ({_first_line(error)})"
    if expected is None and checksum is None:
        return ""
    if checksum != fingerprint(attributes, HASH_DIGITS):
        return f"{path / ROOT} is damaged (it does not agree with its checksum)"
    found = _hashes(path)
    for name in sorted({*expected, *found}):
        if found.get(name) != expected.get(name):
            what = "is missing" if name not in found else "does not belong there" if name not in expected else ""
            return f"{path / name} {what or 'is damaged (it does not agree with its checksum)'}"
    return ""


def _hashes(path):
    """Relative name -> hash of every file below a folder but its own metadata."""
    files = (p for p in sorted(path.rglob("*")) if p.is_file() and p != path / ROOT)
    return {p.relative_to(path).as_posix(): _of_file(p) for p in files}


def _of_file(path):
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:HASH_DIGITS]


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
