"""The data sets: what is loaded, how it is cut, what is said when it is missing or damaged."""

import gzip
import pickle
import tarfile
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
    sloppy_samples,
    teacher_labels,
)
from manifold_utils.datasets import readers as readers
from manifold_utils.profiles import DatasetConfig

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


@settings(max_examples=30, deadline=None)
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
    for (images, labels), n, end in zip(readers.FASHION_FILES.values(), (60, 20), ("", ".gz"), strict=True):
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
    monkeypatch.setattr(readers, "FASHION_SYSTEM_FOLDER", tmp_path / "system")
    for name, words in {"fashion": "train-images-idx3-ubyte", "cifar10": "cifar-10-batches-bin"}.items():
        with pytest.raises(FileNotFoundError, match=words) as caught:
            load(str(tmp_path), name=name)
        assert str(tmp_path / name) in str(caught.value) and "download=True" in str(caught.value)
    with pytest.raises(FileNotFoundError, match="train/<class>"):
        load(str(tmp_path), name="imagefolder")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="no test split"):
        load(name="digits")


def cifar_arrays(n, seed):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (n, 3072), dtype=np.uint8), np.arange(n) % 10


def test_cifar_binary_and_python_batches_give_the_same_data(tmp_path):
    for kind in (readers.CIFAR_BINARY, readers.CIFAR_PYTHON):
        folder = tmp_path / kind / "cifar10" / kind
        folder.mkdir(parents=True)
        for k, name in enumerate(name for names in readers.CIFAR_BATCHES.values() for name in names):
            x, y = cifar_arrays(20, k)
            if kind == readers.CIFAR_BINARY:
                np.column_stack([y.astype(np.uint8), x]).tofile(folder / f"{name}.bin")
            else:
                (folder / name).write_bytes(pickle.dumps({b"data": x, b"labels": y.tolist()}, protocol=2))
    a, b = (load(str(tmp_path / kind), name="cifar10") for kind in (readers.CIFAR_BINARY, readers.CIFAR_PYTHON))
    assert (
        a.fingerprint == b.fingerprint and a.input_shape == (3, 32, 32) and (len(a.y_train), len(a.y_test)) == (100, 20)
    )
    np.testing.assert_array_equal(a.x_train[20:40].numpy().reshape(20, -1), cifar_arrays(20, 1)[0])


def test_a_hostile_pickle_runs_nothing(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    folder = tmp_path / "cifar10" / readers.CIFAR_PYTHON
    folder.mkdir(parents=True)
    (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": Bomb(), b"labels": [0]}))
    with pytest.raises(ValueError, match="data_batch_1 is not a CIFAR-10 batch .*no CIFAR-10 batch needs"):
        load(str(tmp_path), name="cifar10")
    assert not (tmp_path / "exploded").exists()


# --- folders of images ------------------------------------------------------------------------------------------------


@pytest.fixture
def image_folder(tmp_path):
    generator = np.random.default_rng(0)
    for split, n in (("train", 6), ("test", 3)):
        for name in ("cat", "dog"):
            folder = tmp_path / "cifar10" / split / name
            folder.mkdir(parents=True)
            for k in range(n):
                Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    return tmp_path


def test_a_folder_of_images_is_decoded_once(image_folder, monkeypatch):
    first = load(str(image_folder), name="cifar10")
    assert (len(first.y_train), len(first.y_test), first.classes) == (12, 6, ("cat", "dog"))
    path = image_folder / "cifar10/train/dog/0.png"
    np.testing.assert_array_equal(first.x_train[6].permute(1, 2, 0), np.asarray(Image.open(path)))
    monkeypatch.setattr(readers, "decoded", None)  # a second decoding would fail
    assert load(str(image_folder), name="cifar10").fingerprint == first.fingerprint
    monkeypatch.undo()
    path.unlink()
    assert len(load(str(image_folder), name="cifar10").y_train) == 11
    assert len(list((image_folder / "cifar10").glob("cache-*"))) == 1


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


def test_bad_images_and_classes_are_named(image_folder):
    bad = image_folder / "cifar10/test/cat/0.png"
    bad.write_bytes(b"not an image")
    with pytest.raises(ValueError, match="cat/0.png is not a readable image"):
        load(str(image_folder), name="cifar10")
    bad.parent.rename(bad.parents[1] / "cow")
    with pytest.raises(ValueError, match="classes that train has not: \\['cow'\\]"):
        load(str(image_folder), name="cifar10")


@pytest.mark.skipif(
    not REAL_CIFAR.is_dir(), reason="the CIFAR-10 archives are not beside the repository (../shared/cifar10)"
)
def test_the_real_cifar10_images_go_through_the_folder_path(tmp_path):
    with tarfile.open(REAL_CIFAR / "test.tar.xz") as archive:
        members = [m for k, m in enumerate(m for m in archive if m.isfile()) if k % 25 == 0]
        archive.extractall(tmp_path / "cifar10", members, filter="data")
    (tmp_path / "cifar10" / "train").symlink_to(tmp_path / "cifar10" / "test")
    data = load(str(tmp_path), name="cifar10")
    assert data.input_shape == (3, 32, 32) and data.classes == readers.CIFAR_CLASSES and len(data.y_test) == 400
    x = data.normalise(data.x_test)
    assert x.mean().abs() < 0.15 and abs(x.std() - 1) < 0.15
