r"""Pruning from scratch: the widths of a small net from gates over random weights that are never trained.

Behind every batch norm stands a gate a channel,  y_c = ReLU(g_c BN(conv x)_c),  all of them 1 at first.  The weights
stay as they were drawn; only the gates learn,

    min over g in [0, 1]^C  of  E(g) + lam (mean g - r)^2,

the mean over all C gates of the net (`gated`, `gates`, `MeanGate`).  All gates are then ranked together, and as many of
the largest stay as a budget of multiply-accumulates allows (`search`).  Only the widths of that net are taken over: the
small net is drawn anew and trained from the beginning.

`in_proportion` gives widths under the same budget without any gates, uniform or random ones, which is what the gates
have to be measured by.  `last_midpoint` is the bisection of the authors' code, which may end over the budget.

Notes
-----
Wang, Zhang, Xie, Zhou, Su, Zhang, Hu 2020, Pruning from scratch, AAAI, arXiv:1909.12579; their code is
github.com/frankwang345/pruning-from-scratch, from which penalty, search and numbers are taken.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from nn.arguments import nonnegative, number, whole
from nn.backend import Array, dtype_name, get_array_module, to_numpy
from nn.batchnorm import BatchNorm
from nn.companions import Companion
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module, Parameter, Sequential, check_net, inside
from nn.scale import Scale
from pruning import channels, surgery
from pruning.channels.tracing import refuse_shared
from pruning.counts import checked_shape, count
from pruning.masks import check_arrays, prunable
from pruning.surgery.resizing import Rebuild, duplicate

Cost: TypeAlias = Callable[[Mapping[str, int]], float]
"""{name of a weight: how many channels it makes} -> what the net of these widths costs; it rises with every width."""


def gated(net: Module) -> Module:
    """Return a new net with a gate for each channel, 1 at first, directly behind every batch norm that can be gated.

    Those are the batch norms behind a layer with weights whose channels can go one by one.  Norm and gates stand in
    one Sequential in the norm's place, so that the names of all weights stay.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If there is no such batch norm, or two layers share a parameter; as `pruning.channels.tracing.trace`.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.architectures import from_scratch
    >>> rng, data = np.random.default_rng(0), nn.data.load("digits")
    >>> layers = [nn.Conv2d(1, 12, 3, rng, padding=1, bias=False), nn.BatchNorm(12), nn.ReLU()]
    >>> layers += [nn.Conv2d(12, 16, 3, rng, padding=1, bias=False), nn.BatchNorm(16), nn.ReLU()]
    >>> net = nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(16, 10, rng))
    >>> search_net = from_scratch.gated(net)
    >>> gates = from_scratch.gates(search_net)
    >>> optimizer = nn.Adam(gates.values(), 0.05)  # it holds the gates alone: the weights stay as they are
    >>> settings = {"batch_size": 64, "rng": rng, "progress": False}
    >>> settings["companions"] = [from_scratch.MeanGate(search_net, strength=0.5, target=0.2)]
    >>> history = nn.training.train(search_net, nn.SoftmaxCrossEntropy(), optimizer, *data.train, epochs=3, **settings)
    >>> cost = from_scratch.costs(net, (1, 8, 8))
    >>> widths = from_scratch.search({name: g.data for name, g in gates.items()}, cost, budget=50_000)
    >>> cost(widths) <= 50_000
    True
    """
    refuse_shared(net)
    places = set(_norms(net).values())
    if not places:
        raise ValueError("expected a net with batch norms behind weights whose channels can go one by one, got none")

    def change(_: Rebuild, name: str, module: Module) -> Module | None:
        if name not in places or not isinstance(module, BatchNorm):
            return None
        norm, C = duplicate(module), module.channels
        gate = Scale(C, C, dtype_name(module.gamma.dtype), outline=module.gamma.is_outline)
        if not module.gamma.is_outline:
            gate.s.data = 0 * norm.gamma.data + 1  # in its library
        both = Sequential(norm, gate)
        both.training = gate.training = module.training
        return both

    return Rebuild(net, change).net


def gates(net: Module) -> dict[str, Parameter]:
    """Return the gates of a `gated` net, {name of the weight in front: its parameter (C,)}.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If there are none.
    """
    found = {}
    for name, _, behind in _pairs(net):
        layers = behind.layers if isinstance(behind, Sequential) else []
        if len(layers) == 2 and isinstance(layers[0], BatchNorm) and isinstance(layers[1], Scale):
            found[name] = layers[1].s
    if not found:
        raise ValueError("expected a net with gates, made by gated, got one without")
    return found


def _pairs(net: Module) -> list[tuple[str, str, Module]]:
    # (name of a weight, name of the module directly behind it, that module).
    check_net(net)
    return [
        (inside(inside(name, front), "W"), inside(name, behind), b)
        for name, module in net.named_modules()
        if isinstance(module, Sequential)
        for (front, a), (behind, b) in pairwise(module.children())
        if isinstance(a, Conv2d | Linear)
    ]


def _norms(net: Module) -> dict[str, str]:
    # {name of a weight: the batch norm directly behind it}, where its channels can go one by one.
    alone = {
        inside(group.named("producer")[0].name, "W")
        for group in channels.groups(net)
        if not group.fixed and len(group.named("producer")) == 1
    }
    return {name: norm for name, norm, module in _pairs(net) if isinstance(module, BatchNorm) and name in alone}


class MeanGate(Companion):
    r"""The loss and lam (mean g - r)^2, the mean over all gates of the net; each g stays in [0, 1].

        d/dg_c  lam (mean g - r)^2 = 2 lam (mean g - r) / C        the same for every gate

    Parameters
    ----------
    net : a `gated` one.
    strength : lam; 0.5 in the authors' code.
    target : r, which they call the sparsity; 0.2 in their code.

    Raises
    ------
    TypeError, ValueError
        If the net has no gates, the strength is below 0, or the target is outside [0, 1].

    Notes
    -----
    The authors' code takes the mean of |g|, which is the same for gates in [0, 1] but where g = 0: torch gives |g| the
    slope 0 there, and the penalty does not move a gate that is closed.
    """

    def __init__(self, net: Module, strength: float = 0.5, target: float = 0.2):
        self.net, self.gates = net, list(gates(net).values())
        self.strength, self.target = nonnegative(strength, "strength"), number(target, "the target")
        if not 0 <= self.target <= 1:
            raise ValueError(f"expected a target of the mean gate in [0, 1], got {target}")

    def after_backward(self, step: int) -> None:
        """Add 2 lam (mean g - r) / C to the gradient of every gate."""
        if any(g.grad is None for g in self.gates):
            raise ValueError("the gates have no gradient to add to: this belongs after the backward sweep")
        slope = 2 * self.strength * (self.mean() - self.target) / sum(math.prod(g.shape) for g in self.gates)
        for g in self.gates:
            g.grad = g.grad + slope

    def after_step(self, step: int) -> None:
        """Bring every gate back to [0, 1]."""
        for g in self.gates:
            xp = get_array_module(g.data)
            above = xp.where(g.data > 0, g.data, 0 * g.data)
            g.data = xp.where(above < 1, above, 0 * above + 1)

    def penalty(self) -> float:
        """Return lam (mean g - r)^2."""
        return self.strength * (self.mean() - self.target) ** 2

    def mean(self) -> float:
        """Return the mean over all gates: what the penalty pulls to r."""
        return float(np.mean(np.concatenate([to_numpy(g.data) for g in self.gates])))

    def open(self) -> float:
        """Return the share of gates that are not 0, never below the mean: the authors' code bounds it by the same r."""
        return float(np.mean(np.concatenate([to_numpy(g.data) for g in self.gates]) != 0))


def costs(net: Module, input_shape: Sequence[int], convention: str = "li2017") -> Cost:
    """Return the function from widths to the multiply-accumulates of the net with these widths, gated or not.

    Parameters
    ----------
    net : its weights that the widths do not name stay as wide as they are; an outline will do.
    input_shape, convention : as for `pruning.counts.count`.

    Raises
    ------
    TypeError, ValueError
        As `pruning.counts.count`; the function raises as `pruning.surgery.remove`.
    """
    shape, known = checked_shape(net, input_shape), prunable(net)
    count(net, shape, convention)

    @functools.cache
    def macs(widths: tuple[tuple[str, int], ...]) -> int:
        return count(surgery.remove(net, {name: range(width) for name, width in widths}), shape, convention).macs

    def cost(widths: Mapping[str, int]) -> int:
        for name, width in widths.items():
            if name in known and not 1 <= width <= known[name].shape[0]:
                raise ValueError(f"expected 1 to {known[name].shape[0]} channels of {name}, got {width}")
        return macs(tuple(widths.items()))

    return cost


def largest(gates: Mapping[str, Array], k: int) -> dict[str, int]:
    """Return {name: how many of the k largest gates of the net are in this layer}, with one at least for every layer.

    The largest gate of every layer comes first, then all others by size; of equal ones the first in the order of the
    layers, and in a layer the lowest index.

    Raises
    ------
    TypeError
        If the gates are not arrays by name.
    ValueError
        If they are no finite vectors, or k is no number from one a layer to all.
    """
    values = _checked(gates)
    sizes = [len(value) for value in values.values()]
    if not len(sizes) <= whole(k, "number of gates", 1) <= sum(sizes):
        raise ValueError(f"expected {len(sizes)} gates, one a layer, to {sum(sizes)}, got {k}")
    layer = np.repeat(np.arange(len(sizes)), sizes)
    first = np.concatenate([np.arange(len(value)) == np.argmax(value) for value in values.values()])
    ranked = np.argsort(-np.where(first, np.inf, np.concatenate([*values.values()])), kind="stable")
    widths = np.bincount(layer[ranked[:k]])
    return {name: int(width) for name, width in zip(values, widths)}


def search(gates: Mapping[str, Array], cost: Cost, budget: float) -> dict[str, int]:
    """Return the widths of the largest k whose `largest` gates cost at most the budget: one gate more costs more.

    Parameters
    ----------
    gates : {name: (C,)}, any finite numbers.
    cost : as of `costs`.
    budget : in the unit of `cost`.

    Raises
    ------
    ValueError
        If one channel a layer already costs more than the budget, or the budget is no number of 0 or more.
    TypeError, ValueError
        As `largest`.
    """
    values, most = _checked(gates), nonnegative(budget, "budget")
    least = cost(largest(values, len(values)))
    if least > most:
        raise ValueError(f"expected a budget of at least {least}, that of one channel a layer, got {budget}")
    low, high = len(values), 1 + sum(len(value) for value in values.values())  # low gates fit, and high ones do not
    while high - low > 1:
        k = (low + high) // 2
        low, high = (k, high) if cost(largest(values, k)) <= most else (low, k)
    return largest(values, low)


def last_midpoint(
    gates: Mapping[str, Array], cost: Cost, budget: float, steps: int = 10, tolerance: float = 1e-3
) -> dict[str, int]:
    """Return the widths with which the authors' bisection ends: those of its last midpoint, on either side.

    It halves an interval of the share p of gates that go, keeps round(C (1 - p)) of them, and stops when the share of
    the costs that is saved is within `tolerance` of the one asked for, relative to it, or after `steps` midpoints.
    What it returns is not the side that fits the budget but what it tried last.  (One channel a layer stays here; the
    authors' code has no such guard.)

    Parameters
    ----------
    cost : function of {name: width} that returns what these widths cost.

    Raises
    ------
    TypeError, ValueError
        As `search`, and if `steps` is no number of at least 1 or the tolerance below 0.
    """
    search(gates, cost, budget)  # refuses what it cannot do
    values, tolerance = _checked(gates), nonnegative(tolerance, "tolerance")
    C = sum(len(value) for value in values.values())
    whole_net, low, high = cost(largest(values, C)), 0.0, 1.0
    wanted = 1 - budget / whole_net
    for _ in range(whole(steps, "number of steps", 1)):
        p = (low + high) / 2
        widths = largest(values, max(len(values), round(C * (1 - p))))
        saved = 1 - cost(widths) / whole_net
        if abs(saved - wanted) <= tolerance * wanted:
            break
        low, high = (low, p) if saved > wanted else (p, high)
    return widths


def in_proportion(
    sizes: Mapping[str, int], cost: Cost, budget: float, factors: Mapping[str, float] | None = None
) -> dict[str, int]:
    """Return widths in proportion to factor times size, as large as the budget allows: no gates, the control of them.

    Channel j = 0, 1, ... of a layer of n is ranked by  (j + 1/2) / (factor n),  the smallest first, and `search` does
    the rest: without factors all layers keep the same share, to half a channel; random factors give random widths.

    Parameters
    ----------
    sizes : {name: number of channels} of all layers.
    cost : function of {name: width} that returns what these widths cost.

    Raises
    ------
    TypeError, ValueError
        If a size is no number of at least 1, a factor none above 0, or a layer has none; as `search`.
    """
    if not isinstance(sizes, Mapping) or not sizes:
        raise TypeError(f"expected the sizes of layers by name, got {sizes!r}")
    ranks = {}
    for name, size in sizes.items():
        n, factor = whole(size, f"size of {name}", 1), 1.0
        if factors is not None:
            factor = number(factors.get(name), f"the factor of {name}")
        if not 0 < factor < math.inf:
            raise ValueError(f"expected a factor above 0 for {name}, got {factor}")
        ranks[name] = -(np.arange(n) + 0.5) / (factor * n)
    return search(ranks, cost, budget)


def _checked(gates: Mapping[str, Array]) -> dict[str, np.ndarray]:
    check_arrays("gates", gates)
    values = {name: to_numpy(value) for name, value in gates.items()}
    for name, value in values.items():
        if value.ndim != 1 or not value.size or not np.isrealobj(value) or not np.isfinite(value).all():
            raise ValueError(f"expected a finite vector of gates for {name}, got shape {value.shape}")
    if not values:
        raise ValueError("expected the gates of one layer at least, got none")
    return values
