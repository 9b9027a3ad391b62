"""VGG (Simonyan and Zisserman 2015) for CIFAR and for ImageNet."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.activations import ReLU
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.models.blocks import Rng, check_known, check_list, check_sizes, conv_bn_relu, flattened
from nn.module import Module, Sequential
from nn.pooling import MaxPool2d

# Numbers of 3x3 filters; 0 is a 2x2 max-pool.
FILTERS = {
    11: (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0),
    16: (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0),
    19: (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0),
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
    """
    check_sizes(channels=channels, classes=classes, hidden=hidden)
    layers: list[Module] = []
    c_in = channels
    for c_out in _filters(depth, filters):
        layers += [Conv2d(c_in, c_out, 3, rng, padding=1, dtype=dtype), ReLU()] if c_out else [MaxPool2d(2)]
        c_in = c_out or c_in
    flat = flattened(f"VGG-{depth}", layers, channels, size)
    layers += [Flatten(), Linear(flat, hidden, rng, dtype=dtype), ReLU(), Linear(hidden, hidden, rng, dtype=dtype)]
    return Sequential(*layers, ReLU(), Linear(hidden, classes, rng, dtype=dtype))


def _filters(depth: int, given: Sequence[int] | None) -> Sequence[int]:
    check_known(depth, FILTERS, "VGG")
    if given is None:
        return FILTERS[depth]
    check_list(given, "numbers of filters, 0 for a pool", lowest=0)
    return given
