"""Chance: what any other score has to beat (Mittal et al. 2018, arXiv:1801.10447, whom the slides name for it)."""

from collections.abc import Iterable

import numpy as np

from nn.backend import Array, asarray
from nn.module import Module
from pruning.masks import prunable


def saliency(net: Module, rng: np.random.Generator, names: Iterable[str] | None = None) -> dict[str, Array]:
    """Return uniform random numbers, one for each filter, (out,) for every weight: the slides' random baseline.

    Draws in the order of the names.

    Raises
    ------
    TypeError
        If `rng` is no generator, a seed for instance.
    ValueError
        For a name that is no parameter of the net.
    """
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"expected an np.random.Generator, for instance np.random.default_rng(0), got {rng!r}")
    return {
        name: asarray(rng.random(parameter.shape[0]), like=parameter.data, dtype=parameter.dtype)
        for name, parameter in prunable(net, names).items()
    }
