r"""The scales of batch norm, pushed to zero by proximal steps: each layer as strongly as its channels are dear.

    min E(W, gamma, beta) + rho sum_l lambda_l sum_c |gamma_c|,
    lambda_l = (weights of one filter + weights that read its channel + pixels of its map) / (H W of the net's input).

A channel whose gamma is zero emits the constant act(beta) and goes (`pruning.surgery.fold_constants`, then `remove`);
lambda_l is what goes with it (`costs`).  ISTA, gamma <- S(gamma - eta dE/dgamma, eta rho lambda_l), is what
`pruning.penalties.group_lasso.ProximalSteps` does with `families` under SGD without momentum.

How soon a scale gets to zero depends on where it starts.  That can be chosen, for a ReLU net stays the same function
under

    (gamma, beta, W_next) -> (a gamma, a beta, W_next / a),   a > 0,

and this is `rescaled`.  Without beta, or without W_next, it is another function.  The same freedom is a warning: with
nothing that decays W_next, a -> 0 takes the penalty to zero and changes nothing else.  And a scale at zero comes back
only where beta > 0: a ReLU that sees beta <= 0 lets no gradient through.

Notes
-----
Ye, Lu, Lin, Wang 2018, Rethinking the smaller-norm-less-informative assumption in channel pruning of convolution
layers, ICLR, arXiv:1802.00124: the penalty of each layer, and the gamma-W rescaling trick, both as quoted in code that
follows the paper.
"""

import math
from collections.abc import Iterable

import numpy as np

from nn.activations import Identity, ReLU
from nn.arguments import nonnegative, number
from nn.backend import Array, asarray
from nn.batchnorm import BatchNorm, Dropout
from nn.branches import Concat, Residual, Select, ZeroPadShortcut
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.module import Module, Sequential, inside
from nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from nn.scale import Scale
from pruning.channels import tracing
from pruning.channels.members import producers, shaped_like_weights
from pruning.channels.tracing import INPUT, Site, Trace, called
from pruning.counts import checked_shape, walk
from pruning.penalties.families import Family
from pruning.surgery.constants import readings
from pruning.surgery.resizing import Rebuild

HOMOGENEOUS = (ReLU, Identity, Flatten, Dropout, MaxPool2d, AvgPool2d, GlobalAvgPool2d, Scale)
"""Layers with f(a x) = a f(x) for every a > 0, row by row: what stands between a scale and the weights that read it."""

Rows = list[bool | None] | None
"""Whether each row carries the factor; None for a row of zeros, which carries any.  None for all: the net's input."""


# ---- what a channel costs ------------------------------------------------------------------------------------------
def costs(net: Module, input_shape: tuple[int, ...]) -> dict[str, float]:
    """Return lambda_l, what one channel costs in memory, by the name of the scale, "1.gamma".

    lambda_l (H W) = I KH KW + sum over the layers that read the channel of O' KH' KW' + OH OW, with H W the pixels of
    the net's input (1 for features): the weights of its own filter, those that read it, the numbers of its map.  Behind
    a flatten a neuron has one weight for each pixel.  Biases, batch norm and masks are not counted.

    Listed are the scales that have their channels for themselves: one layer makes these, all that reads them comes
    behind this batch norm, there is no other, no residual block adds anything to them, and the net does not emit them.
    The other scales are left out, for one of them at zero frees no channel: those on both sides of a depthwise
    convolution, and in residual nets nearly all but the ones inside a block.

    Parameters
    ----------
    net : an outline will do.
    input_shape : of one input, without the batch.

    Raises
    ------
    ValueError
        If there is no batch norm, or none has its channels for itself; as `pruning.channels.tracing.trace`, for a
        scale of two layers for instance, and `pruning.counts.count`.

    Examples
    --------
    >>> import nn
    >>> from pruning.penalties import ista_scales
    >>> layers = [nn.Conv2d(1, 4, 3, None), nn.BatchNorm(4, outline=True), nn.ReLU(), nn.Conv2d(4, 2, 5, None)]
    >>> ista_scales.costs(nn.Sequential(*layers), (1, 12, 12)), (1 * 9 + 2 * 25 + 100) / 144
    ({'1.gamma': 1.1041666666666667}, 1.1041666666666667)
    """
    shape = checked_shape(net, input_shape)
    trace = tracing.trace(net)
    _norms(net)
    maps = {name: math.prod(module.output_shape(before)[1:]) for name, module, before, _ in walk(net, shape)}
    found = {}
    for site in trace.sites:
        maker = _own_maker(net, trace, site)
        if maker is not None:
            own = math.prod(dict(maker.layer.named_parameters())["W"].shape[1:])
            size = own + _weights_that_read(trace, site) + maps[maker.name]
            found[inside(site.name, "gamma")] = size / math.prod(shape[1:])
    if not found:
        raise ValueError("expected a batch norm that has its channels for itself; here others make or take them, too")
    return found


def _norms(net: Module) -> dict[str, BatchNorm]:
    norms = {inside(name, "gamma"): layer for name, layer in net.named_modules() if isinstance(layer, BatchNorm)}
    if not norms:
        raise ValueError("expected a net with batch norm, whose scales are penalised; this one has none")
    return norms


def _own_maker(net: Module, trace: Trace, site: Site) -> Site | None:
    # The layer that makes the channels of this batch norm, if both have them for themselves.
    if not isinstance(site.layer, BatchNorm):
        return None
    own = set(trace.root(site.inputs))

    def meets(labels: list[int]) -> bool:
        return bool(own & set(trace.root(labels)))

    makers = [each for each in producers(trace).values() if meets(each.outputs)]
    takers = [each for each in trace.sites if isinstance(each.layer, BatchNorm) and meets(each.inputs)]
    added = [each for each in trace.sites if isinstance(each.layer, Residual | ZeroPadShortcut) and meets(each.inputs)]
    if added or INPUT in own or meets(trace.outputs[""]) or not len(makers) == len(takers) == 1:
        return None
    (maker,) = makers
    # Where a block or a branch begins between the two, its other way reads the channels in front of the batch norm.
    together = _branches(net, maker.name) == _branches(net, site.name)
    return maker if together and maker.outputs == site.inputs else None


def _branches(net: Module, name: str) -> list[str]:
    # All branches that the module stands in.
    forks = [(where, module) for where, module in net.named_modules() if isinstance(module, Residual | Concat)]
    branches = [inside(where, key) for where, module in forks for key, _ in module.children()]
    return [branch for branch in branches if f"{name}.".startswith(f"{branch}.")]


def _weights_that_read(trace: Trace, norm: Site) -> float:
    # For one channel; the mean over the channels, should a convolution have chosen columns.
    own, total = set(trace.root(norm.inputs)), 0
    for site in producers(trace).values():
        mine = [root in own for root in trace.root(site.inputs)]
        assert isinstance(site.layer, Conv2d | Linear)
        total += sum(len(rows) * sum(mine[row] for row in columns) for rows, columns in readings(site.layer))
    return total / len(norm.inputs)


def families(net: Module, input_shape: tuple[int, ...], strength: float) -> list[Family]:
    """Return rho lambda_l sum_c |gamma_c| of every layer in `costs`, for `pruning.penalties.group_lasso`.

    Parameters
    ----------
    net, input_shape : as for `costs`.
    strength : rho, 0 or more.  The lambda_l are used as they are: their mean is not 1.

    Raises
    ------
    TypeError
        If the strength is no number.
    ValueError
        If the strength is negative, infinite or NaN; as `costs`.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.penalties import group_lasso, ista_scales
    >>> rng, data = np.random.default_rng(0), nn.data.load("digits")
    >>> layers = [nn.Flatten(), nn.Linear(64, 30, rng), nn.BatchNorm(30), nn.ReLU(), nn.Linear(30, 10, rng)]
    >>> net = ista_scales.rescaled(nn.Sequential(*layers), 0.1)
    >>> families = ista_scales.families(net, (1, 8, 8), strength=0.03)
    >>> decayed = [u for name, u in net.named_parameters() if name.endswith("W")]
    >>> optimizer = nn.SGD(net.parameters(), 0.05, weight_decay=1e-3, decayed=decayed)
    >>> companion = group_lasso.ProximalSteps(net, families, optimizer)
    >>> settings = {"batch_size": 64, "rng": rng, "progress": False, "companions": [companion]}
    >>> history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, *data.train, epochs=4, **settings)
    >>> bool((net.layers[2].gamma.data == 0).sum() >= 5)
    True
    """
    rho = nonnegative(strength, "strength")
    return [Family({name: (0,)}, rho * cost) for name, cost in costs(net, input_shape).items()]


# ---- the same function with other scales ---------------------------------------------------------------------------
def rescaled(net: Module, a: float, names: Iterable[str] | None = None) -> Module:
    """Return a new net, of the same function, with the scales and shifts times a and the weights that read them by a.

    (gamma, beta, W[:, c]) -> (a gamma, a beta, W[:, c] / a) for every channel c of these batch norms, in train mode
    and in eval mode.  Between the shift and W stand layers with f(a x) = a f(x), such as ReLU, pools and flatten.  What
    residual blocks add up has to carry the factor on both ways, and then carries it on.  dE/dgamma is divided by a, and
    decay on W[:, c] pulls with 1 / a.  ``rescaled(net, 1 / a)`` is the way back.

    An optimizer does not come along: rescale before training, and after it.

    Parameters
    ----------
    net : with batch norm.
    a : the factor, above 0.
    names : of scales, such as "1.gamma"; None is those of all batch norms.

    Raises
    ------
    TypeError
        If the factor is no number.
    ValueError
        If the factor is not positive and finite; if there is no batch norm, or none of a name; if a factor meets a
        layer that does not pass it on, such as `nn.Tanh`, one way only of a residual block, or the output of the net;
        if the net is an outline; as `pruning.channels.tracing.trace`.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.penalties import ista_scales
    >>> rng = np.random.default_rng(0)
    >>> net = nn.Sequential(nn.Linear(3, 4, rng), nn.BatchNorm(4), nn.ReLU(), nn.Linear(4, 2, rng))
    >>> other, x = ista_scales.rescaled(net, 0.01), rng.standard_normal((3, 8))
    >>> bool(np.allclose(other.forward(x), net.forward(x), rtol=1e-12)), float(other.layers[1].gamma.data[0])
    (True, 0.01)
    """
    factor = number(a, "the factor of the scales")
    if not 0 < factor < math.inf:
        raise ValueError(f"expected a positive, finite factor of the scales, got {a!r}")
    trace, chosen = tracing.trace(net), _chosen(net, names)
    outlines = [name for name, parameter in net.named_parameters() if parameter.is_outline]
    if outlines:
        raise ValueError(f"expected a net with data, got an outline: {outlines[0]} has none")
    read = _Factors(net, trace, chosen).read

    def change(rebuild: Rebuild, name: str, module: Module) -> Module | None:
        if inside(name, "gamma") in chosen and isinstance(module, BatchNorm):
            norm: BatchNorm = rebuild.layer(module)  # type: ignore[assignment]
            norm.gamma.data, norm.beta.data = factor * norm.gamma.data, factor * norm.beta.data
            return norm
        if isinstance(module, Conv2d | Linear) and any(read[name]):
            reader: Conv2d | Linear = rebuild.layer(module)  # type: ignore[assignment]
            reader.W.data = reader.W.data / _spread(module, read[name], factor)
            return reader
        return None

    return Rebuild(net, change).net


def _chosen(net: Module, names: Iterable[str] | None) -> set[str]:
    known = _norms(net)
    if isinstance(names, str) or not (names is None or isinstance(names, Iterable)):
        raise ValueError(f"expected a list of names, got {'the string ' * isinstance(names, str)}{names!r}")
    chosen = list(known if names is None else names)
    for name in chosen:
        if name not in known:
            raise ValueError(f"expected the scales of batch norms, {', '.join(known)}; got {name!r}")
    return set(chosen)


def _spread(layer: Conv2d | Linear, carry: list[bool], factor: float) -> Array:
    # What each entry of W is divided by.
    W, divisor = layer.W.data, np.ones((layer.W.shape[0], math.prod(layer.W.shape[1:])))
    for rows, columns in readings(layer):
        divisor[rows] = [factor if carry[column] else 1.0 for column in columns]
    return asarray(np.reshape(divisor, W.shape), like=W)


class _Factors:
    """A walk along the forward pass that says which rows carry the factor.

    Attributes
    ----------
    read : name of a convolution or an affine layer -> for each row that comes in, whether it carries the factor.
    """

    def __init__(self, net: Module, trace: Trace, chosen: set[str]):
        self.sites, self.outputs, self.chosen = {site.name: site for site in trace.sites}, trace.outputs, chosen
        self.read: dict[str, list[bool]] = {}
        if any(self.through("", net, None) or []):
            raise ValueError("the output of the net would carry the factor: leave out the batch norms it comes from")

    def through(self, name: str, module: Module, x: Rows) -> Rows:
        """Return what leaves the module."""
        if isinstance(module, Sequential):
            for key, layer in module.children():
                x = self.through(inside(name, key), layer, x)
            return x
        if isinstance(module, Residual):
            body = self.through(inside(name, "body"), module.body, x)
            way = x if module.shortcut is None else self.through(inside(name, "shortcut"), module.shortcut, x)
            return self.sum(name, body, way)
        if isinstance(module, Concat):
            ends = [(key, self.through(inside(name, key), branch, x)) for key, branch in module.children()]
            return [row for key, end in ends for row in _rows(end, len(self.outputs[inside(name, key)]))]
        return self.layer(name, module, x)

    def sum(self, name: str, body: Rows, way: Rows) -> Rows:
        """Return what leaves a residual block: where one way adds zeros, what the other carries."""
        if body is None and way is None:
            return None
        n = max(len(rows) for rows in (body, way) if rows is not None)
        pairs = list(zip(_rows(body, n), _rows(way, n)))
        if any(one is not None and other is not None and one != other for one, other in pairs):
            raise ValueError(
                f"{called(name)} adds channels that carry the factor to channels that do not:"
                " expected the batch norms of both ways, or of neither"
            )
        return [other if one is None else one for one, other in pairs]

    def layer(self, name: str, layer: Module, x: Rows) -> Rows:
        """Return what leaves a layer."""
        site = self.sites[name]
        if isinstance(layer, Conv2d | Linear):
            self.read[name] = [bool(row) for row in _rows(x, len(site.inputs))]
            if any(self.read[name]) and shaped_like_weights(layer) != ["W"]:
                raise ValueError(f"{called(name)} has more than W for each weight: what becomes of it is not known")
            return [False] * len(site.outputs)
        if isinstance(layer, ZeroPadShortcut):
            rows = _rows(x, len(site.inputs))
            return [None if source is None else rows[source] for source in layer.sources(len(rows))]
        if isinstance(layer, Select):
            rows = _rows(x, len(site.inputs))
            return [rows[index] for index in layer.indices]
        if type(layer) in HOMOGENEOUS:
            return x
        if any(x or []):
            raise ValueError(
                f"expected layers with f(a x) = a f(x) between a batch norm and the weights that read it, such as"
                f" nn.ReLU; {called(name)} is a {type(layer).__name__}"
            )
        if isinstance(layer, BatchNorm):
            return [inside(name, "gamma") in self.chosen] * len(site.outputs)
        return None if x is None else [False] * len(x)


def _rows(x: Rows, n: int) -> list[bool | None]:
    # n rows; behind a flatten as many neighbours belong to one channel.
    if x is None:
        return [False] * n
    return [row for row in x for _ in range(n // len(x))]
