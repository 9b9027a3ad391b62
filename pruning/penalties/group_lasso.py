"""Structured sparsity learning: whole groups of weights become exactly zero while the net trains.

    E(W) + sum_families lam_f sum_g s_g ||W^(g)||,   ||.|| the plain 2-norm of a group,  s_g = 1 or sqrt(its size).

A family is a way to cut weights into groups: filters, channels, ... (`pruning.penalties.families`).  The penalty is not
smooth where a group is zero, which is the point of it; so the method is the proximal step, and the subgradient that the
paper's authors descend along stands beside it for comparison: it leaves groups hovering around zero, never on it.

Notes
-----
Wen et al. 2016, Learning structured sparsity in deep neural networks; the slides "Structured sparsity learning".
`nn.SquaredError` has no 1/2: a linear layer under it minimises twice the objective of `textbook.group_lasso`, if lam
here is twice the lam there.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real

from nn.backend import Array, get_array_module
from nn.companions import Companion
from nn.module import Module, Parameter
from nn.optimizers import SGD, Optimizer
from pruning.channels.tracing import refuse_shared
from pruning.masks import check_arrays, prunable
from pruning.penalties.families import (
    Family,
    channels,
    check_family,
    columns,
    filters,
    incoming,
    kernels,
    layer,
    neurons,
    norms,
    scales,
    sparse_groups,
    spread,
)

__all__ = [
    "Family",
    "ProximalSteps",
    "Subgradients",
    "add_subgradient",
    "channels",
    "columns",
    "filters",
    "incoming",
    "kernels",
    "layer",
    "neurons",
    "norms",
    "proximal_step",
    "scales",
    "shrink",
    "shrink_by_splitting",
    "shrink_one_after_the_other",
    "sparse_groups",
    "value",
    "zero_out",
]

MOST_ROUNDS = 100_000
"""More rounds of the splitting than this cannot be meant: it stands still after some hundreds."""


def value(net: Module, families: Iterable[Family]) -> float:
    """Return sum_families lam sum_g s_g ||W^(g)||.

    Parameters
    ----------
    families : such as `filters` and `columns` of some layers.
    """
    families = _listed(families)
    weights, total = _data(_parameters(net, families)), 0.0
    for family in families:
        size = norms(weights, family)
        total += family.strength * scales(weights, family) * float(get_array_module(size).sum(size))
    return total


def shrink(weights: Mapping[str, Array], family: Family, step: float) -> dict[str, Array]:
    """Return argmin_V (1/2) ||V - W||^2 + step lam sum_g s_g ||V^(g)||: W^(g) (1 - step lam s_g / ||W^(g)||)_+.

    Raises
    ------
    TypeError, ValueError
        If the step is not 0 or more; also as `norms`.
    """
    size = norms(weights, family)
    threshold = _size("a step", step) * family.strength * scales(weights, family)
    xp = get_array_module(size)
    alive = size > threshold
    factor = xp.where(alive, 1 - threshold / xp.where(alive, size, xp.ones_like(size)), xp.zeros_like(size))
    return dict(weights) | {
        name: weights[name] * spread(factor, weights[name], axes) for name, axes in family.axes.items()
    }


def shrink_one_after_the_other(
    weights: Mapping[str, Array], families: Iterable[Family], step: float
) -> dict[str, Array]:
    """Return W after `shrink` by each family in turn.

    Exact if no weight is in two families, and if groups nest and the inner ones come first (`sparse_groups`).  Rows and
    columns overlap: then it is not the proximal operator of the sum, and depends on the order, though it does set
    groups to zero.
    """
    for family in _listed(families):
        weights = shrink(weights, family, step)
    return dict(weights)


def shrink_by_splitting(
    weights: Mapping[str, Array], families: Iterable[Family], step: float, iterations: int = 1000
) -> dict[str, Array]:
    """Return argmin_V (1/2) ||V - W||^2 + step sum_families lam sum_g s_g ||V^(g)||, for families that overlap too.

    Dykstra's splitting: each family shrinks what is left plus what it took away the last time; the weights converge
    to the proximal operator of the sum (Bauschke and Combettes 2008, for two families).  After finitely many rounds
    only the zeros of the last family are exact.

    Raises
    ------
    TypeError, ValueError
        As `shrink`, and unless `iterations` is a number from 1 to `MOST_ROUNDS`.
    """
    if not (isinstance(iterations, Integral) and 1 <= iterations <= MOST_ROUNDS):
        raise ValueError(f"expected 1 to {MOST_ROUNDS} iterations, got {iterations!r}")
    check_arrays("weights", weights)
    families = _listed(families)
    shrunk = dict(weights)
    taken = [{name: get_array_module(w).zeros_like(w) for name, w in weights.items()} for _ in families]
    for _ in range(iterations):
        for index, family in enumerate(families):
            target = {name: shrunk[name] + taken[index][name] for name in shrunk}
            shrunk = shrink(target, family, step)
            taken[index] = {name: target[name] - shrunk[name] for name in shrunk}
    return shrunk


def proximal_step(
    net: Module,
    families: Iterable[Family],
    optimizer: Optimizer,
    prox: Callable[..., dict[str, Array]] = shrink_one_after_the_other,
) -> None:
    """Shrink all groups, in place, after a step of SGD: threshold eta lam s_g / (1 - momentum).

    With momentum mu a constant gradient g moves the weights by eta g / (1 - mu) a step, with Nesterov's too, so this
    threshold has its fixed point where 0 is in grad E + lam s_g d||W^(g)||; that of eta lam alone is (1 - mu) lam's.
    The `prox` for families that overlap, where it must be exact, is `shrink_by_splitting`.

    Raises
    ------
    TypeError
        If the optimizer is not SGD: Adam divides every weight's step by its own number, and the nearest point in that
        metric is not a scaled group.
    ValueError
        If the optimizer moves other parameters, as that of a net before surgery: its step is not theirs.
    """
    families = _listed(families)
    sgd, parameters = _checked_steps(net, families, optimizer)
    step = sgd.learning_rate / (1 - sgd.momentum)
    for name, shrunk in prox(_data(parameters), families, step).items():
        parameters[name].data = shrunk


def add_subgradient(net: Module, families: Iterable[Family]) -> None:
    """Add lam s_g W^(g) / ||W^(g)|| to the gradients, 0 where the group is zero: the authors' way down.

    Raises
    ------
    ValueError
        If a parameter has no gradient yet.
    """
    families = _listed(families)
    parameters = _parameters(net, families)
    weights = _data(parameters)
    for name, parameter in parameters.items():
        if parameter.grad is None:
            raise ValueError(f"{name} has no gradient to add to: this belongs after the backward sweep")
    sizes = [norms(weights, family) for family in families]
    for family, size in zip(families, sizes):
        xp = get_array_module(size)
        factor = family.strength * scales(weights, family) / xp.where(size > 0, size, xp.ones_like(size))
        for name, axes in family.axes.items():
            parameters[name].grad = parameters[name].grad + spread(factor, weights[name], axes) * weights[name]


def zero_out(net: Module, families: Iterable[Family], threshold: float = 1e-4) -> None:
    """Set every single weight |w| < threshold of the families to zero, in place: the authors' way to exact zeros."""
    limit, families = _size("a threshold", threshold), _listed(families)
    for parameter in _parameters(net, families).values():
        w, xp = parameter.data, get_array_module(parameter.data)
        parameter.data = xp.where(xp.abs(w) < limit, xp.zeros_like(w), w)


def _listed(families: Iterable[Family]) -> list[Family]:
    # An iterator would be empty the second time.
    if isinstance(families, Family) or not isinstance(families, Iterable):
        raise TypeError(f"expected a list of families, got {families!r}")
    listed = list(families)
    for family in listed:
        check_family(family)
    return listed


def _size(what: str, number: float) -> float:
    # A float: a NumPy scalar would make float64 of float32 weights.
    if not (isinstance(number, Real) and math.isfinite(number) and number >= 0):
        raise ValueError(f"expected {what} of 0 or more, got {number!r}")
    return float(number)


def _parameters(net: Module, families: list[Family]) -> dict[str, Parameter]:
    names = [name for family in families for name in family.axes]
    chosen = prunable(net, names)
    refuse_shared(net)  # a parameter with two names would be shrunk twice
    return chosen


def _checked_steps(net: Module, families: list[Family], optimizer: Optimizer) -> tuple[SGD, dict[str, Parameter]]:
    # The optimizer, and the parameters that the proximal step shrinks.
    if not isinstance(optimizer, SGD):
        raise TypeError(
            f"the proximal step of a group needs SGD, whose steps are plain gradients; got {type(optimizer).__name__}"
        )
    parameters = _parameters(net, families)
    if not set(parameters.values()) <= set(optimizer.parameters):
        raise ValueError("expected the optimizer that trains the weights of the families, got one of other parameters")
    own = [name for name, u in parameters.items() if optimizer.rate(u) != optimizer.learning_rate]
    if own:
        raise ValueError(
            f"the proximal step has the learning rate as its step, got an optimizer with rates for {own[0]}"
        )
    return optimizer, parameters


def _data(parameters: Mapping[str, Parameter]) -> dict[str, Array]:
    return {name: parameter.data for name, parameter in parameters.items()}


class ProximalSteps(Companion):
    """After every step of SGD `proximal_step`, which shrinks all groups.

    Parameters
    ----------
    net, families, optimizer, prox : as for `proximal_step`; the optimizer is the one that trains.

    Raises
    ------
    TypeError, ValueError
        As `proximal_step`, before the first step.
    """

    def __init__(
        self,
        net: Module,
        families: Iterable[Family],
        optimizer: Optimizer,
        prox: Callable[..., dict[str, Array]] = shrink_one_after_the_other,
    ):
        self.net, self.families, self.optimizer, self.prox = net, _listed(families), optimizer, prox
        _checked_steps(net, self.families, optimizer)

    def after_step(self, step: int) -> None:
        """Shrink all groups."""
        proximal_step(self.net, self.families, self.optimizer, self.prox)

    def penalty(self) -> float:
        """Return the penalty, as `value`."""
        return value(self.net, self.families)


class Subgradients(Companion):
    """Adds the subgradient to every gradient, and sets single small weights to zero after the step.

    Parameters
    ----------
    net, families : as for `add_subgradient`.
    threshold : as for `zero_out`; 0 sets nothing to zero.

    Raises
    ------
    TypeError, ValueError
        As `zero_out`, before the first step.
    """

    def __init__(self, net: Module, families: Iterable[Family], threshold: float = 1e-4):
        self.net, self.families = net, _listed(families)
        self.threshold = _size("a threshold", threshold)
        _parameters(net, self.families)

    def after_backward(self, step: int) -> None:
        """Add the subgradient."""
        add_subgradient(self.net, self.families)

    def after_step(self, step: int) -> None:
        """Set what is smaller than the threshold to zero."""
        zero_out(self.net, self.families, self.threshold)

    def penalty(self) -> float:
        """Return the penalty, as `value`."""
        return value(self.net, self.families)
