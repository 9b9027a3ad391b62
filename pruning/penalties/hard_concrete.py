r"""Hard concrete gates: exactly 0 or 1 with positive probability, and differentiable between.

    u ~ U(0, 1),   s = sigmoid((log u - log(1 - u) + log alpha) / beta),   z = min(1, max(0, s (zeta - gamma) + gamma))

    P(z != 0) = sigmoid(log alpha - beta log(-gamma / zeta)),
    dz/dlog alpha = [0 < z < 1] (zeta - gamma) s (1 - s) / beta

A gate stands for an input, a unit or a filter (`HardConcrete`, a layer of its own), or for a single weight
(`HardConcreteLinear`).  In eval mode z is the authors' gate min(1, max(0, sigmoid(log alpha) (zeta - gamma) + gamma)),
without beta.  It is neither mean nor median of z, and closed from  log alpha = log(-gamma / zeta)  downwards, where
z is still open in a share sigmoid((1 - beta) log(-gamma / zeta)) of the draws: 31 % with their numbers.

Notes
-----
Louizos, Welling, Kingma 2018, Learning sparse neural networks through L0 regularization, arXiv:1712.01312.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nn.activations import Sigmoid
from nn.arguments import number
from nn.backend import Array, asarray, dtype_name, get_array_module
from nn.gates import Gate
from nn.initializers import Initializer, draw, he_normal
from nn.linear import Linear
from nn.parameter import Parameter

MARGIN = 1e-6
"""u is drawn from (MARGIN, 1 - MARGIN), where its logit is finite in float32 too."""

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
"""The temperature and the ends that a gate is stretched to, as in the paper."""


class _HardConcrete:
    """What gates of channels and of weights share: their settings, their probabilities and their two forms."""

    log_alpha: Parameter
    rng: np.random.Generator | None

    def _set(self, shape: Any, drop_rate: float, beta: float, gamma: float, zeta: float, dtype: Any) -> None:
        self.drop_rate, self.beta = number(drop_rate, "the drop rate"), number(beta, "beta")
        self.gamma, self.zeta = number(gamma, "gamma"), number(zeta, "zeta")
        if not 0 < self.drop_rate < 1:
            raise ValueError(f"expected a drop rate above 0 and below 1, got {drop_rate}: its log alpha is infinite")
        if not 0 < self.beta < math.inf:
            raise ValueError(f"expected a temperature beta above 0, got {self.beta}")
        if not -math.inf < self.gamma < 0:
            raise ValueError(f"expected gamma below 0, got {self.gamma}: no gate would ever be closed")
        if not 1 < self.zeta < math.inf:
            raise ValueError(f"expected zeta above 1, got {self.zeta}: no gate would ever be wholly open")
        middle = math.log((1 - self.drop_rate) / self.drop_rate)
        self.log_alpha = draw(lambda shape, rng: rng.normal(middle, 0.01, shape), shape, self.rng, dtype)

    def _settings(self) -> dict[str, Any]:
        names = ("drop_rate", "beta", "gamma", "zeta")
        return {**{name: getattr(self, name) for name in names}, "dtype": dtype_name(self.log_alpha.dtype)}

    def open(self) -> Array:
        """Return P(z != 0) of each gate, of the shape of log alpha."""
        return Sigmoid().f(self.log_alpha.data - self.beta * math.log(-self.gamma / self.zeta))

    def wholly_open(self) -> Array:
        """Return P(z = 1) of each gate."""
        return Sigmoid().f(self.log_alpha.data - self.beta * math.log((1 - self.gamma) / (self.zeta - 1)))

    def mean(self) -> Array:
        """Return E z of each gate, the integral of P(z > t) over t in [0, 1], by Gauss and Legendre's 64 points."""
        nodes, weights = np.polynomial.legendre.leggauss(64)
        s = ((nodes + 1) / 2 - self.gamma) / (self.zeta - self.gamma)  # z > t where the gate is above s
        a = self.log_alpha.data
        xp = get_array_module(a)
        above = Sigmoid().f(xp.reshape(a, (-1, 1)) - asarray(self.beta * np.log(s / (1 - s)), like=a))
        return xp.reshape(above @ asarray(weights / 2, like=a), a.shape)

    def factor(self) -> Array:
        """Return z of eval mode, min(1, max(0, sigmoid(log alpha) (zeta - gamma) + gamma))."""
        return _clipped(self._stretched(Sigmoid().f(self.log_alpha.data)))

    def _uniform(self, shape: tuple[int, ...]) -> np.ndarray:
        if self.rng is None:
            raise ValueError(
                f"{type(self).__name__} has no rng to draw gates with (an outline, or loaded): set its rng"
            )
        return self.rng.uniform(MARGIN, 1 - MARGIN, shape)

    def _sampled(self, u: Array, log_alpha: Array) -> Array:
        xp = get_array_module(u)
        self.logit = (xp.log(u) - xp.log(1 - u) + log_alpha) / self.beta
        return _clipped(self._stretched(Sigmoid().f(self.logit)))

    def _slope(self) -> Array:
        # dz/dlog alpha of the last draw.
        z = self._stretched(Sigmoid().f(self.logit))
        free = get_array_module(z).astype((z > 0) & (z < 1), z.dtype)
        return free * (self.zeta - self.gamma) * Sigmoid().df(self.logit) / self.beta

    def _stretched(self, s: Array) -> Array:
        return s * (self.zeta - self.gamma) + self.gamma


def _clipped(z: Array) -> Array:
    xp = get_array_module(z)
    z = xp.where(z > 0, z, xp.zeros_like(z))
    return xp.where(z < 1, z, xp.ones_like(z))


class HardConcrete(_HardConcrete, Gate):
    """y_c = z_c x_c on axis 0 of (C, N) or (C, H, W, N): gates of inputs, units or filters.

    Parameters
    ----------
    channels : number C.
    rng : draws log alpha (C,), normal around log((1 - drop_rate) / drop_rate) with deviation 0.01, then the gates; None
        builds an outline.
    drop_rate : how often a gate is below one half before training, in (0, 1).
    beta, gamma, zeta : temperature, and the ends that a gate is stretched to.
    per_sample : whether every pattern has gates of its own; one draw for the batch otherwise.
    dtype : float64 or float32.

    Raises
    ------
    ValueError
        Unless 0 < drop_rate < 1, beta > 0, gamma < 0 and zeta > 1.

    Examples
    --------
    >>> import numpy as np
    >>> from pruning.penalties import l0
    >>> gate = l0.HardConcrete(3, np.random.default_rng(0))
    >>> gate.log_alpha.data = np.array([-3.0, 0.0, 3.0])
    >>> gate.open().round(2), gate.factor().round(2)
    (array([0.2 , 0.83, 0.99]), array([0. , 0.5, 1. ]))
    """

    def __init__(
        self,
        channels: int,
        rng: np.random.Generator | None,
        drop_rate: float = 0.5,
        beta: float = BETA,
        gamma: float = GAMMA,
        zeta: float = ZETA,
        per_sample: bool = False,
        dtype: Any = np.float64,
    ):
        Gate.__init__(self, channels, rng)
        self.per_sample = bool(per_sample)
        self._set((self.channels,), drop_rate, beta, gamma, zeta, dtype)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None."""
        return {**super().config(), **self._settings(), "per_sample": self.per_sample}

    def draw(self, N: int) -> np.ndarray:
        """Return u (C,), or (C, N) with gates for every pattern."""
        return self._uniform((self.channels, N) if self.per_sample else (self.channels,))

    def gates(self, noise: Array) -> Array:
        """Return z of u."""
        a = self.log_alpha.data
        return self._sampled(noise, a[:, None] if len(noise.shape) == 2 else a)

    def backward_gates(self, gz: Array) -> None:
        """dE/dz -> dE/dlog alpha, added up over the patterns."""
        g = gz * self._slope()
        self.log_alpha.grad = get_array_module(g).sum(g, axis=1) if len(g.shape) == 2 else g


class HardConcreteLinear(_HardConcrete, Linear):
    """a = (z * W) x + b with a gate for every single weight, one draw for the batch; W, z and log alpha (O, I).

    Parameters
    ----------
    n_in, n_out, rng, bias, init, dtype : as for `nn.Linear`; rng also draws log alpha and the gates.
    drop_rate, beta, gamma, zeta : as for `HardConcrete`.

    Attributes
    ----------
    noise : None, or what stands in the place of every draw.

    Raises
    ------
    ValueError
        As `HardConcrete`; in train mode without a generator.

    Notes
    -----
    ``backward_hessian`` is that of `nn.Linear` for the z that was drawn, and for log alpha as exact.  In eval mode log
    alpha has no derivatives, since z is then a constant.
    """

    noise: Array | None = None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        rng: np.random.Generator | None,
        bias: bool = True,
        init: Initializer = he_normal,
        drop_rate: float = 0.5,
        beta: float = BETA,
        gamma: float = GAMMA,
        zeta: float = ZETA,
        dtype: Any = np.float64,
    ):
        Linear.__init__(self, n_in, n_out, rng, bias, init, dtype)
        self.rng = rng
        self._set((n_out, n_in), drop_rate, beta, gamma, zeta, dtype)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None."""
        return {**super().config(), **self._settings()}

    def hardened(self) -> Linear:
        """Return the plain layer that computes what this one does in eval mode: `pruning.surgery.harden` asks."""
        layer = Linear(**super().config())
        layer.W.data, layer.W.mask = self.factor() * self.W.data, self.W.mask
        if layer.b is not None and self.b is not None:
            layer.b.data, layer.b.mask = 0 + self.b.data, self.b.mask
        return layer

    def forward(self, x: Array) -> Array:
        """Return a = (z * W) x + b."""
        self.w, self.drawn = self.W.data, self.training
        if self.drawn:
            u = self._uniform(self.W.shape) if self.noise is None else self.noise
            self.z = self._sampled(asarray(u, like=x), self.log_alpha.data)
        else:
            self.z = self.factor()
        return self._gated(super().forward, x)

    def backward_parameters(self, ga: Array) -> None:
        """dE/da -> dE/dW = z * (ga x^T), dE/dlog alpha = W * (ga x^T) * dz/dlog alpha, dE/db."""
        super().backward_parameters(ga)
        g = self.W.grad
        self.W.grad = self.z * g
        self.log_alpha.grad = self.w * g * self._slope() if self.drawn else None

    def backward(self, ga: Array) -> Array:
        """dE/da -> dE/dx = (z * W)^T ga."""
        return self._gated(super().backward, ga)

    def backward_hessian_parameters(self, ga: Array, ha: Array) -> None:
        """d2E/da2 -> d2E/dW2 = z^2 * (ha (x*x)^T), d2E/dlog alpha2, d2E/db2."""
        super().backward_hessian_parameters(ga, ha)
        h = self.W.hess_diag
        self.W.hess_diag = self.z * self.z * h
        self.log_alpha.hess_diag = self._second(ga @ self.x.T, h) if self.drawn else None

    def _second(self, g: Array, h: Array) -> Array:
        # w^2 h (dz/dlog alpha)^2 + w g d2z/dlog alpha2, with g and h of the product z w.
        slope = self._slope()
        tilt = -get_array_module(g).tanh(self.logit / 2) / self.beta  # (1 - 2 s) / beta
        return self.w * self.w * h * slope * slope + self.w * g * slope * tilt

    def backward_hessian(self, ga: Array, ha: Array) -> tuple[Array, Array]:
        """d2E/da2 -> d2E/dx2 by (z * W)^2, off-diagonal terms dropped."""
        return self._gated(super().backward_hessian, ga, ha)

    def backward_hessian_full(self, ga: Array, Ha: Array) -> tuple[Array, Array]:
        """d2E/da2 -> d2E/dx2 = (z * W)^T d2E/da2 (z * W), nothing dropped."""
        return self._gated(super().backward_hessian_full, ga, Ha)

    def _gated(self, sweep: Callable[..., Any], *signals: Array) -> Any:
        # The sweep of a plain layer, with z * W in the place of W.
        self.W.data = self.z * self.w
        try:
            return sweep(*signals)
        finally:
            self.W.data = self.w
