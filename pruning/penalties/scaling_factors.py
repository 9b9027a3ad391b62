r"""Sparse structure selection: one trained factor for each block, group or neuron, pushed to exactly zero.

    min E(W, s) + gamma sum_k |s_k|,   a residual block then is  y = s_k F(x) + x,

where `nn.Scale` is the layer that holds s.  A block whose factor is zero is gone from the function, and
`pruning.surgery.remove_blocks` takes it out of the net; `pruning.surgery.fold_scales` moves the factors of the others
into the weights.  Groups and neurons at zero are constant, and go with `pruning.surgery.remove_unused_paths`.

The factors are trained by accelerated proximal gradient steps (`APG`), all other weights by Nesterov's.  The plain
proximal step stands beside it: `families` are what `pruning.penalties.group_lasso.ProximalSteps` takes.

Weight decay on the factors would be a second penalty; without any on the other weights the first one means nothing,
for s / t with the weights of the block times t is the same function.

Notes
-----
Huang and Wang 2018, Data-driven sparse structure selection for deep neural networks, arXiv:1707.01213.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nn.arguments import nonnegative, number
from nn.backend import Array, asarray, get_array_module, to_numpy
from nn.branches import Residual
from nn.companions import Companion, State, is_array
from nn.module import Module, Parameter, Sequential, check_net, inside
from nn.optimizers import SGD, Optimizer
from nn.run_state import kind_of
from nn.scale import Scale
from pruning.channels import tracing
from pruning.channels.tracing import called, refuse_shared
from pruning.penalties.families import Family
from pruning.surgery.resizing import Rebuild
from textbook.proximal import soft_threshold


def with_block_factors(net: Module, names: Iterable[str] | None = None) -> Module:
    """Return a new net, of the same function, in which a factor of 1 multiplies what the body of each block adds.

    Parameters
    ----------
    net : an outline will do.
    names : of residual blocks, such as "3"; None is all of them.

    Raises
    ------
    ValueError
        If a name is not that of a residual block, or of one that has a factor; if there is no block, or nothing in a
        body says how many channels it has; as `pruning.channels.tracing.trace`.

    Notes
    -----
    The factor is the last layer of the body, and no other name changes; of a body that is no Sequential, "3.body.W"
    becomes "3.body.0.W".

    Examples
    --------
    >>> import nn
    >>> from pruning.penalties import scaling_factors
    >>> net = scaling_factors.with_block_factors(nn.models.resnet_cifar(8, None))
    >>> list(scaling_factors.factors(net))
    ['3.body.5.s', '5.body.5.s', '7.body.5.s']
    """
    trace = tracing.trace(net)
    blocks = {name: module for name, module in net.named_modules() if isinstance(module, Residual)}
    if isinstance(names, str) or not (names is None or isinstance(names, Iterable)):
        raise ValueError(f"expected a list of names, got {'the string ' * isinstance(names, str)}{names!r}")
    chosen = list(blocks) if names is None else list(names)
    if not chosen:
        raise ValueError("expected at least one residual block to have a factor, got none")
    for name in chosen:
        if name not in blocks:
            raise ValueError(f"expected the names of residual blocks, {', '.join(map(called, blocks))}; got {name!r}")
        if _factor_of(blocks[name]) is not None:
            raise ValueError(f"expected blocks without a factor, and the body of {called(name)} ends in one")
        if not trace.outputs[inside(name, "body")]:
            raise ValueError(f"expected a body with a number of channels, and no layer up to {called(name)} says one")

    def change(rebuild: Rebuild, name: str, module: Module) -> Module | None:
        if name not in chosen or not isinstance(module, Residual):
            return None
        body = rebuild.module(inside(name, "body"), module.body)
        scale = _ones(net, len(trace.outputs[inside(name, "body")]))
        added = Sequential(*(body.layers if isinstance(body, Sequential) else [body]), scale)
        added.training = scale.training = body.training
        way = None if module.shortcut is None else rebuild.module(inside(name, "shortcut"), module.shortcut)
        return Residual(added, way)

    return Rebuild(net, change).net


def _ones(net: Module, channels: int) -> Scale:
    # A factor in dtype and library of the net.
    first = net.parameters()[0]
    scale = Scale(channels, dtype=kind_of(first)[1], outline=first.is_outline)
    if not first.is_outline:
        scale.s.data = asarray(scale.s.data, like=first.data)
    return scale


def _factor_of(block: Residual) -> Scale | None:
    last = block.body
    while isinstance(last, Sequential) and last.layers:
        last = last.layers[-1]
    return last if isinstance(last, Scale) else None


def factors(net: Module) -> dict[str, Parameter]:
    """Return the factors of all `nn.Scale` layers of the net, by name.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If there is none, or two layers share a parameter.
    """
    refuse_shared(net)
    found = {inside(name, "s"): layer.s for name, layer in net.named_modules() if isinstance(layer, Scale)}
    if not found:
        raise ValueError("expected a net with scaling factors, layers nn.Scale; this one has none")
    return found


def others(net: Module) -> list[Parameter]:
    """Return the parameters that are no factors: those of the optimizer beside `APG`; raises as `factors`."""
    held = set(factors(net).values())
    return [parameter for parameter in net.parameters() if parameter not in held]


def families(net: Module, strength: float | Mapping[str, float]) -> list[Family]:
    """Return gamma sum |s| as families of groups of one, for `pruning.penalties.group_lasso`; raises as `APG`.

    Parameters
    ----------
    strength : gamma, or {name: gamma}.
    """
    return [Family({name: (0,)}, gamma) for name, gamma in _by_name(strength, factors(net)).items()]


def dead_blocks(net: Module) -> list[str]:
    """Return the residual blocks whose body ends in factors of zero, for `pruning.surgery.remove_blocks`.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If it is an outline.
    """
    check_net(net)
    blocks = {name: module for name, module in net.named_modules() if isinstance(module, Residual)}
    ends = {name: _factor_of(block) for name, block in blocks.items()}
    return [name for name, scale in ends.items() if scale is not None and not to_numpy(scale.s.data).any()]


def accelerated_step(
    s: Array, v: Array, g: Array, step: float, strength: float, momentum: float
) -> tuple[Array, Array]:
    """Return the next factors and their momentum, before the authors' clip.

        z = S(s - eta g, eta gamma),   v <- z - s + mu v,   s <- z + mu v

    Parameters
    ----------
    s, v, g : factors, momentum (zeros at first) and dE/ds, arrays of one shape.
    step, strength, momentum : eta, gamma, mu.

    Notes
    -----
    Where z is zero, s = mu v is not: without the clip a factor swings through zero, and its block changes its sign.
    """
    z = soft_threshold(s - step * g, step * strength)
    v = z - s + momentum * v
    return z + momentum * v, v


class APG(Companion):
    """Trains the factors of a net by accelerated proximal gradient steps, with the clip of the authors' code.

        z = S(s - eta dE/ds, eta gamma),   v <- z - s + mu v,   s <- max(0, z + mu v)

    A companion of `nn.training.train`, whose optimizer moves all other weights (`others`) and lends its learning rate.
    A factor at zero, with v of 0 or less, stays there while dE/ds >= -gamma: then z and v are never above zero.  It
    comes back when the loss asks for it.

    Parameters
    ----------
    net : with `nn.Scale` layers.
    optimizer : SGD, of the paper Nesterov's, without the factors.
    strength : gamma, 0 or more, for all factors or by name.
    momentum : mu, in [0, 1).

    Attributes
    ----------
    v : name -> momentum.

    Raises
    ------
    TypeError
        If the optimizer is not SGD: the learning rate of Adam is no step along the gradient.
    ValueError
        If the net has no factors, shares them or is an outline, the optimizer moves one of them or is of another net,
        or a number is outside its range; in a step, if a factor has no gradient: none has moved then.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning import surgery
    >>> from pruning.penalties import scaling_factors
    >>> rng, data = np.random.default_rng(0), nn.data.load("digits")
    >>> block = lambda: nn.Residual(nn.Sequential(nn.Linear(20, 20, rng), nn.ReLU(), nn.Linear(20, 20, rng)))
    >>> layers = [nn.Flatten(), nn.Linear(64, 20, rng), nn.ReLU(), block(), nn.ReLU(), block(), nn.ReLU()]
    >>> net = scaling_factors.with_block_factors(nn.Sequential(*layers, nn.Linear(20, 10, rng)))
    >>> optimizer = nn.SGD(scaling_factors.others(net), 0.05, 0.9, nesterov=True, weight_decay=1e-4)
    >>> apg = scaling_factors.APG(net, optimizer, strength=0.2)
    >>> settings = {"batch_size": 64, "rng": rng, "progress": False, "companions": [apg]}
    >>> history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, *data.train, epochs=4, **settings)
    >>> dead = scaling_factors.dead_blocks(net)
    >>> small, x = surgery.remove_blocks(net, dead), data.test[0]
    >>> dead, bool((small.forward(x) == net.forward(x)).all())
    (['3'], True)
    """

    def __init__(self, net: Module, optimizer: Optimizer, strength: float | Mapping[str, float], momentum: float = 0.9):
        self.net, self.factors = net, factors(net)
        self.strength, self.momentum = _by_name(strength, self.factors), number(momentum, "the momentum")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"expected a momentum in [0, 1), got {momentum}")
        if not isinstance(optimizer, SGD):
            raise TypeError(f"APG needs SGD, whose learning rate is its step; got {type(optimizer).__name__}")
        moved = [name for name, s in self.factors.items() if s in optimizer.parameters]
        if moved:
            raise ValueError(f"expected an optimizer that leaves the factors to APG, got one that moves {moved[0]}")
        optimizer.check_net(net)
        self.optimizer = optimizer
        self.v = {name: get_array_module(s.data).zeros_like(s.data) for name, s in self.factors.items()}

    def after_step(self, step: int) -> None:
        """Move the factors, by the gradients that the optimizer moved the other weights with."""
        without = [name for name, s in self.factors.items() if s.grad is None]
        if without:
            raise ValueError(f"{without[0]} has no gradient: APG goes along with training, after the backward sweep")
        eta = self.optimizer.learning_rate
        for name, s in self.factors.items():
            xp = get_array_module(s.data)
            new, self.v[name] = accelerated_step(s.data, self.v[name], s.grad, eta, self.strength[name], self.momentum)
            clipped = xp.maximum(new, xp.zeros_like(new))
            s.data = clipped if s.mask is None else clipped * s.mask

    def penalty(self) -> float:
        """Return gamma sum |s|."""
        sums = {name: float(get_array_module(s.data).sum(abs(s.data))) for name, s in self.factors.items()}
        return sum(self.strength[name] * size for name, size in sums.items())

    def state(self) -> State:
        """Return the momenta."""
        return dict(self.v)

    def load(self, state: State) -> None:
        """Take up a state; a ValueError if it is not of these factors."""
        if state.keys() != self.factors.keys():
            raise ValueError(f"expected the momenta of {', '.join(self.factors)}, got {', '.join(state) or 'none'}")
        for name, s in self.factors.items():
            _check_like(name, state[name], s.data)
        self.v = {name: asarray(state[name], like=s.data) for name, s in self.factors.items()}


def _by_name(strength: float | Mapping[str, float], known: Mapping[str, Parameter]) -> dict[str, float]:
    given = dict(strength) if isinstance(strength, Mapping) else dict.fromkeys(known, strength)
    if given.keys() != known.keys():
        names = ", ".join(map(str, given)) or "none"
        raise ValueError(f"expected a strength for each of {', '.join(known)}, got {names}")
    return {name: nonnegative(given[name], f"strength for {name}") for name in known}


def _check_like(name: str, array: Any, s: Array) -> None:
    if not is_array(array) or kind_of(array) != kind_of(s):
        got = "no array" if not is_array(array) else f"{kind_of(array)[1]} {kind_of(array)[0]}"
        raise ValueError(f"expected a momentum of {kind_of(s)[1]} {kind_of(s)[0]} for {name}, got {got}")
    if not np.isfinite(to_numpy(array)).all():
        raise ValueError(f"expected a finite momentum for {name}, got {to_numpy(array)}")
