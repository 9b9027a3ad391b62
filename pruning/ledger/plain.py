"""Small nets with dead filters, and their forward pass in plain NumPy: a referee of surgery.

The forward pass takes the numbers from nn, and no code.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import nn

SHAPE = (2, 5, 6)
KEEP = {"0.W": [0, 2, 4]}
DEAD = [1, 3]
ACTIVATIONS: dict[type, Callable[[np.ndarray], np.ndarray]] = {
    nn.ReLU: lambda a: np.where(a > 0, a, 0.0),
    nn.Tanh: np.tanh,
    nn.Sigmoid: lambda a: 1 / (1 + np.exp(-a)),
    nn.Softplus: lambda a: np.log(1 + np.exp(a)),
}


def forward(net: Any, x: np.ndarray) -> np.ndarray:
    """Return what a chain of layers computes in eval mode; residual blocks may stand in it, with the plain shortcut."""
    if isinstance(net, nn.Sequential):
        for layer in net.layers:
            x = forward(layer, x)
        return x
    if isinstance(net, nn.Residual):
        return x + forward(net.body, x)
    if isinstance(net, nn.Conv2d):
        b = 0.0 if net.b is None else net.b.data[:, None, None, None]
        return convolution(x, net.W.data, net.geometry.padding[0][0]) + b
    if isinstance(net, nn.Linear):
        return net.W.data @ x + (0.0 if net.b is None else net.b.data[:, None])
    if isinstance(net, nn.BatchNorm):
        return normalised(x, net.gamma.data, net.beta.data, net.running_mean, net.running_variance, net.eps)
    if isinstance(net, nn.Flatten):
        return x.reshape(-1, x.shape[-1])
    if isinstance(net, nn.MaxPool2d | nn.AvgPool2d):
        return _pooled(net, x)
    return ACTIVATIONS[type(net)](x)


def convolution(x: np.ndarray, W: np.ndarray, padding: int = 0) -> np.ndarray:
    """Return W * x for images (C, H, W, N) with a border of zeros: a sum over channels and kernel positions."""
    return np.einsum("ockl,cijnkl->oijn", W, _windows(x, W.shape[2:], padding, 0.0))


def normalised(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, eps: float
) -> np.ndarray:
    """Return gamma (x - mean) / sqrt(variance + eps) + beta of images, with one number of each a channel."""
    gamma, beta, mean, variance = (each[:, None, None, None] for each in (gamma, beta, mean, variance))
    return gamma * ((x - mean) / np.sqrt(variance + eps)) + beta


def _windows(x: np.ndarray, kernel: tuple[int, ...], padding: int, border: float) -> np.ndarray:
    around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return sliding_window_view(np.pad(x, around, constant_values=border), kernel, axis=(1, 2))


def _pooled(pool: Any, x: np.ndarray) -> np.ndarray:
    # With a stride of one: the largest number of a window that is one, or the mean, with or without the border.
    border = 0.0 if getattr(pool, "count_padding", False) else np.nan
    windows = _windows(x, pool.geometry.kernel, pool.geometry.padding[0][0], border)
    reduced = np.nanmax if isinstance(pool, nn.MaxPool2d) else np.nanmean
    return np.asarray(reduced(windows, axis=(-2, -1)))


def chain(rng: np.random.Generator, *layers: Any) -> Any:
    """Return a net whose filters 1 and 3 of the first five have no weights; biases and batch norms are drawn too."""
    net = nn.Sequential(*layers).eval()
    for layer in net.layers:
        if isinstance(layer, nn.BatchNorm):
            C = layer.channels
            layer.gamma.data, layer.beta.data = rng.uniform(0.5, 1, C), rng.uniform(0.6, 1, C)
            layer.running_mean, layer.running_variance = rng.uniform(-0.3, 0.3, C), rng.uniform(0.5, 2, C)
        elif isinstance(layer, nn.Conv2d | nn.Linear) and layer.b is not None:
            layer.b.data = rng.uniform(0.3, 1, layer.b.shape)
    first: Any = net.layers[0]
    first.W.data[DEAD] = 0
    return net


def settings() -> Iterator[tuple[bool, bool, Any, int]]:
    """Yield whether there are biases and batch norm, the activation, and the padding: 32 nets."""
    return product((False, True), (False, True), (nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Softplus), (0, 1))


def convolutions(rng: np.random.Generator, bias: bool, norm: bool, act: Any, padding: int) -> Any:
    """Return a net of two convolutions with these between or in them."""
    layers = [nn.Conv2d(2, 5, 3, rng, padding=padding, bias=bias), *([nn.BatchNorm(5)] if norm else []), act()]
    return chain(rng, *layers, nn.Conv2d(5, 3, 3, rng, padding=padding, bias=bias))
