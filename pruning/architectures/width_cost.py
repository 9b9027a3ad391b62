r"""What a net costs whose widths are still random: the expected multiply-accumulates, and their derivative.

A layer with weights between two mixes of widths costs  q c_in c_out,  q the positions times the kernel's area.  The
widths of two mixes are drawn independently, so the expectation of the product is the product of the expectations:

    E[MACs] = sum_l q_l E[c_in] E[c_out],   E[c] = sum_k softmax(a)_k c_k,   dE[c]/da_k = softmax(a)_k (c_k - E[c])

This is exact and not a bound: MACs are linear in each single width.

Notes
-----
Dong and Yang 2019, Network pruning via transformable architecture search, NeurIPS, arXiv:1905.09717.  The cost term of
the authors' code is  +log E[MACs]  while the net of the largest logits has more than it should, and  -log E[MACs]
while it has less: the branch asks another number than the one that is differentiated.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

from nn.backend import Array, asarray, get_array_module
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.module import Module, Sequential, inside
from pruning.architectures.width_mix import WidthMix, mixes
from pruning.counts import checked_shape


@dataclass(frozen=True)
class Product:
    """A layer of `unit` MACs for every pair of a channel in and one out: how many there are, or which mix says it."""

    name: str
    unit: int
    inputs: str | int
    outputs: str | int


class WidthCost:
    """The multiply-accumulates of a chain of layers with mixes of widths, for one input, weights only ("li2017").

    Parameters
    ----------
    net : a `nn.Sequential`, in which each mix stands directly behind the layer whose channels it mixes.
    input_shape : of one input, without the batch.

    Attributes
    ----------
    mixes : {name: `WidthMix`}.
    products : one for each layer with weights.
    most : the MACs of the largest widths.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If there is no mix, a mix stands elsewhere, a convolution has groups or chosen columns, there is a container
        other than `nn.Sequential`, or `input_shape` does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.architectures.width_cost import WidthCost
    >>> from pruning.architectures.width_mix import WidthMix
    >>> rng = np.random.default_rng(0)
    >>> mix = WidthMix(*map(nn.BatchNorm, (2, 4)), rng=rng)
    >>> cost = WidthCost(nn.Sequential(nn.Linear(3, 4, rng), mix, nn.ReLU(), nn.Linear(4, 5, rng)), (3,))
    >>> cost.macs({"1": 2}), cost.macs({"1": 4}), cost.most
    (16, 32, 32)
    >>> mix.logits.data = np.log([0.75, 0.25])  # (0.75) 16 + (0.25) 32
    >>> float(round(cost.expected(), 12))
    20.0
    """

    def __init__(self, net: Module, input_shape: Sequence[int]):
        shape = checked_shape(net, input_shape)
        self.mixes = mixes(net)
        if not self.mixes:
            raise ValueError("expected a net with layers that mix widths, got none")
        self.products = list(_products(list(_chain("", net)), shape))
        self.most = self.macs({name: mix.widths[-1] for name, mix in self.mixes.items()})

    def macs(self, widths: Mapping[str, Any]) -> Any:
        """Return sum_l q_l c_in c_out of these widths by the names of the mixes: whole, expected, or arrays of them."""
        total: Any = 0
        for each in self.products:
            c_in, c_out = (end if isinstance(end, int) else widths[end] for end in (each.inputs, each.outputs))
            total = total + each.unit * c_in * c_out
        return total

    def chosen(self) -> int:
        """Return the MACs of the net of the largest logits."""
        return int(self.macs({name: mix.width for name, mix in self.mixes.items()}))

    def mean_widths(self) -> dict[str, Array]:
        """Return {name: E[c]}, 0-d arrays."""
        return {name: _mean(mix) for name, mix in self.mixes.items()}

    def expected(self) -> Array:
        """Return E[MACs] over widths that are drawn by the softmax of their logits, a 0-d array."""
        return self.macs(self.mean_widths())

    def gradient(self) -> dict[str, Array]:
        """Return {name: dE[MACs]/da}, (K,) for each mix: the other widths' means, times softmax(a) (c - E[c])."""
        means = self.mean_widths()
        found = {}
        for name, mix in self.mixes.items():
            p = mix.probabilities()
            slope = self.macs({**means, name: 1}) - self.macs({**means, name: 0})  # dE[MACs]/dE[c], by linearity
            found[name] = slope * p * (asarray(mix.widths, like=p) - means[name])
        return found

    def architectures(self) -> Iterator[dict[str, int]]:
        """Yield all combinations of widths."""
        for widths in product(*(mix.widths for mix in self.mixes.values())):
            yield dict(zip(self.mixes, widths))


def _mean(mix: WidthMix) -> Array:
    p = mix.probabilities()
    return get_array_module(p).sum(p * asarray(mix.widths, like=p))


def _chain(name: str, module: Module) -> Iterator[tuple[str, Module]]:
    if isinstance(module, Sequential):
        for key, layer in module.children():
            yield from _chain(inside(name, key), layer)
    elif isinstance(module, WidthMix) or not list(module.children()):
        yield name, module
    else:
        raise ValueError(f"expected a chain of layers, got the {type(module).__name__} {name}: its ways cost otherwise")


def _products(chain: list[tuple[str, Module]], shape: tuple[int, ...]) -> Iterator[Product]:
    C, inputs = shape[0], cast("str | int", shape[0])  # how many channels there can be, and who says how many there are
    for place, (name, layer) in enumerate(chain):
        before, shape = shape, tuple(layer.output_shape(shape))
        if isinstance(layer, WidthMix) and not (place and isinstance(chain[place - 1][1], Conv2d | Linear)):
            raise ValueError(f"expected {name} directly behind the layer whose channels it mixes")
        if not isinstance(layer, Conv2d | Linear | Flatten) and shape[0] != before[0]:
            raise ValueError(f"expected layers that keep their channels, got the {type(layer).__name__} {name}")
        if isinstance(layer, Conv2d) and (layer.groups > 1 or layer.columns is not None):
            raise ValueError(f"expected a convolution of all channels, got {name} with groups or chosen columns")
        if isinstance(layer, Conv2d | Linear):
            behind, after = chain[place + 1] if place + 1 < len(chain) else ("", None)
            outputs = behind if isinstance(after, WidthMix) else shape[0]
            macs = math.prod(layer.W.shape) * math.prod(shape[1:])
            yield Product(name, macs // (C * shape[0]), inputs, outputs)
            C, inputs = shape[0], outputs
