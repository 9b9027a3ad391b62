"""The forward pass of small nets in plain NumPy, a referee of surgery: only the numbers are taken from nn, no code."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import nn

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
