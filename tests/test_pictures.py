"""Pictures of every mode and state, written by Pillow: converted by their range, or refused by name."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from manifold_utils.datasets import load_dataset, pictures, places, readers
from manifold_utils.datasets.pictures import decode, digests
from manifold_utils.files import printable
from manifold_utils.profiles import DatasetConfig

CONFIG = DatasetConfig(name="imagefolder", folder="pets", image_size=8)
GREY = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)


def write(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def grey_of(path):
    return decode(str(path))[0].astype(int)


def see_through(mode):
    """A picture that is grey 100 in its left half, and fully transparent in its right half."""
    values = np.full((8, 8, 4), 100, dtype=np.uint8)
    values[..., 3] = 255 * (np.arange(8) < 4)
    return Image.fromarray(values).convert(mode)


@pytest.mark.parametrize(
    ("name", "image", "expected", "tolerance"),
    [
        ("l.png", Image.fromarray(GREY), GREY, 0),
        ("rgb.png", Image.fromarray(GREY).convert("RGB"), GREY, 0),
        ("sixteen.png", Image.fromarray(GREY.astype(np.uint16) * 257), GREY, 0),
        ("sixteen_low.png", Image.fromarray(np.full((8, 8), 257 * 3, dtype=np.uint16)), np.full((8, 8), 3), 0),
        ("one_bit.png", Image.fromarray(GREY > 99), 255 * (GREY > 99), 0),
        ("palette.png", Image.fromarray(GREY).convert("P"), GREY, 0),
        ("cmyk.jpg", Image.fromarray(np.full((8, 8, 3), 90, dtype=np.uint8)).convert("CMYK"), np.full((8, 8), 90), 4),
        ("rgba.png", see_through("RGBA"), [[100] * 4 + [255] * 4] * 8, 0),
        ("la.png", see_through("LA"), [[100] * 4 + [255] * 4] * 8, 0),
    ],
)
def test_a_mode_is_converted_by_its_range(tmp_path, name, image, expected, tolerance):
    np.testing.assert_allclose(grey_of(write(tmp_path / name, image)), expected, atol=tolerance)


def test_a_transparent_colour_of_a_palette_is_the_page(tmp_path):
    image = Image.fromarray(np.uint8([[0, 1], [1, 0]])).convert("P")
    image.putpalette([10, 10, 10, 200, 200, 200])
    image.putdata([0, 1, 1, 0])
    path = write(tmp_path / "p.png", image, transparency=0)
    assert grey_of(path).tolist() == [[255, 200], [200, 255]]


def test_a_camera_held_sideways(tmp_path):
    lying = Image.fromarray(np.uint8([[10, 200]])).convert("RGB").resize((32, 16), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    pixels = decode(str(write(tmp_path / "p.jpg", lying, exif=exif, quality=95)))
    assert pixels.shape == (3, 32, 16) and pixels[0, :12].mean() < 30 and pixels[0, -12:].mean() > 180


def truncated(path):
    content = write(
        path, Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    ).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def broken_header(path):
    content = bytearray(write(path, Image.fromarray(GREY)).read_bytes())
    content[16:24] = b"\0" * 8  # no width, no height
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("float.png", lambda p: Image.fromarray(GREY.astype("f4")).save(p, format="TIFF"), "its mode 'F' has no known"),
        ("wide.png", lambda p: Image.fromarray(GREY.astype("i4")).save(p, format="TIFF"), "its mode 'I' has no known"),
        (
            "moving.png",
            lambda p: Image.fromarray(GREY).save(p, save_all=True, append_images=[Image.fromarray(255 - GREY)]),
            "it has 2 frames",
        ),
        ("cut.jpg", truncated, "truncated"),
        ("head.png", broken_header, "."),
        ("empty.jpg", lambda p: p.write_bytes(b""), "it is empty"),
        ("text.png", lambda p: p.write_text("hello"), "cannot identify"),
        (
            "script.jpg",
            lambda p: p.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9"),
            "cannot identify",
        ),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_the_file(tmp_path, name, make, words):
    make(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name} is not a readable image \(.*{words}.*\); unpack it again") as error:
        decode(str(tmp_path / name))
    assert "None" not in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ValueError, match=name):
        digests([str(tmp_path / name)], tmp_path)


# --- folders ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pets(tmp_path):
    """A data folder with two classes of three and two pictures."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            for k in range(n):
                image = Image.fromarray(rng.integers(0, 256, (9, 8, 3), np.uint8))
                write(tmp_path / "pets" / split / name / f"{k}.png", image)
    return tmp_path


def load(data_dir):
    return load_dataset(CONFIG, str(data_dir))


def test_what_is_no_picture_of_a_class_is_counted_and_said(pets):
    cat, picture = pets / "pets" / "train" / "cat", Image.fromarray(GREY)
    for place in (pets / "pets" / ".git", pets / "pets" / "train" / ".ipynb_checkpoints", pets / "pets/train/__MACOSX"):
        write(place / "a.png", picture)
    write(cat / "more" / "a.png", picture)
    write(cat / "b.webp", picture)
    write(cat / "._0.png", picture)
    write(pets / "pets" / "train" / "loose.png", picture)
    (cat / "folder.jpg").mkdir()
    (cat / "notes.txt").write_text("fluffy")
    os.symlink("there.png", cat / "here.png")
    os.symlink("here.png", cat / "there.png")
    with pytest.warns(UserWarning, match="left out: .*train: cat: 5 files left out") as caught:
        data = load(pets)
    assert data.classes == ("cat", "dog") and len(data.y_train) == 6
    said = str(caught[0].message)
    for words in (".webp: 1", ".txt: 1", "one folder deeper: 1", "broken link: 2", "in no class: 1"):
        assert words in said


def test_a_class_without_a_readable_picture_is_refused_with_the_reason(pets):
    cat = pets / "pets" / "train" / "cat"
    for path in sorted(cat.iterdir()):
        Image.open(path).save(path.with_suffix(".webp"))
        path.unlink()
    with pytest.raises(places.IncompleteData, match=r"no images of cat \(cat: 3 files left out \(.webp: 3\)\)"):
        load(pets)
    (cat / "inner").mkdir()
    for path in cat.glob("*.webp"):
        Image.open(path).save(cat / "inner" / f"{path.stem}.png")
        path.unlink()
    with pytest.raises(places.IncompleteData, match="one folder deeper: 3"):
        load(pets)


def test_all_unreadable_pictures_are_named_before_anything_is_trained(pets):
    for k in range(3):
        (pets / "pets" / "train" / "dog" / f"{k}.png").write_bytes(b"")
    (pets / "pets" / "train" / "cat" / "0.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"4 images of .* cannot be read: .*cat/0.png .*dog/1.png.* and 1 more"):
        load(pets)


def test_names_in_another_encoding_work_and_can_be_printed(pets):
    for split in ("train", "test"):
        folder = pets / "pets" / split
        os.rename(folder / "cat", os.path.join(os.fsencode(folder), b"caf\xe9"))
        os.rename(folder / "dog" / "0.png", os.path.join(os.fsencode(folder / "dog"), b"\xff.png"))
    data = load(pets)
    assert data.classes == ("caf\\xe9", "dog") and len(data.fingerprint) == 16
    assert data.images("train", [0, 5]).shape == (2, 3, 8, 8)
    bad = os.path.join(os.fsencode(pets / "pets" / "train" / "dog"), b"\xff.png")
    open(bad, "wb").close()
    with pytest.raises(ValueError, match=r"dog/\\xff.png is not a readable image \(it is empty\)") as error:
        load(pets)
    str(error.value).encode()
    assert printable(os.fsdecode(bad)).encode()


# --- fingerprints -----------------------------------------------------------------------------------------------------


def test_a_moved_folder_is_the_same_and_a_changed_pixel_is_not(pets, tmp_path):
    before = load(pets).fingerprint
    shutil.copytree(pets / "pets", tmp_path / "elsewhere" / "pets")
    assert load(tmp_path / "elsewhere").fingerprint == before
    path = pets / "pets" / "train" / "dog" / "1.png"
    found, times = np.asarray(Image.open(path)).copy(), path.stat()
    found[0, 0, 0] ^= 1
    Image.fromarray(found).save(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as `cp -p` would leave it
    assert load(pets).fingerprint != before
    path.rename(path.with_name("9.png"))
    assert load(pets).fingerprint != before
    other = CONFIG.model_copy(update={"image_size": 16})
    assert load_dataset(other, str(tmp_path / "elsewhere")).fingerprint != before, "other pixels for the networks"


def test_files_are_read_again_only_if_they_change(pets, monkeypatch):
    before, looked = load(pets).fingerprint, []
    look = pictures._look
    monkeypatch.setattr(pictures, "_look", lambda path, whole: looked.append(path) or look(path, whole))
    assert load(pets).fingerprint == before and looked == []
    os.utime(pets / "pets" / "train" / "dog" / "1.png")
    assert load(pets).fingerprint == before and len(looked) == 1
    kept = pets / "pets" / pictures.HASHES
    kept.write_bytes(kept.read_bytes()[:-3] + b"abc")
    assert load(pets).fingerprint == before and len(looked) == 11, "a damaged list is made again"


def test_a_folder_that_cannot_be_written_is_read_each_time(pets, monkeypatch):
    monkeypatch.setattr(pictures, "atomic_path", lambda path: open("/proc/nowhere/x", "wb"))
    with pytest.warns(UserWarning, match="will be read again next time"):
        assert len(load(pets).fingerprint) == 16


def test_large_folders_are_checked_by_their_headers(pets, monkeypatch):
    monkeypatch.setattr(pictures, "CHECKED_WHOLE", 3)
    assert len(load(pets).fingerprint) == 16
    path = pets / "pets" / "train" / "dog" / "1.png"
    path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="dog/1.png is not a readable image"):
        load(pets)


# --- counts and batches -----------------------------------------------------------------------------------------------


def test_the_plan_counts_the_folder_itself(pets, tmp_path):
    from manifold_utils.profiles import Profile
    from manifold_utils.training.planning import plan, shape_of, sizes_of

    assert sizes_of(CONFIG, str(pets)) == (6, 4) and shape_of(CONFIG, str(pets)) == ((3, 8, 8), 2)
    assert readers.folder_sizes(pets / "nowhere") is None
    given = {"name": "pets", "description": "d", "dataset": CONFIG.model_dump(), "grids": {"main": {}}}
    main = {"common": {"architecture": "fc", "batch_size": 3, "epochs": 2}}
    profile = Profile.model_validate({**given, "grids": {"main": main}})
    there = plan(profile, measure=False, data_dir=str(pets))
    assert there.table.gigabytes["total"] < 1e-5 and "ImageNet" not in repr(there)
    away = plan(profile, measure=False, data_dir=str(tmp_path / "nowhere"))
    assert "no images in pets below" in repr(away) and away.table.gigabytes["total"] > 1


@pytest.mark.parametrize(("n", "batch_size", "sizes"), [(9, 4, [4, 5]), (8, 4, [4, 4]), (7, 4, [4, 3]), (1, 4, [1])])
def test_a_single_sample_at_the_end_joins_the_batch_before(n, batch_size, sizes):
    import torch

    data = load_dataset(DatasetConfig(name="digits", n_train=100, n_test=50))
    batches = list(data.batches("train", torch.arange(n), batch_size))
    assert [len(x) for x, _ in batches] == sizes == [len(index) for _, index in batches]
    assert torch.cat([index for _, index in batches]).tolist() == list(range(n))
    several = list(data.batches("train", torch.arange(5), 1))
    assert len(several) == 5, "batches of one, where they are asked for"
