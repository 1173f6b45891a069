"""The data sets: what is loaded, how it is cut, what is said when it is missing or damaged."""

import gzip
import os
import pickle
import re
import shutil
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from manifold_utils.datasets import (
    balanced_subset,
    crop_and_flip,
    load_dataset,
    padding_of,
    places,
    pooled,
    readers,
    sloppy_samples,
    teacher_labels,
)
from manifold_utils.datasets.inventory import inventory, table
from manifold_utils.profiles import DatasetConfig, Profile

REAL_CIFAR = Path(__file__).resolve().parents[2] / "shared" / "cifar10"


def load(data_dir="", /, **config):
    return load_dataset(DatasetConfig(**config), data_dir)


# --- digits -----------------------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns_and_the_splits_do_not_meet():
    data = load(name="digits", n_train=1000, n_test=500)
    assert data.input_shape == (1, 8, 8) and data.x_train.dtype == torch.uint8 and data.n_classes == 10
    assert data.y_train.bincount().tolist() == [100] * 10 and data.y_test.bincount().tolist() == [50] * 10
    source = {
        (image.astype(np.uint8).tobytes(), int(label))
        for image, label in zip(*load_digits(return_X_y=True), strict=True)
    }
    ours = [(x.numpy().tobytes(), int(y)) for x, y in zip(data.x_train, data.y_train, strict=True)]
    test = [(x.numpy().tobytes(), int(y)) for x, y in zip(data.x_test, data.y_test, strict=True)]
    assert set(ours) <= source and not set(ours) & set(test)


def test_the_seed_and_the_sizes_decide_the_subset_and_its_fingerprint():
    prints = [load(name="digits", n_train=n, seed=s).fingerprint for n, s in ((200, 0), (200, 0), (200, 1), (210, 0))]
    assert prints[0] == prints[1] and len(set(prints)) == 3


def test_normalised_digits_have_mean_0_and_spread_1():
    data = load(name="digits", n_train=1700)
    x = data.normalise(data.x_train)
    assert abs(x.mean()) < 0.02 and abs(x.std() - 1) < 0.02


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=8, max_size=60), st.integers(1, 12), st.integers(0, 5))
def test_balanced_subsets_are_balanced_or_refused(labels, n, seed):
    labels = np.array([0, 1, 2, 3, *labels])
    if any((labels == k).sum() < n // 4 + (k < n % 4) for k in range(4)):
        with pytest.raises(ValueError, match="samples of class"):
            balanced_subset(labels, n, seed)
        return
    index = balanced_subset(labels, n, seed)
    counts = np.bincount(labels[index], minlength=4)
    assert len(set(index)) == n and counts.max() - counts.min() <= 1


def test_batches_cover_their_samples_in_order_and_record_every_counts():
    data = load(name="digits", n_train=100, n_test=30, record_every=3)
    order = torch.randperm(100)
    found = list(data.batches("train", order, 32))
    assert torch.equal(torch.cat([i for _, i in found]), order) and [len(i) for _, i in found] == [32, 32, 32, 4]
    assert torch.equal(torch.cat([x for x, _ in found]), data.normalise(data.x_train[order]))
    assert data.recorded("train").tolist() == list(range(0, 100, 3)) and len(data.recorded("test")) == 30


# --- augmentation -----------------------------------------------------------------------------------------------------


def test_crops_and_flips_are_windows_of_the_padded_image():
    images = torch.arange(1, 1 + 20 * 2 * 6 * 6).view(20, 2, 6, 6)
    out = crop_and_flip(images, 1, True, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    kinds = set()
    for image, result in zip(padded, out, strict=True):
        windows = {
            (r, c, f): w.flip(-1) if f else w
            for r in range(3)
            for c in range(3)
            for f in (0, 1)
            for w in [image[:, r : r + 6, c : c + 6]]
        }
        matching = [kind for kind, window in windows.items() if torch.equal(window, result)]
        assert len(matching) == 1
        kinds.add(matching[0])
    assert len(kinds) > 8 and len({f for *_, f in kinds}) == 2
    unflipped = crop_and_flip(images, 0, False, torch.Generator())
    assert torch.equal(unflipped, images)
    assert [padding_of(side) for side in (8, 28, 32, 224)] == [1, 4, 4, 28]


# --- synthetic data ---------------------------------------------------------------------------------------------------


def test_sloppy_inputs_have_the_papers_variances_and_the_teacher_knows_five_classes():
    x = sloppy_samples(40_000, 0.5, np.random.default_rng(0))
    expected = 50 * 0.5 * np.exp(-0.5 * np.arange(200)) / 200
    np.testing.assert_allclose(x[:, :20].var(axis=0), expected[:20], rtol=0.05)
    labels = teacher_labels(x[:2000], np.random.default_rng(1))
    assert set(labels) == set(range(5))
    np.testing.assert_array_equal(labels, teacher_labels(x[:2000], np.random.default_rng(1)))
    data = load(name="sloppy", n_train=300, n_test=100, sloppiness=0.001)
    assert data.input_shape == (200,) and len(data.y_test) == 100 and data.normalise(data.x_train).equal(data.x_train)


# --- idx and CIFAR-10 files -------------------------------------------------------------------------------------------


def write_idx(path, values):
    header = bytes([0, 0, 8, values.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in values.shape)
    raw = header + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def test_fashion_from_idx_files_plain_and_compressed(tmp_path):
    folder = tmp_path / "fashion"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for (images, labels), n, end in zip(places.FASHION_FILES.values(), (60, 20), ("", ".gz"), strict=True):
        write_idx(folder / (images + end), generator.integers(0, 256, (n, 28, 28)))
        write_idx(folder / (labels + end), np.arange(n) % 10)
    data = load(str(tmp_path), name="fashion", n_train=30)
    assert (
        data.input_shape == (1, 28, 28)
        and len(data.y_train) == 30
        and len(data.y_test) == 20
        and data.classes[9] == "Ankle boot"
    )
    broken = folder / "t10k-images-idx3-ubyte.gz"
    broken.write_bytes(broken.read_bytes()[:-3000])
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte.gz is damaged"):
        load(str(tmp_path), name="fashion")


def test_missing_data_is_one_error_that_says_what_where_and_how(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "FASHION_SYSTEM_FOLDER", tmp_path / "system")
    for name, words in {"fashion": "train-images-idx3-ubyte", "cifar10": "cifar-10-batches-bin"}.items():
        with pytest.raises(FileNotFoundError, match=words) as caught:
            load(str(tmp_path), name=name)
        assert str(tmp_path / name) in str(caught.value) and f"data --download {name}" in str(caught.value)
    with pytest.raises(FileNotFoundError, match="train/<class>"):
        load(str(tmp_path), name="imagefolder")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="no test split"):
        load(name="digits")


def cifar_arrays(n, seed):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, 3072), dtype=np.uint8), np.arange(n) % 10


def write_cifar(data_dir, kind):
    """All batches of one of CIFAR-10's two layouts, 20 images each; returns their folder."""
    folder = data_dir / "cifar10" / kind
    folder.mkdir(parents=True)
    for k, name in enumerate(name for names in places.CIFAR_BATCHES.values() for name in names):
        x, y = cifar_arrays(20, k)
        if kind == places.CIFAR_BINARY:
            np.column_stack([y.astype(np.uint8), x]).tofile(folder / f"{name}.bin")
        else:
            (folder / name).write_bytes(pickle.dumps({b"data": x, b"labels": y.tolist()}, protocol=2))
    return folder


def test_cifar_binary_and_python_batches_give_the_same_data(tmp_path):
    for kind in (places.CIFAR_BINARY, places.CIFAR_PYTHON):
        write_cifar(tmp_path / kind, kind)
    a, b = (load(str(tmp_path / kind), name="cifar10") for kind in (places.CIFAR_BINARY, places.CIFAR_PYTHON))
    assert (
        a.fingerprint == b.fingerprint and a.input_shape == (3, 32, 32) and (len(a.y_train), len(a.y_test)) == (100, 20)
    )
    np.testing.assert_array_equal(a.x_train[20:40].numpy().reshape(20, -1), cifar_arrays(20, 1)[0])


@pytest.mark.parametrize(("kind", "end"), [(places.CIFAR_BINARY, ".bin"), (places.CIFAR_PYTHON, "")])
def test_a_few_of_the_batches_are_not_the_data_set(tmp_path, kind, end):
    folder = write_cifar(tmp_path, kind)
    for number in (2, 5):
        (folder / f"data_batch_{number}{end}").unlink()
    with pytest.raises(places.IncompleteData, match=f"lacks data_batch_2{end}, data_batch_5{end}"):
        load(str(tmp_path), name="cifar10")


def test_a_batch_without_a_class_for_each_image_is_refused(tmp_path):
    folder = write_cifar(tmp_path, places.CIFAR_PYTHON)
    x, y = cifar_arrays(20, 0)
    (folder / "data_batch_3").write_bytes(pickle.dumps({b"data": x, b"labels": y[:-1].tolist()}))
    with pytest.raises(ValueError, match="data_batch_3 does not hold a class from 0 to 9 for each of its 20 images"):
        load(str(tmp_path), name="cifar10")


def test_a_hostile_pickle_runs_nothing(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    folder = write_cifar(tmp_path, places.CIFAR_PYTHON)
    (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": Bomb(), b"labels": [0]}))
    with pytest.raises(ValueError, match="data_batch_1 is not a CIFAR-10 batch .*no CIFAR-10 batch needs"):
        load(str(tmp_path), name="cifar10")
    assert not (tmp_path / "exploded").exists()


# --- folders of images ------------------------------------------------------------------------------------------------


def write_images(data_dir, n_train=3, n_test=2, classes=places.CIFAR_CLASSES, side=32):
    """A data folder with cifar10/train/<class>/*.png and cifar10/test/<class>/*.png."""
    generator = np.random.default_rng(0)
    for split, n in (("train", n_train), ("test", n_test)):
        for name in classes:
            folder = data_dir / "cifar10" / split / name
            folder.mkdir(parents=True)
            for k in range(n):
                Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    return data_dir


@pytest.fixture
def image_folder(tmp_path):
    return write_images(tmp_path)


def test_a_folder_of_images_is_decoded_once(image_folder, monkeypatch):
    first = load(str(image_folder), name="cifar10")
    assert (len(first.y_train), len(first.y_test), first.classes) == (30, 20, places.CIFAR_CLASSES)
    path = image_folder / "cifar10/train/dog/0.png"
    np.testing.assert_array_equal(first.x_train[15].permute(1, 2, 0), np.asarray(Image.open(path)))
    monkeypatch.setattr(readers, "decoded", None)  # a second decoding would fail
    assert load(str(image_folder), name="cifar10").fingerprint == first.fingerprint
    monkeypatch.undo()
    times, other = path.stat(), image_folder / "cifar10/train/dog/1.png"
    path.write_bytes(other.read_bytes().ljust(times.st_size, b"\0")[: times.st_size])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as `cp -p` and `tar` leave it
    assert load(str(image_folder), name="cifar10").fingerprint != first.fingerprint, "other pixels are noticed"
    path.unlink()
    own = image_folder / "cifar10" / "cache-of-mine.npz"
    own.write_bytes(b"not the book's")
    assert len(load(str(image_folder), name="cifar10").y_train) == 29
    assert own.read_bytes() == b"not the book's"
    (cache,) = (image_folder / "cifar10").glob("cache-????????????????.npz")
    cache.write_bytes(cache.read_bytes()[:1000])
    assert len(load(str(image_folder), name="cifar10").y_train) == 29, "a damaged cache is made again"
    whole = load(str(image_folder), name="cifar10").x_train
    for wrong in (np.zeros((1, 3, 32, 32), np.uint8), np.zeros((29, 3, 32, 32)), np.zeros((29, 3, 8, 8), np.uint8)):
        np.savez(cache, x_train=wrong, x_test=wrong)
        assert torch.equal(load(str(image_folder), name="cifar10").x_train, whole), "so is one that does not fit"


def test_streamed_images_are_resized_and_the_same_as_decoded_ones(image_folder):
    data = load(str(image_folder), name="imagefolder", folder="cifar10", image_size=32)
    whole = load(str(image_folder), name="cifar10")
    order = torch.tensor([7, 0, 3])
    (x, index), *rest = data.batches("train", order, 8)
    assert not rest and torch.equal(index, order) and data.input_shape == (3, 32, 32)
    shown = x * torch.tensor(data.std).view(1, 3, 1, 1) + torch.tensor(data.mean).view(1, 3, 1, 1)
    torch.testing.assert_close(shown, whole.x_train[order].float(), atol=1e-2, rtol=0)
    small = load(str(image_folder), name="imagefolder", folder="cifar10", image_size=16)
    assert next(iter(small.batches("test", torch.arange(6), 4)))[0].shape == (4, 3, 16, 16)


def test_a_hidden_class_is_not_lost_in_silence(image_folder):
    folder = image_folder / "cifar10"
    before = load(str(image_folder), name="imagefolder", folder="cifar10", image_size=32)
    for split in ("train", "test"):
        shutil.copytree(folder / split / "cat", folder / split / ".net")
        (folder / split / ".git").mkdir()
    data = load(str(image_folder), name="imagefolder", folder="cifar10", image_size=32)
    assert data.classes == before.classes and data.fingerprint == before.fingerprint
    said = [text for text in data.left_out if text not in before.left_out]
    assert len(said) == 2 and all(".net" in text and "in a hidden folder" in text for text in said)


def test_bad_images_and_classes_are_named(image_folder):
    bad = image_folder / "cifar10/test/cat/0.png"
    bad.write_bytes(bad.read_bytes()[:200])
    with pytest.raises(ValueError, match="cat/0.png is not a readable image .*unpack it again"):
        load(str(image_folder), name="cifar10")
    bad.parent.rename(bad.parents[1] / "cow")
    with pytest.raises(ValueError, match="classes that train has not: \\['cow'\\]"):
        load(str(image_folder), name="cifar10")


def test_images_of_another_size_are_named(tmp_path):
    write_images(tmp_path, 1, 1, side=28)
    for side in (0, 16):
        with pytest.raises(ValueError, match="airplane/0.png has 28x28 pixels, and images of 32x32 are expected"):
            load(str(tmp_path), name="cifar10", side=side)
    assert not list((tmp_path / "cifar10").glob("cache-*"))


def remove(*parts):
    return lambda folder: shutil.rmtree(folder.joinpath(*parts))


def empty(*parts):
    def act(folder):
        for path in folder.joinpath(*parts).iterdir():
            path.unlink()

    return act


@pytest.mark.parametrize("name", ["cifar10", "imagefolder"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (empty("train", "frog"), "train has no images of frog, and 10 classes are expected"),
        (remove("test", "ship"), "test has no images of ship"),
        (remove("test"), "there are images in .*train, and none in .*test"),
        (remove("train"), "there are images in .*test, and none in .*train"),
    ],
)
def test_a_half_unpacked_folder_is_refused_with_its_cure(image_folder, damage, words, name):
    folder = image_folder / "cifar10"
    damage(folder)
    with pytest.raises(places.IncompleteData, match=words):
        load(str(image_folder), name=name, folder="cifar10")
    (folder / "train_1.tar.xz").write_bytes(b"")
    with pytest.raises(places.IncompleteData, match=r"train_1.tar.xz\): `cd .*/cifar10 && for part in \*.tar\*; do"):
        load(str(image_folder), name=name, folder="cifar10")


def test_a_class_that_both_splits_lack_is_missed_in_cifar10_alone(tmp_path):
    write_images(tmp_path, classes=places.CIFAR_CLASSES[:4])
    with pytest.raises(places.IncompleteData, match=r"train has no images of deer, dog, frog ... \(6 in all\)"):
        load(str(tmp_path), name="cifar10")
    assert load(str(tmp_path), name="imagefolder", folder="cifar10", image_size=32).n_classes == 4
    own = tmp_path / "own"
    write_images(own, classes=("left", "right"))
    assert load(str(own), name="cifar10").classes == ("left", "right"), "other names are somebody's own images"


def test_fewer_images_than_are_asked_for_name_the_class_and_the_cure(image_folder):
    (image_folder / "cifar10/train/frog/0.png").unlink()
    assert len(load(str(image_folder), name="cifar10", n_train=20).y_train) == 20
    with pytest.raises(ValueError, match=r"3 images of each of the 10 .* fewer in train of: frog \(2\)") as error:
        load(str(image_folder), name="cifar10", n_train=30)
    assert "lower n_train to at most 20" in str(error.value)
    with pytest.raises(ValueError, match=r"n_test is 25, .* in test of: airplane \(2\)"):
        load(str(image_folder), name="cifar10", n_test=25)


def test_archives_alone_are_unpacked_by_the_command_in_the_error(tmp_path):
    images = write_images(tmp_path / "elsewhere", 1, 1) / "cifar10"
    folder = tmp_path / "data" / "cifar10"
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        with tarfile.open(folder / f"{name}.tar.xz", "w:xz") as archive:
            archive.add(images / name, name)
    with pytest.raises(FileNotFoundError, match="CIFAR-10 is missing.*test.tar.xz, train.tar.xz") as caught:
        load(str(tmp_path / "data"), name="cifar10")
    subprocess.run(re.search("`(.*)`", str(caught.value)).group(1), shell=True, check=True)
    assert len(load(str(tmp_path / "data"), name="cifar10").y_train) == 10


# --- pooling to a smaller side ----------------------------------------------------------------------------------------


def test_pooling_by_hand():
    image = np.array([[0, 2, 10, 10], [4, 6, 10, 11], [255, 255, 0, 1], [255, 255, 0, 0]], dtype=np.uint8)[None, None]
    assert pooled(image, 2).tolist() == [[[[3, 10], [255, 0]]]]
    assert pooled(image, 1).tolist() == [[[[67]]]]
    assert pooled(image, 4).tolist() == image.tolist() and pooled(image, 0) is image
    assert pooled(image[..., 1:3, 1:3], 2, border=1).tolist() == [[[[2, 2], [64, 0]]]], "a black border first"


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([4, 8, 16, 32]))
def test_pooling_is_the_mean_of_squares_by_other_routes(seed, side):
    images = np.random.default_rng(seed).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    ours = pooled(images, side)
    torchs = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(images).double(), side)
    np.testing.assert_array_equal(ours, torchs.round().numpy().astype(np.uint8))
    pillows = Image.fromarray(images[0].transpose(1, 2, 0)).resize((side, side), Image.Resampling.BOX)
    difference = ours[0].astype(int) - np.asarray(pillows).transpose(2, 0, 1)
    assert np.abs(difference).max() <= 1, "halves may be rounded otherwise"


@pytest.mark.parametrize(("shape", "side", "border"), [((30, 30), 16, 0), ((32, 30), 16, 0), ((28, 28), 16, 1)])
def test_images_that_a_side_does_not_divide_are_not_pooled(shape, side, border):
    with pytest.raises(ValueError, match=f"images of {shape[0]}x{shape[1]} pixels.* cannot be pooled to {side}x{side}"):
        pooled(np.zeros((1, 1, *shape), dtype=np.uint8), side, border)


def write_fashion(data_dir, images):
    """The four files of Fashion-MNIST with the same images in both splits."""
    folder = data_dir / "fashion"
    folder.mkdir(parents=True)
    for names in places.FASHION_FILES.values():
        for name, values in zip(names, (images, np.arange(len(images)) % 10), strict=True):
            write_idx(folder / name, values)
    return folder


def test_fashion_gets_a_border_of_2_before_it_is_pooled(tmp_path):
    write_fashion(tmp_path, np.full((20, 28, 28), 200))
    whole, small = (load(str(tmp_path), name="fashion", side=side) for side in (32, 16))
    inner = np.pad(np.full((28, 28), 200), 2)
    np.testing.assert_array_equal(whole.x_train[0, 0], inner)
    assert small.input_shape == (1, 16, 16) and small.mean == whole.mean == load(str(tmp_path), name="fashion").mean
    np.testing.assert_array_equal(small.x_train[0, 0], np.pad(np.full((14, 14), 200), 1))
    assert small.fingerprint != whole.fingerprint


def test_idx_files_of_another_kind_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "FASHION_SYSTEM_FOLDER", tmp_path / "system")
    folder = write_fashion(tmp_path, np.zeros((20, 20, 20)))
    with pytest.raises(ValueError, match="train-images-idx3-ubyte has images of 20x20 pixels"):
        load(str(tmp_path), name="fashion")
    write_idx(folder / "train-images-idx3-ubyte", np.zeros((21, 28, 28)))
    with pytest.raises(ValueError, match="train-labels-idx1-ubyte does not hold a class for each image"):
        load(str(tmp_path), name="fashion")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(places.IncompleteData, match="incomplete: .*fashion lacks t10k-labels-idx1-ubyte"):
        load(str(tmp_path), name="fashion")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"name": "cifar10", "side": 12}, "cannot be pooled to 12; side may be 4, 8, 16, 32"),
        ({"name": "cifar10", "side": 2}, "cannot be pooled to 2; side may be 4, 8, 16, 32"),
        ({"name": "fashion", "side": 14}, "with its border, if any.* side may be 4, 8, 16, 32"),
        ({"name": "digits", "side": 4}, "side pools images of cifar10 and fashion only.*keep their own size"),
        ({"name": "imagefolder", "side": 16}, "image_size resizes them"),
        ({"name": "cifar10", "side": -16}, "greater than or equal to 0"),
        ({"name": "cifar10", "side": "16"}, "valid integer"),
    ],
)
def test_an_impossible_side_is_refused(config, words):
    with pytest.raises(ValueError, match=words):
        DatasetConfig(**config)


# --- what is there ----------------------------------------------------------------------------------------------------


def test_the_inventory_says_what_is_there_missing_or_incomplete(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "FASHION_SYSTEM_FOLDER", tmp_path / "system")
    states = {shelf.name: shelf.state for shelf in inventory(tmp_path)}
    assert states == dict(digits="there", sloppy="there", fashion="missing", cifar10="missing", imagefolder="missing")
    write_images(tmp_path)
    (write_fashion(tmp_path, np.zeros((20, 28, 28))) / "t10k-images-idx3-ubyte").unlink()
    shelves = {shelf.name: shelf for shelf in inventory(tmp_path)}
    assert (shelves["cifar10"].state, shelves["cifar10"].images) == ("there", "30 + 20")
    text = table(shelves.values(), [Profile.load("cifar16"), Profile.load("smoke")])
    rows = {line.split()[0]: line for line in text.splitlines() if line and not line.startswith(" ")}
    assert "incomplete" in rows["fashion"] and rows["cifar10"].endswith("cifar16") and rows["digits"].endswith("smoke")
    assert "lacks t10k-images-idx3-ubyte" in text and "--download fashion" in text and "no images in" in text
    shutil.rmtree(tmp_path / "cifar10" / "test")
    assert {s.name: s.state for s in inventory(tmp_path)}["cifar10"] == "incomplete"


@pytest.mark.parametrize("kind", [places.CIFAR_BINARY, places.CIFAR_PYTHON])
def test_the_inventory_counts_what_is_cheap_to_count(tmp_path, kind):
    write_cifar(tmp_path, kind)
    write_fashion(tmp_path, np.zeros((20, 28, 28)))
    images = {shelf.name: shelf.images for shelf in inventory(tmp_path)}
    assert images["cifar10"] == ("100 + 20" if kind == places.CIFAR_BINARY else "not counted")
    assert images["fashion"] == "20 + 20"


def test_the_command_prints_the_table_and_downloads_only_when_asked(tmp_path, monkeypatch, capsys):
    from manifold_utils.__main__ import main

    fetched = []
    monkeypatch.setattr(places, "FASHION_SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.setattr(readers, "fetch", lambda name, folder: fetched.append((name, folder)))
    assert main(["data", "--data-dir", str(tmp_path)]) == 0 and fetched == []
    assert "cifar10" in capsys.readouterr().out and not list(tmp_path.iterdir())
    assert main(["data", "--data-dir", str(tmp_path), "--download", "cifar10"]) == 0
    assert fetched == [("cifar10", tmp_path / "cifar10")] and "170 MB" in capsys.readouterr().out
    write_images(tmp_path, 1, 1)
    assert main(["data", "--data-dir", str(tmp_path), "--download", "cifar10"]) == 0 and len(fetched) == 1
    assert "is there already" in capsys.readouterr().out


def test_a_download_without_a_network_is_one_line(tmp_path, monkeypatch):
    import urllib.error

    from manifold_utils.compat import import_torchvision

    datasets = import_torchvision().datasets

    def fail(**options):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(datasets, "CIFAR10", fail)
    with pytest.raises(OSError, match="cifar10 could not be downloaded .*no route.*copy its files to"):
        load_dataset(DatasetConfig(name="cifar10"), str(tmp_path), download=True)


# --- the real images --------------------------------------------------------------------------------------------------


def unpack(archive, member, folder):
    """One file of an archive; by hand, since safe extraction came with Python 3.11.4 only."""
    path = folder / member.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(archive.extractfile(member).read())


@pytest.mark.skipif(
    not REAL_CIFAR.is_dir(), reason="the CIFAR-10 archives are not beside the repository (../shared/cifar10)"
)
def test_the_real_cifar10_images_go_through_the_folder_path(tmp_path):
    with tarfile.open(REAL_CIFAR / "test.tar.xz") as archive:
        for member in [m for k, m in enumerate(m for m in archive if m.isfile()) if k % 25 == 0]:
            unpack(archive, member, tmp_path / "cifar10")
    (tmp_path / "cifar10" / "train").symlink_to(tmp_path / "cifar10" / "test")
    data = load(str(tmp_path), name="cifar10")
    assert data.input_shape == (3, 32, 32) and data.classes == places.CIFAR_CLASSES and len(data.y_test) == 400
    x = data.normalise(data.x_test)
    assert x.mean().abs() < 0.15 and abs(x.std() - 1) < 0.15


@pytest.mark.skipif(not REAL_CIFAR.is_dir(), reason="no CIFAR-10 archives beside the repository (../shared/cifar10)")
def test_a_few_real_images_pooled_to_16(tmp_path):
    wanted, taken = 3, Counter()
    with tarfile.open(REAL_CIFAR / "test.tar.xz", "r|xz") as archive:  # a stream: no index, no second pass
        for member in archive:
            name = Path(member.name).parent.name
            if member.isfile() and taken[name] < wanted:
                unpack(archive, member, tmp_path / "cifar10")
                taken[name] += 1
            if len(taken) == 10 and min(taken.values()) == wanted:
                break
    shutil.copytree(tmp_path / "cifar10" / "test", tmp_path / "cifar10" / "train")
    data, whole = (load(str(tmp_path), name="cifar10", side=side, n_test=20) for side in (16, 32))
    assert data.input_shape == (3, 16, 16) and data.classes == places.CIFAR_CLASSES
    assert data.y_train.bincount().tolist() == [3] * 10 and data.y_test.bincount().tolist() == [2] * 10
    by_torch = torch.nn.functional.avg_pool2d(whole.x_test.double(), 2).round().to(torch.uint8)
    assert torch.equal(data.x_test, by_torch) and torch.equal(data.y_test, whole.y_test)
    assert abs(data.x_test.double().mean() - whole.x_test.double().mean()) < 0.5
