"""The whole ImageNet path on a small folder of pictures: files, stream, runs, store, distances, embedding."""

import numpy as np
import pytest
from PIL import Image

from manifold_utils.atlas import Atlas
from manifold_utils.datasets import load_dataset
from manifold_utils.distances import pairwise
from manifold_utils.inpca import InPCA
from manifold_utils.profiles import DatasetConfig, Profile
from manifold_utils.studies.image_folders import CLASS_NAMES, write_digits
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
