r"""Self-adaptive network pruning: each convolution decides for each image which of its channels are computed.

    s = saliency(x), one number a channel and image;  in train mode s + N(0, 1)
    v1 = min(1, max(0, 1.2 sigmoid(s) - 0.1)),   v2 = 1[s > 0],   y = v conv(x)

In train mode half of the images of a batch, drawn anew in every step, see v = v1, the others v = v2, and all gradients
take the way of v1: dE/ds = dE/dv [0 < v1 < 1] 1.2 sigmoid(s) (1 - sigmoid(s)).  In eval mode v = v2, without noise.
A channel with v = 0 need not be computed, nor read: an image costs

    cost_n = sum_l k_l^2 area_l n_in n_out / (the same with all channels),   n_out = sum_c v_c of layer l, n_in of l - 1

and training adds  lam (mean_n cost_n - budget)^2  to the loss.  A mean, not each image: one may cost more than another.

Notes
-----
Chen, Zhu, Li, Zhao 2019, Self-adaptive network pruning, arXiv:1910.08906: the module beside each convolution, and a
budget that the average computation meets, are its abstract's.  Neither its text nor code of it was at hand: how the
module is built, and the cost term, are ours.  v1 and v2 are the improved semantic hashing of Kaiser and Bengio 2018,
Discrete autoencoders for sequence models, arXiv:1801.09797.
"""

import math
from typing import Any

import numpy as np

from nn.activations import Identity, ReLU, ScaledTanh, Sigmoid, Tanh
from nn.arguments import nonnegative, number
from nn.backend import Array, asarray, get_array_module, sum_positions
from nn.batches import Targets
from nn.batchnorm import BatchNorm, Dropout
from nn.checks import check_floating, check_input, check_signal
from nn.conv import Conv2d
from nn.initializers import check_generator
from nn.linear import Flatten, Linear
from nn.module import Module, Sequential, check_layers, check_net
from nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d

BETWEEN = (ReLU, Tanh, ScaledTanh, Identity, Dropout, MaxPool2d, AvgPool2d, GlobalAvgPool2d, Flatten)
"""Layers that make zeros of zeros, channel by channel: behind them a closed channel is closed still."""


def saliency_module(
    c_in: int, c_out: int, hidden: int, rng: np.random.Generator | None, dtype: Any = np.float64
) -> Sequential:
    """Return what predicts s (O, N) of images (C, H, W, N): means of maps, batch norm, and two affine layers.

    Without the batch norm the decisions became static in the experiment `self_adaptive`.  A likely reason, not put to a
    test: means of maps differ little from image to image.

    Parameters
    ----------
    c_in, c_out : numbers of maps C in front and of saliencies O.
    hidden : units between the two affine layers.
    """
    return Sequential(
        GlobalAvgPool2d(),
        BatchNorm(c_in, dtype=dtype, outline=rng is None),
        Linear(c_in, hidden, rng, dtype=dtype),
        ReLU(),
        Linear(hidden, c_out, rng, dtype=dtype),
    )


def decisions(s: Array) -> Array:
    """Return v2 = 1[s > 0]."""
    return get_array_module(s).astype(s > 0, s.dtype)


def relaxed(s: Array) -> Array:
    """Return v1 = min(1, max(0, 1.2 sigmoid(s) - 0.1))."""
    xp, v = get_array_module(s), 1.2 * Sigmoid().f(s) - 0.1
    v = xp.where(v > 0, v, xp.zeros_like(v))
    return xp.where(v < 1, v, xp.ones_like(v))


def slope(s: Array) -> Array:
    """Return dv1/ds = [0 < v1 < 1] 1.2 sigmoid(s) (1 - sigmoid(s))."""
    xp, v = get_array_module(s), relaxed(s)
    return xp.where((v > 0) & (v < 1), 1.2 * Sigmoid().df(s), xp.zeros_like(s))


class Gated(Module):
    """y = v conv(x), v (O, N) one number a filter and image, which `saliency` decides on from the same x.

    Parameters
    ----------
    conv : `nn.Conv2d` without groups.
    saliency : (C, H, W, N) -> s (O, N), such as `saliency_module`.
    rng : draws the noise of s and the half of the images that see v1; None builds an outline without train mode.

    Attributes
    ----------
    v : (O, N) of the last forward pass.
    extra : None, or what a loss on v adds to dE/dv, (O, N) or (1, N): `WithinBudget` sets it before the sweep back.
    noise : None, or the pair (noise (O, N), soft (N,) of zeros and ones) that stands in the place of every draw.
    imposed : None, or decisions (O, N) that stand in the place of its own in eval mode, such as those of other images.

    Raises
    ------
    TypeError
        If conv is no convolution, saliency no layer, or rng no generator.
    ValueError
        If the convolution has groups or kept columns, one layer stands in two places, s has another shape than (O, N),
        or in train mode without a generator.

    Notes
    -----
    In eval mode v is a constant: ``backward_hessian`` is that of the convolution for v gy and v^2 hy, exact towards v,
    and the parameters of ``saliency`` have no derivatives.  In train mode second derivatives are refused.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.dynamic.self_adaptive import Gated, saliency_module
    >>> rng = np.random.default_rng(0)
    >>> layer = Gated(nn.Conv2d(2, 4, 3, rng, padding=1), saliency_module(2, 4, 3, rng), np.random.default_rng(1))
    >>> y = layer.eval().forward(rng.standard_normal((2, 5, 5, 3)))
    >>> layer.v.T
    array([[1., 0., 1., 1.],
           [1., 0., 0., 0.],
           [1., 0., 1., 0.]])
    """

    exact_diagonal = False
    noise: tuple[Array, Array] | None = None
    extra: Array | None = None
    imposed: Array | None = None

    def __init__(self, conv: Conv2d, saliency: Module, rng: np.random.Generator | None):
        if not isinstance(conv, Conv2d):
            raise TypeError(f"expected a convolution to gate, got a {type(conv).__name__}")
        if not isinstance(saliency, Module):
            raise TypeError(f"expected a layer that predicts saliencies, got a {type(saliency).__name__}")
        check_layers(conv, saliency)
        check_generator(rng)
        if conv.groups != 1 or conv.columns is not None:
            raise ValueError(
                "expected a convolution of one group with all its columns, of k^2 area n_in n_out products"
            )
        self.conv, self.saliency, self.rng = conv, saliency, rng

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments beside the two layers; rng is None."""
        return {"rng": None}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C, H, W) -> (O, OH, OW)."""
        output, s = self.conv.output_shape(shape), self.saliency.output_shape(shape)
        if tuple(s) != (self.conv.c_out,):
            raise ValueError(f"Gated expected saliencies of shape ({self.conv.c_out},), got {tuple(s)}")
        return output

    def hardened(self) -> Module:
        """Refuse: what is closed differs from image to image, and no plain layer computes that."""
        raise ValueError("Gated decides for each image: no plain layer computes the same, and nothing of it can be cut")

    def forward(self, x: Array) -> Array:
        """Return y = v conv(x)."""
        check_floating(self, x)
        check_input(self, x)
        self.drawn, self.extra = self.training, None
        s = self.saliency.forward(x)
        if self.drawn:
            noise, soft = self._noise(x)
            self.s = s + noise
            self.v = soft * relaxed(self.s) + (1 - soft) * decisions(self.s)
        else:
            self.v = decisions(s) if self.imposed is None else asarray(self.imposed, like=x)
        if tuple(self.v.shape) != tuple(s.shape):
            raise ValueError(f"Gated expected decisions of shape {tuple(s.shape)}, got {tuple(self.v.shape)}")
        self.a = self.conv.forward(x)
        return self.v[:, None, None, :] * self.a

    def backward_parameters(self, gy: Array) -> None:
        """dE/dy -> the gradients of the convolution, and those of saliency in train mode."""
        check_signal(self, gy)
        self.conv.backward_parameters(self.v[:, None, None, :] * gy)
        if self.drawn:
            self.saliency.backward_parameters(self.to_saliency(gy))
        self._forget()

    def backward(self, gy: Array) -> Array:
        """dE/dy -> dE/dx = conv^T (v dE/dy) + what goes through the saliencies."""
        check_signal(self, gy)
        gx = self.conv.backward(self.v[:, None, None, :] * gy)
        if self.drawn:
            gx = gx + self.saliency.backward(self.to_saliency(gy))
        self._forget()
        return gx

    def to_saliency(self, gy: Array) -> Array:
        """dE/dy -> dE/ds = dE/dv dv1/ds, for v1 and for v2,  dE/dv = sum over positions of dE/dy a (+ extra)."""
        gv = sum_positions(gy * self.a)
        return (gv if self.extra is None else gv + self.extra) * slope(self.s)

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """d2E/dy2 -> d2E/dx2 as the convolution does from v^2 d2E/dy2, in eval mode."""
        check_signal(self, gy, hy)
        if self.drawn:
            raise ValueError("Gated has second derivatives in eval mode only: in train mode a decision has none")
        v = self.v[:, None, None, :]
        self._forget()
        return self.conv.backward_hessian(v * gy, v * v * hy)

    def _forget(self) -> None:
        # In eval mode v is a constant, and what is left of the last step in train mode is none of its derivatives.
        if not self.drawn:
            for u in self.saliency.parameters():
                u.grad = u.hess_diag = None

    def _noise(self, x: Array) -> tuple[Array, Array]:
        if self.noise is None and self.rng is None:
            raise ValueError("Gated has no rng to draw noise with (an outline, or loaded): set its rng")
        noise, soft = self.draw(x.shape[-1]) if self.noise is None else self.noise
        return asarray(noise, like=x), asarray(soft, like=x)

    def draw(self, N: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the noise of s, N(0, 1), and ones for half of the N images, those that see v1."""
        if self.rng is None:
            raise ValueError("Gated has no rng to draw noise with")
        return self.rng.standard_normal((self.conv.c_out, N)), 1.0 * (self.rng.permutation(N) < N / 2)

    def size(self) -> int:
        """Return k^2 area of the last forward pass: the products of one channel in and one out."""
        return math.prod(self.conv.geometry.kernel) * math.prod(self.y_shape[1:3] if self.y_shape else ())


def gated(net: Module) -> list[Gated]:
    """Return the gated convolutions of a chain, in order.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If there is none, or the net is no chain of them: a closed channel has to be one that the next does not read.
    """
    check_net(net)
    found: list[Gated] = []
    for layer in _chain(net):
        if isinstance(layer, Gated):
            if found and found[-1].conv.c_out != layer.conv.c_in:
                raise ValueError(f"expected {found[-1].conv.c_out} channels in, got a convolution of {layer.conv.c_in}")
            found.append(layer)
        elif not isinstance(layer, (*BETWEEN, Linear)):
            raise ValueError(f"expected a chain of gated convolutions, got a {type(layer).__name__} among them")
    if not found:
        raise ValueError("expected a net with gated convolutions, got one without")
    return found


def _chain(net: Module) -> list[Module]:
    if not isinstance(net, Sequential):
        return [net]
    return [each for layer in net.layers for each in _chain(layer)]


def cost(net: Module) -> Array:
    """Return the share (N,) of the multiply-accumulates of its convolutions that each image of the last pass takes.

    The saliencies are not in it; nor are affine layers behind the last convolution.

    Raises
    ------
    ValueError
        If the net has not had a forward pass, or as `gated`.
    """
    layers = gated(net)
    n_in, n_out, full = _open(layers)
    return sum(layer.size() * i * o for layer, i, o in zip(layers, n_in, n_out)) / full


def cost_slopes(net: Module) -> list[Array]:
    """Return dcost_n/dv (N,) of each layer's decisions, the same for all its channels.

    A channel is computed, k^2 area n_in, and read by the layer behind, k^2 area n_out of that one; both over the cost
    of all channels.

    Raises
    ------
    ValueError
        As `cost`.
    """
    layers = gated(net)
    n_in, n_out, full = _open(layers)
    made = [layer.size() * i for layer, i in zip(layers, n_in)]
    read: list[Any] = [layer.size() * o for layer, o in zip(layers, n_out)]
    return [(m + r) / full for m, r in zip(made, [*read[1:], 0.0])]


def _open(layers: list[Gated]) -> tuple[list[Any], list[Array], int]:
    # Open channels in front of and behind each layer, and the cost of all; those of the images are never closed.
    if any(layer.y_shape is None for layer in layers):
        raise ValueError("expected a forward pass before the cost of its images, got none")
    n_out = [get_array_module(layer.v).sum(layer.v, axis=0) for layer in layers]
    full = sum(layer.size() * layer.conv.c_in * layer.conv.c_out for layer in layers)
    return [layers[0].conv.c_in, *n_out[:-1]], n_out, full


class WithinBudget:
    """E + lam (mean_n cost_n - budget)^2, a loss E of the outputs and the cost of the images that made them.

    Parameters
    ----------
    loss : E, such as `nn.SoftmaxCrossEntropy`.
    net : a chain of `Gated` convolutions, the one whose outputs the loss sees.
    budget : the share of the multiply-accumulates that an image may take in the mean, in (0, 1].
    strength : lam.

    Raises
    ------
    TypeError
        If the budget or the strength is no number, or net is no net.
    ValueError
        If the budget is not in (0, 1], the strength is below 0, or as `gated`.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.dynamic.self_adaptive import Gated, WithinBudget, cost, saliency_module
    >>> rng, x = np.random.default_rng(0), np.random.default_rng(2).standard_normal((2, 5, 5, 4))
    >>> layer = Gated(nn.Conv2d(2, 4, 3, rng), saliency_module(2, 4, 3, rng), np.random.default_rng(1))
    >>> net = nn.Sequential(layer, nn.ReLU(), nn.GlobalAvgPool2d()).eval()
    >>> loss = WithinBudget(nn.SoftmaxCrossEntropy(), net, budget=0.5, strength=2.0)
    >>> y, t = net.forward(x), np.array([0, 1, 2, 3])
    >>> bool(np.isclose(loss.forward(y, t), loss.loss.forward(y, t) + 2 * (cost(net).mean() - 0.5) ** 2))
    True
    """

    def __init__(self, loss: Any, net: Module, budget: float, strength: float):
        self.budget = number(budget, "the budget")
        if not 0 < self.budget <= 1:
            raise ValueError(f"expected a budget in (0, 1], a share of the cost with all channels, got {budget!r}")
        self.strength = nonnegative(strength, "strength")
        self.layers = gated(net)
        self.loss, self.net = loss, net

    def forward(self, y: Array, t: Targets) -> Array:
        """Return E + lam (mean cost - budget)^2 of the last forward pass of the net."""
        share = cost(self.net)
        self.excess = get_array_module(share).sum(share) / share.shape[0] - self.budget
        return self.loss.forward(y, t) + self.strength * self.excess * self.excess

    def backward(self) -> Array:
        """Return dE/dy, and leave dE/dv = 2 lam (mean cost - budget) (1/N) dcost_n/dv in the gated layers."""
        for layer, each in zip(self.layers, cost_slopes(self.net)):
            layer.extra = 2 * self.strength * self.excess / each.shape[0] * each[None, :]
        return self.loss.backward()

    def backward_hessian(self) -> Array:
        """Refuse: decisions have no second derivative; that of the loss alone is ``loss``'s."""
        raise ValueError("WithinBudget has no second derivative, for decisions have none; ask its loss in eval mode")
