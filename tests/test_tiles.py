"""The matrix on disk against the one in memory, for every kind of source; what is resumed, refused, found damaged."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

from manifold_utils.distances import METRICS, pairwise, tiles
from manifold_utils.distances.sources import as_source
from manifold_utils.distances.tiles import (
    PAIR_BYTES,
    PROCESS_BYTES,
    SAMPLE_COPIES,
    _choose_tile,
    _write_tile,
    compute_block,
    open_tiles,
    tile_file,
    unfinished,
    verify_tiles,
    write_tiles,
)
from manifold_utils.workers import Resources

MEGABYTE = 2**20


def points(m=37, n_samples=23, n_classes=5, seed=0, dtype=np.float32):
    logits = 3 * np.random.default_rng(seed).standard_normal((m, n_samples, n_classes))
    return (logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))).astype(dtype)


class Runs:
    """A source of one's own: only shape, dtype and slices."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.largest = values, values.shape, values.dtype, 0

    def __getitem__(self, key):
        part = self.values[key]
        self.largest = max(self.largest, part.nbytes)
        return part


def sources(values, folder):
    np.save(folder / "a.npy", values)
    on_disk = zarr.create_array(folder / "p.zarr", shape=values.shape, chunks=(7, 5, 5), dtype=values.dtype)
    on_disk[:] = values
    return {
        "numpy": values,
        "torch": torch.from_numpy(values),
        "memmap": np.load(folder / "a.npy", mmap_mode="r"),
        "memmap view": np.load(folder / "a.npy", mmap_mode="r")[2:],
        "zarr": on_disk,
        "dask": da.from_array(values, chunks=(10, 23, 5)),
        "own": Runs(values),
    }


@pytest.mark.parametrize("metric", METRICS)
def test_equals_the_matrix_in_memory(tmp_path, metric):
    values = points()
    D = write_tiles(values, tmp_path / "d.zarr", metric=metric, tile=8, dtype="float64", show_progress=False)
    np.testing.assert_allclose(np.asarray(D), pairwise(values, metric=metric), atol=1e-13)


def test_every_kind_of_source(tmp_path):
    values = points()
    for name, source in sources(values, tmp_path).items():
        D = write_tiles(source, tmp_path / f"{name}.zarr", tile=10, show_progress=False)
        expected = pairwise(values[2:] if name == "memmap view" else values)
        assert D.dtype == np.float32, name
        np.testing.assert_allclose(np.asarray(D), expected, atol=1e-7, err_msg=name)


def test_reads_rows_columns_and_single_entries(tmp_path):
    values = points()
    D = write_tiles(values, tmp_path / "d.zarr", tile=8, dtype="float64", show_progress=False)
    full = np.asarray(D)
    assert np.array_equal(full, full.T) and np.all(np.diag(full) == 0)
    for key in (slice(3, 21), slice(None), slice(30, 99), slice(5, 5), slice(0, 30, 7), 4, -1, [3, 1, 20], full[0] > 1):
        assert np.array_equal(D[key], full[key])
        assert np.array_equal(D[key, 2:9], full[key, 2:9] if not isinstance(key, list) else full[key][:, 2:9])
    assert len(D) == 37 and D.shape == (37, 37) and D.chunks == (8, 8)


def test_infinite_and_clamped_entries_are_stored(tmp_path):
    with np.errstate(divide="ignore"):
        one_hot = np.log(np.eye(3)[[[0, 1], [0, 2], [0, 1]]])
    D = write_tiles(one_hot, tmp_path / "d.zarr", tile=2, show_progress=False)
    capped = write_tiles(one_hot, tmp_path / "c.zarr", tile=2, cap=100.0, show_progress=False)
    assert np.asarray(D)[0].tolist() == [0, np.inf, 0] and np.asarray(capped)[0].tolist() == [0, 50, 0]


def test_a_second_call_computes_only_what_is_missing(tmp_path, monkeypatch):
    values, path, done = points(), tmp_path / "d.zarr", []
    write = _write_tile
    monkeypatch.setattr(tiles, "_write_tile", lambda *parts: done.append(parts[3]) or write(*parts))
    write_tiles(values, path, tile=8, show_progress=False)
    assert len(done) == 15
    write_tiles(values, path, tile=8, show_progress=False)
    assert len(done) == 15
    tile_file(path, 1, 3).unlink()
    cut = tile_file(path, 2, 2)
    cut.write_bytes(cut.read_bytes()[:-20])
    with pytest.raises(ValueError, match="2 tiles are missing"):
        open_tiles(path)
    write_tiles(values, path, tile=8, show_progress=False)
    assert done[15:] == [(1, 3), (2, 2)]
    np.testing.assert_allclose(np.asarray(open_tiles(path)), pairwise(values), atol=1e-7)


def test_nothing_is_removed_from_an_array_of_somebody_else(tmp_path):
    zarr.create_array(tmp_path / "mine.zarr", data=np.ones((4, 4)), chunks=(2, 2))
    files = sorted(tmp_path.rglob("*"))
    assert len(verify_tiles(tmp_path / "mine.zarr")) == 3  # chunks of another size
    with pytest.raises(ValueError, match="is no matrix of tiles, so nothing is removed"):
        verify_tiles(tmp_path / "mine.zarr", remove=True)
    assert sorted(tmp_path.rglob("*")) == files


def test_damage_is_named_and_mended(tmp_path):
    values, path = points(), tmp_path / "d.zarr"
    write_tiles(values, path, tile=8, show_progress=False)
    assert verify_tiles(path) == {}
    file = tile_file(path, 0, 2)
    content = bytearray(file.read_bytes())
    content[17] ^= 1
    file.write_bytes(content)
    assert list(verify_tiles(path)) == [str(file)]
    with pytest.raises(OSError, match="damaged tile"):
        open_tiles(path)[0:4]
    verify_tiles(path, remove=True)
    write_tiles(values, path, tile=8, show_progress=False)
    assert verify_tiles(path) == {}
    np.testing.assert_allclose(np.asarray(open_tiles(path)), pairwise(values), atol=1e-7)


def test_what_it_was_made_from_decides(tmp_path):
    values, path = points(), tmp_path / "d.zarr"
    write_tiles(values, path, tile=8, fingerprint="a", show_progress=False)
    with pytest.raises(ValueError, match="other points"):
        open_tiles(path, fingerprint="b")
    for change in ({"fingerprint": "b"}, {"metric": "hellinger"}, {"cap": 1.0}, {"tile": 9}):
        with pytest.raises(ValueError, match="made from something else"):
            write_tiles(values, path, rebuild=False, show_progress=False, **{"tile": 8, "fingerprint": "a"} | change)
    other = points(seed=1)
    write_tiles(other, path, tile=8, fingerprint="b", show_progress=False)
    np.testing.assert_allclose(np.asarray(open_tiles(path, fingerprint="b")), pairwise(other), atol=1e-7)
    assert [p.name for p in tmp_path.iterdir()] == ["d.zarr"]
    # without a name, a look at the source decides
    write_tiles(values, path, tile=8, show_progress=False)
    with pytest.raises(ValueError, match="fingerprint"):
        write_tiles(other, path, tile=8, rebuild=False, show_progress=False)


def test_what_is_not_a_matrix_is_never_deleted(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("five years")
    with pytest.raises(FileExistsError, match="no matrix of tiles"):
        write_tiles(points(), tmp_path / "thesis", show_progress=False)
    assert (tmp_path / "thesis" / "chapter.txt").exists()


def test_bad_input_is_named(tmp_path):
    values = points()
    values[19, 11, 2] = np.nan
    with pytest.raises(ValueError, match="point 19, sample 11 holds NaN"):
        write_tiles(values, tmp_path / "d.zarr", tile=8, show_progress=False)
    with pytest.raises(ValueError, match="shape"):
        write_tiles(values[0], tmp_path / "d.zarr", show_progress=False)
    with pytest.raises(ValueError, match="unknown metric"):
        write_tiles(values, tmp_path / "d.zarr", metric="cosine", show_progress=False)


def test_a_budget_bounds_what_is_read_at_once(tmp_path):
    source = Runs(points(m=64, n_samples=400, n_classes=10))
    budget = PROCESS_BYTES + PAIR_BYTES * 32 * 32 + MEGABYTE
    D = write_tiles(
        source,
        tmp_path / "d.zarr",
        tile=32,
        resources=Resources(memory_budget=budget),
        dtype="float64",
        show_progress=False,
    )
    assert source.largest <= MEGABYTE / (2 * SAMPLE_COPIES)
    np.testing.assert_allclose(np.asarray(D), pairwise(source.values), atol=1e-13)
    with pytest.raises(ValueError, match="one sample of two tiles"):
        write_tiles(
            source,
            tmp_path / "e.zarr",
            tile=32,
            resources=Resources(memory_budget=budget - MEGABYTE),
            show_progress=False,
        )
    with pytest.raises(ValueError, match="does not hold 1 processes"):
        write_tiles(source, tmp_path / "e.zarr", resources=Resources(memory_budget=MEGABYTE), show_progress=False)


def test_tile_sizes_follow_budget_and_workers():
    sizes = [_choose_tile(m, share, n) for m, share, n in ((200, 2**30, 1), (200, 2**30, 4), (151_407, 2**30, 2))]
    assert sizes == [200, 48, 2048]
    assert _choose_tile(151_407, 50 * MEGABYTE, 2) ** 2 * PAIR_BYTES <= 25 * MEGABYTE


def test_a_killed_run_goes_on(tmp_path):
    """SIGKILL in the middle, as often as it takes; what was finished is not computed again, and all of it is right."""
    values, path = points(m=300, n_samples=400, n_classes=10), tmp_path / "d.zarr"
    np.save(tmp_path / "p.npy", values)
    script = textwrap.dedent(f"""
        import numpy as np
        from manifold_utils.distances.tiles import write_tiles
        source = np.load({str(tmp_path / "p.npy")!r}, mmap_mode="r")
        write_tiles(source, {str(path)!r}, tile=12, show_progress=False)
    """)
    child = subprocess.Popen([sys.executable, "-c", script], cwd=os.getcwd())
    while not tile_file(path, 3, 20).exists() and child.poll() is None:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    left = unfinished(zarr.open_array(path, mode="r"), path)
    assert 0 < len(left) < 325
    kept = tile_file(path, 3, 20).stat().st_mtime_ns
    (path / "c" / "3" / "21.0123456789abcdef.partial").write_bytes(b"half of a tile")  # how zarr leaves one
    write_tiles(np.load(tmp_path / "p.npy", mmap_mode="r"), path, tile=12, show_progress=False)
    assert tile_file(path, 3, 20).stat().st_mtime_ns == kept and not list(path.rglob("*.partial"))
    assert verify_tiles(path) == {}
    np.testing.assert_allclose(np.asarray(open_tiles(path)), pairwise(values), atol=2e-7)


def test_a_part_of_a_part_is_read_from_where_it_begins(tmp_path):
    values = points()
    for name, source in sources(values, tmp_path).items():
        if name == "memmap view":
            continue
        with as_source(source, tmp_path / "x", spool=False) as reader:
            part = reader.points(slice(3, 20)).points(slice(2, 5))
            np.testing.assert_array_equal(part.read(slice(4, 9)), values[5:8, 4:9], err_msg=name)


def test_a_bad_sample_of_a_later_chunk_is_named():
    values = points()
    values[4, 17, 0] = np.nan
    settings = {"metric": "hellinger", "cap": None, "precision": "double", "samples": 5, "threads": 1, "device": "cpu"}
    with as_source(values, None, spool=False) as reader, pytest.raises(ValueError, match="point 14, sample 17"):
        compute_block(reader, None, settings, offsets=(10, 10))


def test_sources_that_differ_at_their_end_have_other_fingerprints(tmp_path):
    values = points()
    last = values.copy()
    last[-1, 0] = last[-1, 0, ::-1]
    found = []
    for one in (values, last):
        with as_source(one, tmp_path / "x", spool=False) as reader:
            found.append(reader.fingerprint())
    assert found[0] != found[1]
