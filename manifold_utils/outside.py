"""THE list of rules for what comes from outside: a stranger's atlas or run, a profile, a table. Nothing here runs code.

Each rule is applied at the door, before anything is allocated or followed, and costs a few looks at metadata:

1. A name (run, grid, space, metric) is one plain file name: for reading and for writing (`check_name`).
2. What is read lies inside the atlas: no link leads out of it, and all is files and folders (`inside`, `check_tree`).
3. Arrays are Zarr format 3, of the types and codecs that are written here, with no array hidden in a group's metadata.
4. An array has the shape that the table of points gives it, few chunks, all of them there, each of the size that its
   shape says when unpacked (`check_array`, `check_arrays`, `check_matrix`).
5. A table is flat, of numbers and short texts, and of a bounded size (`check_table`).
6. Text is bounded in size and depth before it is parsed (`check_json`; YAML: `strict_yaml`).

A breach raises `Refused`, which names the file, the rule and what was found. The rules bound what a hostile
file can cost; whether it is damaged is for checksums to say.
"""

import json
import math
import os
import stat
from contextlib import contextmanager
from pathlib import Path

import numpy as np

LONGEST_NAME = 200  # bytes; a file system allows 255, and temporary names and endings are added
JSON_BYTES, JSON_DEPTH = 64 * 2**20, 200
METADATA_BYTES = 2**20  # of an array
DATA_TYPES = {  # bytes of an element
    "float16": 2, "float32": 4, "float64": 8, "uint8": 1, "uint16": 2, "int16": 2, "int32": 4, "int64": 8, "bool": 1,
    "string": None,
}  # fmt: skip
CODECS = {"bytes", "vlen-utf8", "zstd", "crc32c"}
GROUP_KEYS = {"zarr_format", "node_type", "attributes"}
ARRAY_KEYS = GROUP_KEYS | {
    "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs", "dimension_names",
    "storage_transformers",
}  # fmt: skip
MAX_CHUNKS = 100_000
SMALL_CHUNK, MAX_SMALL_CHUNKS = 256, 1000  # elements, and how many chunks with fewer an array may have
MAX_DIMENSIONS, MAX_ARRAYS = 4, 64
FREE_BYTES, MAX_RATIO = 2**28, 1000  # unpacked arrays beyond this size may be so many times as large as their files
CRC_BYTES = 4
STRING_BYTES = 1024  # of a text in an array: names of runs
TABLE_BYTES, TABLE_CELLS, TEXT_BYTES = 2**30, 50_000_000, 2**28
TABLE_KINDS = {"BOOLEAN", "INT32", "INT64", "FLOAT", "DOUBLE"}
ZSTD_MAGIC, ZSTD_HEADER = b"\x28\xb5\x2f\xfd", 18  # of a frame: the longest header


class Refused(OSError, ValueError):
    """Something from outside breaks a rule, and nothing of it was used: a file that does not read, a wrong value."""


@contextmanager
def with_cure(cure):
    """Inside, what is said of a broken rule or a missing file ends with `cure`: what to do about it."""
    try:
        yield
    except Refused as error:
        raise Refused(f"{error}; {cure}") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; {cure}") from error


def check_name(name, what="name"):
    """The name itself, if it is one plain file name; else `Refused`.

    Examples
    --------
    >>> check_name("fc-sgd-200-s42", "run")
    'fc-sgd-200-s42'
    >>> check_name("../../.ssh/id", "run")
    Traceback (most recent call last):
    ...
    manifold_utils.outside.Refused: the run '../../.ssh/id' is no name: a name is not empty, has no / or \\ and no \
control characters, does not begin with a dot, and has at most 200 bytes
    """
    plain = isinstance(name, str) and name.isprintable() and not set(name) & set("/\\") and name.strip() == name
    if not plain or not name or name.startswith(".") or len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        raise Refused(
            f"the {what} {str(name)[:80]!r} is no name: a name is not empty, has no / or \\ and no control "
            f"characters, does not begin with a dot, and has at most {LONGEST_NAME} bytes"
        )
    return name


def inside(path, root):
    """The path itself, if following it does not lead out of `root`; else `Refused`."""
    found, home = os.path.realpath(path), os.path.realpath(root)
    if os.path.commonpath([found, home]) != home:
        raise Refused(f"{path} is a link that leads out of {root}, to {found}: it is not followed; copy it in instead")
    return path


def check_links(path):
    """`Refused` if a link in a folder, or in one of the folders in it, leads out of it: the cheap look at an atlas."""
    for folder in (str(path), *(entry.path for entry in os.scandir(path) if entry.is_dir())):
        for entry in os.scandir(inside(folder, path)):
            if entry.is_symlink():
                inside(entry.path, path)


def check_tree(path, limit=2 * MAX_CHUNKS):
    """`Refused` unless everything below `path` is a plain file or folder, no link, and there is a bounded number."""
    waiting, n_found = [str(path)], 0
    while waiting:
        for entry in os.scandir(waiting.pop()):
            n_found += 1
            kind = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind):
                waiting.append(entry.path)
            elif not stat.S_ISREG(kind):
                raise Refused(f"{entry.path} is a link or a device: only plain files are read; copy its content in")
            if n_found > limit:
                raise Refused(f"{path} holds more than {limit} files: it was not written here")


def check_json(path, largest=JSON_BYTES):
    """`Refused` unless `path` is a file of a sane size, and its brackets are not nested deeper than `JSON_DEPTH`."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_size > largest:
        raise Refused(f"{path} is no file, or has {found.st_size} bytes: at most {largest} are read")
    raw = np.frombuffer(Path(path).read_bytes(), dtype=np.uint8)
    opened, closed = (raw == ord("[")) | (raw == ord("{")), (raw == ord("]")) | (raw == ord("}"))
    depth = np.cumsum(opened.astype(np.int32) - closed)
    if len(depth) and depth.max() > JSON_DEPTH:
        raise Refused(f"{path} is nested {depth.max()} deep: at most {JSON_DEPTH} are read")
    return path


def _metadata(path, kind, keys, largest):
    """Metadata of a Zarr node of format 3; `Refused` for another format or kind, or for what is not ours."""
    path = Path(path)
    old = [name for name in (".zarray", ".zgroup", ".zattrs", ".zmetadata") if (path / name).exists()]
    if old:
        raise Refused(f"{path} has {old[0]}, of Zarr format 2: only format 3 is opened, whose codecs cannot run code")
    if not (path / "zarr.json").is_file():
        raise FileNotFoundError(f"{path} has no zarr.json")
    try:
        found = json.loads(check_json(path / "zarr.json", largest).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path / 'zarr.json'} is damaged: it is not JSON ({error})") from error
    if not isinstance(found, dict) or found.get("zarr_format") != 3 or found.get("node_type") != kind:
        raise Refused(f"{path} is no {kind} of Zarr format 3")
    strange = sorted(key for key in set(found) - keys if found[key] is not None)
    if strange:
        raise Refused(f"{path / 'zarr.json'} has {', '.join(map(repr, strange))}, which nothing here writes")
    return found


def check_group(path):
    """The attributes of a Zarr group, which is of format 3 and hides no arrays in its metadata; else `Refused`."""
    return _metadata(path, "group", GROUP_KEYS, JSON_BYTES).get("attributes", {})


def check_array(path, shape=None, types=("float32",)):
    """The shape of a Zarr array, if it keeps the rules of this module; nothing of it is read.

    Parameters
    ----------
    path : path of the array
    shape : tuple, optional
        What the table of points asks for; None for a length that it does not tell.
    types : allowed data types

    Raises
    ------
    Refused
        Names the array and what is wrong with it.
    FileNotFoundError
        There is no array, or a chunk is missing.
    """
    found = _metadata(path, "array", ARRAY_KEYS, METADATA_BYTES)
    try:
        lengths, chunks = _layout(found)
    except (KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{path}: its metadata are no array's ({error})") from error
    expected = tuple(lengths if shape is None else shape)
    if len(expected) != len(lengths) or any(e not in (None, n) for e, n in zip(expected, lengths, strict=True)):
        wanted = ", ".join("any" if e is None else str(e) for e in expected)
        raise Refused(f"{path} has the shape {tuple(lengths)}, but what it belongs to asks for ({wanted})")
    kind, names = found["data_type"], [codec.get("name") for codec in found["codecs"]]
    if kind not in types or not set(names) <= CODECS or found.get("storage_transformers"):
        allowed = f"types {', '.join(types)} and codecs {', '.join(sorted(CODECS))}"
        raise Refused(f"{path} holds {kind!r} through the codecs {names}: only {allowed} are opened")
    _check_chunks(Path(path), lengths, chunks, DATA_TYPES[kind], names)
    return tuple(lengths)


def _layout(found):
    """Lengths of an array and of its chunks, as lists of int; KeyError or TypeError if they are not."""
    lengths, chunks = found["shape"], found["chunk_grid"]["configuration"]["chunk_shape"]
    whole = [n for n in (*lengths, *chunks) if type(n) is not int]
    separator = found["chunk_key_encoding"].get("configuration", {}).get("separator", "/")
    if whole or found["chunk_grid"]["name"] != "regular" or found["chunk_key_encoding"]["name"] != "default":
        raise TypeError("no regular grid of chunks")
    if len(lengths) != len(chunks) or len(lengths) > MAX_DIMENSIONS or separator != "/":
        raise TypeError(f"{len(lengths)} dimensions, chunks of {len(chunks)}")
    if min([1, *lengths]) < 0 or min([1, *chunks]) < 1 or not all(isinstance(c, dict) for c in found["codecs"]):
        raise TypeError("a length below zero")
    return lengths, chunks


def _check_chunks(path, lengths, chunks, n_bytes, codecs):
    """Few chunks, none small without need, all there, and none larger than its shape says, packed or unpacked."""
    grid = [-(-n // c) for n, c in zip(lengths, chunks, strict=True)]
    n_chunks, size = math.prod(grid), math.prod(chunks)
    if n_chunks > (MAX_SMALL_CHUNKS if size < SMALL_CHUNK else MAX_CHUNKS):
        raise Refused(f"{path} is cut into {n_chunks} chunks of {size} elements: it was not written here")
    largest = size * n_bytes if n_bytes else size * STRING_BYTES
    n_stored = sum(_chunk_bytes(path, number, largest, codecs) for number in np.ndindex(*grid))
    if n_chunks * largest > max(FREE_BYTES, MAX_RATIO * n_stored) and n_bytes:
        raise Refused(f"{path} would be {n_chunks * largest / 1e9:.0f} GB, and has {n_stored} bytes on disk")


def _chunk_bytes(path, number, largest, codecs):
    """Bytes of a chunk on disk; `Refused` for a chunk that is no plain file or would unpack beyond its shape."""
    file = path.joinpath("c", *map(str, number))
    try:
        found = os.lstat(file)
    except OSError as error:
        raise FileNotFoundError(f"{file} is missing") from error
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{file} is a link or a device: only plain files are read; copy its content in")
    if "zstd" in codecs:
        with open(file, "rb") as handle:
            unpacked = zstd_size(handle, CRC_BYTES if codecs[-1] == "crc32c" else 0)
        if unpacked is None or unpacked > largest + CRC_BYTES:
            said = "no size" if unpacked is None else f"{unpacked} bytes"
            raise Refused(f"{file} is damaged or foreign: it says {said} unpacked, its shape asks for {largest}")
    elif found.st_size > largest + 2 * CRC_BYTES:
        raise Refused(f"{file} is damaged or foreign: it has {found.st_size} bytes, its shape asks for {largest}")
    return found.st_size


def zstd_size(handle, n_after=0):
    """Bytes to which a Zstandard file unpacks, from its headers alone (RFC 8878); nothing is unpacked.

    Parameters
    ----------
    handle : binary file, at its start
    n_after : int
        Bytes that follow the frame, of a checksum.

    Returns
    -------
    int, or None if it is not one frame that says its size: several frames may unpack to anything

    Examples
    --------
    >>> from io import BytesIO
    >>> from numcodecs.zstd import Zstd
    >>> packed = bytes(Zstd().encode(b"0" * 5000))
    >>> zstd_size(BytesIO(packed)), zstd_size(BytesIO(packed + packed))
    (5000, None)
    """
    head = handle.read(ZSTD_HEADER)
    if len(head) < ZSTD_HEADER // 3 or head[:4] != ZSTD_MAGIC:
        return None
    descriptor = head[4]
    single, code = descriptor >> 5 & 1, descriptor >> 6
    start = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]  # after the window and the dictionary's number
    width = (single, 2, 4, 8)[code]
    size = int.from_bytes(head[start : start + width], "little") + (256 if code == 1 else 0)
    end = _end_of_blocks(handle, start + width)
    whole = end is not None and end + (4 if descriptor & 4 else 0) + n_after == handle.seek(0, os.SEEK_END)
    return size if width and whole else None


def _end_of_blocks(handle, position):
    """Where the blocks of a frame end that begin at `position`; None if a header is cut off or of no known kind."""
    last = 0
    while not last:
        handle.seek(position)
        header = handle.read(3)
        number = int.from_bytes(header, "little")
        last, kind, size = number & 1, number >> 1 & 3, number >> 3
        if len(header) < 3 or kind == 3:
            return None
        position += 3 + (1 if kind == 1 else size)  # a block of the first kind is one byte, repeated
    return position


def check_arrays(path, sizes=None):
    """Check a group of arrays (an embedding, trajectories) before it is loaded.

    Parameters
    ----------
    path : path of the group
    sizes : dict, optional
        Name of an array -> lengths that it must have, None for any: `{"embedding": (n_points, None)}`.
    """
    check_tree(path)
    check_group(path)
    names = sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    if len(names) > MAX_ARRAYS:
        raise Refused(f"{path} holds {len(names)} arrays: it was not written here")
    for name in names:
        check_array(Path(path) / name, (sizes or {}).get(name), types=tuple(DATA_TYPES))


def check_matrix(path, n_points):
    """Check a matrix of tiles before it is opened: as many rows and columns as there are points; uncompressed.

    Tiles may be missing (`open_tiles` says how many); their sizes are compared there.
    """
    found = _metadata(path, "array", ARRAY_KEYS, METADATA_BYTES)
    try:
        lengths, chunks = _layout(found)
        names = [codec["name"] for codec in found["codecs"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise Refused(f"{path}: its metadata are no array's ({error})") from error
    if lengths != [n_points] * 2:
        found = f"it has the shape {tuple(lengths)}, but there are {n_points} points"
        raise Refused(f"{path} belongs to other points than the table ({found})")
    if found["data_type"] not in ("float32", "float64") or names != ["bytes", "crc32c"] or chunks[0] != chunks[1]:
        raise Refused(f"{path} is no matrix of tiles: {found['data_type']}, codecs {names}, chunks {chunks}")
    n_chunks = math.prod(-(-n // c) for n, c in zip(lengths, chunks, strict=True))
    if n_chunks > (MAX_SMALL_CHUNKS if math.prod(chunks) < SMALL_CHUNK else MAX_CHUNKS):
        raise Refused(f"{path} is cut into {n_chunks} tiles of {chunks[0]} x {chunks[1]}: it was not written here")
    check_tree(path)


def check_table(path, names=None):
    """Check a Parquet table before it is read: flat columns of numbers and short texts, of a bounded size.

    Parameters
    ----------
    path : path
    names : str, optional
        A column whose texts are used as names of files; each must be one.
    """
    import pyarrow.parquet as parquet

    if os.path.getsize(path) > TABLE_BYTES:
        raise Refused(f"{path} has {os.path.getsize(path)} bytes: at most {TABLE_BYTES} are read")
    limits = {"thrift_string_size_limit": JSON_BYTES, "thrift_container_size_limit": 10**6}
    found = parquet.ParquetFile(path, **limits)
    columns = [found.schema.column(k) for k in range(len(found.schema))]
    strange = [c.path for c in columns if c.max_repetition_level or "." in c.path or not _flat(c)]
    if strange:
        raise Refused(f"{path}: the columns {strange[:3]} are neither numbers nor texts, or are nested")
    if found.metadata.num_rows * max(1, len(columns)) > TABLE_CELLS:
        raise Refused(f"{path} says that it has {found.metadata.num_rows} rows of {len(columns)} columns")
    texts = [c.name for c in columns if c.physical_type == "BYTE_ARRAY"]
    held = parquet.read_table(path, columns=texts, read_dictionary=texts, **limits) if texts else None
    for name in texts:
        _check_texts(path, name, held.column(name), names)


def _flat(column):
    kind = column.physical_type
    return kind in TABLE_KINDS or (kind == "BYTE_ARRAY" and str(column.logical_type) in ("String", "Null"))


def _check_texts(path, name, column, names):
    known = {v for chunk in column.chunks for v in chunk.dictionary.to_pylist() if v is not None}
    longest = max((len(text.encode()) for text in known), default=0)
    if longest * len(column) > max(TEXT_BYTES, STRING_BYTES * len(column)):
        raise Refused(f"{path}: the texts of column {name} would take {longest * len(column)} bytes")
    if name == names:
        for text in known:
            check_name(text, f"run in {path}")
