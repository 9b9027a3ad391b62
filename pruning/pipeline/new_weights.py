"""The control's beginning: an architecture, or a mask, that pruning found, with weights that never saw a training step.

Is it the weights that pruning keeps, or only the net that it finds?  The same small net with new weights, trained as
long as `pruning.pipeline.scratch_budget` says, has the second and not the first.
"""

import math

import numpy as np

from nn.backend import asarray, to_numpy
from nn.batchnorm import BatchNorm
from nn.conv import Conv2d
from nn.initializers import Initializer, check_generator, he_normal
from nn.linear import Linear
from nn.module import Module
from nn.parameter import Parameter
from nn.scale import Scale
from pruning.masks import prunable
from pruning.surgery import duplicate

KNOWN = (Linear, Conv2d, BatchNorm, Scale)
"""Layers whose start is known."""


def redrawn(net: Module, rng: np.random.Generator, init: Initializer = he_normal, density: bool = False) -> Module:
    """Return a copy of the net that never was trained: its layers and masks, all its numbers drawn anew.

        W ~ init(shape of W) mask,   b = 0;   batch norm: gamma = 1, beta = 0, mean = 0, variance = 1

    With ``density=True`` a masked W is drawn larger,

        W ~ init(shape of W) mask / sqrt(d),   d = the share of W that its mask leaves,

    which keeps the size of the activations: of the fan-in terms of a unit only the share d is left, so that He's
    variance 2 / fan_in is too small by d.

    Parameters
    ----------
    net : the small net, or one with masks; it is not modified.
    rng : draws the weights, in the order of the parameters.
    init : (shape, rng) -> array, as for the layers.
    density : whether the variance is that of the weights which are left.

    Raises
    ------
    TypeError
        If this is no net, or rng no generator.
    ValueError
        If the net is an outline, has a layer whose start is not known here (only affine layers, factors and shifts of
        channels are), or a mask that leaves nothing.

    References
    ----------
    Liu, Sun, Zhou, Huang, Darrell 2019, Rethinking the value of network pruning, ICLR, arXiv:1810.05270; for masks they
    scale the standard deviation in their code, not in the text.  He, Zhang, Ren, Sun 2015, arXiv:1502.01852.
    """
    prunable(net)  # refuses what is no net
    check_generator(rng, outline=False)
    _check(net)
    new: Module = duplicate(net)
    for module in new.modules():
        if isinstance(module, Linear | Conv2d):
            _draw(module.W, rng, init, density)
            _fill(module.b, 0.0)
        elif isinstance(module, BatchNorm):
            _fill(module.gamma, 1.0)
            _fill(module.beta, 0.0)
            module.running_mean = 0 * module.running_mean
            module.running_variance = 0 * module.running_variance + 1
        elif isinstance(module, Scale):
            _fill(module.s, 1.0)
    return new


def _check(net: Module) -> None:
    known = [
        parameter for module in net.modules() if isinstance(module, KNOWN) for _, parameter in module.named_parameters()
    ]
    for name, parameter in net.named_parameters():
        if parameter.is_outline:
            raise ValueError(f"expected a net with weights, got an outline: {name} has only a shape")
        if not any(parameter is each for each in known):
            raise ValueError(f"expected affine layers, batch norm and scales, got {name}, whose start is not known")
        if parameter.mask is not None and not to_numpy(parameter.mask).any():
            raise ValueError(f"expected a mask that leaves some of {name}, got one of zeros")


def _draw(W: Parameter, rng: np.random.Generator, init: Initializer, density: bool) -> None:
    drawn = init(W.shape, rng)
    if W.mask is not None:
        mask = to_numpy(W.mask)
        drawn = drawn * mask / (math.sqrt(mask.mean()) if density else 1)
    W.data = asarray(drawn, like=W.data, dtype=W.data.dtype)


def _fill(parameter: Parameter | None, value: float) -> None:
    if parameter is None:
        return
    parameter.data = 0 * parameter.data + value
    if parameter.mask is not None:
        parameter.data = parameter.data * parameter.mask
