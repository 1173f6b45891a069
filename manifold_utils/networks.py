"""The network families of the paper (PAPER.md section 2), and one scale by which each shrinks to small images.

At 32x32x3 inputs, 10 classes and scale 1 the parameter counts are the paper's, to the last one. `scale` multiplies
widths; below 1 the vit and the convmixer also lose depth, as its square root; images below 16 pixels a side get 3x3
kernels in the convmixer. Networks return logits. Nothing here trains, loads weights or knows a data set.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from manifold_utils.compat import import_torchvision

FC_WIDTHS = (1024, 512, 256, 128)
ALLCNN_WIDTHS = (96, 144)
STUDENT_WIDTHS = {"student-1": (512,), "student-2": (512, 512)}
SMALL_SIDE = 16  # pixels; a 5x5 kernel would span all of the 4x4 patches of an 8x8 image
TOKEN_STD = 0.02  # spread of the vit's learned positions and class token at the start


def make_network(architecture, input_shape, n_classes, scale=1.0):
    """Build one network with its default initialisation (drawn from torch's current random state).

    Parameters
    ----------
    architecture : str
        One of BUILDERS: fc, allcnn, wr-10-4-8, wr-16-4-64, convmixer and vit are the paper's.
    input_shape : tuple of int
        (channels, height, width) of an image, or (n_features,) of a vector.
    n_classes : int
    scale : float
        Factor on all widths, above 0; 1 is the paper's network.

    Returns
    -------
    torch.nn.Module
        Maps (n, *input_shape) float32 to logits (n, n_classes).

    Raises
    ------
    ValueError
        Unknown architecture, a shape it cannot take, or a scale it does not have.

    Examples
    --------
    >>> n_parameters(make_network("allcnn", (3, 32, 32), 10))
    399486
    """
    if architecture not in BUILDERS:
        raise ValueError(f"unknown architecture {architecture!r}; known: {', '.join(BUILDERS)}")
    if not scale > 0:
        raise ValueError(f"scale must be above 0, found {scale}")
    takes_vectors = architecture == "fc" or architecture.startswith("student")
    if len(input_shape) != 3 and not (takes_vectors and len(input_shape) == 1):
        raise ValueError(
            f"{architecture} cannot take inputs of shape {tuple(input_shape)}: it needs (channels, height, width)"
        )
    return BUILDERS[architecture](tuple(input_shape), int(n_classes), float(scale))


def n_parameters(network):
    """Number of trained parameters (buffers, such as BatchNorm's running means, are not counted)."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def scaled(width, scale, multiple=1):
    """`width` times `scale`, rounded to a multiple of `multiple`, at least one multiple (exact at scale 1)."""
    return max(multiple, multiple * round(width * scale / multiple))


def _scaled_depth(depth, scale):
    return max(2, round(depth * math.sqrt(min(scale, 1.0))))


# --- fully connected: Linear, ReLU, then BatchNorm without affine parameters -----------------------------------------


def _fully_connected(widths, input_shape, n_classes, scale):
    sizes = [math.prod(input_shape), *(scaled(w, scale, 4) for w in widths)]
    layers = [nn.Flatten()]
    for before, after in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.BatchNorm1d(after, affine=False)]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], n_classes))


def _fc(input_shape, n_classes, scale):
    return _fully_connected(FC_WIDTHS, input_shape, n_classes, scale)


# --- all convolutional: each conv-ReLU-BatchNorm, the 1x1 to the classes included, then the mean over the image ------


def _allcnn(input_shape, n_classes, scale):
    narrow, wide = (scaled(w, scale, 2) for w in ALLCNN_WIDTHS)
    plan = [(narrow, 3, 1), (narrow, 3, 2), (wide, 3, 1), (wide, 3, 2), (n_classes, 1, 1)]
    layers, channels = [], input_shape[0]
    for width, kernel, stride in plan:
        layers += [nn.Conv2d(channels, width, kernel, stride, kernel // 2), nn.ReLU(), nn.BatchNorm2d(width)]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


# --- wide ResNet: pre-activation blocks, BatchNorm without affine parameters ------------------------------------------


class WideBlock(nn.Module):
    """BatchNorm-ReLU-conv twice, the stride on the second conv; a 1x1 shortcut where width or stride change."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before, affine=False), nn.BatchNorm2d(after, affine=False)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, stride, padding=1, bias=False)
        changes = stride != 1 or before != after
        self.stride, self.shortcut = stride, nn.Conv2d(before, after, 1) if changes else nn.Identity()

    def forward(self, x):
        h = self.conv1(F.relu(self.norm1(x)))
        # A strided 1x1 convolution is a plain one of every stride-th pixel. It is written so because torch 2.13 writes
        # beyond its buffers in the strided one's backward pass on CPU (channels_last, fewer than 7 channels).
        return self.conv2(F.relu(self.norm2(h))) + self.shortcut(x[:, :, :: self.stride, :: self.stride])


def _wide_resnet(depth, widen, stem, input_shape, n_classes, scale):
    channels = scaled(stem, scale, 2)
    layers = [nn.Conv2d(input_shape[0], channels, 3, padding=1, bias=False)]
    for group, stride in enumerate((1, 2, 2)):
        after = scaled(stem * widen * 2**group, scale)
        for block in range((depth - 4) // 6):
            layers.append(WideBlock(channels, after, stride if block == 0 else 1))
            channels = after
    layers += [nn.BatchNorm2d(channels, affine=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, n_classes))


def _wr_10_4_8(input_shape, n_classes, scale):
    return _wide_resnet(10, 4, 8, input_shape, n_classes, scale)


def _wr_16_4_64(input_shape, n_classes, scale):
    return _wide_resnet(16, 4, 64, input_shape, n_classes, scale)


# --- convmixer --------------------------------------------------------------------------------------------------------


class Residual(nn.Sequential):
    """x + f(x), with f the layers in sequence."""

    def forward(self, x):
        return x + super().forward(x)


def _convmixer(input_shape, n_classes, scale):
    width, patch = scaled(256, scale, 4), 2
    kernel = 5 if min(input_shape[1:]) >= SMALL_SIDE else 3
    layers = [nn.Conv2d(input_shape[0], width, patch, patch), nn.GELU(), nn.BatchNorm2d(width)]
    for _ in range(_scaled_depth(8, scale)):
        depthwise = nn.Conv2d(width, width, kernel, padding="same", groups=width)
        layers.append(Residual(depthwise, nn.GELU(), nn.BatchNorm2d(width)))
        layers += [nn.Conv2d(width, width, 1), nn.GELU(), nn.BatchNorm2d(width)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, n_classes))


# --- vision transformer -----------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Self-attention; query, key and value come from one linear map without bias."""

    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.norm = nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)

    def forward(self, x):
        n, tokens, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(n, tokens, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(n, tokens, width))


class VisionTransformer(nn.Module):
    """Linear patches, a class token, learned positions, pre-norm blocks, a final LayerNorm, a linear head."""

    def __init__(self, input_shape, n_classes, *, patch, width, depth, n_heads, mlp):
        super().__init__()
        channels, height, breadth = input_shape
        if height % patch or breadth % patch:
            raise ValueError(f"a vit with patches of {patch} cannot cut images of {height} x {breadth} pixels")
        self.patch = patch
        self.patches = nn.Linear(channels * patch**2, width)
        n_tokens = 1 + (height // patch) * (breadth // patch)
        self.token = nn.Parameter(nn.init.normal_(torch.empty(1, 1, width), std=TOKEN_STD))
        self.positions = nn.Parameter(nn.init.normal_(torch.empty(1, n_tokens, width), std=TOKEN_STD))
        blocks = []
        for _ in range(depth):
            feed_forward = [nn.LayerNorm(width), nn.Linear(width, mlp), nn.GELU(), nn.Linear(mlp, width)]
            blocks += [Residual(Attention(width, n_heads)), Residual(*feed_forward)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, n_classes))

    def forward(self, x):
        n, channels, height, width = x.shape
        p = self.patch
        cut = x.view(n, channels, height // p, p, width // p, p).permute(0, 2, 4, 1, 3, 5)
        tokens = self.patches(cut.reshape(n, (height // p) * (width // p), channels * p * p))
        h = torch.cat([self.token.expand(n, -1, -1), tokens], dim=1) + self.positions
        return self.head(self.blocks(h)[:, 0])


def _vit(input_shape, n_classes, scale):
    n_heads = 8 if scale >= 0.5 else 4 if scale >= 0.1 else 2
    width = scaled(512, scale, 2 * n_heads)
    return VisionTransformer(
        input_shape, n_classes, patch=4, width=width, depth=_scaled_depth(6, scale), n_heads=n_heads, mlp=width
    )


def _vit_small(input_shape, n_classes, scale):
    patch = max(2, min(input_shape[1:]) // 14)  # 16 pixels at 224
    width = scaled(384, scale, 12)
    depth = _scaled_depth(12, scale)
    return VisionTransformer(input_shape, n_classes, patch=patch, width=width, depth=depth, n_heads=6, mlp=4 * width)


# --- torchvision's residual networks, and the students of the synthetic data ------------------------------------------


def _torchvision(name):
    def build(input_shape, n_classes, scale):
        if scale != 1 or input_shape[0] != 3:
            raise ValueError(
                f"{name} is torchvision's: it has scale 1 and 3 channels only (found {scale}, {input_shape[0]})"
            )
        import_torchvision()
        from torchvision import models

        return getattr(models, name)(weights=None, num_classes=n_classes)

    return build


def _student(name):
    return lambda input_shape, n_classes, scale: _fully_connected(STUDENT_WIDTHS[name], input_shape, n_classes, scale)


BUILDERS = {
    "fc": _fc,
    "allcnn": _allcnn,
    "wr-10-4-8": _wr_10_4_8,
    "wr-16-4-64": _wr_16_4_64,
    "convmixer": _convmixer,
    "vit": _vit,
    "resnet18": _torchvision("resnet18"),
    "resnet50": _torchvision("resnet50"),
    "vit-small": _vit_small,
    **{name: _student(name) for name in STUDENT_WIDTHS},
}
