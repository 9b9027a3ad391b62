r"""A layer that has several widths at once: two of them are drawn, and their normalised channels are mixed.

Of the channels x (C, ..., N) of a convolution, the width c_k sees the first c_k, with a batch norm of its own.  The
logits a (K,) of the K widths are perturbed by Gumbel noise g and cooled by a temperature tau:

    v = (a + g) / tau,   I = two widths drawn by softmax(v) without replacement,   p = softmax of v on I
    y = sum_{k in I} p_k A_k norm_k(x[:c_k])

A_k (m, c_k) stretches c_k channels to m, the larger of the two widths: row i is the mean over the channels
floor(i c_k / m), ..., ceil((i + 1) c_k / m) - 1, as in adaptive average pooling.  Channels behind m are zero.

    dE/dp_k = <dE/dy, A_k norm_k(x[:c_k])>,   dE/da = p (dE/dp - sum_I p dE/dp) / tau  on I, and 0 elsewhere

In eval mode the layer has the one width of the largest logit: a batch norm of the first channels.

Notes
-----
Dong and Yang 2019, Network pruning via transformable architecture search, NeurIPS, arXiv:1905.09717.  Their
search over the depth of the net is left out here; that two widths are drawn is taken from the authors' code.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from nn.arguments import number, whole
from nn.backend import Array, asarray, dtype_name, get_array_module, to_numpy, zeros
from nn.batchnorm import BatchNorm
from nn.checks import check_floating, check_input, check_signal
from nn.initializers import check_generator, draw
from nn.module import Module

DRAWN = 2
"""Widths in one forward pass."""


def interpolation(n: int, m: int) -> np.ndarray:
    """Return A (m, n): row i is the mean over the channels floor(i n / m), ..., ceil((i + 1) n / m) - 1 of n.

    The means overlap where m does not divide n: stretched, some rows have one channel, and some the mean of two.

    Raises
    ------
    ValueError
        If a number of channels is not a whole one of at least 1.

    Examples
    --------
    >>> interpolation(2, 3)
    array([[1. , 0. ],
           [0.5, 0.5],
           [0. , 1. ]])
    """
    n, m = whole(n, "number of channels", 1), whole(m, "number of channels", 1)
    A = np.zeros((m, n))
    for i in range(m):
        start, stop = i * n // m, -(-(i + 1) * n // m)  # floor, ceil
        A[i, start:stop] = 1 / (stop - start)
    return A


class WidthMix(Module):
    """y = sum_{k in I} p_k A_k norm_k(x[:c_k]) in train mode, and norm_k(x[:c_k]) of the largest logit in eval mode.

    x and y (C, N) or (C, H, W, N), C the largest width; what lies behind the widths that are drawn is 0 in y.

    Parameters
    ----------
    norms : a batch norm for each width, the narrowest first.
    rng : draws the logits (K,), normal with deviation 0.01, then the noise, one draw a forward pass in train mode; None
        builds an outline.
    temperature : tau, which may be set anew between two steps.

    Attributes
    ----------
    noise : None, or what stands in the place of every draw: two rows (2, K) of Gumbel noise.  The first is g; the two
        largest of log softmax(v) plus the second row are I, which is drawing without replacement.
    drawn : the numbers k of I, ascending, in the last forward pass; in eval mode the one of the largest logit.

    Raises
    ------
    TypeError
        If a norm is no `nn.BatchNorm`, or the temperature no number.
    ValueError
        If there are fewer than two widths, or they do not ascend; if the temperature is not above 0; in train mode
        without a generator; in every sweep of second derivatives in train mode.

    Notes
    -----
    The derivative by the logits is that for I as it was drawn.  Widths that were not drawn have gradients of 0, so that
    an optimizer can step.  In eval mode the logits have no derivatives.  Surgery and counts refuse the layer:
    `pruning.surgery.harden` first.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.architectures.width_mix import WidthMix
    >>> mix = WidthMix(*map(nn.BatchNorm, (2, 3, 4)), rng=np.random.default_rng(0))
    >>> mix.logits.data = np.array([0.0, 2.0, 1.0])
    >>> mix.eval().forward(np.ones((4, 1)))[:, 0].round(3)
    array([1., 1., 1., 0.])
    >>> mix.width, mix.probabilities().round(3)
    (3, array([0.09 , 0.665, 0.245]))
    """

    noise: Array | None = None
    p: Array | None = None
    """The weights of the two widths of the last forward pass; None in eval mode."""

    def __init__(self, *norms: BatchNorm, rng: np.random.Generator | None, temperature: float = 5.0):
        strangers = [norm for norm in norms if not isinstance(norm, BatchNorm)]
        if strangers:
            raise TypeError(f"expected a BatchNorm for each width, got {type(strangers[0]).__name__}")
        self.widths = [norm.channels for norm in norms]
        if len(norms) < DRAWN or self.widths != sorted(set(self.widths)):
            raise ValueError(f"expected at least {DRAWN} widths that ascend, got {self.widths}")
        check_generator(rng)
        self.rng, self.temperature = rng, temperature
        self.logits = draw(lambda shape, r: r.normal(0, 0.01, shape), (len(norms),), rng, norms[0].dtype)
        self.norms = list(norms)

    @property
    def temperature(self) -> float:
        """tau; a ValueError if it is set to anything but a finite number above 0."""
        return self._temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        tau = number(value, "the temperature")
        if not 0 < tau < np.inf:
            raise ValueError(f"expected a temperature above 0, got {value}")
        self._temperature = tau

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments but for the norms; rng is None."""
        return {"rng": None, "temperature": self.temperature}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the input, whose channels must be as many as the largest width."""
        if tuple(shape[:1]) != (self.widths[-1],):
            given = shape[0] if shape else "none"
            raise ValueError(f"WidthMix of widths up to {self.widths[-1]} expected as many channels, got {given}")
        return shape

    @property
    def width(self) -> int:
        """The width of the largest logit, the narrowest of equal ones."""
        return self.widths[self._largest()]

    def _largest(self) -> int:
        return int(np.argmax(to_numpy(self.logits.data).real))

    def probabilities(self) -> Array:
        """Return softmax(a), (K,), the probabilities of the widths without noise."""
        return _softmax(self.logits.data)

    def forward(self, x: Array) -> Array:
        """Return the mix of two drawn widths, or the width of the largest logit."""
        check_floating(self, x)
        shape = check_input(self, x)
        xp = get_array_module(x)
        rows = xp.reshape(x, (shape[0], -1))
        self.drawn, self.p = self._draw(x) if self.training else ([self._largest()], None)
        m = self.widths[self.drawn[-1]]
        self.A = [asarray(interpolation(self.widths[k], m), like=x) for k in self.drawn]
        parts = [self.norms[k].forward(rows[: self.widths[k], :]) for k in self.drawn]
        self.stretched = [A @ z for A, z in zip(self.A, parts)]
        y = self.stretched[0] if self.p is None else sum(self.p[j] * z for j, z in enumerate(self.stretched))
        return xp.reshape(self._padded(y), shape)

    def _draw(self, x: Array) -> tuple[list[int], Array]:
        noise = self.noise
        if noise is None:
            if self.rng is None:
                raise ValueError("WidthMix has no rng to draw widths with (an outline, or loaded): set its rng")
            noise = self.rng.gumbel(size=(2, len(self.widths)))
        g, h = to_numpy(noise)
        a, xp = self.logits.data, get_array_module(x)
        drawn = two_of((to_numpy(a).real + g) / self.temperature, h)
        chosen = xp.take(a + asarray(g, like=x), asarray(drawn, like=x, dtype=xp.int64), axis=0)
        return drawn, _softmax(chosen / self.temperature)

    def _padded(self, rows: Array) -> Array:
        # Zeros for the channels behind the last one.
        missing = self.widths[-1] - rows.shape[0]
        return get_array_module(rows).concat([rows, zeros((missing, rows.shape[1]), like=rows)], axis=0)

    def _backward_logits(self, gy: Array) -> None:
        xp, p = get_array_module(gy), self.p
        gp = xp.stack([xp.sum(gy * z) for z in self.stretched])  # dE/dp_k = <dE/dy, A_k norm_k>
        ga = p * (gp - xp.sum(p * gp)) / self.temperature  # the softmax's matrix, diag(p) - p p^T, over tau
        self.logits.grad = zeros((len(self.widths),), like=gy)
        for j, k in enumerate(self.drawn):
            self.logits.grad[k] = ga[j]

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx = the sum over the norms' sweeps back of p_k A_k^T dE/dy."""
        check_signal(self, gy)
        xp = get_array_module(gy)
        rows = xp.reshape(gy, (self.widths[-1], -1))[: self.widths[self.drawn[-1]], :]
        for norm in self.norms:
            norm.gamma.grad, norm.beta.grad = (zeros(u.shape, like=gy) for u in (norm.gamma, norm.beta))
        self.logits.grad = None
        if self.p is not None:
            self._backward_logits(rows)
        back = [A.T @ rows for A in self.A]
        back = back if self.p is None else [self.p[j] * gz for j, gz in enumerate(back)]
        gx = sum(self._padded(self.norms[k].backward(gz)) for k, gz in zip(self.drawn, back))
        return xp.reshape(gx, gy.shape)

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2 = scale^2 d2E/dy2 of the width of the largest logit, in eval mode."""
        if self.p is not None or self.training:
            raise ValueError("WidthMix has second derivatives in eval mode only (nn.curvature.hess_diag switches)")
        check_signal(self, gy, hy)
        gx, xp, (k,) = self.backward(gy), get_array_module(hy), self.drawn
        for u in self.parameters():
            u.hess_diag = None if u is self.logits else zeros(u.shape, like=hy)
        g, h = (xp.reshape(each, (self.widths[-1], -1))[: self.widths[k], :] for each in (gy, hy))
        hx = self._padded(self.norms[k].backward_hessian(g, h)[1])
        return gx, xp.reshape(hx, hy.shape)

    def hardened(self) -> BatchNorm:
        """Return the batch norm (C,) that computes what this layer does in eval mode: 0 behind the chosen width."""
        old = self.norms[self._largest()]
        new = BatchNorm(self.widths[-1], old.eps, old.momentum, dtype_name(self.logits.dtype))
        new.gamma.data, new.beta.data, new.running_mean = (
            self._padded(each[:, None])[:, 0] for each in (old.gamma.data, old.beta.data, old.running_mean)
        )
        new.running_variance = 1 + self._padded(old.running_variance[:, None] - 1)[:, 0]
        return new


def two_of(v: Array, h: Array) -> list[int]:
    """Return the two largest of v + h, ascending: with Gumbel noise h, drawn by softmax(v) without replacement."""
    return sorted(int(k) for k in np.argsort(-(v + h), kind="stable")[:DRAWN])


def mixes(net: Module) -> dict[str, WidthMix]:
    """Return {name: layer} of the layers of the net that mix widths, in the order of the forward pass."""
    return {name: layer for name, layer in net.named_modules() if isinstance(layer, WidthMix)}


def shares(C: int, of: Iterable[float] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)) -> list[int]:
    """Return the widths floor(s C), at least 1, for the shares s of C channels, each once: as in the authors' code.

    Raises
    ------
    ValueError
        If there is not at least one channel, or a share is not in (0, 1].
    """
    C, found = whole(C, "number of channels", 1), [number(s, "a share") for s in of]
    if not all(0 < s <= 1 for s in found):
        raise ValueError(f"expected shares above 0, at most 1, got {found}")
    return sorted({max(1, int(s * C + 1e-9)) for s in found})


def _softmax(v: Array) -> Array:
    xp = get_array_module(v)
    exp = xp.exp(v - xp.max(v))
    return exp / xp.sum(exp)
