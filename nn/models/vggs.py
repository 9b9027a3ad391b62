"""VGG (Simonyan and Zisserman 2015) for CIFAR and for ImageNet."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.activations import ReLU
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.models.blocks import Rng, check_known, check_list, check_sizes, conv_bn_relu, flattened
from nn.module import Module, Sequential
from nn.pooling import GlobalAvgPool2d, MaxPool2d

# Numbers of 3x3 filters; 0 is a 2x2 max-pool.
FILTERS = {
    11: (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0),
    16: (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0),
    19: (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0),
}

# VGG-16 as ThiNet leaves it: half of the filters of the first ten convolutions; "Tiny" keeps a quarter, in the last
# stage a quarter, a quarter and a half.  A global mean takes the place of the last pool and the hidden layers.
THINET = {
    "Conv": (32, 32, 0, 64, 64, 0, 128, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0),
    "GAP": (32, 32, 0, 64, 64, 0, 128, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512),
    "Tiny": (16, 16, 0, 32, 32, 0, 64, 64, 64, 0, 128, 128, 128, 0, 128, 128, 256),
}


def vgg(
    depth: int,
    rng: Rng,
    channels: int = 3,
    size: int = 32,
    classes: int = 10,
    filters: tuple[int, ...] | None = None,
    head: int = 512,
    dtype: Any = np.float64,
) -> Sequential:
    """Return VGG-11, -16 or -19 for CIFAR: batch norm after each convolution, then 512-512-10 (Li et al. 2017).

    Parameters
    ----------
    depth : 11, 16 or 19.
    channels, size, classes : of the images (channels, size, size); a ValueError if they are too small for the pools.
    filters : numbers of filters in the place of the usual ones of this depth, 0 for a pool: thinner nets.
    head : units of the hidden fully connected layer.
    rng, dtype : as for `nn.Linear`.
    """
    check_sizes(channels=channels, classes=classes, head=head)
    layers: list[Module] = []
    c_in = channels
    for c_out in _filters(depth, filters):
        layers += conv_bn_relu(c_in, c_out, 3, rng, dtype=dtype) if c_out else [MaxPool2d(2)]
        c_in = c_out or c_in
    flat = flattened(f"VGG-{depth}", layers, channels, size)
    layers += [Flatten(), Linear(flat, head, rng, dtype=dtype), ReLU(), Linear(head, classes, rng, dtype=dtype)]
    return Sequential(*layers)


def vgg_imagenet(
    depth: int,
    rng: Rng,
    classes: int = 1000,
    dtype: Any = np.float64,
    channels: int = 3,
    size: int = 224,
    filters: tuple[int, ...] | None = None,
    hidden: int = 4096,
) -> Sequential:
    """Return VGG-11, -16 or -19 for ImageNet: biases, no batch norm, then 4096-4096-1000.

    `filters` and `hidden` make thinner nets, as in `vgg`, and images that are too small are a ValueError.

    Parameters
    ----------
    depth : 11, 16 or 19.
    channels, size : of the images, (channels, size, size).
    """
    check_sizes(channels=channels, classes=classes, hidden=hidden)
    layers, _ = _plain(_filters(depth, filters), channels, rng, dtype)
    flat = flattened(f"VGG-{depth}", layers, channels, size)
    layers += [Flatten(), Linear(flat, hidden, rng, dtype=dtype), ReLU(), Linear(hidden, hidden, rng, dtype=dtype)]
    return Sequential(*layers, ReLU(), Linear(hidden, classes, rng, dtype=dtype))


def vgg_thinet(
    variant: str,
    rng: Rng,
    classes: int = 1000,
    dtype: Any = np.float64,
    channels: int = 3,
    size: int = 224,
    filters: tuple[int, ...] | None = None,
) -> Sequential:
    """Return VGG-16 for ImageNet as ThiNet leaves it: "Conv", "GAP" or "Tiny" (Luo et al. 2017, arXiv 1707.06342).

    "Conv" is `vgg_imagenet` with half of the filters in its first ten convolutions; in "GAP" and "Tiny" a global mean
    and one linear layer follow the last convolution.  Weights 131.44, 8.32 and 1.32 million; operations, two for one
    multiplication with its addition, 9.58, 9.34 and 2.01 billion, as the paper prints them.  The widths of "GAP" and
    "Tiny" are those of the nets that the authors published.

    Parameters
    ----------
    channels, size : of the images, (channels, size, size).

    Raises
    ------
    ValueError
        For an unknown variant, sizes that are no positive whole numbers, or images too small for the pools.
    """
    check_sizes(channels=channels, classes=classes)
    if not isinstance(variant, str) or variant not in THINET:
        raise ValueError(f"expected ThiNet's VGG {', '.join(THINET)}, got {variant!r}")
    if filters is not None:
        check_list(filters, "numbers of filters, 0 for a pool", lowest=0)
    widths = THINET[variant] if filters is None else filters
    if variant == "Conv":
        return vgg_imagenet(16, rng, classes, dtype, channels, size, widths)
    layers, c_out = _plain(widths, channels, rng, dtype)
    flattened(f"ThiNet's VGG-{variant}", layers, channels, size)
    return Sequential(*layers, GlobalAvgPool2d(), Linear(c_out, classes, rng, dtype=dtype))


def _plain(filters: Sequence[int], c_in: int, rng: Rng, dtype: Any) -> tuple[list[Module], int]:
    """Return convolutions with biases, ReLUs and pools, and how many channels come out."""
    layers: list[Module] = []
    for c_out in filters:
        layers += [Conv2d(c_in, c_out, 3, rng, padding=1, dtype=dtype), ReLU()] if c_out else [MaxPool2d(2)]
        c_in = c_out or c_in
    return layers, c_in


def _filters(depth: int, given: Sequence[int] | None) -> Sequence[int]:
    check_known(depth, FILTERS, "VGG")
    if given is None:
        return FILTERS[depth]
    check_list(given, "numbers of filters, 0 for a pool", lowest=0)
    return given
