"""Structured sparsity learning: whole groups of weights become exactly zero while the net trains.

    E(W) + sum_families lam_f sum_g s_g ||W^(g)||,   ||.|| the plain 2-norm of a group,  s_g = 1 or sqrt(its size).

A family is a way to cut weights into groups: filters, channels, ... .  The penalty is not smooth where a group is
zero, which is the point of it; so the method is the proximal step, and the subgradient that the paper's authors
descend along stands beside it for comparison: it leaves groups hovering around zero, never on it.

Notes
-----
Wen et al. 2016, Learning structured sparsity in deep neural networks; the slides "Structured sparsity learning".
`nn.SquaredError` has no 1/2: a linear layer under it minimises twice the objective of `textbook.group_lasso`, if lam
here is twice the lam there.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

from nn.backend import Array, get_array_module
from nn.batchnorm import BatchNorm
from nn.conv import Conv2d
from nn.module import Module, inside
from nn.optimizers import SGD, Optimizer
from pruning.channels.members import producers
from pruning.channels.tracing import INPUT, Site, Trace, refuse_shared, trace
from pruning.masks import prunable


@dataclass(frozen=True)
class Family:
    """Disjoint groups of weights with one strength: group g is entry g along `axes[name]` of every parameter named.

    Parameters
    ----------
    axes : parameter name -> the axes of it that number the groups; the others are inside a group.
    strength : lam, at least 0.
    weighted : whether s_g is sqrt(number of weights in g) instead of 1.  Noise alone gives a group a norm that grows
        like this root, so that with s_g = 1 small groups vanish first.

    Raises
    ------
    ValueError
        If the strength is negative, infinite, NaN or no number.
    """

    axes: Mapping[str, tuple[int, ...]]
    strength: float
    weighted: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.strength, Real) and math.isfinite(self.strength) and self.strength >= 0):
            raise ValueError(f"expected a strength of 0 or more for {', '.join(self.axes)}, got {self.strength!r}")


def filters(net: Module, name: str, strength: float, weighted: bool = False) -> Family:
    """Return the groups W[n]: the rows of the weight's matrix, the filters or neurons that it makes.

    Under batch normalisation scale and shift belong to the group: W[n] alone could shrink to anything above zero and
    the net stay the same.

    Raises
    ------
    ValueError
        If a batch norm takes the filters together with others, as behind a concatenation.  All functions here: if
        there is no such layer, and as `pruning.channels.tracing.trace`, for a parameter of two layers, for instance.
    """
    found, site = _walk(net, name)
    return Family({name: (0,)} | dict.fromkeys(_scales_and_shifts(found, site), (0,)), strength, weighted)


def channels(net: Module, name: str, strength: float, weighted: bool = False) -> Family:
    """Return the groups W[:, c]: all that is made of input channel c.

    Raises
    ------
    ValueError
        If W[:, c] is not that: in a convolution with groups or chosen columns, and behind a flatten (see `columns`).
    """
    _one_slice_a_channel(name, _walk(net, name)[1])
    return Family({name: (1,)}, strength, weighted)


def columns(net: Module, name: str, strength: float, weighted: bool = False) -> Family:
    """Return the groups W[:, c, i, j]: columns of the weight's matrix, the paper's shapes; inputs of a linear layer."""
    return Family({name: tuple(range(1, len(_shape(net, name))))}, strength, weighted)


def kernels(net: Module, name: str, strength: float, weighted: bool = False) -> Family:
    """Return the groups W[n, c]: the two-dimensional kernels of a convolution."""
    if len(_shape(net, name)) != 4:
        raise ValueError(f"expected the weight of a convolution, got {name} of shape {_shape(net, name)}")
    return Family({name: (0, 1)}, strength, weighted)


def layer(net: Module, name: str, strength: float, weighted: bool = False) -> Family:
    """Return one group, all of W with scale and shift: the paper's depth, for a layer beside a shortcut."""
    found, site = _walk(net, name)
    return Family({name: ()} | dict.fromkeys(_scales_and_shifts(found, site), ()), strength, weighted)


def neurons(net: Module, name: str, consumer: str, strength: float, weighted: bool = False) -> Family:
    """Return the groups of hidden neurons: what enters neuron j, name[j], with what leaves it, consumer[:, j].

    Raises
    ------
    ValueError
        If the two are one weight (its groups would overlap themselves), or the second does not read the first's rows.
    """
    (found, made), read = _walk(net, name), _walk(net, consumer)[1]
    if name == consumer:
        raise ValueError(f"expected two layers, got {name} twice: its rows and columns overlap")
    if len(made.outputs) != len(read.inputs):
        raise ValueError(f"{name} makes {len(made.outputs)} neurons, {consumer} takes {len(read.inputs)}")
    if made.outputs != read.inputs:
        raise ValueError(f"{consumer} does not read what {name} makes")
    _one_slice_a_channel(consumer, read)
    rows = {name: (0,)} | dict.fromkeys(_scales_and_shifts(found, made), (0,))
    return Family(rows | {consumer: (1,)}, strength, weighted)


def _shape(net: Module, name: str) -> tuple[int, ...]:
    _walk(net, name)
    return prunable(net, [name])[name].shape


def _walk(net: Module, name: str) -> tuple[Trace, Site]:
    found = trace(net)
    known = producers(found)
    if name not in known:
        raise ValueError(f"expected the weight of a layer, one of {', '.join(known)}; got {name}")
    return found, known[name]


def _scales_and_shifts(found: Trace, made: Site) -> list[str]:
    behind = [s for s in found.sites if isinstance(s.layer, BatchNorm) and set(s.inputs) & set(made.outputs)]
    for norm in behind:
        if norm.inputs != made.outputs:
            raise ValueError(f"{norm.name} normalises what {made.name} makes together with other channels")
    return [inside(norm.name, array) for norm in behind for array in ("gamma", "beta")]


def _one_slice_a_channel(name: str, site: Site) -> None:
    seen = [label for label in site.inputs if label != INPUT]
    if isinstance(site.layer, Conv2d) and (site.layer.groups > 1 or site.layer.columns is not None):
        raise ValueError(f"{name}[:, c] does not belong to one channel: the convolution has groups or chosen columns")
    if len(set(seen)) < len(seen):
        raise ValueError(f"{name} reads {len(seen)} rows of {len(set(seen))} channels: its single inputs are columns")


def norms(weights: Mapping[str, Array], family: Family) -> Array:
    """Return ||W^(g)|| for all groups g of a family, (G,) or one axis for each that numbers the groups.

    Raises
    ------
    ValueError
        If the axes of a parameter are not axes of it in ascending order, or number the groups otherwise than those of
        another parameter do: a group would overlap others, or itself.
    """
    xp = get_array_module(*(weights[name] for name in family.axes))
    for name, axes in family.axes.items():
        if list(axes) != [axis for axis in range(weights[name].ndim) if axis in axes]:
            raise ValueError(f"expected ascending axes of {name}, which has {weights[name].ndim}, got {tuple(axes)}")
    squares = {n: xp.sum(weights[n] * weights[n], axis=_inside(weights[n], axes)) for n, axes in family.axes.items()}
    sizes = {name: tuple(square.shape) for name, square in squares.items()}
    if len(set(sizes.values())) > 1:
        given = ", ".join(f"{size} of {name}" for name, size in sizes.items())
        raise ValueError(f"expected the same groups in all parameters of a family, got {given}")
    return xp.sqrt(sum(squares.values()))


def scales(weights: Mapping[str, Array], family: Family) -> float:
    """Return s_g, the same for all groups of a family."""
    sizes = [
        math.prod(weights[name].shape[axis] for axis in _inside(weights[name], a)) for name, a in family.axes.items()
    ]
    return math.sqrt(sum(sizes)) if family.weighted else 1.0


def _inside(array: Array, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(axis for axis in range(array.ndim) if axis not in axes)


def _spread(values: Array, array: Array, axes: Sequence[int]) -> Array:
    shape = tuple(array.shape[axis] if axis in axes else 1 for axis in range(array.ndim))
    return get_array_module(values).reshape(values, shape)


def value(net: Module, families: Sequence[Family]) -> float:
    """Return sum_families lam sum_g s_g ||W^(g)||."""
    weights = _weights(net, families)
    total = 0.0
    for family in families:
        size = norms(weights, family)
        total += family.strength * scales(weights, family) * float(get_array_module(size).sum(size))
    return total


def shrink(weights: Mapping[str, Array], family: Family, step: float) -> dict[str, Array]:
    """Return argmin_V (1/2) ||V - W||^2 + step lam sum_g s_g ||V^(g)||: W^(g) (1 - step lam s_g / ||W^(g)||)_+."""
    xp = get_array_module(*(weights[name] for name in family.axes))
    size = norms(weights, family)
    threshold = step * family.strength * scales(weights, family)
    alive = size > threshold
    factor = xp.where(alive, 1 - threshold / xp.where(alive, size, xp.ones_like(size)), xp.zeros_like(size))
    return dict(weights) | {
        name: weights[name] * _spread(factor, weights[name], axes) for name, axes in family.axes.items()
    }


def shrink_one_after_the_other(
    weights: Mapping[str, Array], families: Sequence[Family], step: float
) -> dict[str, Array]:
    """Return W after `shrink` by each family in turn.

    Exact if no weight is in two families.  Rows and columns overlap: then it is not the proximal operator of the sum,
    and depends on the order, though it does set groups to zero.
    """
    for family in families:
        weights = shrink(weights, family, step)
    return dict(weights)


def shrink_by_splitting(
    weights: Mapping[str, Array], families: Sequence[Family], step: float, iterations: int = 1000
) -> dict[str, Array]:
    """Return argmin_V (1/2) ||V - W||^2 + step sum_families lam sum_g s_g ||V^(g)||, for families that overlap too.

    Dykstra's splitting: each family shrinks what is left plus what it took away the last time; the weights converge
    to the proximal operator of the sum (Bauschke and Combettes 2008, for two families).  After finitely many rounds
    only the zeros of the last family are exact.
    """
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
    families: Sequence[Family],
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
    """
    if not isinstance(optimizer, SGD):
        raise TypeError(
            f"the proximal step of a group needs SGD, whose steps are plain gradients; got {type(optimizer).__name__}"
        )
    step = optimizer.learning_rate / (1 - optimizer.momentum)
    parameters = dict(net.named_parameters())
    for name, shrunk in prox(_weights(net, families), families, step).items():
        parameters[name].data = shrunk


def add_subgradient(net: Module, families: Sequence[Family]) -> None:
    """Add lam s_g W^(g) / ||W^(g)|| to the gradients, 0 where the group is zero: the authors' way down.

    Raises
    ------
    ValueError
        If a parameter has no gradient yet.
    """
    parameters, weights = dict(net.named_parameters()), _weights(net, families)
    for name in weights:
        if parameters[name].grad is None:
            raise ValueError(f"{name} has no gradient to add to: this belongs after the backward sweep")
    for family in families:
        size = norms(weights, family)
        xp = get_array_module(size)
        factor = family.strength * scales(weights, family) / xp.where(size > 0, size, xp.ones_like(size))
        for name, axes in family.axes.items():
            parameters[name].grad = parameters[name].grad + _spread(factor, weights[name], axes) * weights[name]


def zero_out(net: Module, families: Sequence[Family], threshold: float = 1e-4) -> None:
    """Set every single weight |w| < threshold of the families to zero, in place: the authors' way to exact zeros."""
    parameters = dict(net.named_parameters())
    for name, w in _weights(net, families).items():
        xp = get_array_module(w)
        parameters[name].data = xp.where(xp.abs(w) < threshold, xp.zeros_like(w), w)


def _weights(net: Module, families: Sequence[Family]) -> dict[str, Array]:
    refuse_shared(net)  # a parameter with two names would be shrunk twice
    names = [name for family in families for name in family.axes]
    return {name: parameter.data for name, parameter in prunable(net, list(dict.fromkeys(names))).items()}
