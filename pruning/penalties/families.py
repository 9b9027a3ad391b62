"""Families of groups: which weights of a net live and die together.

A family is a way to cut weights into groups: filters, channels, columns, kernels, layers, neurons.  What is done with
the groups is another matter; `pruning.penalties.group_lasso` penalises their norms.

The slides "Structured sparsity learning"; Wen et al. 2016, Learning structured sparsity in deep neural networks.  Of
others: `columns` alone are Lebedev and Lempitsky 2016, Fast ConvNets using group-wise brain damage, arXiv:1506.02515;
`incoming` Zhou, Alvarez, Porikli 2016, Less is more: towards compact CNNs; `sparse_groups` Alvarez and Salzmann 2016.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real

from nn.arguments import number
from nn.backend import Array, get_array_module
from nn.batchnorm import BatchNorm
from nn.conv import Conv2d
from nn.module import Module, inside
from pruning.channels import tracing
from pruning.channels.members import producers
from pruning.channels.tracing import INPUT, Site, Trace
from pruning.masks import check_arrays, prunable


@dataclass(frozen=True)
class Family:
    """Disjoint groups of weights with one strength: group g is entry g along `axes[name]` of every parameter named.

    Parameters
    ----------
    axes : parameter name -> the axes of it that number the groups; the others are inside a group.
    strength : lam, at least 0; kept as a float, so that no NumPy scalar makes float64 of float32 weights.
    weighted : whether s_g is sqrt(number of weights in g) instead of 1.  Noise alone gives a group a norm that grows
        like this root, so that with s_g = 1 small groups vanish first.

    Raises
    ------
    TypeError
        If the axes are not axes by name.
    ValueError
        If the strength is negative, infinite, NaN or no number.
    """

    axes: Mapping[str, tuple[int, ...]]
    strength: float
    weighted: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.axes, Mapping) and self.axes and all(map(_are_axes, self.axes.values()))):
            raise TypeError(
                f"expected axes by the name of a parameter, {{'0.W': (0,)}} for instance, got {self.axes!r}"
            )
        if not (isinstance(self.strength, Real) and math.isfinite(self.strength) and self.strength >= 0):
            raise ValueError(f"expected a strength of 0 or more for {', '.join(self.axes)}, got {self.strength!r}")
        object.__setattr__(self, "strength", float(self.strength))


def _are_axes(axes: Sequence[int]) -> bool:
    return isinstance(axes, (tuple, list)) and all(isinstance(axis, Integral) for axis in axes)


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
    trace, site = _walk(net, name)
    return Family({name: (0,)} | dict.fromkeys(_scales_and_shifts(trace, site), (0,)), strength, weighted)


def incoming(net: Module, name: str, strength: float, weighted: bool = False) -> Family:
    """Return the groups of all that enters neuron n: W[n] and its bias, with scale and shift under batch norm.

    A filter without weights still emits act(bias), a neuron without incoming weights act(0) (Zhou et al. 2016).

    Parameters
    ----------
    name : of the weight, such as "3.W".
    strength : lam of the family.
    weighted : whether s_g is the root of the group's size; 1 otherwise.

    Raises
    ------
    ValueError
        As `filters`.
    """
    trace, site = _walk(net, name)
    bias = {key: (0,) for key in (inside(site.name, "b"),) if key in dict(net.named_parameters())}
    return Family({name: (0,)} | bias | dict.fromkeys(_scales_and_shifts(trace, site), (0,)), strength, weighted)


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
    """Return the groups W[n, c]: the two-dimensional kernels of a convolution.

    Parameters
    ----------
    name : of the weight, such as "3.W".
    strength : lam of the family.
    weighted : whether s_g is the root of the group's size; 1 otherwise.

    Raises
    ------
    ValueError
        If this is no weight of a convolution.
    """
    if len(_shape(net, name)) != 4:
        raise ValueError(f"expected the weight of a convolution, got {name} of shape {_shape(net, name)}")
    return Family({name: (0, 1)}, strength, weighted)


def layer(net: Module, name: str, strength: float, weighted: bool = False) -> Family:
    """Return one group, all of W with scale and shift: the paper's depth, for a layer beside a shortcut.

    Parameters
    ----------
    name : of the weight, such as "3.W".
    strength : lam of the family.
    weighted : whether s_g is the root of the group's size; 1 otherwise.
    """
    trace, site = _walk(net, name)
    return Family({name: ()} | dict.fromkeys(_scales_and_shifts(trace, site), ()), strength, weighted)


def neurons(net: Module, name: str, consumer: str, strength: float) -> Family:
    """Return the groups of hidden neurons: what enters neuron j, name[j], with what leaves it, consumer[:, j].

    Parameters
    ----------
    name, consumer : the weight that makes the neurons and the one that reads them.
    strength : lam of the family.

    Raises
    ------
    ValueError
        If the two are one weight (its groups would overlap themselves), or the second does not read the first's rows.
    """
    (trace, made), read = _walk(net, name), _walk(net, consumer)[1]
    if name == consumer:
        raise ValueError(f"expected two layers, got {name} twice: its rows and columns overlap")
    if len(made.outputs) != len(read.inputs):
        raise ValueError(f"{name} makes {len(made.outputs)} neurons, {consumer} takes {len(read.inputs)}")
    if made.outputs != read.inputs:
        raise ValueError(f"{consumer} does not read what {name} makes")
    _one_slice_a_channel(consumer, read)
    rows = {name: (0,)} | dict.fromkeys(_scales_and_shifts(trace, made), (0,))
    return Family(rows | {consumer: (1,)}, strength)


def sparse_groups(net: Module, family: Family, share: float) -> list[Family]:
    """Return the families of  share lam sum |w| + (1 - share) lam sum_g s_g ||W^(g)||,  the sparse group lasso.

    Groups go as a whole, and single weights in those that stay.  The single weights come first, each a group of its
    own: shrunk one after the other in this order (`pruning.penalties.group_lasso.shrink_one_after_the_other`), the
    families are the proximal operator of their sum, for the groups nest.  In the other order they are not.

    Parameters
    ----------
    net, family : the groups, with the strength lam of the sum of both.
    share : of the single weights, in [0, 1].

    Raises
    ------
    TypeError
        If this is no family, or the share no number.
    ValueError
        If the share is outside [0, 1], or a parameter of the family is not of the net.

    Notes
    -----
    Alvarez and Salzmann 2016, Learning the number of neurons in deep networks, arXiv:1611.06321, with
    `filters(..., weighted=True)`; the order of the steps: Jenatton et al. 2011.
    """
    check_family(family)
    part = number(share, "the share of the single weights")
    if not 0 <= part <= 1:
        raise ValueError(f"expected a share of the single weights in [0, 1], got {share}")
    arrays = prunable(net, list(family.axes))
    singles = [Family({name: tuple(range(len(u.shape)))}, part * family.strength) for name, u in arrays.items()]
    return [*singles, replace(family, strength=(1 - part) * family.strength)]


def _shape(net: Module, name: str) -> tuple[int, ...]:
    _walk(net, name)
    return prunable(net, [name])[name].shape


def _walk(net: Module, name: str) -> tuple[Trace, Site]:
    trace = tracing.trace(net)
    known = producers(trace)
    if name not in list(known):
        raise ValueError(f"expected the weight of a layer, one of {', '.join(known)}; got {name}")
    return trace, known[name]


def _scales_and_shifts(trace: Trace, made: Site) -> list[str]:
    behind = [s for s in trace.sites if isinstance(s.layer, BatchNorm) and set(s.inputs) & set(made.outputs)]
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
    TypeError
        If the weights are not arrays by name, or this is no family.
    ValueError
        If a parameter of the family is not among the weights, or its axes are not axes of it in ascending order, or
        number the groups otherwise than those of another parameter do: a group would overlap others, or itself.
    """
    _check_weights(weights, family)
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
    """Return s_g, the same for all groups of a family; raises as `norms`.

    Parameters
    ----------
    weights : {name: array}, all parameters of the family.
    """
    _check_weights(weights, family)
    sizes = [
        math.prod(weights[name].shape[axis] for axis in _inside(weights[name], a)) for name, a in family.axes.items()
    ]
    return math.sqrt(sum(sizes)) if family.weighted else 1.0


def check_family(family: Family) -> None:
    """Raise a TypeError unless this is a family."""
    if not isinstance(family, Family):
        raise TypeError(f"expected families of groups, group_lasso.filters(...) for instance, got {family!r}")


def _check_weights(weights: Mapping[str, Array], family: Family) -> None:
    check_family(family)
    check_arrays("weights", weights)
    strangers = [str(name) for name in family.axes if name not in weights]
    if strangers:
        raise ValueError(f"expected the weights {', '.join(family.axes)} of a family, got none of {strangers[0]}")


def _inside(array: Array, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(axis for axis in range(array.ndim) if axis not in axes)


def spread(values: Array, array: Array, axes: Sequence[int]) -> Array:
    """Return one number a group in the shape that multiplies the groups of `array` along its `axes`.

    Parameters
    ----------
    values : (number of groups,).
    """
    shape = tuple(array.shape[axis] if axis in axes else 1 for axis in range(array.ndim))
    return get_array_module(values).reshape(values, shape)
