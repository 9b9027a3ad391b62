"""Which channels are constant whatever the input, and what they emit."""

from typing import Any

import numpy as np

from nn.backend import Array, get_array_module, to_numpy, zeros
from nn.branches import Concat, Residual, ZeroPadShortcut
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module, Sequential
from nn.pooling import AvgPool2d
from pruning.resizing import Rebuild
from pruning.tracing import Site, Trace, consumed, join


class Emitted:
    """Which channels are constant in eval mode whatever the input, and what they emit.

    Attributes
    ----------
    constant : numbers of the channels whose weights are zero, or reach constant channels only.
    uneven : those of them that may differ from pixel to pixel, because a border of zeros lies in between.
    values : module name -> what goes in and what comes out when the input of the net is zero, one pattern.
    """

    def __init__(self, net: Module, found: Trace, input_shape: tuple[int, ...]):
        self.found = found
        self.constant: set[int] = set()
        self.uneven: set[int] = set()
        self.values: dict[str, tuple[Array, Array]] = {}
        self._forward("", Rebuild(net, lambda *_: None).net.eval(), zeros((*input_shape, 1), net.parameters()[0].data))
        for site in found.sites:
            self._pass(site)

    def _forward(self, name: str, module: Module, x: Array) -> Array:
        # The forward pass of the containers, written out, to have every value at hand.
        if isinstance(module, Sequential):
            y = x
            for key, child in module.children():
                y = self._forward(join(name, key), child, y)
        elif isinstance(module, Residual | Concat):
            ends = [self._forward(join(name, key), child, x) for key, child in module.children()]
            other = [x] if isinstance(module, Residual) and module.shortcut is None else []
            y = get_array_module(x).concat(ends, axis=0) if isinstance(module, Concat) else sum(ends + other)
        else:
            y = module.forward(x)
        self.values[name] = x, y
        return y

    def nonzero(self, site: Site) -> np.ndarray:
        """Return which of the channels that the layer reads are not zero everywhere, when the net's input is."""
        x = to_numpy(self.values[site.name][0])
        return np.any(np.reshape(x, (x.shape[0], -1)) != 0, axis=1)

    def silent(self, site: Site) -> bool:
        """Whether the body of a residual block emits nothing but zeros, whatever the input."""
        body = site.inputs[: len(site.outputs)]
        return set(body) <= self.constant and not to_numpy(self.values[join(site.name, "body")][1]).any()

    def _pass(self, site: Site) -> None:
        # Constant in, constant out; the sites come in the order of the forward pass.
        if isinstance(site.layer, Residual):
            n = len(site.outputs)
            for one, other, out in zip(site.inputs[:n], site.inputs[n:], site.outputs):
                self._set(out, {one, other} <= self.constant, not self.uneven.isdisjoint((one, other)))
        elif isinstance(site.layer, ZeroPadShortcut):
            for source, out in zip(site.layer.sources(len(site.inputs)), site.outputs):
                label = None if source is None else site.inputs[source]
                self._set(out, label is None or label in self.constant, label in self.uneven)
        elif isinstance(site.layer, AvgPool2d):
            if site.layer.count_padding and pads(site.layer):
                self.uneven |= self.constant & set(site.inputs)
        elif isinstance(site.layer, Conv2d | Linear):
            nonzero, matrix = self.nonzero(site), weights(site)
            for rows, columns, labels in readings(site):
                live = np.array([label not in self.constant for label in labels])
                varying = np.array([self.spreads(site, label) for label in labels]) & nonzero[columns]
                mapped = isinstance(site.layer, Conv2d) and site.layer.bias_map is not None
                read = matrix[rows] != 0
                constant, uneven = ~np.any(read[:, live], axis=1), mapped | np.any(read[:, varying], axis=1)
                for row, c, u in zip(rows, constant, uneven):
                    self._set(site.outputs[row], c, u)

    def _set(self, label: int, constant: bool, uneven: bool) -> None:
        if constant:
            self.constant.add(label)
            self.uneven |= {label} if uneven else set()

    def spreads(self, site: Site, label: int) -> bool:
        """Whether a constant that the layer reads adds more to one pixel than to another."""
        return isinstance(site.layer, Conv2d) and (label in self.uneven or pads(site.layer))

    def read(self, site: Site, gone: set[int]) -> list[tuple[int, bool]]:
        """Return the channels in `gone` that rows which stay read, and of each whether no bias makes up for it."""
        found: list[tuple[int, bool]] = []
        if not isinstance(site.layer, Conv2d | Linear):
            return found
        nonzero, matrix = self.nonzero(site), weights(site)
        stay = np.array([root not in gone for root in self.found.root(site.outputs)])
        for rows, columns, labels in readings(site):
            used = np.any(matrix[rows[stay[rows]]] != 0, axis=0)
            for k in np.flatnonzero(used):
                if self.found.roots[labels[k]] in gone:
                    found.append((labels[k], bool(nonzero[columns[k]]) and self.spreads(site, labels[k])))
        return found

    def unfoldable(self, site: Site, gone: set[int], border: str) -> list[int]:
        """Return the channels in `gone` that rows which stay read or carry, and that cannot be folded."""
        read = [
            label
            for label, uneven in self.read(site, gone)
            if label not in self.constant or (uneven and border == "refuse")
        ]
        return read + self._replaced_by_zeros(site, gone)

    def _replaced_by_zeros(self, site: Site, gone: set[int]) -> list[int]:
        # What goes into a zero-padded shortcut and not out of it; zeros will come out, which is right for zeros only.
        if not isinstance(site.layer, ZeroPadShortcut):
            return []
        pairs = zip(site.layer.sources(len(site.inputs)), self.found.root(site.outputs))
        lost = [i for i, out in pairs if i is not None and self.found.roots[site.inputs[i]] in gone and out not in gone]
        loud = self.nonzero(site)
        return [site.inputs[i] for i in lost if loud[i] or site.inputs[i] not in self.constant]


def weights(site: Site) -> np.ndarray:
    """Return W of a convolution or an affine layer as the matrix (O, K)."""
    layer: Any = site.layer
    W = to_numpy(layer.W.data)
    return np.reshape(W, (W.shape[0], -1))


def readings(site: Site) -> list[tuple[np.ndarray, list[int], list[int]]]:
    """Return, for each group of the layer, its rows, and for each column of W the input row and channel it reads."""
    layer: Any = site.layer
    groups = consumed(layer)
    rows = np.split(np.arange(len(site.outputs)), len(groups))
    return [(r, columns, [site.inputs[column] for column in columns]) for r, columns in zip(rows, groups)]


def pads(layer: Any) -> bool:
    """Whether there is a border of zeros."""
    return any(max(side) > 0 for side in layer.geometry.padding)
