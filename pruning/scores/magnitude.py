"""Magnitude: a weight is worth its size (Han et al. 2015)."""

from nn.backend import Array, get_array_module
from nn.module import Module
from pruning.masks import prunable


def saliency(net: Module, names: list[str] | None = None) -> dict[str, Array]:
    """Return s_k = |u_k| of every prunable weight, or of the parameters in `names`.

    Cheap, and blind: a ReLU net computes the same after W1 -> alpha W1, W2 -> W2 / alpha, but this ranking changes.
    """
    return {name: _absolute(parameter.data) for name, parameter in prunable(net, names).items()}


def _absolute(u: Array) -> Array:
    return get_array_module(u).where(u > 0, u, -u)
