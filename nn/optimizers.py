"""Gradient steps.  After each one the mask is applied to the data, in one place, for every optimizer.

Masking only the gradient is not enough: momentum carries pruned weights away from zero again.  Data and velocity
are updated in place, for a step is memory traffic; who wants a snapshot copies ``parameter.data``.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from nn.arguments import nonnegative, number, whole
from nn.backend import Array, get_array_module
from nn.module import Module, Parameter

Factors: TypeAlias = Mapping[Parameter, float]
"""What a setting is multiplied with for single parameters, such as ``dict.fromkeys(gate.parameters(), 10)``."""


class Optimizer:
    """The loop over the parameters; subclasses write ``update`` and name, for checkpoints, settings and memories.

    Parameters
    ----------
    parameters : all that move.
    learning_rate : eta; a schedule changes it for all of them.
    weight_decay : lambda, of those in `decayed`.
    decayed : the parameters that decay, or {parameter: factor of lambda}; None is all of them.
    rates : {parameter: factor of eta}, 1 where it says nothing; with `decayed` they make groups of parameters.

    Raises
    ------
    ValueError
        If there is no parameter, or one stands twice (it would move twice a step), if `decayed` or `rates` holds
        another one or a factor below 0, or a setting is outside its range.
    TypeError
        If a parameter is none, a setting is no number, or `rates` is no mapping.
    """

    settings: tuple[str, ...] = ("learning_rate", "weight_decay")
    memories: tuple[str, ...] = ()
    """Names of the arrays that ``update`` keeps in the state of a parameter."""

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float,
        weight_decay: float = 0,
        decayed: Iterable[Parameter] | Factors | None = None,
        rates: Factors | None = None,
    ):
        self.parameters = list(parameters)
        _check_parameters(self.parameters)
        self.learning_rate = learning_rate
        self.weight_decay = nonnegative(weight_decay, "weight decay")
        if not isinstance(decayed, Mapping):
            decayed = dict.fromkeys(self.parameters if decayed is None else decayed, 1.0)
        self.decayed = self._factors("decayed", decayed)
        self.rates = self._factors("rates", {} if rates is None else rates)
        self.state: list[dict[str, Array]] = [{} for _ in self.parameters]
        self.steps = 0

    def _factors(self, what: str, factors: Factors) -> dict[Parameter, float]:
        if not isinstance(factors, Mapping):
            raise TypeError(f"expected {what} such as {{parameter: 10}}, got {type(factors).__name__}")
        if not set(factors) <= set(self.parameters):
            raise ValueError(f"expected {what} to be among the parameters that are optimized, got another one")
        return {u: nonnegative(factor, f"factor in {what}") for u, factor in factors.items()}

    @property
    def learning_rate(self) -> float:
        """The step size eta; a ValueError if it is set to anything but a finite number of 0 or more."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = nonnegative(value, "learning rate")

    def step(self) -> None:
        """Move every parameter once, then set its masked entries back to zero.

        Raises
        ------
        ValueError
            If a parameter has no gradient, or one of another shape; none has moved then.
        """
        for parameter in self.parameters:
            if parameter.grad is None:
                raise ValueError("a parameter has no gradient: call backward (of the net it belongs to) before step")
            if tuple(parameter.grad.shape) != parameter.shape:
                raise ValueError(f"a parameter {parameter.shape} has a gradient of shape {tuple(parameter.grad.shape)}")
        self.steps += 1
        for parameter, state in zip(self.parameters, self.state):
            self.update(parameter, state)
            if parameter.mask is not None:
                parameter.data *= parameter.mask

    def update(self, parameter: Parameter, state: dict[str, Array]) -> None:
        """Move one parameter along its gradient; `state` is what the optimizer remembers about it."""
        raise ValueError(f"{type(self).__name__} has no update")

    def rate(self, parameter: Parameter) -> float:
        """Return the step size of one parameter: the learning rate times its factor in ``rates``."""
        return self.learning_rate * self.rates.get(parameter, 1.0)

    def gradient(self, parameter: Parameter) -> Array:
        """Return dE/du + lambda u, lambda times the factor in ``decayed``, or 0 if it holds none."""
        decay = self.weight_decay * self.decayed.get(parameter, 0.0)
        return parameter.grad + decay * parameter.data if decay else parameter.grad

    def config(self) -> dict[str, Any]:
        """Return the constructor's keyword arguments, but for those that are parameters, as plain JSON."""
        return {name: getattr(self, name) for name in self.settings}

    def check_net(self, net: Module) -> None:
        """Raise a ValueError unless all parameters are of this net: one that moves others trains nothing here."""
        owned = {id(parameter) for parameter in net.parameters()}
        strangers = sum(id(parameter) not in owned for parameter in self.parameters)
        if strangers:
            raise ValueError(
                f"expected an optimizer of this net, got one with {strangers} of {len(self.parameters)} parameters of"
                " another: a net that was copied, cut or loaded needs an optimizer of its own"
            )


def _check_parameters(parameters: list[Parameter]) -> None:
    if not parameters:
        raise ValueError("expected at least one parameter to optimize, got none")
    strangers = [each for each in parameters if not isinstance(each, Parameter)]
    if strangers:
        raise TypeError(f"expected parameters such as net.parameters(), got a {type(strangers[0]).__name__}")
    if len(set(parameters)) < len(parameters):
        raise ValueError(
            "expected every parameter once, got one twice, as of two layers that share it: it would move twice a step,"
            " along the gradient of one of them"
        )


class SGD(Optimizer):
    """Stochastic gradient descent in PyTorch's form: v <- mu v + g,  u <- u - eta v.

    With ``nesterov``:  u <- u - eta (g + mu v).  ``weight_decay`` adds lambda u to g, the gradient of
    (lambda/2) ||u||^2 over all parameters, biases too, or over those in ``decayed``.  ``rates`` as for `Optimizer`.

    Raises
    ------
    ValueError
        If the momentum is not in [0, 1), `nesterov` is asked for without one, or as `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> u = nn.Parameter(np.array([1.0, 2.0]))
    >>> optimizer = nn.SGD([u], learning_rate=0.5, momentum=0.5)
    >>> for _ in range(2):
    ...     u.grad = np.array([1.0, 0.0])
    ...     optimizer.step()
    >>> u.data  # 1 - 0.5 (1) - 0.5 (0.5 + 1)
    array([-0.25,  2.  ])
    """

    settings = ("learning_rate", "momentum", "nesterov", "weight_decay")
    memories = ("velocity",)

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float,
        momentum: float = 0,
        nesterov: bool = False,
        weight_decay: float = 0,
        decayed: Iterable[Parameter] | Factors | None = None,
        rates: Factors | None = None,
    ):
        super().__init__(parameters, learning_rate, weight_decay, decayed, rates)
        self.momentum, self.nesterov = number(momentum, "the momentum"), bool(nesterov)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"expected a momentum in [0, 1), got {momentum}")
        if nesterov and momentum == 0:
            raise ValueError("Nesterov's step needs a momentum above 0, got 0")

    def update(self, parameter: Parameter, state: dict[str, Array]) -> None:
        """u <- u - eta v."""
        g = self.gradient(parameter)
        if self.momentum:
            v = state.setdefault("velocity", get_array_module(g).zeros_like(g))
            v *= self.momentum
            v += g
            g = g + self.momentum * v if self.nesterov else v
        parameter.data -= self.rate(parameter) * g


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015) in PyTorch's form; ``weight_decay``, ``decayed`` and ``rates`` as for `SGD`.

    m <- b1 m + (1 - b1) g,  s <- b2 s + (1 - b2) g^2,  u <- u - eta (m / (1 - b1^k)) / (sqrt(s / (1 - b2^k)) + eps).

    Parameters
    ----------
    parameters : what it steps along, such as ``net.parameters()``.
    learning_rate : length of the steps.
    betas : b1 and b2, in [0, 1): how slowly the two means forget.
    eps : keeps the quotient finite, above 0.

    Raises
    ------
    ValueError
        If a beta is not in [0, 1), eps is not above 0, or as `SGD`.
    """

    settings = ("learning_rate", "betas", "eps", "weight_decay")
    memories = ("mean", "square")

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decayed: Iterable[Parameter] | Factors | None = None,
        rates: Factors | None = None,
    ):
        super().__init__(parameters, learning_rate, weight_decay, decayed, rates)
        each = betas if isinstance(betas, Iterable) else [betas]
        self.betas = tuple(number(beta, "a beta of Adam") for beta in each)
        self.eps = number(eps, "eps")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"expected two betas in [0, 1), got {', '.join(map(str, self.betas)) or 'none'}")
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise ValueError(f"expected an eps above 0, got {eps}")

    def update(self, parameter: Parameter, state: dict[str, Array]) -> None:
        """u <- u - eta m / (sqrt(s) + eps), m and s corrected for their start at zero."""
        xp = get_array_module(parameter.grad)
        b1, b2 = self.betas
        g = self.gradient(parameter)
        m = b1 * state.get("mean", 0) + (1 - b1) * g
        s = b2 * state.get("square", 0) + (1 - b2) * g * g
        state["mean"], state["square"] = m, s
        deviation = xp.sqrt(s) / math.sqrt(1 - b2**self.steps) + self.eps
        parameter.data -= (self.rate(parameter) / (1 - b1**self.steps)) * m / deviation


def step_decay(learning_rate: float, milestones: Sequence[int], factor: float = 0.1) -> Callable[[int], float]:
    """Return the schedule epoch -> learning rate that multiplies by `factor` at each of the `milestones`.

    Raises
    ------
    ValueError
        If the rate is negative, the factor is not positive, or a milestone is no epoch.
    """
    rate, by = nonnegative(learning_rate, "learning rate"), number(factor, "the factor")
    epochs = [whole(milestone, "milestone", 0) for milestone in milestones]
    if not (math.isfinite(by) and by > 0):
        raise ValueError(f"expected a positive factor, got {factor}")

    def schedule(epoch: int) -> float:
        return rate * by ** sum(epoch >= milestone for milestone in epochs)

    return schedule


def cosine_decay(learning_rate: float, epochs: int) -> Callable[[int], float]:
    """Return the schedule epoch -> learning rate (1 + cos(pi epoch / epochs)) / 2: whole at first, 0 from `epochs` on.

    Raises
    ------
    ValueError
        If the rate is negative, or there is not at least one epoch.

    Notes
    -----
    Loshchilov and Hutter 2017, SGDR: one period, without restarts.
    """
    rate, last = nonnegative(learning_rate, "learning rate"), number(epochs, "the epochs")
    if not last >= 1:
        raise ValueError(f"expected at least one epoch, got {epochs}")

    def schedule(epoch: int) -> float:
        return rate * (1 + math.cos(math.pi * min(epoch / last, 1))) / 2

    return schedule
