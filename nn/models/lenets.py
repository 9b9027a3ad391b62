"""LeNet-5 as Caffe has it, and the network of the Optimal Brain Damage paper."""

from typing import Any

import numpy as np

from nn.activations import ReLU, ScaledTanh
from nn.branches import Concat, Select
from nn.conv import Conv2d
from nn.initializers import Initializer, he_normal, lecun_uniform_1990
from nn.linear import Flatten, Linear
from nn.models.blocks import Rng, check_initializer, check_list, check_sizes, flattened
from nn.module import Module, Sequential
from nn.pooling import MaxPool2d, Subsampling


def lenet5(
    rng: Rng,
    channels: int = 1,
    size: int = 28,
    classes: int = 10,
    dtype: Any = np.float64,
    filters: tuple[int, int] = (20, 50),
    hidden: int = 500,
    init: Initializer = he_normal,
) -> Sequential:
    """Return Caffe's LeNet: conv 20 5x5, max-pool, conv 50 5x5, max-pool, 500, ReLU, 10; 431,080 parameters.

    Images are (channels, size, size), 16 x 16 at least; `filters` and `hidden` make thinner nets.  The convolutions
    have no activation behind them, so `init` = lecun_normal, which keeps the size of linear signals, allows larger
    steps.

    Examples
    --------
    >>> import math
    >>> import nn
    >>> net = nn.models.lenet5(None)  # an outline: shapes and no numbers
    >>> sum(math.prod(parameter.shape) for parameter in net.parameters())
    431080
    """
    check_list(filters, "numbers of filters, one a convolution", 2)
    check_sizes(channels=channels, classes=classes, hidden=hidden)
    check_initializer(init)
    settings: dict[str, Any] = {"init": init, "dtype": dtype}
    features: list[Module] = [
        Conv2d(channels, filters[0], 5, rng, **settings),
        MaxPool2d(2),
        Conv2d(filters[0], filters[1], 5, rng, **settings),
        MaxPool2d(2),
    ]
    flat = flattened("LeNet-5", features, channels, size)
    head = [Flatten(), Linear(flat, hidden, rng, **settings), ReLU(), Linear(hidden, classes, rng, **settings)]
    return Sequential(*features, *head)


def lenet1990(rng: Rng, dtype: Any = np.float64) -> Sequential:
    """Return the network of the Optimal Brain Damage paper: 28 x 28 images, 2,578 parameters, 98,442 connections.

    H1: 4 maps, 5x5 convolution.  H2: 2x2 subsampling with a coefficient and a bias per map.  H3: 12 maps, 5x5, with 20
    links to H2 in two halves that each see two of its four maps: four maps see both, two see one.  H4: subsampling.
    Output: 10 units, fully connected.  LeCun's scaled tanh everywhere, targets +-1, squared error.

    The numbers fix how many links there are, not which map has which: the order here is a choice.
    """
    settings: dict[str, Any] = {"init": lecun_uniform_1990, "dtype": dtype}
    halves = [_half(first, rng, settings) for first in (0, 2)]
    return Sequential(
        Conv2d(1, 4, 5, rng, **settings),
        ScaledTanh(),
        Subsampling(4, 2, rng, dtype),
        ScaledTanh(),
        Concat(*halves[0], *halves[1]),
        ScaledTanh(),
        Subsampling(12, 2, rng, dtype),
        ScaledTanh(),
        Flatten(),
        Linear(192, 10, rng, **settings),
        ScaledTanh(),
    )


def _half(first: int, rng: Rng, settings: dict[str, Any]) -> list[Module]:
    second = first + 1
    return [
        Sequential(Select([first, second]), Conv2d(2, 4, 5, rng, **settings)),
        Sequential(Select([first]), Conv2d(1, 1, 5, rng, **settings)),
        Sequential(Select([second]), Conv2d(1, 1, 5, rng, **settings)),
    ]
