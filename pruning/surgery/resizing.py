"""Building a net again with fewer rows and columns: the mechanics of `pruning.surgery`.

Nothing here decides what goes; `pruning.surgery.cuts` does.  Every array is a copy: the first net and the second
share none.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from nn.activations import Identity
from nn.backend import Array, asarray, get_array_module, to_numpy
from nn.branches import Concat, Residual, Select, ZeroPadShortcut
from nn.channelwise import Channelwise
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module, Parameter, check_net, inside
from nn.optimizers import Optimizer
from nn.scale import Scale
from pruning.channels.members import by_group, consumed, shaped_like_weights, staying
from pruning.channels.tracing import Site, Trace

Block: TypeAlias = tuple[list[int], list[int] | None]
"""Rows of an array seen as (O, -1), and which columns of these rows (None: all).  Every group of a grouped convolution
is a block of its own, for it may keep other columns than its neighbours."""

Change: TypeAlias = Callable[["Rebuild", str, Module], Module | None]
"""(the rebuild, name of a module, the module) -> what takes its place, or None for a copy."""

Make: TypeAlias = Callable[["Rebuild", Site, list[int], list[int]], Module]
"""(the rebuild, a layer, which of its inputs and of its outputs stay) -> the layer that takes its place."""


class Rebuild:
    """A net made again, with a record of where each of its parameters went.

    Attributes
    ----------
    net : the new one.
    origins : id of a new parameter -> (the old one, the blocks of it that were kept).
    """

    def __init__(self, net: Module, change: Change):
        check_net(net)
        _check_masks(net)
        self.old, self.change = net, change
        self.origins: dict[int, tuple[Parameter, list[Block]]] = {}
        self.net = self.module("", net)

    def module(self, name: str, module: Module) -> Module:
        """Return what stands in the place of the module: what ``change`` makes of it, or else a copy."""
        new = self.change(self, name, module)
        if new is None:
            children = [self.module(inside(name, key), child) for key, child in module.children()]
            new = self.layer(module, children=children)
        new.training = module.training
        return new

    def layer(
        self,
        layer: Module,
        blocks: Mapping[str, list[Block]] | None = None,
        children: Sequence[Module] = (),
        **changes: Any,
    ) -> Module:
        """Return a copy of a layer with these constructor's arguments changed, and of the named arrays these blocks.

        The children of a container take the place of its own; arrays and generators beside them are the container's.
        Arrays that only the copy has, such as a bias, are left for the caller to fill.

        Raises
        ------
        ValueError
            If the class cannot be called with what its ``config`` returns.
        """
        try:
            new: Any = type(layer)(*children, **{**layer.config(), **changes})
        except TypeError as error:
            kind = type(layer).__name__
            raise ValueError(f"a {kind} cannot be built again from its config() and {[*changes]}: {error}") from None
        for name, value in list(vars(new).items()):
            if isinstance(value, Parameter) or name in new.buffers:
                old = getattr(layer, name)
                if old is None:
                    continue
                chosen: list[Block] = (blocks or {}).get(name) or [(list(range(*old.shape[:1] or (1,))), None)]
                if isinstance(value, Parameter):
                    self._fill(value, old, chosen)
                else:
                    setattr(new, name, sliced(old, chosen, (-1, *old.shape[1:])))
        inner = {f"{key}.{name}" for key, child in layer.children() for name, _ in child.named_generators()}
        for name in {name.partition(".")[0] for name, _ in layer.named_generators() if name not in inner}:
            setattr(new, name, copy.deepcopy(getattr(layer, name)))  # what draws noise goes on from the same state
        return new

    def _fill(self, new: Parameter, old: Parameter, blocks: list[Block]) -> None:
        self.origins[id(new)] = old, blocks
        if old.is_outline:
            return
        new.data = sliced(old.data, blocks, new.shape)
        if old.mask is not None:
            mask = sliced(old.mask, blocks, new.shape)
            new.mask = None if to_numpy(mask).all() else mask  # what the cut left of it may be all ones

    def optimizer(self, optimizer: Optimizer) -> Optimizer:
        """Return an optimizer with the same settings and step count on the new net, its state cut as the arrays were.

        What had no place in the old net, such as a bias that took up constants, starts without state, and decays, at
        the learning rate itself.

        Raises
        ------
        TypeError
            If this is no optimizer.
        ValueError
            If the optimizer moves a parameter that is not of the old net, or none of which anything is left.
        """
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"expected the optimizer of this net, got {type(optimizer).__name__}")
        states = {id(parameter): state for parameter, state in zip(optimizer.parameters, optimizer.state)}
        if states.keys() - {id(parameter) for parameter in self.old.parameters()}:
            raise ValueError("expected the optimizer of this net, got one that moves parameters of another")
        origins = {id(new): self.origins.get(id(new)) for new in self.net.parameters()}
        moved = [new for new in self.net.parameters() if (o := origins[id(new)]) is None or id(o[0]) in states]
        if not moved:
            n = len(optimizer.parameters)
            raise ValueError(f"the optimizer moves nothing that is left: all of its {n} parameters are gone")
        before = {new: origin[0] for new in moved if (origin := origins[id(new)]) is not None}
        pulled = [new for new in moved if new not in before or before[new] in optimizer.decayed]
        decayed = {new: optimizer.decayed[before[new]] if new in before else 1.0 for new in pulled}
        rates = {new: optimizer.rates[old] for new, old in before.items() if old in optimizer.rates}
        other = type(optimizer)(moved, **optimizer.config(), decayed=decayed, rates=rates)
        other.steps = optimizer.steps
        for new, state in zip(moved, other.state):
            if (origin := origins[id(new)]) is not None:
                old, blocks = origin
                state |= {key: sliced(array, blocks, new.shape) for key, array in states[id(old)].items()}
        return other

    def result(self, optimizer: Optimizer | None) -> Any:
        """Return the new net, or with an optimizer the pair (net, optimizer)."""
        return self.net if optimizer is None else (self.net, self.optimizer(optimizer))


def duplicate(net: Module, optimizer: Optimizer | None = None) -> Any:
    """Return the net again, or with its optimizer both: all that `nn.checkpoint` would save.

    Data, masks, buffers, modes and generators; no gradients, no curvatures, and nothing of the last forward pass.

    Raises
    ------
    ValueError
        If a mask has not the shape of its parameter; if the optimizer moves a parameter of another net.
    """
    return Rebuild(net, lambda *_: None).result(optimizer)


def without(net: Module, trace: Trace, gone: set[int], make: Make | None = None) -> Rebuild:
    """Return the net without the channels whose roots are `gone`; `make` stands in for `smaller`."""
    sites = {site.name: site for site in trace.sites}

    def change(rebuild: Rebuild, name: str, module: Module) -> Module | None:
        if isinstance(module, Concat):
            branches = [(inside(name, key), branch) for key, branch in module.children()]
            left = [(key, branch) for key, branch in branches if staying(trace, trace.outputs[key], gone)]
            return Concat(*(rebuild.module(key, branch) for key, branch in left))
        if list(module.children()):
            return None
        site = sites[name]
        inputs, outputs = (staying(trace, labels, gone) for labels in (site.inputs, site.outputs))
        return (make or smaller)(rebuild, site, inputs, outputs)

    return Rebuild(net, change)


def bypassed(net: Module, names: Sequence[str]) -> Rebuild:
    """Return the net in which the shortcuts stand in the place of these residual blocks."""

    def change(rebuild: Rebuild, name: str, module: Module) -> Module | None:
        if name not in names or not isinstance(module, Residual):
            return None
        return Identity() if module.shortcut is None else rebuild.module(inside(name, "shortcut"), module.shortcut)

    return Rebuild(net, change)


def smaller(rebuild: Rebuild, site: Site, inputs: list[int], outputs: list[int], **changes: Any) -> Module:
    """Return the layer with these of its inputs and outputs only, and with these constructor's arguments changed.

    Layers of the kinds below may be of a class of their own, with arrays of their own: what has W's shape is cut as W
    is, and what has one entry for each output as the bias.
    """
    layer = site.layer
    if isinstance(layer, Conv2d):
        return _convolution(rebuild, layer, inputs, outputs, changes)
    if isinstance(layer, Linear):
        blocks = cut_like(layer, [(outputs, inputs)], outputs)
        return rebuild.layer(layer, blocks, n_in=len(inputs), n_out=len(outputs), **changes)
    if isinstance(layer, Scale):
        return _scale(rebuild, layer, outputs)
    if isinstance(layer, Channelwise):
        return rebuild.layer(layer, _by_row(layer, layer.channels, outputs), channels=len(outputs), **changes)
    if isinstance(layer, ZeroPadShortcut):
        before = layer.sources(len(site.inputs))
        return _index_map(layer, inputs, [before[row] for row in outputs])
    if isinstance(layer, Select):
        n_in = None if layer.n_in is None else len(inputs)
        return Select([inputs.index(layer.indices[row]) for row in outputs], n_in)
    return rebuild.layer(layer)


def cut_like(layer: Conv2d | Linear, blocks: list[Block], rows: list[int]) -> dict[str, list[Block]]:
    """Return what is kept of each array of a layer: these blocks of W, and of all that has its shape; else the rows."""
    return {**_by_row(layer, layer.W.shape[0], rows), **dict.fromkeys(shaped_like_weights(layer), blocks)}


def _by_row(layer: Module, n: int, rows: list[int]) -> dict[str, list[Block]]:
    arrays = [*layer.named_parameters(), *layer.named_buffers()]
    return {name: [(rows, None)] for name, array in arrays if array is not None and tuple(array.shape[:1]) == (n,)}


def _convolution(
    rebuild: Rebuild, layer: Conv2d, inputs: list[int], outputs: list[int], changes: dict[str, Any]
) -> Module:
    there, per_group = set(inputs), layer.c_out // layer.groups
    columns = [[k for k, channel in enumerate(group) if channel in there] for group in consumed(layer)]
    rows = [[row for row in outputs if row // per_group == group] for group in range(layer.groups)]
    blocks: list[Block] = [(r, c) for r, c in zip(rows, columns) if r]
    sizes: dict[str, Any] = {"c_in": len(inputs), "c_out": len(outputs), "groups": len(blocks)}
    if layer.columns is not None:
        sizes["columns"] = _renumbered(layer, inputs, columns)
    return rebuild.layer(layer, cut_like(layer, blocks, outputs), **sizes, **changes)


def _renumbered(layer: Conv2d, inputs: list[int], columns: list[list[int]]) -> list[int] | None:
    # The kept columns (c, kh, kw) with c counted among the channels that stay; None if that is all there are.
    area = layer.geometry.kernel[0] * layer.geometry.kernel[1]
    group = next(g for g, c in enumerate(columns) if c)
    channels = by_group(layer, inputs, layer.c_in)[group]
    old = [(layer.columns or [])[k] for k in columns[group]]
    new = [channels.index(k // area) * area + k % area for k in old]
    return None if new == list(range(len(channels) * area)) else new


def _scale(rebuild: Rebuild, layer: Scale, outputs: list[int]) -> Module:
    # A group keeps its factor as long as it keeps a channel.
    left = [layer.group_of()[row] for row in outputs]
    groups = list(dict.fromkeys(left))
    sizes = [left.count(group) for group in groups]
    return rebuild.layer(layer, {"s": [(groups, None)]}, channels=len(outputs), groups=sizes)


def _index_map(layer: ZeroPadShortcut, inputs: list[int], sources: list[int | None]) -> ZeroPadShortcut:
    positions = [row for row, source in enumerate(sources) if source in inputs]
    in_front = positions == list(range(len(inputs)))
    return ZeroPadShortcut(len(sources) - len(inputs), layer.stride, None if in_front else positions)


def sliced(array: Array, blocks: list[Block], shape: tuple[int, ...]) -> Array:
    """Return the blocks of an array (O, ...), one below the other, in the given shape; always a copy."""
    xp = get_array_module(array)
    matrix = xp.reshape(array, (array.shape[0], -1) if array.shape else (1, 1))
    pieces = [_taken(matrix, rows, 0) if c is None else _taken(_taken(matrix, rows, 0), c, 1) for rows, c in blocks]
    return xp.reshape(xp.concat(pieces, axis=0), shape)


def _taken(array: Array, indices: list[int], axis: int) -> Array:
    xp = get_array_module(array)
    return xp.take(array, asarray(indices, like=array, dtype=xp.int64), axis=axis)


def _check_masks(net: Module) -> None:
    # A mask that somebody set by hand would be cut in the wrong places, or not at all.
    for name, parameter in net.named_parameters():
        shape = getattr(parameter.mask, "shape", None)
        if parameter.mask is not None and (shape is None or tuple(shape) != tuple(parameter.shape)):
            given = f"shape {tuple(shape)}" if shape is not None else f"a {type(parameter.mask).__name__}"
            raise ValueError(f"the mask of {name} does not fit: expected shape {tuple(parameter.shape)}, got {given}")
