r"""Sparse variational dropout: each weight learns how much noise it bears, and what bears any amount of it is zero.

A weight is drawn from N(theta, sigma^2), and log|w| is uniform a priori.  What is minimised is the bound

    E(theta, rho) + (kappa/N) sum KL(log alpha),    rho = log sigma,  log alpha = 2 rho - log theta^2,

E being the mean loss of N patterns under that noise.  Outputs are drawn in the place of weights, one number for each
output of each pattern (local reparametrisation), with S = exp(2 rho):

    a = W x + b + sqrt(v) eps,    v = S (x*x) + 1e-8

so that with gv = ga eps / (2 sqrt v)

    dE/drho = 2 S (gv (x*x)^T),    dE/dx = W^T ga + 2 x (S^T gv):

x and W squared once more, the line of d2E/dW2.  kappa goes from 0 to 1 (`nn.Ramp`): at once, it prunes what has not
learnt yet.  A weight stays where log alpha < 3; with u = 1/(2 alpha) both forms of KL are 0 where alpha is infinite:

    EXACT   KL = (E psi(J + 1/2) - psi(1/2)) / 2,  J Poisson of mean u;    dKL/dlog alpha = -sqrt(u) D(sqrt u)
    FITTED  KL = k1 - k1 sigmoid(k2 + k3 log alpha) + log(1 + 1/alpha) / 2

psi is the digamma function and D(x) = exp(-x^2) int_0^x exp(t^2) dt Dawson's.  Nothing is clipped: neither form
overflows at any log alpha, and a weight that is zero gets no gradient of KL.

Why outputs are drawn: with one draw of weights for a whole batch dE/drho has the same mean, and in an affine layer of
six inputs 1.8, 4.2, 25 and 314 times the variance for batches of 1, 10, 100 and 1000 patterns.

Notes
-----
Kingma, Salimans, Welling 2015, Variational dropout and the local reparameterization trick, arXiv:1506.02557.
Molchanov, Ashukha, Vetrov 2017, Variational dropout sparsifies deep neural networks, arXiv:1701.05369: the fit, 3 as
threshold, the ramp.  The exact form: (w/sigma)^2 is chi-square with noncentrality 1/alpha, a mixture over J of central
ones with 2 J + 1 degrees of freedom, whose logarithm has the mean psi(J + 1/2) + log 2.  That there is one, with an
exact gradient, is in Hron, Matthews, Ghahramani 2017, Variational Gaussian dropout is not Bayesian, arXiv:1711.02989
(its abstract was read); they also show that under this prior there is in general no proper posterior, so that the
zeros are not explained by Bayesian arguments.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import dawsn

from nn.activations import Sigmoid, Softplus
from nn.arguments import number, whole
from nn.backend import Array, asarray, get_array_module, sum_rows, to_numpy
from nn.checks import check_floating, check_input, check_signal
from nn.companions import Companion, Ramp
from nn.conv import Conv2d
from nn.curvature.squares import Squares
from nn.curvature.tangents import Tangents
from nn.initializers import Initializer, check_generator, draw
from nn.linear import Linear
from nn.module import Module, Parameter, check_net, inside
from pruning.surgery.resizing import Rebuild

FLOOR = 1e-8
"""Added to the variance of every output, so that a pattern of zeros has a derivative."""
TINY = 1e-37
"""Added to theta^2, so that a weight of zero has a logarithm; in float64 it is lost beside any theta above 1e-10."""
K1, K2, K3 = 0.63576, 1.87320, 1.48695
FAR = 7.0
"""From this x on the series of Dawson's function for large x has all digits."""
DIGAMMA_HALF = -np.euler_gamma - 2 * math.log(2)


# ---- layers ----------------------------------------------------------------------------------------------------------
def small_normal(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Normal with the standard deviation 0.02, whatever the fan-in: where theta starts in the authors' code.

    Parameters
    ----------
    shape : of the weight.
    """
    return 0.02 * rng.standard_normal(shape)


def log_alpha(theta: Array, rho: Array) -> Array:
    """Return log alpha = 2 rho - log theta^2, noise over size; about 85 + 2 rho for a weight of 0."""
    return 2 * rho - get_array_module(theta).log(theta * theta + TINY)


class Variational(Module):
    """What `VariationalLinear` and `VariationalConv2d` share: noise in train mode, weights that stay in eval mode.

    Attributes
    ----------
    W, rho : theta and log sigma, of one shape.  A weight that is masked has no noise.
    rng : draws the noise: a child of the generator that drew W, or None in an outline.
    noise : None, or eps in the place of every draw, of the shape of a, so that E is a function to differentiate.

    Notes
    -----
    In eval mode W is theta where it is kept and 0 elsewhere, and rho has no derivative: ``grad`` is None.  Second
    derivatives are refused; the net that `pruning.surgery.harden` makes has them.
    """

    W: Parameter
    rho: Parameter
    b: Parameter | None
    rng: np.random.Generator | None
    noise: Array | None = None
    eps: Array | None = None
    """The noise of the last forward pass; None in eval mode."""

    plain: Any
    """() -> an outline of the plain layer."""
    mean: Any
    """(W, x) -> W x + b, after which x is remembered."""
    seen: Any
    """() -> what W is multiplied with: x, or the padded image."""
    product: Any
    """(W, seen, b or None) -> W x + b."""
    to_weights: Any
    """(g, seen) -> g x^T in the shape of W."""
    to_input: Any
    """(W, g) -> W^T g in the shape of x."""

    # There are none of rho, and those of the affine layer would be wrong.
    backward_hessian = Module.backward_hessian
    backward_hessian_parameters = Module.backward_hessian_parameters
    backward_hessian_full = Module.backward_hessian_full

    def start(self, rng: np.random.Generator | None, log_sigma: float, threshold: float, dtype: Any) -> None:
        """Add rho, the threshold and the generator to a layer that has its W."""
        self.log_sigma = number(log_sigma, "log sigma")
        if not math.isfinite(self.log_sigma):
            raise ValueError(f"expected a finite log sigma, got {log_sigma!r}")
        self.threshold = threshold
        self.rho = draw(lambda shape, _: np.full(shape, self.log_sigma), self.W.shape, rng, dtype)
        self.rng = None if rng is None else rng.spawn(1)[0]

    @property
    def threshold(self) -> float:
        """A weight stays where log alpha is below it; a ValueError if it is set to NaN."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        found = number(value, "the threshold of log alpha")
        if math.isnan(found):
            raise ValueError("expected a threshold of log alpha, such as 3, got NaN, which nothing is below")
        self._threshold = found

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None."""
        return {**super().config(), "log_sigma": self.log_sigma, "threshold": self.threshold}

    def log_alpha(self) -> Array:
        """Return log alpha of every weight; far above any threshold where it is masked."""
        return log_alpha(self.W.data, self.rho.data)

    def kept(self) -> Array:
        """Return 1 where a weight stays, 0 elsewhere, in the dtype of W: log alpha is below the threshold."""
        xp = get_array_module(self.W.data)
        kept = xp.astype(self.log_alpha() < self.threshold, self.W.data.dtype)
        return kept if self.W.mask is None else kept * self.W.mask

    def hardened(self) -> Any:
        """Return the plain layer that this one is in eval mode: theta where it is kept, 0 and masked elsewhere."""
        layer, kept = self.plain(), self.kept()
        layer.W.data, layer.W.mask = self.W.data * kept, kept
        if self.b is not None:
            layer.b.data, layer.b.mask = 0 + self.b.data, self.b.mask
        return layer

    def variances(self) -> Array:
        """Return S = sigma^2 of every weight, 0 where it is masked."""
        S = get_array_module(self.rho.data).exp(2 * self.rho.data)
        return S if self.W.mask is None else S * self.W.mask

    def forward(self, x: Array) -> Array:
        """Return a = W x + b + sqrt(v) eps,  v = S (x*x) + 1e-8."""
        check_floating(self, x)
        check_input(self, x)
        self.image, self.eps = x, None
        if not self.training:
            self.stays = self.kept()
            return self.mean(self.W.data * self.stays, x)
        a = self.mean(self.W.data, x)
        self.S, self.eps = self.variances(), self._noise(a)
        self.deviation = get_array_module(a).sqrt(self.product(self.S, self.seen() * self.seen(), None) + FLOOR)
        return a + self.deviation * self.eps

    def backward_parameters(self, ga: Array) -> None:
        """dE/da -> dE/dW = ga x^T, dE/db, dE/drho = 2 S (gv (x*x)^T)."""
        check_signal(self, ga)
        self.W.grad = self.to_weights(ga, self.seen())
        if self.b is not None:
            self.b.grad = sum_rows(ga)
        if self.eps is None:
            self.W.grad, self.rho.grad = self.W.grad * self.stays, None
        else:
            self.gv = ga * self.eps / (2 * self.deviation)  # dE/dv
            self.rho.grad = self.S * self.to_weights(2 * self.gv, self.seen() * self.seen())

    def backward(self, ga: Array) -> Array:
        """dE/da -> dE/dx = W^T ga + 2 x (S^T gv)."""
        self.backward_parameters(ga)
        if self.eps is None:
            return self.to_input(self.W.data * self.stays, ga)
        return self.to_input(self.W.data, ga) + 2 * self.image * self.to_input(self.S, self.gv)

    def _noise(self, a: Array) -> Array:
        kind = type(self).__name__
        if self.noise is not None:
            eps = asarray(self.noise, like=a)
        elif self.rng is not None:
            eps = asarray(self.rng.standard_normal(tuple(a.shape)), like=a)
        else:
            raise ValueError(f"{kind} has no rng to draw noise with (an outline, or loaded): set its rng")
        if tuple(eps.shape) != tuple(a.shape):
            raise ValueError(f"{kind} expected noise of shape {tuple(a.shape)}, got {tuple(eps.shape)}")
        return eps


class VariationalLinear(Variational, Linear):
    """Affine map with a noise that each weight learns; in eval mode an `nn.Linear` of the weights that stay.

    Parameters
    ----------
    n_in, n_out, rng, bias, init, dtype : as for `nn.Linear`; W is theta, and theta starts small.
    log_sigma : where all of rho starts.
    threshold : a weight stays where log alpha is below it.

    Raises
    ------
    ValueError
        If log sigma is not finite, the threshold is NaN, there is no generator to draw noise with, or a second
        derivative is asked for.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> import pruning
    >>> from pruning.penalties.variational_dropout import LogUniformPrior, VariationalLinear
    >>> rng, data = np.random.default_rng(0), nn.data.load("digits")
    >>> net = nn.Sequential(nn.Flatten(), VariationalLinear(64, 30, rng), nn.ReLU(), VariationalLinear(30, 10, rng))
    >>> optimizer = nn.Adam(net.parameters(), 5e-3)
    >>> prior = LogUniformPrior(net, patterns=data.train[1].size, ramp=nn.Ramp(optimizer, steps=300))
    >>> settings = {"batch_size": 64, "rng": rng, "progress": False, "companions": [prior]}
    >>> history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, *data.train, epochs=20, **settings)
    >>> plain = pruning.surgery.harden(net.eval())
    >>> left, total = pruning.masks.counts(plain)
    >>> type(plain.layers[1]).__name__, left < total / 2
    ('Linear', True)
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        rng: np.random.Generator | None,
        bias: bool = True,
        init: Initializer = small_normal,
        dtype: Any = np.float64,
        log_sigma: float = -5.0,
        threshold: float = 3.0,
    ):
        Linear.__init__(self, n_in, n_out, rng, bias, init, dtype)
        self.start(rng, log_sigma, threshold, dtype)

    def plain(self) -> Linear:
        """Return an outline of the plain layer."""
        return Linear(**Linear.config(self))

    def mean(self, W: Array, x: Array) -> Array:
        """Return W x + b."""
        self.x = x
        return self.product(W, x, None if self.b is None else self.b.data)

    def seen(self) -> Array:
        """Return x."""
        return self.x

    def product(self, W: Array, x: Array, b: Array | None) -> Array:
        """Return W x + b."""
        return W @ x if b is None else W @ x + b[:, None]

    def to_weights(self, g: Array, x: Array) -> Array:
        """Return g x^T."""
        return g @ x.T

    def to_input(self, W: Array, g: Array) -> Array:
        """Return W^T g."""
        return W.T @ g


class VariationalConv2d(Variational, Conv2d):
    """Convolution with a noise that each weight learns; in eval mode an `nn.Conv2d` of the weights that stay.

    Each output pixel has its own eps, as if every window met other weights: the same mean and variance, and no
    covariance between windows.

    Parameters
    ----------
    c_in ... bias_map : as for `nn.Conv2d`; W is theta, and theta starts small.
    log_sigma, threshold : as for `VariationalLinear`.
    c_in, c_out, groups, bias, columns : as for `nn.Conv2d`.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: Any,
        rng: np.random.Generator | None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = small_normal,
        dtype: Any = np.float64,
        columns: Sequence[int] | None = None,
        bias_map: Any = None,
        log_sigma: float = -5.0,
        threshold: float = 3.0,
    ):
        Conv2d.__init__(
            self, c_in, c_out, kernel, rng, stride, padding, dilation, groups, bias, init, dtype, columns, bias_map
        )
        self.start(rng, log_sigma, threshold, dtype)

    def plain(self) -> Conv2d:
        """Return an outline of the plain layer, with the bias map of this one."""
        layer = Conv2d(**Conv2d.config(self))
        layer.bias_map = None if self.bias_map is None else 0 + self.bias_map
        return layer

    def mean(self, W: Array, x: Array) -> Array:
        """Return W x + b."""
        assert self.y_shape is not None
        _, *self.size, _ = self.y_shape
        self.padded = self.geometry.pad(x)
        a = self.product(W, self.padded, None if self.b is None else self.b.data)
        return a if self.bias_map is None else a + self.bias_map[:, :, :, None]

    def seen(self) -> Array:
        """Return the image with its border of zeros."""
        return self.padded


def variational(net: Module, rng: np.random.Generator, log_sigma: float = -5.0, threshold: float = 3.0) -> Any:
    """Return a new net of the same weights, in which every `nn.Linear` and `nn.Conv2d` learns its noise.

    Other layers, batch norm among them, are copied; so are subclasses of the two.

    Parameters
    ----------
    net : trained, or drawn small (`small_normal`).
    rng : its children draw the noise.
    log_sigma, threshold : as for `VariationalLinear`.

    Raises
    ------
    TypeError
        If this is no net, or rng no np.random.Generator.
    ValueError
        If the net is an outline, or as `VariationalLinear`.
    """
    kinds: dict[type, Any] = {Linear: VariationalLinear, Conv2d: VariationalConv2d}
    check_generator(rng, outline=False)

    def change(rebuild: Rebuild, name: str, module: Any) -> Module | None:
        if type(module) not in kinds:
            return None
        settings = {**module.config(), "rng": rng, "log_sigma": log_sigma, "threshold": threshold}
        new = kinds[type(module)](**settings, init=lambda shape, _: np.zeros(shape))
        for u, old in ((new.W, module.W), (new.b, module.b)):
            if u is not None:
                u.data, u.mask = 0 + old.data, old.mask
        new.rho.data = asarray(new.rho.data, like=new.W.data)
        if getattr(module, "bias_map", None) is not None:
            new.bias_map = 0 + module.bias_map
        return new

    return Rebuild(net, change).net


def _refuse(sweep: Any, layer: Variational, *signal: Array) -> Any:
    raise sweep.unknown(layer)  # or that of the affine layer would be taken


_rules: Any = (Squares.fill, Tangents.ahead)
for _rule in _rules:
    _rule.register(Variational, _refuse)


# ---- KL --------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Divergence:
    """KL of one weight as a function of log alpha, and its derivative."""

    value: Callable[[Array], Array]
    slope: Callable[[Array], Array]


def fitted(log_alpha: Array) -> Array:
    """Return the fit of Molchanov et al. 2017, k1 - k1 sigmoid(k2 + k3 log alpha) + log(1 + 1/alpha) / 2.

    Parameters
    ----------
    log_alpha : log of the ratio of variance and squared mean, any shape.
    """
    return K1 - K1 * Sigmoid().f(K2 + K3 * log_alpha) + Softplus().f(-log_alpha) / 2


def fitted_slope(log_alpha: Array) -> Array:
    """Return the derivative of `fitted` towards log alpha: -k1 k3 w / (1 + w)^2 - r / (1 + r) / 2.

    r = 1/alpha and w = exp(-k2 - k3 log alpha) have all digits where the slope goes to zero.

    Parameters
    ----------
    log_alpha : log of the ratio of variance and squared mean, any shape.
    """
    xp = get_array_module(log_alpha)
    log_r = -xp.maximum(log_alpha, asarray(-50.0, like=log_alpha))  # there 1/2 already
    r, w = xp.exp(log_r), xp.exp(K3 * log_r - K2)
    return (-K1 * K3) * (w / (1 + w) / (1 + w)) - r / (1 + r) / 2


def exact(log_alpha: Array) -> Array:
    """Return KL = 2 int_0^x D(t) dt with x = sqrt u = 1 / sqrt(2 alpha); computed in NumPy and float64.

    Parameters
    ----------
    log_alpha : log of the ratio of variance and squared mean, any shape.
    """
    log_x = -(to_numpy(log_alpha).astype(np.float64) + math.log(2)) / 2
    x = np.exp(np.minimum(log_x, math.log(FAR)))
    near = x * sum(w * dawsn(x * (1 + t) / 2) for t, w in zip(*np.polynomial.legendre.leggauss(48)))
    far = log_x - DIGAMMA_HALF / 2 - _tail(np.maximum(log_x, 1))
    return asarray(np.where(log_x < math.log(FAR), near, far), like=log_alpha)


def exact_slope(log_alpha: Array) -> Array:
    """Return the derivative of `exact` towards log alpha, -sqrt(u) D(sqrt u); computed in NumPy.

    Parameters
    ----------
    log_alpha : log of the ratio of variance and squared mean, any shape.
    """
    x = np.exp(-(np.maximum(to_numpy(log_alpha), -40) + math.log(2)) / 2)  # x D(x) is 1/2 to rounding far before that
    return asarray(-x * dawsn(x), like=log_alpha)


def _tail(log_x: np.ndarray) -> np.ndarray:
    # 2 D(t) = 1/t + sum_k (2k-1)!! / (2^k t^(2k+1)) for large t, integrated from x to infinity without the first term.
    total, factor = np.zeros_like(log_x), 1.0
    for k in range(1, 16):
        factor *= (2 * k - 1) / 2
        total += factor / (2 * k) * np.exp(-2 * k * log_x)
    return total


FITTED = Divergence(fitted, fitted_slope)
EXACT = Divergence(exact, exact_slope)


# ---- training --------------------------------------------------------------------------------------------------------
class LogUniformPrior(Companion):
    """Adds the gradient of (kappa/N) sum KL(log alpha) over all variational layers: a companion of training.

    Parameters
    ----------
    net : with variational layers; the other layers have no prior.
    patterns : N, how many patterns one epoch has.
    ramp : kappa, such as ``nn.Ramp(optimizer, steps)``; None is 1 from the first step on.
    divergence : `FITTED` or `EXACT`.

    Raises
    ------
    TypeError
        If this is no net, no ramp or no divergence.
    ValueError
        If N is no whole number of 1 or more, there is no variational layer, a rho is not finite, or a weight is zero
        that is not masked: the prior has no gradient there.
    """

    def __init__(self, net: Module, patterns: int, ramp: Ramp | None = None, divergence: Divergence = FITTED):
        check_net(net)
        self.patterns = whole(patterns, "number of training patterns", 1)
        if ramp is not None and not isinstance(ramp, Ramp):
            raise TypeError(f"expected a ramp such as nn.Ramp(optimizer, 1000), got {type(ramp).__name__}")
        if not isinstance(divergence, Divergence):
            raise TypeError(f"expected the divergence FITTED or EXACT, got {type(divergence).__name__}")
        self.net, self.ramp, self.divergence = net, ramp, divergence
        for name, layer in self.layers():
            _check(name, layer)

    def layers(self) -> list[tuple[str, Variational]]:
        """Return (name, layer) of all variational layers; a ValueError if there is none."""
        found = [(name, layer) for name, layer in self.net.named_modules() if isinstance(layer, Variational)]
        if not found:
            raise ValueError("expected a net with a VariationalLinear or VariationalConv2d, got one without")
        return found

    @property
    def strength(self) -> float:
        """kappa/N of this step."""
        return (1.0 if self.ramp is None else self.ramp.value) / self.patterns

    def after_backward(self, step: int) -> None:
        """dE/drho <- dE/drho + (kappa/N) 2 KL',  dE/dtheta <- dE/dtheta - (kappa/N) 2 KL' / theta."""
        for _, layer in self.layers():
            theta, pull = layer.W.data, 2 * self.strength * self.divergence.slope(layer.log_alpha())
            layer.rho.grad = layer.rho.grad + pull
            layer.W.grad = layer.W.grad - pull * theta / (theta * theta + TINY)  # 1 / theta, and 0 where theta is

    def penalty(self) -> float:
        """Return (kappa/N) sum KL."""
        total = 0.0
        for _, layer in self.layers():
            xp = get_array_module(layer.W.data)
            total += float(xp.sum(self.divergence.value(layer.log_alpha())))
        return self.strength * total


def _check(name: str, layer: Variational) -> None:
    theta, rho, mask = (None if u is None else to_numpy(u) for u in (layer.W.data, layer.rho.data, layer.W.mask))
    assert theta is not None and rho is not None
    zeros = (theta == 0) if mask is None else (theta == 0) & (mask != 0)
    if not np.isfinite(rho).all():
        place = inside(name, "rho")
        raise ValueError(f"expected finite log sigma in {place}, got {int((~np.isfinite(rho)).sum())} that are not")
    if zeros.any():
        place = inside(name, "W")
        raise ValueError(f"expected no weight of 0 in {place}, for KL does not move it, got {int(zeros.sum())}")
