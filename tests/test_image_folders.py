"""The whole ImageNet path on a small folder of pictures: files, stream, runs, store, distances, embedding, chapters."""

import os
import re
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from manifold_utils import claims
from manifold_utils.atlas import Atlas
from manifold_utils.book import Edition, book_status, run_book
from manifold_utils.book.contents import read_notebook
from manifold_utils.datasets import load_dataset
from manifold_utils.distances import pairwise
from manifold_utils.inpca import InPCA
from manifold_utils.profiles import DatasetConfig, Profile
from manifold_utils.studies.image_folders import CLASS_NAMES, write_digits
from manifold_utils.training import checkpoint_steps
from manifold_utils.training.grid import freeze_data, train_one

PROFILE = """
name: tiny-images
description: a folder of small pictures
dataset: {name: imagefolder, folder: tiny, image_size: 16, n_train: 20, n_test: 10, record_every: 2}
grids:
  main:
    common: {batch_size: 10, epochs: 1, seed: 42}
    blocks:
      - {architecture: resnet18, learning_rate: 0.05}
      - {architecture: vit-small, scale: 0.03125, optimizer: adam, learning_rate: 1e-3}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    assert write_digits(root / "tiny", 40, 20, side=24) == {"train": 40, "val": 20}
    return root


def test_files_are_balanced_of_differing_sizes_and_the_same_each_time(folder, tmp_path):
    files = sorted((folder / "tiny").glob("train/*/*.png"))
    counts = [len(list((folder / "tiny" / "train" / name).iterdir())) for name in CLASS_NAMES]
    assert counts == [4] * 10
    sizes = {Image.open(file).size for file in files}
    assert len(sizes) > 5 and min(min(size) for size in sizes) == 24
    write_digits(tmp_path / "again", 40, 20, side=24)
    again = sorted((tmp_path / "again").glob("train/*/*.png"))
    assert [f.name for f in files] == [f.name for f in again]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(files, again, strict=True))
    train = {f.name for f in files}
    assert not train & {f.name for f in (folder / "tiny").glob("val/*/*.png")}, "no picture is in both splits"


def test_too_many_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match="2000 pictures are asked for, and there are 1797"):
        write_digits(tmp_path, 1500, 500)


def test_the_stream_resizes_and_crops(folder):
    config = DatasetConfig(name="imagefolder", folder="tiny", image_size=16)
    data = load_dataset(config, str(folder))
    assert (len(data.y_train), len(data.y_test), data.n_classes) == (40, 20, 10)
    batch, index = next(data.batches("train", data.recorded("train"), 8))
    assert tuple(batch.shape) == (8, 3, 16, 16) and index.tolist() == list(range(8))


def test_from_pictures_to_an_embedding(folder, tmp_path):
    path = tmp_path / "tiny-images.yaml"
    path.write_text(PROFILE, encoding="utf-8")
    profile = Profile.load(str(path))
    atlas = Atlas.create(profile, tmp_path / "atlases")
    freeze_data(atlas, profile.dataset, str(folder))
    for grid, config in profile.configs():
        assert train_one(config, str(atlas.path), grid, str(folder), "cpu")["status"] == "finished"
    runs, points = atlas.collect(profile)
    assert runs.status.tolist() == ["finished"] * 2
    log_probs = np.asarray(atlas.log_probs("train"))
    assert log_probs.shape == (len(points), 10, 10), "every second training sample is recorded"
    D = pairwise(log_probs)
    assert np.isfinite(D).all() and InPCA(n_components=3).fit(D).explained_stress_[2] > 0.5
    assert len(atlas.labels("train")) == 10


# --- through the book -------------------------------------------------------------------------------------------------

PETS = """
name: pets
description: a small folder of awkward pictures
dataset: {name: imagefolder, folder: pets, image_size: 8}
defaults: {batch_size: 6, epochs: 12, architecture: fc, scale: 0.0625, seed: [42, 43]}
n_components: 4
n_progress: 6
grids:
  main:
    blocks: [{linked: [{optimizer: sgd, learning_rate: 0.1}, {optimizer: adam, learning_rate: 5.0e-3}]}]
"""
MODES = ("RGB", "L", "P", "RGBA", "1", "CMYK", "LA")


def awkward(root):
    """Seven pictures a class, each of another mode and size, with names in another encoding, and what is no picture."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 7), ("val", 3)):
        for c, name in enumerate((b"caf\xe9", b"two $_ words$")):
            folder = os.path.join(os.fsencode(root), split.encode(), name)
            os.makedirs(folder)
            for k in range(n):
                pixels = np.uint8(rng.normal(70 + 90 * c, 20, (9 + k, 12, 3)).clip(0, 255))
                ending = b".jpg" if MODES[k] == "CMYK" else b".png"
                path = os.fsdecode(os.path.join(folder, b"p\xff%d" % k + ending))
                Image.fromarray(pixels).convert(MODES[k]).save(path)
    (root / ".git").mkdir()
    (root / "train" / "two $_ words$" / "notes.txt").write_text("fluffy")
    Image.fromarray(np.full((9, 9), 40000, dtype=np.uint16)).save(root / "train" / "two $_ words$" / "sixteen.png")


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """The making chapters and one that shows, run on an awkward folder of pictures."""
    root = tmp_path_factory.mktemp("pets")
    awkward(root / "pets")
    (root / "pets.yaml").write_text(PETS, encoding="utf-8")
    edition = Edition(str(root / "pets.yaml"), data_dir=str(root))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_book(edition, ["30", "46"])
    return edition


def test_chapters_go_through_an_image_folder(book):
    states = {name[:2]: state for name, state, _ in book_status(book) if state == "done"}
    assert set(states) == {"10", "11", "20", "30", "31", "46"}
    atlas = Atlas(book.atlas)
    assert atlas.log_probs("train").shape[1:] == (15, 2) and not atlas.verify()
    printed = [
        o.get("text", "") for c in read_notebook(book.output / "10_data.ipynb").cells for o in c.get("outputs", [])
    ]
    assert any("files left out" in text and ".txt: 1" in text for text in printed)
    assert any("train: classes of 7 to 8 samples, which is balanced" in text for text in printed)


# --- results that are not the book's own ------------------------------------------------------------------------------


def test_results_of_a_run_by_hand_are_stale_and_named(book, monkeypatch):
    atlas, path = Atlas(book.atlas), book.atlas / "results" / "46.json"
    before, made = path.read_bytes(), claims.read_json(path)["made"]
    assert made["run"].startswith("46_geodesic_and_tubes ") and made["parameters"]["profile"].endswith("pets.yaml")
    monkeypatch.setattr(claims, "_parameters", lambda: {"n_shown": 3})
    monkeypatch.delenv(claims.RUN_VARIABLE, raising=False)
    claims.save_results(atlas, "46", {"a": claims.result(0.5)})
    try:
        reasons = {name[:2]: (state, reason) for name, state, reason in book_status(book)}
        assert reasons["46"][0] == "stale" and "46.json is from a run by hand (n_shown=3)" in reasons["46"][1]
        assert claims.by_hand(atlas.results_folders) == {"46": {"n_shown": 3}}
        path.write_bytes(b"{")
        reason = {n[:2]: r for n, _, r in book_status(book)}["46"]
        assert re.search("46.json is cut short|46.json of its results", reason)
    finally:
        path.write_bytes(before)
    assert claims.by_hand(atlas.results_folders) == {} and not book.why(job_of(book, "46"))


def job_of(edition, chapter):
    return edition.jobs(edition.book.by_id[chapter])[0]


def test_what_is_shown_goes_to_a_folder_of_ones_own(book, tmp_path, monkeypatch):
    monkeypatch.setenv("MANIFOLD_OUT", str(tmp_path / "mine"))
    mine = Edition(book.profile_name, data_dir=str(book.atlas.parents[1]))
    assert not mine.why(job_of(mine, "30")) and mine.why(job_of(mine, "46")) == "not run yet"
    shown, made = mine._variables(job_of(mine, "46"), "key"), mine._variables(job_of(mine, "30"), "key")
    assert shown["MANIFOLD_OUT"] == str(tmp_path / "mine") and made["MANIFOLD_OUT"] == ""
    assert mine.record_path(job_of(mine, "46")).parent == tmp_path / "mine" / "notebooks"
    assert mine.record_path(job_of(mine, "30")) == book.record_path(job_of(book, "30"))


def test_a_notebook_knows_its_parameters():
    assert claims._assigned("profile = 'smoke'  # which\nn = 3\nlimits = [0.1, -2]") == {
        "profile": "smoke",
        "n": 3,
        "limits": [0.1, -2],
    }
    assert claims._assigned("profile = load()") == claims._assigned("x +") == claims._assigned("n += 1") == {}


@pytest.mark.parametrize("batch_size", [50, 200])
def test_the_loop_of_chapter_63_records_its_last_step_on_few_samples(batch_size):
    text = (claims.PROJECT / "notebooks" / "63_your_own_run.py").read_text(encoding="utf-8")
    loop = re.search(r"^def train\(.*?(?=^# %%)", text, flags=re.M | re.S).group()
    data = load_dataset(DatasetConfig(name="digits", n_train=70, n_test=20))
    model, trained, recorded = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), [], []
    model.register_forward_hook(lambda *_: trained.append(1))

    class Recorder:
        def record(self, model, step, epoch):
            recorded.append((step, epoch))

    names = {"torch": torch, "checkpoint_steps": checkpoint_steps, "data": data, "batch_size": batch_size}
    names |= {"n_epochs": 3, "learning_rate": 1e-3}
    exec(loop, names)
    names["train"](model, Recorder(), torch.Generator().manual_seed(0))
    assert recorded[0] == (0, 0.0) and recorded[-1] == (len(trained), 3.0)
