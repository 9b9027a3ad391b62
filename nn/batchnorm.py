"""Batch normalisation, and dropout: the two layers that train and eval mode tell apart."""

import math
import operator
from typing import Any

import numpy as np

from nn.arguments import number
from nn.backend import Array, asarray, dtype_name, get_array_module, zeros
from nn.batches import batches, check_data, evaluating
from nn.channelwise import Channelwise
from nn.checks import check_floating, check_input, check_signal
from nn.conv import Conv2d
from nn.initializers import check_generator, draw, ones
from nn.initializers import zeros as all_zeros
from nn.linear import Linear
from nn.module import Module, check_net, evaluated
from nn.pooling import Pool2d

PIECE = 2048
"""Numbers in one dot product of `dot_rows`."""


class BatchNorm(Channelwise):
    """y = gamma (x - mean) / sqrt(variance + eps) + beta, for every channel (axis 0) of (C, N) or (C, H, W, N).

    In train mode mean and (biased) variance are those of the batch, and the running statistics move towards them by
    `momentum`, the variance unbiased: PyTorch's convention.  In eval mode they are the running statistics, and the
    layer is affine.

    Parameters
    ----------
    channels : number C.
    eps : added to the variance.
    momentum : the share of the new batch in the running statistics.
    dtype : float64 or float32.
    outline : whether gamma and beta know their shape only, as with ``rng=None`` elsewhere; nothing is drawn here.

    Raises
    ------
    ValueError
        In train mode for a single number per channel, which has no variance; in every sweep of second derivatives in
        train mode.

    Notes
    -----
    ``backward_hessian`` is for eval mode.  Towards x it is exact: the scale squared.  gamma and beta are shared by all
    positions of a map, and their sums over d2E/dy2 drop the terms between two positions (there are none in (C, N)).
    """

    buffers = ("running_mean", "running_variance")

    def __init__(
        self,
        channels: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        dtype: Any = np.float64,
        outline: bool = False,
    ):
        self.eps, self.momentum = number(eps, "eps"), number(momentum, "the momentum")
        if not 0 <= self.eps < math.inf or not 0 <= self.momentum <= 1:
            raise ValueError(f"expected eps of at least 0 and a momentum in [0, 1], got {eps} and {momentum}")
        self.channels = operator.index(channels)
        rng = None if outline else np.random.default_rng()  # draws nothing: ones and zeros
        self.gamma = draw(ones, (channels,), rng, dtype)
        self.beta = draw(all_zeros, (channels,), rng, dtype)
        self.dtype = dtype_name(np.dtype(dtype))
        self.running_mean, self.running_variance = np.zeros(channels, dtype), np.ones(channels, dtype)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, those of a layer at its starting values."""
        return {"channels": self.channels, "eps": self.eps, "momentum": self.momentum, "dtype": self.dtype}

    def factor(self) -> Array:
        """Return gamma / sqrt(variance + eps) with the running variance, (C,)."""
        xp = get_array_module(self.gamma.data)
        return self.gamma.data / xp.sqrt(self.running_variance + self.eps)

    def forward(self, x: Array) -> Array:
        """Return gamma (x - mean) / deviation + beta."""
        check_floating(self, x)
        self.shape = check_input(self, x)
        xp = get_array_module(x)
        rows = xp.reshape(x, (self.channels, -1))
        if self.training:
            variance = self._update(rows)
        else:
            variance, self.centred = self.running_variance, rows - self.running_mean[:, None]
        self.deviation = xp.sqrt(variance + self.eps)
        return xp.reshape(self.scale()[:, None] * self.centred + self.beta.data[:, None], self.shape)

    def _update(self, rows: Array) -> Array:
        xp, M = get_array_module(rows), rows.shape[1]
        if M < 2:
            got = "one (a batch of one)" if M else "none (an empty batch)"
            raise ValueError(f"BatchNorm in train mode needs at least two numbers per channel, got {got}")
        mean = xp.sum(rows, axis=1) / M
        self.centred = rows - mean[:, None]
        variance = dot_rows(self.centred, self.centred) / M
        keep = 1 - self.momentum
        self.running_mean = keep * self.running_mean + self.momentum * mean
        self.running_variance = keep * self.running_variance + self.momentum * M / (M - 1) * variance
        return variance

    def backward_parameters(self, gy: Array) -> None:
        """dE/dy -> dE/dgamma, dE/dbeta."""
        check_signal(self, gy)
        xp = get_array_module(gy)
        gy = xp.reshape(gy, self.centred.shape)
        self.gamma.grad = dot_rows(gy, self.centred) / self.deviation
        self.beta.grad = xp.sum(gy, axis=1)

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx; in train mode mean and variance depend on x too, which takes two projections off."""
        xp = get_array_module(gy)
        self.backward_parameters(gy)
        gx = self.scale()[:, None] * xp.reshape(gy, self.centred.shape)
        if self.training:
            factor = self.scale() / gx.shape[1]
            gx -= (factor * self.gamma.grad / self.deviation)[:, None] * self.centred
            gx -= (factor * self.beta.grad)[:, None]
        return xp.reshape(gx, self.shape)

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2 = scale^2 d2E/dy2, in eval mode."""
        self.check_eval()
        check_signal(self, gy, hy)
        xp = get_array_module(hy)
        h = xp.reshape(hy, self.centred.shape)
        self.gamma.hess_diag = dot_rows(h, self.centred * self.centred) / (self.deviation * self.deviation)
        self.beta.hess_diag = xp.sum(h, axis=1)
        scale = self.scale()[:, None]
        return self.backward(gy), xp.reshape(scale * scale * h, self.shape)

    def check_eval(self) -> None:
        """Raise a ValueError in train mode, where no second derivative is known."""
        if self.training:
            raise ValueError("BatchNorm has second derivatives in eval mode only (nn.curvature.hess_diag switches)")

    def scale(self) -> Array:
        """Return gamma / sqrt(variance + eps) of the last forward pass, (C,)."""
        return self.gamma.data / self.deviation


def renew_statistics(net: Module, x: Array, batch_size: int = 500) -> None:
    """Set the running statistics of every batch norm of the net, in place, to those of the data x (..., N).

    They are the means over the batches of what train mode computes with, each batch normalised by its own statistics.
    Weights stay as they are, and no other layer is in train mode.

    Raises
    ------
    TypeError
        If this is no net, or x no array.
    ValueError
        If there is no batch norm, or as `nn.batches.check_data`.
    """
    check_net(net)
    check_data(net, x, x)
    norms = [layer for layer in net.modules() if isinstance(layer, BatchNorm)]
    if not norms:
        raise ValueError("expected a net with batch norm, whose statistics can be renewed")
    momenta = [norm.momentum for norm in norms]
    with evaluating(net):
        try:
            for number, (x_batch, _, _) in enumerate(batches(x, x, batch_size), 1):
                for norm in norms:
                    norm.training, norm.momentum = True, 1 / number  # the mean of all batches so far
                net.forward(x_batch)
        finally:
            for norm, momentum in zip(norms, momenta):
                norm.momentum = momentum


def dot_rows(a: Array, b: Array) -> Array:
    """Return the dot products (C,) of the rows of a and b (C, M), by BLAS: no product of the two arrays is kept.

    BLAS adds a row in a few long chains, which in float32 lose digits: it gets pieces, whose sums are added in pairs.
    """
    xp, (C, M) = get_array_module(a), a.shape
    pieces = M // PIECE
    whole = pieces * PIECE
    rest = (a[:, None, whole:] @ b[:, whole:, None])[:, 0, 0]
    if pieces == 0:
        return rest
    dots = xp.reshape(a[:, :whole], (C, pieces, 1, PIECE)) @ xp.reshape(b[:, :whole], (C, pieces, PIECE, 1))
    return xp.sum(dots[:, :, 0, 0], axis=1) + rest


class Dropout(Module):
    """In train mode y = x mask / (1 - p), with each entry of the mask zero with probability p; in eval mode y = x.

    Parameters
    ----------
    p : probability in [0, 1).
    rng : draws the masks; None builds an outline that has no train mode.

    ``backward_hessian`` is the mask's scale squared: exact for the mask that was drawn.

    Raises
    ------
    ValueError
        If p is not in [0, 1).
    """

    def __init__(self, p: float, rng: np.random.Generator | None):
        self.p, self.rng = number(p, "the probability"), rng
        if not 0 <= self.p < 1:
            raise ValueError(f"expected a probability in [0, 1), got {p}")
        check_generator(rng)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None."""
        return {"p": self.p, "rng": None}

    def forward(self, x: Array) -> Array:
        """Return x with entries dropped, in train mode."""
        check_floating(self, x)
        check_input(self, x)
        self.scale: Any = 1.0
        if self.training and self.p > 0:
            if self.rng is None:
                raise ValueError("Dropout has no rng to draw masks with (an outline, or loaded): set dropout.rng")
            self.scale = asarray((self.rng.random(x.shape) >= self.p) / (1 - self.p), like=x)
        return x * self.scale

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx."""
        check_signal(self, gy)
        return gy * self.scale

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2."""
        check_signal(self, gy, hy)
        return gy * self.scale, hy * (self.scale * self.scale)


def fold_pair(layer: Conv2d | Linear, norm: Channelwise) -> Conv2d | Linear:
    """Return one layer that computes norm(layer(x)) in eval mode:  W' = s W,  b' = norm(b),  s the norm's factors.

    Of batch norm, s = gamma / sqrt(variance + eps) and b' = s (b - mean) + beta.  Forgetting eps costs the sixth digit.
    A bias map is scaled like W.  The arguments are not modified; masks are not taken over.

    Raises
    ------
    ValueError
        If the layer has not as many outputs as the norm has channels.
    TypeError
        If there is another layer in the place of one of the two.
    """
    if not isinstance(layer, Conv2d | Linear) or not isinstance(norm, Channelwise) or isinstance(norm, Pool2d):
        given = f"{type(layer).__name__} and {type(norm).__name__}"
        raise TypeError(f"expected a Conv2d or Linear and the BatchNorm behind it, got {given}")
    norm.output_shape(layer.W.shape[:1])
    xp, s = get_array_module(layer.W.data), norm.factor()
    folded = type(layer)(**{**layer.config(), "bias": True})
    folded.W.data = layer.W.data * xp.reshape(s, (-1, *(1 for _ in layer.W.shape[1:])))
    b = zeros(layer.W.shape[:1], like=s) if layer.b is None else layer.b.data
    assert folded.b is not None
    folded.b.data = xp.reshape(evaluated(norm, xp.reshape(b, (-1, *(1 for _ in layer.W.shape[1:])))), (-1,))
    if isinstance(layer, Conv2d) and isinstance(folded, Conv2d) and layer.bias_map is not None:
        folded.bias_map = s[:, None, None] * layer.bias_map
    return folded
