"""AlexNet (Krizhevsky, Sutskever, Hinton 2012) with its two groups."""

from typing import Any

import numpy as np

from nn.activations import ReLU
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.models.blocks import Rng
from nn.module import Sequential
from nn.pooling import MaxPool2d


def alexnet(rng: Rng, classes: int = 1000, dtype: Any = np.float64) -> Sequential:
    """Return AlexNet for 227 x 227 images: convolutions 2, 4 and 5 in two groups; without local response normalisation.

    Dropout is left to the one who trains it: put `nn.Dropout` in front of the fully connected layers.
    """
    return Sequential(
        Conv2d(3, 96, 11, rng, stride=4, dtype=dtype),
        ReLU(),
        MaxPool2d(3, stride=2),
        Conv2d(96, 256, 5, rng, padding=2, groups=2, dtype=dtype),
        ReLU(),
        MaxPool2d(3, stride=2),
        Conv2d(256, 384, 3, rng, padding=1, dtype=dtype),
        ReLU(),
        Conv2d(384, 384, 3, rng, padding=1, groups=2, dtype=dtype),
        ReLU(),
        Conv2d(384, 256, 3, rng, padding=1, groups=2, dtype=dtype),
        ReLU(),
        MaxPool2d(3, stride=2),
        Flatten(),
        Linear(256 * 6 * 6, 4096, rng, dtype=dtype),
        ReLU(),
        Linear(4096, 4096, rng, dtype=dtype),
        ReLU(),
        Linear(4096, classes, rng, dtype=dtype),
    )
