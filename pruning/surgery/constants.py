"""Which channels are constant whatever the input, where, and what they emit."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn.backend import Array, get_array_module, to_numpy, zeros
from nn.branches import Concat, Residual, Select, ZeroPadShortcut
from nn.channelwise import Channelwise
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.module import Module, Sequential, evaluated, inside
from nn.pooling import AvgPool2d
from pruning.channels.members import consumed
from pruning.channels.tracing import Site, Trace
from pruning.counts import checked_shape


@dataclass(frozen=True)
class Values:
    """What flows between two layers in eval mode.

    Attributes
    ----------
    x : its values when the input of the net is zero, one pattern.
    constant : (C,), whether that is what the row holds whatever the input.
    uneven : (C,), whether a constant may differ from pixel to pixel, because of a border of zeros or a bias map in
        between; says nothing of rows that are not constant.
    """

    x: Array
    constant: np.ndarray
    uneven: np.ndarray

    def nonzero(self) -> np.ndarray:
        """Return which rows are not zero everywhere, when the input of the net is."""
        x = to_numpy(self.x)
        return np.any(np.reshape(x, (x.shape[0], -1)) != 0, axis=1)


@dataclass(frozen=True)
class Reading:
    """A channel that a layer reads, and whether it is constant there.

    If it is, and not zero, ``uneven`` says that it adds more to one pixel than to another, so that no bias can stand
    for it.
    """

    label: int
    constant: bool
    uneven: bool


class Emitted:
    """Which channels are constant in eval mode whatever the input, where, and what they emit.

    A channel whose weights are zero, or reach constants only, is constant wherever it is seen; one that a scale of zero
    stops (batch norm, subsampling) is constant behind that scale, but not in front of it.

    Attributes
    ----------
    inputs, outputs : module name -> what goes in, what comes out.
    """

    def __init__(self, net: Module, trace: Trace, input_shape: tuple[int, ...]):
        self.trace = trace
        self.inputs: dict[str, Values] = {}
        self.outputs: dict[str, Values] = {}
        like = next((parameter.data for parameter in net.parameters()), np.zeros(1))
        x = zeros((*checked_shape(net, input_shape), 1), like)
        varying = np.zeros(x.shape[0], bool)
        self._forward("", net, Values(x, varying, varying))

    def _forward(self, name: str, module: Module, x: Values) -> Values:
        # The forward pass of the containers, written out, to have every value at hand.
        if isinstance(module, Sequential):
            y = x
            for key, child in module.children():
                y = self._forward(inside(name, key), child, y)
        elif isinstance(module, Residual):
            body = self._forward(inside(name, "body"), module.body, x)
            way = x if module.shortcut is None else self._forward(inside(name, "shortcut"), module.shortcut, x)
            y = Values(body.x + way.x, body.constant & way.constant, body.uneven | way.uneven)
        elif isinstance(module, Concat):
            y = _concatenated([self._forward(inside(name, key), child, x) for key, child in module.children()])
        else:
            y = Values(evaluated(module, x.x), *_passed(module, x))
        self.inputs[name], self.outputs[name] = x, y
        return y

    def silent(self, site: Site) -> bool:
        """Whether the body of a residual block emits nothing but zeros, whatever the input."""
        body = self.outputs[inside(site.name, "body")]
        return bool(body.constant.all()) and not body.nonzero().any()

    def read(self, site: Site, gone: set[int]) -> list[Reading]:
        """Return the channels in `gone` that rows which stay read."""
        if not isinstance(site.layer, Conv2d | Linear):
            return []
        x, matrix = self.inputs[site.name], weights(site.layer)
        read: list[Reading] = []
        uneven = _spread(site.layer, x)
        stay = np.array([root not in gone for root in self.trace.root(site.outputs)])
        for rows, columns in readings(site.layer):
            used = np.any(matrix[rows[stay[rows]]] != 0, axis=0)
            inputs = sorted({columns[k] for k in np.flatnonzero(used)})
            read += [Reading(site.inputs[row], bool(x.constant[row]), bool(uneven[row])) for row in inputs]
        return [reading for reading in read if self.trace.roots[reading.label] in gone]

    def unfoldable(self, site: Site, gone: set[int], border: str) -> list[Reading]:
        """Return the channels in `gone` that rows which stay read or carry, and that cannot be folded."""
        read = [each for each in self.read(site, gone) if not each.constant or (each.uneven and border == "refuse")]
        return read + self._replaced_by_zeros(site, gone)

    def _replaced_by_zeros(self, site: Site, gone: set[int]) -> list[Reading]:
        # What goes into a zero-padded shortcut and not out of it; zeros will come out, which is right for zeros only.
        if not isinstance(site.layer, ZeroPadShortcut):
            return []
        x = self.inputs[site.name]
        pairs = zip(site.layer.sources(len(site.inputs)), self.trace.root(site.outputs))
        lost = [i for i, out in pairs if i is not None and self.trace.roots[site.inputs[i]] in gone and out not in gone]
        loud = x.nonzero() | ~x.constant
        return [Reading(site.inputs[i], bool(x.constant[i]), bool(x.uneven[i])) for i in lost if loud[i]]


def _concatenated(ends: list[Values]) -> Values:
    x = get_array_module(ends[0].x).concat([end.x for end in ends], axis=0)
    constant, uneven = zip(*((end.constant, end.uneven) for end in ends))
    return Values(x, np.concatenate(constant), np.concatenate(uneven))


def _passed(layer: Module, x: Values) -> tuple[np.ndarray, np.ndarray]:
    # Which rows are constant behind a layer, and which of these uneven.
    if isinstance(layer, Channelwise):
        stopped = to_numpy(layer.factor()) == 0
        return x.constant | stopped, x.uneven & ~stopped
    if isinstance(layer, ZeroPadShortcut):
        sources = layer.sources(len(x.constant))
        new = np.array([source is None for source in sources])
        rows = [source or 0 for source in sources]
        return x.constant[rows] | new, x.uneven[rows] & ~new
    if isinstance(layer, Select):
        return x.constant[layer.indices], x.uneven[layer.indices]
    if isinstance(layer, Flatten):
        pixels = math.prod(x.x.shape[1:-1])
        return np.repeat(x.constant, pixels), np.repeat(x.uneven, pixels)
    if isinstance(layer, AvgPool2d):
        return x.constant, x.uneven | (x.nonzero() & (layer.count_padding and pads(layer)))
    if isinstance(layer, Conv2d | Linear):
        return _multiplied(layer, x)
    return x.constant, x.uneven


def _multiplied(layer: Conv2d | Linear, x: Values) -> tuple[np.ndarray, np.ndarray]:
    read, spread = weights(layer) != 0, _spread(layer, x)
    mapped = isinstance(layer, Conv2d) and layer.bias_map is not None
    constant, uneven = np.ones(len(read), bool), np.full(len(read), mapped)
    for rows, columns in readings(layer):
        constant[rows] = ~np.any(read[rows] & ~x.constant[columns], axis=1)
        uneven[rows] |= np.any(read[rows] & spread[columns], axis=1)
    return constant, uneven


def _spread(layer: Conv2d | Linear, x: Values) -> np.ndarray:
    # Which constants that the layer reads add more to one pixel than to another.
    return (x.uneven | pads(layer)) & x.nonzero() if isinstance(layer, Conv2d) else np.zeros(len(x.uneven), bool)


def weights(layer: Conv2d | Linear) -> np.ndarray:
    """Return W of a convolution or an affine layer as the matrix (O, K)."""
    W = to_numpy(layer.W.data)
    return np.reshape(W, (W.shape[0], -1))


def readings(layer: Conv2d | Linear) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Yield, for each group of the layer, its rows, and for each column of W the input row it reads."""
    groups = consumed(layer)
    return zip(np.split(np.arange(layer.W.shape[0]), len(groups)), groups)


def pads(layer: Any) -> bool:
    """Whether there is a border of zeros."""
    return any(max(side) > 0 for side in layer.geometry.padding)
