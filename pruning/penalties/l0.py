r"""L0 regularization: the expected number of weights that are not zero, of which a random gate has a gradient.

    min  E_z E(z W) + (1/N) sum_g P(z_g != 0) (lam |g| + (wd/2) ||W^(g)||^2)

over the weights and the log alpha of `hard_concrete` gates z.  |g| is the number of weights that a gate closes: rows in
front of it or columns behind it, or a single weight.

`pruning.surgery.harden` makes trained gates factors of weights, and `removed` leaves out what is zero.  Gates need
about ten times the learning rate of the weights (``rates`` of an optimizer).

The sum of P(z_g != 0) |g| is no expected size where the weights of one gate are closed by others too: a net with gates
on inputs and units has  sum_ij P(row i) P(column j)  expected weights, `expected_weights`.

Notes
-----
Louizos, Welling, Kingma 2018, Learning sparse neural networks through L0 regularization, arXiv:1712.01312.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from nn.arguments import nonnegative, whole
from nn.backend import Array, get_array_module, to_numpy
from nn.branches import Select, ZeroPadShortcut
from nn.companions import Companion
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module, Parameter, Sequential, check_net, inside
from pruning import surgery
from pruning.channels.members import consumed
from pruning.channels.tracing import refuse_shared
from pruning.masks import prunable
from pruning.penalties.families import Family, check_family, norms, spread
from pruning.penalties.hard_concrete import HardConcrete, HardConcreteLinear
from pruning.surgery.resizing import Rebuild, cut_like

__all__ = ["LIMIT", "ExpectedL0", "HardConcrete", "HardConcreteLinear", "expected_weights", "gates", "removed"]

LIMIT = math.log(100)
"""log alpha stays within +-LIMIT: a gate further out would have no gradient to come back by."""

Gated = HardConcrete | HardConcreteLinear


def gates(net: Module) -> dict[str, Gated]:
    """Return the layers with hard concrete gates, by name.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If there is none.
    """
    check_net(net)
    found = {name: layer for name, layer in net.named_modules() if isinstance(layer, HardConcrete | HardConcreteLinear)}
    if not found:
        raise ValueError("expected a net with hard concrete gates, got one without")
    return found


class ExpectedL0(Companion):
    r"""The loss and (1/N) sum_g P(z_g != 0) (lam |g| + (wd/2) ||W^(g)||^2); log alpha stays within +-log 100.

    Parameters
    ----------
    net : the one that is trained.
    groups : {name of gates: the weights that they close}, a `families.Family` with the strength lam: rows of the
        weights in front, ``{"1": families.filters(net, "0.W", lam)}``, columns of those behind,
        ``{"0": families.columns(net, "1.W", lam)}``, or single weights, ``{"0": Family({"0.W": (0, 1)}, lam)}``.
    patterns : number N of training patterns.
    weight_decay : wd, of the weights in groups, as far as their gates are open; it takes the place of the optimizer's.

    Raises
    ------
    TypeError, ValueError
        If a name is none of gates, there are other groups than gates, a family has ``weighted=True``, the weight decay
        is below 0, N below 1, or two layers share a parameter.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.penalties import families, l0
    >>> rng, data = np.random.default_rng(0), nn.data.load("digits")
    >>> gate = l0.HardConcrete(30, np.random.default_rng(1), drop_rate=0.2)
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 30, rng), nn.ReLU(), gate, nn.Linear(30, 10, rng))
    >>> N = data.train[1].size
    >>> penalty = l0.ExpectedL0(net, {"3": families.filters(net, "1.W", 1.0)}, N)
    >>> optimizer = nn.Adam(net.parameters(), 3e-3, rates={gate.log_alpha: 10})
    >>> settings = {"batch_size": 64, "rng": rng, "progress": False, "companions": [penalty]}
    >>> history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, *data.train, epochs=10, **settings)
    >>> small = l0.removed(net.eval(), (1, 8, 8))
    >>> small.layers[1].W.shape[0] < 30
    True
    """

    def __init__(self, net: Module, groups: Mapping[str, Family], patterns: int, weight_decay: float = 0.0):
        self.patterns = whole(patterns, "number of patterns", 1)
        self.weight_decay = nonnegative(weight_decay, "weight decay")
        self.net, known = net, gates(net)
        refuse_shared(net)
        if not isinstance(groups, Mapping) or not groups:
            raise TypeError(f"expected families of groups by the name of gates, got {groups!r}")
        self.groups: list[tuple[Gated, Family, dict[str, Parameter]]] = []
        for name, family in groups.items():
            check_family(family)
            if name not in known:
                raise ValueError(f"expected the gates {', '.join(known)}, got {name!r}")
            weights = prunable(net, family.axes)
            found = tuple(norms(_data(weights), family).shape)
            if family.weighted or found != known[name].log_alpha.shape:
                given = "weighted ones" if family.weighted else found
                raise ValueError(
                    f"expected plain groups {known[name].log_alpha.shape} for the gates {name}, got {given}"
                )
            self.groups.append((known[name], family, weights))

    def after_backward(self, step: int) -> None:
        """Add the gradients of the penalty, to those of log alpha and, with a weight decay, of the weights."""
        if any(gate.log_alpha.grad is None for gate, _, _ in self.groups):
            raise ValueError("log alpha has no gradient to add to: this belongs after the backward sweep in train mode")
        for gate, family, weights in self.groups:
            p = gate.open()
            gate.log_alpha.grad = gate.log_alpha.grad + p * (1 - p) * self._cost(gate, family, weights) / self.patterns
            if self.weight_decay:
                for name, u in weights.items():
                    decay = spread(p * (self.weight_decay / self.patterns), u.data, family.axes[name])
                    u.grad = u.grad + decay * u.data

    def after_step(self, step: int) -> None:
        """Bring log alpha back to +-log 100."""
        for gate, _, _ in self.groups:
            a, xp = gate.log_alpha.data, get_array_module(gate.log_alpha.data)
            far = xp.abs(a) > LIMIT
            gate.log_alpha.data = xp.where(far, LIMIT * xp.sign(a), a)

    def penalty(self) -> float:
        """Return (1/N) sum_g P(z_g != 0) (lam |g| + (wd/2) ||W^(g)||^2)."""
        costs = [group[0].open() * self._cost(*group) for group in self.groups]
        return sum(float(get_array_module(cost).sum(cost)) for cost in costs) / self.patterns

    def _cost(self, gate: Gated, family: Family, weights: dict[str, Parameter]) -> Array | float:
        # lam |g| + (wd/2) ||W^(g)||^2 of each group.
        numbers = sum(math.prod(u.shape) for u in weights.values())
        cost = family.strength * (numbers // math.prod(gate.log_alpha.shape))
        if not self.weight_decay:
            return cost
        size = norms(_data(weights), family)
        return cost + self.weight_decay / 2 * size * size


def _data(weights: Mapping[str, Parameter]) -> dict[str, Array]:
    return {name: u.data for name, u in weights.items()}


def removed(net: Module, input_shape: tuple[int, ...]) -> Module:
    """Return the small net, which computes what the net does in eval mode, without all that is closed.

    Units and filters go as in `pruning.surgery.remove_unused_paths`, constants into maps of biases.  Where nobody reads
    an input, or a position behind a flatten, an `nn.Select` in front of the weights leaves it out.

    Raises
    ------
    TypeError, ValueError
        As `pruning.surgery.harden` and `pruning.surgery.remove_unused_paths`.
    """
    small = surgery.remove_unused_paths(surgery.harden(net), input_shape, border="map")

    def change(rebuild: Rebuild, name: str, layer: Module) -> Module | None:
        if not isinstance(layer, Linear):
            return None
        read = np.flatnonzero(to_numpy(layer.W.data).any(axis=0)).tolist()
        if len(read) in (0, layer.n_in):
            return None
        rows = list(range(layer.n_out))
        plain = rebuild.layer(layer, cut_like(layer, [(rows, read)], rows), n_in=len(read))
        plain.training = layer.training
        return Sequential(Select(read, layer.n_in), plain)

    return Rebuild(small, change).net


def expected_weights(net: Module) -> float:
    """Return how many weights of a chain are expected to be left if what is closed is removed.

    w_ij is left if the gates of its row i and of its column j are open, and its own; they are independent:
    sum_ij P(row i) P(column j) P(ij).  A channel in front of a flatten is left if one of its positions is.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If there are no gates, or the net is no chain: behind a sum, rows of several layers go together.
    """
    gates(net)
    layers, between = _chain(net)
    total = 0.0
    for k, layer in enumerate(layers):
        rows = _any_position(between[k + 1], layer.W.shape[0])
        n_in = layer.c_in if isinstance(layer, Conv2d) else layer.n_in
        groups = consumed(layer)
        columns = _product(between[k], n_in)[np.array(groups)]
        own = to_numpy(layer.open()) if isinstance(layer, HardConcreteLinear) else np.ones((len(rows), 1))
        own = np.reshape(np.broadcast_to(own, (len(rows), columns.shape[1])), (len(groups), -1, columns.shape[1]))
        total += float(np.sum(rows.reshape(len(groups), -1, 1) * columns[:, None, :] * own))
    return total


def _chain(net: Module) -> tuple[list[Any], list[list[np.ndarray]]]:
    # The layers with weights, and P(z != 0) of the gates in front of the first, between them, and behind the last.
    layers: list[Any] = []
    between: list[list[np.ndarray]] = [[]]
    for name, layer in _leaves("", net):
        if isinstance(layer, HardConcrete):
            between[-1].append(to_numpy(layer.open()))
        elif isinstance(layer, Conv2d | Linear):
            layers.append(layer)
            between.append([])
        elif isinstance(layer, Select | ZeroPadShortcut) or any(True for _ in layer.children()):
            raise ValueError(f"expected a chain of layers, and {name} is a {type(layer).__name__}")
    return layers, between


def _leaves(name: str, module: Module) -> Iterator[tuple[str, Module]]:
    if not isinstance(module, Sequential):
        yield name, module
        return
    for key, layer in module.children():
        yield from _leaves(inside(name, key), layer)


def _product(gates: list[np.ndarray], n: int) -> np.ndarray:
    # P of each of n rows, of which several may be positions of one channel.
    return np.prod([np.repeat(p, n // len(p)) for p in gates] or [np.ones(n)], axis=0)


def _any_position(gates: list[np.ndarray], n: int) -> np.ndarray:
    flat = [p for p in gates if len(p) > n]
    positions = _product(flat, max(map(len, flat), default=n)).reshape(n, -1)
    return _product([p for p in gates if len(p) == n], n) * (1 - np.prod(1 - positions, axis=1))
