"""One picture file to three channels of 8 bits, and a hash of its bytes: whatever its mode, or refused by name.

Modes are converted by their range (16-bit grey is divided by 257, transparency is laid over white, a camera's
orientation is applied); one without a known range, several frames and damaged files are refused. Hashes are kept beside
the pictures, so that a file is read again only if its size or times change. Which files there are is known to `places`.
"""

import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from manifold_utils.files import atomic_path, printable

N_DECODERS = 4  # threads; decoding and hashing leave the interpreter's lock
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")  # what a file may hold, whatever it is called
PLAIN, TRANSPARENT = ("L", "RGB", "1", "P", "CMYK", "YCbCr"), ("LA", "La", "PA", "RGBA", "RGBa")
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
BACKGROUND = (255, 255, 255)  # under transparent pixels: the page that such pictures are made for
CHECKED_WHOLE = 50_000  # pictures of a folder up to which each is decoded once when it is hashed; beyond, its header is
HASHES = "cache-hashes"  # file beside the pictures
DIGEST = 16  # bytes of a picture's hash
N_NAMED = 3  # unreadable files that an error names


def decode(path, image_size=0, expected=0):
    """Pixels of a picture: ndarray uint8 (3, height, width).

    Parameters
    ----------
    path : path
    image_size : int
        Above 0, the shorter side is resized to it and the middle cut out; 0 keeps the file's own size.
    expected : int
        Pixels a side that a picture of its own size must have; 0 for any.

    Raises
    ------
    ValueError
        Not readable, of a mode that has no known range, of several frames, or of another size; names the file.
    """
    from PIL import Image, ImageOps

    try:
        with _opened(path) as image:
            if image_size:
                image.draft("RGB", (image_size, image_size))
            image = as_rgb(image)
            if image_size:
                image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
            pixels = np.asarray(image).transpose(2, 0, 1)
    except Exception as error:  # a damaged image can raise nearly anything: name the file for all of it
        raise ValueError(
            f"{printable(path)} is not a readable image ({_reason(path, error)}); unpack it again, or delete it"
        ) from error
    if expected and pixels.shape[1:] != (expected, expected):
        height, width = pixels.shape[1:]
        raise ValueError(
            f"{printable(path)} has {width}x{height} pixels, and images of {expected}x{expected} are expected: put the "
            "data set's own files there, or use the data set imagefolder, which resizes"
        )
    return pixels


def _opened(path):
    """A Pillow image whose header is sound: of a known format and mode, and one picture alone."""
    from PIL import Image

    Image.init()  # all formats are known only then
    image = Image.open(path, formats=FORMATS)
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ValueError(f"it has {image.n_frames} frames; save the one that counts as a picture of its own")
    sixteen = image.mode in SIXTEEN_BITS or (image.mode == "I" and image.format == "PNG")
    if not sixteen and image.mode not in PLAIN + TRANSPARENT:
        raise ValueError(f"its mode {image.mode!r} has no known range; save it as 8-bit grey or RGB")
    return image


def as_rgb(image):
    """A Pillow image as 8-bit RGB, upright: each mode by its own range.

    Examples
    --------
    >>> from PIL import Image
    >>> as_rgb(Image.fromarray(np.full((1, 1), 257 * 100, dtype=np.uint16))).getpixel((0, 0))
    (100, 100, 100)
    """
    from PIL import Image, ImageOps

    if image.mode in SIXTEEN_BITS or image.mode == "I":
        values = np.asarray(image).astype(np.float64)
        image = Image.fromarray(np.uint8(np.rint(values.clip(0, 65535) / 257)))
    elif image.mode in TRANSPARENT or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, (*BACKGROUND, 255)), layer)
    return ImageOps.exif_transpose(image).convert("RGB")


def _reason(path, error):
    """Why a file cannot be read, in one line without its path."""
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        return "it is empty"
    said = str(error).replace(repr(str(path)), "it").replace(str(path), "it")
    lines = said.splitlines()
    return lines[0][:200] if lines and said != "None" else f"damaged: {type(error).__name__}"


def digests(paths, folder):
    """Hash of the bytes of each picture, each checked to be readable when it is first seen.

    Parameters
    ----------
    paths : sequence of str
    folder : path
        That they lie in. Hashes are kept there, by relative name, size and times of change.

    Returns
    -------
    list of bytes, in the order of `paths`

    Raises
    ------
    ValueError
        Pictures that cannot be read: the first few by name and reason, the others counted.
    """
    stamps = [_stamp(path, folder) for path in paths]
    known = _stored(Path(folder))
    todo = [(path, stamp) for path, stamp in zip(paths, stamps, strict=True) if stamp not in known]
    if todo:
        whole, bad = len(paths) <= CHECKED_WHOLE, []
        with ThreadPoolExecutor(N_DECODERS) as pool, tqdm(total=len(todo), desc="checking images", leave=False) as bar:
            for (_, stamp), (digest, problem) in zip(todo, pool.map(lambda t: _look(t[0], whole), todo), strict=True):
                known[stamp] = digest
                bad += [problem] if problem else []
                bar.update()
        _refuse(bad, folder)
        _store(Path(folder), known)
    return [known[stamp] for stamp in stamps]


def _look(path, whole):
    """(hash of a file's bytes, what is wrong with it or "")."""
    try:
        with open(path, "rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").digest()[:DIGEST]
        if whole:
            decode(path)
        else:
            _opened(path).close()
    except ValueError as error:
        return b"", str(error) if whole else f"{printable(path)} is not a readable image ({_reason(path, error)})"
    except Exception as error:  # a damaged header can raise nearly anything
        return b"", f"{printable(path)} is not a readable image ({_reason(path, error)})"
    return digest, ""


def _refuse(bad, folder):
    if len(bad) == 1:
        raise ValueError(bad[0])
    if bad:
        more = f" ... and {len(bad) - N_NAMED} more" if len(bad) > N_NAMED else ""
        raise ValueError(f"{len(bad)} images of {printable(folder)} cannot be read: {'; '.join(bad[:N_NAMED])}{more}")


def _stamp(path, folder):
    """A file's relative name, size and times of change, as bytes (names may be in any encoding)."""
    found = os.stat(path)
    name = os.fsencode(os.path.relpath(path, folder))
    return b"%d %d %d %s" % (found.st_size, found.st_mtime_ns, found.st_ctime_ns, name)


def _stored(folder):
    """Stamp -> hash, from the file beside the pictures; empty if there is none, or it is not whole."""
    try:
        content = (folder / HASHES).read_bytes()
    except OSError:
        return {}
    body, checksum = content[:-DIGEST], content[-DIGEST:]
    if hashlib.sha256(body).digest()[:DIGEST] != checksum:
        return {}
    records = body.split(b"\0")[:-1]  # hexadecimal hash, stamp
    return {record[2 * DIGEST :]: bytes.fromhex(record[: 2 * DIGEST].decode()) for record in records}


def _store(folder, known):
    body = b"".join(digest.hex().encode() + stamp + b"\0" for stamp, digest in known.items())
    try:
        with atomic_path(folder / HASHES) as temporary:
            temporary.write_bytes(body + hashlib.sha256(body).digest()[:DIGEST])
    except OSError as error:
        warnings.warn(f"{error}: the images will be read again next time, to see that they are the same", stacklevel=2)
