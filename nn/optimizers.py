"""Gradient steps.  After each one the mask is applied to the data, in one place, for every optimizer.

Masking only the gradient is not enough: momentum carries pruned weights away from zero again.  Data and velocity
are updated in place, for a step is memory traffic; who wants a snapshot copies ``parameter.data``.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from nn.backend import Array, get_array_module
from nn.module import Parameter


class Optimizer:
    """The loop over the parameters; subclasses write ``update`` and name their settings for checkpoints."""

    settings: tuple[str, ...] = ("learning_rate", "weight_decay")

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float,
        weight_decay: float = 0,
        decayed: Iterable[Parameter] | None = None,
    ):
        self.parameters = list(parameters)
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.decayed = set(self.parameters if decayed is None else decayed)
        self.state: list[dict[str, Array]] = [{} for _ in self.parameters]
        self.steps = 0
        if not self.parameters:
            raise ValueError("expected at least one parameter to optimize, got none")
        if not (math.isfinite(learning_rate) and learning_rate >= 0):
            raise ValueError(f"expected a learning rate of 0 or more, got {learning_rate}")
        if not (math.isfinite(weight_decay) and weight_decay >= 0):
            raise ValueError(f"expected a weight decay of 0 or more, got {weight_decay}")
        if not self.decayed <= set(self.parameters):
            raise ValueError("expected decayed to be among the parameters that are optimized, got another one")

    def step(self) -> None:
        """Move every parameter once, then set its masked entries back to zero."""
        self.steps += 1
        for parameter, state in zip(self.parameters, self.state):
            if parameter.grad is None:
                raise ValueError("a parameter has no gradient: call backward (of the net it belongs to) before step")
            self.update(parameter, state)
            if parameter.mask is not None:
                parameter.data *= parameter.mask

    def update(self, parameter: Parameter, state: dict[str, Array]) -> None:
        """Move one parameter along its gradient; `state` is what the optimizer remembers about it."""
        raise ValueError(f"{type(self).__name__} has no update")

    def gradient(self, parameter: Parameter) -> Array:
        """Return dE/du + lambda u, the second for the parameters in ``decayed`` alone."""
        if self.weight_decay and parameter in self.decayed:
            return parameter.grad + self.weight_decay * parameter.data
        return parameter.grad

    def config(self) -> dict[str, Any]:
        """Return the constructor's keyword arguments, but for those that are parameters, as plain JSON."""
        return {name: getattr(self, name) for name in self.settings}


class SGD(Optimizer):
    """Stochastic gradient descent in PyTorch's form: v <- mu v + g,  u <- u - eta v.

    With ``nesterov``:  u <- u - eta (g + mu v).  ``weight_decay`` adds lambda u to g, the gradient of
    (lambda/2) ||u||^2 over all parameters, biases too, or over those in ``decayed``.
    """

    settings = ("learning_rate", "momentum", "nesterov", "weight_decay")

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float,
        momentum: float = 0,
        nesterov: bool = False,
        weight_decay: float = 0,
        decayed: Iterable[Parameter] | None = None,
    ):
        super().__init__(parameters, learning_rate, weight_decay, decayed)
        if not 0 <= momentum < 1:
            raise ValueError(f"expected a momentum in [0, 1), got {momentum}")
        if nesterov and momentum == 0:
            raise ValueError("Nesterov's step needs a momentum above 0, got 0")
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, parameter: Parameter, state: dict[str, Array]) -> None:
        """u <- u - eta v."""
        g = self.gradient(parameter)
        if self.momentum:
            v = state.setdefault("velocity", get_array_module(g).zeros_like(g))
            v *= self.momentum
            v += g
            g = g + self.momentum * v if self.nesterov else v
        parameter.data -= self.learning_rate * g


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015) in PyTorch's form; ``weight_decay`` and ``decayed`` as for `SGD`.

    m <- b1 m + (1 - b1) g,  s <- b2 s + (1 - b2) g^2,  u <- u - eta (m / (1 - b1^k)) / (sqrt(s / (1 - b2^k)) + eps).
    """

    settings = ("learning_rate", "betas", "eps", "weight_decay")

    def __init__(
        self,
        parameters: Iterable[Parameter],
        learning_rate: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decayed: Iterable[Parameter] | None = None,
    ):
        super().__init__(parameters, learning_rate, weight_decay, decayed)
        self.betas, self.eps = tuple(betas), eps

    def update(self, parameter: Parameter, state: dict[str, Array]) -> None:
        """u <- u - eta m / (sqrt(s) + eps), m and s corrected for their start at zero."""
        xp = get_array_module(parameter.grad)
        b1, b2 = self.betas
        g = self.gradient(parameter)
        m = b1 * state.get("mean", 0) + (1 - b1) * g
        s = b2 * state.get("square", 0) + (1 - b2) * g * g
        state["mean"], state["square"] = m, s
        deviation = xp.sqrt(s) / math.sqrt(1 - b2**self.steps) + self.eps
        parameter.data -= (self.learning_rate / (1 - b1**self.steps)) * m / deviation


def step_decay(learning_rate: float, milestones: Sequence[int], factor: float = 0.1) -> Callable[[int], float]:
    """Return the schedule epoch -> learning rate that multiplies by `factor` at each of the `milestones`."""

    def schedule(epoch: int) -> float:
        return learning_rate * factor ** sum(epoch >= milestone for milestone in milestones)

    return schedule


def cosine_decay(learning_rate: float, epochs: int) -> Callable[[int], float]:
    """Return the schedule epoch -> learning rate (1 + cos(pi epoch / epochs)) / 2: whole at first, 0 from `epochs` on.

    Raises
    ------
    ValueError
        If there is not at least one epoch.

    Notes
    -----
    Loshchilov and Hutter 2017, SGDR: one period, without restarts.
    """
    if epochs < 1:
        raise ValueError(f"expected at least one epoch, got {epochs}")

    def schedule(epoch: int) -> float:
        return learning_rate * (1 + math.cos(math.pi * min(epoch / epochs, 1))) / 2

    return schedule
