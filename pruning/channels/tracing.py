"""A walk through a net that numbers every channel where it is made, and follows it to where it is used.

The rules are those of `pruning.channels`; here they are carried out, layer by layer in the order of the forward pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nn.activations import Activation
from nn.batchnorm import Dropout
from nn.branches import Concat, Residual, Select, ZeroPadShortcut
from nn.channelwise import Channelwise
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.module import Module, Sequential, check_net, inside
from nn.pooling import GlobalAvgPool2d, Pool2d

INPUT = 0
"""The number of every channel of the net's input: none of them can be cut, so that one number does for all."""


@dataclass(frozen=True)
class Site:
    """A layer, or the sum of a residual block, with the number of the channel that each row going in or out carries."""

    name: str
    layer: Module
    inputs: list[int]
    outputs: list[int]


@dataclass(frozen=True)
class Tie:
    """Two numbers for one channel, and what makes them one, in words."""

    first: int
    second: int
    by: str


@dataclass(frozen=True)
class _Rows:
    # What flows between two layers.  Nobody knows how many channels the net's input has (None) and how many rows a
    # channel has behind a flatten (flat), before a layer with sizes of its own says so.
    labels: list[int] | None
    image: bool = True
    flat: bool = False


@dataclass
class Trace:
    """A walk through the module tree in the order of the forward pass, every channel numbered where it is made.

    Attributes
    ----------
    sites : all layers and sums, in order.
    ties, pads : what sums and depthwise convolutions tie, and, one way, zero-padded shortcuts (first: going in).
    outputs : module name -> the channels that leave it, for containers too; "" is the net.
    branches : the names of the branches of concatenations.
    origins : number -> (name of the layer that makes the channel, row).
    roots : number -> the smallest number of the channels tied to it: two numbers with one root go together.
    """

    sites: list[Site] = field(default_factory=list)
    ties: list[Tie] = field(default_factory=list)
    pads: list[Tie] = field(default_factory=list)
    outputs: dict[str, list[int]] = field(default_factory=dict)
    branches: list[str] = field(default_factory=list)
    origins: list[tuple[str, int]] = field(default_factory=lambda: [("the input", 0)])
    roots: list[int] = field(default_factory=list)

    def new(self, name: str, n: int) -> list[int]:
        """Return the numbers of n channels that are made here."""
        first = len(self.origins)
        self.origins += [(name, row) for row in range(n)]
        return list(range(first, first + n))

    def root(self, labels: Iterable[int]) -> list[int]:
        """Return the roots of these channels."""
        return [self.roots[label] for label in labels]


def trace(net: Module) -> Trace:
    """Return who makes and who sees every channel of the net; outlines will do.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If two layers share a parameter, a layer is of a kind whose channels are unknown, or sizes do not fit.
    """
    refuse_shared(net)
    walk = _Walk()
    walk.module("", net, _Rows(None))
    walk.trace.roots = roots(len(walk.trace.origins), walk.trace.ties)
    return walk.trace


def depthwise(layer: Module) -> bool:
    """Whether every filter of the layer sees one channel alone."""
    return isinstance(layer, Conv2d) and layer.groups == layer.c_in > 1


def called(name: str) -> str:
    """Return the name of a module as a sentence has it: that of the whole net is empty."""
    return name or "the net"


class _Walk:
    def __init__(self) -> None:
        self.trace = Trace()
        self.input_channels: int | None = None

    def module(self, name: str, module: Module, x: _Rows) -> _Rows:
        if isinstance(module, Sequential):
            y = x
            for key, layer in module.children():
                y = self.module(inside(name, key), layer, y)
        elif isinstance(module, Residual):
            y = self.residual(name, module, x)
        elif isinstance(module, Concat):
            y = self.concat(name, module, x)
        else:
            y = self.layer(name, module, x)
        self.trace.outputs[name] = y.labels or []
        return y

    def residual(self, name: str, module: Residual, x: _Rows) -> _Rows:
        body = self.module(inside(name, "body"), module.body, x)
        way = x if module.shortcut is None else self.module(inside(name, "shortcut"), module.shortcut, x)
        n = max(len(body.labels or []), len(way.labels or []))
        if n == 0:
            return body
        one, other = self.resolve(name, body, n), self.resolve(name, way, n)
        y = self.trace.new(name, n)
        self.trace.sites.append(Site(name, module, one + other, y))
        by = f"the shortcut of {called(name)}"
        self.trace.ties += [Tie(label, out, by) for labels in (one, other) for label, out in zip(labels, y)]
        return _Rows(y, body.image, body.flat and way.flat)

    def concat(self, name: str, module: Concat, x: _Rows) -> _Rows:
        ends = [self.module(inside(name, key), branch, x) for key, branch in module.children()]
        if any(end.flat for end in ends):
            raise ValueError(f"{called(name)} concatenates flattened images: how many rows a channel has is not known")
        for (key, _), end in zip(module.children(), ends):
            self.trace.outputs[inside(name, key)] = self.known(name, end)
            self.trace.branches.append(inside(name, key))
        return _Rows([label for end in ends for label in self.known(name, end)], ends[0].image)

    def layer(self, name: str, layer: Module, x: _Rows) -> _Rows:
        y = x
        if isinstance(layer, Conv2d | Linear):
            inputs, outputs = self.weights(name, layer, x)
            y = _Rows(outputs, isinstance(layer, Conv2d))
        elif isinstance(layer, Channelwise):
            inputs = outputs = self.resolve(name, x, layer.channels)
            y = _Rows(outputs, x.image)
        elif isinstance(layer, ZeroPadShortcut):
            inputs, outputs = self.zero_pad(name, layer, x)
            y = _Rows(outputs)
        elif isinstance(layer, Select):
            inputs = self.known(name, x) if layer.n_in is None else self.resolve(name, x, layer.n_in)
            outputs = [inputs[index] for index in layer.indices]
            y = _Rows(outputs, x.image)
        elif isinstance(layer, Flatten | GlobalAvgPool2d | Activation | Pool2d | Dropout):
            inputs = outputs = x.labels or []
            if isinstance(layer, Flatten | GlobalAvgPool2d):
                y = _Rows(x.labels, image=False, flat=x.flat or (x.image and isinstance(layer, Flatten)))
        else:
            raise ValueError(
                f"{called(name)} is a {type(layer).__name__}, of which it is not known what becomes of a channel"
            )
        self.trace.sites.append(Site(name, layer, inputs, outputs))
        return y

    def weights(self, name: str, layer: Conv2d | Linear, x: _Rows) -> tuple[list[int], list[int]]:
        n_in, n_out = (layer.c_in, layer.c_out) if isinstance(layer, Conv2d) else (layer.n_in, layer.n_out)
        inputs, outputs = self.resolve(name, x, n_in), self.trace.new(name, n_out)
        if depthwise(layer):
            by = f"the depthwise convolution {called(name)}"
            self.trace.ties += [Tie(inputs[row * n_in // n_out], out, by) for row, out in enumerate(outputs)]
        return inputs, outputs

    def zero_pad(self, name: str, layer: ZeroPadShortcut, x: _Rows) -> tuple[list[int], list[int]]:
        inputs = self.known(name, x)
        outputs, by = self.trace.new(name, len(inputs) + layer.new_channels), f"the zero-padded shortcut {called(name)}"
        sources = layer.sources(len(inputs))
        self.trace.pads += [Tie(inputs[i], out, by) for i, out in zip(sources, outputs) if i is not None]
        return inputs, outputs

    def resolve(self, name: str, x: _Rows, n: int) -> list[int]:
        # The channel of each of the n rows that the layer `name` takes.
        if x.labels is None:
            if not x.flat:
                self.input_channels = n
            return [INPUT] * n
        each, remainder = divmod(n, len(x.labels))
        if remainder or (each > 1 and not x.flat):
            raise ValueError(f"{called(name)} takes {n} channels, and {len(x.labels)} come in")
        return [label for label in x.labels for _ in range(each)]

    def known(self, name: str, x: _Rows) -> list[int]:
        if x.labels is None and not x.flat and self.input_channels is not None:
            return [INPUT] * self.input_channels
        if x.labels is None or x.flat:
            raise ValueError(
                f"{called(name)} does not say how many rows it takes: put a layer with sizes in front of it"
            )
        return x.labels


def roots(n: int, ties: Sequence[Tie]) -> list[int]:
    """Return for each of n numbers the smallest one that the ties connect it to (union and find)."""
    parent = list(range(n))

    def find(label: int) -> int:
        while parent[label] != label:
            parent[label] = label = parent[parent[label]]
        return label

    for tie in ties:
        one, other = find(tie.first), find(tie.second)
        parent[max(one, other)] = min(one, other)
    return [find(label) for label in range(n)]


def refuse_shared(net: Module) -> None:
    """Raise a ValueError if two layers have one parameter, or a TypeError if this is no net."""
    check_net(net)
    owners: dict[int, str] = {}
    for name, parameter in net.named_parameters():
        if id(parameter) in owners:
            shared = owners[id(parameter)]
            raise ValueError(f"{shared} and {name} are one parameter: what goes in one layer would go in the other")
        owners[id(parameter)] = name
