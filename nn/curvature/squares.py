"""The squared gradients of single patterns: for every parameter u, the sum over the patterns n of (dE_n/du)^2.

E_n is what pattern n contributes to E.  Not a second derivative in itself: `nn.curvature.hess_diag` makes the
Gauss-Newton diagonal and the empirical Fisher of it.
"""

import math
from collections.abc import Iterator
from functools import singledispatchmethod
from typing import Any

from nn import conv
from nn.backend import Array, get_array_module, sum_positions, sum_rows
from nn.batchnorm import BatchNorm
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module
from nn.pooling import Subsampling
from nn.scale import Scale
from nn.sweeps import Signal, Sweep


class Squares(Sweep):
    """Takes dE/dy back to dE/dx, and leaves the sum of the squares in the ``hess_diag`` of every parameter.

    A weight that stands in many places of a pattern has one gradient there: summed first, then squared.
    """

    what = "the squared gradients of single patterns"

    @singledispatchmethod
    def fill(self, layer: Module, gy: Array) -> None:
        """Refuse parameters of which it is not known; a layer without any has nothing to fill."""
        if layer.parameters():
            raise self.unknown(layer)

    @singledispatchmethod
    def back(self, layer: Module, gy: Array) -> Signal:
        """dE/dy -> dE/dx, as every layer does."""
        return (layer.backward(gy),)

    @fill.register
    def fill_linear(self, layer: Linear, ga: Array) -> None:
        """Pattern n has the gradient ga_n x_n^T, whose square is (ga_n * ga_n) (x_n * x_n)^T."""
        layer.W.hess_diag = (ga * ga) @ (layer.x * layer.x).T  # sum_n (dE_n/da_i x_jn)^2
        if layer.b is not None:
            layer.b.hess_diag = sum_rows(ga * ga)

    @back.register
    def back_linear(self, layer: Linear, ga: Array) -> Signal:
        """dE/da -> dE/dx, and no gradient of W on the way."""
        return (layer.W.data.T @ ga,)

    @fill.register
    def fill_conv(self, layer: Conv2d, ga: Array) -> None:
        """A pattern's gradient ga_n cols_n^T is summed over the windows before it is squared."""
        xp = get_array_module(ga)
        groups = [
            sum(_squares(layer, g, image) for g, image in _patterns(layer, ga_group, padded))
            for ga_group, padded in zip(layer.split(ga), layer.split(layer.padded))
        ]
        layer.W.hess_diag = xp.reshape(xp.concat(groups, axis=0), layer.W.shape)
        if layer.b is not None:
            layer.b.hess_diag = _sum_of_squares(ga)

    @back.register
    def back_conv(self, layer: Conv2d, ga: Array) -> Signal:
        """dE/da -> dE/dx."""
        return (layer.to_input(layer.W.data, ga),)

    @fill.register
    def fill_batchnorm(self, layer: BatchNorm, gy: Array) -> None:
        """Factor and shift of a channel are shared by all positions of a map."""
        layer.check_eval()
        centred = get_array_module(gy).reshape(layer.centred, gy.shape)
        layer.gamma.hess_diag = _sum_of_squares(gy * centred) / (layer.deviation * layer.deviation)
        layer.beta.hess_diag = _sum_of_squares(gy)

    @fill.register
    def fill_scale(self, layer: Scale, gy: Array) -> None:
        """A factor is shared by all positions and channels of its group."""
        xp = get_array_module(gy)
        by_channel = sum_positions(gy * xp.reshape(layer.rows, gy.shape))
        by_group = layer.membership(gy).T @ by_channel
        layer.s.hess_diag = sum_rows(by_group * by_group)

    @fill.register
    def fill_subsampling(self, layer: Subsampling, ga: Array) -> None:
        """Coefficient and bias of a map are shared by all its windows."""
        layer.coefficient.hess_diag = _sum_of_squares(ga * layer.mean)
        layer.b.hess_diag = _sum_of_squares(ga)


def _sum_of_squares(g: Array) -> Array:
    # (C, ..., N) -> (C,): a pattern's positions are summed, and then squared.
    by_pattern = sum_positions(g)
    return sum_rows(by_pattern * by_pattern)


def _squares(layer: Conv2d, ga: Array, padded: Array) -> Array:
    # With the pattern as first axis, and as a part of the channel while the columns are made, each pattern is a matrix
    # product of its own.
    xp, (O, OH, OW, n), (C, H, W, _) = get_array_module(ga), ga.shape, padded.shape
    K = C * math.prod(layer.geometry.kernel)
    images = xp.reshape(xp.permute_dims(padded, (3, 0, 1, 2)), (n * C, H, W, 1))
    kept: Any = None if layer.columns is None else [p * K + k for p in range(n) for k in layer.columns]
    cols = xp.reshape(layer.geometry.columns(images, 0, OH, OW, kept), (n, -1, OH * OW))
    ga = xp.reshape(xp.reshape(xp.permute_dims(ga, (3, 0, 1, 2)), (n * O, OH * OW)), (n, O, OH * OW))
    gW = ga @ xp.permute_dims(cols, (0, 2, 1))
    return sum_positions(xp.reshape(gW * gW, (1, n, -1)))


def _patterns(layer: Conv2d, ga: Array, padded: Array) -> Iterator[tuple[Array, Array]]:
    # As many patterns at a time as have their columns in one block.
    step = max(1, conv.BLOCK // layer.column_size(math.prod(layer.size)))
    for first in range(0, ga.shape[-1], step):
        last = min(first + step, ga.shape[-1])
        yield ga[:, :, :, first:last], padded[:, :, :, first:last]
