"""A layer that reads fewer channels, written into a copy of the net.

He, Zhang, Sun 2017, Channel pruning for accelerating very deep neural networks, arXiv:1707.06168, step (ii).
"""

from collections.abc import Sequence

import numpy as np

from nn.backend import asarray
from nn.module import Module
from pruning.reconstruction.moments import Moments, real
from pruning.surgery.resizing import duplicate


def refitted(net: Module, name: str, kept: Sequence[int], moments: Moments) -> Module:
    """Return a new net whose layer reads these channels with the weights that keep its output best.

    W'_S = C_S A_SS^+, and zeros for all other channels, which `pruning.surgery.remove` can then take out where they are
    made.  The bias stays: the target is the dense layer's output without it.

    Parameters
    ----------
    name : of the weight, such as "3.W", which the moments must be of.
    kept : the channels that stay.

    Raises
    ------
    ValueError
        If the moments are of another layer, or a channel is named twice or is none of the layer's.
    """
    return written(net, name, kept, moments.refit(kept), moments)


def rescaled(net: Module, name: str, kept: Sequence[int], moments: Moments) -> Module:
    """Return a new net whose layer reads these channels with one factor each, beta folded into its weights.

    Parameters
    ----------
    name, kept, moments : as for `refitted`.

    Raises
    ------
    ValueError
        As `refitted`.
    """
    beta = np.repeat(moments.factors(kept), moments.W.shape[1] // moments.channels)
    return written(net, name, kept, moments.W[:, moments.columns(moments.checked(kept))] * beta, moments)


def written(net: Module, name: str, kept: Sequence[int], W: np.ndarray, moments: Moments) -> Module:
    """Return a new net with W (n, K_S) for the columns of these channels, ascending, and zeros for all others.

    Raises
    ------
    ValueError
        As `refitted`, or if W is not of that shape, real and finite.
    """
    parameters = dict(net.named_parameters())
    if name != moments.name or name not in parameters:
        raise ValueError(f"expected the moments in front of {name} and a net with it, got those of {moments.name}")
    if parameters[name].data.shape[0] != len(moments.W) or parameters[name].data.size != moments.W.size:
        raise ValueError(f"{name} has the shape {tuple(parameters[name].shape)}, the moments are of {moments.W.shape}")
    full = np.zeros(moments.W.shape)
    columns, W = moments.columns(moments.checked(kept)), real(W, f"the weights of {name}")
    if W.shape != (len(full), len(columns)):
        raise ValueError(f"expected weights of the shape {(len(full), len(columns))}, got {W.shape}")
    full[:, columns] = W
    new = duplicate(net)
    parameter = dict(new.named_parameters())[name]
    parameter.data = asarray(full.reshape(parameter.shape), like=parameter.data)
    return new
