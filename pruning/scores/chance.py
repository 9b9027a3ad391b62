"""Chance: what any other score has to beat."""

import numpy as np

from nn.backend import Array, asarray
from nn.module import Module
from pruning.masks import prunable


def saliency(net: Module, rng: np.random.Generator, names: list[str] | None = None) -> dict[str, Array]:
    """Return uniform random numbers, one for each filter, (out,) for every weight: the slides' random baseline.

    Draws in the order of the names.

    Raises
    ------
    ValueError
        For a name that is no parameter of the net.
    """
    return {
        name: asarray(rng.random(parameter.shape[0]), like=parameter.data, dtype=parameter.dtype)
        for name, parameter in prunable(net, names).items()
    }
