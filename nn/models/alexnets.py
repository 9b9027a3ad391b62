"""AlexNet (Krizhevsky, Sutskever, Hinton 2012) with its two groups."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nn.activations import ReLU
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.models.blocks import Rng, check_list, check_sizes, flattened
from nn.module import Module, Sequential
from nn.pooling import MaxPool2d

FILTERS = (96, 256, 384, 384, 256)


def alexnet(
    rng: Rng,
    classes: int = 1000,
    dtype: Any = np.float64,
    channels: int = 3,
    size: int = 227,
    filters: Sequence[int] = FILTERS,
    hidden: int = 4096,
) -> Sequential:
    """Return AlexNet: convolutions 2, 4 and 5 in two groups; without local response normalisation.

    Images are (channels, size, size), 67 x 67 at least; even numbers of `filters`, and `hidden`, make thinner nets.
    Dropout is left to the one who trains it: put `nn.Dropout` in front of the fully connected layers.
    """
    check_list(filters, "numbers of filters, one a convolution", 5)
    check_sizes(channels=channels, classes=classes, hidden=hidden)
    A, B, C, D, E = filters
    features: list[Module] = [
        Conv2d(channels, A, 11, rng, stride=4, dtype=dtype),
        ReLU(),
        MaxPool2d(3, stride=2),
        Conv2d(A, B, 5, rng, padding=2, groups=2, dtype=dtype),
        ReLU(),
        MaxPool2d(3, stride=2),
        Conv2d(B, C, 3, rng, padding=1, dtype=dtype),
        ReLU(),
        Conv2d(C, D, 3, rng, padding=1, groups=2, dtype=dtype),
        ReLU(),
        Conv2d(D, E, 3, rng, padding=1, groups=2, dtype=dtype),
        ReLU(),
        MaxPool2d(3, stride=2),
    ]
    flat = flattened("AlexNet", features, channels, size)
    return Sequential(
        *features,
        Flatten(),
        Linear(flat, hidden, rng, dtype=dtype),
        ReLU(),
        Linear(hidden, hidden, rng, dtype=dtype),
        ReLU(),
        Linear(hidden, classes, rng, dtype=dtype),
    )
