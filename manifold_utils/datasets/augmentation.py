"""The paper's augmentation as one batched tensor operation: pad, random crop, random horizontal flip.

PAPER.md section 2: pad 4, crop 32, flip. The pad is an eighth of the side, so 1 pixel at 8x8 and 4 at 28x28 and
32x32; whether a mirrored image is still of its class is the data set's to say (never for digits). It draws from the
generator it is given.
"""

import torch
import torch.nn.functional as F

PAD_FRACTION = 8  # 4 pixels of 32


def padding_of(side):
    """Pixels of padding for images of `side` pixels: side / 8, at least 1."""
    return max(1, round(side / PAD_FRACTION))


def crop_and_flip(images, padding, flip, generator):
    """Shift each image by up to `padding` pixels each way over a black border, and mirror half of them.

    Parameters
    ----------
    images : tensor (n, channels, height, width), any dtype, any device
        Raw values, where 0 is black (augment before normalising, as the usual loaders do).
    padding : int
        Pixels on each side.
    flip : bool
        Mirror each image with probability 1/2.
    generator : torch.Generator
        On the CPU, so that the draws are the same on every device.

    Returns
    -------
    tensor, the shape and dtype of `images`

    Examples
    --------
    >>> crop_and_flip(torch.ones(5, 3, 8, 8), 1, True, torch.Generator().manual_seed(0)).shape
    torch.Size([5, 3, 8, 8])
    """
    n, channels, height, width = images.shape
    shifts = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator)
    mirrored = torch.randint(0, 2, (n, 1), generator=generator).bool() & flip
    columns = torch.where(mirrored, width - 1 - torch.arange(width), torch.arange(width)) + shifts[1]
    rows = torch.arange(height) + shifts[0]
    rows, columns = rows.to(images.device), columns.to(images.device)
    padded = F.pad(images, (padding,) * 4)
    sample = torch.arange(n, device=images.device).view(n, 1, 1, 1)
    channel = torch.arange(channels, device=images.device).view(1, channels, 1, 1)
    return padded[sample, channel, rows.view(n, 1, height, 1), columns.view(n, 1, 1, width)]
