"""Fully connected nets."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nn.activations import ReLU
from nn.initializers import Initializer, he_normal
from nn.linear import Flatten, Linear
from nn.models.blocks import check_initializer, check_list
from nn.module import Module, Sequential


def mlp(
    sizes: Sequence[int],
    rng: np.random.Generator | None,
    activation: Callable[[], Module] = ReLU,
    init: Initializer = he_normal,
    dtype: Any = np.float64,
) -> Sequential:
    """Return Flatten, Linear, activation, Linear, ..., Linear: an activation between the layers, none after the last.

    Parameters
    ----------
    sizes : numbers of units from the input to the output, for instance (784, 300, 100, 10).
    rng : draws the weights; None builds an outline.
    activation : class of the hidden activations.
    init, dtype : as for `Linear`.

    Raises
    ------
    ValueError
        If there are fewer than two sizes, one is no positive integer, or the activation is no class (a name, say).
    """
    if not callable(activation):
        raise ValueError(f"expected an activation class such as nn.ReLU, got {activation!r}")
    check_initializer(init)
    check_list(sizes, "numbers of units")
    if len(sizes) < 2:
        raise ValueError(f"expected at least two sizes, input and output, got {list(sizes)}")
    layers: list[Module] = [Flatten(), Linear(sizes[0], sizes[1], rng, init=init, dtype=dtype)]
    for n_in, n_out in pairwise(sizes[1:]):
        layers += [activation(), Linear(n_in, n_out, rng, init=init, dtype=dtype)]
    return Sequential(*layers)


def lenet300(rng: np.random.Generator | None, dtype: Any = np.float64) -> Sequential:
    """Return LeNet-300-100, the perceptron 784-300-100-10 with 266,610 parameters."""
    return mlp((784, 300, 100, 10), rng, dtype=dtype)
