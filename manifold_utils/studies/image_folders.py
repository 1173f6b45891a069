"""Small image folders in ImageNet's layout, made from the digits, so that its path can be run anywhere (chapter 54).

Writes train/<class>/*.png and val/<class>/*.png of differing sizes, which `datasets` then streams, resizes and crops
as it does ImageNet's files. The pictures are scikit-learn's 8x8 digits enlarged: nothing computed from them says
anything about ImageNet.
"""

import numpy as np

CLASS_NAMES = tuple(f"n{k:08d}" for k in range(10))  # ImageNet names its classes by such numbers
MARGIN = 12  # pixels by which the longer side of a file exceeds the shorter at most


def write_digits(folder, n_train, n_test, *, side=32, seed=0):
    """Write a class-balanced image folder of enlarged digits.

    Parameters
    ----------
    folder : path, made if it is not there
    n_train, n_test : int
        Pictures of the splits train and val.
    side : int
        Shorter side of the pictures in pixels; the longer one is up to 12 pixels more, so that the loader has to crop.
    seed : int
        Of the choice of digits, their tints and sizes.

    Returns
    -------
    dict of split -> number of files written

    Raises
    ------
    ValueError
        More pictures than there are digits.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     counts = write_digits(pathlib.Path(folder), 20, 10)
    >>> counts
    {'train': 20, 'val': 10}
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    source, rng = load_digits(), np.random.default_rng(seed)
    if n_train + n_test > len(source.target):
        raise ValueError(f"{n_train + n_test} pictures are asked for, and there are {len(source.target)} digits")
    order = _round_robin(source.target, rng)
    counts = {}
    for split, index in (("train", order[:n_train]), ("val", order[n_train : n_train + n_test])):
        for k in index:
            place = folder / split / CLASS_NAMES[source.target[k]]
            place.mkdir(parents=True, exist_ok=True)
            grey = np.uint8(source.images[k] / source.images.max() * 255)
            tinted = np.uint8(grey[..., None] * rng.uniform(0.6, 1.0, 3))
            size = side + rng.integers(0, MARGIN + 1, 2) * (rng.permutation(2) == 0)
            picture = Image.fromarray(tinted).resize([int(s) for s in size], Image.Resampling.BILINEAR)
            picture.save(place / f"{k:04d}.png")
        counts[split] = len(index)
    return counts


def _round_robin(labels, rng):
    """Indices that go through the classes in turn, so that any cut of them is balanced to one."""
    shuffled = rng.permutation(len(labels))
    rank = np.empty(len(labels), dtype=int)
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        rank[members] = np.arange(len(members))
    return np.lexsort((labels, rank))
