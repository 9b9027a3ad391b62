"""Magnitude: a weight is worth its size (Han et al. 2015, arXiv:1506.02626)."""

from collections.abc import Iterable

from nn.backend import Array, get_array_module
from nn.module import Module
from pruning.masks import prunable


def saliency(net: Module, names: Iterable[str] | None = None) -> dict[str, Array]:
    """Return s_k = |u_k| of every prunable weight, or of the parameters in `names`.

    Cheap, and blind: a ReLU net computes the same after W1 -> alpha W1, W2 -> W2 / alpha, but this ranking changes.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> import pruning
    >>> net = nn.Sequential(nn.Linear(2, 1, np.random.default_rng(0)))
    >>> net.layers[0].W.data = np.array([[-3.0, 2.0]])
    >>> pruning.scores.magnitude.saliency(net)
    {'0.W': array([[3., 2.]])}
    """
    return {name: get_array_module(u.data).abs(u.data) for name, u in prunable(net, names).items()}
