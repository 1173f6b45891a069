"""Fewer samples, and smaller images: class-balanced seeded subsets, and pooling by area."""

import numpy as np


def balanced_subset(labels, n, seed, n_classes=None):
    """Indices of `n` samples, as many of each class as of any other (one more in the first n % n_classes), shuffled.

    Parameters
    ----------
    labels : array (n_samples,) of int
    n : int; 0 takes all samples, in their order
    seed : int

    Returns
    -------
    ndarray (n,) int64

    Raises
    ------
    ValueError
        A class has too few samples.

    Examples
    --------
    >>> sorted(np.bincount(np.array([0, 0, 0, 1, 1])[balanced_subset([0, 0, 0, 1, 1], 4, 0)]).tolist())
    [2, 2]
    """
    labels = np.asarray(labels)
    if n == 0:
        return np.arange(len(labels))
    generator = np.random.default_rng(seed)
    n_classes = n_classes or int(labels.max()) + 1
    chosen = []
    for label in range(n_classes):
        members, quota = np.flatnonzero(labels == label), n // n_classes + (label < n % n_classes)
        if len(members) < quota:
            raise ValueError(
                f"{quota} samples of class {label} are asked for, and there are {len(members)}; lower n_train or n_test"
            )
        chosen.append(generator.permutation(members)[:quota])
    return generator.permutation(np.concatenate(chosen))


def pooled(images, side, border=0):
    """Images of `side` pixels a side: each pixel is the rounded mean of a square of pixels (area pooling).

    Parameters
    ----------
    images : ndarray (n, channels, height, width) uint8, square
    side : int, a divisor of height + 2 border; 0 returns the images as they are
    border : int, black pixels added on every side before pooling

    Returns
    -------
    ndarray (n, channels, side, side) uint8; a mean that lies half-way is rounded to the even number

    Raises
    ------
    ValueError
        Images that are not square, or of a size that `side` does not divide.

    Examples
    --------
    >>> pooled(np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4), 2).tolist()
    [[[[2, 4], [10, 12]]]]
    """
    if side == 0:
        return images
    n, channels, height, width = images.shape
    step, left_over = divmod(height + 2 * border, side)
    if height != width or left_over:
        framed = f" with a border of {border}" if border else ""
        raise ValueError(f"images of {height}x{width} pixels{framed} cannot be pooled to {side}x{side}")
    images = np.pad(images, ((0, 0), (0, 0), (border, border), (border, border)))
    blocks = images.reshape(n, channels, side, step, side, step)
    return np.rint(blocks.mean(axis=(3, 5), dtype=np.float32)).astype(np.uint8)
