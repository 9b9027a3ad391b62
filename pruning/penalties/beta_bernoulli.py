r"""Beta-Bernoulli gates: how often a unit is open is itself drawn, and a prior that wants all of them closed.

    u, v ~ U(0, 1),   pi = (1 - u^(1/b))^(1/a),   z = sigmoid((logit pi + logit v) / tau)

pi follows Kumaraswamy's distribution and z is a Bernoulli draw of mean pi made smooth: z > 1/2 in a share pi of the
draws at any temperature tau.  All is computed from logarithms, with  L(q) = log(1 - exp(-q)),

    q = -log(u) / b,   p = -log pi = -L(q) / a,   logit pi = -p - L(p),

since pi is 1 or 0 to all digits where its logarithm still has a gradient.  With L'(q) = 1 / (exp(q) - 1)

    d logit pi/da = (1 + L'(p)) p / a,   d logit pi/db = -(1 + L'(p)) L'(q) q / (a b),   dz = z (1 - z) dlogit / tau.

The prior of pi is Beta(alpha, 1), nearly all of its mass very near 0, and the divergence from it has a closed form,

    KL = (1 - alpha/a) (-gamma - psi(b) - 1/b) + log(a b / alpha) - (b - 1) / b,

gamma being Euler's constant and psi the digamma function.  In eval mode a gate is

    E pi = b Gamma(1 + 1/a) Gamma(b) / Gamma(1 + 1/a + b),   and 0 where that is not above 1/1000.

Every pattern has draws u and v of its own.  The authors draw u once a batch: the same mean, and more variance.

Notes
-----
Lee, Kim, Yoon, Lee, Yang, Hwang 2018, Adaptive network sparsification via dependent variational beta-Bernoulli dropout,
arXiv:1805.10896.  Madaan, Shin, Hwang 2019, Adversarial neural pruning with latent vulnerability suppression,
arXiv:1908.04355: the constants, as in their code.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import digamma, gammaln, polygamma

from nn.activations import Sigmoid, Softplus
from nn.arguments import nonnegative, number, whole
from nn.backend import Array, asarray, dtype_name, get_array_module, to_numpy
from nn.companions import Companion
from nn.gates import Gate
from nn.initializers import Initializer, draw
from nn.module import Module, check_net
from nn.parameter import Parameter

MARGIN = 1e-6
"""u and v are drawn from (MARGIN, 1 - MARGIN), where their logits are finite in float32 too."""

THRESHOLD = 1e-3
"""A gate whose E pi is not above this is closed in eval mode."""

START = (math.log1p(math.exp(-1)), 1.0)
"""a and b before training, as in the authors' code: softplus(-1) = 0.313 and 1; E pi is then a / (1 + a) = 0.239."""


class BetaBernoulli(Gate):
    """y_c = z_c x_c on axis 0 of (C, N) or (C, H, W, N), with a draw of z (C, N) for every pattern.

    Parameters
    ----------
    channels : number C.
    rng : draws u and v; None builds an outline.
    a, b : of Kumaraswamy's distribution before training; a_raw (C,) and b_raw (C,) are trained, a = softplus(a_raw).
    tau : temperature of the Bernoulli draws.
    alpha : of the prior Beta(alpha, 1).
    dtype : float64 or float32.

    Raises
    ------
    TypeError, ValueError
        Unless a, b, tau and alpha are finite numbers above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from pruning.penalties.beta_bernoulli import BetaBernoulli
    >>> gate = BetaBernoulli(3, np.random.default_rng(0))
    >>> gate.a_raw.data = np.array([-9.0, -1.0, 5.0])
    >>> gate.eval().forward(np.ones((3, 1)))[:, 0].round(3)
    array([0.   , 0.239, 0.834])
    """

    def __init__(
        self,
        channels: int,
        rng: np.random.Generator | None,
        a: float = START[0],
        b: float = START[1],
        tau: float = 0.1,
        alpha: float = 1e-4,
        dtype: Any = np.float64,
    ):
        super().__init__(channels, rng)
        given = {"a": a, "b": b, "a temperature tau": tau, "a prior with an alpha": alpha}
        self.start_a, self.start_b, self.tau, self.alpha = (_positive(given[name], name) for name in given)
        self.a_raw: Parameter = draw(_constant(self.start_a), (self.channels,), rng, dtype)
        self.b_raw: Parameter = draw(_constant(self.start_b), (self.channels,), rng, dtype)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None."""
        settings = {"a": self.start_a, "b": self.start_b, "tau": self.tau, "alpha": self.alpha}
        return {**super().config(), **settings, "dtype": dtype_name(self.a_raw.dtype)}

    def draw(self, N: int) -> np.ndarray:
        """Return u and v, (2, C, N)."""
        if self.rng is None:
            raise ValueError(
                f"{type(self).__name__} has no rng to draw gates with (an outline, or loaded): set its rng"
            )
        return self.rng.uniform(MARGIN, 1 - MARGIN, (2, self.channels, N))

    def gates(self, noise: Array) -> Array:
        """Return z (C, N) of u and v."""
        xp = get_array_module(noise)
        u, v = noise[0, ...], noise[1, ...]
        self.q = -xp.log(u) / Softplus().f(self.b_raw.data)[:, None]
        log_complement, self.slope_q = _log_complement(self.q)
        p = -log_complement / Softplus().f(self.a_raw.data)[:, None]
        self.p = xp.where(p > TINY, p, TINY * xp.ones_like(p))  # below, z is 1 to all digits
        log_complement, self.slope_p = _log_complement(self.p)
        logit_pi = -self.p - log_complement
        self.s = Sigmoid().f((logit_pi + xp.log(v) - xp.log1p(-v)) / self.tau)
        return self.s

    def backward_gates(self, gz: Array) -> None:
        """dE/dz -> dE/da_raw and dE/db_raw, added up over the patterns."""
        xp = get_array_module(gz)
        a, b = (Softplus().f(raw.data)[:, None] for raw in (self.a_raw, self.b_raw))
        g = gz * self.s * (1 - self.s) / self.tau * (1 + self.slope_p)  # dE/dlog pi = -dE/dp
        self.a_raw.grad = xp.sum(g * self.p / a, axis=1) * Softplus().df(self.a_raw.data)
        self.b_raw.grad = -xp.sum(g * self.slope_q * self.q / (a * b), axis=1) * Softplus().df(self.b_raw.data)

    def mean(self) -> Array:
        """Return E pi (C,) = b Gamma(1 + 1/a) Gamma(b) / Gamma(1 + 1/a + b)."""
        a, b = self._shapes()
        log_mean = np.log(b) + gammaln(1 + 1 / a) + gammaln(b) - gammaln(1 + 1 / a + b)
        return asarray(np.exp(log_mean), like=self.a_raw.data)

    def factor(self) -> Array:
        """Return z of eval mode: E pi, and 0 where it is not above 1/1000."""
        mean = self.mean()
        return get_array_module(mean).where(mean > THRESHOLD, mean, 0 * mean)

    def divergence(self) -> Array:
        """Return KL (C,) of Kumaraswamy(a, b) from Beta(alpha, 1)."""
        a, b = self._shapes()
        log_pi = -np.euler_gamma - digamma(b) - 1 / b  # a times the mean of log pi
        kl = (1 - self.alpha / a) * log_pi + np.log(a * b / self.alpha) - (b - 1) / b
        return asarray(kl, like=self.a_raw.data)

    def divergence_slopes(self) -> tuple[Array, Array]:
        """Return dKL/da_raw and dKL/db_raw, each (C,)."""
        a, b = self._shapes()
        log_pi = -np.euler_gamma - digamma(b) - 1 / b
        by_a = self.alpha / a**2 * log_pi + 1 / a
        by_b = (1 - self.alpha / a) * (1 / b**2 - polygamma(1, b)) + 1 / b - 1 / b**2
        raws = self.a_raw.data, self.b_raw.data
        slopes = (asarray(by, like=raw) * Softplus().df(raw) for by, raw in zip((by_a, by_b), raws))
        return next(slopes), next(slopes)

    def _shapes(self) -> tuple[np.ndarray, np.ndarray]:
        # a and b in float64: the logarithms of Gamma at 1 + 1/a are large, and their difference is not.
        a, b = (Softplus().f(to_numpy(raw.data).astype(np.float64)) for raw in (self.a_raw, self.b_raw))
        return a, b


TINY = float(np.finfo(np.float32).tiny)


def _log_complement(q: Array) -> tuple[Array, Array]:
    # L(q) = log(1 - exp(-q)) for q > 0, and L'(q) = 1 / (exp(q) - 1).  Below 1 through t = tanh(q/2), since
    # 1 - exp(-q) = 2t / (1 + t) loses no digits there.
    xp = get_array_module(q)
    near, one = q < 1, xp.ones_like(q)
    t, e = xp.tanh(xp.where(near, q, one) / 2), xp.exp(-xp.where(near, one, q))
    value = xp.where(near, xp.log(2 * t / (1 + t)), xp.log1p(-e))
    return value, xp.where(near, (1 - t) / (2 * t), e / (1 - e))


def _constant(value: float) -> Initializer:
    # The raw number whose softplus is the value.
    def initial(shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        return np.full(shape, value + math.log(-math.expm1(-value)))

    return initial


def _positive(value: Any, what: str) -> float:
    found = number(value, what)
    if not 0 < found < math.inf:
        raise ValueError(f"expected {what} above 0, got {value!r}")
    return found


def gates(net: Module) -> dict[str, BetaBernoulli]:
    """Return the layers with beta-Bernoulli gates, by name.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If there is none.
    """
    check_net(net)
    found = {name: layer for name, layer in net.named_modules() if isinstance(layer, BetaBernoulli)}
    if not found:
        raise ValueError("expected a net with beta-Bernoulli gates, got one without")
    return found


class Divergence(Companion):
    r"""The loss and (beta/N) sum_c KL_c over all gates: beta = 1 makes it the bound on the evidence of N patterns.

    Parameters
    ----------
    net : the one that is trained.
    beta : strength.
    patterns : number N of training patterns, not of a batch.

    Raises
    ------
    TypeError, ValueError
        If there are no gates, beta is below 0, or N below 1.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.penalties import beta_bernoulli
    >>> rng, data = np.random.default_rng(0), nn.data.load("digits")
    >>> gate = beta_bernoulli.BetaBernoulli(60, np.random.default_rng(1))
    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 60, rng), nn.ReLU(), gate, nn.Linear(60, 10, rng))
    >>> penalty = beta_bernoulli.Divergence(net, 1.0, data.train[1].size)
    >>> optimizer = nn.Adam(net.parameters(), 3e-3, rates=dict.fromkeys(gate.parameters(), 10))
    >>> settings = {"batch_size": 64, "rng": rng, "progress": False, "companions": [penalty]}
    >>> history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, *data.train, epochs=30, **settings)
    >>> bool(0 < (gate.factor() > 0).sum() < 60)
    True
    """

    def __init__(self, net: Module, beta: float, patterns: int):
        self.net, self.beta, self.patterns = net, nonnegative(beta, "strength beta"), whole(patterns, "N", 1)
        self.gates = list(gates(net).values())

    def after_backward(self, step: int) -> None:
        """Add (beta/N) dKL to the gradients of the gates."""
        for gate in self.gates:
            for raw, slope in zip((gate.a_raw, gate.b_raw), gate.divergence_slopes()):
                if raw.grad is None:
                    raise ValueError("a gate has no gradient to add to: this belongs after the sweep in train mode")
                raw.grad = raw.grad + self.beta / self.patterns * slope

    def penalty(self) -> float:
        """Return (beta/N) sum KL."""
        return self.beta / self.patterns * sum(float(to_numpy(gate.divergence()).sum()) for gate in self.gates)
