"""The grid driver: plans, resumes, survives real kills, records divergence, refuses what would corrupt an atlas."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from distributed import Client, LocalCluster
from distributed.comm import CommClosedError

from manifold_utils import files
from manifold_utils.atlas import Atlas
from manifold_utils.datasets import load_dataset
from manifold_utils.files import PROJECT, CannotWrite, size_in_words
from manifold_utils.networks import make_network, n_parameters
from manifold_utils.profiles import Profile
from manifold_utils.training import grid as grid_module
from manifold_utils.training import train_run
from manifold_utils.training.grid import GridFailure, check_batches, check_disk, train_grid
from manifold_utils.training.planning import n_bytes, n_points, plan
from manifold_utils.workers import ClusterLost
from manifold_utils.workers import client as local_client

DIGITS = {"name": "digits", "n_train": 100, "n_test": 50}
FAMILIES = ("fc", "allcnn", "wr-10-4-8", "wr-16-4-64", "convmixer", "vit")
SLOPPY = {"name": "sloppy", "n_train": 100, "n_test": 50}


def profile(epochs=3, seeds=(42, 43), **blocks):
    main = {"common": {"architecture": "fc", "scale": 0.0625, "batch_size": 25, "seed": list(seeds)}, **blocks}
    own = {"dataset": SLOPPY, "common": {"architecture": "student-1", "scale": 0.0625, "batch_size": 25}}
    given = {"name": "tiny", "description": "for tests", "dataset": DIGITS, "grids": {"main": main, "sloppy_05": own}}
    return Profile.model_validate({**given, "defaults": {"epochs": epochs}})


@pytest.fixture(scope="module")
def threads():
    """A client whose worker is a thread of this process: quick, and what a test patches is patched there too."""
    before = torch.get_num_threads()
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            yield client
    torch.set_num_threads(before)


# --- plans ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["smoke", "digits", "fashion", "cifar10", "paper", "imagenet"])
def test_every_profile_dry_runs(name):
    outline = plan(Profile.load(name), measure=False)
    runs = outline.table.runs
    assert runs["total"] == runs.drop("total").sum() == len(Profile.load(name).configs())
    least = {"smoke": 8, "digits": 150, "fashion": 80, "cifar10": 60, "paper": 2880, "imagenet": 792}[name]
    assert runs["main"] >= least and "not measured" in repr(outline)
    if name not in ("paper", "imagenet"):
        assert {c.architecture for _, c in Profile.load(name).configs("main")} == set(FAMILIES)


def test_the_plan_counts_what_training_makes(tmp_path, threads):
    tiny = profile()
    outline = plan(tiny, n_workers=1)
    atlas = Atlas.create(tiny, tmp_path)
    train_grid(tiny, atlas, client=threads, show_progress=False)
    assert outline.table.points["total"] == len(atlas.points) + len(atlas.space("sloppy_05").points)
    expected = sum(n_parameters(make_network("fc", (1, 8, 8), 10, 1 / 16)) for _ in range(2))
    assert outline.table.parameters["main"] == expected and outline.table.minutes["total"] > 0
    config = tiny.configs("main")[0][1]
    assert n_bytes(config) == sum(atlas.run_log_probs(config.run_id, split).nbytes for split in ("train", "test"))


def test_the_plan_counts_both_phases():
    pretrained = Profile.load("smoke").configs("initialisations")[0][1]
    record = train_run(pretrained, load_dataset(pretrained.dataset))
    assert n_points(pretrained) == len(record.points)


# --- training and resuming --------------------------------------------------------------------------------------------


def test_what_is_stored_is_what_a_run_gives_and_is_not_trained_again(tmp_path, threads):
    tiny = profile()
    atlas = Atlas.create(tiny, tmp_path)
    first = train_grid(tiny, atlas, client=threads, show_progress=False, grids=["main"])
    assert (len(first.trained), first.n_skipped) == (2, 0)
    torch.set_num_threads(1)
    config = tiny.configs("main")[0][1]
    alone = train_run(config, load_dataset(config.dataset))
    assert alone.log_probs["test"].tobytes() == atlas.run_log_probs(config.run_id, "test").tobytes()
    again = train_grid(tiny, atlas, client=threads, show_progress=False)
    assert (len(again.trained), again.n_skipped) == (1, 2)  # the sloppy run
    assert atlas.points.run.nunique() == 2 and atlas.space("sloppy_05").points.run.nunique() == 1
    np.testing.assert_array_equal(atlas.labels("test"), load_dataset(config.dataset).y_test)
    more = profile(seeds=(42, 43, 44))
    assert train_grid(more, Atlas.create(more, tmp_path), client=threads, show_progress=False).trained == [
        more.configs("main")[2][1].run_id
    ]


def test_a_diverged_run_is_recorded_and_left_out_of_the_points(tmp_path, threads):
    tiny = profile(blocks=[{}, {"learning_rate": 1e30, "optimizer": "nesterov"}], seeds=(42,))
    atlas = Atlas.create(tiny, tmp_path)
    report = train_grid(tiny, atlas, client=threads, show_progress=False, grids=["main"])
    (run, step), *rest = report.diverged.items()
    assert not rest and atlas.runs.status[run] == "diverged" and atlas.runs.diverged_step[run] == step >= 0
    assert (
        run not in set(atlas.points.run)
        and train_grid(tiny, atlas, client=threads, show_progress=False, grids=["main"]).n_skipped == 2
    )


def test_a_run_whose_code_fails_is_reported_after_the_others_are_done(tmp_path, threads):
    tiny = profile(
        blocks=[{"augmentation": "none"}, {"initialisation": "subset_99", "pretrain_epochs": 1}], seeds=(42,)
    )
    broken = tiny.model_copy(update={"grids": {"main": tiny.grids["main"]}})
    atlas = Atlas.create(broken, tmp_path)
    original = grid_module.train_one

    def failing(config, *args):
        if config.initialisation != "ordinary":
            raise ZeroDivisionError("a bug")
        return original(config, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid_module, "train_one", failing)
        with pytest.raises(GridFailure, match="1 runs failed(.|\n)*ZeroDivisionError: a bug") as caught:
            train_grid(broken, atlas, client=threads, show_progress=False)
    assert len(caught.value.report.trained) == 1 == len(atlas.runs)


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_second_driver_is_refused(tmp_path, threads):
    tiny = profile()
    atlas = Atlas.create(tiny, tmp_path)
    with atlas.lock(), pytest.raises(RuntimeError, match="is being written by process"):
        train_grid(tiny, atlas, client=threads, show_progress=False)


def test_other_samples_are_refused(tmp_path, threads):
    tiny = profile()
    atlas = Atlas.create(tiny, tmp_path)
    train_grid(tiny, atlas, client=threads, show_progress=False, grids=["main"])
    other = tiny.model_copy(update={"dataset": tiny.dataset.model_copy(update={"seed": 5})})
    with pytest.raises(ValueError, match="made from other samples"):
        train_grid(other, atlas, client=threads, show_progress=False, grids=["main"])


def test_a_disk_that_cannot_be_written_is_one_error(tmp_path, threads):
    tiny = profile()
    atlas = Atlas.create(tiny, tmp_path)
    (atlas.path / "predictions").rmdir()
    (atlas.path / "predictions").write_text("in the way")
    said = "fc-sgd.*predictions is a file, and a folder belongs.*call the same command again.*finished is kept$"
    with pytest.raises(OSError, match=said):
        train_grid(tiny, atlas, client=threads, show_progress=False, grids=["main"])
    with pytest.raises(OSError, match="GB free, .* too little; free some space, choose another"):
        check_disk(tmp_path, 10**18)
    with pytest.raises(OSError, match="cannot write to"):
        check_disk(tmp_path / "nowhere", 1)


def test_a_disk_that_fills_says_how_much_the_missing_runs_need(tmp_path, threads):
    tiny = profile()
    atlas = Atlas.create(tiny, tmp_path)

    def full(self, record, grid):
        raise CannotWrite(self.path, OSError(errno.ENOSPC, "No space left on device"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Atlas, "save_run", full)
        patch.setattr(files.shutil, "disk_usage", lambda path: type("usage", (), {"free": 1e12}))
        patch.setattr(grid_module, "n_bytes", lambda config, data_dir: 10**13)
        with pytest.raises(OSError, match=r"cannot write .*tiny: .* 1\.0 TB free, up to .*TB more are") as error:
            patch.setattr(grid_module, "check_disk", lambda folder, needed: None)
            train_grid(tiny, atlas, client=threads, show_progress=False, grids=["main"])
    n_runs = len(tiny.configs("main"))
    assert f"up to {size_in_words(n_runs * 10**13 - 10**12)} more" in str(error.value) and "\n" not in str(error.value)


def test_a_scheduler_that_goes_in_the_middle_is_one_line_whatever_dask_says_at_the_end(tmp_path, threads):
    tiny = profile()

    def gone(*given, **named):
        raise CommClosedError("Connection reset by peer")

    def lost(finished, client):
        patch.setattr(client, "run_on_scheduler", gone)  # its status is still "running" then
        raise ClusterLost("the Dask scheduler is gone")
        yield

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid_module, "ended", lost)
        with pytest.raises(ClusterLost, match="the Dask scheduler is gone"):
            train_grid(tiny, Atlas.create(tiny, tmp_path), client=threads, show_progress=False, grids=["main"])
    threads.run_on_scheduler(grid_module._set_allowed_failures, n=3)


def test_batches_of_one_sample_are_refused_where_batchnorm_needs_two(tmp_path, threads):
    """Before anything is trained, and not for networks that take them."""
    one = profile(common={"architecture": ["vit", "fc"], "scale": 0.0625, "batch_size": 1, "seed": 42})
    with pytest.raises(ValueError, match="run fc-sgd-1-s42-.* batches of one sample.*batch_size .* of at least 2"):
        train_grid(one, Atlas.create(one, tmp_path), client=threads, show_progress=False, grids=["main"])
    assert not list((tmp_path / "tiny" / "predictions").iterdir())
    subset = {"initialisation": "subset_1", "pretrain_epochs": 1}
    with pytest.raises(ValueError, match="or a subset"):
        check_batches([c for _, c in profile(blocks=[subset]).configs("main")])
    check_batches([c for _, c in one.configs("main") if c.architecture == "vit"])


# --- real kills -------------------------------------------------------------------------------------------------------


def test_killed_workers(tmp_path):
    """A worker killed in the middle loses its run, which is trained again; a run that kills its workers is given up."""
    tiny = profile(epochs=150, seeds=(42, 43, 44, 45))
    atlas = Atlas.create(tiny, tmp_path)
    original = grid_module.train_one

    def deadly(config, *args):  # nested, so that it travels to the workers by value
        if config.seed == 45:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(config, *args)

    with local_client(n_workers=2) as client:
        victims = []

        def kill_once():
            while not victims:
                busy = [worker for worker, tasks in client.processing().items() if tasks]
                if busy:
                    time.sleep(0.2)
                    victims.append(client.run(os.getpid, workers=busy[:1]).popitem()[1])
                    os.kill(victims[0], signal.SIGKILL)
                time.sleep(0.05)

        killer = threading.Thread(target=kill_once, daemon=True)
        killer.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(grid_module, "train_one", deadly)
            with pytest.raises(GridFailure, match="its worker died 2 times") as caught:
                train_grid(tiny, atlas, client=client, show_progress=False, grids=["main"])
        killer.join(20)
    report = caught.value.report
    assert victims and len(report.failed) == 1 and next(iter(report.failed)).startswith("fc-sgd-25-s45")
    assert sorted(atlas.runs.seed) == [42, 43, 44]


DRIVER = """
import sys
from manifold_utils.atlas import Atlas
from manifold_utils.training.grid import train_grid
from manifold_utils.workers import client
from manifold_utils.profiles import Profile

if __name__ == "__main__":
    profile = Profile.load(sys.argv[1])
    with client(n_workers=1) as workers:
        print(train_grid(profile, Atlas.create(profile, sys.argv[2]), client=workers, show_progress=False))
"""


def test_a_killed_driver(tmp_path, threads):
    """SIGKILL the driver while it trains: what was stored stays as it is, the rest is trained by the next call."""
    import yaml

    tiny = profile(epochs=200, seeds=range(8))
    written = tiny.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(written))
    (tmp_path / "driver.py").write_text(DRIVER)
    command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path / "tiny.yaml"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    predictions = tmp_path / "tiny" / "predictions"
    deadline = time.monotonic() + 300
    try:
        while not (predictions.is_dir() and any(predictions.glob("fc-*.zarr"))):
            assert driver.poll() is None and time.monotonic() < deadline, "the driver stored no run"
            time.sleep(0.02)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    time.sleep(1)  # its worker notices within a moment that nobody is there
    stored = {path.name: path.stat().st_mtime_ns for path in predictions.glob("fc-*.zarr")}
    assert 1 <= len(stored) < 8
    report = train_grid(tiny, Atlas(tmp_path / "tiny"), client=threads, show_progress=False, grids=["main"])
    assert report.n_skipped == len(stored) and len(report.trained) == 8 - len(stored)
    assert all((predictions / name).stat().st_mtime_ns == when for name, when in stored.items())
    atlas = Atlas(tmp_path / "tiny")
    assert len(atlas.runs) == 8 and not atlas.verify() and not list(predictions.glob(".tmp-*"))
