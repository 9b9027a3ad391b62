"""Parameters, multiply-accumulates, activations and bytes of a net, under named conventions.

Counted by walking the module tree with the shapes of one image; outlines are enough.  1 FLOP is one multiply-accumulate
(MAC).  Papers differ in what they leave out, which is why a number without its convention means nothing.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn.activations import Activation
from nn.backend import dtype_name, to_numpy
from nn.batchnorm import Dropout
from nn.branches import Concat, Residual, Select, ZeroPadShortcut
from nn.channelwise import Channelwise
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.module import Module, Sequential, check_net, inside
from nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d, Subsampling


@dataclass(frozen=True)
class Convention:
    """Which kinds of layer and which of their parameters count."""

    description: str
    kinds: tuple[type[Module], ...]
    biases: bool
    projections: bool = True


CONVENTIONS = {
    "li2017": Convention(
        "weights of convolutions and fully connected layers; shortcuts with a projection left out (Li et al. 2017)",
        (Conv2d, Linear),
        biases=False,
        projections=False,
    ),
    "conv_only": Convention("weights of convolutions, shortcuts too (the P-RM paper)", (Conv2d,), biases=False),
    # A bias is one more input: one parameter, and one connection to every output.  A mean has one MAC for every input,
    # batch norm one for every output, as all that multiplies each channel with a number (`nn.Channelwise`).
    # Activations, max-pools and the sums of residual blocks have none.
    "full": Convention("all parameters and all multiply-accumulates", (Module,), biases=True),
}

FREE = (Activation, Dropout, Flatten, MaxPool2d, Select, ZeroPadShortcut)
"""Layers that multiply nothing."""


@dataclass(frozen=True)
class Layer:
    """One layer: where it stands, what it makes, and what it costs for one image."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    macs: int
    activations: int
    bytes: int
    """Of the counted parameters, and of bias maps where biases count."""


@dataclass(frozen=True)
class Count:
    """The counted layers of a net under one convention."""

    convention: str
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """Number of counted parameters; masked ones count, `masks.counts` tells how many live."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Number of multiply-accumulates for one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def activations(self) -> int:
        """Number of outputs of the counted layers for one image."""
        return sum(layer.activations for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Bytes of the counted parameters, densely stored in their dtype."""
        return sum(layer.bytes for layer in self.layers)

    def table(self) -> str:
        """Return the convention, one line per layer, and a line of totals."""
        rows: list[tuple[str, ...]] = [("layer", "kind", "output", "parameters", "MACs", "activations", "bytes")]
        for layer in self.layers:
            rows.append((layer.name, layer.kind, "x".join(map(str, layer.output)), *_numbers(layer)))
        rows.append(("total", "", "", *_numbers(self)))
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = [f"convention {self.convention}: {CONVENTIONS[self.convention].description}"]
        for row in rows:
            names = [cell.ljust(width) for cell, width in zip(row[:2], widths)]
            numbers = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:])]
            lines.append("  ".join(names + numbers))
        return "\n".join(lines)


def _numbers(of: Layer | Count) -> list[str]:
    return [f"{n:,}" for n in (of.parameters, of.macs, of.activations, of.bytes)]


def count(net: Module, input_shape: Sequence[int], convention: str = "li2017") -> Count:
    """Return what the net costs for one input of `input_shape` (without the batch), layer by layer.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        For an unknown convention, an input that the net cannot take, or a layer of a kind whose multiply-accumulates
        are unknown, counted under this convention or not.

    Examples
    --------
    >>> import nn
    >>> import pruning
    >>> counted = pruning.counts.count(nn.models.lenet5(None), (1, 28, 28))
    >>> counted.macs, counted.parameters
    (2293000, 430500)
    """
    if not isinstance(convention, str) or convention not in CONVENTIONS:
        raise ValueError(f"expected a convention of {', '.join(CONVENTIONS)}, got {convention!r}")
    rule, shape = CONVENTIONS[convention], checked_shape(net, input_shape)
    layers = [
        layer
        for name, module, shape, projection in walk(net, shape)
        if (layer := _layer(name, module, shape, rule)).parameters or layer.macs
        if isinstance(module, rule.kinds) and (rule.projections or not projection)
    ]
    return Count(convention, tuple(layers))


def checked_shape(net: Module, input_shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape as a tuple; an error if it is none of one input, this is no net, or one that cannot take it.

    Raises
    ------
    ValueError
        If this is no shape of one input.
    """
    check_net(net)
    shape = tuple(input_shape) if isinstance(input_shape, Iterable) else ()
    if not shape or not all(isinstance(n, int | np.integer) and n > 0 for n in shape):
        raise ValueError(f"expected the shape of one input, such as (3, 32, 32), got {shape or input_shape}")
    net.output_shape(shape)
    return shape


def walk(
    module: Module, shape: tuple[int, ...], name: str = "", projection: bool = False
) -> Iterator[tuple[str, Module, tuple[int, ...], bool]]:
    """Yield (name, layer, shape of its input, whether it is part of a shortcut) of all layers, in order.

    Parameters
    ----------
    module : the net, or a part of it.
    shape : of one input, without the batch.
    name : of the module, in front of those of its layers.
    projection : whether the module is a part of a shortcut.

    Raises
    ------
    ValueError
        If a container says nothing of what is in it.
    """
    if not list(module.children()):
        yield name, module, shape, projection
    elif isinstance(module, Sequential):
        for index, layer in module.children():
            yield from walk(layer, shape, inside(name, index), projection)
            shape = layer.output_shape(shape)
    elif isinstance(module, Residual | Concat):
        for index, branch in module.children():
            yield from walk(branch, shape, inside(name, index), projection or index == "shortcut")
    else:
        raise ValueError(f"{type(module).__name__} is a container that cannot be counted")


def _layer(name: str, module: Module, shape: tuple[int, ...], rule: Convention) -> Layer:
    output = tuple(module.output_shape(shape))
    counted = [parameter for key, parameter in module.named_parameters() if rule.biases or key == "W"]
    return Layer(
        name=name,
        kind=type(module).__name__,
        output=output,
        parameters=sum(math.prod(parameter.shape) for parameter in counted),
        macs=_macs(name, module, shape, output, rule),
        activations=math.prod(output),
        bytes=sum(
            math.prod(array.shape) * np.dtype(dtype_name(array.dtype)).itemsize
            for array in [*counted, *_maps(module, rule)]
        ),
    )


def _maps(module: Module, rule: Convention) -> list[Any]:
    # A bias map is stored, and added to every output, but it is not trained.
    return [module.bias_map] if rule.biases and isinstance(module, Conv2d) and module.bias_map is not None else []


def _macs(name: str, module: Module, shape: tuple[int, ...], output: tuple[int, ...], rule: Convention) -> int:
    if isinstance(module, Conv2d | Linear):
        biases = (module.b is not None) + len(_maps(module, rule)) if rule.biases else 0
        return (math.prod(module.W.shape[1:]) + biases) * math.prod(output)
    if isinstance(module, Subsampling):
        return (math.prod(module.geometry.kernel) + 1) * math.prod(output)
    if isinstance(module, AvgPool2d):
        return math.prod(module.geometry.kernel) * math.prod(output)
    if isinstance(module, GlobalAvgPool2d):
        return math.prod(shape)
    if isinstance(module, Channelwise):
        return math.prod(output)
    if isinstance(module, FREE):
        return 0
    kind = type(module).__name__
    raise ValueError(f"{name or 'the net'} is a {kind}, of which it is not known how many multiply-accumulates it has")


def connections_per_parameter(net: Module, input_shape: Sequence[int]) -> dict[str, int]:
    """Return |V_k|, the number of connections that each single entry of a parameter controls, by name.

    1 in a fully connected layer.  In a convolution every output position has its own copy of the kernel and the bias;
    in `nn.Subsampling` the coefficient multiplies all k^2 pixels of every window.

    Raises
    ------
    ValueError
        For an input that the net cannot take, or parameters of another kind of layer.

    References
    ----------
    LeCun, Denker, Solla 1990: V_k is the set of index pairs (i, j) whose w_ij is u_k.
    """
    uses = {}
    for name, module, shape, _ in walk(net, checked_shape(net, input_shape)):
        for key, _ in module.named_parameters():
            if not isinstance(module, Conv2d | Linear | Subsampling):
                kind = type(module).__name__
                raise ValueError(f"expected parameters of Conv2d, Linear or Subsampling, got those of {kind} ({name})")
            positions = math.prod(module.output_shape(shape)[1:])
            pixels = math.prod(module.geometry.kernel) if isinstance(module, Subsampling) and key != "b" else 1
            uses[inside(name, key)] = positions * pixels
    return uses


def live_connections(net: Module, input_shape: Sequence[int]) -> int:
    """Return how many connections are left under the masks: a shared weight takes all of its connections with it."""
    uses = connections_per_parameter(net, input_shape)
    return sum(
        uses[name] * (math.prod(u.shape) if u.mask is None else int(np.sum(to_numpy(u.mask))))
        for name, u in net.named_parameters()
    )
